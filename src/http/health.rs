//! Whether the process lives, and whether it can serve.

use std::time::Duration;

use actix_web::HttpResponse;
use serde_json::json;

use super::Site;
use super::error::JSON;
use crate::service::ServiceResult;

/// How long the dependencies may take to say that they are there.
const DEADLINE: Duration = Duration::from_secs(2);

/// The event loop turns: this is its answer. Dependencies are never asked.
pub fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type(JSON).body(r#"{"alive":true}"#)
}

/// Whether the schedule is loaded and both the schedule and the store really answer, and which one doesn't.
pub async fn readyz(site: &Site) -> HttpResponse {
    let word =
        |result: &ServiceResult<()>| result.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned());
    let (schedule, store) = match tokio::time::timeout(DEADLINE, site.farm.probe()).await {
        Ok((schedule, store)) => (word(&schedule), word(&store)),
        Err(_) => ("no answer in time".to_owned(), "no answer in time".to_owned()),
    };
    let loaded = site.farm.is_ready();
    let ready = loaded && schedule == "ok" && store == "ok";
    let body = json!({ "ready": ready, "loaded": loaded, "schedule": schedule, "store": store });
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.content_type(JSON).body(body.to_string())
}

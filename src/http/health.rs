//! Whether the process lives, and whether it can serve.

use actix_web::HttpResponse;
use serde_json::json;

use super::Site;
use super::error::JSON;
use crate::service::ServiceResult;
use crate::service::degrade::StorePolicy;

/// The event loop turns: this is its answer. Dependencies are never asked.
pub fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type(JSON).body(r#"{"alive":true}"#)
}

/// Whether the schedule is loaded and both the schedule and the store really answer, and which one doesn't.
pub async fn readyz(site: &Site) -> HttpResponse {
    let word =
        |result: &ServiceResult<()>| result.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned());
    let (schedule, store) = site.farm.probe().await;
    let (schedule, store) = (word(&schedule), word(&store));
    let loaded = site.farm.is_ready();
    // A farm that goes on without its store still has something to say to workers.
    let degraded = store != "ok" && site.farm.settings.store_policy == StorePolicy::Degrade;
    let ready = loaded && schedule == "ok" && (store == "ok" || degraded);
    let body = json!({
        "ready": ready,
        "loaded": loaded,
        "schedule": schedule,
        "store": store,
        "degraded": degraded,
        "standing": site.farm.membership.standing().to_string(),
        "replica": site.farm.identity,
    });
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.content_type(JSON).body(body.to_string())
}

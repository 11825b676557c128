//! Numbers for Prometheus, and the counting of requests.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use super::Site;
use super::error::JSON;
use crate::telemetry::{Exposition, catalogue};

/// The exposition, if a recorder was installed.
pub fn metrics(site: &Site) -> HttpResponse {
    match &site.exposition {
        Some(exposition) => {
            site.farm.observe();
            drop(site.farm.verdict());
            let _ = site.pulse.silence();
            page(exposition)
        }
        None => HttpResponse::NotFound().content_type(JSON).body(r#"{"detail":"Not Found"}"#),
    }
}

/// All that was counted.
pub(super) fn page(exposition: &Exposition) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(exposition.render())
}

/// Counts an answered request.
pub fn count(endpoint: &'static str, status: StatusCode, took: Duration) {
    let outcome = match status.as_u16() {
        100..=399 => "ok",
        429 => "limited",
        400..=499 => "refused",
        503 => "try_again",
        _ => "failed",
    };
    catalogue::HTTP_REQUESTS.increment([endpoint, outcome]);
    catalogue::HTTP_REQUEST_SECONDS.record([endpoint], took.as_secs_f64());
}

//! Numbers for Prometheus, and the counting of requests.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use super::Site;
use super::error::JSON;

/// The exposition, if a recorder was installed.
pub fn metrics(site: &Site) -> HttpResponse {
    match &site.prometheus {
        Some(handle) => {
            HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(handle.render())
        }
        None => HttpResponse::NotFound().content_type(JSON).body(r#"{"detail":"Not Found"}"#),
    }
}

/// Counts an answered request.
pub fn count(path: &'static str, status: StatusCode, took: Duration) {
    let class = match status.as_u16() {
        100..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    ::metrics::counter!("shoal_http_requests_total", "path" => path, "status" => class).increment(1);
    ::metrics::histogram!("shoal_http_request_seconds", "path" => path).record(took.as_secs_f64());
}

//! What is answered before there is a farm: a server listens at once, whatever it waits for, and says so.
//!
//! Workers are told to try again. Every answer closes its connection, so that nobody is left behind here when the farm opens.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::ConnectionType;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::json;

use super::error::{self, JSON};
use crate::sys::patience::{self, Wait};
use crate::telemetry::Exposition;

/// How long a client may take to send a request that is refused anyway.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// Serves a listener until the server is stopped, which is soon done.
///
/// # Errors
/// The listener can't be used.
pub fn serve_lobby(listener: TcpListener, exposition: Option<Exposition>) -> io::Result<Server> {
    let server = HttpServer::new(move || {
        let exposition = exposition.clone();
        let answer = move |request: HttpRequest| {
            let mut response = answer(request.path(), exposition.as_ref());
            response.head_mut().set_connection_type(ConnectionType::Close);
            async move { response }
        };
        App::new().default_service(web::to(answer))
    })
    .workers(1)
    .client_request_timeout(HEAD_DEADLINE)
    .shutdown_timeout(1)
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(server)
}

fn answer(path: &str, exposition: Option<&Exposition>) -> HttpResponse {
    let wait = || patience::waiting_for().unwrap_or_else(|| Wait::to_start("the server has just begun"));
    match (path, exposition) {
        // The event loop that answers is all that there is.
        ("/livez", _) => HttpResponse::Ok().content_type(JSON).body(r#"{"alive":true}"#),
        ("/startupz", _) => {
            let Wait { culprit, text } = wait();
            unavailable(&json!({ "started": false, "what": culprit, "why": text }))
        }
        ("/readyz", _) => {
            let Wait { culprit, text } = wait();
            unavailable(&json!({
                "ready": false,
                "state": "not_ready",
                "degraded": false,
                "culprits": [{ "what": culprit, "why": text, "seconds": null }],
                "loaded": false,
            }))
        }
        ("/metrics", Some(exposition)) => super::metrics::page(exposition),
        _ => error::try_again(),
    }
}

fn unavailable(body: &serde_json::Value) -> HttpResponse {
    HttpResponse::ServiceUnavailable().content_type(JSON).body(body.to_string())
}

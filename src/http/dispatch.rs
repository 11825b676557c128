//! From a request to its handler: shutdown, routing, methods, overload (`spec/worker-api.md` sections 1.2 and 1.8,
//! `spec/read-api.md` section 1).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{ConnectionType, Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::FutureExt;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::gate::{Class, Shed};
use super::object::Began;
use super::route::{Route, decoded};
use super::{Site, client_addr, error, health, metrics, read_api, request_id, worker_api};
use crate::telemetry::otlp::parent::{self, RemoteParent};

/// How long a public read waits for its turn.
const READ_PATIENCE: Duration = Duration::from_secs(2);

/// Largest head of a request: path, names and values. Far above what workers, browsers and balancers send.
const HEAD_LIMIT: usize = 32 << 10;

/// Bytes of a request's head.
fn head_size(request: &HttpRequest) -> usize {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    headers.sum::<usize>() + request.uri().path().len() + request.uri().query().map_or(0, str::len)
}

/// The span of a proxy or a client that a request is below, where spans are told to anybody. Of two headers none counts.
fn caller(request: &HttpRequest) -> Option<RemoteParent> {
    if !parent::is_on() {
        return None;
    }
    let mut headers = request.headers().get_all(parent::HEADER);
    let (header, None) = (headers.next()?, headers.next()) else { return None };
    RemoteParent::parse(header.to_str().ok()?)
}

/// Answers a request, whatever it is.
pub async fn dispatch(site: &Arc<Site>, request: &HttpRequest, payload: web::Payload) -> HttpResponse {
    let began = Began::now();
    let path = decoded(request.path());
    let route = Route::find(&path);
    let label = route.map_or("none", Route::label);
    let id = request_id::of(request);
    // Probes ask every second, and have no story.
    let span = match route {
        Some(route) if route.class().is_none() => Span::none(),
        _ => parent::below(caller(request), || {
            tracing::info_span!(
                "request",
                request_id = id.as_ref(),
                endpoint = label,
                method = request.method().as_str(),
                worker = Empty,
                run = Empty,
                task = Empty,
                status = Empty,
            )
        }),
    };
    let mut response = answer(site, request, payload, route, &path, began).instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    request_id::echo(&mut response, &id);
    if site.farm.is_draining() {
        // The next request is another replica's.
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    metrics::count(label, response.status(), began.elapsed());
    tracing::debug!(parent: &span, seconds = began.elapsed().as_secs_f64(), "answered");
    response
}

async fn answer(
    site: &Arc<Site>,
    request: &HttpRequest,
    payload: web::Payload,
    route: Option<Route<'_>>,
    path: &str,
    began: Began,
) -> HttpResponse {
    match route {
        Some(Route::Livez) => health::livez(site),
        Some(Route::Metrics) => metrics::metrics(site),
        _ if head_size(request) > HEAD_LIMIT => error::large_head(),
        _ if site.is_closing() => {
            if let Some(class) = route.and_then(Route::class) {
                class.shed(Shed::Closing);
            }
            error::closing()
        }
        None => unknown(site, request, path),
        Some(route) if !fits(route, request.method()) => wrong_method(route, request.method()),
        Some(Route::Startupz) => health::startupz(site),
        Some(Route::Readyz) => health::readyz(site),
        Some(Route::Worker(endpoint)) => worker_api::handle(site, endpoint, request, payload).await,
        Some(Route::Read(read)) => {
            let request = read_api::Request { site, http: request, path, began };
            // Workers' requests don't carry the room that reads need.
            Box::pin(reading(request, read, payload)).await
        }
    }
}

/// Public reads: limited per address, bounded in number, and a panic in one is its own affair.
async fn reading(
    request: read_api::Request<'_>,
    read: super::route::Read<'_>,
    payload: web::Payload,
) -> HttpResponse {
    let site = request.site;
    let address = client_addr::remote_addr(request.http, &site.settings.trusted_proxies);
    if !site.limiter.admits(&address, site.farm.clock.monotonic()) {
        Class::Read.shed(Shed::RateLimit);
        return error::too_many(request.path, request.began);
    }
    if !site.farm.is_ready() {
        Class::Read.shed(Shed::NotReady);
        return error::read_unavailable(request.path, "the schedule is being loaded", request.began);
    }
    let Ok(_turn) = site.reads.enter(READ_PATIENCE).await else {
        return error::read_unavailable(request.path, "too many requests at once", request.began);
    };
    // Only now: the shared count is kept on connections that workers' requests use.
    if !site.limiter.admits_everywhere(&address, &site.farm).await {
        Class::Read.shed(Shed::RateLimit);
        return error::too_many(request.path, request.began);
    }
    let answer = AssertUnwindSafe(read_api::handle(&request, read, payload)).catch_unwind();
    match tokio::time::timeout(site.settings.read_deadline, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!(path = request.path, "a read panicked");
            error::read_failed()
        }
        Err(_) => {
            Class::Read.shed(Shed::Deadline);
            error::read_unavailable(request.path, "that took too long", request.began)
        }
    }
}

fn fits(route: Route<'_>, method: &Method) -> bool {
    let wanted = route.method();
    *method == wanted || (*method == Method::HEAD && wanted == Method::GET)
}

fn wrong_method(route: Route<'_>, method: &Method) -> HttpResponse {
    if *method == Method::OPTIONS && route.is_shared() {
        // Declared readable by other sites, so the browser's question before a JSON body must have an answer.
        let mut response = HttpResponse::NoContent();
        read_api::share(&mut response);
        return response.finish();
    }
    HttpResponse::MethodNotAllowed()
        .insert_header((header::ALLOW, route.method().as_str()))
        .content_type(error::JSON)
        .body(r#"{"detail":"Method Not Allowed"}"#)
}

fn unknown(site: &Site, request: &HttpRequest, path: &str) -> HttpResponse {
    let bare = path.trim_end_matches('/');
    if bare.len() < path.len() && Route::find(bare).is_some() {
        return without_slash(site, request);
    }
    if path.starts_with("/api") {
        return HttpResponse::NotFound().content_type(error::JSON).body(r#"{"detail":"Not Found"}"#);
    }
    HttpResponse::build(StatusCode::NOT_FOUND).content_type("text/html; charset=utf-8").body(NOT_FOUND_PAGE)
}

/// 307 keeps the method and the body.
fn without_slash(site: &Site, request: &HttpRequest) -> HttpResponse {
    let base = client_addr::host_url(request, &site.settings.trusted_proxies).unwrap_or_default();
    // The path as it was sent: what was escaped stays escaped.
    let path = request.path().trim_end_matches('/');
    let mut location = format!("{base}{path}");
    if let Some(query) = request.uri().query() {
        location.push('?');
        location.push_str(query);
    }
    HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, location)).finish()
}

const NOT_FOUND_PAGE: &str = "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>404 Not Found\
</title></head>\n<body>\n<h1>Oops! Page not found.</h1>\n<p>There is nothing at this address.</p>\n</body>\n</html>\n";

//! The nine paths of the worker protocol (`spec/worker-api.md`).

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use tracing::Instrument;

use super::body::{Body, BodyError};
use super::error;
use super::gate::{Class, Shed, Turn};
use super::object::{Began, Object};
use super::route::Endpoint;
use super::{Site, client_addr};
use crate::domain::document::write_document;
use crate::domain::names::LegacyUsernames;
use crate::domain::validate::{self, BadRequest, WorkerRequest};
use crate::service::failed_task::FailedAnswer;
use crate::service::request_spsa::SpsaAnswer;
use crate::service::request_task::{Origin, TaskAnswer};
use crate::service::update_task::UpdateAnswer;
use crate::service::{Farm, ServiceError, ServiceResult};
use crate::sys::spawn;
use crate::telemetry::catalogue;

/// The version of the protocol, and of the worker that speaks it. A larger number makes workers update themselves.
pub const WORKER_VERSION: u32 = 325;

/// Set to `no` on an answer that the store has not confirmed (`store_policy = degrade`). Workers don't look at it.
const DURABLE: &str = "shoal-durable";

/// How long a worker's request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Larger bodies are parsed away from the event loop.
const PARSED_INLINE: usize = 128 * 1024;

/// What is sent to a worker.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// A JSON object.
    Json(StatusCode, Vec<u8>),
    /// A JSON object that rests on the schedule alone, since the store is away: a header says so.
    Undurable(Vec<u8>),
    /// Anything but JSON: the worker repeats its request.
    TryAgain,
}

impl From<Answer> for HttpResponse {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Json(status, body) => error::json(&mut HttpResponse::build(status), body),
            Answer::Undurable(body) => error::json(HttpResponse::Ok().insert_header((DURABLE, "no")), body),
            Answer::TryAgain => error::try_again(),
        }
    }
}

/// Reads the body, waits for a turn, and answers within the deadline.
pub async fn handle(
    site: &Arc<Site>,
    endpoint: Endpoint,
    request: &HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let began = Began::now();
    if !site.farm.is_ready() {
        Class::Worker.shed(Shed::NotReady);
        return error::try_again();
    }
    let settings = &site.settings;
    let (limit, patience) = match endpoint {
        Endpoint::UploadPgn => (settings.pgn_body_limit, settings.upload_deadline),
        _ => (settings.worker_body_limit, settings.request_deadline),
    };
    let body = match site.bodies.read(request, payload, limit, patience).await {
        Ok(body) => body,
        Err(error) => {
            if error == BodyError::NoMemory {
                Class::Worker.shed(Shed::BodyMemory);
            }
            return error::bad_body(error);
        }
    };
    // An upload's own time begins when it is here.
    let began = if endpoint == Endpoint::UploadPgn { Began::now() } else { began };
    let deadline = settings.request_deadline;
    let Ok(turn) = site.workers.enter(PATIENCE.min(deadline.saturating_sub(began.elapsed()))).await else {
        return shed(endpoint);
    };
    let origin = origin(endpoint, request, site);
    // A task of its own: a client that hangs up, or the deadline, doesn't leave the use case half done, and what still
    // runs keeps its turn.
    let work = answer(site.farm.clone(), endpoint, body, origin, turn).in_current_span();
    let work = spawn::task("worker request", work);
    match tokio::time::timeout(deadline.saturating_sub(began.elapsed()), work).await {
        Ok(Ok(answer)) => answer.into(),
        Ok(Err(_)) => {
            tracing::error!(path = endpoint.path(), "a worker's request panicked");
            error::try_again()
        }
        Err(_) => {
            Class::Worker.shed(Shed::Deadline);
            tracing::warn!(
                path = endpoint.path(),
                "a worker's request took too long; its outcome is unknown"
            );
            error::try_again()
        }
    }
}

/// No room. `request_task` has words for that; everything else is repeated.
fn shed(endpoint: Endpoint) -> HttpResponse {
    if endpoint == Endpoint::RequestTask {
        catalogue::TASK_ANSWERS.increment(["busy"]);
        return Answer::Json(StatusCode::OK, too_busy(Began::now())).into();
    }
    error::try_again()
}

fn too_busy(began: Began) -> Vec<u8> {
    let object = Object::new().value("task_waiting", &false);
    object.value("info", "Request_task: the server is currently too busy...").duration(began)
}

/// Only what the endpoint looks at.
fn origin(endpoint: Endpoint, request: &HttpRequest, site: &Site) -> Origin {
    let trusted = &site.settings.trusted_proxies;
    let mut origin = Origin { remote_addr: String::new(), country: String::new(), host_url: String::new() };
    if matches!(endpoint, Endpoint::RequestTask | Endpoint::UpdateTask) {
        client_addr::country(request).clone_into(&mut origin.country);
    }
    if endpoint == Endpoint::RequestTask {
        origin.remote_addr = client_addr::remote_addr(request, trusted);
        origin.host_url = client_addr::host_url(request, trusted).unwrap_or_default();
    }
    origin
}

/// A body that was read by the rules of sections 1.4 and 2.
struct Parsed {
    username: String,
    password: String,
    /// None where nobody asks for more than the credentials.
    request: Option<Result<WorkerRequest, BadRequest>>,
}

impl Parsed {
    fn read(bytes: &Bytes, legacy: &LegacyUsernames, endpoint: Endpoint) -> Result<Self, BadRequest> {
        let body = validate::Body::parse(bytes)?;
        let access = body.access(legacy)?;
        let (username, password) = (access.username.into_owned(), access.password.into_owned());
        let full = endpoint != Endpoint::RequestVersion;
        Ok(Self { username, password, request: full.then(|| body.full(legacy)) })
    }
}

fn invalid(error: BadRequest) -> ServiceError {
    ServiceError::Invalid(error.to_string())
}

/// Section 1.8. The turn is given back when this ends.
async fn answer(farm: Arc<Farm>, endpoint: Endpoint, body: Body, origin: Origin, _turn: Turn) -> Answer {
    let legacy = farm.legacy_usernames();
    let parsed = if body.bytes.len() <= PARSED_INLINE {
        Ok(Parsed::read(&body.bytes, &legacy, endpoint))
    } else {
        let bytes = body.bytes.clone();
        spawn::blocking(move || Parsed::read(&bytes, &legacy, endpoint)).await
    };
    let began = Began::now();
    let path = endpoint.path();
    let parsed = match parsed {
        Ok(Ok(parsed)) => parsed,
        Ok(Err(error)) => return error::worker_error(path, invalid(error), began),
        Err(error) => {
            return error::worker_error(path, ServiceError::Bug(format!("parsing a body: {error}")), began);
        }
    };
    // The text is in the parsed request now; what remains of the body only keeps its share of the memory.
    let Body { bytes, memory: _memory } = body;
    drop(bytes);
    match outcome(&farm, endpoint, parsed, origin).await {
        Ok((object, true)) => Answer::Json(StatusCode::OK, object.duration(began)),
        Ok((object, false)) => Answer::Undurable(object.duration(began)),
        Err(ServiceError::Busy(_)) if endpoint == Endpoint::RequestTask => {
            Answer::Json(StatusCode::OK, too_busy(began))
        }
        Err(error) => {
            farm.note_trouble(&error);
            error::worker_error(path, error, began)
        }
    }
}

/// Authentication, the full schema, and the use case; the answer lacks only its duration. False beside it: it is not
/// durable.
async fn outcome(
    farm: &Farm,
    endpoint: Endpoint,
    parsed: Parsed,
    origin: Origin,
) -> ServiceResult<(Object, bool)> {
    let user = farm.accounts.authenticate(&parsed.username, &parsed.password).await?;
    let Some(request) = parsed.request else {
        return Ok((Object::new().value("version", &WORKER_VERSION), true));
    };
    let request = request.map_err(invalid)?;
    tell_who(&request);
    // A heartbeat, most of what comes, doesn't carry the room that the others need.
    let object = match endpoint {
        Endpoint::UpdateTask => {
            let answer = Box::pin(farm.update_task(&request, &origin.country)).await?;
            return Ok((update_object(&answer), answer.durable));
        }
        Endpoint::RequestVersion => Ok(Object::new().value("version", &WORKER_VERSION)),
        Endpoint::RequestTask => {
            Ok(task_object(Box::pin(farm.request_task(&request, user.machine_limit, origin)).await?))
        }
        Endpoint::Beat => Ok(Object::new().value("task_alive", &farm.beat(&request).await?)),
        Endpoint::RequestSpsa => Ok(spsa_object(&Box::pin(farm.request_spsa(&request)).await?)),
        Endpoint::FailedTask => Ok(failed_object(Box::pin(farm.failed_task(&request)).await?)),
        Endpoint::StopRun => Box::pin(farm.stop_run(&request)).await.map(|()| Object::new()),
        Endpoint::UploadPgn => Box::pin(farm.upload_pgn(request)).await.map(|()| Object::new()),
        Endpoint::WorkerLog => Box::pin(farm.worker_log(&request)).await.map(|()| Object::new()),
    };
    Ok((object?, true))
}

/// Who asks, about what, in the lines that follow.
fn tell_who(request: &WorkerRequest) {
    let span = tracing::Span::current();
    if span.is_disabled() {
        return;
    }
    span.record("worker", request.worker_info.short_name().0.as_str());
    if let Some(run) = request.run_id {
        span.record("run", tracing::field::display(run));
    }
    if let Some(task) = request.task_id {
        span.record("task", task);
    }
}

fn task_object(answer: TaskAnswer) -> Object {
    let nothing = || Object::new().value("task_waiting", &false);
    match answer {
        TaskAnswer::Nothing => nothing(),
        TaskAnswer::Info(text) => nothing().value("info", &text),
        TaskAnswer::Error(text) => nothing().value("error", &text),
        TaskAnswer::Assigned(run, task) => {
            Object::new().raw("run", |out| write_document(out, &run)).value("task_id", &task.0)
        }
    }
}

fn update_object(answer: &UpdateAnswer) -> Object {
    let mut object = Object::new().value("task_alive", &answer.alive);
    if let Some(info) = &answer.info {
        object = object.value("info", info);
    }
    if let Some(error) = &answer.error {
        object = object.value("error", error);
    }
    object
}

fn spsa_object(answer: &SpsaAnswer) -> Object {
    match answer {
        SpsaAnswer::Round(values) => Object::new()
            .value("w_params", &values.w_params)
            .value("b_params", &values.b_params)
            .value("sig", &values.sig)
            .value("task_alive", &true),
        SpsaAnswer::Inactive(key) => Object::new()
            .value("task_alive", &false)
            .value("info", &format!("request_spsa_data: task {key} is not active")),
    }
}

fn failed_object(answer: FailedAnswer) -> Object {
    match answer {
        FailedAnswer::Closed => Object::new(),
        FailedAnswer::Inactive(key) => Object::new()
            .value("task_alive", &false)
            .value("info", &format!("Failed_task: task {key} is not active")),
    }
}

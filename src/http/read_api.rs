//! The public reads (`spec/read-api.md`).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bson::Document;
use bytes::Bytes;

use super::error::{self, json, read_error};
use super::object::{Began, Object};
use super::route::Read;
use super::{Site, downloads};
use crate::domain::action_query::{ActionQuery, QueryError};
use crate::domain::document::{to_json, write_document};
use crate::domain::ids::{Millis, RunId, TaskId, TaskKey};
use crate::domain::number::is_digits;
use crate::domain::stats::calc_elo::{CalcEloError, calc_elo};
use crate::service::read::{LAST_PAGE, PAGE_SIZE, TaskRef, stripped};
use crate::service::{ServiceError, ServiceResult};
use crate::store::FinishedQuery;
use crate::sys::spawn;

/// For so long the list of unfinished runs is the same for everybody.
const ACTIVE_RUNS_AGE: Duration = Duration::from_secs(1);

/// Largest body of a query, bytes; a little more than the query language itself admits.
const QUERY_LIMIT: usize = 3 << 20;

/// How long a query's body may take to arrive.
const QUERY_PATIENCE: Duration = Duration::from_secs(10);

/// A read request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The site.
    pub site: &'a Arc<Site>,
    /// As it came.
    pub http: &'a HttpRequest,
    /// The decoded path, which errors begin with.
    pub path: &'a str,
    /// When it came.
    pub began: Began,
}

/// The list of unfinished runs as it was last sent.
#[derive(Default)]
pub struct ActiveRuns {
    latest: tokio::sync::Mutex<Option<Listing>>,
}

#[derive(Clone)]
struct Listing {
    at: Duration,
    body: Bytes,
    tag: String,
}

/// Answers a read.
pub async fn handle(request: &Request<'_>, read: Read<'_>, payload: web::Payload) -> HttpResponse {
    let answer = match read {
        Read::ActiveRuns => active_runs(request).await,
        Read::FinishedRuns => finished_runs(request).await,
        Read::Actions => actions(request, payload).await,
        Read::GetRun(id) => get_run(request, id).await,
        Read::GetTask(run, task) => get_task(request, run, task).await,
        Read::GetElo(id) => get_elo(request, id).await,
        Read::CalcElo => calculate(request).await,
        Read::Pgn(id) => pgn(request, id).await,
        Read::RunPgns(id) => run_pgns(request, id).await,
        Read::Nn(name) => nn(request, name).await,
        Read::RateLimit => Ok(rate_limit(request).await),
    };
    answer.unwrap_or_else(|error| {
        request.site.farm.note_trouble(&error);
        read_error(request.path, error, request.began)
    })
}

/// Lets pages of other sites read the answer.
pub fn share(response: &mut HttpResponseBuilder) {
    response.insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
    response.insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"));
}

fn invalid(text: &str) -> ServiceError {
    ServiceError::Invalid(text.to_owned())
}

fn query(request: &Request<'_>) -> Vec<(String, String)> {
    // Whatever can't be read as a query has no parameters.
    web::Query::from_query(request.http.query_string()).map(web::Query::into_inner).unwrap_or_default()
}

/// The last of repeated parameters; empty and absent are the same.
fn parameter<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let value = query.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    value.filter(|value| !value.is_empty())
}

/// Runs by id, in their order.
fn listing(runs: &[(RunId, Document)]) -> Vec<u8> {
    let mut object = Object::new();
    for (id, run) in runs {
        object = object.raw(&id.to_string(), |out| write_document(out, run));
    }
    object.finish()
}

async fn active_runs(request: &Request<'_>) -> ServiceResult<HttpResponse> {
    let site = request.site;
    // Whoever comes while the list is being made waits for it and takes the same.
    let mut latest = site.active_runs.latest.lock().await;
    let now = site.farm.clock.monotonic();
    let fresh = latest.clone().filter(|listing| now.saturating_sub(listing.at) < ACTIVE_RUNS_AGE);
    let listing = match fresh {
        Some(listing) => listing,
        None => {
            let body = Bytes::from(listing(&site.farm.active_runs().await?));
            let tag = format!("\"{:08x}-{:x}\"", crc32fast::hash(&body), body.len());
            let listing = Listing { at: now, body, tag };
            *latest = Some(listing.clone());
            listing
        }
    };
    drop(latest);
    let known = request.http.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == listing.tag)) {
        return Ok(HttpResponse::NotModified().insert_header((header::ETAG, listing.tag)).finish());
    }
    Ok(json(HttpResponse::Ok().insert_header((header::ETAG, listing.tag)), listing.body))
}

async fn finished_runs(request: &Request<'_>) -> ServiceResult<HttpResponse> {
    let query = query(request);
    let page = parameter(&query, "page").ok_or_else(|| invalid("Please provide a Page number."))?;
    if !is_digits(page) || page.bytes().all(|digit| digit == b'0') {
        return Err(invalid("Please provide a valid Page number."));
    }
    let since = match parameter(&query, "timestamp") {
        None => None,
        Some(text) => Some(timestamp(text).ok_or_else(|| invalid("Please provide a valid UNIX timestamp."))?),
    };
    let page = page.parse::<u64>().unwrap_or(u64::MAX);
    if page > LAST_PAGE {
        return Ok(json(&mut HttpResponse::Ok(), "{}"));
    }
    let flag = |name: &str| parameter(&query, name).is_some();
    let wanted = FinishedQuery {
        username: parameter(&query, "username").map(str::to_owned),
        green: flag("success_only"),
        yellow: flag("yellow_only"),
        ltc: flag("ltc_only"),
        since,
        skip: PAGE_SIZE * (page - 1),
        limit: PAGE_SIZE,
    };
    let runs = request.site.farm.finished_page(&wanted).await?;
    Ok(json(&mut HttpResponse::Ok(), listing(&runs)))
}

/// Ten digits of seconds, with a fraction or without. Dates are kept to the millisecond, so the rest is cut off.
fn timestamp(text: &str) -> Option<Millis> {
    let (seconds, fraction) = match text.split_once('.') {
        Some((seconds, fraction)) if is_digits(fraction) => (seconds, fraction),
        Some(_) => return None,
        None => (text, "0"),
    };
    if seconds.len() != 10 || !is_digits(seconds) {
        return None;
    }
    let millis: String = fraction.chars().chain("00".chars()).take(3).collect();
    Some(Millis(seconds.parse::<i64>().ok()? * 1000 + millis.parse::<i64>().ok()?))
}

async fn actions(request: &Request<'_>, payload: web::Payload) -> ServiceResult<HttpResponse> {
    let body = match request.site.bodies.read(request.http, payload, QUERY_LIMIT, QUERY_PATIENCE).await {
        Ok(body) => body,
        Err(error) => return Ok(error::bad_body(error)),
    };
    let entries = match ActionQuery::parse(&body.bytes) {
        Ok(query) => request.site.farm.find_actions(&query).await?,
        Err(QueryError::NotAQuery) => Vec::new(),
        Err(QueryError::Unsupported) => return Err(invalid("Unsupported query")),
    };
    let mut out = vec![b'['];
    for (i, entry) in entries.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_document(&mut out, entry);
    }
    out.push(b']');
    let mut response = HttpResponse::Ok();
    share(&mut response);
    Ok(json(&mut response, out))
}

async fn public_run(request: &Request<'_>, id: &str) -> ServiceResult<Document> {
    let run = match RunId::parse(id) {
        Some(id) => request.site.farm.run_document(id).await?,
        None => None,
    };
    run.map(stripped).ok_or_else(|| ServiceError::NotFound(format!("The run {id} does not exist")))
}

async fn get_run(request: &Request<'_>, id: &str) -> ServiceResult<HttpResponse> {
    let run = public_run(request, id).await?;
    let mut response = HttpResponse::Ok();
    share(&mut response);
    Ok(json(&mut response, to_json(&run)))
}

async fn get_task(request: &Request<'_>, run: &str, task: &str) -> ServiceResult<HttpResponse> {
    let (digits, bad) = match task.strip_suffix("bad") {
        Some(digits) => (digits, true),
        None => (task, false),
    };
    let number = Some(digits).filter(|digits| is_digits(digits)).map(|digits| {
        let significant = digits.trim_start_matches('0');
        if significant.is_empty() { "0" } else { significant }
    });
    let missing =
        || ServiceError::NotFound(format!("The task {run}/{} does not exist", number.unwrap_or(task)));
    let number: u32 = number.and_then(|number| number.parse().ok()).ok_or_else(missing)?;
    let id = RunId::parse(run).ok_or_else(missing)?;
    let wanted = if bad { TaskRef::Bad(number) } else { TaskRef::Task(number) };
    let task = request.site.farm.public_task(id, wanted).await?.ok_or_else(missing)?;
    Ok(json(&mut HttpResponse::Ok(), to_json(&task)))
}

async fn get_elo(request: &Request<'_>, id: &str) -> ServiceResult<HttpResponse> {
    let run = public_run(request, id).await?;
    let Some((run, estimate)) = request.site.farm.with_estimate(run).await? else {
        return Ok(json(&mut HttpResponse::Ok(), "{}"));
    };
    let mut object = Object::new();
    for (key, value) in &run {
        object = object.raw(key, |out| crate::domain::document::write_value(out, value));
    }
    Ok(json(&mut HttpResponse::Ok(), object.value("elo", &estimate).finish()))
}

async fn calculate(request: &Request<'_>) -> ServiceResult<HttpResponse> {
    let query = query(request);
    // Looking for roots takes a while: away from the event loop.
    let result = spawn::blocking(move || calc_elo(&query)).await;
    let result = result.map_err(|error| ServiceError::Bug(format!("calculating: {error}")))?;
    let estimate = result.map_err(|error: CalcEloError| ServiceError::Invalid(error.to_string()))?;
    let body = serde_json::to_vec(&estimate).map_err(|error| ServiceError::Bug(error.to_string()))?;
    Ok(json(&mut HttpResponse::Ok(), body))
}

fn no_data(id: &str) -> ServiceError {
    ServiceError::NotFound(format!("No data found for {id}"))
}

/// What may stand between the quotes of a header.
fn file_name(id: &str) -> Cow<'_, str> {
    let harmless = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    if id.chars().all(harmless) {
        id.into()
    } else {
        id.chars().filter(|c| harmless(*c)).collect::<String>().into()
    }
}

fn attachment(id: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    let disposition = format!("attachment; filename=\"{}\"", file_name(id));
    response.content_type("application/gzip").insert_header((header::CONTENT_DISPOSITION, disposition));
    response
}

/// `{run}-{task}`, as the games are stored.
fn games_key(id: &str) -> Option<TaskKey> {
    let key = id.split('.').next()?;
    let (run, number) = key.split_once('-')?;
    let run = RunId::parse(run)?;
    let task = TaskId(number.parse().ok()?);
    let key_is_canonical = format!("{run}-{task}") == key;
    key_is_canonical.then_some(TaskKey { run, task })
}

fn is_head(request: &Request<'_>) -> bool {
    *request.http.method() == Method::HEAD
}

async fn download_slot(request: &Request<'_>) -> ServiceResult<tokio::sync::OwnedSemaphorePermit> {
    let site = request.site;
    let slot =
        tokio::time::timeout(site.settings.stall_deadline, site.downloads.clone().acquire_owned()).await;
    slot.ok().and_then(Result::ok).ok_or_else(|| ServiceError::Busy("too many downloads".to_owned()))
}

async fn pgn(request: &Request<'_>, id: &str) -> ServiceResult<HttpResponse> {
    let site = request.site;
    let slot = download_slot(request).await?;
    let games = match games_key(id) {
        Some(key) => site.farm.task_games(key).await?,
        None => None,
    };
    let games = games.ok_or_else(|| no_data(id))?;
    let mut response = attachment(id);
    // Ordinary clients unpack it and end up with the text of the games.
    response.insert_header((header::CONTENT_ENCODING, "gzip"));
    if is_head(request) {
        return Ok(downloads::announced(&mut response, games.len() as u64));
    }
    Ok(downloads::one(&mut response, games, slot, site.settings.stall_deadline))
}

async fn run_pgns(request: &Request<'_>, id: &str) -> ServiceResult<HttpResponse> {
    let site = request.site;
    let run = id.strip_suffix(".pgn.gz");
    let run = run.filter(|run| !run.is_empty() && run.bytes().all(|b| b.is_ascii_alphanumeric()));
    let run = run.ok_or_else(|| invalid(&format!("Invalid filename format for {id}")))?;
    let slot = download_slot(request).await?;
    let entries = match RunId::parse(run) {
        Some(run) => site.farm.run_games(run).await?,
        None => Vec::new(),
    };
    if entries.is_empty() {
        return Err(no_data(id));
    }
    let mut response = attachment(id);
    if is_head(request) {
        return Ok(downloads::announced(&mut response, downloads::total(&entries)));
    }
    Ok(downloads::many(&mut response, site.farm.clone(), entries, slot, site.settings.stall_deadline))
}

async fn nn(request: &Request<'_>, name: &str) -> ServiceResult<HttpResponse> {
    let location = request.site.farm.net_location(name, !is_head(request)).await?;
    let mut response = HttpResponse::build(StatusCode::FOUND);
    Ok(response.insert_header((header::LOCATION, location)).finish())
}

/// What is known of the quota at GitHub.
async fn rate_limit(request: &Request<'_>) -> HttpResponse {
    let quota = request.site.farm.github.quota().await;
    let body = Object::new()
        .value("limit", &quota.limit)
        .value("remaining", &quota.remaining)
        .value("reset", &quota.reset)
        .value("used", &quota.used)
        .value("resource", "core")
        .value("_uninitialized", &!quota.known);
    json(&mut HttpResponse::Ok(), body.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_ten_digits_and_a_fraction() {
        assert_eq!(timestamp("1700000000"), Some(Millis(1_700_000_000_000)));
        assert_eq!(timestamp("1700000000.5"), Some(Millis(1_700_000_000_500)));
        assert_eq!(timestamp("1700000000.0599"), Some(Millis(1_700_000_000_059)));
        for bad in ["12", "1700000000e3", "1700000000.", ".5", "17000000000", "-170000000", "1700000000.5x"] {
            assert_eq!(timestamp(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_names_of_games_name_games() {
        let run = "6740a2c47f2b1e5d3c9a1f10";
        for (id, task) in [("-0", 0), ("-17.pgn", 17), ("-3.pgn.gz", 3)] {
            let key = games_key(&format!("{run}{id}")).unwrap();
            assert_eq!((key.run.to_string().as_str(), key.task), (run, TaskId(task)));
        }
        for bad in ["foo", "6740a2c47f2b1e5d3c9a1f10", "6740A2C47f2b1e5d3c9a1f10-0"] {
            assert_eq!(games_key(bad), None);
        }
        for bad in ["-", "-x", "-00", "-+1", "-4294967296", "-0-0"] {
            assert_eq!(games_key(&format!("{run}{bad}")), None, "{bad:?}");
        }
    }

    #[test]
    fn file_names_cannot_leave_their_quotes() {
        assert_eq!(file_name("a-1.pgn"), "a-1.pgn");
        assert_eq!(file_name("a\"; x=\"b\r\nc\\é"), "a;x=bc");
    }
}

//! The HTTP client: one connection pool for the whole fleet, measured per endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::answer::{RawAnswer, Trouble, read_plain_answer, read_worker_answer};
use super::endpoint::Endpoint;
use super::options::{OptionsError, SimulateOptions};
use super::pace::RequestGate;
use super::protocol::{
    AliveAnswer, FormAnswer, RunView, SpsaAnswer, TaskAnswer, TaskView, VersionAnswer, WorkerRequest,
};
use super::tally::Tally;
use crate::sys::clock::stopwatch;
use crate::sys::web;

/// How long an unused connection is kept.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// How long a read is tried again that the server's limit per address refused. An audit reads every task.
const READ_PATIENCE: Duration = Duration::from_secs(120);

/// Between such tries.
const READ_PAUSE: Duration = Duration::from_millis(700);

/// A typed client of the nine worker endpoints and of the read endpoints that the simulation uses.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    bases: Vec<String>,
    next: AtomicUsize,
    connections: Semaphore,
    gate: RequestGate,
    tally: Arc<Tally>,
}

impl Client {
    /// Builds the connection pool.
    ///
    /// # Errors
    /// When the options name no usable address or the HTTP library can't be set up.
    pub fn new(options: &SimulateOptions, tally: Arc<Tally>) -> Result<Self, OptionsError> {
        let http = web::client()
            .timeout(Duration::from_secs_f64(options.timeout_seconds))
            .pool_max_idle_per_host(options.max_connections)
            // Shorter than a server keeps an idle connection, so that no request meets one that is being closed.
            .pool_idle_timeout(POOL_IDLE)
            .tcp_nodelay(true)
            // A redirect would turn the POST into a GET; a worker path must never send one.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent("shoal-simulate")
            .build()
            .map_err(|reason| OptionsError::new(format!("the HTTP client can't start: {reason}")))?;
        let bases: Vec<String> =
            options.urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        Ok(Self {
            http,
            bases,
            next: AtomicUsize::new(0),
            connections: Semaphore::new(options.max_connections),
            gate: RequestGate::new(options.requests_per_second),
            tally,
        })
    }

    fn base(&self) -> &str {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.bases.get(turn % self.bases.len().max(1)).map_or("", String::as_str)
    }

    /// Sends a request and measures it from the moment a connection is free to the end of the body.
    async fn exchange(
        &self,
        endpoint: Endpoint,
        request: reqwest::RequestBuilder,
    ) -> Result<RawAnswer, Trouble> {
        self.gate.pass().await;
        let _permit = self.connections.acquire().await.map_err(|_| Trouble::Network { kind: "closed" })?;
        let started = stopwatch();
        let outcome = Self::receive(request).await;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.tally.request(endpoint, micros);
        outcome
    }

    async fn receive(request: reqwest::RequestBuilder) -> Result<RawAnswer, Trouble> {
        let response = request.send().await.map_err(network)?;
        let status = response.status().as_u16();
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        let body = response.bytes().await.map_err(network)?;
        Ok(RawAnswer { status, content_type, body })
    }

    fn counted<T>(&self, endpoint: Endpoint, answer: Result<T, Trouble>) -> Result<T, Trouble> {
        if let Err(trouble) = &answer {
            self.tally.error(endpoint, &trouble.kind());
        }
        answer
    }

    async fn post<T: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        body: &WorkerRequest<'_>,
        address: Option<&HeaderValue>,
    ) -> Result<T, Trouble> {
        let path = endpoint.path();
        let Ok(bytes) = serde_json::to_vec(body) else {
            return Err(Trouble::Network { kind: "encoding" });
        };
        let mut request = self
            .http
            .post(format!("{}{path}", self.base()))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(bytes);
        if let Some(address) = address {
            request = request.header("x-forwarded-for", address.clone());
        }
        let answer = match self.exchange(endpoint, request).await {
            Ok(raw) => read_worker_answer(&path, &raw),
            Err(trouble) => Err(trouble),
        };
        self.counted(endpoint, answer)
    }

    async fn get<T: DeserializeOwned>(&self, endpoint: Endpoint, tail: &str) -> Result<T, Trouble> {
        let began = stopwatch();
        let answer = loop {
            let request = self.http.get(format!("{}{}{tail}", self.base(), endpoint.path()));
            let answer = match self.exchange(endpoint, request).await {
                Ok(raw) => read_plain_answer(&raw),
                Err(trouble) => Err(trouble),
            };
            // A reader who is asked to slow down does.
            let limited = matches!(answer, Err(Trouble::Unavailable { status: 429 }));
            if !limited || began.elapsed() >= READ_PATIENCE {
                break answer;
            }
            tokio::time::sleep(READ_PAUSE).await;
        };
        // "No such task" is an answer the audit asks for, not an error.
        if matches!(&answer, Err(Trouble::Refused { status: 404, .. })) {
            answer
        } else {
            self.counted(endpoint, answer)
        }
    }

    /// `POST /api/request_version`. All worker calls take the `X-Forwarded-For` to send, if any.
    pub async fn request_version(
        &self,
        body: &WorkerRequest<'_>,
        address: Option<&HeaderValue>,
    ) -> Result<VersionAnswer, Trouble> {
        self.post(Endpoint::RequestVersion, body, address).await
    }

    /// `POST /api/request_task`.
    pub async fn request_task(
        &self,
        body: &WorkerRequest<'_>,
        address: Option<&HeaderValue>,
    ) -> Result<TaskAnswer, Trouble> {
        self.post(Endpoint::RequestTask, body, address).await
    }

    /// `POST /api/update_task`.
    pub async fn update_task(
        &self,
        body: &WorkerRequest<'_>,
        address: Option<&HeaderValue>,
    ) -> Result<AliveAnswer, Trouble> {
        self.post(Endpoint::UpdateTask, body, address).await
    }

    /// `POST /api/beat`.
    pub async fn beat(
        &self,
        body: &WorkerRequest<'_>,
        address: Option<&HeaderValue>,
    ) -> Result<AliveAnswer, Trouble> {
        self.post(Endpoint::Beat, body, address).await
    }

    /// `POST /api/request_spsa`.
    pub async fn request_spsa(
        &self,
        body: &WorkerRequest<'_>,
        address: Option<&HeaderValue>,
    ) -> Result<SpsaAnswer, Trouble> {
        self.post(Endpoint::RequestSpsa, body, address).await
    }

    /// `POST /api/failed_task`.
    pub async fn failed_task(
        &self,
        body: &WorkerRequest<'_>,
        address: Option<&HeaderValue>,
    ) -> Result<FormAnswer, Trouble> {
        self.post(Endpoint::FailedTask, body, address).await
    }

    /// `POST /api/stop_run`.
    pub async fn stop_run(
        &self,
        body: &WorkerRequest<'_>,
        address: Option<&HeaderValue>,
    ) -> Result<FormAnswer, Trouble> {
        self.post(Endpoint::StopRun, body, address).await
    }

    /// `POST /api/upload_pgn`.
    pub async fn upload_pgn(
        &self,
        body: &WorkerRequest<'_>,
        address: Option<&HeaderValue>,
    ) -> Result<FormAnswer, Trouble> {
        self.post(Endpoint::UploadPgn, body, address).await
    }

    /// `POST /api/worker_log`.
    pub async fn worker_log(
        &self,
        body: &WorkerRequest<'_>,
        address: Option<&HeaderValue>,
    ) -> Result<FormAnswer, Trouble> {
        self.post(Endpoint::WorkerLog, body, address).await
    }

    /// `GET /api/get_run/{id}`.
    pub async fn get_run(&self, run: &str) -> Result<RunView, Trouble> {
        self.get(Endpoint::GetRun, &format!("/{run}")).await
    }

    /// `GET /api/get_task/{id}/{n}`; `Ok(None)` when there is no such task.
    pub async fn get_task(&self, run: &str, task: u32) -> Result<Option<TaskView>, Trouble> {
        found(self.get(Endpoint::GetTask, &format!("/{run}/{task}")).await)
    }

    /// Whether any task of the run was purged.
    pub async fn has_purged_tasks(&self, run: &str) -> Result<bool, Trouble> {
        let first: Option<serde_json::Value> =
            found(self.get(Endpoint::GetTask, &format!("/{run}/0bad")).await)?;
        Ok(first.is_some())
    }

    /// `GET /api/get_elo/{id}`; `Ok(None)` for a run without a sequential test.
    pub async fn get_elo(&self, run: &str) -> Result<Option<super::protocol::EloView>, Trouble> {
        #[derive(serde::Deserialize)]
        struct Answer {
            elo: Option<super::protocol::EloView>,
        }
        let answer: Answer = self.get(Endpoint::GetElo, &format!("/{run}")).await?;
        Ok(answer.elo)
    }

    /// `GET /api/active_runs`: all unfinished runs by id.
    pub async fn active_runs(&self) -> Result<std::collections::BTreeMap<String, RunView>, Trouble> {
        self.get(Endpoint::ActiveRuns, "").await
    }
}

fn found<T>(answer: Result<T, Trouble>) -> Result<Option<T>, Trouble> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Trouble::Refused { status: 404, .. }) => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

fn network(reason: reqwest::Error) -> Trouble {
    let kind = if reason.is_connect() {
        "connect"
    } else if reason.is_timeout() {
        "timeout"
    } else {
        "broken"
    };
    Trouble::Network { kind }
}

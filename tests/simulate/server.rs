//! A small fishtest in memory: enough of the protocol for one fleet, with faults on demand.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use parking_lot::Mutex;
use serde_json::{Value, json};
use shoal::domain::results::Stats;

pub const RUN: &str = "6b00ebd451c6c0a12e72bc58";

/// What the server does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    #[default]
    None,
    /// Every second assignment repeats the one before.
    DoubleAssignment,
    /// Openings of a task begin two games too early.
    OverlappingOpenings,
    /// Every tenth report is acknowledged and forgotten.
    LostUpdate,
    /// Every tenth report is counted twice in the results.
    CountedTwice,
    /// Every tenth report is answered with a JSON error, as if the database were down.
    JsonErrorOnOutage,
    /// Beats are answered without `task_alive`.
    MisshapenBeat,
    /// After twenty reports the results fall back to half, and so do the tasks.
    ShrinkingResults,
    /// Every third answer to a worker is a plain-text 503, as in an overload.
    Overloaded,
    /// Two reads of tasks in three are one too many.
    ReadLimit,
    /// The connection is cut after every fifth report took effect.
    AnswerLost,
}

/// The kind of run that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Fixed,
    Sprt,
    Spsa,
}

#[derive(Debug, Clone)]
pub struct Task {
    pub num_games: u64,
    pub start: u64,
    pub stats: Stats,
    pub active: bool,
    pub bad: bool,
    pub unique_key: String,
    pub username: String,
}

#[derive(Debug)]
pub struct Farm {
    pub kind: Kind,
    pub fault: Fault,
    pub num_games: u64,
    pub batch: u64,
    pub tasks: Vec<Task>,
    pub results: Stats,
    pub finished: bool,
    pub calls: BTreeMap<String, u64>,
    pub uploads: Vec<String>,
    pub addresses: std::collections::BTreeSet<String>,
    assignments: u64,
    reports: u64,
    answers: u64,
}

pub type Shared = Arc<Mutex<Farm>>;

/// A running server.
pub struct Server {
    pub farm: Shared,
    pub port: u16,
    handle: ServerHandle,
}

impl Server {
    pub fn start(kind: Kind, num_games: u64, fault: Fault) -> Self {
        let farm = Arc::new(Mutex::new(Farm {
            kind,
            fault,
            num_games,
            batch: 4,
            tasks: Vec::new(),
            results: Stats::default(),
            finished: false,
            calls: BTreeMap::new(),
            uploads: Vec::new(),
            addresses: std::collections::BTreeSet::new(),
            assignments: 0,
            reports: 0,
            answers: 0,
        }));
        Self::serve(farm, 0)
    }

    fn serve(farm: Shared, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::clone(&farm);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(Arc::clone(&state)))
                .app_data(web::PayloadConfig::new(10_000_000))
                .route("/api/active_runs", web::get().to(active_runs))
                .route("/api/get_run/{id}", web::get().to(get_run))
                .route("/api/get_elo/{id}", web::get().to(get_run))
                .route("/api/get_task/{id}/{task}", web::get().to(get_task))
                .route("/api/{name}", web::post().to(worker_call))
        })
        .workers(1)
        // A busy machine may take longer over a request than a server of strangers would allow.
        .client_request_timeout(std::time::Duration::from_secs(60))
        .disable_signals()
        .shutdown_timeout(0)
        .listen(listener)
        .unwrap()
        .run();
        let handle = server.handle();
        shoal::sys::spawn::task("test server", server);
        Self { farm, port, handle }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Dies at once, and comes back with the same books at the same address.
    pub async fn restart_after(self, pause: std::time::Duration) -> Self {
        let Self { farm, port, handle } = self;
        handle.stop(false).await;
        tokio::time::sleep(pause).await;
        Self::serve(farm, port)
    }
}

fn answer(mut body: Value) -> HttpResponse {
    body["duration"] = json!(0.001);
    HttpResponse::Ok().json(body)
}

fn refuse(status: u16, path: &str, text: &str) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap();
    HttpResponse::build(status).json(json!({"error": format!("{path}: {text}"), "duration": 0.001}))
}

async fn worker_call(request: HttpRequest, body: web::Bytes, farm: web::Data<Shared>) -> HttpResponse {
    let name = request.match_info().get("name").unwrap().to_owned();
    let path = request.path().to_owned();
    let mut farm = farm.lock();
    *farm.calls.entry(name.clone()).or_default() += 1;
    if let Some(address) = request.headers().get("x-forwarded-for") {
        farm.addresses.insert(address.to_str().unwrap().to_owned());
    }
    farm.answers += 1;
    if farm.fault == Fault::Overloaded && farm.answers.is_multiple_of(3) {
        return HttpResponse::ServiceUnavailable().content_type("text/plain").body("busy");
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return refuse(400, &path, "request is not json encoded");
    };
    if body["password"] != "secret" {
        return refuse(401, &path, "Invalid username or password.");
    }
    let info = body["worker_info"].as_object().unwrap();
    if info.len() != 16 {
        return refuse(400, &path, "worker_info has not 16 fields");
    }
    match name.as_str() {
        "request_version" => answer(json!({"version": 325})),
        "request_task" => farm.request_task(&body),
        "worker_log" => answer(json!({})),
        _ => farm.about_task(&name, &path, &body),
    }
}

impl Farm {
    fn committed(&self) -> u64 {
        let claim = |t: &Task| if t.active { t.num_games } else { t.stats.games() };
        self.tasks.iter().map(claim).sum()
    }

    fn request_task(&mut self, body: &Value) -> HttpResponse {
        let key = body["worker_info"]["unique_key"].as_str().unwrap();
        let username = body["worker_info"]["username"].as_str().unwrap();
        let left = self.num_games.saturating_sub(self.committed());
        if self.finished || left == 0 {
            return answer(json!({"task_waiting": false}));
        }
        self.assignments += 1;
        for stale in self.tasks.iter_mut().filter(|t| t.active && t.unique_key == key) {
            stale.active = false;
        }
        let repeat = self.fault == Fault::DoubleAssignment && self.assignments.is_multiple_of(2);
        if !repeat || self.tasks.is_empty() {
            let two_batches = 2 * self.batch;
            let unit = if self.kind == Kind::Sprt { two_batches } else { 2 };
            let num_games = 64.min(left).div_ceil(unit) * unit;
            let mut start: u64 = self.tasks.iter().map(|t| t.num_games).sum();
            if self.fault == Fault::OverlappingOpenings {
                start = start.saturating_sub(2);
            }
            self.tasks.push(Task {
                num_games,
                start,
                stats: Stats::default(),
                active: true,
                bad: false,
                unique_key: key.to_owned(),
                username: username.to_owned(),
            });
        }
        let number = self.tasks.len() - 1;
        let task = &self.tasks[number];
        let my_task = json!({"num_games": task.num_games, "start": task.start, "stats": task.stats});
        answer(json!({"run": {"_id": RUN, "args": self.args(), "my_task": my_task}, "task_id": number}))
    }

    fn args(&self) -> Value {
        let mut args = json!({
            "tc": "10+0.1", "threads": 1, "num_games": self.num_games, "book": "book.epd", "book_depth": "8",
            "new_tag": "patch", "base_tag": "master", "resolved_new": "a", "resolved_base": "b",
            "new_signature": "1", "base_signature": "2", "new_options": "Hash=16", "base_options": "Hash=16",
            "tests_repo": "https://github.com/x/y",
        });
        match self.kind {
            Kind::Fixed => {}
            Kind::Sprt => {
                args["sprt"] = json!({"batch_size": self.batch, "llr": 0.5, "state": "",
                                      "lower_bound": -2.94, "upper_bound": 2.94});
            }
            Kind::Spsa => args["spsa"] = json!({"params": []}),
        }
        args
    }

    fn about_task(&mut self, name: &str, path: &str, body: &Value) -> HttpResponse {
        let number = body["task_id"].as_u64().map(|n| n as usize);
        let Some(number) = number.filter(|n| *n < self.tasks.len() && body["run_id"] == RUN) else {
            return refuse(400, path, "Invalid task_id");
        };
        let double = self.fault == Fault::DoubleAssignment;
        if !double && body["worker_info"]["unique_key"] != self.tasks[number].unique_key.as_str() {
            return refuse(400, path, "Invalid unique_key");
        }
        match name {
            "update_task" => self.update(number, path, body),
            "beat" if self.fault == Fault::MisshapenBeat => answer(json!({})),
            "beat" => answer(json!({"task_alive": self.tasks[number].active})),
            "request_spsa" if !self.tasks[number].active => {
                answer(json!({"task_alive": false, "info": "request_spsa_data: the task is not active"}))
            }
            "request_spsa" => answer(json!({
                "task_alive": true, "sig": 7,
                "w_params": [{"name": "p", "value": 1.0, "c": 1.0, "R": 1.0, "flip": 1}],
                "b_params": [{"name": "p", "value": 2.0}],
            })),
            "failed_task" => {
                self.tasks[number].active = false;
                answer(json!({}))
            }
            "upload_pgn" => {
                self.uploads.push(body["pgn"].as_str().unwrap().to_owned());
                answer(json!({}))
            }
            "stop_run" => refuse(401, path, "User ab has too few games to stop a run"),
            _ => HttpResponse::NotFound().json(json!({"detail": "Not Found"})),
        }
    }

    fn update(&mut self, number: usize, path: &str, body: &Value) -> HttpResponse {
        self.reports += 1;
        let tenth = self.reports.is_multiple_of(10);
        if tenth && self.fault == Fault::JsonErrorOnOutage {
            return refuse(500, path, "Internal Server Error");
        }
        let stats: Stats = serde_json::from_value(body["stats"].clone()).unwrap();
        if !stats.is_consistent() {
            return refuse(400, path, "stats");
        }
        if self.kind == Kind::Spsa && body["spsa"]["sig"] != 7 {
            return refuse(400, path, "Missing spsa");
        }
        let task = &mut self.tasks[number];
        if !task.active {
            let info = format!("Update_task: task {RUN}/{number} is not active");
            return answer(json!({"task_alive": false, "info": info}));
        }
        if self.kind == Kind::Sprt {
            assert!(stats.games().is_multiple_of(2 * self.batch), "{stats:?}");
        }
        if !(tenth && self.fault == Fault::LostUpdate) {
            self.results = self.results.replace(&task.stats, &stats).unwrap();
            if tenth && self.fault == Fault::CountedTwice {
                self.results = self.results.replace(&task.stats, &stats).unwrap();
            }
            task.stats = stats;
        }
        if stats.games() >= task.num_games {
            task.active = false;
        }
        if self.fault == Fault::ShrinkingResults && self.reports == 20 {
            self.results = Stats::default();
            self.tasks.iter_mut().for_each(|task| task.stats = Stats::default());
        }
        if self.results.games() >= self.num_games {
            self.finished = true;
            self.tasks.iter_mut().for_each(|task| task.active = false);
        }
        if self.fault == Fault::AnswerLost && self.reports.is_multiple_of(5) {
            // A body that ends before its announced length: the client sees a broken connection.
            let part = futures::stream::iter([
                Ok(web::Bytes::from_static(b"{\"task")),
                Err(std::io::Error::other("cut")),
            ]);
            return HttpResponse::Ok().content_type("application/json").streaming(part);
        }
        answer(json!({"task_alive": self.tasks[number].active}))
    }

    fn view(&self) -> Value {
        json!({"_id": RUN, "approved": true, "finished": self.finished, "results": self.results,
               "args": self.args(), "tasks": [], "bad_tasks": []})
    }
}

async fn active_runs(farm: web::Data<Shared>) -> HttpResponse {
    let farm = farm.lock();
    HttpResponse::Ok().json(if farm.finished { json!({}) } else { json!({RUN: farm.view()}) })
}

async fn get_run(farm: web::Data<Shared>, id: web::Path<String>) -> HttpResponse {
    if id.as_str() != RUN {
        return HttpResponse::NotFound().json(json!({"error": "unknown"}));
    }
    HttpResponse::Ok().json(farm.lock().view())
}

async fn get_task(farm: web::Data<Shared>, path: web::Path<(String, String)>) -> HttpResponse {
    let mut farm = farm.lock();
    farm.answers += 1;
    if farm.fault == Fault::ReadLimit && !farm.answers.is_multiple_of(3) {
        return HttpResponse::TooManyRequests().finish();
    }
    let number = path.1.as_str();
    let task = match number.strip_suffix("bad") {
        Some(place) => farm.tasks.iter().filter(|t| t.bad).nth(place.parse().unwrap()),
        None => farm.tasks.get(number.parse::<usize>().unwrap()),
    };
    let Some(task) = task else {
        return HttpResponse::NotFound().json(json!({"error": "unknown"}));
    };
    let key = format!("{}...", &task.unique_key[..8]);
    HttpResponse::Ok().json(json!({
        "num_games": task.num_games, "start": task.start, "active": task.active, "bad": task.bad,
        "stats": task.stats, "worker_info": {"unique_key": key, "username": task.username},
    }))
}

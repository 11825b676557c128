//! A whole farm behind a real socket, and workers that speak the protocol.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use shoal::domain::bson_number::int;
use shoal::domain::ids::RunId;
use shoal::http::{self, HttpSettings, Site};
use shoal::service::control::Control;
use shoal::service::{Farm, FarmSettings};
use shoal::state::memory::MemoryState;
use shoal::store::SharedStore;
use shoal::store::{PatchOutcome, RunPatch};
use shoal::sys::clock::SystemClock;
use shoal::sys::{random, spawn, web};
use tempfile::TempDir;

use crate::durability::fixtures::sqlite_in;
use crate::service::faulty::{Faults, FaultyStore};

/// The password of every account: no answer may ever hold it.
pub const PASSWORD: &str = "canary-Zq81-secret";

/// The nine paths of workers.
pub const WORKER_PATHS: [&str; 9] = [
    "/api/request_version",
    "/api/request_task",
    "/api/update_task",
    "/api/beat",
    "/api/request_spsa",
    "/api/failed_task",
    "/api/stop_run",
    "/api/upload_pgn",
    "/api/worker_log",
];

/// The six that are about a task.
pub const TASK_PATHS: [&str; 6] = [
    "/api/update_task",
    "/api/beat",
    "/api/request_spsa",
    "/api/failed_task",
    "/api/stop_run",
    "/api/upload_pgn",
];

/// A network that is known.
pub const NET: &str = "nn-0000000000a0.nnue";

/// A farm with two accounts: `alice`, who submits runs and has workers, and `bob`, who approves.
pub struct TestFarm {
    pub farm: Arc<Farm>,
    pub site: Arc<Site>,
    /// What goes wrong with the store.
    pub faults: Arc<Faults>,
    pub address: String,
    client: Client,
    server: ServerHandle,
    _directory: TempDir,
}

/// An answer, after it was searched for the password.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The JSON of a successful answer of a worker's path; its duration is checked and taken away.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        let mut json = self.json();
        let duration = json.as_object_mut().unwrap().shift_remove("duration");
        assert!(duration.is_some_and(|duration| duration.is_f64()), "{}", self.text());
        json
    }

    /// The message of a refusal, without the path that it begins with.
    #[track_caller]
    pub fn refusal(&self, status: u16, path: &str) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        let json = self.json();
        assert!(json["duration"].is_f64(), "{json}");
        assert_eq!(json.as_object().unwrap().len(), 2, "{json}");
        let error = json["error"].as_str().unwrap();
        error.strip_prefix(&format!("{path}: ")).unwrap_or_else(|| panic!("{error}")).to_owned()
    }

    /// Something that a worker takes for trouble of the network, and bridges.
    #[track_caller]
    pub fn is_try_again(&self) {
        assert_eq!(self.status, 503, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(self.header("retry-after").is_some());
        assert!(serde_json::from_slice::<Value>(&self.bytes).is_err());
    }
}

/// Settings of a test: nobody is limited.
pub fn settings() -> HttpSettings {
    HttpSettings { read_rate: 0.0, ..HttpSettings::default() }
}

impl TestFarm {
    pub async fn start() -> Self {
        Self::start_with(settings(), FarmSettings::default()).await
    }

    pub async fn start_with(settings: HttpSettings, farm_settings: FarmSettings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let inner: SharedStore = Arc::new(sqlite_in(directory.path()));
        let faults = Arc::new(Faults::default());
        let store = Arc::new(FaultyStore { inner, faults: faults.clone() });
        let clock = Arc::new(SystemClock::new());
        let state = Arc::new(MemoryState::new(clock.clone()));
        let farm = Farm::new(state, store, clock, farm_settings);
        farm.rebuild().await.unwrap();
        let site = Site::new(farm.clone(), settings, None);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = http::serve(site.clone(), listener, 2).unwrap();
        let handle = server.handle();
        drop(spawn::task("server", server));
        let client = web::client().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let this = Self { farm, site, faults, address, client, server: handle, _directory: directory };
        this.add_user("alice", false).await;
        this.add_user("bob", true).await;
        let net = bson::doc! { "_id": random::object_id(), "name": NET, "user": "alice", "downloads": 0 };
        this.farm.store.put_net(&net).await.unwrap();
        this
    }

    /// Adds an account with [`PASSWORD`].
    pub async fn add_user(&self, name: &str, approver: bool) {
        let command = Control::UserAdd {
            username: name.into(),
            password: PASSWORD.into(),
            email: format!("{name}@farm.example"),
            approver,
            pending: false,
            machine_limit: None,
        };
        self.farm.control(command).await.unwrap();
    }

    /// Creates and approves a run from [`form`] with some fields changed; a null takes a field away.
    pub async fn run(&self, changes: Value) -> String {
        let run = self.pending_run(changes).await;
        let approve = Control::RunApprove { run: run.clone(), approver: "bob".into() };
        self.farm.control(approve).await.unwrap();
        run
    }

    /// Creates a run that waits for approval. The form takes no fewer than 1000 games; a smaller number is set in the
    /// store, as an old database may have it.
    pub async fn pending_run(&self, changes: Value) -> String {
        let mut form = form();
        for (key, value) in changes.as_object().unwrap() {
            form[key] = value.clone();
        }
        let games = form["num_games"].as_i64().filter(|games| *games < 1000);
        if games.is_some() {
            form["num_games"] = 1000.into();
        }
        let reply = self.farm.control(Control::RunCreate { form }).await.unwrap();
        let run = reply.data["run"].as_str().unwrap().to_owned();
        if let Some(games) = games {
            self.shrink(RunId::parse(&run).unwrap(), games).await;
        }
        run
    }

    async fn shrink(&self, run: RunId, games: i64) {
        let version = self.farm.store.run(run).await.unwrap().unwrap().meta.args_version;
        let patch = RunPatch { set: vec![("args.num_games".into(), int(games))], actions: Vec::new() };
        let PatchOutcome::Applied(version) = self.farm.store.patch_run(run, version, &patch).await.unwrap()
        else {
            panic!("the run was changed by somebody else");
        };
        self.farm.take_over_args(run, version).await.unwrap();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        let mut request = self.client.request(method, self.url(path)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let reply = Reply { status, headers, bytes: response.bytes().await.unwrap().to_vec() };
        let holds = |bytes: &[u8]| bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes());
        assert!(!holds(&reply.bytes), "the password is in the answer of {path}");
        assert!(!reply.headers.values().map(HeaderValue::as_bytes).any(holds), "the password is in a header");
        reply
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, &[], body.to_string().into_bytes()).await
    }

    /// Entries of the log that match a query, newest first.
    pub async fn log(&self, query: Value) -> Vec<Value> {
        let reply = self.post("/api/actions", &query).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json().as_array().unwrap().clone()
    }

    /// A run as the public sees it.
    pub async fn show(&self, run: &str) -> Value {
        let reply = self.get(&format!("/api/get_run/{run}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// The process answers, and is ready.
    pub async fn is_healthy(&self) {
        assert_eq!(self.get("/livez").await.status, 200);
        self.says(200).await;
    }

    /// What `/readyz` says, once it has this status: it is found out beside the requests.
    pub async fn says(&self, status: u16) -> Value {
        for _ in 0..300 {
            let ready = self.get("/readyz").await;
            if ready.status == status {
                return ready.json();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("not {status}: {}", self.get("/readyz").await.text());
    }
}

impl Drop for TestFarm {
    fn drop(&mut self) {
        // Not awaited: the threads end by themselves.
        drop(self.server.stop(false));
    }
}

/// A sequential test; its time control makes batches of 16 pairs.
pub fn form() -> Value {
    json!({
        "base_tag": "master", "new_tag": "my_patch",
        "base_nets": [NET], "new_nets": [NET],
        "tc": "10+0.1", "book": "UHO_Lichess_4852_v1.epd", "book_depth": "8", "threads": 1,
        "resolved_base": "a".repeat(40), "resolved_new": "b".repeat(40),
        "msg_base": "Update net", "msg_new": "Simplify X",
        "base_options": "Hash=16", "new_options": "Hash=16", "info": "Simplify X",
        "base_signature": "2050811", "new_signature": "2050812", "username": "alice",
        "tests_repo": "https://github.com/alice/Stockfish",
        "sprt": {"elo0": 0.0, "elo1": 2.0},
    })
}

/// What makes of [`form`] a run of a fixed number of games.
pub fn fixed_games(games: u64) -> Value {
    json!({"sprt": null, "num_games": games})
}

/// What makes of [`form`] a tuning run of two parameters.
pub fn tuning(games: u64) -> Value {
    json!({
        "sprt": null, "num_games": games,
        "spsa": {"A": 0.1, "alpha": 0.602, "gamma": 0.101,
                 "raw_params": "foo,100,0,200,10,0.002\nbar,50,0,100,5,0.002"},
    })
}

/// A worker of `alice`; clones are the same machine.
#[derive(Debug, Clone)]
pub struct Worker {
    pub username: String,
    pub password: String,
    pub unique_key: String,
    pub concurrency: u64,
}

impl Worker {
    /// The n-th machine.
    pub fn new(n: u32) -> Self {
        Self {
            username: "alice".into(),
            password: PASSWORD.into(),
            unique_key: format!("{n:08x}-5a28-4b7d-b27b-d78d97ecf11a"),
            concurrency: 7,
        }
    }

    pub fn of(username: &str, n: u32) -> Self {
        Self { username: username.into(), ..Self::new(n) }
    }

    pub fn short_name(&self) -> String {
        format!("{}-{}cores-{}", self.username, self.concurrency, &self.unique_key[..8])
    }

    pub fn long_name(&self) -> String {
        format!("{}-{}", self.short_name(), &self.unique_key[9..13])
    }

    pub fn info(&self) -> Value {
        json!({
            "uname": "Linux 6.8", "architecture": ["64bit", "ELF"], "concurrency": self.concurrency,
            "max_memory": 16000, "min_threads": 1, "username": self.username, "version": 325,
            "python_version": [3, 12, 3], "gcc_version": [13, 2, 0], "compiler": "g++",
            "unique_key": self.unique_key, "modified": false, "worker_arch": "x86-64-avx2", "ARCH": "?",
            "nps": 1_234_567.5, "near_github_api_limit": false,
        })
    }

    /// The body of a request about nothing in particular.
    pub fn body(&self) -> Value {
        json!({"password": self.password, "worker_info": self.info()})
    }

    /// The body of a request about a task.
    pub fn about(&self, run: &str, task: u64) -> Value {
        let mut body = self.body();
        body["run_id"] = run.into();
        body["task_id"] = task.into();
        body
    }

    /// The body of a report.
    pub fn report(&self, run: &str, task: u64, stats: Value) -> Value {
        let mut body = self.about(run, task);
        body["stats"] = stats;
        body
    }

    /// Asks for a task and gets one: the run, the task number and `my_task`.
    pub async fn take(&self, farm: &TestFarm) -> (String, u64, Value) {
        let answer = farm.post("/api/request_task", &self.body()).await.ok();
        let run = answer["run"]["_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        (run, answer["task_id"].as_u64().unwrap(), answer["run"]["my_task"].clone())
    }
}

/// Consistent results of so many pairs by their scores.
pub fn stats(pentanomial: [u64; 5]) -> Value {
    let [p0, p1, p2, p3, p4] = pentanomial;
    json!({
        "wins": 2 * p4 + p3, "losses": 2 * p0 + p1, "draws": p1 + 2 * p2 + p3,
        "crashes": 0, "time_losses": 0, "pentanomial": pentanomial,
    })
}

//! A farm on a temporary file, with a user, approved runs and requests as workers send them.

// Each benchmark uses a part of it.
#![allow(dead_code)]

mod allocator;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shoal::domain::ids::RunId;
use shoal::domain::names::LegacyUsernames;
use shoal::domain::validate::{Body, WorkerRequest};
use shoal::service::control::Control;
use shoal::service::request_task::{Origin, TaskAnswer};
use shoal::service::{Farm, FarmSettings};
use shoal::state::SchedulingState;
use shoal::state::memory::MemoryState;
use shoal::state::redis::{RedisSettings, RedisState, RedisUrl};
use shoal::store::SharedStore;
use shoal::store::sqlite::{Mode, SqliteStore};
use shoal::sys::clock::SystemClock;
use shoal::sys::random;

/// A farm that goes with its directory.
pub struct BenchFarm {
    /// The farm.
    pub farm: Arc<Farm>,
    _dir: tempfile::TempDir,
}

/// A schedule of its own on the Redis that `SHOAL_BENCH_REDIS_URL` names, if it names one.
pub async fn redis() -> Option<Arc<RedisState>> {
    let url = std::env::var("SHOAL_BENCH_REDIS_URL").ok()?;
    let settings = RedisSettings {
        url: RedisUrl::new(&url).expect("an address of Redis"),
        prefix: format!("bench-{}", random::identity()),
        deadline: Duration::from_secs(10),
        pool: 4,
    };
    Some(RedisState::connect(&settings).await.expect("a Redis that answers"))
}

/// Opens a farm on a temporary file, its schedule in memory or, if one is named, on a Redis.
pub async fn farm(runs: usize) -> (BenchFarm, Vec<RunId>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open(dir.path().join("shoal.db"), Mode::Serve).expect("a new database");
    let (farm, ids) = farm_on(Arc::new(store), runs).await;
    (BenchFarm { farm, _dir: dir }, ids)
}

/// A farm on an empty store, with one account and `runs` approved runs of a fixed number of games.
pub async fn farm_on(store: SharedStore, runs: usize) -> (Arc<Farm>, Vec<RunId>) {
    let clock = Arc::new(SystemClock::new());
    let state: Arc<dyn SchedulingState> = match redis().await {
        Some(state) => state,
        None => Arc::new(MemoryState::new(clock.clone())),
    };
    let settings = FarmSettings { request_slots: 64, ..FarmSettings::default() };
    let farm = Farm::new(state, store, clock, settings);
    farm.rebuild().await.expect("an empty schedule");
    for (username, approver) in [("bench", false), ("approver", true)] {
        let add = Control::UserAdd {
            username: username.to_owned(),
            password: "secret".to_owned(),
            email: String::new(),
            approver,
            pending: false,
            machine_limit: Some(1_000_000),
        };
        farm.control(add).await.expect("a new account");
    }
    let mut ids = Vec::new();
    for i in 0..runs {
        let form = json!({
            "username": "bench", "new_tag": format!("patch{i}"), "base_tag": "base",
            "resolved_new": "b".repeat(40), "resolved_base": "a".repeat(40),
            "msg_new": "new", "msg_base": "base",
            "new_signature": "2050812", "base_signature": "2050811",
            "new_nets": [], "base_nets": [], "tc": "10+0.1",
            "book": "UHO_Lichess_4852_v1.epd", "book_depth": "8", "threads": 1,
            "new_options": "Hash=16", "base_options": "Hash=16", "info": "bench",
            "tests_repo": "https://github.com/bench/Stockfish", "num_games": 3_200_000,
        });
        let reply = farm.control(Control::RunCreate { form }).await.expect("a new run");
        let run = reply.data["run"].as_str().expect("its id").to_owned();
        let approve = Control::RunApprove { run: run.clone(), approver: "approver".to_owned() };
        farm.control(approve).await.expect("an approval");
        ids.push(RunId::parse(&run).expect("an id"));
    }
    (farm, ids)
}

/// A worker's request with extra top-level keys.
pub fn body(worker: usize, extra: Value) -> Vec<u8> {
    let mut body = json!({
        "password": "secret",
        "worker_info": {
            "uname": "Linux 6.8.0", "architecture": ["64bit", "ELF"], "concurrency": 8,
            "max_memory": 16000, "min_threads": 1, "username": "bench", "version": 325,
            "python_version": [3, 12, 1], "gcc_version": [13, 2, 0], "compiler": "g++",
            "unique_key": format!("{worker:08x}-5a28-4b7d-b27b-d78d97ecf11a"), "modified": false,
            "worker_arch": "x86-64-avx2", "ARCH": "64bit BMI2 AVX2", "nps": 1_234_567.0,
            "near_github_api_limit": false,
        },
    });
    if let (Value::Object(body), Value::Object(extra)) = (&mut body, extra) {
        body.extend(extra);
    }
    serde_json::to_vec(&body).expect("JSON")
}

/// The same, checked.
pub fn request(worker: usize, extra: Value) -> WorkerRequest {
    let bytes = body(worker, extra);
    Body::parse(&bytes).expect("JSON").full(&LegacyUsernames::default()).expect("a good request")
}

/// Where a worker's requests come from.
pub fn origin(worker: usize) -> Origin {
    Origin {
        remote_addr: format!("10.{}.{}.{}", worker >> 16 & 255, worker >> 8 & 255, worker & 255),
        country: "?".to_owned(),
        host_url: "http://localhost".to_owned(),
    }
}

/// Gets a task for a worker.
pub async fn assign(farm: &Farm, worker: usize) -> (RunId, u32) {
    let answer = farm.request_task(&request(worker, json!({})), 1_000_000, origin(worker)).await;
    match answer.expect("an answer") {
        TaskAnswer::Assigned(run, task) => {
            let id = run.get_str("_id").expect("an id");
            (RunId::parse(id).expect("an id"), task.0)
        }
        other => panic!("no task: {other:?}"),
    }
}

/// The reports of one worker on a task, each a pair of games more than the one before.
pub struct Reporter {
    worker: usize,
    run: String,
    task: u32,
    pairs: u64,
}

impl Reporter {
    /// Gets the worker a task.
    pub async fn new(farm: &Farm, worker: usize) -> Self {
        let (run, task) = assign(farm, worker).await;
        Self { worker, run: run.to_string(), task, pairs: 0 }
    }

    /// The next report.
    pub fn next(&mut self) -> WorkerRequest {
        self.pairs += 1;
        let pairs = self.pairs;
        let stats = json!({
            "wins": pairs, "losses": pairs, "draws": 0, "crashes": 0, "time_losses": 0,
            "pentanomial": [0, 0, pairs, 0, 0],
        });
        request(self.worker, json!({ "run_id": self.run, "task_id": self.task, "stats": stats }))
    }
}

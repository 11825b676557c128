//! A farm on a file that outlives it, workers that speak to it, and the recomputation that checks it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bson::{DateTime, Document, doc};
use serde_json::{Value, json};
use shoal::domain::action_query::ActionQuery;
use shoal::domain::ids::{Millis, RunId, TaskId, TaskKey};
use shoal::domain::names::LegacyUsernames;
use shoal::domain::new_run::{RunForm, build_run};
use shoal::domain::results::Stats;
use shoal::domain::run::Phase;
use shoal::domain::task::TaskRecord;
use shoal::domain::validate::{Body, WorkerRequest};
use shoal::service::request_task::{Origin, TaskAnswer};
use shoal::service::run_cache::CachedRun;
use shoal::service::update_task::UpdateAnswer;
use shoal::service::{Farm, FarmSettings, ServiceResult};
use shoal::state::memory::MemoryState;
use shoal::store::codec::{as_count, read_stats};
use shoal::store::{APPROVERS, RunMeta, SharedStore, StoredRun, User};
use shoal::sys::clock::ManualClock;
use shoal::sys::random;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::faulty::{Faults, FaultyStore};
use crate::durability::fixtures::sqlite_in;

/// Days after the epoch at which everything here begins.
const START: i64 = 20_000 * 24 * 3600 * 1000;

/// A network that is known.
pub const NET: &str = "nn-0000000000a0.nnue";

/// A data directory and a clock.
pub struct World {
    directory: TempDir,
    pub clock: ManualClock,
    pub faults: Arc<Faults>,
    pub settings: FarmSettings,
}

/// A farm from its start to its death.
pub struct Life {
    runtime: Option<Runtime>,
    pub farm: Arc<Farm>,
}

impl World {
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(Millis(START)),
            faults: Arc::new(Faults::default()),
            settings: FarmSettings { request_slots: 64, ..FarmSettings::default() },
        }
    }

    /// Starts a farm over the file, rebuilt.
    pub fn start(&self) -> Life {
        self.faults.heal();
        self.start_on(async {
            let inner: SharedStore = Arc::new(sqlite_in(self.directory.path()));
            Arc::new(FaultyStore { inner, faults: self.faults.clone() }) as SharedStore
        })
    }

    /// The same over a store that is opened in the farm's own life.
    pub fn start_on(&self, store: impl Future<Output = SharedStore>) -> Life {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let clock = Arc::new(self.clock.clone());
        let farm = runtime.block_on(async {
            let state = Arc::new(MemoryState::new(clock.clone()));
            let farm = Farm::new(state, store.await, clock, self.settings.clone());
            farm.rebuild().await.unwrap();
            farm
        });
        Life { runtime: Some(runtime), farm }
    }

    /// A first start with accounts: alice submits, bob approves.
    pub fn begin() -> (Self, Life) {
        Self::begin_with(|_| ())
    }

    /// The same, with other settings.
    pub fn begin_with(change: impl FnOnce(&mut FarmSettings)) -> (Self, Life) {
        let mut world = Self::new();
        change(&mut world.settings);
        let life = world.start();
        life.add_accounts();
        (world, life)
    }
}

impl Life {
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(work)
    }

    /// Accounts: alice submits, bob approves, carol has machines.
    pub fn add_accounts(&self) {
        self.run(async {
            for (name, groups) in [("alice", vec![]), ("bob", vec![APPROVERS.to_owned()]), ("carol", vec![])]
            {
                self.farm.store.insert_user(&user(name, groups)).await.unwrap();
            }
            let net = doc! { "_id": random::object_id(), "name": NET, "user": "alice", "downloads": 0 };
            self.farm.store.put_net(&net).await.unwrap();
        });
    }

    /// The process dies: whatever is under way is dropped where it stands.
    pub fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }

    /// What the leader does every second, and what was started before it is waited for.
    pub fn tick(&self) {
        self.run(async {
            self.farm.sweep().await.unwrap();
            self.farm.take_up_sagas().await.unwrap();
            self.farm.flush_runs().await.unwrap();
            self.farm.reconcile().await.unwrap();
        });
    }

    /// Waits until a run is out of the schedule, or running again.
    pub fn settle(&self, run: RunId) {
        self.run(async {
            // Long enough for a slow disk; what a slow disk interrupted is taken up again.
            for waited in 1..6000 {
                if waited % 100 == 0 {
                    self.farm.take_up_sagas().await.unwrap();
                }
                match self.farm.state.read_run(run).await.unwrap() {
                    Some(view) if view.phase == Phase::Running => return,
                    Some(_) => {}
                    None => {
                        // Between its end and its revival a run is nowhere, but not finished.
                        let stored = self.farm.store.run(run).await.unwrap().unwrap();
                        if stored.doc.get_bool("finished").unwrap() {
                            return;
                        }
                    }
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("run {run} stays in between");
        });
    }

    /// The log, oldest first: action and message.
    pub fn log(&self) -> Vec<String> {
        let entries = self.run(self.farm.store.find_actions(&ActionQuery::default(), 10_000)).unwrap();
        entries.iter().rev().map(described).collect()
    }

    pub fn document(&self, run: RunId) -> StoredRun {
        self.run(self.farm.store.run(run)).unwrap().unwrap()
    }

    pub fn stored_tasks(&self, run: RunId) -> Vec<TaskRecord> {
        self.run(self.farm.store.tasks(run, TaskId(0), 100_000)).unwrap()
    }

    /// Recomputes a run from its tasks, and compares with whoever has the numbers: the schedule, else the document.
    pub fn check(&self, run: RunId) {
        let live = self.run(self.farm.state.read_run(run)).unwrap();
        let mut tasks = self.stored_tasks(run);
        for view in self.run(self.farm.state.read_tasks(run)).unwrap() {
            let at = view.record.key.task.0 as usize;
            if at == tasks.len() {
                tasks.push((*view.record).clone());
            } else {
                tasks[at] = (*view.record).clone();
            }
        }
        let mut sum = Stats::default();
        let (mut workers, mut cores, mut committed, mut total) = (0, 0, 0, 0);
        for (number, task) in tasks.iter().enumerate() {
            assert_eq!(task.key.task.0 as usize, number, "numbers have no holes");
            assert_eq!(task.start, total, "openings follow one another");
            sum = sum.plus(&task.stats).unwrap();
            total += task.num_games;
            committed += task.committed();
            if task.active {
                workers += 1;
                cores += u64::from(task.worker.as_ref().unwrap().concurrency);
            }
            if task.bad.is_some() {
                assert!(!task.active && task.stats == Stats::default());
            }
        }
        match live {
            Some(view) => {
                let counters = view.counters;
                assert_eq!(counters.results, sum);
                assert_eq!((counters.workers, counters.cores), (workers, cores));
                assert_eq!((counters.committed_games, counters.total_games), (committed, total));
                assert_eq!(self.run(self.farm.state.audit(run)).unwrap(), [""; 0]);
            }
            None => {
                let doc = self.document(run).doc;
                let count = |key: &str| as_count(doc.get(key)).unwrap();
                assert_eq!(read_stats(doc.get_document("results").unwrap()), sum);
                assert_eq!((count("workers"), count("cores")), (0, 0));
                assert_eq!((workers, cores), (0, 0), "every task is closed");
                assert_eq!((count("committed_games"), count("total_games")), (committed, total));
                assert!(doc.get_bool("finished").unwrap());
                assert_eq!(doc.get_f64("nps").unwrap(), 0.0);
            }
        }
    }

    /// Makes a run and approves it.
    pub fn approved(&self, changes: Value) -> RunId {
        let form = RunForm::from_json(&form(changes)).unwrap();
        self.run(async {
            let run = self.farm.create_run(&form).await.unwrap();
            self.farm.approve_run(run, "bob").await.unwrap();
            run
        })
    }

    /// An approved run whose document was changed before it came into the schedule.
    pub fn custom(&self, changes: Value, edit: impl FnOnce(&mut Document)) -> RunId {
        let form = RunForm::from_json(&form(changes)).unwrap();
        let id = RunId(random::object_id());
        let mut doc = build_run(&form, id.0, DateTime::from_millis(self.farm.now().0)).unwrap();
        doc.insert("approved", true);
        doc.insert("approver", "bob");
        edit(&mut doc);
        let stored = StoredRun { id, doc, meta: RunMeta::new(Phase::Running) };
        self.run(async {
            self.farm.store.insert_run(&stored, &[]).await.unwrap();
            assert!(self.farm.load_stored(id).await.unwrap());
        });
        id
    }

    pub fn request(&self, worker: &Worker) -> TaskAnswer {
        self.run(worker.request(&self.farm)).unwrap()
    }

    /// A task, which there must be.
    pub fn task(&self, worker: &Worker) -> (TaskKey, u64, u64) {
        let answer = self.request(worker);
        let TaskAnswer::Assigned(doc, task) = answer else { panic!("no task but {answer:?}") };
        let run = RunId::parse(doc.get_str("_id").unwrap()).unwrap();
        let mine = doc.get_document("my_task").unwrap();
        let count = |key: &str| as_count(mine.get(key)).unwrap();
        (TaskKey { run, task }, count("num_games"), count("start"))
    }

    pub fn update(&self, worker: &Worker, key: TaskKey, stats: Stats) -> UpdateAnswer {
        self.run(worker.update(&self.farm, key, stats, None)).unwrap()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A machine.
#[derive(Debug, Clone)]
pub struct Worker {
    pub username: String,
    pub cores: u32,
    pub key: String,
    pub address: String,
    pub limit: u32,
}

impl Worker {
    pub fn new(number: u32, cores: u32) -> Self {
        Self {
            username: "carol".to_owned(),
            cores,
            key: format!("{number:08x}-0000-1111-2222-333333333333"),
            address: format!("10.0.{}.{}", number / 250, number % 250),
            limit: 16,
        }
    }

    /// A request as it comes in.
    pub fn body(&self, more: Value) -> WorkerRequest {
        let mut body = json!({
            "password": "secret",
            "worker_info": {
                "uname": "Linux 6.8", "architecture": ["64bit", "ELF"], "concurrency": self.cores,
                "max_memory": 64000, "min_threads": 1, "username": self.username, "version": 300,
                "python_version": [3, 12, 1], "gcc_version": [13, 2, 0], "compiler": "g++",
                "unique_key": self.key, "modified": false, "worker_arch": "unknown", "ARCH": "?",
                "nps": 1_000_000.0, "near_github_api_limit": false,
            },
        });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let text = body.to_string();
        Body::parse(text.as_bytes()).unwrap().full(&LegacyUsernames::default()).unwrap()
    }

    pub fn about(&self, key: TaskKey, more: Value) -> WorkerRequest {
        let mut body = json!({ "run_id": key.run.to_string(), "task_id": key.task.0 });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.body(body)
    }

    pub async fn request(&self, farm: &Farm) -> ServiceResult<TaskAnswer> {
        let origin = Origin {
            remote_addr: self.address.clone(),
            country: "?".to_owned(),
            host_url: "http://localhost".to_owned(),
        };
        farm.request_task(&self.body(json!({})), self.limit, origin).await
    }

    /// A sign of life; whether the task is alive.
    pub async fn beats(&self, farm: &Farm, key: TaskKey) -> bool {
        farm.beat(&self.about(key, json!({}))).await.unwrap()
    }

    pub async fn update(
        &self,
        farm: &Farm,
        key: TaskKey,
        stats: Stats,
        spsa: Option<Value>,
    ) -> ServiceResult<UpdateAnswer> {
        let mut more = json!({ "stats": stats });
        if let Some(spsa) = spsa {
            more["spsa"] = spsa;
        }
        farm.update_task(&self.about(key, more), "?").await
    }
}

pub fn user(name: &str, groups: Vec<String>) -> User {
    User {
        id: random::object_id(),
        username: name.to_owned(),
        plain_password: None,
        registration_time: None,
        pending: false,
        blocked: false,
        email: String::new(),
        groups,
        tests_repo: String::new(),
        machine_limit: 16,
        extra: Document::new(),
    }
}

/// A fixed number of games at 10+0.1, unless something else is said.
pub fn form(changes: Value) -> Value {
    let mut form = json!({
        "base_tag": "master", "new_tag": "my_patch",
        "base_nets": [NET], "new_nets": [NET],
        "tc": "10+0.1", "book": "UHO_Lichess_4852_v1.epd", "book_depth": "8", "threads": 1,
        "resolved_base": "a".repeat(40), "resolved_new": "b".repeat(40),
        "msg_base": "Update net", "msg_new": "Simplify X",
        "base_options": "Hash=16", "new_options": "Hash=16", "info": "Simplify X",
        "base_signature": "2050811", "new_signature": "2050812", "username": "alice",
        "tests_repo": "https://github.com/alice/Stockfish",
    });
    for (key, value) in changes.as_object().unwrap() {
        form[key] = value.clone();
    }
    if form.get("sprt").is_none() && form.get("num_games").is_none() {
        form["num_games"] = json!(1000);
    }
    form
}

/// Statistics with these pair counts.
pub fn pairs(p: [u64; 5]) -> Stats {
    Stats {
        wins: p[3] + 2 * p[4],
        losses: p[1] + 2 * p[0],
        draws: p[1] + 2 * p[2] + p[3],
        crashes: 0,
        time_losses: 0,
        pentanomial: p,
    }
}

/// Statistics of so many games, a pair of which is drawn.
pub fn drawn(games: u64) -> Stats {
    pairs([0, 0, games / 2, 0, 0])
}

fn described(entry: &Document) -> String {
    let action = entry.get_str("action").unwrap();
    match (entry.get_str("message"), as_count(entry.get("task_id"))) {
        (Ok(message), Some(task)) => format!("{action} {task}: {message}"),
        (Ok(message), None) => format!("{action}: {message}"),
        (Err(_), Some(task)) => format!("{action} {task}"),
        (Err(_), None) => action.to_owned(),
    }
}

/// The core hours that let an account's workers stop runs.
pub async fn trust(farm: &Farm, username: &str, hours: f64) {
    let entry = doc! { "_id": username, "username": username, "cpu_hours": hours };
    farm.store.put_user_cache(&entry).await.unwrap();
}

/// The record of a stored run as it travels, for comparing bit for bit.
pub fn stored_record(stored: &StoredRun) -> String {
    CachedRun::new(stored).stored_record(stored.meta.folded).unwrap().to_text().unwrap()
}

//! Several replicas of one farm in one process: each with its own clock, its own way to the store, and its own death.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bson::{Document, doc};
use serde_json::Value;
use shoal::domain::action_query::ActionQuery;
use shoal::domain::ids::{Millis, RunId, TaskId, TaskKey};
use shoal::domain::new_run::RunForm;
use shoal::domain::results::Stats;
use shoal::domain::run::Phase;
use shoal::service::membership::Standing;
use shoal::service::request_task::TaskAnswer;
use shoal::service::update_task::UpdateAnswer;
use shoal::service::{Farm, FarmSettings};
use shoal::state::SchedulingState;
use shoal::state::memory::MemoryState;
use shoal::store::codec::{as_count, read_stats};
use shoal::store::{APPROVERS, SharedStore};
use shoal::sys::clock::{Clock, ManualClock, SystemClock};
use shoal::sys::random;

use crate::durability::fixtures::SqliteFixture;
use crate::durability::mongo_server::MongoFixture;
use crate::service::farm::{NET, Worker, form, user};
use crate::service::faulty::{Faults, FaultyStore};

/// Days after the epoch at which everything here begins.
const START: i64 = 20_000 * 24 * 3600 * 1000;

/// A schedule and a store that replicas share.
pub struct Place {
    pub state: Arc<MemoryState>,
    pub store: SharedStore,
    /// The schedule's clock.
    pub clock: ManualClock,
}

/// One of the replicas.
pub struct Replica {
    pub farm: Arc<Farm>,
    pub clock: ManualClock,
    pub faults: Arc<Faults>,
}

/// Carries out a test over each kind of store.
pub async fn over_each_store<F: Future<Output = ()>>(test: impl Fn(Place) -> F) {
    let sqlite = SqliteFixture::new();
    test(Place::new(sqlite.store()).await).await;
    if let Some(mongo) = MongoFixture::new().await {
        test(Place::new(mongo.store()).await).await;
        mongo.finish().await;
    }
}

/// The same over the file alone, where the store makes no difference.
pub async fn over_a_file<F: Future<Output = ()>>(test: impl FnOnce(Place) -> F) {
    let sqlite = SqliteFixture::new();
    test(Place::new(sqlite.store()).await).await;
}

impl Place {
    pub async fn new(store: SharedStore) -> Self {
        let clock = ManualClock::new(Millis(START));
        let state = Arc::new(MemoryState::new(Arc::new(clock.clone())));
        for (name, groups) in [("alice", vec![]), ("bob", vec![APPROVERS.to_owned()]), ("carol", vec![])] {
            store.insert_user(&user(name, groups)).await.unwrap();
        }
        let net = doc! { "_id": random::object_id(), "name": NET, "user": "alice", "downloads": 0 };
        store.put_net(&net).await.unwrap();
        Self { state, store, clock }
    }

    /// A replica that has not looked at anything yet.
    pub fn replica(&self) -> Replica {
        let clock = ManualClock::new(Millis(START));
        let faults = Arc::new(Faults::default());
        let store = Arc::new(FaultyStore { inner: self.store.clone(), faults: faults.clone() });
        let farm = Farm::new(self.state.clone(), store, Arc::new(clock.clone()), settings());
        Replica { farm, clock, faults }
    }

    /// A replica by the machine's clocks, for what happens by itself.
    pub fn living(store: SharedStore, state: Arc<dyn SchedulingState>) -> Arc<Farm> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Farm::new(state, store, clock, settings())
    }

    /// Two replicas that serve; the first leads.
    pub async fn pair(&self) -> (Replica, Replica) {
        let (first, second) = (self.replica(), self.replica());
        first.serves().await;
        second.serves().await;
        assert!(first.farm.leadership().is_some() && second.farm.leadership().is_none());
        (first, second)
    }

    /// Everybody's time goes on.
    pub fn pass(&self, replicas: &[&Replica], ms: i64) {
        self.clock.advance(ms);
        for replica in replicas {
            replica.clock.advance(ms);
        }
    }

    /// The log, oldest first: action and message.
    pub async fn log(&self) -> Vec<String> {
        let entries = self.store.find_actions(&ActionQuery::default(), 10_000).await.unwrap();
        let told = |entry: &Document| {
            let action = entry.get_str("action").unwrap();
            entry.get_str("message").map_or(action.to_owned(), |message| format!("{action}: {message}"))
        };
        entries.iter().rev().map(told).collect()
    }

    /// Recomputes a run from its tasks, and compares with whoever has the numbers: the schedule, else the document.
    pub async fn check(&self, run: RunId) {
        let live = self.state.read_run(run).await.unwrap();
        let mut tasks = self.store.tasks(run, TaskId(0), 100_000).await.unwrap();
        for view in self.state.read_tasks(run).await.unwrap() {
            let at = view.record.key.task.0 as usize;
            if at == tasks.len() {
                tasks.push((*view.record).clone());
            } else {
                tasks[at] = (*view.record).clone();
            }
        }
        let (mut sum, mut end, mut active) = (Stats::default(), 0, 0);
        for (number, task) in tasks.iter().enumerate() {
            assert_eq!(task.key.task.0 as usize, number, "numbers have no holes");
            assert_eq!(task.start, end, "openings follow one another");
            end += task.num_games;
            sum = sum.plus(&task.stats).unwrap();
            active += u32::from(task.active);
        }
        if let Some(view) = live {
            assert_eq!(view.counters.results, sum);
            assert_eq!((view.counters.workers, view.counters.total_games), (active, end));
            assert_eq!(self.state.audit(run).await.unwrap(), [""; 0]);
            assert_eq!(self.state.audit_structures().await.unwrap(), [""; 0]);
            return;
        }
        let doc = self.store.run(run).await.unwrap().unwrap().doc;
        assert_eq!(read_stats(doc.get_document("results").unwrap()), sum);
        assert_eq!((active, as_count(doc.get("workers")).unwrap()), (0, 0), "every task is closed");
        assert!(doc.get_bool("finished").unwrap());
    }

    /// Waits until a run is out of the schedule, or running again.
    pub async fn settle(&self, run: RunId) {
        for _ in 0..6000 {
            match self.state.read_run(run).await.unwrap() {
                Some(view) if view.phase == Phase::Running => return,
                Some(_) => {}
                None => {
                    let stored = self.store.run(run).await.unwrap().unwrap();
                    if stored.doc.get_bool("finished").unwrap() {
                        return;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("run {run} stays in between");
    }
}

fn settings() -> FarmSettings {
    FarmSettings { request_slots: 64, shared: true, ..FarmSettings::default() }
}

impl Replica {
    /// Looks at the schedule, and serves.
    pub async fn serves(&self) {
        assert_eq!(self.looks().await, Standing::Serving);
    }

    pub async fn looks(&self) -> Standing {
        self.farm.look(true).await.unwrap()
    }

    pub async fn task(&self, worker: &Worker) -> TaskKey {
        let answer = worker.request(&self.farm).await.unwrap();
        let TaskAnswer::Assigned(doc, task) = answer else { panic!("no task but {answer:?}") };
        TaskKey { run: RunId::parse(doc.get_str("_id").unwrap()).unwrap(), task }
    }

    pub async fn update(&self, worker: &Worker, key: TaskKey, stats: Stats) -> UpdateAnswer {
        worker.update(&self.farm, key, stats, None).await.unwrap()
    }

    pub async fn approved(&self, changes: Value) -> RunId {
        approved(&self.farm, changes).await
    }
}

/// Makes a run and approves it.
pub async fn approved(farm: &Farm, changes: Value) -> RunId {
    let form = RunForm::from_json(&form(changes)).unwrap();
    let run = farm.create_run(&form).await.unwrap();
    farm.approve_run(run, "bob").await.unwrap();
    run
}

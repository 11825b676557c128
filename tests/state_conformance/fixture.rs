//! A loaded schedule, and requests to it.

use std::sync::Arc;
use std::time::Duration;

use bson::Document;
use bson::oid::ObjectId;
use shoal::domain::action::{CloseCause, CloseKind};
use shoal::domain::fold::Record;
use shoal::domain::ids::*;
use shoal::domain::results::Stats;
use shoal::domain::run::{Counters, FinishReason, Phase, RunKind, RunOperation};
use shoal::domain::task::{BodyDigest, SpsaRound, TaskWorker};
use shoal::state::memory::MemoryState;
use shoal::state::redis::{RedisSettings, RedisState, RedisUrl};
use shoal::state::*;
use shoal::sys::clock::{Clock, ManualClock};
use shoal::sys::random;

use super::twin::Twin;
use crate::cluster::redis::RedisServer;

pub const SLOTS: u32 = 3;

const START: Millis = Millis(1_700_000_000_000);
pub const G: Generation = Generation(1);

pub struct Fixture {
    pub state: Arc<dyn SchedulingState>,
    pub clock: ManualClock,
}

impl Fixture {
    pub async fn memory() -> Self {
        let clock = ManualClock::new(START);
        let state = Arc::new(MemoryState::new(Arc::new(clock.clone())));
        Self::begin(state, clock).await
    }

    /// Over a Redis Cluster of one node, reached as a cluster.
    pub async fn cluster() -> Option<Self> {
        let clock = ManualClock::new(START);
        let url = RedisServer::shared_cluster()?.url().replacen("redis://", "redis+cluster://", 1);
        let state = redis_state(url.trim_end_matches('/'), Some(&clock)).await;
        Some(Self::begin(state, clock).await)
    }

    /// In a process's memory and on a real Redis at once, every answer compared.
    pub async fn twin() -> Option<Self> {
        Some(Self::twin_at(&RedisServer::shared()?.url()).await)
    }

    pub async fn twin_at(url: &str) -> Self {
        let clock = ManualClock::new(START);
        let state = redis_state(url, Some(&clock)).await;
        let model = Arc::new(MemoryState::new(Arc::new(clock.clone())));
        Self::begin(Arc::new(Twin::new(model, state)), clock).await
    }

    pub async fn begin(state: Arc<dyn SchedulingState>, clock: ManualClock) -> Self {
        assert!(state.set_generation(G, LoadState::Loading).await.unwrap());
        assert!(state.set_generation(G, LoadState::Loaded).await.unwrap());
        Self { state, clock }
    }

    pub async fn run(&self, kind: RunKind, num_games: u64) -> RunId {
        let load = load(kind, num_games);
        assert!(self.state.load_run(G, load.clone()).await.unwrap());
        assert!(!self.state.load_run(G, load.clone()).await.unwrap(), "replaces nothing");
        load.id
    }

    pub async fn admit(&self, worker: &TaskWorker) -> AdmissionOutcome {
        self.state.semaphore_acquire(admission(worker, &worker.unique_key)).await.unwrap()
    }

    pub async fn assign(&self, run: RunId, worker: &TaskWorker, cap: u64) -> AssignOutcome {
        self.state.assign_task(G, assignment(run, worker, cap)).await.unwrap()
    }

    /// A new task.
    pub async fn claim(&self, run: RunId, worker: &TaskWorker, cap: u64) -> Claim {
        match self.assign(run, worker, cap).await {
            AssignOutcome::Claimed(claim) => *claim,
            other => panic!("no task but {other:?}"),
        }
    }

    pub async fn update(&self, key: TaskKey, worker: &TaskWorker, stats: Stats) -> UpdateOutcome {
        self.state.update_task(G, report(key, worker, stats, None)).await.unwrap()
    }

    /// Everything becomes durable.
    pub async fn ack_all(&self) {
        let dirty =
            self.state.peek_dirty(DirtyFilter { limit: usize::MAX, ..Default::default() }).await.unwrap();
        let tasks = dirty.tasks.iter().map(|task| DurableAck::Task {
            key: task.record.key,
            version: task.record.version,
            told: true,
        });
        let runs = dirty.runs.iter().map(|run| DurableAck::Run(run.id, run.version, run.position));
        let acks: Vec<_> = tasks.chain(runs).collect();
        self.state.ack_dirty(G, &acks).await.unwrap();
    }

    pub async fn view(&self, run: RunId) -> RunView {
        self.state.read_run(run).await.unwrap().unwrap()
    }

    pub async fn give_up(&self, key: TaskKey, worker: &TaskWorker) -> CloseOutcome {
        let why = CloseWhy::Given { who: caller(key, worker), cause: Some(cause(CloseKind::Failed)) };
        let close = CloseTask { key, why, write_id: random::write_id() };
        self.state.close_task(G, close).await.unwrap()
    }

    pub async fn dead(&self, key: TaskKey, cutoff: Millis, token: Token) -> StateResult<CloseOutcome> {
        let why = CloseWhy::Dead { cutoff, token, cause: cause(CloseKind::Dead) };
        self.state.close_task(G, CloseTask { key, why, write_id: random::write_id() }).await
    }

    pub async fn phase(&self, run: RunId, from: Phase, to: Phase, operation: &RunOperation) -> PhaseOutcome {
        let write_id = random::write_id();
        let request = SetPhase { run, from, to, operation: operation.clone(), write_id };
        self.state.set_phase(G, request).await.unwrap()
    }

    pub async fn close_slice(
        &self,
        run: RunId,
        operation: &RunOperation,
        limit: usize,
    ) -> StateResult<SliceOutcome> {
        let request = CloseSlice { run, operation: operation.id, limit, write_id: random::write_id() };
        self.state.close_slice(G, request).await
    }

    pub async fn leader(&self) -> Token {
        let ttl = Duration::from_secs(1_000_000_000);
        match self.state.lease_acquire(LeaseName::Leader, "leader", ttl, G).await.unwrap() {
            LeaseOutcome::Held(token) => token,
            LeaseOutcome::Taken(lease) => panic!("{lease:?}"),
        }
    }
}

/// A schedule of its own on a server, by the server's clock or one that moves when told to.
pub async fn redis_state(url: &str, clock: Option<&ManualClock>) -> Arc<RedisState> {
    let settings = RedisSettings {
        url: RedisUrl::new(url).unwrap(),
        prefix: format!("test-{}", random::identity()),
        // Long enough for a machine that does something else.
        deadline: Duration::from_secs(30),
        pool: 4,
    };
    let clock = clock.map(|clock| Arc::new(clock.clone()) as Arc<dyn Clock>);
    RedisState::with_clock(&settings, clock).await.unwrap()
}

pub fn load(kind: RunKind, num_games: u64) -> RunLoad {
    RunLoad {
        id: RunId(random::object_id()),
        args: ArgsFields { version: 1, num_games, priority: 0 },
        kind,
        start_time: Millis(5),
        last_updated: Millis(5),
        phase: Phase::Running,
        operation: None,
        version: Version(0),
        counters: Counters::default(),
        itp: 100.0,
        nps: 0.0,
        games_per_minute: 0.0,
        next_task: TaskId(0),
        next_start: 0,
        record: Arc::from(Record::Games.to_text().unwrap()),
        position: 0,
        pending: Vec::new(),
        sequence: 0,
        tasks: Vec::new(),
    }
}

pub fn worker(number: u32, key: u32) -> TaskWorker {
    TaskWorker {
        username: "carol".to_owned(),
        unique_key: format!("{number:08x}-0000-0000-0000-{key:012x}"),
        short_name: ShortWorkerName(format!("carol-8cores-{number:08x}")),
        concurrency: 8,
        remote_addr: format!("10.0.0.{number}"),
    }
}

pub fn admission(worker: &TaskWorker, holder: &str) -> Admission {
    Admission {
        holder: holder.to_owned(),
        slots: SLOTS,
        slot_ttl: Duration::from_secs(10),
        worker: worker.clone(),
        machine_limit: 2,
    }
}

pub fn assignment(run: RunId, worker: &TaskWorker, cap: u64) -> AssignTask {
    AssignTask {
        run,
        args_version: 1,
        worker: worker.clone(),
        worker_info: Arc::new(Document::new()),
        machine_limit: 2,
        cap,
        slot: worker.unique_key.clone(),
        write_id: random::write_id(),
        stale: (random::write_id(), ids()),
    }
}

pub fn caller(key: TaskKey, worker: &TaskWorker) -> Caller {
    Caller { key, unique_key: worker.unique_key.clone(), username: worker.username.clone() }
}

pub fn report(key: TaskKey, worker: &TaskWorker, stats: Stats, spsa: Option<SpsaReport>) -> UpdateTask {
    UpdateTask {
        who: caller(key, worker),
        stats,
        spsa,
        digest: shoal::service::update_task::body_digest(&stats, None),
        worker_info: Arc::new(Document::new()),
        write_id: random::write_id(),
        action_ids: ids(),
    }
}

pub fn cause(kind: CloseKind) -> CloseCause {
    CloseCause::new(kind, "because", Millis(0), ids())
}

pub fn ids() -> [ObjectId; 2] {
    [random::object_id(), random::object_id()]
}

pub fn operation() -> RunOperation {
    RunOperation {
        id: random::object_id(),
        reason: FinishReason::UserStop,
        actor: "alice".to_owned(),
        time: Millis(0),
        action_ids: [random::object_id(); 4],
        worker_stop: None,
        purge: None,
    }
}

pub fn drawn(games: u64) -> Stats {
    Stats { draws: games, pentanomial: [0, 0, games / 2, 0, 0], ..Stats::default() }
}

pub fn round(iter: u64) -> SpsaRound {
    SpsaRound { iter, packed_flips: vec![0x80] }
}

pub fn digest(value: u64) -> BodyDigest {
    BodyDigest(value)
}

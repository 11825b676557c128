//! What the transitions are asked.

use std::sync::Arc;
use std::time::Duration;

use bson::Document;
use bson::oid::ObjectId;
use serde::{Deserialize, Serialize};

use crate::domain::action::CloseCause;
use crate::domain::ids::{
    Generation, Millis, RunId, ShortWorkerName, TaskId, TaskKey, Token, Version, WriteId,
};
use crate::domain::results::Stats;
use crate::domain::run::{Counters, Phase, RunKind, RunOperation};
use crate::domain::task::{BodyDigest, SpsaRound, TailEntry, TaskRecord, TaskWorker};

/// The leases there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaseName {
    /// Who runs the periodic scheduler.
    Leader,
    /// Who excludes assignments: an operator's pause, a migration.
    RequestTask,
}

/// Whether a generation can be worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadState {
    /// A rebuild is filling it.
    Loading,
    /// It serves.
    Loaded,
}

/// A request for a task, before a run is chosen.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Random identity of this request; holds the slot.
    pub holder: String,
    /// Number of slots, cluster-wide.
    pub slots: u32,
    /// A slot comes back by itself after this time.
    pub slot_ttl: Duration,
    /// Who asks.
    pub worker: TaskWorker,
    /// The account's limit of active tasks per address.
    pub machine_limit: u32,
}

/// Who a task operation claims to come from.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The task it is about.
    pub key: TaskKey,
    /// Its key must be the task's.
    pub unique_key: String,
    /// Its account must be the task's.
    pub username: String,
}

/// A claim on a run.
#[derive(Debug, Clone)]
pub struct AssignTask {
    /// The run that was chosen.
    pub run: RunId,
    /// Version of the arguments it was judged with.
    pub args_version: u64,
    /// Who gets the task.
    pub worker: TaskWorker,
    /// What goes into the task document.
    pub worker_info: Arc<Document>,
    /// The account's limit of active tasks per address.
    pub machine_limit: u32,
    /// Largest task for this machine (`spec/scheduling.md` section 3.6).
    pub cap: u64,
    /// Holder of the slot, freed by the claim.
    pub slot: String,
    /// Identity of the write that creates the task.
    pub write_id: WriteId,
    /// Identity of the write that closes a stale task, and the ids of its log entries.
    pub stale: (WriteId, [ObjectId; 2]),
}

/// A report of cumulative results.
#[derive(Debug, Clone)]
pub struct UpdateTask {
    /// From whom, about which task.
    pub who: Caller,
    /// Cumulative statistics of the task.
    pub stats: Stats,
    /// The tuning round's result.
    pub spsa: Option<SpsaReport>,
    /// Fingerprint of the two above.
    pub digest: BodyDigest,
    /// The worker information sent with it.
    pub worker_info: Arc<Document>,
    /// Identity of the write.
    pub write_id: WriteId,
    /// Ids of the log entries if this report completes the task.
    pub action_ids: [ObjectId; 2],
}

/// The SPSA part of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpsaReport {
    /// Games of this round won.
    pub wins: u64,
    /// Games of this round lost.
    pub losses: u64,
    /// Games of this round drawn.
    pub draws: u64,
    /// Their sum.
    pub num_games: u64,
    /// Checksum of the round's flips.
    pub sig: u64,
}

impl SpsaReport {
    /// Games of this round.
    pub fn games(&self) -> u64 {
        self.wins.saturating_add(self.losses).saturating_add(self.draws)
    }
}

/// A tuning round to note.
#[derive(Debug, Clone)]
pub struct BeginSpsa {
    /// From whom, about which task.
    pub who: Caller,
    /// The round.
    pub round: SpsaRound,
    /// Identity of the write.
    pub write_id: WriteId,
}

/// Why a task is closed.
#[derive(Debug, Clone)]
pub enum CloseWhy {
    /// Its worker gives it up; `cause` is logged. None: nothing is logged (an unauthorised stop).
    Given {
        /// Must match the task.
        who: Caller,
        /// What is logged.
        cause: Option<CloseCause>,
    },
    /// The leader found no sign of life since `cutoff`; checked again.
    Dead {
        /// Latest sign of life that still counts as dead.
        cutoff: Millis,
        /// The leader's token.
        token: Token,
        /// What is logged.
        cause: CloseCause,
    },
}

/// One task to close.
#[derive(Debug, Clone)]
pub struct CloseTask {
    /// Which.
    pub key: TaskKey,
    /// Why.
    pub why: CloseWhy,
    /// Identity of the write.
    pub write_id: WriteId,
}

/// A slice of a run's tasks to close.
#[derive(Debug, Clone)]
pub struct CloseSlice {
    /// The run; must be finishing or purging by operation `operation`.
    pub run: RunId,
    /// The operation's id.
    pub operation: ObjectId,
    /// At most so many tasks.
    pub limit: usize,
    /// Identity of the writes.
    pub write_id: WriteId,
}

/// A folded record.
#[derive(Debug, Clone)]
pub struct CommitFold {
    /// The run.
    pub run: RunId,
    /// Position the fold started from.
    pub from: u64,
    /// Position it reached.
    pub to: u64,
    /// The record there.
    pub record: Arc<str>,
    /// Identity of the write.
    pub write_id: WriteId,
}

/// A change of phase.
#[derive(Debug, Clone)]
pub struct SetPhase {
    /// The run.
    pub run: RunId,
    /// Phase it must be in.
    pub from: Phase,
    /// Phase it gets.
    pub to: Phase,
    /// The operation: set when it begins, compared when it goes on.
    pub operation: RunOperation,
    /// Identity of the write.
    pub write_id: WriteId,
}

/// New values for a run in the schedule; None leaves a field alone.
#[derive(Debug, Clone)]
pub struct SetRunFields {
    /// The run.
    pub run: RunId,
    /// Arguments: applied if newer than what is there.
    pub args: Option<ArgsFields>,
    /// Internal throughput.
    pub itp: Option<f64>,
    /// Nodes per second and games per minute.
    pub speed: Option<(f64, f64)>,
    /// The leader's token, where a job of the leader's sets this: a stale one changes nothing.
    pub leader: Option<Token>,
}

/// The arguments that the schedule itself needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArgsFields {
    /// Their version.
    pub version: u64,
    /// Games wanted.
    pub num_games: u64,
    /// Priority.
    pub priority: i64,
}

/// A run to put into the schedule.
#[derive(Debug, Clone)]
pub struct RunLoad {
    /// The run.
    pub id: RunId,
    /// Arguments the schedule needs.
    pub args: ArgsFields,
    /// How it decides.
    pub kind: RunKind,
    /// For the order of listings.
    pub start_time: Millis,
    /// Last accepted result.
    pub last_updated: Millis,
    /// Where it is in its life.
    pub phase: Phase,
    /// What is being done to it.
    pub operation: Option<RunOperation>,
    /// Version of the state-owned fields that is durable.
    pub version: Version,
    /// Aggregates.
    pub counters: Counters,
    /// Internal throughput, nodes per second, games per minute.
    pub itp: f64,
    /// Nodes per second.
    pub nps: f64,
    /// Games per minute.
    pub games_per_minute: f64,
    /// Number of the next task.
    pub next_task: TaskId,
    /// Opening of the next task.
    pub next_start: u64,
    /// The folded record.
    pub record: Arc<str>,
    /// Its position; all of it is durable.
    pub position: u64,
    /// Entries beyond it, in order.
    pub pending: Vec<TailEntry>,
    /// Last sequence number given out.
    pub sequence: u64,
    /// Tasks that are active or not yet durable.
    pub tasks: Vec<TaskRecord>,
}

/// Which dirty documents to look at.
#[derive(Debug, Clone, Copy, Default)]
pub struct DirtyFilter {
    /// Only this run's.
    pub run: Option<RunId>,
    /// Only those dirty since before.
    pub since: Option<Millis>,
    /// At most so many tasks.
    pub limit: usize,
}

/// Something became durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurableAck {
    /// A task, up to a version.
    Task {
        /// Which one.
        key: TaskKey,
        /// The version that the store has.
        version: Version,
        /// Whether somebody waits for this, to answer the worker: its claim counts as answered then. A claim that became
        /// durable when nobody waited any more (swept up after an outage) is still the worker's when it asks again.
        told: bool,
    },
    /// A run's state-owned fields, up to a version, with the record up to a position.
    Run(RunId, Version, u64),
}

/// What a generation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationView {
    /// Its number.
    pub generation: Generation,
    /// Whether it serves.
    pub state: LoadState,
}

/// What a replica changed and others may have cached. Best effort: caches end by themselves, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invalidation {
    /// An account, by name.
    User(String),
    /// A run's arguments.
    Run(RunId),
    /// What every replica reads at its start: opening books, old usernames.
    Tables,
    /// The connection was lost, and notes may be: whatever is cached may be old.
    Everything,
    /// The store has documents that the schedule of this generation knows nothing of: whoever leads loads it anew.
    Contradicted(Generation),
}

/// What one worker has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenView {
    /// The worker.
    pub worker: ShortWorkerName,
    /// Runs it has had tasks of.
    pub runs: Vec<RunId>,
    /// The latest of them.
    pub last_run: RunId,
}

/// How often one address may ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Requests per second in the long run.
    pub per_second: f64,
    /// Requests at once.
    pub burst: f64,
}

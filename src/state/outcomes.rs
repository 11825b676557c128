//! What the transitions answer.

use std::sync::Arc;

use crate::domain::ids::{Millis, RunId, ShortWorkerName, TaskId, TaskKey, Token, Version, WriteId};
use crate::domain::run::{Counters, Phase, RunKind, RunOperation};
use crate::domain::task::{TailEntry, TaskRecord};

/// A task with the highest version known to be durable: the answer waits until that reaches the record's own
/// (`durability.md` section 3).
#[derive(Debug, Clone)]
pub struct TaskView {
    /// The task as it is now.
    pub record: Arc<TaskRecord>,
    /// Highest version known to be durable.
    pub durable: Version,
}

impl TaskView {
    /// Whether nothing is left to write.
    pub fn is_durable(&self) -> bool {
        super::is_durable(self.record.version, self.durable)
    }
}

/// The result of asking for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// Granted, or still one's own, with this token.
    Held(Token),
    /// Somebody else's until then.
    Taken(LeaseView),
}

/// A lease that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// Who holds it.
    pub holder: String,
    /// With which token.
    pub token: Token,
    /// Until when, by the state's clock.
    pub expires: Millis,
}

/// A run's live numbers, as ordering and eligibility need them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankingRow {
    /// The run.
    pub run: RunId,
    /// Version of its arguments.
    pub args_version: u64,
    /// Cores working on it.
    pub cores: u64,
    /// Games handed out or played.
    pub committed_games: u64,
    /// Games wanted.
    pub num_games: u64,
    /// Priority.
    pub priority: i64,
    /// Internal throughput.
    pub itp: f64,
}

/// What became of a request for a task before a run is chosen.
#[derive(Debug, Clone)]
pub enum AdmissionOutcome {
    /// No slot, or assignments are locked out.
    Busy,
    /// The worker is blocked.
    Blocked {
        /// Why.
        message: String,
    },
    /// Another worker of that name is at work.
    Duplicate(DuplicateName),
    /// Too many active tasks from that address.
    MachineLimit,
    /// A claim of the same worker that was never answered for: this is its task. No slot is held.
    Repeated(Box<TaskView>),
    /// Go on and choose.
    Open(OpenRequest),
}

/// Who has the name.
#[derive(Debug, Clone)]
pub struct DuplicateName {
    /// The task it plays.
    pub task: Arc<TaskRecord>,
    /// Whole seconds since its last sign of life.
    pub seconds: i64,
}

/// The table to choose from.
#[derive(Debug, Clone, Default)]
pub struct OpenRequest {
    /// Running runs.
    pub ranking: Vec<RankingRow>,
    /// Runs that the worker has had tasks of.
    pub seen: Vec<RunId>,
    /// The latest of them.
    pub last_run: Option<RunId>,
}

/// What became of a claim.
#[derive(Debug, Clone)]
pub enum AssignOutcome {
    /// Assignments are locked out.
    Locked,
    /// The worker was blocked meanwhile.
    Blocked {
        /// Why.
        message: String,
    },
    /// Another worker of that name came first.
    Duplicate(DuplicateName),
    /// The address reached its limit meanwhile.
    MachineLimit,
    /// The run is gone, not running, or not the version that was judged: choose another.
    Stale,
    /// The run needs no games any more.
    NoGames,
    /// An unanswered claim of the same worker.
    Repeated(Box<TaskView>),
    /// The task is created.
    Claimed(Box<Claim>),
}

/// A created task.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The new task.
    pub task: TaskView,
    /// The worker's stale task, closed by the claim.
    pub stale: Option<TaskView>,
    /// Internal throughput of the run; the worker is told.
    pub itp: f64,
    /// The run's folded record; the worker is told.
    pub record: Arc<str>,
}

/// Why a task can't be worked with from here.
#[derive(Debug, Clone)]
pub enum Absent {
    /// The run isn't in the schedule: finished, or there never was one.
    NoRun,
    /// The schedule doesn't hold the task. Below `next` it is closed and durable; from `next` on it never existed.
    NoTask {
        /// Number of the next task.
        next: TaskId,
    },
    /// The task is another worker's.
    Mismatch {
        /// `unique_key` or `username`.
        field: &'static str,
        /// What the task has.
        stored: String,
    },
}

/// What became of a heartbeat.
#[derive(Debug, Clone)]
pub enum BeatOutcome {
    /// Not here.
    Absent(Absent),
    /// Noted if alive.
    Alive(bool),
}

/// What became of a report.
#[derive(Debug, Clone)]
pub enum UpdateOutcome {
    /// Not here.
    Absent(Absent),
    /// The task is closed, or its run is being finished.
    Inactive(Box<TaskView>),
    /// This body was accepted before; nothing changed.
    Repeated {
        /// The task.
        task: Box<TaskView>,
        /// Whether it goes on.
        alive: bool,
        /// What is waiting to be folded.
        fold: Box<FoldView>,
    },
    /// The report contradicts what is known; the task is closed.
    Refused {
        /// What is wrong.
        error: UpdateRefusal,
        /// The task.
        task: Box<TaskView>,
    },
    /// Counted.
    Accepted {
        /// The task.
        task: Box<TaskView>,
        /// Whether it goes on, as far as the task itself is concerned.
        alive: bool,
        /// What is waiting to be folded.
        fold: Box<FoldView>,
    },
    /// A tuning run's report lacks its SPSA part. Nothing changed.
    MissingSpsa,
}

/// Why a report was refused (`spec/scheduling.md` section 6, rules 2-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateRefusal {
    /// Fewer games than before, or a tuning round without new games.
    Incompatible {
        /// Games known.
        before: u64,
        /// Games reported.
        now: u64,
        /// Games of the tuning round.
        spsa: u64,
    },
    /// An odd number of new games.
    Odd {
        /// Games known.
        before: u64,
        /// Games reported.
        now: u64,
    },
    /// Not a multiple of the batch.
    Batch,
}

/// A run's record and what is to be folded into it.
#[derive(Debug, Clone)]
pub struct FoldView {
    /// How the run decides.
    pub kind: RunKind,
    /// Where the run is in its life.
    pub phase: Phase,
    /// The folded record.
    pub record: Arc<str>,
    /// Its position.
    pub position: u64,
    /// Entries beyond it, in order.
    pub pending: Vec<TailEntry>,
    /// Games wanted.
    pub num_games: u64,
    /// Games counted.
    pub games: u64,
}

/// What became of closing a task, or of noting a tuning round.
#[derive(Debug, Clone)]
pub enum CloseOutcome {
    /// Not here.
    Absent(Absent),
    /// It is closed already, or its run is being finished.
    Inactive(Box<TaskView>),
    /// A sign of life came in between (dead tasks only).
    StillAlive,
    /// Done.
    Done(Box<TaskView>),
}

/// What became of closing a slice.
#[derive(Debug, Clone)]
pub struct SliceOutcome {
    /// Tasks closed now.
    pub closed: Vec<TaskView>,
    /// Active tasks left.
    pub remaining: usize,
}

/// What became of committing a fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldOutcome {
    /// The record is now this one.
    Committed,
    /// Somebody else folded first.
    Moved {
        /// Where the record is now.
        position: u64,
    },
    /// The run isn't in the schedule.
    NoRun,
}

/// What became of a change of phase.
#[derive(Debug, Clone)]
pub enum PhaseOutcome {
    /// Changed; this is the run now.
    Changed(Box<RunView>),
    /// It wasn't in the expected phase, or another operation is under way.
    Refused(Box<RunView>),
    /// The run isn't in the schedule.
    NoRun,
}

/// A run as the schedule knows it: the state-owned half of its document.
#[derive(Debug, Clone)]
pub struct RunView {
    /// The run.
    pub id: RunId,
    /// Version of its arguments.
    pub args_version: u64,
    /// How it decides.
    pub kind: RunKind,
    /// Where it is in its life.
    pub phase: Phase,
    /// What is being done to it.
    pub operation: Option<RunOperation>,
    /// Version of the state-owned fields.
    pub version: Version,
    /// Highest version known to be durable.
    pub durable: Version,
    /// Identity of the write that made the version.
    pub write_id: WriteId,
    /// Aggregates.
    pub counters: Counters,
    /// Games wanted.
    pub num_games: u64,
    /// Priority.
    pub priority: i64,
    /// Submission.
    pub start_time: Millis,
    /// Last accepted result.
    pub last_updated: Millis,
    /// Internal throughput.
    pub itp: f64,
    /// Nodes per second.
    pub nps: f64,
    /// Games per minute.
    pub games_per_minute: f64,
    /// Number of the next task.
    pub next_task: TaskId,
    /// The folded record.
    pub record: Arc<str>,
    /// Its position.
    pub position: u64,
    /// Entries not folded yet.
    pub pending: usize,
}

/// Documents with versions that aren't known to be durable.
#[derive(Debug, Clone, Default)]
pub struct DirtyView {
    /// Tasks, longest dirty first.
    pub tasks: Vec<TaskView>,
    /// Runs.
    pub runs: Vec<RunView>,
}

/// What isn't durable yet, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Tasks with a version that isn't known to be durable.
    pub tasks: usize,
    /// Since when the longest of them has waited, by the state's clock.
    pub oldest: Option<Millis>,
}

/// The answer to looking for a task.
#[derive(Debug, Clone)]
pub enum TaskLookup {
    /// The run isn't in the schedule.
    NoRun,
    /// The schedule doesn't hold the task.
    NoTask {
        /// Number of the next task.
        next: TaskId,
    },
    /// Here it is; alive if it is active and its run is running.
    Found {
        /// The task.
        task: Box<TaskView>,
        /// Whether it lives.
        alive: bool,
    },
}

/// Numbers about the state as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Runs in the schedule.
    pub runs: usize,
    /// Active tasks.
    pub active_tasks: usize,
    /// Addresses with active tasks.
    pub addresses: usize,
    /// Active tasks by address, summed.
    pub connections: usize,
    /// Entries of the worker map.
    pub worker_map: usize,
    /// Semaphore slots held.
    pub slots: usize,
    /// Tasks with versions that aren't durable.
    pub dirty: usize,
    /// Names in the worker map whose task is live, with the task.
    pub live_names: Vec<(ShortWorkerName, TaskKey)>,
}

//! A run: one test of an engine, and the nouns of its life.

use bson::oid::ObjectId;
use serde::{Deserialize, Serialize};

use super::ids::Millis;
use super::results::Stats;

/// How a run decides and accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// A fixed number of games.
    Games,
    /// Sequential test; `batch_size` in game pairs.
    Sprt {
        /// Pairs a report must be a multiple of.
        batch_size: u64,
    },
    /// Parameter tuning.
    Spsa {
        /// Number of tuned parameters.
        params: u32,
    },
}

impl RunKind {
    /// Pairs in a batch of a sequential test; None for other runs.
    pub fn sprt_batch(self) -> Option<u64> {
        match self {
            Self::Sprt { batch_size } => Some(batch_size),
            Self::Games | Self::Spsa { .. } => None,
        }
    }

    /// Games that a report's total must be a multiple of.
    pub fn batch_games(self) -> u64 {
        match self {
            Self::Sprt { batch_size } => batch_size.max(1).saturating_mul(2),
            Self::Games | Self::Spsa { .. } => 2,
        }
    }
}

/// Where a run is in its life (`durability.md` section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its tasks live; it may get new ones.
    Running,
    /// It takes no results any more; the finish saga is closing it.
    Finishing,
    /// The purge saga has decided on its victims and is marking them.
    Purging,
    /// Closed.
    Finished,
}

/// Why a run is being finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// Its statistics decided it, or all games are played.
    Decided,
    /// A worker stopped it (bad bench, engine error).
    WorkerStop,
    /// Its owner or an approver stopped it.
    UserStop,
    /// Its owner or an approver deleted it.
    Delete,
    /// A modification left nothing to play.
    Modified,
    /// It is finished already and is being purged by a person.
    Purge,
}

/// A multi-step operation on a run, recorded in its document so that anybody can resume it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOperation {
    /// Identity; actions of the operation take their ids from [`RunOperation::action_ids`].
    pub id: ObjectId,
    /// What is being done.
    pub reason: FinishReason,
    /// Who asked: a username; the run's owner when it decided itself.
    pub actor: String,
    /// When it began.
    pub time: Millis,
    /// Ids for the log entries, so that a repetition inserts none twice.
    pub action_ids: [ObjectId; 4],
    /// A worker stop's long worker name, task number and message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_stop: Option<WorkerStop>,
    /// The purge, once it is decided: nothing happened before, everything follows from it after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge: Option<PurgeDecision>,
}

/// The worker's side of a stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerStop {
    /// Long worker name.
    pub worker: String,
    /// Task number.
    pub task_id: u32,
    /// The worker's message, as it goes to the log.
    pub message: String,
}

/// One task that a purge takes out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Victim {
    /// Task number.
    pub task_id: u32,
    /// Position it gets in the list of bad tasks.
    pub position: u32,
    /// Deviation, as text so that infinity survives.
    pub residual: String,
    /// Colour of the deviation.
    pub color: String,
}

/// The outcome of a purge that is committed but perhaps not yet carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PurgeDecision {
    /// Empty for success, else why nothing was purged.
    pub message: String,
    /// Who is taken out.
    pub victims: Vec<Victim>,
    /// The run's results afterwards.
    pub results: Stats,
    /// The folded record afterwards.
    pub record: String,
    /// Whether the run goes on.
    pub revive: bool,
}

/// Aggregates over a run's tasks (`spec/scheduling.md` invariants 1-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Sum of the tasks' statistics.
    pub results: Stats,
    /// Active tasks.
    pub workers: u32,
    /// Sum of their concurrency.
    pub cores: u64,
    /// Sizes of active tasks + games played in inactive ones.
    pub committed_games: u64,
    /// Sizes of all tasks.
    pub total_games: u64,
}

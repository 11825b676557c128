//! Plain data that goes in and out of a store.

use std::sync::Arc;

use bson::oid::ObjectId;
use bson::{Bson, Document};

use super::{Generation, Millis, NO_VERSION, RunId, ShortWorkerName, TaskId, Version};
use crate::domain::ids::WriteId;
use crate::domain::run::{Phase, RunOperation};
use crate::domain::task::TaskRecord;

/// A run's document, without its tasks, with what Shoal keeps beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRun {
    /// The run.
    pub id: RunId,
    /// fishtest's document, version 24 or older, without `tasks` and `bad_tasks`. Unknown fields are kept.
    pub doc: Document,
    /// Shoal's part.
    pub meta: RunMeta,
}

/// What Shoal keeps beside a run's document.
#[derive(Debug, Clone, PartialEq)]
pub struct RunMeta {
    /// Version of the arguments that a person may change (`av`).
    pub args_version: u64,
    /// Generation of the last write of state-owned fields.
    pub generation: Generation,
    /// Version of the state-owned fields within the generation (`sv`).
    pub version: Version,
    /// Identity of the write that made it.
    pub write_id: WriteId,
    /// Where the run is in its life.
    pub phase: Phase,
    /// The operation under way.
    pub operation: Option<RunOperation>,
    /// Sequence number up to which contributions are in the stored record.
    pub position: u64,
    /// Counts at that position (wins, losses, draws, five pair counts): what the next fold goes on from.
    pub folded: [i64; 8],
}

impl RunMeta {
    /// What a run that was never scheduled here has.
    pub fn new(phase: Phase) -> Self {
        Self {
            args_version: 1,
            generation: Generation(0),
            version: NO_VERSION,
            write_id: WriteId(0),
            phase,
            operation: None,
            position: 0,
            folded: [0; 8],
        }
    }
}

/// Which finished runs (`spec/read-api.md` section 2.2). Deleted ones are never among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FinishedQuery {
    /// Exact submitter.
    pub username: Option<String>,
    /// Only `is_green`.
    pub green: bool,
    /// Only `is_yellow`.
    pub yellow: bool,
    /// Only `tc_base` of at least 40.
    pub ltc: bool,
    /// Only those last updated at or after.
    pub since: Option<Millis>,
    /// Rows to pass over.
    pub skip: u64,
    /// Rows to return.
    pub limit: u64,
}

/// A change of store-owned fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunPatch {
    /// Paths (dots lead into sub-documents) and their new values.
    pub set: Vec<(String, Bson)>,
    /// Log entries of the change.
    pub actions: Vec<Document>,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchOutcome {
    /// Done; the arguments have this version now.
    Applied(u64),
    /// The arguments were changed by somebody else; their version now.
    Conflict(u64),
    /// There is no such run.
    Missing,
}

/// One document of a batch.
#[derive(Debug, Clone)]
pub enum DocumentWrite {
    /// A task as it is at its version.
    Task(TaskWrite),
    /// A run's state-owned half.
    Run(Box<RunWrite>),
}

/// A task to write.
#[derive(Debug, Clone)]
pub struct TaskWrite {
    /// The task; `generation` and `version` order it.
    pub record: Arc<TaskRecord>,
    /// The log entries that it causes.
    pub actions: Vec<Document>,
}

/// A run's state-owned half to write.
#[derive(Debug, Clone)]
pub struct RunWrite {
    /// The run.
    pub id: RunId,
    /// Version of the state-owned fields.
    pub version: Version,
    /// Identity of the write.
    pub write_id: WriteId,
    /// Where the run is in its life.
    pub phase: Phase,
    /// The operation under way.
    pub operation: Option<RunOperation>,
    /// Position of the record that `set` holds.
    pub position: u64,
    /// Counts at that position.
    pub folded: [i64; 8],
    /// Paths and their new values.
    pub set: Vec<(String, Bson)>,
    /// Log entries.
    pub actions: Vec<Document>,
}

/// What became of one document of a batch (`durability.md` section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Durable now.
    Applied,
    /// Durable before: a newer version of the same history, or our own repetition.
    Superseded,
    /// The same version was written by another history: the schedule was rolled back.
    RolledBack,
    /// A newer generation rules.
    Fenced(Generation),
    /// The run isn't in the store.
    Missing,
    /// The store does not take this document, and never will: too large, or of a shape that can't be stored.
    Refused,
}

impl WriteOutcome {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Superseded => "superseded",
            Self::RolledBack => "rolled_back",
            Self::Fenced(_) => "fenced",
            Self::Missing => "missing",
            Self::Refused => "refused",
        }
    }
}

/// An account (`spec/storage.md` section 4).
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// Identity.
    pub id: ObjectId,
    /// Name, unique, case-sensitive.
    pub username: String,
    /// A plain password that an import brought; replaced by a hash at the first successful use.
    pub plain_password: Option<String>,
    /// When the account was made, if known.
    pub registration_time: Option<Millis>,
    /// Waiting for an approver.
    pub pending: bool,
    /// Locked out.
    pub blocked: bool,
    /// Address, or empty.
    pub email: String,
    /// `group:approvers` is the one that means something.
    pub groups: Vec<String>,
    /// Repository, or empty.
    pub tests_repo: String,
    /// Active tasks allowed per remote address.
    pub machine_limit: u32,
    /// Fields of an imported document that Shoal doesn't know.
    pub extra: Document,
}

/// The group whose members approve runs.
pub const APPROVERS: &str = "group:approvers";

/// Active tasks per address that an account may have unless somebody sets another number.
pub const DEFAULT_MACHINE_LIMIT: u32 = 16;

impl User {
    /// Whether the account may approve runs.
    pub fn is_approver(&self) -> bool {
        self.groups.iter().any(|group| group == APPROVERS)
    }
}

/// Block state of a short worker name (`spec/storage.md` section 7).
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerBlock {
    /// Identity.
    pub id: ObjectId,
    /// The worker.
    pub name: ShortWorkerName,
    /// Whether it is blocked.
    pub blocked: bool,
    /// Why; at most 500 characters.
    pub message: String,
    /// Last change, or last request of the blocked worker.
    pub last_updated: Millis,
}

/// An upload of games without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgnEntry {
    /// Identity.
    pub id: ObjectId,
    /// Whose games.
    pub task: TaskId,
    /// Bytes.
    pub size: u64,
}

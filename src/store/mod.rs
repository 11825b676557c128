//! Durable data.
//!
//! One trait a noun, so that a service names what it needs. [`Store`] is all of them. Implementations: [`sqlite`]
//! (one file, the default) and [`mongo`] (a server that farms share). Documents keep fishtest's own layout and field types (`spec/storage.md`), with what Shoal
//! adds beside them; [`codec`] is the one place that knows both.

pub mod codec;
pub mod legacy_form;
pub mod migrate;
pub mod mongo;
pub mod scan;
pub mod sqlite;
mod stamp;
pub mod types;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::{Bson, Document};

use crate::domain::action_query::ActionQuery;
use crate::domain::ids::{Generation, Millis, RunId, ShortWorkerName, TaskId, TaskKey, Version};
use crate::domain::task::TaskRecord;
use migrate::SchemaError;
pub use scan::ScanStore;
pub use types::*;

/// Why the store has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, or refuses work; nothing was written.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The answer did not come in time: the write may or may not have happened.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// A document with that key is there already.
    #[error("there is already a {0}")]
    Duplicate(String),
    /// What is stored can't be understood.
    #[error("damaged document: {0}")]
    Damaged(String),
    /// The query took longer than it may.
    #[error("the query took too long")]
    Timeout,
}

/// Result of a store operation.
pub type StoreResult<T> = Result<T, StoreError>;

/// Runs and their tasks, for reading and for what a person changes. What the schedule owns is written by [`CommitStore`].
#[async_trait]
pub trait RunStore: Send + Sync {
    /// Inserts a new run with the log entries of its creation, all or nothing.
    async fn insert_run(&self, run: &StoredRun, actions: &[Document]) -> StoreResult<()>;
    /// A run without its tasks.
    async fn run(&self, id: RunId) -> StoreResult<Option<StoredRun>>;
    /// All runs with `finished` false, newest `last_updated` first.
    async fn unfinished_runs(&self) -> StoreResult<Vec<StoredRun>>;
    /// The same runs, in no order, each with the version of its arguments: cheap enough for every other second.
    async fn unfinished_versions(&self) -> StoreResult<Vec<(RunId, u64)>>;
    /// A page of finished, undeleted runs, newest `last_updated` first.
    async fn finished_runs(&self, query: &FinishedQuery) -> StoreResult<Vec<StoredRun>>;
    /// Changes store-owned fields if the arguments' version is still `expected`; raises it by one.
    async fn patch_run(&self, id: RunId, expected: u64, patch: &RunPatch) -> StoreResult<PatchOutcome>;
    /// One task.
    async fn task(&self, key: TaskKey) -> StoreResult<Option<TaskRecord>>;
    /// Up to `limit` tasks in order, from number `from` on.
    async fn tasks(&self, run: RunId, from: TaskId, limit: usize) -> StoreResult<Vec<TaskRecord>>;
    /// The task at a position in the run's list of bad tasks.
    async fn bad_task(&self, run: RunId, position: u32) -> StoreResult<Option<TaskRecord>>;
    /// One more than the highest task number; 0 without tasks.
    async fn next_task(&self, run: RunId) -> StoreResult<TaskId>;
    /// Inserts tasks as they are (import, void tasks of a rebuild); those that are there already are left alone.
    async fn insert_tasks(&self, tasks: &[TaskRecord]) -> StoreResult<()>;
}

/// The committer's side: what makes an answer true (`durability.md` sections 1 and 2).
#[async_trait]
pub trait CommitStore: Send + Sync {
    /// The generation that the store lets write; 0 before the first.
    async fn fence(&self) -> StoreResult<Generation>;
    /// Raises the fence by one if it is still `from`: the new generation, or None if somebody else was first.
    async fn raise_fence(&self, from: Generation) -> StoreResult<Option<Generation>>;
    /// Gives every active task, and every unfinished run, of an older generation the new one, so that writes of older
    /// generations miss from here on; how many.
    async fn seal(&self, generation: Generation) -> StoreResult<u64>;
    /// Which server's history is read from now on: equal answers before and after some reads mean that these saw
    /// everything that was acknowledged before the first. A store that is one server has only one history.
    async fn vantage(&self) -> StoreResult<String> {
        Ok(String::new())
    }
    /// Writes a batch; per document what became of it. An error concerns the whole batch.
    async fn commit(&self, generation: Generation, batch: &[DocumentWrite])
    -> StoreResult<Vec<WriteOutcome>>;
}

/// Accounts.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// An account, by exact name.
    async fn user(&self, username: &str) -> StoreResult<Option<User>>;
    /// All accounts, oldest first.
    async fn users(&self) -> StoreResult<Vec<User>>;
    /// Inserts an account; `Duplicate` if the name is taken.
    async fn insert_user(&self, user: &User) -> StoreResult<()>;
    /// Replaces an account's document; false if there is none. The password hash is not part of it.
    async fn update_user(&self, user: &User) -> StoreResult<bool>;
    /// The argon2id hash of an account's password.
    async fn secret(&self, username: &str) -> StoreResult<Option<String>>;
    /// Sets the hash and erases a plain password that an import left, in one step.
    async fn set_secret(&self, username: &str, phc: &str) -> StoreResult<()>;
    /// Lifetime contribution in core hours, if the account has an entry.
    async fn cpu_hours(&self, username: &str) -> StoreResult<Option<f64>>;
    /// Inserts or replaces an entry of lifetime contributions (`user_cache`), by `username`.
    async fn put_user_cache(&self, entry: &Document) -> StoreResult<()>;
}

/// The event log.
#[async_trait]
pub trait ActionStore: Send + Sync {
    /// Appends entries; one whose `_id` is there already is done.
    async fn insert_actions(&self, actions: &[Document]) -> StoreResult<()>;
    /// Those of the identities that entries have.
    async fn known_actions(&self, ids: &[ObjectId]) -> StoreResult<HashSet<ObjectId>>;
    /// Entries that match, newest first.
    async fn find_actions(&self, query: &ActionQuery, limit: usize) -> StoreResult<Vec<Document>>;
    /// Moves entries to the log that still wait in the documents that caused them, because their writer died or lost
    /// its connection in between (`durability.md` section 7); how many. Cheap enough for once a second. A store that
    /// writes both in one transaction has none.
    async fn settle_actions(&self) -> StoreResult<u64> {
        Ok(0)
    }
}

/// Blocks of workers.
#[async_trait]
pub trait WorkerStore: Send + Sync {
    /// The block state of a short worker name; None means it was never blocked.
    async fn worker(&self, name: &ShortWorkerName) -> StoreResult<Option<WorkerBlock>>;
    /// All blocked workers, by name.
    async fn blocked_workers(&self) -> StoreResult<Vec<WorkerBlock>>;
    /// Inserts or replaces a block state, with the log entries of the change.
    async fn put_worker(&self, block: &WorkerBlock, actions: &[Document]) -> StoreResult<()>;
    /// The same, if what is stored is still `expected` (None: nothing); false if somebody else has changed it.
    async fn change_worker(
        &self,
        block: &WorkerBlock,
        expected: Option<&WorkerBlock>,
        actions: &[Document],
    ) -> StoreResult<bool>;
}

/// Games.
#[async_trait]
pub trait PgnStore: Send + Sync {
    /// Adds a task's games: one complete gzip member. Uploads are never replaced.
    async fn insert_pgn(&self, key: TaskKey, id: ObjectId, gzip: &[u8]) -> StoreResult<()>;
    /// The newest upload for a task, or None.
    async fn pgn(&self, key: TaskKey) -> StoreResult<Option<Vec<u8>>>;
    /// Uploads of a run in order of task number, then age, without their bytes.
    async fn run_pgns(&self, run: RunId) -> StoreResult<Vec<PgnEntry>>;
    /// The bytes of one upload.
    async fn pgn_by_id(&self, id: ObjectId) -> StoreResult<Option<Vec<u8>>>;
    /// The first run after `after`, by identity, that has uploads.
    async fn next_run_with_pgns(&self, after: Option<RunId>) -> StoreResult<Option<RunId>>;
    /// Deletes up to `limit` uploads of a run; how many there were. Retention (`spec/storage.md` section 13).
    async fn delete_pgns(&self, run: RunId, limit: usize) -> StoreResult<u64>;
}

/// Neural networks' metadata, and the key-value collection.
#[async_trait]
pub trait MiscStore: Send + Sync {
    /// A network's document.
    async fn net(&self, name: &str) -> StoreResult<Option<Document>>;
    /// Inserts or replaces a network's document, by `name`.
    async fn put_net(&self, net: &Document) -> StoreResult<()>;
    /// Adds to a network's download counter.
    async fn count_downloads(&self, name: &str, by: u64) -> StoreResult<()>;
    /// A value of the key-value collection.
    async fn kv(&self, key: &str) -> StoreResult<Option<Bson>>;
    /// Sets a value.
    async fn put_kv(&self, key: &str, value: &Bson) -> StoreResult<()>;
    /// Whether the store answers at all.
    async fn ping(&self) -> StoreResult<()>;
    /// Why its schema is none that this version can work with, if that is so: others that share it may have changed it since
    /// it was opened. Cheap enough for every few seconds. A store that only this process changes stays as it was.
    async fn misfit(&self) -> StoreResult<Option<SchemaError>> {
        Ok(None)
    }
    /// Says that this process serves (`who`), to be repeated every ten seconds or so, or that it does so no more.
    /// For a store that processes on several machines reach: a command must not take the schedule from a server.
    async fn announce(&self, _who: Option<&str>) -> StoreResult<()> {
        Ok(())
    }
    /// A process that serves now, other than this one, if one does. None for a store that only this machine reaches.
    async fn announced(&self) -> StoreResult<Option<String>> {
        Ok(None)
    }
}

/// Everything durable.
pub trait Store:
    RunStore + CommitStore + UserStore + ActionStore + WorkerStore + PgnStore + MiscStore + ScanStore + 'static
{
}

impl<T> Store for T where
    T: RunStore
        + CommitStore
        + UserStore
        + ActionStore
        + WorkerStore
        + PgnStore
        + MiscStore
        + ScanStore
        + 'static
{
}

/// The store as services hold it.
pub type SharedStore = Arc<dyn Store>;

/// A version in a document that isn't there yet.
pub(crate) const NO_VERSION: Version = Version(0);

//! Everything that a farm keeps, a page at a time and in the order of its keys: what exports, copies and retention
//! walk through. A page begins after the key that the one before ended with, so that a walk can be taken up again.

use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::{Bson, Document};

use super::{PgnEntry, StoreResult, StoredRun, WorkerBlock};
use crate::domain::ids::{RunId, ShortWorkerName};

/// Walking through whole collections.
#[async_trait]
pub trait ScanStore: Send + Sync {
    /// Runs of every kind and fate, without their tasks.
    async fn scan_runs(&self, after: Option<RunId>, limit: usize) -> StoreResult<Vec<StoredRun>>;
    /// Entries of the event log.
    async fn scan_actions(&self, after: Option<ObjectId>, limit: usize) -> StoreResult<Vec<Document>>;
    /// Block states, also of workers that are blocked no more.
    async fn scan_workers(
        &self,
        after: Option<&ShortWorkerName>,
        limit: usize,
    ) -> StoreResult<Vec<WorkerBlock>>;
    /// Networks' documents, by name.
    async fn scan_nets(&self, after: Option<&str>, limit: usize) -> StoreResult<Vec<Document>>;
    /// The key-value collection.
    async fn scan_kv(&self, after: Option<&str>, limit: usize) -> StoreResult<Vec<(String, Bson)>>;
    /// Lifetime contributions, by username.
    async fn scan_user_cache(&self, after: Option<&str>, limit: usize) -> StoreResult<Vec<Document>>;
    /// Uploads of games, by age, without their bytes.
    async fn scan_pgns(&self, after: Option<ObjectId>, limit: usize) -> StoreResult<Vec<(RunId, PgnEntry)>>;
}

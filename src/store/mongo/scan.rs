//! Walking through whole collections, by their keys; every order is that of an index.

use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::{Bson, Document, doc};

use super::pgns::entry;
use super::watch::Call;
use super::{MongoStore, collection, layout, workers};
use crate::domain::ids::{RunId, ShortWorkerName};
use crate::store::{PgnEntry, ScanStore, StoreError, StoreResult, StoredRun, WorkerBlock};

/// What comes after a key, or everything; documents without the key are none of ours.
pub(super) fn after_key(key: &str, after: Option<Bson>) -> Document {
    after.map_or_else(Document::new, |after| doc! { key: { "$gt": after } })
}

impl MongoStore {
    /// A page of a collection in the order of a key.
    async fn walk<T>(
        &self,
        collection: &str,
        key: &str,
        after: Option<Bson>,
        limit: usize,
        projection: Option<Document>,
        read: impl FnMut(Document) -> StoreResult<T>,
    ) -> StoreResult<Vec<T>> {
        if limit == 0 {
            // To MongoDB a limit of 0 is none.
            return Ok(Vec::new());
        }
        let target = self.collection(collection);
        let mut find = target
            .find(after_key(key, after))
            .sort(doc! { key: 1 })
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .max_time(self.deadline);
        if let Some(projection) = projection {
            find = find.projection(projection);
        }
        let cursor = self.read(Call::Find, find.into_future()).await?;
        self.drain(cursor, read).await
    }
}

#[async_trait]
impl ScanStore for MongoStore {
    async fn scan_runs(&self, after: Option<RunId>, limit: usize) -> StoreResult<Vec<StoredRun>> {
        let after = after.map(|run| Bson::ObjectId(run.0));
        self.walk(collection::RUNS, "_id", after, limit, None, layout::read_run).await
    }

    async fn scan_actions(&self, after: Option<ObjectId>, limit: usize) -> StoreResult<Vec<Document>> {
        self.walk(collection::ACTIONS, "_id", after.map(Bson::ObjectId), limit, None, Ok).await
    }

    async fn scan_workers(
        &self,
        after: Option<&ShortWorkerName>,
        limit: usize,
    ) -> StoreResult<Vec<WorkerBlock>> {
        let after = after.map(|name| Bson::String(name.0.clone()));
        self.walk(collection::WORKERS, "worker_name", after, limit, None, workers::read).await
    }

    async fn scan_nets(&self, after: Option<&str>, limit: usize) -> StoreResult<Vec<Document>> {
        self.walk(collection::NNS, "name", after.map(Bson::from), limit, None, Ok).await
    }

    async fn scan_kv(&self, after: Option<&str>, limit: usize) -> StoreResult<Vec<(String, Bson)>> {
        self.walk(collection::KVSTORE, "_id", after.map(Bson::from), limit, None, |mut doc| {
            match (doc.remove("_id"), doc.remove("value")) {
                (Some(Bson::String(key)), Some(value)) => Ok((key, value)),
                (key, _) => Err(StoreError::Damaged(format!("the value of {key:?}"))),
            }
        })
        .await
    }

    async fn scan_user_cache(&self, after: Option<&str>, limit: usize) -> StoreResult<Vec<Document>> {
        self.walk(collection::USER_CACHE, "username", after.map(Bson::from), limit, None, Ok).await
    }

    async fn scan_pgns(&self, after: Option<ObjectId>, limit: usize) -> StoreResult<Vec<(RunId, PgnEntry)>> {
        let projection = Some(doc! { "run": 1, "task": 1, "size": 1 });
        let after = after.map(Bson::ObjectId);
        self.walk(collection::PGNS, "_id", after, limit, projection, |doc| {
            let entry = entry(&doc)?;
            let run = doc.get_object_id("run");
            let run = run.map_err(|_| StoreError::Damaged(format!("upload {}", entry.id)))?;
            Ok((RunId(run), entry))
        })
        .await
    }
}

//! Blocks of workers.

use async_trait::async_trait;
use bson::{Document, doc};

use super::bulk::statement;
use super::{MongoStore, collection};
use crate::domain::ids::{Millis, ShortWorkerName};
use crate::store::codec::{as_date, date};
use crate::store::{StoreError, StoreResult, WorkerBlock, WorkerStore};

pub(super) fn read(doc: Document) -> StoreResult<WorkerBlock> {
    let damaged = || StoreError::Damaged(format!("the block {:?} of a worker", doc.get("_id")));
    Ok(WorkerBlock {
        id: doc.get_object_id("_id").map_err(|_| damaged())?,
        name: ShortWorkerName(doc.get_str("worker_name").map_err(|_| damaged())?.to_owned()),
        blocked: doc.get_bool("blocked").unwrap_or(false),
        message: doc.get_str("message").unwrap_or_default().to_owned(),
        last_updated: as_date(doc.get("last_updated")).unwrap_or(Millis(0)),
    })
}

#[async_trait]
impl WorkerStore for MongoStore {
    async fn worker(&self, name: &ShortWorkerName) -> StoreResult<Option<WorkerBlock>> {
        let workers = self.collection(collection::WORKERS);
        let find = workers.find_one(doc! { "worker_name": name.0.as_str() }).max_time(self.deadline);
        self.read(find.into_future()).await?.map(read).transpose()
    }

    async fn blocked_workers(&self) -> StoreResult<Vec<WorkerBlock>> {
        let workers = self.collection(collection::WORKERS);
        let find =
            workers.find(doc! { "blocked": true }).sort(doc! { "worker_name": 1 }).max_time(self.deadline);
        let cursor = self.read(find.into_future()).await?;
        self.drain(cursor, read).await
    }

    async fn put_worker(&self, block: &WorkerBlock, actions: &[Document]) -> StoreResult<()> {
        // The name is the key; an entry keeps the identity that it was made with.
        let filter = doc! { "worker_name": block.name.0.as_str() };
        let mut update = doc! {
            "$set": {
                "blocked": block.blocked,
                "message": block.message.as_str(),
                "last_updated": date(block.last_updated),
            },
            "$setOnInsert": { "_id": block.id },
        };
        if !actions.is_empty() {
            update.insert("$push", doc! { "acts": { "$each": actions.to_vec() } });
        }
        self.upsert(collection::WORKERS, || statement(filter.clone(), update.clone(), true)).await?;
        if actions.is_empty() {
            return Ok(());
        }
        let stored = self.worker(&block.name).await?;
        let id = stored.map_or(block.id, |stored| stored.id);
        self.log_of(collection::WORKERS, id.into(), actions).await
    }
}

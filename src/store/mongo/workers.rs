//! Blocks of workers.

use async_trait::async_trait;
use bson::{Document, doc};

use super::bulk::{Outcome, statement};
use super::watch::Call;
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
        self.read(Call::Find, find.into_future()).await?.map(read).transpose()
    }

    async fn blocked_workers(&self) -> StoreResult<Vec<WorkerBlock>> {
        let workers = self.collection(collection::WORKERS);
        let find =
            workers.find(doc! { "blocked": true }).sort(doc! { "worker_name": 1 }).max_time(self.deadline);
        let cursor = self.read(Call::Find, find.into_future()).await?;
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

    async fn change_worker(
        &self,
        block: &WorkerBlock,
        expected: Option<&WorkerBlock>,
        actions: &[Document],
    ) -> StoreResult<bool> {
        let name = block.name.0.as_str();
        let mut set = doc! {
            "blocked": block.blocked,
            "message": block.message.as_str(),
            "last_updated": date(block.last_updated),
        };
        let (id, filter, mut update) = match expected {
            Some(expected) => {
                let filter = doc! {
                    "worker_name": name,
                    "_id": expected.id,
                    "blocked": expected.blocked,
                    "message": expected.message.as_str(),
                    "last_updated": date(expected.last_updated),
                };
                (expected.id, filter, doc! { "$set": set })
            }
            // Whatever is there under that name stays as it is: only an insertion sets anything.
            None => {
                set.insert("_id", block.id);
                (block.id, doc! { "worker_name": name }, doc! { "$setOnInsert": set })
            }
        };
        if !actions.is_empty() && expected.is_some() {
            update.insert("$push", doc! { "acts": { "$each": actions.to_vec() } });
        } else if !actions.is_empty()
            && let Ok(set) = update.get_document_mut("$setOnInsert")
        {
            set.insert("acts", actions.to_vec());
        }
        let insert = expected.is_none();
        let answer = self.update_many(collection::WORKERS, vec![statement(filter, update, insert)]).await?;
        let done = match answer.outcomes.first() {
            Some(Outcome::Inserted) => insert,
            Some(Outcome::Done) => !insert && answer.matched == 1,
            // Two inserted it at once, and the other was first.
            Some(Outcome::Duplicate) => false,
            Some(Outcome::Refused(reason)) => return Err(StoreError::Unavailable(reason.clone())),
            None => false,
        };
        if done {
            self.log_of(collection::WORKERS, id.into(), actions).await?;
        }
        Ok(done)
    }
}

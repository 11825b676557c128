//! The event log.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::{Document, doc};

use super::watch::Call;
use super::{MongoStore, collection};
use crate::domain::action_query::ActionQuery;
use crate::store::{ActionStore, StoreError, StoreResult};

/// How long a search may take (`spec/read-api.md` section 4.1).
const SEARCH_TIME: Duration = Duration::from_secs(2);

/// Identities asked for at once.
const IDS: usize = 10_000;

#[async_trait]
impl ActionStore for MongoStore {
    async fn insert_actions(&self, actions: &[Document]) -> StoreResult<()> {
        if actions.iter().any(|entry| entry.get_object_id("_id").is_err()) {
            return Err(StoreError::Damaged("a log entry without an object id".into()));
        }
        self.insert_absent(collection::ACTIONS, actions.to_vec()).await
    }

    async fn known_actions(&self, ids: &[ObjectId]) -> StoreResult<HashSet<ObjectId>> {
        let mut known = HashSet::new();
        for ids in ids.chunks(IDS) {
            let target = self.collection(collection::ACTIONS);
            let find = target
                .find(doc! { "_id": { "$in": ids } })
                .projection(doc! { "_id": 1 })
                .max_time(self.deadline);
            let cursor = self.read(Call::Find, find.into_future()).await?;
            let found = self.drain(cursor, |doc| {
                doc.get_object_id("_id").map_err(|_| StoreError::Damaged("a log entry's identity".into()))
            });
            known.extend(found.await?);
        }
        Ok(known)
    }

    async fn find_actions(&self, query: &ActionQuery, limit: usize) -> StoreResult<Vec<Document>> {
        if limit == 0 {
            // To MongoDB a limit of 0 is none.
            return Ok(Vec::new());
        }
        let deadline = self.deadline.min(SEARCH_TIME);
        let target = self.collection(collection::ACTIONS);
        let find = target
            .find(query.to_filter())
            .sort(doc! { "time": -1, "_id": -1 })
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .max_time(deadline);
        let search = async {
            let cursor = self.read_within(Call::Find, deadline, find.into_future()).await?;
            self.drain(cursor, Ok).await
        };
        tokio::time::timeout(deadline, search).await.unwrap_or(Err(StoreError::Timeout))
    }

    async fn settle_actions(&self) -> StoreResult<u64> {
        self.settle().await
    }
}

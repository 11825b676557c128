//! Runs, without their tasks.

use async_trait::async_trait;
use bson::{Bson, Document, doc};

use super::bulk::{only, statement};
use super::entries::Logged;
use super::layout::{self, META, bits, from_bits};
use super::watch::Call;
use super::{MongoStore, collection, failure};
use crate::domain::ids::{RunId, TaskId, TaskKey};
use crate::domain::task::TaskRecord;
use crate::store::codec::date;
use crate::store::{FinishedQuery, PatchOutcome, RunPatch, RunStore, StoreError, StoreResult, StoredRun};

/// Newest first; of one moment, by identity. What has no date comes last.
pub(super) fn newest_first() -> Document {
    doc! { "last_updated": -1, "_id": 1 }
}

/// Conditions in the order of the indexes' keys (`migrations/mongo`), each index's own filter spelt out.
pub(super) fn finished_filter(query: &FinishedQuery) -> Document {
    let mut filter = doc! { "finished": true, "deleted": false };
    if query.green {
        filter.insert("is_green", true);
    }
    if query.yellow {
        filter.insert("is_yellow", true);
    }
    if query.ltc {
        filter.insert("tc_base", doc! { "$gte": 40.0 });
    }
    if let Some(username) = &query.username {
        filter.insert("args.username", username);
    }
    if let Some(since) = query.since {
        filter.insert("last_updated", doc! { "$gte": date(since) });
    }
    filter
}

impl MongoStore {
    async fn find_runs(
        &self,
        filter: Document,
        skip: u64,
        limit: Option<u64>,
    ) -> StoreResult<Vec<StoredRun>> {
        let runs = self.collection(collection::RUNS);
        let mut find = runs.find(filter).sort(newest_first()).skip(skip).max_time(self.deadline);
        if let Some(limit) = limit {
            find = find.limit(i64::try_from(limit).unwrap_or(i64::MAX));
        }
        let cursor = self.read(Call::Find, find.into_future()).await?;
        self.drain(cursor, layout::read_run).await
    }
}

#[async_trait]
impl RunStore for MongoStore {
    async fn insert_run(&self, run: &StoredRun, actions: &[Document]) -> StoreResult<()> {
        let document = layout::new_run(run, actions)?;
        let runs = self.collection(collection::RUNS);
        self.write(Call::Insert, runs.insert_one(document).into_future())
            .await
            .map_err(|error| failure::duplicate(error, || format!("run {}", run.id)))?;
        self.log_of(collection::RUNS, run.id.0.into(), actions).await
    }

    async fn run(&self, id: RunId) -> StoreResult<Option<StoredRun>> {
        self.by_id(collection::RUNS, id.0).await?.map(layout::read_run).transpose()
    }

    async fn unfinished_runs(&self) -> StoreResult<Vec<StoredRun>> {
        self.find_runs(doc! { "finished": false }, 0, None).await
    }

    async fn unfinished_versions(&self) -> StoreResult<Vec<(RunId, u64)>> {
        let runs = self.collection(collection::RUNS);
        let find = runs
            .find(doc! { "finished": false })
            .projection(doc! { format!("{META}.av"): 1 })
            .max_time(self.deadline);
        let cursor = self.read(Call::Find, find.into_future()).await?;
        self.drain(cursor, |doc| {
            let id = doc.get_object_id("_id").map(RunId);
            let id = id.map_err(|_| StoreError::Damaged("a run's identity is not understood".to_owned()))?;
            Ok((id, doc.get_document(META).map_or(0, |meta| from_bits(meta, "av"))))
        })
        .await
    }

    async fn finished_runs(&self, query: &FinishedQuery) -> StoreResult<Vec<StoredRun>> {
        if query.limit == 0 {
            // To MongoDB a limit of 0 is none.
            return Ok(Vec::new());
        }
        self.find_runs(finished_filter(query), query.skip, Some(query.limit)).await
    }

    async fn patch_run(&self, id: RunId, expected: u64, patch: &RunPatch) -> StoreResult<PatchOutcome> {
        let next = expected.saturating_add(1);
        let mut set: Document = patch.set.iter().cloned().collect();
        set.insert(format!("{META}.av"), bits(next));
        let mut update = doc! { "$set": set };
        if !patch.actions.is_empty() {
            update.insert("$push", doc! { format!("{META}.acts"): { "$each": patch.actions.clone() } });
        }
        let filter = doc! { "_id": id.0, format!("{META}.av"): bits(expected) };
        let answer = self.update_many(collection::RUNS, vec![statement(filter, update, false)]).await?;
        if only(answer, || format!("run {id}"))? == 1 {
            self.log_of(collection::RUNS, id.0.into(), &patch.actions).await?;
            return Ok(PatchOutcome::Applied(next));
        }
        match self.by_id(collection::RUNS, id.0).await? {
            None => Ok(PatchOutcome::Missing),
            Some(stored) => {
                let empty = Document::new();
                Ok(PatchOutcome::Conflict(from_bits(stored.get_document(META).unwrap_or(&empty), "av")))
            }
        }
    }

    async fn task(&self, key: TaskKey) -> StoreResult<Option<TaskRecord>> {
        self.by_id(collection::TASKS, layout::task_id(key)).await?.map(layout::read_task).transpose()
    }

    async fn tasks(&self, run: RunId, from: TaskId, limit: usize) -> StoreResult<Vec<TaskRecord>> {
        self.task_page(run, from, limit).await
    }

    async fn bad_task(&self, run: RunId, position: u32) -> StoreResult<Option<TaskRecord>> {
        self.task_at(run, position).await
    }

    async fn next_task(&self, run: RunId) -> StoreResult<TaskId> {
        self.task_after_last(run).await
    }

    async fn insert_tasks(&self, records: &[TaskRecord]) -> StoreResult<()> {
        let documents = records.iter().map(layout::new_task).collect::<StoreResult<Vec<_>>>()?;
        self.insert_absent(collection::TASKS, documents).await
    }
}

impl MongoStore {
    /// Moves the entries that a document was just written with to the log.
    pub(super) async fn log_of(
        &self,
        collection: &'static str,
        id: Bson,
        actions: &[Document],
    ) -> StoreResult<()> {
        if actions.is_empty() {
            return Ok(());
        }
        self.log_and_clear(vec![Logged { collection, id, actions: actions.to_vec() }]).await
    }
}

//! Tasks.

use bson::{Document, doc};

use super::layout::{self, task_id, tasks_end};
use super::watch::Call;
use super::{MongoStore, collection};
use crate::domain::ids::{RunId, TaskId, TaskKey};
use crate::domain::task::TaskRecord;
use crate::store::codec::int;
use crate::store::{StoreError, StoreResult};

/// Tasks that one answer of the server brings at most.
const PAGE: u32 = 1000;

/// The tasks of a run from a number on: a range of `_id`.
pub(super) fn range(run: RunId, from: TaskId) -> Document {
    doc! { "_id": { "$gte": task_id(TaskKey { run, task: from }), "$lt": tasks_end(run) } }
}

impl MongoStore {
    /// Tasks in order.
    pub(super) async fn task_page(
        &self,
        run: RunId,
        from: TaskId,
        limit: usize,
    ) -> StoreResult<Vec<TaskRecord>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let target = self.collection(collection::TASKS);
        let find = target
            .find(range(run, from))
            .sort(doc! { "_id": 1 })
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .batch_size(PAGE)
            .max_time(self.deadline);
        let cursor = self.read(Call::Find, find.into_future()).await?;
        self.drain(cursor, layout::read_task).await
    }

    /// A purged task by its position.
    pub(super) async fn task_at(&self, run: RunId, position: u32) -> StoreResult<Option<TaskRecord>> {
        let filter = doc! { "run_id": run.0, "bad_position": int(u64::from(position)) };
        let tasks = self.collection(collection::TASKS);
        let find = tasks.find_one(filter).sort(doc! { "_id": 1 }).max_time(self.deadline);
        self.read(Call::Find, find.into_future()).await?.map(layout::read_task).transpose()
    }

    /// One more than the highest number.
    pub(super) async fn task_after_last(&self, run: RunId) -> StoreResult<TaskId> {
        let target = self.collection(collection::TASKS);
        let find = target
            .find_one(range(run, TaskId(0)))
            .sort(doc! { "_id": -1 })
            .projection(doc! { "run_id": 1, "task_id": 1 })
            .max_time(self.deadline);
        let Some(last) = self.read(Call::Find, find.into_future()).await? else { return Ok(TaskId(0)) };
        let number = layout::task_key(&last)?.task.0.checked_add(1);
        number.map(TaskId).ok_or_else(|| StoreError::Damaged(format!("run {run} has no number left")))
    }
}

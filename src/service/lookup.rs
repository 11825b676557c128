//! Which task a request is about, and whose it is: steps 5 to 7 of `spec/worker-api.md` section 1.8.

use super::Farm;
use super::error::{ServiceError, ServiceResult};
use crate::domain::ids::{RunId, TaskId, TaskKey};
use crate::domain::task::TaskRecord;
use crate::domain::validate::WorkerRequest;
use crate::state::{Absent, Caller, TaskLookup};

/// The run and the task that a request names, as far as it names them.
#[derive(Debug, Clone)]
pub struct Named {
    /// The run.
    pub run: Option<RunId>,
    /// The task number as sent.
    pub task: Option<u64>,
}

impl Named {
    /// What `request` names.
    pub fn of(request: &WorkerRequest) -> Self {
        Self { run: request.run_id, task: request.task_id }
    }

    /// The task, where an endpoint needs one.
    ///
    /// # Errors
    /// `Missing run_id`, `Missing task_id`, or `Invalid task_id` for a number that no task can have.
    pub fn required(&self) -> ServiceResult<TaskKey> {
        let run = self.run.ok_or_else(|| ServiceError::Invalid("Missing run_id".to_owned()))?;
        let task = self.task.ok_or_else(|| ServiceError::Invalid("Missing task_id".to_owned()))?;
        let number = u32::try_from(task).map_err(|_| invalid_task(run, task))?;
        Ok(TaskKey { run, task: TaskId(number) })
    }
}

/// Who a request comes from, about which task.
pub fn caller(request: &WorkerRequest, key: TaskKey) -> Caller {
    Caller {
        key,
        unique_key: request.worker_info.unique_key.clone(),
        username: request.worker_info.username.clone(),
    }
}

fn invalid_run(run: RunId) -> ServiceError {
    ServiceError::Invalid(format!("Invalid run_id: {run}"))
}

fn invalid_task(run: RunId, task: u64) -> ServiceError {
    ServiceError::Invalid(format!("Invalid task_id {task} for run_id {run}"))
}

fn mismatch(who: &Caller, field: &str, stored: &str) -> ServiceError {
    let sent = if field == "unique_key" { &who.unique_key } else { &who.username };
    ServiceError::Invalid(format!(
        "Invalid {field} for task {}. From task: {stored}. From request: {sent}.",
        who.key
    ))
}

fn check_owner(who: &Caller, record: &TaskRecord) -> ServiceResult<()> {
    let (unique_key, username) = match &record.worker {
        Some(worker) => (worker.unique_key.as_str(), worker.username.as_str()),
        None => ("", ""),
    };
    if unique_key != who.unique_key {
        return Err(mismatch(who, "unique_key", unique_key));
    }
    if username != who.username {
        return Err(mismatch(who, "username", username));
    }
    Ok(())
}

impl Farm {
    /// A task that the schedule didn't hold: either the request is wrong, or the task is closed and durable, and then
    /// this is it.
    ///
    /// # Errors
    /// `Invalid run_id`, `Invalid task_id`, `Invalid unique_key`, `Invalid username`.
    pub async fn closed_task(&self, who: &Caller, absent: Absent) -> ServiceResult<TaskRecord> {
        match absent {
            Absent::Mismatch { field, stored } => Err(mismatch(who, field, &stored)),
            Absent::NoTask { next } if who.key.task >= next => {
                Err(invalid_task(who.key.run, u64::from(who.key.task.0)))
            }
            Absent::NoTask { .. } => self.stored_task(who).await,
            Absent::NoRun => {
                if self.store.run(who.key.run).await?.is_none() {
                    return Err(invalid_run(who.key.run));
                }
                self.stored_task(who).await
            }
        }
    }

    async fn stored_task(&self, who: &Caller) -> ServiceResult<TaskRecord> {
        let Some(record) = self.store.task(who.key).await? else {
            return Err(invalid_task(who.key.run, u64::from(who.key.task.0)));
        };
        check_owner(who, &record)?;
        Ok(record)
    }

    /// The three checks alone, for endpoints that do nothing more with the schedule. Returns the task if one is named.
    pub async fn check_named(&self, request: &WorkerRequest) -> ServiceResult<Option<TaskRecord>> {
        let Some(run) = request.run_id else { return Ok(None) };
        let known = self.state.read_run(run).await?.is_some();
        if !known && self.store.run(run).await?.is_none() {
            return Err(invalid_run(run));
        }
        let Some(task) = request.task_id else { return Ok(None) };
        let number = u32::try_from(task).map_err(|_| invalid_task(run, task))?;
        let who = caller(request, TaskKey { run, task: TaskId(number) });
        match self.state.read_task(who.key).await? {
            TaskLookup::Found { task, .. } => {
                check_owner(&who, &task.record)?;
                Ok(Some((*task.record).clone()))
            }
            TaskLookup::NoTask { next } => self.closed_task(&who, Absent::NoTask { next }).await.map(Some),
            TaskLookup::NoRun => self.closed_task(&who, Absent::NoRun).await.map(Some),
        }
    }
}

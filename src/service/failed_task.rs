//! `failed_task`: a worker gives a task back.

use super::Farm;
use super::documents::closing_ids;
use super::error::ServiceResult;
use super::lookup::{Named, caller};
use super::update_task::unavailable;
use crate::domain::action::{CloseCause, CloseKind};
use crate::domain::ids::TaskKey;
use crate::domain::validate::WorkerRequest;
use crate::state::{CloseOutcome, CloseTask, CloseWhy};
use crate::sys::random;
use crate::telemetry::catalogue;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedAnswer {
    /// The task is closed now.
    Closed,
    /// It was closed already.
    Inactive(TaskKey),
}

impl Farm {
    /// Closes the task; the games already reported stay.
    pub async fn failed_task(&self, request: &WorkerRequest) -> ServiceResult<FailedAnswer> {
        let key = match Named::of(request).required() {
            Ok(key) => key,
            Err(error) => {
                self.check_named(request).await?;
                return Err(error);
            }
        };
        let message = request.message.as_deref().unwrap_or_default();
        let cause = CloseCause::new(CloseKind::Failed, message, self.now(), closing_ids());
        self.give_up(request, key, Some(cause)).await
    }

    /// Closes a worker's task, logged or not, and waits until that is durable.
    pub(super) async fn give_up(
        &self,
        request: &WorkerRequest,
        key: TaskKey,
        cause: Option<CloseCause>,
    ) -> ServiceResult<FailedAnswer> {
        let reserved = self.committer.reserve(1).map_err(unavailable)?;
        let who = caller(request, key);
        let is_failure = cause.is_some();
        let close =
            CloseTask { key, why: CloseWhy::Given { who: who.clone(), cause }, write_id: random::write_id() };
        match self.state.close_task(self.generation(), close).await? {
            CloseOutcome::Absent(absent) => {
                self.closed_task(&who, absent).await?;
                Ok(FailedAnswer::Inactive(key))
            }
            CloseOutcome::Done(task) => {
                if is_failure {
                    catalogue::TASKS_ENDED.increment(["failed"]);
                }
                reserved.commit(self.barrier(&[&task]).await?).await?;
                Ok(FailedAnswer::Closed)
            }
            CloseOutcome::Inactive(task) => {
                reserved.commit(self.barrier(&[&task]).await?).await?;
                Ok(FailedAnswer::Inactive(key))
            }
            CloseOutcome::StillAlive => Ok(FailedAnswer::Inactive(key)),
        }
    }
}

//! `worker_log`: one line for the event log.

use super::Farm;
use super::error::{ServiceError, ServiceResult};
use crate::domain::action::{Action, Event};
use crate::domain::ids::TaskId;
use crate::domain::validate::WorkerRequest;

impl Farm {
    /// Logs the line; durable before the answer.
    pub async fn worker_log(&self, request: &WorkerRequest) -> ServiceResult<()> {
        let task = self.check_named(request).await?;
        let context = match (request.run_id, task) {
            (Some(run), Some(task)) => Some((self.run_label(run).await?, TaskId(task.key.task.0))),
            (Some(_), None) => {
                return Err(ServiceError::Invalid("Missing task_id for worker_log run context".to_owned()));
            }
            (None, _) => None,
        };
        let event = Event::WorkerLog {
            worker: request.worker_info.long_name(),
            message: request.message.clone().unwrap_or_default(),
            task: context,
        };
        self.log(&[Action::by(request.worker_info.username.clone(), event)]).await
    }
}

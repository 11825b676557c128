//! `stop_run`: a worker found that a run can't be played (`spec/worker-api.md` section 6.7).

use super::Farm;
use super::documents::log_entry;
use super::error::{ServiceError, ServiceResult};
use super::finish::Stop;
use super::lookup::Named;
use crate::domain::action::{Action, Event};
use crate::domain::ids::RunId;
use crate::domain::run::{Phase, WorkerStop};
use crate::domain::validate::WorkerRequest;

/// Core hours that an account must have contributed before its workers may stop runs.
pub const HOURS_TO_STOP_RUNS: f64 = 1000.0;

impl Farm {
    /// Stops the run if the account may; otherwise only gives the task up.
    pub async fn stop_run(&self, request: &WorkerRequest) -> ServiceResult<()> {
        self.check_named(request).await?;
        let username = &request.worker_info.username;
        let hours = self.store.cpu_hours(username).await?.unwrap_or(-1.0);
        let named = Named::of(request);
        let run = named.run.ok_or_else(|| ServiceError::Invalid("Missing run_id".to_owned()))?;
        let finished = || ServiceError::Refused(format!("Run {run} is already finished"));
        if self.is_finished(run).await? {
            self.require_durable_end(run).await?;
            return Err(finished());
        }
        let key = named.required()?;
        let worker = request.worker_info.long_name();
        let message = request.message.clone().unwrap_or_default();
        if hours < HOURS_TO_STOP_RUNS {
            let event = Event::StopRun {
                run: self.run_label(run).await?,
                message: format!("{message} (not authorized)"),
                task: Some((worker, key.task)),
            };
            let entry = log_entry(&Action::by(username.clone(), event), self.now());
            self.store.insert_actions(&[entry]).await?;
            self.give_up(request, key, None).await?;
            return Err(ServiceError::Refused(format!("User {username} has too few games to stop a run")));
        }
        let stop = WorkerStop { worker, task_id: key.task.0, message };
        if self.finish(run, Stop::by_worker(username, stop)).await? {
            return Ok(());
        }
        self.require_durable_end(run).await?;
        Err(finished())
    }

    /// "Already finished" is said of an end that a restart would know of, too (`durability.md` section 3).
    async fn require_durable_end(&self, run: RunId) -> ServiceResult<()> {
        match self.store.run(run).await? {
            Some(stored) if stored.meta.phase == Phase::Running => {
                Err(ServiceError::Unavailable(format!("the end of run {run} is not written yet")))
            }
            _ => Ok(()),
        }
    }
}

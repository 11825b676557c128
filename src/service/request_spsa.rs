//! `request_spsa`: a tuning round for a worker (`spec/spsa.md` section 4).

use super::Farm;
use super::error::{ServiceError, ServiceResult};
use super::lookup::{Named, caller};
use super::update_task::unavailable;
use crate::domain::fold::Record;
use crate::domain::ids::TaskKey;
use crate::domain::spsa::{SpsaRecord, WorkerValues, flips};
use crate::domain::validate::WorkerRequest;
use crate::state::{BeginSpsa, CloseOutcome, FoldView, TaskLookup};
use crate::sys::random;

/// What the worker gets.
#[derive(Debug, Clone, PartialEq)]
pub enum SpsaAnswer {
    /// Parameters for both sides.
    Round(WorkerValues),
    /// The task is over.
    Inactive(TaskKey),
}

impl Farm {
    /// Draws the flips of a round and notes them in the task; the answer comes when that is durable.
    pub async fn request_spsa(&self, request: &WorkerRequest) -> ServiceResult<SpsaAnswer> {
        let key = match Named::of(request).required() {
            Ok(key) => key,
            Err(error) => {
                self.check_named(request).await?;
                return Err(error);
            }
        };
        let reserved = self.committer.reserve(1).map_err(unavailable)?;
        let who = caller(request, key);
        self.check_named(request).await?;
        let alive = matches!(self.state.read_task(key).await?, TaskLookup::Found { alive: true, .. });
        let spsa = match self.state.read_fold(key.run).await? {
            Some(view) => self.current_spsa(key, view).await?,
            None => self.stored_spsa(key).await?,
        };
        let spsa =
            spsa.ok_or_else(|| ServiceError::Invalid(format!("Run {} is not an SPSA run", key.run)))?;
        if !alive {
            return self.over(key, reserved).await;
        }
        // The generator is used and dropped before the next await.
        let packed_flips = flips::draw(spsa.params.len(), &mut random::rng());
        let round = spsa.round(packed_flips);
        let values = spsa.worker_values(&round).map_err(|error| ServiceError::Bug(error.to_string()))?;
        let begin = BeginSpsa { who: who.clone(), round, write_id: random::write_id() };
        match self.state.begin_spsa(self.generation(), begin).await? {
            CloseOutcome::Done(task) => {
                reserved.commit(self.barrier(&[&task]).await?).await?;
                Ok(SpsaAnswer::Round(values))
            }
            CloseOutcome::Absent(absent) => {
                self.closed_task(&who, absent).await?;
                Ok(SpsaAnswer::Inactive(key))
            }
            CloseOutcome::Inactive(_) | CloseOutcome::StillAlive => self.over(key, reserved).await,
        }
    }

    async fn over(&self, key: TaskKey, reserved: super::committer::Reservation) -> ServiceResult<SpsaAnswer> {
        if let TaskLookup::Found { task, .. } = self.state.read_task(key).await? {
            reserved.commit(self.barrier(&[&task]).await?).await?;
        }
        Ok(SpsaAnswer::Inactive(key))
    }

    /// The record with everything accepted so far in it.
    async fn current_spsa(&self, key: TaskKey, view: FoldView) -> ServiceResult<Option<SpsaRecord>> {
        let mut record = Record::parse(&view.record)?;
        if !view.pending.is_empty() {
            self.fold(key.run, view).await?;
            if let Some(view) = self.state.read_fold(key.run).await? {
                record = Record::parse(&view.record)?;
            }
        }
        Ok(match record {
            Record::Spsa(spsa) => Some(*spsa),
            Record::Games | Record::Sprt { .. } => None,
        })
    }

    async fn stored_spsa(&self, key: TaskKey) -> ServiceResult<Option<SpsaRecord>> {
        let Some(run) = self.store.run(key.run).await? else { return Ok(None) };
        let args = run.doc.get_document("args").cloned().unwrap_or_default();
        Ok(match Record::from_args(&args, run.meta.folded)? {
            Record::Spsa(spsa) => Some(*spsa),
            Record::Games | Record::Sprt { .. } => None,
        })
    }
}

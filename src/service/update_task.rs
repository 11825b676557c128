//! `update_task`: a worker's cumulative results (`spec/scheduling.md` section 6).

use std::sync::Arc;

use bson::Document;
use sha2::{Digest, Sha256};

use super::Farm;
use super::documents::closing_ids;
use super::error::{ServiceError, ServiceResult};
use super::finish::Stop;
use super::lookup::{Named, caller};
use crate::domain::ids::TaskKey;
use crate::domain::results::Stats;
use crate::domain::run::RunKind;
use crate::domain::task::BodyDigest;
use crate::domain::validate::{SpsaResult, WorkerRequest};
use crate::state::{FoldView, SpsaReport, TaskView, UpdateOutcome, UpdateRefusal, UpdateTask};
use crate::sys::random;

/// What the worker is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateAnswer {
    /// Whether it should go on.
    pub alive: bool,
    /// A harmless reason why not.
    pub info: Option<String>,
    /// What was wrong with the report.
    pub error: Option<String>,
    /// False if the answer rests on the schedule alone, because the store is away ([`super::degrade`]).
    pub durable: bool,
}

impl UpdateAnswer {
    fn plain(alive: bool) -> Self {
        Self { alive, info: None, error: None, durable: true }
    }

    fn inactive(key: TaskKey) -> Self {
        let info = Some(format!("Update_task: task {key} is not active"));
        Self { info, ..Self::plain(false) }
    }

    fn refused(key: TaskKey, refusal: UpdateRefusal) -> Self {
        let text = match refusal {
            UpdateRefusal::Incompatible { before, now, spsa } => format!(
                "Update_task: task {key} has incompatible stats. Before {before}. Now {now}. SPSA_games {spsa}."
            ),
            UpdateRefusal::Odd { before, now } => format!(
                "Update_task: odd number of games received for task {key}. Before {before}. Now {now}."
            ),
            UpdateRefusal::Batch => format!(
                "Update_task: the number of games received for task {key} is incompatible with the SPRT batch size"
            ),
        };
        Self { error: Some(text), ..Self::plain(false) }
    }
}

/// Fingerprint of what a report says: a repetition has the same.
pub fn body_digest(stats: &Stats, spsa: Option<&SpsaResult>) -> BodyDigest {
    let mut hash = Sha256::new();
    let Stats { wins, losses, draws, crashes, time_losses, pentanomial } = stats;
    for count in [wins, losses, draws, crashes, time_losses].into_iter().chain(pentanomial) {
        hash.update(count.to_le_bytes());
    }
    if let Some(SpsaResult { wins, losses, draws, num_games, sig }) = spsa {
        for count in [wins, losses, draws, num_games, sig] {
            hash.update(count.to_le_bytes());
        }
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    BodyDigest(u64::from_le_bytes(first))
}

impl Farm {
    /// Counts a report. The answer comes when the task is durable and the record folded; a report that decides its
    /// run also waits a little for the run's end, so that this looks synchronous.
    pub async fn update_task(&self, request: &WorkerRequest, country: &str) -> ServiceResult<UpdateAnswer> {
        let named = Named::of(request);
        let (key, stats) = match (named.required(), request.stats) {
            (Ok(key), Some(stats)) => (key, stats),
            (required, _) => {
                self.check_named(request).await?;
                required?;
                return Err(ServiceError::Invalid("Missing stats".to_owned()));
            }
        };
        let reserved = self.committer.reserve(2).map_err(unavailable)?;
        let who = caller(request, key);
        let update = UpdateTask {
            who: who.clone(),
            stats,
            spsa: request.spsa.map(|spsa| SpsaReport {
                wins: spsa.wins,
                losses: spsa.losses,
                draws: spsa.draws,
                num_games: spsa.num_games,
                sig: spsa.sig,
            }),
            digest: body_digest(&stats, request.spsa.as_ref()),
            worker_info: Arc::new(stored_info(request, country)),
            write_id: random::write_id(),
            action_ids: closing_ids(),
        };
        match self.state.update_task(self.generation(), update).await? {
            UpdateOutcome::Absent(absent) => {
                let record = self.closed_task(&who, absent).await?;
                // A known body gets the answer it got: the task had ended with it, or ended since.
                if record.knows(body_digest(&stats, request.spsa.as_ref())) {
                    return Ok(UpdateAnswer::plain(false));
                }
                Ok(UpdateAnswer::inactive(key))
            }
            UpdateOutcome::MissingSpsa => Err(ServiceError::Invalid("Missing spsa".to_owned())),
            UpdateOutcome::Inactive(task) => {
                reserved.commit(self.barrier(&[&task]).await?).await?;
                Ok(UpdateAnswer::inactive(key))
            }
            UpdateOutcome::Refused { error, task } => {
                reserved.commit(self.barrier(&[&task]).await?).await?;
                tracing::info!(run = %key.run, task = %key.task, worker = %request.worker_info.long_name(), ?error, "report refused");
                Ok(UpdateAnswer::refused(key, error))
            }
            UpdateOutcome::Repeated { task, alive, fold } => {
                self.settle(reserved, key, &task, *fold, alive).await
            }
            UpdateOutcome::Accepted { task, alive, fold } => {
                self.settle(reserved, key, &task, *fold, alive).await
            }
        }
    }

    /// The task's durability and the fold, side by side; then the end of a decided run.
    async fn settle(
        &self,
        reserved: super::committer::Reservation,
        key: TaskKey,
        task: &TaskView,
        fold: FoldView,
        alive: bool,
    ) -> ServiceResult<UpdateAnswer> {
        let writes = self.barrier(&[task]).await?;
        let is_tuning = matches!(fold.kind, RunKind::Spsa { .. });
        let (durable, decided) = tokio::join!(reserved.commit(writes), self.fold(key.run, fold));
        let decided = decided?;
        if let Err(error) = durable {
            // Neither the end of a run nor a tuning round is answered for without the store.
            if decided || is_tuning {
                return Err(error);
            }
            self.acknowledge_undurable(error, task).await?;
            return Ok(UpdateAnswer { durable: false, ..UpdateAnswer::plain(alive) });
        }
        if decided {
            self.finish(key.run, Stop::decided()).await?;
            return Ok(UpdateAnswer::plain(false));
        }
        Ok(UpdateAnswer::plain(alive))
    }
}

/// The worker information as a task keeps it; the address stays the one of the claim.
pub fn stored_info(request: &WorkerRequest, country: &str) -> Document {
    let mut info = request.worker_info.to_document();
    info.insert("country_code", country);
    info
}

/// A full queue on an update is trouble of our own: the worker repeats.
pub fn unavailable(error: ServiceError) -> ServiceError {
    match error {
        ServiceError::Busy(why) => ServiceError::Unavailable(why),
        other => other,
    }
}

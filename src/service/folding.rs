//! Folding: whoever is there brings the order-sensitive record up to date (`durability.md` section 4).

use std::sync::Arc;

use super::Farm;
use super::error::{ServiceError, ServiceResult};
use crate::domain::fold::{Record, run_is_decided};
use crate::domain::ids::RunId;
use crate::domain::run::{Phase, RunKind};
use crate::state::{CommitFold, FoldOutcome, FoldView};
use crate::sys::random;

/// Rounds of reading and trying before giving up; each lost round means that somebody else made progress.
const ROUNDS: usize = 1000;

impl Farm {
    /// Folds what is pending. Returns whether the run is decided and still running, so that it must be finished.
    pub async fn fold(&self, run: RunId, mut view: FoldView) -> ServiceResult<bool> {
        for _ in 0..ROUNDS {
            if matches!(view.kind, RunKind::Games) {
                return Ok(view.phase == Phase::Running && view.games >= view.num_games);
            }
            let mut record = Record::parse(&view.record)?;
            let Some(last) = view.pending.last() else {
                let decided = run_is_decided(&record, view.games, view.num_games);
                return Ok(view.phase == Phase::Running && decided);
            };
            let to = last.seq;
            for problem in record.fold(&view.pending, view.num_games) {
                tracing::error!(%run, problem, "a contribution could not be folded");
            }
            let commit = CommitFold {
                run,
                from: view.position,
                to,
                record: Arc::from(record.to_text()?),
                write_id: random::write_id(),
            };
            match self.state.commit_fold(self.generation(), commit).await? {
                FoldOutcome::Committed => {
                    // What was accepted since is folded by whoever reported it, as this was.
                    let decided = run_is_decided(&record, view.games, view.num_games);
                    return Ok(view.phase == Phase::Running && decided);
                }
                FoldOutcome::Moved { .. } => {}
                FoldOutcome::NoRun => return Ok(false),
            }
            let Some(next) = self.state.read_fold(run).await? else { return Ok(false) };
            view = next;
        }
        Err(ServiceError::Unavailable(format!("the record of run {run} moves too fast")))
    }

    /// Folds whatever is pending for a run.
    pub async fn fold_now(&self, run: RunId) -> ServiceResult<bool> {
        match self.state.read_fold(run).await? {
            Some(view) => self.fold(run, view).await,
            None => Ok(false),
        }
    }
}

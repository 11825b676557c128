//! Folding: whoever is there brings the order-sensitive record up to date (`durability.md` section 4).
//!
//! Whoever reports sees to it that what was pending then is folded, and no more: others see to theirs. In one process, one at
//! a time folds a run; whoever waits for the turn mostly finds its entries folded when it comes. Without either, of many
//! reports at once each would read and try again and again what only one of them can commit.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Farm;
use super::error::{ServiceError, ServiceResult};
use crate::domain::fold::{Record, run_is_decided};
use crate::domain::ids::{Generation, RunId};
use crate::domain::run::{Phase, RunKind};
use crate::state::{CommitFold, FoldOutcome, FoldView};
use crate::sys::random;

/// Rounds of reading and trying before giving up; each lost round means that somebody else made progress.
const ROUNDS: usize = 1000;

/// What this process saw of a run's record last.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    generation: Generation,
    position: u64,
    /// The run was decided then, and still running.
    decided: bool,
}

/// Turns at folding, by run; a run is here while somebody folds it or waits for that.
#[derive(Debug, Default)]
pub(super) struct Folds(Mutex<HashMap<RunId, Arc<tokio::sync::Mutex<Seen>>>>);

/// One who folds a run, or waits for its turn.
struct Folder<'a> {
    folds: &'a Folds,
    run: RunId,
    /// None once it goes.
    turn: Option<Arc<tokio::sync::Mutex<Seen>>>,
}

impl Folds {
    fn come(&self, run: RunId) -> Folder<'_> {
        Folder { folds: self, run, turn: Some(self.0.lock().entry(run).or_default().clone()) }
    }
}

impl Drop for Folder<'_> {
    fn drop(&mut self) {
        let mut runs = self.folds.0.lock();
        // Nobody comes or goes while the table is locked: what is left is the table's own, or somebody else's, too.
        self.turn = None;
        if runs.get(&self.run).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            runs.remove(&self.run);
        }
    }
}

impl Farm {
    /// Folds what is pending in `view`, and what came until that can be committed. Returns whether the run is decided and still
    /// running, so that it must be finished.
    pub async fn fold(&self, run: RunId, view: FoldView) -> ServiceResult<bool> {
        if matches!(view.kind, RunKind::Games) {
            return Ok(view.phase == Phase::Running && view.games >= view.num_games);
        }
        let Some(last) = view.pending.last() else {
            return Ok(is_decided(&view, &Record::parse(&view.record)?));
        };
        let target = last.seq;
        // Of the view: what was read in one generation isn't committed in the next, however long the turn takes to come.
        let generation = self.generation();
        let folder = self.folds.come(run);
        let Some(turn) = &folder.turn else { return Ok(false) };
        let mut seen = turn.lock().await;
        if seen.generation == generation && seen.position >= target {
            // What is in the view came after what was seen then, if its reporter had nothing to fold.
            let complete = view.phase == Phase::Running && view.games >= view.num_games;
            return Ok(seen.decided || complete);
        }
        let is_outdated = seen.generation == generation && seen.position > view.position;
        let mut view = if is_outdated { None } else { Some(view) };
        for _ in 0..ROUNDS {
            let there = match view.take() {
                Some(view) => view,
                None => match self.state.read_fold(run).await? {
                    Some(view) => view,
                    None => return Ok(false),
                },
            };
            let mut record = Record::parse(&there.record)?;
            let Some(last) = there.pending.last().filter(|_| there.position < target) else {
                let decided = is_decided(&there, &record);
                *seen = Seen { generation, position: there.position, decided };
                return Ok(decided);
            };
            let to = last.seq;
            for problem in record.fold(&there.pending, there.num_games) {
                tracing::error!(%run, problem, "a contribution could not be folded");
            }
            let commit = CommitFold {
                run,
                from: there.position,
                to,
                record: Arc::from(record.to_text()?),
                write_id: random::write_id(),
            };
            match self.state.commit_fold(generation, commit).await? {
                FoldOutcome::Committed => {
                    let decided = is_decided(&there, &record);
                    *seen = Seen { generation, position: to, decided };
                    if to >= target {
                        return Ok(decided);
                    }
                }
                FoldOutcome::Moved { .. } => {}
                FoldOutcome::NoRun => return Ok(false),
            }
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

/// Whether a run that is still running is decided by that record.
fn is_decided(view: &FoldView, record: &Record) -> bool {
    view.phase == Phase::Running && run_is_decided(record, view.games, view.num_games)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::random;

    #[tokio::test]
    async fn a_run_is_in_the_table_as_long_as_somebody_folds_it() {
        let (folds, run) = (Folds::default(), RunId(random::object_id()));
        let (first, second) = (folds.come(run), folds.come(run));
        first.turn.as_ref().unwrap().lock().await.position = 5;
        drop(first);
        assert_eq!(
            second.turn.as_ref().unwrap().lock().await.position,
            5,
            "whoever waits finds what was done"
        );
        let third = folds.come(run);
        std::thread::scope(|scope| {
            for folder in [second, third] {
                scope.spawn(move || drop(folder));
            }
        });
        assert!(folds.0.lock().is_empty());
        assert_eq!(folds.come(run).turn.as_ref().unwrap().lock().await.position, 0);
    }
}

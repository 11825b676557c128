//! The sweeper: what has been dirty for some seconds goes through the committer again (`durability.md` section 8).
//! It peeks and never takes, so it needs no leadership to be safe.

use super::Farm;
use super::error::ServiceResult;
use super::finish::Stop;
use crate::domain::fold::Record;
use crate::domain::ids::Millis;
use crate::domain::run::{Phase, RunKind};
use crate::state::{DirtyFilter, RunView};

/// A version may be on its way for so long before the sweeper sends it too, ms.
const GRACE: i64 = 3000;

/// Tasks of one sweep.
const LIMIT: usize = 500;

impl Farm {
    /// Sends what has been dirty for longer than the grace. Returns how many tasks that was.
    pub async fn sweep(&self) -> ServiceResult<usize> {
        let settled = self.store.settle_actions().await?;
        if settled > 0 {
            tracing::info!(entries = settled, "log entries that waited in their causes are in the log");
        }
        let now = self.state.now().await?;
        let filter = DirtyFilter { run: None, since: Some(Millis(now.0 - GRACE)), limit: LIMIT };
        let dirty = self.state.peek_dirty(filter).await?;
        let views: Vec<_> = dirty.tasks.iter().collect();
        let swept = views.len();
        self.committer.write_all(self.barrier(&views).await?).await?;
        Ok(swept)
    }

    /// Sends everything that isn't known to be durable, at shutdown.
    pub async fn sweep_all(&self) -> ServiceResult<usize> {
        let dirty = self.state.peek_dirty(DirtyFilter { run: None, since: None, limit: usize::MAX }).await?;
        let views: Vec<_> = dirty.tasks.iter().collect();
        for slice in views.chunks(LIMIT) {
            self.committer.write_all(self.barrier(slice).await?).await?;
        }
        Ok(views.len())
    }

    /// Copies the counters and records of running runs to the store, where they have changed, and
    /// finishes those that are decided. Returns how many were copied.
    pub async fn flush_runs(&self) -> ServiceResult<usize> {
        let mut flushed = 0;
        let mut failure = None;
        for view in self.state.read_runs().await? {
            match self.flush_running(&view).await {
                Ok(written) => flushed += usize::from(written),
                // One run's trouble is not the others'.
                Err(error) => {
                    tracing::warn!(run = %view.id, %error, "a run could not be copied to the store");
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(flushed), Err)
    }

    async fn flush_running(&self, view: &RunView) -> ServiceResult<bool> {
        if view.phase != Phase::Running {
            return Ok(false);
        }
        let dirty = view.durable < view.version;
        if dirty && let Some(run) = self.runs.at_least(view.id, view.args_version).await? {
            self.flush_run(view.id, &run).await?;
        }
        // The report that decided may have lost its request before it could end the run.
        if is_decided(view)? {
            self.finish(view.id, Stop::decided()).await?;
        }
        Ok(dirty)
    }
}

/// Whether what is folded already, or the number of games, ends the run.
fn is_decided(view: &RunView) -> ServiceResult<bool> {
    if view.counters.results.games() >= view.num_games {
        return Ok(true);
    }
    Ok(matches!(view.kind, RunKind::Sprt { .. }) && Record::parse(&view.record)?.verdict().is_some())
}

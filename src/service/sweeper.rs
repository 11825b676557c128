//! The sweeper: what has been dirty for some seconds goes through the committer again (`durability.md` section 8).
//! It peeks and never takes, so it needs no leadership to be safe.

use super::Farm;
use super::error::ServiceResult;
use crate::domain::ids::Millis;
use crate::domain::run::Phase;
use crate::state::DirtyFilter;

/// A version may be on its way for so long before the sweeper sends it too, ms.
const GRACE: i64 = 3000;

/// Tasks of one sweep.
const LIMIT: usize = 500;

impl Farm {
    /// Sends what has been dirty for longer than the grace. Returns how many tasks that was.
    pub async fn sweep(&self) -> ServiceResult<usize> {
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

    /// Copies the counters and records of running runs to the store, where they have changed.
    pub async fn flush_runs(&self) -> ServiceResult<usize> {
        let mut flushed = 0;
        for view in self.state.read_runs().await? {
            if view.phase != Phase::Running || view.durable >= view.version {
                continue;
            }
            if let Some(run) = self.runs.at_least(view.id, view.args_version).await? {
                self.flush_run(view.id, &run).await?;
                flushed += 1;
            }
        }
        Ok(flushed)
    }
}

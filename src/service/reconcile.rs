//! What died between store and schedule arrives: the leader compares both every other second (`durability.md` section 6).

use std::collections::HashMap;
use std::time::Duration;

use super::Farm;
use super::error::ServiceResult;
use super::finish::Stop;
use crate::domain::ids::RunId;
use crate::domain::run::Phase;
use crate::state::{RunView, SetPhase};
use crate::store::StoredRun;
use crate::sys::random;

/// A finished run that somebody opened to change it, and that stands so for longer, was left behind: its opener died.
const OPENED: Duration = Duration::from_secs(120);

impl Farm {
    /// Brings what is in the store but did not arrive in the schedule: a change of arguments, a run that was created
    /// or revived, whose request was interrupted between the two.
    pub async fn reconcile(&self) -> ServiceResult<()> {
        // The store first: what is in it by now has had at least the time of a call to arrive.
        let stored = self.store.unfinished_versions().await?;
        let views = self.state.read_runs().await?;
        let there: HashMap<RunId, u64> = views.iter().map(|view| (view.id, view.args_version)).collect();
        for (run, version) in stored {
            match there.get(&run) {
                Some(known) if *known < version => self.take_over_args(run, version).await?,
                Some(_) => {}
                None => self.bring_back(run).await?,
            }
        }
        self.close_opened(&views).await
    }

    async fn bring_back(&self, run: RunId) -> ServiceResult<()> {
        // Under the turn nobody of this process is about to take the run out.
        let Some(_turn) = self.sagas.begin(run) else { return Ok(()) };
        if self.state.read_run(run).await?.is_some() {
            return Ok(());
        }
        let Some(stored) = self.store.run(run).await? else { return Ok(()) };
        if stored.doc.get_bool("finished").unwrap_or(false) {
            return Ok(());
        }
        tracing::warn!(%run, "an unfinished run was missing in the schedule");
        if self.load_into(&stored, stored.meta.phase).await? {
            self.close_again(&stored).await?;
        }
        Ok(())
    }

    /// Takes a run out again that others have played to its end while this process slept, between its last look and its
    /// bringing the run back. Its log has that end already.
    async fn close_again(&self, stored: &StoredRun) -> ServiceResult<()> {
        let run = stored.id;
        let again = self.store.run(run).await?;
        if !again.is_some_and(|again| again.doc.get_bool("finished").unwrap_or(false)) {
            return Ok(());
        }
        tracing::warn!(%run, "that run has ended meanwhile; it is taken out again");
        let flip = SetPhase {
            run,
            from: stored.meta.phase,
            to: Phase::Finished,
            operation: Stop::decided().operation("", self.state.now().await?),
            write_id: random::write_id(),
        };
        self.state.set_phase(self.generation(), flip).await?;
        self.state.unload_run(self.generation(), run).await?;
        Ok(())
    }

    /// Takes out runs that were opened by somebody who died before there was an operation to go on with.
    async fn close_opened(&self, views: &[RunView]) -> ServiceResult<()> {
        let now = self.clock.monotonic();
        let is_open = |view: &&RunView| view.phase == Phase::Finished && view.operation.is_none();
        let left: Vec<RunId> = {
            let mut opened = self.opened.lock();
            opened.retain(|run, _| views.iter().filter(is_open).any(|view| view.id == *run));
            for view in views.iter().filter(is_open) {
                opened.entry(view.id).or_insert(now);
            }
            opened
                .iter()
                .filter(|(_, since)| now.saturating_sub(**since) > OPENED)
                .map(|(run, _)| *run)
                .collect()
        };
        for run in left {
            // One of this process's own is not left behind, however long it takes.
            let Some(_turn) = self.sagas.begin(run) else { continue };
            if self.state.unload_run(self.generation(), run).await? {
                tracing::warn!(%run, "somebody died while it was about to change that finished run");
            }
        }
        Ok(())
    }
}

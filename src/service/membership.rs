//! Being one of several replicas of a schedule that others share (`durability.md` sections 1 and 9).
//!
//! A replica compares the schedule's generation with the store's fence, about once a second and at once when something
//! went wrong. A schedule that is loaded and of the fence's generation is joined. One that is lost, or older, is rebuilt by
//! the leader; the others wait. A store that is older than the schedule is not healed: a person decides.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::Farm;
use super::error::{ServiceError, ServiceResult};
use crate::domain::ids::Generation;
use crate::state::{GenerationView, Invalidation, LoadState, StateError};
use crate::store::WriteOutcome;
use crate::sys::spawn;

/// How often the schedule and the store are compared.
const LOOK: Duration = Duration::from_secs(1);

/// Between two looks, however much goes wrong.
const SHORTEST: Duration = Duration::from_millis(100);

/// From the beginning of a rebuild to the beginning of the next, by this process.
const BETWEEN_REBUILDS: Duration = Duration::from_secs(5);

/// A replica that has not heard of the schedule and of the store for so long doesn't lead.
const IN_TOUCH: Duration = Duration::from_secs(15);

/// What every replica reads at its start is read again so often, should a note have been lost.
const REREAD: Duration = Duration::from_secs(300);

/// Where a replica stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It answers.
    Serving,
    /// It doesn't yet, or not for the moment; why.
    Waiting(String),
    /// The store is older than the schedule: nothing here mends that.
    StoreBehind {
        /// The schedule's generation.
        schedule: Generation,
        /// The store's.
        store: Generation,
    },
}

impl fmt::Display for Standing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serving => out.write_str("serving"),
            Self::Waiting(why) => write!(out, "waiting: {why}"),
            Self::StoreBehind { schedule, store } => write!(
                out,
                "the store is of generation {store}, the schedule of {schedule}: was an older backup restored? If it is to \
                 count, empty the schedule's keys in Redis; if not, bring the newer store back"
            ),
        }
    }
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// It is loaded, and the store agrees.
    Loaded(Generation),
    /// Somebody is loading it, or died in doing so.
    Loading(Generation),
    /// It is gone, or older than the store.
    Lost,
    /// It is newer than the store.
    StoreBehind { schedule: Generation, store: Generation },
}

/// Judges what was read of the schedule *before* the fence: whoever rebuilds raises the fence first, so a schedule that is
/// newer than a fence read later is newer indeed. None is a schedule that is empty, or another server's.
/// `contradicted` is a generation whose schedule the store is known to contradict.
fn judge(there: Option<GenerationView>, fence: Generation, contradicted: Generation) -> Finding {
    let Some(there) = there else { return Finding::Lost };
    if there.generation > fence {
        return Finding::StoreBehind { schedule: there.generation, store: fence };
    }
    if there.generation < fence {
        return Finding::Lost;
    }
    match there.state {
        LoadState::Loading => Finding::Loading(fence),
        LoadState::Loaded if contradicted == fence => Finding::Lost,
        LoadState::Loaded => Finding::Loaded(fence),
    }
}

/// Which schedule this process works for, and whether it answers.
#[derive(Debug)]
pub struct Membership {
    /// Whether others share the schedule. If not, nothing here happens but what a start does.
    shared: bool,
    generation: AtomicU64,
    ready: AtomicBool,
    standing: Mutex<Standing>,
    doubt: Notify,
    /// A generation whose schedule was found to be behind the store; 0 for none.
    contradicted: AtomicU64,
    /// When the last rebuild began, by the monotonic clock.
    rebuilt_at: Mutex<Option<Duration>>,
    /// When schedule and store both answered for the last time, likewise.
    in_touch_at: Mutex<Option<Duration>>,
}

impl Membership {
    /// A process that works for nothing yet.
    pub fn new(shared: bool) -> Arc<Self> {
        Arc::new(Self {
            shared,
            generation: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            standing: Mutex::new(Standing::Waiting("it has just begun".to_owned())),
            doubt: Notify::new(),
            contradicted: AtomicU64::new(0),
            rebuilt_at: Mutex::new(None),
            in_touch_at: Mutex::new(None),
        })
    }

    /// The generation that this process works for; 0 for none yet.
    pub fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Acquire))
    }

    /// Works for another generation from now on.
    pub(super) fn work_for(&self, generation: Generation) {
        self.generation.store(generation.0, Ordering::Release);
    }

    /// Whether it answers.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
        if ready {
            *self.standing.lock() = Standing::Serving;
        }
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }

    /// Whether others share the schedule.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Whether this process could do a leader's work: one that is cut off from the store, or from the schedule, leaves it to
    /// others.
    pub(super) fn is_in_touch(&self, now: Duration) -> bool {
        !self.shared || self.in_touch_at.lock().is_some_and(|at| now.saturating_sub(at) < IN_TOUCH)
    }

    /// Something doesn't fit: look at once.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// The store refused a document that was written for `worked_for`.
    pub(super) fn refused(&self, worked_for: Generation, outcome: WriteOutcome) {
        if !self.shared {
            return;
        }
        match outcome {
            // A request that outlived its generation tells nothing new.
            WriteOutcome::Fenced(by) if by <= self.generation() => return,
            WriteOutcome::Fenced(_) => {}
            WriteOutcome::RolledBack => {
                self.contradict(worked_for);
            }
            _ => return,
        }
        self.leave("the store refused a document of an old schedule");
        self.doubt();
    }

    /// The schedule of that generation is behind the store: it lost what was acknowledged.
    /// Returns whether that is new.
    pub(super) fn contradict(&self, generation: Generation) -> bool {
        self.contradicted.fetch_max(generation.0, Ordering::AcqRel) < generation.0
    }

    fn contradicted(&self) -> Generation {
        Generation(self.contradicted.load(Ordering::Acquire))
    }

    fn leave(&self, why: &str) {
        self.ready.store(false, Ordering::Release);
        self.stand(Standing::Waiting(why.to_owned()));
    }

    /// Notes where this process stands, and tells the log when that is new.
    fn stand(&self, standing: Standing) {
        let mut there = self.standing.lock();
        if *there == standing {
            return;
        }
        match &standing {
            Standing::Serving => tracing::info!("{standing}"),
            // Whoever has never served waits as everybody does at a start.
            Standing::Waiting(_) if *there == Standing::Serving => tracing::warn!("{standing}"),
            Standing::Waiting(_) => tracing::info!("{standing}"),
            Standing::StoreBehind { .. } => tracing::error!("{standing}"),
        }
        *there = standing;
    }
}

impl Farm {
    /// Takes part in the shared schedule until `stop` turns true: joins it, rebuilds it when this replica leads and it is
    /// lost, and heeds what other replicas tell.
    pub fn take_part(self: &Arc<Self>, stop: watch::Receiver<bool>) -> tokio::task::JoinHandle<()> {
        let (listening, mut ended) = (self.clone(), stop.clone());
        let notes = self.state.notes();
        spawn::task("notes", async move {
            tokio::select! {
                () = listening.heed(notes) => {}
                _ = ended.wait_for(|stop| *stop) => {}
            }
        });
        let (farm, mut ended) = (self.clone(), stop);
        spawn::task("membership", async move {
            tokio::select! {
                () = farm.keep_looking() => {}
                _ = ended.wait_for(|stop| *stop) => {}
            }
        })
    }

    async fn keep_looking(&self) {
        let mut read_at = self.clock.monotonic();
        loop {
            if let Err(error) = self.look(true).await {
                tracing::debug!(%error, "the schedule could not be looked at");
            }
            let now = self.clock.monotonic();
            if self.is_ready() && now.saturating_sub(read_at) > REREAD {
                read_at = now;
                if let Err(error) = self.load_own_tables().await {
                    tracing::warn!(%error, "the tables could not be read again; the old ones stay");
                }
            }
            let doubted = async {
                self.membership.doubt.notified().await;
                tokio::time::sleep(SHORTEST).await;
            };
            drop(tokio::time::timeout(LOOK, doubted).await);
        }
    }

    /// Compares the schedule with the store, and does what follows. `may_rebuild` is whether this process may load a
    /// schedule that is lost, if it leads or nobody does.
    ///
    /// # Errors
    /// When one of the two doesn't answer: then everything stays as it is.
    pub async fn look(&self, may_rebuild: bool) -> ServiceResult<Standing> {
        let there = match self.state.generation().await {
            Ok(there) => there,
            Err(StateError::Foreign) => None,
            Err(error) => return Err(self.unanswered(error.into())),
        };
        let fence = self.store.fence().await.map_err(|error| self.unanswered(error.into()))?;
        let membership = &self.membership;
        *membership.in_touch_at.lock() = Some(self.clock.monotonic());
        match judge(there, fence, membership.contradicted()) {
            Finding::Loaded(generation) if self.is_ready() && generation == self.generation() => {}
            Finding::Loaded(generation) => self.join(generation).await?,
            Finding::Loading(generation) => {
                membership.leave(&format!("the schedule of generation {generation} is being loaded"));
                self.rebuild_as_leader(may_rebuild).await;
            }
            Finding::Lost => {
                membership.leave("the schedule is lost, or older than the store: it has to be loaded anew");
                if there.is_some_and(|there| there.generation == membership.contradicted()) {
                    // Whoever leads may not know.
                    self.tell(Invalidation::Contradicted(fence)).await;
                }
                self.rebuild_as_leader(may_rebuild).await;
            }
            Finding::StoreBehind { schedule, store } => {
                membership.ready.store(false, Ordering::Release);
                membership.stand(Standing::StoreBehind { schedule, store });
            }
        }
        Ok(membership.standing())
    }

    /// Whoever answers requests goes on: each finds out for itself. Whoever doesn't, says why.
    fn unanswered(&self, error: ServiceError) -> ServiceError {
        if !self.is_ready() {
            self.membership.stand(Standing::Waiting(error.to_string()));
        }
        error
    }

    /// Works for a schedule that is there.
    async fn join(&self, generation: Generation) -> ServiceResult<()> {
        self.membership.ready.store(false, Ordering::Release);
        self.load_own_tables().await?;
        // What was told while this process worked for another schedule may have been missed.
        self.forget_all();
        self.membership.work_for(generation);
        self.membership.set_ready(true);
        tracing::info!(replica = %self.identity, %generation, "joined the schedule");
        Ok(())
    }

    async fn rebuild_as_leader(&self, may_rebuild: bool) {
        if !may_rebuild {
            return;
        }
        let Some(leadership) = self.stand().await else { return };
        let now = self.clock.monotonic();
        {
            let mut last = self.membership.rebuilt_at.lock();
            if last.is_some_and(|last| now.saturating_sub(last) < BETWEEN_REBUILDS) {
                return;
            }
            *last = Some(now);
        }
        tracing::warn!(replica = %self.identity, "loading the schedule from the store");
        // What was told while the schedule was lost may have been missed.
        self.forget_all();
        match leadership.during(self.rebuild()).await {
            Ok(_) => {}
            Err(error @ (ServiceError::Outdated(_) | ServiceError::Superseded(_))) => {
                tracing::info!(%error, "another process loads the schedule");
            }
            Err(error) => tracing::error!(%error, "the schedule could not be loaded"),
        }
    }

    /// Notes what a use case ended with: trouble that another schedule explains is looked into at once.
    pub fn note_trouble(&self, error: &ServiceError) {
        if matches!(error, ServiceError::Outdated(_)) {
            self.membership.doubt();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_look_finds() {
        let g = Generation;
        let view = |generation, state| Some(GenerationView { generation: g(generation), state });
        let loaded = |generation| view(generation, LoadState::Loaded);
        assert_eq!(judge(loaded(5), g(5), g(0)), Finding::Loaded(g(5)));
        assert_eq!(judge(loaded(5), g(5), g(4)), Finding::Loaded(g(5)));
        assert_eq!(judge(loaded(5), g(5), g(5)), Finding::Lost, "the store contradicts it");
        assert_eq!(judge(loaded(4), g(5), g(0)), Finding::Lost);
        assert_eq!(judge(None, g(0), g(0)), Finding::Lost);
        assert_eq!(judge(view(5, LoadState::Loading), g(5), g(0)), Finding::Loading(g(5)));
        assert_eq!(judge(view(4, LoadState::Loading), g(5), g(0)), Finding::Lost);
        for behind in [loaded(6), view(6, LoadState::Loading)] {
            assert_eq!(judge(behind, g(5), g(0)), Finding::StoreBehind { schedule: g(6), store: g(5) });
        }
    }

    #[test]
    fn a_refused_document_takes_a_replica_out_but_an_old_one_does_not() {
        let membership = Membership::new(true);
        membership.work_for(Generation(5));
        membership.set_ready(true);
        membership.refused(Generation(4), WriteOutcome::Fenced(Generation(5)));
        assert!(membership.is_ready(), "a request that outlived its generation");
        membership.refused(Generation(5), WriteOutcome::Fenced(Generation(6)));
        assert!(!membership.is_ready());
        assert_eq!(membership.contradicted(), Generation(0));
        membership.set_ready(true);
        membership.refused(Generation(5), WriteOutcome::RolledBack);
        assert!(!membership.is_ready());
        assert_eq!(membership.contradicted(), Generation(5));
    }
}

//! The shared scheduling state: everything that must change in one step.
//!
//! [`SchedulingState`] has one method per transition. Each is atomic, takes plain data and returns plain data; no
//! guard or borrowed state crosses the border, so that the same service code runs over a process's own memory
//! ([`memory`], the executable specification) and over a server shared by many processes.
//!
//! Times are the state's own: a caller's clock never decides anything.

mod audit;
pub mod memory;
pub mod outcomes;
pub mod redis;
pub mod requests;

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::domain::ids::{Generation, Millis, RunId, ShortWorkerName, TaskKey, Token, Version};
pub use outcomes::*;
pub use requests::*;

/// Why a transition has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The schedule isn't loaded (start, rebuild).
    #[error("the schedule is not loaded")]
    NotLoaded,
    /// The caller works for another generation of the schedule.
    #[error("the schedule is of generation {current}, not of the caller's")]
    WrongGeneration {
        /// The generation that is loaded.
        current: Generation,
    },
    /// The server serves another history than the one the schedule was loaded into.
    #[error("the state server serves another history")]
    Foreign,
    /// The caller's lease has been granted to somebody else since.
    #[error("stale lease token")]
    StaleToken,
    /// The answer did not come in time: the transition may or may not have happened.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The state can't be reached; nothing happened.
    #[error("the scheduling state is unavailable: {0}")]
    Unavailable(String),
    /// The state contradicts itself.
    #[error("inconsistent scheduling state: {0}")]
    Bug(String),
}

/// Result of a transition.
pub type StateResult<T> = Result<T, StateError>;

/// The scheduling state; see the module's documentation.
#[async_trait]
pub trait SchedulingState: Send + Sync {
    /// The state's clock.
    async fn now(&self) -> StateResult<Millis>;

    /// Which generation is there, and whether it is loaded.
    async fn generation(&self) -> StateResult<Option<GenerationView>>;

    /// Begins or ends the loading of a generation: `Loading` only over a smaller generation (and empties the
    /// schedule), `Loaded` only over the same one.
    async fn set_generation(&self, generation: Generation, state: LoadState) -> StateResult<bool>;

    /// Grants the lease `name` to `holder` for `ttl` if it is free, expired, or its own. `known` is the generation that
    /// the caller knows of from the store: tokens increase even where the state has lost its own.
    async fn lease_acquire(
        &self,
        name: LeaseName,
        holder: &str,
        ttl: Duration,
        known: Generation,
    ) -> StateResult<LeaseOutcome>;

    /// Extends a lease that is still held with this token.
    async fn lease_renew(&self, name: LeaseName, token: Token, ttl: Duration) -> StateResult<bool>;

    /// Gives a lease back; false if it was somebody else's already.
    async fn lease_release(&self, name: LeaseName, token: Token) -> StateResult<bool>;

    /// Who holds the lease, if anybody.
    async fn lease_read(&self, name: LeaseName) -> StateResult<Option<LeaseView>>;

    /// Admits a request for a task: a leased slot of the semaphore, the checks that precede the choice of a run
    /// (`spec/scheduling.md` section 3.2), and the table that the choice needs. A refusal keeps no slot.
    async fn semaphore_acquire(&self, request: Admission) -> StateResult<AdmissionOutcome>;

    /// Gives a slot back before its time; only its holder can.
    async fn semaphore_release(&self, holder: &str) -> StateResult<bool>;

    /// Puts an unfinished run into the schedule, with the tasks that still matter. Replaces nothing: false if it is there.
    async fn load_run(&self, generation: Generation, run: RunLoad) -> StateResult<bool>;

    /// Takes a finished run out of the schedule, if its phase is the given operation's last.
    async fn unload_run(&self, generation: Generation, run: RunId) -> StateResult<bool>;

    /// Creates a task for a worker (`spec/scheduling.md` section 3.5), closes the worker's stale one, frees the slot.
    async fn assign_task(&self, generation: Generation, request: AssignTask) -> StateResult<AssignOutcome>;

    /// A worker's sign of life.
    async fn beat(&self, generation: Generation, who: &Caller) -> StateResult<BeatOutcome>;

    /// A worker's cumulative results (`spec/scheduling.md` section 6, steps 1-10).
    async fn update_task(&self, generation: Generation, request: UpdateTask) -> StateResult<UpdateOutcome>;

    /// Notes the tuning round handed to a task.
    async fn begin_spsa(&self, generation: Generation, request: BeginSpsa) -> StateResult<CloseOutcome>;

    /// Closes one task: failed, dead, or given up for a reason that is not logged.
    async fn close_task(&self, generation: Generation, request: CloseTask) -> StateResult<CloseOutcome>;

    /// Closes up to `limit` active tasks of a run that is being finished.
    async fn close_slice(&self, generation: Generation, request: CloseSlice) -> StateResult<SliceOutcome>;

    /// Active tasks of running runs without a sign of life since `cutoff`, oldest first.
    async fn find_dead(&self, cutoff: Millis, limit: usize) -> StateResult<Vec<TaskKey>>;

    /// Commits a folded record if nobody has folded since: compare-and-set on the position.
    async fn commit_fold(&self, generation: Generation, request: CommitFold) -> StateResult<FoldOutcome>;

    /// Moves a run to another phase, once.
    async fn set_phase(&self, generation: Generation, request: SetPhase) -> StateResult<PhaseOutcome>;

    /// Takes over arguments that a person changed (never older ones), or gauges that a job computed.
    async fn set_run_fields(&self, generation: Generation, request: SetRunFields) -> StateResult<bool>;

    /// Mirrors a block (`Some(message)`) or its end.
    async fn block_worker(&self, worker: &ShortWorkerName, message: Option<String>) -> StateResult<()>;

    /// Documents with a version that isn't known to be durable since before `since`, without taking them.
    async fn peek_dirty(&self, filter: DirtyFilter) -> StateResult<DirtyView>;

    /// Notes what became durable; drops tasks that are closed and durable.
    async fn ack_dirty(&self, generation: Generation, acks: &[DurableAck]) -> StateResult<()>;

    /// How many tasks have a version that isn't durable, and since when. Asked at every report while the store is away, so
    /// it must not depend on how many tasks or workers there are.
    async fn backlog(&self) -> StateResult<Backlog>;

    /// The number of [`SchedulingState::backlog`] alone.
    async fn count_dirty(&self) -> StateResult<usize> {
        Ok(self.backlog().await?.tasks)
    }

    /// A run as the schedule knows it; None if it isn't there.
    async fn read_run(&self, run: RunId) -> StateResult<Option<RunView>>;

    /// All runs in the schedule.
    async fn read_runs(&self) -> StateResult<Vec<RunView>>;

    /// The run's folded record and what is waiting to be folded.
    async fn read_fold(&self, run: RunId) -> StateResult<Option<FoldView>>;

    /// A task that the schedule still holds.
    async fn read_task(&self, key: TaskKey) -> StateResult<TaskLookup>;

    /// The tasks of a run that the schedule still holds, in order.
    async fn read_tasks(&self, run: RunId) -> StateResult<Vec<TaskView>>;

    /// What workers have seen (`worker_runs`), for its periodic copy to the store.
    async fn read_seen(&self) -> StateResult<Vec<SeenView>>;

    /// Restores what workers have seen, at start.
    async fn load_seen(&self, seen: Vec<SeenView>) -> StateResult<()>;

    /// Housekeeping by the leader: forgets finished runs in what workers have seen and dead entries of the worker map.
    /// Returns how many entries went.
    async fn clean(&self, leader: Token) -> StateResult<usize>;

    /// A full recomputation against the counters (invariant I14); the differences in words.
    async fn audit(&self, run: RunId) -> StateResult<Vec<String>>;

    /// Checks the tables against one another: worker map, active tasks, connections, versions that aren't durable. The
    /// differences in words, at most a hundred.
    async fn audit_structures(&self) -> StateResult<Vec<String>>;

    /// Numbers about the state as a whole.
    async fn census(&self) -> StateResult<Census>;

    /// Tells everybody who shares this state, oneself included, of a change behind what they may have cached.
    async fn publish(&self, note: &Invalidation) -> StateResult<()>;

    /// Whether an address may make one more request, by the count that everybody who shares this state keeps together. None
    /// where nobody shares it: then whoever asks keeps the count.
    async fn admit_address(&self, _address: &str, _rate: Rate) -> StateResult<Option<bool>> {
        Ok(None)
    }

    /// What is told from now on. A receiver that falls behind hears `Lagged`, and after a lost connection everybody hears
    /// [`Invalidation::Everything`].
    fn notes(&self) -> broadcast::Receiver<Invalidation>;

    /// Brings up to date what metrics tell of the way there. Waits for nobody.
    fn observe(&self) {}
}

/// Notes that a receiver may be behind before it is told that it missed some.
pub(crate) const NOTES: usize = 1024;

/// Version helpers shared by implementations.
pub(crate) fn is_durable(version: Version, durable: Version) -> bool {
    durable >= version
}

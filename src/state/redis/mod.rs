//! The scheduling state in Redis (or Valkey), shared by many processes: every transition is one script, so that each is
//! atomic; times are the server's own; the generation and the server's history are checked by each (`durability.md`
//! section 1). What the scripts keep where is told in `ARCHITECTURE.md`.

mod assign;
mod beats;
mod breaker;
mod dirty;
mod errors;
mod facts;
mod keys;
mod lease;
mod link;
mod notes;
mod rates;
mod reads;
mod reply;
mod run_codec;
mod runs;
mod scripts;
mod settings;
mod task_codec;
mod task_ops;
mod tidy;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::redis::{Arg, Cmd};
use async_trait::async_trait;
use parking_lot::RwLock;
use tokio::sync::broadcast;
use tracing::Instrument;

use self::beats::Beats;
use self::errors::{Class, class, state_error};
pub use self::facts::RedisFacts;
use self::keys::{Base, Names};
use self::link::{Link, Way};
use self::reply::Reply;
use self::scripts::Script;
pub use self::settings::{RedisSettings, RedisUrl, UrlError};
use super::*;
use crate::sys::clock::{self, Clock};
use crate::telemetry::catalogue;
use crate::telemetry::otlp::TARGET;

/// See the module's documentation.
pub struct RedisState {
    me: Weak<Self>,
    link: Link,
    base: Base,
    /// Only in tests that move the time: otherwise the server's clock counts.
    clock: Option<Arc<dyn Clock>>,
    /// Names of the generation that was last seen there.
    known: RwLock<Arc<Names>>,
    /// Whether this process fills a generation that doesn't serve yet.
    loading: AtomicBool,
    notes: broadcast::Sender<Invalidation>,
    beats: Beats,
    facts: RedisFacts,
}

impl RedisState {
    /// Connects, and looks what the server is.
    ///
    /// # Errors
    /// `Unavailable` when nobody answers in time or the server is too old.
    pub async fn connect(settings: &RedisSettings) -> StateResult<Arc<Self>> {
        Self::with_clock(settings, None).await
    }

    /// The same with a clock of one's own instead of the server's: for tests that move the time.
    ///
    /// # Errors
    /// As [`RedisState::connect`].
    pub async fn with_clock(
        settings: &RedisSettings,
        clock: Option<Arc<dyn Clock>>,
    ) -> StateResult<Arc<Self>> {
        let link = Link::new(settings.clone());
        let facts = RedisFacts::ask(&link).await?;
        facts.supported()?;
        let base = Base::new(&settings.prefix);
        let (notes, _) = broadcast::channel(NOTES);
        let known = RwLock::new(Arc::new(Names::new(&base, Generation(0))));
        let loading = AtomicBool::new(false);
        let state = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            link,
            base,
            clock,
            known,
            loading,
            notes,
            beats: Beats::default(),
            facts,
        });
        notes::listen(&state);
        state.teach().await;
        Ok(state)
    }

    /// Loads the scripts, so that the first requests don't have to. One that is forgotten is sent again when it is used.
    async fn teach(&self) {
        for script in scripts::all() {
            let mut load = ::redis::cmd("SCRIPT");
            load.arg("LOAD").arg(&script.text);
            if let Err(error) = self.link.send(&load, Way::Shared).await {
                tracing::warn!(script = script.name, %error, "a script could not be loaded beforehand");
                return;
            }
        }
    }

    /// What the server is, as it was when this process connected.
    pub fn facts(&self) -> &RedisFacts {
        &self.facts
    }

    /// The generation that was last seen there.
    fn known(&self) -> Arc<Names> {
        self.known.read().clone()
    }

    fn learn(&self, generation: Generation) -> Arc<Names> {
        let mut known = self.known.write();
        if known.generation != generation {
            *known = Arc::new(Names::new(&self.base, generation));
        }
        known.clone()
    }

    fn names(&self, generation: Generation) -> Arc<Names> {
        let known = self.known();
        if known.generation == generation { known } else { Arc::new(Names::new(&self.base, generation)) }
    }

    /// The first two arguments of every script are the generation and the clock; the first key is the generation's.
    fn command(&self, script: &Script, generation: &str, keys: &[&str]) -> Cmd {
        let mut command = ::redis::cmd("EVALSHA");
        command.arg(&script.sha).arg(keys.len() + 1).arg(&self.base.generation);
        for key in keys {
            command.arg(key);
        }
        command.arg(generation);
        match &self.clock {
            Some(clock) => command.arg(clock.now().0),
            None => command.arg(""),
        };
        command
    }

    /// Runs a script; one that the server doesn't know is sent whole.
    async fn run(&self, script: &'static Script, command: &Cmd, way: Way) -> StateResult<Reply> {
        let began = clock::stopwatch();
        let span = tracing::trace_span!(target: TARGET, "redis", script = script.name);
        let mut answer = self.link.send(command, way).instrument(span).await;
        if answer.as_ref().is_err_and(|error| class(error) == Class::NoScript) {
            let mut whole = ::redis::cmd("EVAL");
            whole.arg(&script.text);
            for argument in command.args_iter().skip(2) {
                if let Arg::Simple(bytes) = argument {
                    whole.arg(bytes);
                }
            }
            answer = Box::pin(self.link.send(&whole, way)).await;
        }
        catalogue::REDIS_SCRIPT_SECONDS.record([script.name], began.elapsed().as_secs_f64());
        catalogue::REDIS_SCRIPTS.increment([script.name, if answer.is_ok() { "ok" } else { "error" }]);
        let value = answer.map_err(|error| {
            let class = class(&error);
            catalogue::REDIS_ERRORS.increment([class.name()]);
            if matches!(class, Class::Bug | Class::Operator) {
                tracing::error!(script = script.name, %error, "the schedule's server refused a script");
            }
            state_error(&error)
        })?;
        Reply::new(script.name, value)
    }
}

/// Runs an expression with the names of the generation that is loaded: those that are known, or, if it is another one
/// meanwhile, those of that one.
macro_rules! reading {
    ($state:expr, $names:ident => $work:expr) => {{
        let $names = $state.known();
        match $work.await {
            Err(StateError::WrongGeneration { current }) => {
                let $names = $state.learn(current);
                match $work.await {
                    Err(StateError::WrongGeneration { .. }) => Err(StateError::NotLoaded),
                    answer => answer,
                }
            }
            answer => answer,
        }
    }};
}

#[async_trait]
impl SchedulingState for RedisState {
    async fn now(&self) -> StateResult<Millis> {
        self.read_now().await
    }

    async fn generation(&self) -> StateResult<Option<GenerationView>> {
        self.read_generation().await
    }

    async fn set_generation(&self, generation: Generation, state: LoadState) -> StateResult<bool> {
        let set = self.change_generation(generation, state).await?;
        if set {
            self.learn(generation);
            self.loading.store(state == LoadState::Loading, Ordering::Release);
        }
        if set && state == LoadState::Loaded {
            self.forget_older(generation);
        }
        Ok(set)
    }

    async fn lease_acquire(
        &self,
        name: LeaseName,
        holder: &str,
        ttl: Duration,
        known: Generation,
    ) -> StateResult<LeaseOutcome> {
        self.acquire_lease(name, holder, ttl, known).await
    }

    async fn lease_renew(&self, name: LeaseName, token: Token, ttl: Duration) -> StateResult<bool> {
        self.renew_lease(name, token, ttl).await
    }

    async fn lease_release(&self, name: LeaseName, token: Token) -> StateResult<bool> {
        self.release_lease(name, token).await
    }

    async fn lease_read(&self, name: LeaseName) -> StateResult<Option<LeaseView>> {
        self.read_lease(name).await
    }

    async fn semaphore_acquire(&self, request: Admission) -> StateResult<AdmissionOutcome> {
        reading!(self, names => self.admit(&names, &request))
    }

    async fn semaphore_release(&self, holder: &str) -> StateResult<bool> {
        self.free_slot(holder).await
    }

    async fn load_run(&self, generation: Generation, run: RunLoad) -> StateResult<bool> {
        self.put_run(&self.names(generation), &run).await
    }

    async fn unload_run(&self, generation: Generation, run: RunId) -> StateResult<bool> {
        self.drop_run(&self.names(generation), run).await
    }

    async fn assign_task(&self, generation: Generation, request: AssignTask) -> StateResult<AssignOutcome> {
        self.claim(&self.names(generation), &request).await
    }

    async fn beat(&self, generation: Generation, who: &Caller) -> StateResult<BeatOutcome> {
        self.beats.note(self, self.names(generation), who).await
    }

    async fn update_task(&self, generation: Generation, request: UpdateTask) -> StateResult<UpdateOutcome> {
        self.report(&self.names(generation), &request).await
    }

    async fn begin_spsa(&self, generation: Generation, request: BeginSpsa) -> StateResult<CloseOutcome> {
        self.note_round(&self.names(generation), &request).await
    }

    async fn close_task(&self, generation: Generation, request: CloseTask) -> StateResult<CloseOutcome> {
        self.close_one(&self.names(generation), &request).await
    }

    async fn close_slice(&self, generation: Generation, request: CloseSlice) -> StateResult<SliceOutcome> {
        self.close_some(&self.names(generation), &request).await
    }

    async fn find_dead(&self, cutoff: Millis, limit: usize) -> StateResult<Vec<TaskKey>> {
        reading!(self, names => self.dead(&names, cutoff, limit))
    }

    async fn commit_fold(&self, generation: Generation, request: CommitFold) -> StateResult<FoldOutcome> {
        self.put_fold(&self.names(generation), &request).await
    }

    async fn set_phase(&self, generation: Generation, request: SetPhase) -> StateResult<PhaseOutcome> {
        self.move_phase(&self.names(generation), &request).await
    }

    async fn set_run_fields(&self, generation: Generation, request: SetRunFields) -> StateResult<bool> {
        self.put_fields(&self.names(generation), &request).await
    }

    async fn block_worker(&self, worker: &ShortWorkerName, message: Option<String>) -> StateResult<()> {
        reading!(self, names => self.mirror_block(&names, worker, message.as_deref()))
    }

    async fn peek_dirty(&self, filter: DirtyFilter) -> StateResult<DirtyView> {
        reading!(self, names => self.dirty(&names, filter))
    }

    async fn backlog(&self) -> StateResult<Backlog> {
        reading!(self, names => self.dirty_backlog(&names))
    }

    async fn admit_address(&self, address: &str, rate: Rate) -> StateResult<Option<bool>> {
        self.count_address(address, rate).await.map(Some)
    }

    fn observe(&self) {
        self.link.observe();
    }

    async fn ack_dirty(&self, generation: Generation, acks: &[DurableAck]) -> StateResult<()> {
        self.note_durable(&self.names(generation), acks).await
    }

    async fn read_run(&self, run: RunId) -> StateResult<Option<RunView>> {
        reading!(self, names => self.run_view(&names, run, Way::Shared))
    }

    async fn read_runs(&self) -> StateResult<Vec<RunView>> {
        reading!(self, names => self.run_views(&names))
    }

    async fn read_fold(&self, run: RunId) -> StateResult<Option<FoldView>> {
        reading!(self, names => self.fold_view(&names, run))
    }

    async fn read_task(&self, key: TaskKey) -> StateResult<TaskLookup> {
        reading!(self, names => self.task(&names, key))
    }

    async fn read_tasks(&self, run: RunId) -> StateResult<Vec<TaskView>> {
        reading!(self, names => self.tasks(&names, run))
    }

    async fn read_seen(&self) -> StateResult<Vec<SeenView>> {
        reading!(self, names => self.seen(&names))
    }

    async fn load_seen(&self, seen: Vec<SeenView>) -> StateResult<()> {
        reading!(self, names => self.put_seen(&names, &seen))
    }

    async fn clean(&self, leader: Token) -> StateResult<usize> {
        reading!(self, names => self.tidy(&names, leader))
    }

    async fn audit(&self, run: RunId) -> StateResult<Vec<String>> {
        reading!(self, names => self.audit_one(&names, run))
    }

    async fn audit_structures(&self) -> StateResult<Vec<String>> {
        reading!(self, names => self.audit_all(&names))
    }

    async fn census(&self) -> StateResult<Census> {
        reading!(self, names => self.count(&names))
    }

    async fn publish(&self, note: &Invalidation) -> StateResult<()> {
        self.tell(note).await
    }

    fn notes(&self) -> broadcast::Receiver<Invalidation> {
        self.notes.subscribe()
    }
}

//! The scheduling state on a Redis server.

#![allow(unused_variables, reason = "there is no value of it yet, hence nothing to do with arguments")]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::*;

/// Why a text is no address of Redis; never repeats it, for it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

/// Where Redis is. It may hold a password, so it is printed without what could be one.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// Takes an address.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(text: &str) -> Result<Self, UrlError> {
        let known = ["redis://", "rediss://"].into_iter().any(|scheme| text.starts_with(scheme));
        let url = Self(text.to_owned());
        if !known || url.hosts().is_empty() {
            return Err(UrlError(
                "expected none, or an address that begins with redis:// or rediss://".to_owned(),
            ));
        }
        Ok(url)
    }

    /// The hosts alone: what may be logged.
    pub fn hosts(&self) -> String {
        let (_, rest) = self.0.split_once("://").unwrap_or_default();
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        authority.rsplit('@').next().unwrap_or_default().to_owned()
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "redis://…{}…", self.hosts())
    }
}

/// How to reach Redis, and what may be asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// The server.
    pub url: RedisUrl,
    /// Beginning of every key.
    pub prefix: String,
    /// How long a command may take.
    pub deadline: Duration,
    /// Exclusive connections at most.
    pub pool: usize,
}

/// What the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisFacts {
    /// Its version, as it says.
    pub version: String,
    /// `standalone` or `cluster`.
    pub mode: String,
    /// What it does when its memory is full.
    pub maxmemory_policy: String,
}

impl RedisFacts {
    /// What is missing, and what that means, one sentence each.
    pub fn shortcomings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The state on a server.
#[derive(Debug)]
pub enum RedisState {}

impl RedisState {
    /// Connects.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn connect(settings: &RedisSettings) -> StateResult<Arc<Self>> {
        Err(StateError::Unavailable(format!("Redis at {} can't be reached", settings.url.hosts())))
    }

    /// What the server is.
    pub fn facts(&self) -> &RedisFacts {
        match *self {}
    }
}

#[async_trait]
impl SchedulingState for RedisState {
    async fn now(&self) -> StateResult<Millis> {
        match *self {}
    }

    async fn generation(&self) -> StateResult<Option<GenerationView>> {
        match *self {}
    }

    async fn set_generation(&self, generation: Generation, state: LoadState) -> StateResult<bool> {
        match *self {}
    }

    async fn lease_acquire(
        &self,
        name: LeaseName,
        holder: &str,
        ttl: Duration,
        known: Generation,
    ) -> StateResult<LeaseOutcome> {
        match *self {}
    }

    async fn lease_renew(&self, name: LeaseName, token: Token, ttl: Duration) -> StateResult<bool> {
        match *self {}
    }

    async fn lease_release(&self, name: LeaseName, token: Token) -> StateResult<bool> {
        match *self {}
    }

    async fn lease_read(&self, name: LeaseName) -> StateResult<Option<LeaseView>> {
        match *self {}
    }

    async fn semaphore_acquire(&self, request: Admission) -> StateResult<AdmissionOutcome> {
        match *self {}
    }

    async fn semaphore_release(&self, holder: &str) -> StateResult<bool> {
        match *self {}
    }

    async fn load_run(&self, generation: Generation, run: RunLoad) -> StateResult<bool> {
        match *self {}
    }

    async fn unload_run(&self, generation: Generation, run: RunId) -> StateResult<bool> {
        match *self {}
    }

    async fn assign_task(&self, generation: Generation, request: AssignTask) -> StateResult<AssignOutcome> {
        match *self {}
    }

    async fn beat(&self, generation: Generation, who: &Caller) -> StateResult<BeatOutcome> {
        match *self {}
    }

    async fn update_task(&self, generation: Generation, request: UpdateTask) -> StateResult<UpdateOutcome> {
        match *self {}
    }

    async fn begin_spsa(&self, generation: Generation, request: BeginSpsa) -> StateResult<CloseOutcome> {
        match *self {}
    }

    async fn close_task(&self, generation: Generation, request: CloseTask) -> StateResult<CloseOutcome> {
        match *self {}
    }

    async fn close_slice(&self, generation: Generation, request: CloseSlice) -> StateResult<SliceOutcome> {
        match *self {}
    }

    async fn find_dead(&self, cutoff: Millis, limit: usize) -> StateResult<Vec<TaskKey>> {
        match *self {}
    }

    async fn commit_fold(&self, generation: Generation, request: CommitFold) -> StateResult<FoldOutcome> {
        match *self {}
    }

    async fn set_phase(&self, generation: Generation, request: SetPhase) -> StateResult<PhaseOutcome> {
        match *self {}
    }

    async fn set_run_fields(&self, generation: Generation, request: SetRunFields) -> StateResult<bool> {
        match *self {}
    }

    async fn block_worker(&self, worker: &ShortWorkerName, message: Option<String>) -> StateResult<()> {
        match *self {}
    }

    async fn peek_dirty(&self, filter: DirtyFilter) -> StateResult<DirtyView> {
        match *self {}
    }

    async fn ack_dirty(&self, generation: Generation, acks: &[DurableAck]) -> StateResult<()> {
        match *self {}
    }

    async fn count_dirty(&self) -> StateResult<usize> {
        match *self {}
    }

    async fn read_run(&self, run: RunId) -> StateResult<Option<RunView>> {
        match *self {}
    }

    async fn read_runs(&self) -> StateResult<Vec<RunView>> {
        match *self {}
    }

    async fn read_fold(&self, run: RunId) -> StateResult<Option<FoldView>> {
        match *self {}
    }

    async fn read_task(&self, key: TaskKey) -> StateResult<TaskLookup> {
        match *self {}
    }

    async fn read_tasks(&self, run: RunId) -> StateResult<Vec<TaskView>> {
        match *self {}
    }

    async fn read_seen(&self) -> StateResult<Vec<SeenView>> {
        match *self {}
    }

    async fn load_seen(&self, seen: Vec<SeenView>) -> StateResult<()> {
        match *self {}
    }

    async fn clean(&self, leader: Token) -> StateResult<usize> {
        match *self {}
    }

    async fn audit(&self, run: RunId) -> StateResult<Vec<String>> {
        match *self {}
    }

    async fn audit_structures(&self) -> StateResult<Vec<String>> {
        match *self {}
    }

    async fn census(&self) -> StateResult<Census> {
        match *self {}
    }

    async fn publish(&self, note: &Invalidation) -> StateResult<()> {
        match *self {}
    }

    fn notes(&self) -> broadcast::Receiver<Invalidation> {
        match *self {}
    }
}

//! Two states driven side by side: every answer of the one must be the other's.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use shoal::domain::ids::*;
use shoal::state::*;
use tokio::sync::broadcast;

/// The executable specification, and what is held to it. Tokens are each one's own: they are translated.
pub struct Twin {
    pub model: Arc<dyn SchedulingState>,
    pub state: Arc<dyn SchedulingState>,
    tokens: Mutex<Vec<(Token, Token)>>,
}

impl Twin {
    pub fn new(model: Arc<dyn SchedulingState>, state: Arc<dyn SchedulingState>) -> Self {
        Self { model, state, tokens: Mutex::default() }
    }

    /// The other's token for one of the model's; a stranger to both stays one.
    fn token(&self, token: Token) -> Token {
        let tokens = self.tokens.lock();
        let known = tokens.iter().find(|(model, _)| *model == token);
        known.map_or(Token { counter: u64::MAX / 8, ..token }, |(_, state)| *state)
    }

    fn granted(&self, model: Token, state: Token) {
        let mut tokens = self.tokens.lock();
        if tokens.contains(&(model, state)) {
            return;
        }
        assert!(tokens.iter().all(|(there, _)| *there < model), "tokens of the model increase");
        assert!(tokens.iter().all(|(_, there)| *there < state), "tokens increase");
        tokens.push((model, state));
    }

    fn lease(&self, model: &LeaseView, state: &LeaseView) {
        assert_eq!((&model.holder, model.expires), (&state.holder, state.expires));
        assert_eq!(self.token(model.token), state.token);
    }
}

fn same<T: Debug>(what: &str, model: T, state: T) -> T {
    assert_eq!(format!("{model:?}"), format!("{state:?}"), "{what}");
    model
}

fn sorted(mut open: OpenRequest) -> OpenRequest {
    open.ranking.sort_by_key(|row| row.run);
    open.seen.sort();
    open
}

#[async_trait]
impl SchedulingState for Twin {
    async fn now(&self) -> StateResult<Millis> {
        same("now", self.model.now().await, self.state.now().await)
    }

    async fn generation(&self) -> StateResult<Option<GenerationView>> {
        same("generation", self.model.generation().await, self.state.generation().await)
    }

    async fn set_generation(&self, generation: Generation, state: LoadState) -> StateResult<bool> {
        let model = self.model.set_generation(generation, state).await;
        same("set_generation", model, self.state.set_generation(generation, state).await)
    }

    async fn lease_acquire(
        &self,
        name: LeaseName,
        holder: &str,
        ttl: Duration,
        known: Generation,
    ) -> StateResult<LeaseOutcome> {
        let model = self.model.lease_acquire(name, holder, ttl, known).await?;
        let state = self.state.lease_acquire(name, holder, ttl, known).await?;
        match (&model, &state) {
            (LeaseOutcome::Held(model), LeaseOutcome::Held(state)) => self.granted(*model, *state),
            (LeaseOutcome::Taken(model), LeaseOutcome::Taken(state)) => self.lease(model, state),
            other => panic!("{other:?}"),
        }
        Ok(model)
    }

    async fn lease_renew(&self, name: LeaseName, token: Token, ttl: Duration) -> StateResult<bool> {
        let state = self.state.lease_renew(name, self.token(token), ttl).await;
        same("lease_renew", self.model.lease_renew(name, token, ttl).await, state)
    }

    async fn lease_release(&self, name: LeaseName, token: Token) -> StateResult<bool> {
        let state = self.state.lease_release(name, self.token(token)).await;
        same("lease_release", self.model.lease_release(name, token).await, state)
    }

    async fn lease_read(&self, name: LeaseName) -> StateResult<Option<LeaseView>> {
        let model = self.model.lease_read(name).await?;
        match (&model, &self.state.lease_read(name).await?) {
            (Some(model), Some(state)) => self.lease(model, state),
            (model, state) => assert_eq!(model, state),
        }
        Ok(model)
    }

    async fn semaphore_acquire(&self, request: Admission) -> StateResult<AdmissionOutcome> {
        let alike = |outcome: StateResult<AdmissionOutcome>| match outcome {
            Ok(AdmissionOutcome::Open(open)) => Ok(AdmissionOutcome::Open(sorted(open))),
            outcome => outcome,
        };
        let model = self.model.semaphore_acquire(request.clone()).await;
        same("semaphore_acquire", alike(model), alike(self.state.semaphore_acquire(request).await))
    }

    async fn semaphore_release(&self, holder: &str) -> StateResult<bool> {
        let model = self.model.semaphore_release(holder).await;
        same("semaphore_release", model, self.state.semaphore_release(holder).await)
    }

    async fn load_run(&self, generation: Generation, run: RunLoad) -> StateResult<bool> {
        let model = self.model.load_run(generation, run.clone()).await;
        same("load_run", model, self.state.load_run(generation, run).await)
    }

    async fn unload_run(&self, generation: Generation, run: RunId) -> StateResult<bool> {
        let model = self.model.unload_run(generation, run).await;
        same("unload_run", model, self.state.unload_run(generation, run).await)
    }

    async fn assign_task(&self, generation: Generation, request: AssignTask) -> StateResult<AssignOutcome> {
        let model = self.model.assign_task(generation, request.clone()).await;
        same("assign_task", model, self.state.assign_task(generation, request).await)
    }

    async fn beat(&self, generation: Generation, who: &Caller) -> StateResult<BeatOutcome> {
        same("beat", self.model.beat(generation, who).await, self.state.beat(generation, who).await)
    }

    async fn update_task(&self, generation: Generation, request: UpdateTask) -> StateResult<UpdateOutcome> {
        let model = self.model.update_task(generation, request.clone()).await;
        same("update_task", model, self.state.update_task(generation, request).await)
    }

    async fn begin_spsa(&self, generation: Generation, request: BeginSpsa) -> StateResult<CloseOutcome> {
        let model = self.model.begin_spsa(generation, request.clone()).await;
        same("begin_spsa", model, self.state.begin_spsa(generation, request).await)
    }

    async fn close_task(&self, generation: Generation, request: CloseTask) -> StateResult<CloseOutcome> {
        let mut other = request.clone();
        if let CloseWhy::Dead { token, .. } = &mut other.why {
            *token = self.token(*token);
        }
        let model = self.model.close_task(generation, request).await;
        same("close_task", model, self.state.close_task(generation, other).await)
    }

    async fn close_slice(&self, generation: Generation, request: CloseSlice) -> StateResult<SliceOutcome> {
        let model = self.model.close_slice(generation, request.clone()).await;
        same("close_slice", model, self.state.close_slice(generation, request).await)
    }

    async fn find_dead(&self, cutoff: Millis, limit: usize) -> StateResult<Vec<TaskKey>> {
        let model = self.model.find_dead(cutoff, limit).await;
        same("find_dead", model, self.state.find_dead(cutoff, limit).await)
    }

    async fn commit_fold(&self, generation: Generation, request: CommitFold) -> StateResult<FoldOutcome> {
        let model = self.model.commit_fold(generation, request.clone()).await;
        same("commit_fold", model, self.state.commit_fold(generation, request).await)
    }

    async fn set_phase(&self, generation: Generation, request: SetPhase) -> StateResult<PhaseOutcome> {
        let model = self.model.set_phase(generation, request.clone()).await;
        same("set_phase", model, self.state.set_phase(generation, request).await)
    }

    async fn set_run_fields(&self, generation: Generation, request: SetRunFields) -> StateResult<bool> {
        let mut other = request.clone();
        other.leader = other.leader.map(|token| self.token(token));
        let model = self.model.set_run_fields(generation, request).await;
        same("set_run_fields", model, self.state.set_run_fields(generation, other).await)
    }

    async fn block_worker(&self, worker: &ShortWorkerName, message: Option<String>) -> StateResult<()> {
        let model = self.model.block_worker(worker, message.clone()).await;
        same("block_worker", model, self.state.block_worker(worker, message).await)
    }

    async fn peek_dirty(&self, filter: DirtyFilter) -> StateResult<DirtyView> {
        let alike = |view: StateResult<DirtyView>| {
            view.map(|mut view| {
                view.runs.sort_by_key(|run| run.id);
                view
            })
        };
        let model = self.model.peek_dirty(filter).await;
        same("peek_dirty", alike(model), alike(self.state.peek_dirty(filter).await))
    }

    async fn ack_dirty(&self, generation: Generation, acks: &[DurableAck]) -> StateResult<()> {
        let model = self.model.ack_dirty(generation, acks).await;
        same("ack_dirty", model, self.state.ack_dirty(generation, acks).await)
    }

    async fn backlog(&self) -> StateResult<Backlog> {
        same("backlog", self.model.backlog().await, self.state.backlog().await)
    }

    async fn read_run(&self, run: RunId) -> StateResult<Option<RunView>> {
        same("read_run", self.model.read_run(run).await, self.state.read_run(run).await)
    }

    async fn read_runs(&self) -> StateResult<Vec<RunView>> {
        same("read_runs", self.model.read_runs().await, self.state.read_runs().await)
    }

    async fn read_fold(&self, run: RunId) -> StateResult<Option<FoldView>> {
        same("read_fold", self.model.read_fold(run).await, self.state.read_fold(run).await)
    }

    async fn read_task(&self, key: TaskKey) -> StateResult<TaskLookup> {
        same("read_task", self.model.read_task(key).await, self.state.read_task(key).await)
    }

    async fn read_tasks(&self, run: RunId) -> StateResult<Vec<TaskView>> {
        same("read_tasks", self.model.read_tasks(run).await, self.state.read_tasks(run).await)
    }

    async fn read_seen(&self) -> StateResult<Vec<SeenView>> {
        same("read_seen", self.model.read_seen().await, self.state.read_seen().await)
    }

    async fn load_seen(&self, seen: Vec<SeenView>) -> StateResult<()> {
        let model = self.model.load_seen(seen.clone()).await;
        same("load_seen", model, self.state.load_seen(seen).await)
    }

    async fn clean(&self, leader: Token) -> StateResult<usize> {
        let state = self.state.clean(self.token(leader)).await;
        same("clean", self.model.clean(leader).await, state)
    }

    async fn audit(&self, run: RunId) -> StateResult<Vec<String>> {
        same("audit", self.model.audit(run).await, self.state.audit(run).await)
    }

    async fn audit_structures(&self) -> StateResult<Vec<String>> {
        same("audit_structures", self.model.audit_structures().await, self.state.audit_structures().await)
    }

    async fn census(&self) -> StateResult<Census> {
        same("census", self.model.census().await, self.state.census().await)
    }

    async fn publish(&self, note: &Invalidation) -> StateResult<()> {
        self.state.publish(note).await
    }

    fn notes(&self) -> broadcast::Receiver<Invalidation> {
        self.state.notes()
    }
}

//! The scheduling state in a process's own memory: the executable specification of every transition.
//!
//! One mutex, held for the length of a transition and never across an await, makes each of them atomic.

mod assign;
mod fold;
mod lease;
mod reads;
mod run_state;
mod structures;
mod tables;
mod task_ops;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use self::tables::Tables;
use super::*;
use crate::sys::clock::Clock;

/// See the module's documentation.
#[derive(Debug)]
pub struct MemoryState {
    clock: Arc<dyn Clock>,
    tables: Mutex<Tables>,
    notes: broadcast::Sender<Invalidation>,
}

impl MemoryState {
    /// An empty state: no generation yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (notes, _) = broadcast::channel(NOTES);
        Self { clock, tables: Mutex::new(Tables::default()), notes }
    }

    /// Forgets everything, leases included, as a server does that was emptied: tests ask for it. The count of grants goes
    /// on, as it does on a server, which begins it at its clock.
    pub fn lose_everything(&self) {
        let mut tables = self.tables.lock();
        *tables = Tables { lease_counter: tables.lease_counter, ..Tables::default() };
    }

    /// Runs a transition that may change something: the generation is checked first.
    fn change<T>(
        &self,
        generation: Generation,
        transition: impl FnOnce(&mut Tables, Millis) -> StateResult<T>,
    ) -> StateResult<T> {
        let now = self.clock.now();
        let mut tables = self.tables.lock();
        match tables.generation {
            None => return Err(StateError::NotLoaded),
            Some(there) if there.generation != generation => {
                return Err(StateError::WrongGeneration { current: there.generation });
            }
            Some(there) if there.state == LoadState::Loading => return Err(StateError::NotLoaded),
            Some(_) => {}
        }
        transition(&mut tables, now)
    }

    /// Runs a transition that needs no loaded schedule.
    fn look<T>(&self, transition: impl FnOnce(&mut Tables, Millis) -> T) -> StateResult<T> {
        let now = self.clock.now();
        Ok(transition(&mut self.tables.lock(), now))
    }

    /// Runs a transition that needs a loaded schedule, of whichever generation.
    fn read<T>(&self, transition: impl FnOnce(&mut Tables, Millis) -> StateResult<T>) -> StateResult<T> {
        let now = self.clock.now();
        let mut tables = self.tables.lock();
        match tables.generation {
            Some(GenerationView { state: LoadState::Loaded, .. }) => transition(&mut tables, now),
            _ => Err(StateError::NotLoaded),
        }
    }
}

#[async_trait]
impl SchedulingState for MemoryState {
    async fn now(&self) -> StateResult<Millis> {
        Ok(self.clock.now())
    }

    async fn generation(&self) -> StateResult<Option<GenerationView>> {
        self.look(|tables, _| tables.generation)
    }

    async fn set_generation(&self, generation: Generation, state: LoadState) -> StateResult<bool> {
        self.look(|tables, _| tables.set_generation(generation, state))
    }

    async fn lease_acquire(
        &self,
        name: LeaseName,
        holder: &str,
        ttl: Duration,
        known: Generation,
    ) -> StateResult<LeaseOutcome> {
        self.look(|tables, now| tables.lease_acquire(name, holder, ttl, known, now))
    }

    async fn lease_renew(&self, name: LeaseName, token: Token, ttl: Duration) -> StateResult<bool> {
        self.look(|tables, now| tables.lease_renew(name, token, ttl, now))
    }

    async fn lease_release(&self, name: LeaseName, token: Token) -> StateResult<bool> {
        self.look(|tables, now| tables.lease_release(name, token, now))
    }

    async fn lease_read(&self, name: LeaseName) -> StateResult<Option<LeaseView>> {
        self.look(|tables, now| tables.lease(name, now).cloned())
    }

    async fn semaphore_acquire(&self, request: Admission) -> StateResult<AdmissionOutcome> {
        self.read(|tables, now| Ok(tables.semaphore_acquire(request, now)))
    }

    async fn semaphore_release(&self, holder: &str) -> StateResult<bool> {
        self.look(|tables, _| tables.slots.remove(holder).is_some())
    }

    async fn load_run(&self, generation: Generation, run: RunLoad) -> StateResult<bool> {
        // A rebuild loads runs before the generation is declared loaded, so only its number is checked.
        let now = self.clock.now();
        let mut tables = self.tables.lock();
        match tables.generation {
            None => Err(StateError::NotLoaded),
            Some(there) if there.generation != generation => {
                Err(StateError::WrongGeneration { current: there.generation })
            }
            Some(_) => Ok(tables.load_run(run, now)),
        }
    }

    async fn unload_run(&self, generation: Generation, run: RunId) -> StateResult<bool> {
        self.change(generation, |tables, _| Ok(tables.unload_run(run)))
    }

    async fn assign_task(&self, generation: Generation, request: AssignTask) -> StateResult<AssignOutcome> {
        self.change(generation, |tables, now| Ok(tables.assign_task(request, generation, now)))
    }

    async fn beat(&self, generation: Generation, who: &Caller) -> StateResult<BeatOutcome> {
        self.change(generation, |tables, now| Ok(tables.beat(who, now)))
    }

    async fn update_task(&self, generation: Generation, request: UpdateTask) -> StateResult<UpdateOutcome> {
        self.change(generation, |tables, now| tables.update_task(request, generation, now))
    }

    async fn begin_spsa(&self, generation: Generation, request: BeginSpsa) -> StateResult<CloseOutcome> {
        self.change(generation, |tables, now| Ok(tables.begin_spsa(request, generation, now)))
    }

    async fn close_task(&self, generation: Generation, request: CloseTask) -> StateResult<CloseOutcome> {
        self.change(generation, |tables, now| tables.close_task(request, generation, now))
    }

    async fn close_slice(&self, generation: Generation, request: CloseSlice) -> StateResult<SliceOutcome> {
        self.change(generation, |tables, now| tables.close_slice(request, generation, now))
    }

    async fn find_dead(&self, cutoff: Millis, limit: usize) -> StateResult<Vec<TaskKey>> {
        self.read(|tables, _| Ok(tables.find_dead(cutoff, limit)))
    }

    async fn commit_fold(&self, generation: Generation, request: CommitFold) -> StateResult<FoldOutcome> {
        self.change(generation, |tables, now| Ok(tables.commit_fold(request, now)))
    }

    async fn set_phase(&self, generation: Generation, request: SetPhase) -> StateResult<PhaseOutcome> {
        self.change(generation, |tables, now| Ok(tables.set_phase(request, now)))
    }

    async fn set_run_fields(&self, generation: Generation, request: SetRunFields) -> StateResult<bool> {
        self.change(generation, |tables, now| tables.set_run_fields(request, now))
    }

    async fn block_worker(&self, worker: &ShortWorkerName, message: Option<String>) -> StateResult<()> {
        self.look(|tables, _| match message {
            Some(message) => {
                tables.blocked.insert(worker.clone(), message);
            }
            None => {
                tables.blocked.remove(worker);
            }
        })
    }

    async fn peek_dirty(&self, filter: DirtyFilter) -> StateResult<DirtyView> {
        self.read(|tables, _| Ok(tables.peek_dirty(filter)))
    }

    async fn backlog(&self) -> StateResult<Backlog> {
        self.read(|tables, _| {
            let oldest = tables.dirty.first().map(|(since, _)| *since);
            Ok(Backlog { tasks: tables.dirty.len(), oldest })
        })
    }

    async fn ack_dirty(&self, generation: Generation, acks: &[DurableAck]) -> StateResult<()> {
        self.change(generation, |tables, _| {
            for ack in acks {
                tables.ack(*ack);
            }
            Ok(())
        })
    }

    async fn read_run(&self, run: RunId) -> StateResult<Option<RunView>> {
        self.read(|tables, _| Ok(tables.runs.get(&run).map(|run| run.view())))
    }

    async fn read_runs(&self) -> StateResult<Vec<RunView>> {
        self.read(|tables, _| Ok(tables.all_runs()))
    }

    async fn read_fold(&self, run: RunId) -> StateResult<Option<FoldView>> {
        self.read(|tables, _| Ok(tables.runs.get(&run).map(|run| run.fold_view())))
    }

    async fn read_task(&self, key: TaskKey) -> StateResult<TaskLookup> {
        self.read(|tables, _| Ok(tables.read_task(key)))
    }

    async fn read_tasks(&self, run: RunId) -> StateResult<Vec<TaskView>> {
        self.read(|tables, _| Ok(tables.read_tasks(run)))
    }

    async fn read_seen(&self) -> StateResult<Vec<SeenView>> {
        self.read(|tables, _| Ok(tables.read_seen()))
    }

    async fn load_seen(&self, seen: Vec<SeenView>) -> StateResult<()> {
        self.look(|tables, _| tables.load_seen(seen))
    }

    async fn clean(&self, leader: Token) -> StateResult<usize> {
        self.read(|tables, now| tables.clean(leader, now))
    }

    async fn audit(&self, run: RunId) -> StateResult<Vec<String>> {
        self.read(|tables, _| Ok(tables.audit(run)))
    }

    async fn audit_structures(&self) -> StateResult<Vec<String>> {
        self.read(|tables, _| Ok(tables.audit_structures()))
    }

    async fn census(&self) -> StateResult<Census> {
        self.read(|tables, _| Ok(tables.census()))
    }

    async fn publish(&self, note: &Invalidation) -> StateResult<()> {
        // Nobody may be listening.
        let _ = self.notes.send(note.clone());
        Ok(())
    }

    fn notes(&self) -> broadcast::Receiver<Invalidation> {
        self.notes.subscribe()
    }
}

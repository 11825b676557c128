//! The tables, and the primitives that keep them in step with one another.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::run_state::{Held, RunState};
use crate::domain::action::CloseCause;
use crate::domain::ids::{Generation, Millis, RunId, ShortWorkerName, TaskKey, WriteId};
use crate::domain::run::Phase;
use crate::domain::task::TaskRecord;
use crate::state::{
    DirtyFilter, DirtyView, DurableAck, GenerationView, LeaseName, LeaseView, LoadState, RunLoad, TaskView,
};

/// What one worker has seen.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) runs: HashSet<RunId>,
    pub(super) last_run: RunId,
}

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) generation: Option<GenerationView>,
    pub(super) leases: HashMap<LeaseName, LeaseView>,
    pub(super) lease_counter: u64,
    /// Semaphore: holder by expiry.
    pub(super) slots: HashMap<String, Millis>,
    pub(super) runs: HashMap<RunId, RunState>,
    /// Worker-to-task map.
    pub(super) wtt: HashMap<ShortWorkerName, TaskKey>,
    /// Active tasks by remote address; no zeros.
    pub(super) connections: HashMap<String, u32>,
    pub(super) seen: HashMap<ShortWorkerName, Seen>,
    pub(super) blocked: HashMap<ShortWorkerName, String>,
    /// Active tasks by last sign of life: dead ones are a range.
    pub(super) active: BTreeSet<(Millis, TaskKey)>,
    /// Tasks by the age of their oldest version that isn't durable.
    pub(super) dirty: BTreeSet<(Millis, TaskKey)>,
}

impl Tables {
    pub(super) fn set_generation(&mut self, generation: Generation, state: LoadState) -> bool {
        let allowed = match (self.generation, state) {
            (None, LoadState::Loading) => true,
            (Some(there), LoadState::Loading) => there.generation < generation,
            (Some(there), LoadState::Loaded) => there.generation == generation,
            (None, LoadState::Loaded) => false,
        };
        if !allowed {
            return false;
        }
        if state == LoadState::Loading {
            // Everything but the leases belongs to a generation.
            let leases = std::mem::take(&mut self.leases);
            let lease_counter = self.lease_counter;
            *self = Self { leases, lease_counter, ..Self::default() };
        }
        self.generation = Some(GenerationView { generation, state });
        true
    }

    pub(super) fn load_run(&mut self, load: RunLoad, now: Millis) -> bool {
        if self.runs.contains_key(&load.id) {
            return false;
        }
        let mut run = RunState::from_load(&load);
        for mut record in load.tasks {
            let key = record.key;
            let durable = record.version;
            if record.active {
                // Nobody is dead for having been asleep: clocks start afresh.
                record.last_updated = now;
                self.active.insert((now, key));
                if let Some(worker) = &record.worker {
                    *self.connections.entry(worker.remote_addr.clone()).or_insert(0) += 1;
                    self.wtt.insert(worker.short_name.clone(), key);
                }
            }
            run.tasks.insert(key.task, Held { record: Arc::new(record), durable, dirty_since: None });
        }
        self.runs.insert(load.id, run);
        true
    }

    pub(super) fn unload_run(&mut self, run: RunId) -> bool {
        let Some(state) = self.runs.get(&run) else { return false };
        if state.phase != Phase::Finished || state.tasks.values().any(|held| held.record.active) {
            return false;
        }
        for (task, held) in &state.tasks {
            if let Some(since) = held.dirty_since {
                self.dirty.remove(&(since, TaskKey { run, task: *task }));
            }
        }
        self.runs.remove(&run);
        true
    }

    /// The task if it is active and its run is running.
    pub(super) fn alive(&self, key: TaskKey) -> Option<&Arc<TaskRecord>> {
        let run = self.runs.get(&key.run)?;
        let held = run.tasks.get(&key.task)?;
        (held.record.active && run.phase == Phase::Running).then_some(&held.record)
    }

    pub(super) fn view(&self, key: TaskKey) -> Option<TaskView> {
        let held = self.runs.get(&key.run)?.tasks.get(&key.task)?;
        Some(TaskView { record: held.record.clone(), durable: held.durable })
    }

    /// Applies a change to a task and gives it a new version; keeps the `dirty` table. Nothing happens for a task that isn't held.
    pub(super) fn write_task(
        &mut self,
        key: TaskKey,
        generation: Generation,
        write_id: WriteId,
        now: Millis,
        change: impl FnOnce(&mut TaskRecord),
    ) {
        let Some(held) = self.runs.get_mut(&key.run).and_then(|run| run.tasks.get_mut(&key.task)) else {
            return;
        };
        let record = Arc::make_mut(&mut held.record);
        change(record);
        record.generation = generation;
        record.version = record.version.next();
        record.write_id = write_id;
        if held.dirty_since.is_none() {
            held.dirty_since = Some(now);
            self.dirty.insert((now, key));
        }
    }

    /// Closes an active task (`spec/scheduling.md` section 5, set_inactive_task). The worker map keeps its entry.
    pub(super) fn deactivate(
        &mut self,
        key: TaskKey,
        generation: Generation,
        write_id: WriteId,
        now: Millis,
        cause: Option<CloseCause>,
    ) {
        let Some(games) = self.alive_games(key) else { return };
        self.release(key, games, write_id);
        self.write_task(key, generation, write_id, now, |record| close(record, now, cause));
    }

    /// Games played in a task that is still active, whatever its run's phase.
    fn alive_games(&self, key: TaskKey) -> Option<u64> {
        let held = self.runs.get(&key.run)?.tasks.get(&key.task)?;
        held.record.active.then(|| held.record.stats.games())
    }

    /// Takes an active task out of the aggregates, the connection counter and the dead-task table;
    /// `games` is what it will have played when it is closed.
    pub(super) fn release(&mut self, key: TaskKey, games: u64, write_id: WriteId) {
        let Some(run) = self.runs.get_mut(&key.run) else { return };
        let Some(held) = run.tasks.get(&key.task) else { return };
        let record = &held.record;
        let last_seen = record.last_updated;
        let remote_addr = record.worker.as_ref().map(|worker| worker.remote_addr.clone());
        let cores = record.worker.as_ref().map_or(0, |worker| u64::from(worker.concurrency));
        let counters = &mut run.counters;
        counters.workers = counters.workers.saturating_sub(1);
        counters.cores = counters.cores.saturating_sub(cores);
        counters.committed_games =
            counters.committed_games.saturating_add(games).saturating_sub(record.num_games);
        run.touch(write_id);
        self.active.remove(&(last_seen, key));
        if let Some(addr) = remote_addr {
            self.disconnect(&addr);
        }
    }

    fn disconnect(&mut self, addr: &str) {
        let left = match self.connections.get_mut(addr) {
            Some(count) => {
                *count = count.saturating_sub(1);
                *count
            }
            None => return,
        };
        if left == 0 {
            self.connections.remove(addr);
        }
    }

    pub(super) fn ack(&mut self, ack: DurableAck) {
        match ack {
            DurableAck::Task { key, version, told } => self.ack_task(key, version, told),
            DurableAck::Run(id, version, position) => {
                if let Some(run) = self.runs.get_mut(&id) {
                    run.durable = run.durable.max(version);
                    run.durable_position = run.durable_position.max(position);
                }
            }
        }
    }

    fn ack_task(&mut self, key: TaskKey, version: crate::domain::ids::Version, told: bool) {
        let Some(run) = self.runs.get_mut(&key.run) else { return };
        let Some(held) = run.tasks.get_mut(&key.task) else { return };
        held.durable = held.durable.max(version);
        if told {
            mark_answered(held);
        }
        if held.durable < held.record.version {
            return;
        }
        if let Some(since) = held.dirty_since.take() {
            self.dirty.remove(&(since, key));
        }
        // A closed task leaves once it is durable and its contributions are in the durable record.
        if !held.record.active {
            run.tasks.remove(&key.task);
        }
    }

    /// Notes that a task's worker knows of it.
    pub(super) fn mark_answered(&mut self, key: TaskKey) {
        if let Some(held) = self.runs.get_mut(&key.run).and_then(|run| run.tasks.get_mut(&key.task)) {
            mark_answered(held);
        }
    }

    pub(super) fn peek_dirty(&self, filter: DirtyFilter) -> DirtyView {
        // One run's are among the tasks that it holds; all of them are in the order of their age.
        let keys: Vec<TaskKey> = match filter.run {
            Some(run) => {
                let mut dirty: Vec<(Millis, TaskKey)> =
                    self.runs.get(&run).map_or_else(Vec::new, RunState::dirty_tasks);
                dirty.sort_unstable();
                dirty.retain(|(since, _)| filter.since.is_none_or(|before| *since < before));
                dirty.into_iter().take(filter.limit).map(|(_, key)| key).collect()
            }
            None => self
                .dirty
                .iter()
                .take_while(|(since, _)| filter.since.is_none_or(|before| *since < before))
                .take(filter.limit)
                .map(|(_, key)| *key)
                .collect(),
        };
        let tasks = keys.into_iter().filter_map(|key| self.view(key)).collect();
        let runs = self
            .runs
            .values()
            .filter(|run| filter.run.is_none_or(|id| run.id == id) && run.durable < run.version)
            .map(RunState::view)
            .collect();
        DirtyView { tasks, runs }
    }
}

fn mark_answered(held: &mut Held) {
    if !held.record.answered {
        Arc::make_mut(&mut held.record).answered = true;
    }
}

/// The record's side of closing a task.
pub(super) fn close(record: &mut TaskRecord, now: Millis, cause: Option<CloseCause>) {
    record.active = false;
    record.last_updated = now;
    record.spsa_round = None;
    record.cause = cause;
}

//! Reading, housekeeping, and the audit.

use std::collections::HashSet;

use super::tables::{Seen, Tables};
use crate::domain::ids::{Millis, RunId, TaskKey, Token};
use crate::domain::run::Phase;
use crate::state::{Census, LeaseName, RunView, SeenView, StateError, StateResult, TaskLookup, TaskView};

impl Tables {
    pub(super) fn all_runs(&self) -> Vec<RunView> {
        let mut runs: Vec<RunView> = self.runs.values().map(|run| run.view()).collect();
        runs.sort_by_key(|run| (run.start_time, run.id));
        runs
    }

    pub(super) fn read_task(&self, key: TaskKey) -> TaskLookup {
        let Some(run) = self.runs.get(&key.run) else { return TaskLookup::NoRun };
        match self.view(key) {
            Some(task) => {
                let alive = task.record.active && run.phase == Phase::Running;
                TaskLookup::Found { task: Box::new(task), alive }
            }
            None => TaskLookup::NoTask { next: run.next_task },
        }
    }

    pub(super) fn read_tasks(&self, run: RunId) -> Vec<TaskView> {
        let Some(state) = self.runs.get(&run) else { return Vec::new() };
        state
            .tasks
            .values()
            .map(|held| TaskView { record: held.record.clone(), durable: held.durable })
            .collect()
    }

    pub(super) fn read_seen(&self) -> Vec<SeenView> {
        let mut seen: Vec<SeenView> = self
            .seen
            .iter()
            .map(|(worker, seen)| {
                let mut runs: Vec<RunId> = seen.runs.iter().copied().collect();
                runs.sort();
                SeenView { worker: worker.clone(), runs, last_run: seen.last_run }
            })
            .collect();
        seen.sort_by(|a, b| a.worker.cmp(&b.worker));
        seen
    }

    pub(super) fn load_seen(&mut self, seen: Vec<SeenView>) {
        for view in seen {
            let runs: HashSet<RunId> = view.runs.into_iter().collect();
            self.seen.entry(view.worker).or_insert(Seen { runs, last_run: view.last_run });
        }
    }

    /// `spec/scheduling.md` section 10: "clean wtt_map" and "clean worker_runs".
    pub(super) fn clean(&mut self, leader: Token, now: Millis) -> StateResult<usize> {
        if !self.holds(LeaseName::Leader, leader, now) {
            return Err(StateError::StaleToken);
        }
        let before = self.wtt.len() + self.seen.len();
        let runs = &self.runs;
        self.wtt.retain(|_, key| {
            runs.get(&key.run).is_some_and(|run| {
                run.phase == Phase::Running && run.tasks.get(&key.task).is_some_and(|held| held.record.active)
            })
        });
        self.seen.retain(|_, seen| {
            seen.runs.retain(|run| runs.contains_key(run));
            !seen.runs.is_empty() || runs.contains_key(&seen.last_run)
        });
        Ok(before - (self.wtt.len() + self.seen.len()))
    }

    /// Invariants I1, I14 and I20 for what the schedule holds of a run, each difference in words.
    pub(super) fn audit(&self, id: RunId) -> Vec<String> {
        let mut wrong = Vec::new();
        let Some(run) = self.runs.get(&id) else { return wrong };
        let active = run.tasks.values().filter(|held| held.record.active);
        let (mut workers, mut cores) = (0u32, 0u64);
        let mut keys = HashSet::new();
        for held in active {
            workers += 1;
            if let Some(worker) = &held.record.worker {
                cores += u64::from(worker.concurrency);
                if !keys.insert(worker.unique_key.clone()) {
                    wrong
                        .push(format!("I1: two active tasks of run {id} have the key {}", worker.unique_key));
                }
            }
            let key = TaskKey { run: id, task: held.record.key.task };
            if !self.active.contains(&(held.record.last_updated, key)) {
                wrong.push(format!("I14: active task {key} is not in the table of active tasks"));
            }
        }
        if workers != run.counters.workers {
            wrong.push(format!("I14: run {id} counts {} workers, has {workers}", run.counters.workers));
        }
        if cores != run.counters.cores {
            wrong.push(format!("I14: run {id} counts {} cores, has {cores}", run.counters.cores));
        }
        let mut end = 0;
        for held in run.tasks.values() {
            if held.record.start < end {
                wrong
                    .push(format!("I20: the openings of task {} overlap an earlier task's", held.record.key));
            }
            end = held.record.start + held.record.num_games;
        }
        if end > run.next_start {
            wrong.push(format!("I20: run {id} would hand out openings again"));
        }
        if !self.connections_match() {
            wrong.push("I14: the connections do not match the active tasks".to_owned());
        }
        wrong
    }

    pub(super) fn census(&self) -> Census {
        let mut live_names: Vec<_> = self
            .wtt
            .iter()
            .filter(|(_, key)| self.alive(**key).is_some())
            .map(|(name, key)| (name.clone(), *key))
            .collect();
        live_names.sort();
        Census {
            runs: self.runs.len(),
            active_tasks: self.active.len(),
            addresses: self.connections.len(),
            connections: self.connections.values().map(|n| *n as usize).sum(),
            worker_map: self.wtt.len(),
            slots: self.slots.len(),
            dirty: self.dirty.len(),
            live_names,
        }
    }
}

//! Reading and housekeeping.

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

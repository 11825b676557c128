//! A copy of the tables, for the audit of the schedule as a whole.

use super::run_state::RunState;
use super::tables::Tables;
use crate::domain::ids::{RunId, TaskId};
use crate::state::TaskView;
use crate::state::audit::{self, Copy, RunCopy};

impl Tables {
    /// Invariants I1, I14 and I20 for what the schedule holds of a run, each difference in words.
    pub(super) fn audit(&self, id: RunId) -> Vec<String> {
        let Some(run) = self.runs.get(&id) else { return Vec::new() };
        let copy = self.copy();
        let mut wrong = audit::of_run(&copy_run(run), &copy.active);
        wrong.extend(audit::connections(&copy));
        wrong
    }

    /// Invariants I1 and I14 between the tables, each difference in words.
    pub(super) fn audit_structures(&self) -> Vec<String> {
        audit::of_tables(&self.copy())
    }

    fn copy(&self) -> Copy {
        Copy {
            runs: self.runs.values().map(copy_run).collect(),
            workers: self.wtt.iter().map(|(name, key)| (name.clone(), *key)).collect(),
            connections: self.connections.clone(),
            active: self.active.iter().map(|(seen, key)| (*key, *seen)).collect(),
            dirty: self.dirty.iter().map(|(_, key)| *key).collect(),
        }
    }
}

fn copy_run(run: &RunState) -> RunCopy {
    let tasks: Vec<(TaskId, TaskView)> = run
        .tasks
        .iter()
        .map(|(number, held)| (*number, TaskView { record: held.record.clone(), durable: held.durable }))
        .collect();
    RunCopy::new(&run.view(), run.next_start, tasks)
}

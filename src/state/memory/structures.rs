//! The audit of the tables as a whole (`spec/scheduling.md` section 10, "validate in-memory structures").

use std::collections::HashMap;

use super::tables::Tables;
use crate::domain::ids::TaskKey;
use crate::domain::run::Phase;

/// More differences than this tell nothing new.
const MOST: usize = 100;

impl Tables {
    /// Invariants I1 and I14 between the tables, each difference in words.
    pub(super) fn audit_structures(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        self.audit_worker_map(&mut wrong);
        self.audit_active(&mut wrong);
        self.audit_dirty(&mut wrong);
        if !self.connections_match() {
            wrong.push("I14: the connections do not match the active tasks".to_owned());
        }
        wrong.truncate(MOST);
        wrong
    }

    /// Whether connections by address are what the active tasks make of them.
    pub(super) fn connections_match(&self) -> bool {
        let mut connections: HashMap<&str, u32> = HashMap::new();
        for held in self.runs.values().flat_map(|run| run.tasks.values()).filter(|held| held.record.active) {
            if let Some(worker) = &held.record.worker {
                *connections.entry(worker.remote_addr.as_str()).or_insert(0) += 1;
            }
        }
        let counted: HashMap<&str, u32> =
            self.connections.iter().map(|(addr, count)| (addr.as_str(), *count)).collect();
        connections == counted
    }

    /// An entry may be dead, but a live one is its worker's; and whoever is at work has one.
    fn audit_worker_map(&self, wrong: &mut Vec<String>) {
        for (name, key) in &self.wtt {
            let Some(record) = self.alive(*key) else { continue };
            if record.worker.as_ref().is_none_or(|worker| worker.short_name != *name) {
                wrong.push(format!(
                    "I1: the worker map leads from {} to task {key} of another worker",
                    name.0
                ));
            }
        }
        for run in self.runs.values().filter(|run| run.phase == Phase::Running) {
            for held in run.tasks.values().filter(|held| held.record.active) {
                let Some(worker) = &held.record.worker else { continue };
                if self.wtt.get(&worker.short_name) != Some(&held.record.key) {
                    let (name, key) = (&worker.short_name.0, held.record.key);
                    wrong.push(format!("I1: the worker map does not lead from {name} to its task {key}"));
                }
            }
        }
    }

    fn audit_active(&self, wrong: &mut Vec<String>) {
        let mut active = 0;
        for run in self.runs.values() {
            for (task, held) in &run.tasks {
                let key = TaskKey { run: run.id, task: *task };
                if held.record.key != key {
                    wrong.push(format!("I14: task {key} is held as {}", held.record.key));
                }
                if *task >= run.next_task {
                    wrong.push(format!("I1: the number of task {key} would be handed out again"));
                }
                if held.record.active {
                    active += 1;
                    if !self.active.contains(&(held.record.last_updated, key)) {
                        wrong.push(format!("I14: active task {key} is not in the table of active tasks"));
                    }
                }
            }
        }
        if self.active.len() != active {
            let listed = self.active.len();
            wrong.push(format!("I14: the table of active tasks has {listed} entries, there are {active}"));
        }
    }

    fn audit_dirty(&self, wrong: &mut Vec<String>) {
        let mut dirty = 0;
        for run in self.runs.values() {
            for (task, held) in &run.tasks {
                let Some(since) = held.dirty_since else { continue };
                dirty += 1;
                let key = TaskKey { run: run.id, task: *task };
                if !self.dirty.contains(&(since, key)) {
                    wrong.push(format!("I14: task {key} would not be swept"));
                }
            }
        }
        if self.dirty.len() != dirty {
            let listed = self.dirty.len();
            wrong
                .push(format!("I14: the table of tasks to be swept has {listed} entries, there are {dirty}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::ids::{Millis, RunId, ShortWorkerName, TaskId};
    use crate::sys::random;

    use super::*;

    /// What one corruption of empty tables is called.
    fn told(corrupt: impl FnOnce(&mut Tables, TaskKey)) -> Vec<String> {
        let mut tables = Tables::default();
        let key = TaskKey { run: RunId(random::object_id()), task: TaskId(0) };
        corrupt(&mut tables, key);
        tables.audit_structures()
    }

    #[test]
    fn tables_that_disagree_are_told() {
        assert_eq!(told(|_, _| {}), [""; 0]);
        let active = told(|tables, key| {
            tables.active.insert((Millis(1), key));
        });
        assert!(active.len() == 1 && active[0].contains("active tasks has 1 entries"), "{active:?}");
        let dirty = told(|tables, key| {
            tables.dirty.insert((Millis(1), key));
        });
        assert!(dirty.len() == 1 && dirty[0].contains("swept has 1 entries"), "{dirty:?}");
        let connections = told(|tables, _| {
            tables.connections.insert("192.0.2.1".to_owned(), 1);
        });
        assert!(connections.len() == 1 && connections[0].contains("connections"), "{connections:?}");
    }

    #[test]
    fn a_dead_entry_of_the_worker_map_is_for_the_cleaner() {
        let dead = told(|tables, key| {
            tables.wtt.insert(ShortWorkerName("alice-1cores-00000000".to_owned()), key);
        });
        assert_eq!(dead, [""; 0]);
    }
}

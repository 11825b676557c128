//! The schedule recomputed from its own tasks (invariants I1, I14, I20): pure, over a copy of what an implementation holds.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{RunView, TaskView};
use crate::domain::ids::{Millis, RunId, ShortWorkerName, TaskId, TaskKey};
use crate::domain::run::{Counters, Phase};

/// More differences than this tell nothing new.
const MOST: usize = 100;

/// A run with the tasks that are held, in order.
#[derive(Debug, Clone)]
pub(super) struct RunCopy {
    pub(super) id: RunId,
    pub(super) phase: Phase,
    pub(super) counters: Counters,
    pub(super) next_task: TaskId,
    pub(super) next_start: u64,
    pub(super) tasks: Vec<(TaskId, TaskView)>,
}

impl RunCopy {
    pub(super) fn new(view: &RunView, next_start: u64, mut tasks: Vec<(TaskId, TaskView)>) -> Self {
        tasks.sort_by_key(|(number, _)| *number);
        Self {
            id: view.id,
            phase: view.phase,
            counters: view.counters,
            next_task: view.next_task,
            next_start,
            tasks,
        }
    }

    fn key(&self, task: TaskId) -> TaskKey {
        TaskKey { run: self.id, task }
    }

    fn active(&self) -> impl Iterator<Item = (TaskKey, &TaskView)> {
        self.tasks
            .iter()
            .filter(|(_, task)| task.record.active)
            .map(|(number, task)| (self.key(*number), task))
    }
}

/// The tables.
#[derive(Debug, Clone, Default)]
pub(super) struct Copy {
    pub(super) runs: Vec<RunCopy>,
    /// Worker map.
    pub(super) workers: Vec<(ShortWorkerName, TaskKey)>,
    /// Active tasks by address.
    pub(super) connections: HashMap<String, u32>,
    /// Active tasks with their last sign of life.
    pub(super) active: HashMap<TaskKey, Millis>,
    /// Tasks that would be swept.
    pub(super) dirty: HashSet<TaskKey>,
}

/// Invariants I1, I14 and I20 of one run, each difference in words.
pub(super) fn of_run(run: &RunCopy, active: &HashMap<TaskKey, Millis>) -> Vec<String> {
    let mut wrong = Vec::new();
    let id = run.id;
    let (mut workers, mut cores) = (0u32, 0u64);
    let mut keys = HashSet::new();
    for (key, task) in run.active() {
        workers += 1;
        if let Some(worker) = &task.record.worker {
            cores += u64::from(worker.concurrency);
            if !keys.insert(&worker.unique_key) {
                wrong.push(format!("I1: two active tasks of run {id} have the key {}", worker.unique_key));
            }
        }
        if active.get(&key) != Some(&task.record.last_updated) {
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
    for (_, task) in &run.tasks {
        if task.record.start < end {
            wrong.push(format!("I20: the openings of task {} overlap an earlier task's", task.record.key));
        }
        end = task.record.start + task.record.num_games;
    }
    if end > run.next_start {
        wrong.push(format!("I20: run {id} would hand out openings again"));
    }
    wrong
}

/// Whether connections by address are what the active tasks make of them.
pub(super) fn connections(copy: &Copy) -> Vec<String> {
    // By address, not as a whole: where work goes on, something may differ at each of two looks, and be well.
    let mut counts: BTreeMap<&str, (u32, u32)> =
        copy.connections.iter().map(|(addr, counted)| (addr.as_str(), (*counted, 0))).collect();
    for (_, task) in copy.runs.iter().flat_map(RunCopy::active) {
        if let Some(worker) = &task.record.worker {
            counts.entry(worker.remote_addr.as_str()).or_default().1 += 1;
        }
    }
    let differing = counts.into_iter().filter(|(_, (counted, active))| counted != active);
    let told = |(addr, (counted, active))| {
        format!("I14: {addr} has {counted} connections and {active} active tasks")
    };
    differing.map(told).collect()
}

/// Invariants I1 and I14 between the tables, each difference in words (`spec/scheduling.md` section 10, "validate
/// in-memory structures").
pub(super) fn of_tables(copy: &Copy) -> Vec<String> {
    let mut wrong = Vec::new();
    worker_map(copy, &mut wrong);
    active(copy, &mut wrong);
    dirty(copy, &mut wrong);
    wrong.extend(connections(copy));
    wrong.truncate(MOST);
    wrong
}

/// An entry may be dead, but a live one is its worker's; and whoever is at work has one.
fn worker_map(copy: &Copy, wrong: &mut Vec<String>) {
    let running = || copy.runs.iter().filter(|run| run.phase == Phase::Running);
    let live: HashMap<TaskKey, &TaskView> = running().flat_map(RunCopy::active).collect();
    let map: HashMap<&ShortWorkerName, TaskKey> =
        copy.workers.iter().map(|(name, key)| (name, *key)).collect();
    for (name, key) in &copy.workers {
        let Some(task) = live.get(key) else { continue };
        if task.record.worker.as_ref().is_none_or(|worker| worker.short_name != *name) {
            wrong.push(format!("I1: the worker map leads from {} to task {key} of another worker", name.0));
        }
    }
    for (key, task) in running().flat_map(RunCopy::active) {
        let Some(worker) = &task.record.worker else { continue };
        if map.get(&worker.short_name) != Some(&key) {
            let name = &worker.short_name.0;
            wrong.push(format!("I1: the worker map does not lead from {name} to its task {key}"));
        }
    }
}

fn active(copy: &Copy, wrong: &mut Vec<String>) {
    let mut active = HashSet::new();
    for run in &copy.runs {
        for (number, task) in &run.tasks {
            let key = run.key(*number);
            if task.record.key != key {
                wrong.push(format!("I14: task {key} is held as {}", task.record.key));
            }
            if *number >= run.next_task {
                wrong.push(format!("I1: the number of task {key} would be handed out again"));
            }
        }
        for (key, task) in run.active() {
            active.insert(key);
            if copy.active.get(&key) != Some(&task.record.last_updated) {
                wrong.push(format!("I14: active task {key} is not in the table of active tasks"));
            }
        }
    }
    // By name, not by number: where work goes on, two numbers may differ alike at each of two looks.
    for key in copy.active.keys().filter(|key| !active.contains(key)) {
        wrong.push(format!("I14: {key} is in the table of active tasks, and isn't active"));
    }
}

fn dirty(copy: &Copy, wrong: &mut Vec<String>) {
    // With the version: a task that is always at work may lack durability at each of two looks, which is well.
    let mut durable = HashMap::new();
    for run in &copy.runs {
        for (number, task) in &run.tasks {
            let (key, version) = (run.key(*number), task.record.version.0);
            durable.insert(key, task.is_durable().then_some(version));
            if !task.is_durable() && !copy.dirty.contains(&key) {
                wrong.push(format!("I14: version {version} of task {key} would not be swept"));
            }
        }
    }
    for key in &copy.dirty {
        match durable.get(key) {
            Some(None) => {}
            Some(Some(version)) => {
                wrong.push(format!("I14: version {version} of task {key} would be swept, and is durable"));
            }
            None => wrong.push(format!("I14: task {key} would be swept, and isn't there")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::random;

    /// What one corruption of empty tables is called.
    fn told(corrupt: impl FnOnce(&mut Copy, TaskKey)) -> Vec<String> {
        let mut copy = Copy::default();
        let key = TaskKey { run: RunId(random::object_id()), task: TaskId(0) };
        corrupt(&mut copy, key);
        of_tables(&copy)
    }

    #[test]
    fn tables_that_disagree_are_told() {
        assert_eq!(told(|_, _| {}), [""; 0]);
        let active = told(|copy, key| {
            copy.active.insert(key, Millis(1));
        });
        assert!(active.len() == 1 && active[0].contains("isn't active"), "{active:?}");
        let dirty = told(|copy, key| {
            copy.dirty.insert(key);
        });
        assert!(dirty.len() == 1 && dirty[0].contains("would be swept"), "{dirty:?}");
        let connections = told(|copy, _| {
            copy.connections.insert("192.0.2.1".to_owned(), 1);
        });
        assert!(connections.len() == 1 && connections[0].contains("connections"), "{connections:?}");
    }

    #[test]
    fn a_dead_entry_of_the_worker_map_is_for_the_cleaner() {
        let dead =
            told(|copy, key| copy.workers.push((ShortWorkerName("alice-1cores-00000000".to_owned()), key)));
        assert_eq!(dead, [""; 0]);
    }
}

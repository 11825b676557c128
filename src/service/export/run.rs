//! A run in fishtest's layout: what the store holds, brought up to date from the tasks.

use bson::{Bson, Document, doc};

use crate::domain::capacity::{Aggregates, TaskTotals, aggregate};
use crate::domain::fold::Record;
use crate::domain::ids::TaskId;
use crate::domain::task::{TailEntry, TaskRecord};
use crate::service::run_cache::CachedRun;
use crate::store::codec::{OWN, as_count, as_number, int, stats_document};
use crate::store::{NO_VERSION, StoreError, StoreResult, StoredRun};

/// What is gathered in a first pass over a run's tasks.
pub(super) struct RunView {
    /// Whether the stored sums may be behind the tasks: a run in the making that lived here.
    lives: bool,
    position: u64,
    totals: Vec<TaskTotals>,
    tail: Vec<TailEntry>,
    /// Positions in the list of purged tasks, and whose they are.
    purged: Vec<(u32, TaskId)>,
}

/// A run, ready to be written.
pub(super) struct ExportedRun {
    /// Its document without its tasks.
    pub(super) run: Document,
    /// Its purged tasks, in order.
    pub(super) purged: Vec<Purged>,
}

/// An entry in a run's list of purged tasks.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Purged {
    /// The copy of this task.
    Task(TaskId),
    /// A copy that an import could not match with a task.
    Copy(Document),
}

/// The list of purged tasks: copies without a task at the places that they had, and the others around them.
fn purged_list(tasks: Vec<TaskId>, copies: Vec<(usize, Document)>) -> Vec<Purged> {
    let mut list: Vec<Purged> = tasks.into_iter().map(Purged::Task).collect();
    for (place, copy) in copies {
        list.insert(place.min(list.len()), Purged::Copy(copy));
    }
    list
}

impl RunView {
    pub(super) fn new(stored: &StoredRun) -> Self {
        let finished = stored.doc.get_bool("finished").unwrap_or(false);
        Self {
            lives: !finished && stored.meta.version != NO_VERSION,
            position: stored.meta.position,
            totals: Vec::new(),
            tail: Vec::new(),
            purged: Vec::new(),
        }
    }

    pub(super) fn see(&mut self, task: &TaskRecord) {
        if let Some(mark) = &task.bad {
            self.purged.push((mark.position, task.key.task));
        }
        if !self.lives {
            return;
        }
        self.tail.extend(task.tail.iter().filter(|entry| entry.seq > self.position).cloned());
        self.totals.push(TaskTotals {
            active: task.active,
            num_games: task.num_games,
            stats: task.stats,
            concurrency: task.worker.as_ref().map_or(0, |worker| worker.concurrency),
            nps: as_number(task.worker_info.get("nps")).unwrap_or(0.0),
        });
    }

    /// What is to be written beside the tasks.
    pub(super) fn documents(mut self, stored: StoredRun) -> StoreResult<ExportedRun> {
        let mut run = stored.doc.clone();
        if self.lives {
            self.bring_up_to_date(&stored, &mut run)?;
        }
        self.purged.sort_unstable();
        let tasks = self.purged.into_iter().map(|(_, task)| task).collect();
        let own = match run.remove(OWN) {
            Some(Bson::Document(own)) => own,
            _ => Document::new(),
        };
        let list = |key: &str| own.get_array(key).cloned().unwrap_or_default();
        let place = |place: Option<&Bson>| as_count(place).and_then(|place| usize::try_from(place).ok());
        let places = list("bad_task_places");
        let copies = list("bad_tasks").into_iter().enumerate().filter_map(|(index, copy)| match copy {
            Bson::Document(copy) => Some((place(places.get(index)).unwrap_or(usize::MAX), copy)),
            _ => None,
        });
        Ok(ExportedRun { run, purged: purged_list(tasks, copies.collect()) })
    }

    fn bring_up_to_date(&mut self, stored: &StoredRun, run: &mut Document) -> StoreResult<()> {
        let damaged = |what: String| StoreError::Damaged(format!("run {}: {what}", stored.id));
        let facts = CachedRun::new(stored);
        let sums = aggregate(self.totals.drain(..), facts.game_seconds, facts.facts.threads);
        let Aggregates { results, workers, cores, committed_games, total_games, nps, games_per_minute } =
            sums.ok_or_else(|| damaged("the results leave the range of a count".to_owned()))?;
        run.extend(doc! {
            "results": stats_document(&results), "workers": int(workers), "cores": int(cores),
            "committed_games": int(committed_games), "total_games": int(total_games), "nps": nps,
            "games_per_minute": games_per_minute,
        });
        let Ok(args) = run.get_document_mut("args") else { return Ok(()) };
        let mut record =
            Record::from_args(args, stored.meta.folded).map_err(|error| damaged(error.to_string()))?;
        self.tail.sort_by_key(|entry| entry.seq);
        self.tail.dedup_by_key(|entry| entry.seq);
        for problem in record.fold(&self.tail, facts.num_games) {
            tracing::error!(run = %stored.id, problem, "a contribution could not be folded");
        }
        record.overlay(args);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_without_a_task_stand_where_they_stood() {
        let (first, last) = (doc! { "n": 1 }, doc! { "n": 2 });
        let list = purged_list(vec![TaskId(7), TaskId(9)], vec![(0, first.clone()), (2, last.clone())]);
        let [first, last] = [first, last].map(Purged::Copy);
        let [seven, nine] = [7, 9].map(|task| Purged::Task(TaskId(task)));
        assert_eq!(list, [first.clone(), seven, last.clone(), nine]);
        let Purged::Copy(copy) = first.clone() else { panic!() };
        assert_eq!(purged_list(vec![], vec![(5, copy)]), [first], "whatever the place says");
    }
}

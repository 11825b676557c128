//! From what the schedule knows to what the store keeps.

use std::sync::Arc;

use bson::oid::ObjectId;
use bson::{Bson, Document};

use super::Farm;
use super::error::ServiceResult;
use super::run_cache::CachedRun;
use crate::domain::action::{Action, ClosedTask, RunLabel, TaskLabel, expand};
use crate::domain::fold::Record;
use crate::domain::ids::{Millis, RunId};
use crate::domain::names::long_worker_name;
use crate::domain::run::Phase;
use crate::domain::task::{TaskRecord, TaskWorker};
use crate::state::{RunView, TaskView};
use crate::store::codec::{date, int, stats_document};
use crate::store::{DocumentWrite, RunWrite, TaskWrite};

/// The long name of whoever plays a task.
pub fn task_long_name(worker: &TaskWorker, info: &Document) -> String {
    let modified = info.get_bool("modified").unwrap_or(false);
    long_worker_name(&worker.username, u64::from(worker.concurrency), &worker.unique_key, modified)
}

/// The log entries that a closed task causes; none while it is open or closed without being logged.
pub fn task_actions(record: &TaskRecord, label: &RunLabel) -> Vec<Document> {
    let (Some(cause), Some(worker)) = (&record.cause, &record.worker) else { return Vec::new() };
    // A purge zeroes the statistics; what was said of them stays said.
    let stats = record.bad.as_ref().map_or(record.stats, |mark| mark.stats);
    let closed = ClosedTask {
        username: worker.username.clone(),
        task: TaskLabel {
            worker: task_long_name(worker, &record.worker_info),
            run: label.clone(),
            task_id: record.key.task,
        },
        stats,
    };
    expand(cause, &closed).into_iter().map(|(id, action)| action.to_document(id, cause.time)).collect()
}

/// Paths and values of the half of a run's document that the schedule owns.
pub fn run_fields(view: &RunView, run: &CachedRun, record: &Record) -> Vec<(String, Bson)> {
    let counters = &view.counters;
    let mut set = vec![
        ("last_updated".to_owned(), date(view.last_updated)),
        ("results".to_owned(), Bson::Document(stats_document(&counters.results))),
        ("workers".to_owned(), int(u64::from(counters.workers))),
        ("cores".to_owned(), int(counters.cores)),
        ("committed_games".to_owned(), int(counters.committed_games)),
        ("total_games".to_owned(), int(counters.total_games)),
        ("nps".to_owned(), Bson::Double(view.nps)),
        ("games_per_minute".to_owned(), Bson::Double(view.games_per_minute)),
        ("args.itp".to_owned(), Bson::Double(view.itp)),
    ];
    if matches!(view.phase, Phase::Finishing | Phase::Purging) {
        // What a restart must take up is among the unfinished: a finished run that a person purges, too.
        set.push(("finished".to_owned(), Bson::Boolean(false)));
    }
    let mut args = run.args().cloned().unwrap_or_default();
    record.overlay(&mut args);
    for key in ["sprt", "spsa"] {
        if let Some(value) = args.remove(key) {
            set.push((format!("args.{key}"), value));
        }
    }
    set
}

/// A run's state-owned half as a write.
pub fn run_write(view: &RunView, run: &CachedRun, record: &Record) -> RunWrite {
    RunWrite {
        id: view.id,
        version: view.version,
        write_id: view.write_id,
        phase: view.phase,
        operation: view.operation.clone(),
        position: view.position,
        folded: record.folded(),
        set: run_fields(view, run, record),
        actions: Vec::new(),
    }
}

/// A log entry's document under a fresh identity.
pub fn log_entry(action: &Action, time: Millis) -> Document {
    action.to_document(crate::sys::random::object_id(), time)
}

impl Farm {
    /// How the log names a run: from memory, from the store, or by its id alone if it is nowhere.
    pub async fn run_label(&self, id: RunId) -> ServiceResult<RunLabel> {
        let run = self.runs.at_least(id, 0).await?;
        Ok(run.map_or_else(|| RunLabel::new(id, ""), |run| run.label.clone()))
    }

    /// A task as a write, with the log entries it causes.
    pub async fn task_write(&self, record: &Arc<TaskRecord>) -> ServiceResult<DocumentWrite> {
        let actions = if record.cause.is_some() {
            task_actions(record, &self.run_label(record.key.run).await?)
        } else {
            Vec::new()
        };
        Ok(DocumentWrite::Task(TaskWrite { record: record.clone(), actions }))
    }

    /// The writes for those of these tasks that aren't durable yet (`durability.md` section 3).
    pub async fn barrier(&self, tasks: &[&TaskView]) -> ServiceResult<Vec<DocumentWrite>> {
        let mut writes = Vec::new();
        for task in tasks {
            if !task.is_durable() {
                writes.push(self.task_write(&task.record).await?);
            }
        }
        Ok(writes)
    }

    /// Appends log entries that have no document as their cause.
    pub async fn log(&self, actions: &[Action]) -> ServiceResult<()> {
        if actions.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let entries: Vec<Document> = actions.iter().map(|action| log_entry(action, now)).collect();
        Ok(self.store.insert_actions(&entries).await?)
    }
}

/// Fresh ids for the log entries of a closing.
pub fn closing_ids() -> [ObjectId; 2] {
    [crate::sys::random::object_id(), crate::sys::random::object_id()]
}

//! One run in the schedule.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::domain::ids::{Millis, RunId, TaskId, TaskKey, Version, WriteId};
use crate::domain::run::{Counters, Phase, RunKind, RunOperation};
use crate::domain::task::{TailEntry, TaskRecord};
use crate::state::{ArgsFields, FoldView, RankingRow, RunLoad, RunView};

/// A task that the schedule holds: active, or closed and not yet durable.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) record: Arc<TaskRecord>,
    pub(super) durable: Version,
    /// Since when a version isn't durable.
    pub(super) dirty_since: Option<Millis>,
}

#[derive(Debug)]
pub(super) struct RunState {
    pub(super) id: RunId,
    pub(super) args: ArgsFields,
    pub(super) kind: RunKind,
    pub(super) start_time: Millis,
    pub(super) last_updated: Millis,
    pub(super) phase: Phase,
    pub(super) operation: Option<RunOperation>,
    /// Version of the state-owned fields.
    pub(super) version: Version,
    pub(super) durable: Version,
    pub(super) write_id: WriteId,
    pub(super) counters: Counters,
    pub(super) itp: f64,
    pub(super) nps: f64,
    pub(super) games_per_minute: f64,
    pub(super) next_task: TaskId,
    pub(super) next_start: u64,
    pub(super) record: Arc<str>,
    pub(super) position: u64,
    pub(super) durable_position: u64,
    pub(super) pending: VecDeque<TailEntry>,
    pub(super) sequence: u64,
    pub(super) tasks: BTreeMap<TaskId, Held>,
}

impl RunState {
    /// All of the run but its tasks, whose tables are the caller's.
    pub(super) fn from_load(load: &RunLoad) -> Self {
        Self {
            id: load.id,
            args: load.args,
            kind: load.kind,
            start_time: load.start_time,
            last_updated: load.last_updated,
            phase: load.phase,
            operation: load.operation.clone(),
            version: load.version,
            durable: load.version,
            write_id: WriteId::default(),
            counters: load.counters,
            itp: load.itp,
            nps: load.nps,
            games_per_minute: load.games_per_minute,
            next_task: load.next_task,
            next_start: load.next_start,
            record: load.record.clone(),
            position: load.position,
            durable_position: load.position,
            pending: load.pending.iter().cloned().collect(),
            sequence: load.sequence,
            tasks: BTreeMap::new(),
        }
    }

    /// Notes that a state-owned field changed.
    pub(super) fn touch(&mut self, write_id: WriteId) {
        self.version = self.version.next();
        self.write_id = write_id;
    }

    pub(super) fn view(&self) -> RunView {
        RunView {
            id: self.id,
            args_version: self.args.version,
            kind: self.kind,
            phase: self.phase,
            operation: self.operation.clone(),
            version: self.version,
            durable: self.durable,
            write_id: self.write_id,
            counters: self.counters,
            num_games: self.args.num_games,
            priority: self.args.priority,
            start_time: self.start_time,
            last_updated: self.last_updated,
            itp: self.itp,
            nps: self.nps,
            games_per_minute: self.games_per_minute,
            next_task: self.next_task,
            record: self.record.clone(),
            position: self.position,
            pending: self.pending.len(),
        }
    }

    pub(super) fn fold_view(&self) -> FoldView {
        FoldView {
            kind: self.kind,
            phase: self.phase,
            record: self.record.clone(),
            position: self.position,
            pending: self.pending.iter().cloned().collect(),
            num_games: self.args.num_games,
            games: self.counters.results.games(),
        }
    }

    /// Tasks with versions that aren't known to be durable, and since when.
    pub(super) fn dirty_tasks(&self) -> Vec<(Millis, TaskKey)> {
        let key = |task: &TaskId| TaskKey { run: self.id, task: *task };
        self.tasks.iter().filter_map(|(task, held)| Some((held.dirty_since?, key(task)))).collect()
    }

    pub(super) fn ranking_row(&self) -> RankingRow {
        RankingRow {
            run: self.id,
            args_version: self.args.version,
            cores: self.counters.cores,
            committed_games: self.counters.committed_games,
            num_games: self.args.num_games,
            priority: self.args.priority,
            itp: self.itp,
        }
    }
}

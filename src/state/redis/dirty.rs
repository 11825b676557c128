//! What isn't durable yet, and what became it.

use super::keys::{Names, task_of};
use super::link::Way;
use super::reply::{Reply, odd};
use super::{RedisState, scripts};
use crate::domain::ids::{Millis, RunId, TaskKey};
use crate::state::{Backlog, DirtyFilter, DirtyView, DurableAck, RunView, StateResult};

/// Acknowledgements noted with one script.
const SLICE: usize = 250;

/// No peek is larger.
const MOST: usize = 1_000_000;

impl RedisState {
    pub(super) async fn dirty(&self, names: &Names, filter: DirtyFilter) -> StateResult<DirtyView> {
        let keys = match filter.run {
            Some(run) => self.dirty_of(names, run, filter).await?,
            None => self.all_dirty(names, filter).await?,
        };
        let tasks = self.tasks_by_key(names, &keys).await?;
        let runs = match filter.run {
            Some(run) => self.run_view(names, run, Way::Shared).await?.into_iter().collect(),
            None => self.run_views(names).await?,
        };
        let runs = runs.into_iter().filter(|run: &RunView| run.durable < run.version).collect();
        // One that became durable between the look at the table and the look at the task is left out.
        let tasks = tasks.into_iter().filter(|task| !task.is_durable()).collect();
        Ok(DirtyView { tasks, runs })
    }

    async fn all_dirty(&self, names: &Names, filter: DirtyFilter) -> StateResult<Vec<TaskKey>> {
        let mut command = self.command(&scripts::PEEK_DIRTY, &names.text, &[&names.dirty]);
        command
            .arg(filter.since.map_or_else(|| "+inf".to_owned(), |since| format!("({}", since.0)))
            .arg(filter.limit.min(MOST));
        members(&mut self.run(&scripts::PEEK_DIRTY, &command, Way::Shared).await?)
    }

    async fn dirty_of(&self, names: &Names, run: RunId, filter: DirtyFilter) -> StateResult<Vec<TaskKey>> {
        let tasks = names.run(run).tasks;
        let mut command = self.command(&scripts::PEEK_DIRTY_RUN, &names.text, &[&names.dirty, &tasks]);
        command.arg(run.to_string());
        let mut reply = self.run(&scripts::PEEK_DIRTY_RUN, &command, Way::Shared).await?;
        let mut dirty: Vec<(Millis, TaskKey)> = Vec::new();
        while !reply.is_empty() {
            let key = next_member(&mut reply)?;
            dirty.push((Millis(reply.number()?), key));
        }
        dirty.sort_unstable();
        dirty.retain(|(since, _)| filter.since.is_none_or(|before| *since < before));
        Ok(dirty.into_iter().take(filter.limit).map(|(_, key)| key).collect())
    }

    pub(super) async fn dirty_backlog(&self, names: &Names) -> StateResult<Backlog> {
        let command = self.command(&scripts::DIRTY_BACKLOG, &names.text, &[&names.dirty]);
        let mut reply = self.run(&scripts::DIRTY_BACKLOG, &command, Way::Shared).await?;
        let tasks = reply.number()?;
        let oldest = reply.optional()?.map(|at| at.parse().map(Millis));
        let oldest = oldest.transpose().map_err(|_| odd("dirty_backlog", "no time"))?;
        Ok(Backlog { tasks, oldest })
    }

    pub(super) async fn note_durable(&self, names: &Names, acks: &[DurableAck]) -> StateResult<()> {
        for slice in acks.chunks(SLICE) {
            self.note_slice(names, slice).await?;
        }
        Ok(())
    }

    async fn note_slice(&self, names: &Names, acks: &[DurableAck]) -> StateResult<()> {
        let mut runs: Vec<RunId> = Vec::new();
        let mut places = Vec::with_capacity(acks.len());
        for ack in acks {
            let run = match ack {
                DurableAck::Task { key, .. } => key.run,
                DurableAck::Run(run, ..) => *run,
            };
            let place = runs.iter().position(|there| *there == run);
            places.push(place.unwrap_or_else(|| {
                runs.push(run);
                runs.len() - 1
            }));
        }
        let named: Vec<_> = runs.iter().map(|run| names.run(*run)).collect();
        let mut keys: Vec<&str> = vec![&names.dirty];
        for run in &named {
            keys.extend([run.run.as_str(), run.tasks.as_str()]);
        }
        let mut command = self.command(&scripts::ACK_DIRTY, &names.text, &keys);
        for (ack, place) in acks.iter().zip(places) {
            match ack {
                DurableAck::Task { key, version, told } => {
                    command.arg("T").arg(place).arg(key.task.0).arg(version.0).arg(u8::from(*told));
                }
                DurableAck::Run(_, version, position) => {
                    command.arg("R").arg(place).arg(version.0).arg(position).arg("");
                }
            }
        }
        self.run(&scripts::ACK_DIRTY, &command, Way::Shared).await?;
        Ok(())
    }
}

/// The tasks that the rest of an answer names.
pub(super) fn members(reply: &mut Reply) -> StateResult<Vec<TaskKey>> {
    let mut keys = Vec::new();
    while !reply.is_empty() {
        keys.push(next_member(reply)?);
    }
    Ok(keys)
}

pub(super) fn next_member(reply: &mut Reply) -> StateResult<TaskKey> {
    let member = reply.text()?;
    task_of(&member).ok_or_else(|| odd("members", "no task"))
}

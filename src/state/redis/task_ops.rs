//! What a worker, or the leader, does with one task.

use super::assign::{member_view, task_view};
use super::keys::{Names, member};
use super::link::Way;
use super::reply::Reply;
use super::task_codec::{document_bytes, ids_text, kind_text, round_text, stats_text};
use super::{RedisState, run_codec, scripts};
use crate::domain::ids::{Millis, TaskId, TaskKey};
use crate::domain::spsa::flips::signature;
use crate::state::{
    Absent, BeginSpsa, CloseOutcome, CloseSlice, CloseTask, CloseWhy, LeaseName, SliceOutcome, StateResult,
    UpdateOutcome, UpdateRefusal, UpdateTask,
};

/// Counts up to here differ from their neighbours in the scripts' arithmetic.
const EXACT: u64 = 1 << 53;

/// Dead tasks told at once.
const MOST_DEAD: usize = 10_000;

impl RedisState {
    pub(super) async fn report(&self, names: &Names, request: &UpdateTask) -> StateResult<UpdateOutcome> {
        let key = request.who.key;
        let run = names.run(key.run);
        let keys = [
            &*run.run,
            &run.pending,
            &run.tasks,
            &run.live,
            &names.ranking,
            &names.active,
            &names.connections,
            &names.dirty,
        ];
        let games = request.stats.games();
        let mut command = self.command(&scripts::UPDATE_TASK, &names.text, &keys);
        command
            .arg(key.run.to_string())
            .arg(key.task.0)
            .arg(member(key))
            .arg(&request.who.unique_key)
            .arg(&request.who.username)
            .arg(stats_text(&request.stats))
            .arg(&request.digest.0.to_be_bytes())
            .arg(document_bytes(&request.worker_info)?)
            .arg(request.write_id.0)
            .arg(ids_text(&request.action_ids));
        match request.spsa {
            Some(report) => {
                command
                    .arg(report.games())
                    .arg(format!("{}|{}|{}", report.wins, report.losses, report.num_games / 2))
                    .arg(u32::try_from(report.sig).map(|sig| sig.to_string()).unwrap_or_default());
            }
            None => {
                command.arg(&["", "", ""]);
            }
        }
        if request.stats.is_within(EXACT) {
            command.arg("");
        } else {
            command.arg(games);
        }
        let mut reply = self.run(&scripts::UPDATE_TASK, &command, Way::Shared).await?;
        Ok(match reply.word() {
            "INACTIVE" => UpdateOutcome::Inactive(Box::new(task_view(key, &mut reply)?)),
            "MISSINGSPSA" => UpdateOutcome::MissingSpsa,
            "REPEATED" => {
                let alive = reply.flag()?;
                let task = Box::new(task_view(key, &mut reply)?);
                UpdateOutcome::Repeated { task, alive, fold: Box::new(run_codec::fold(&mut reply)?) }
            }
            "ACCEPTED" => {
                let alive = reply.flag()?;
                let task = Box::new(task_view(key, &mut reply)?);
                UpdateOutcome::Accepted { task, alive, fold: Box::new(run_codec::fold(&mut reply)?) }
            }
            "REFUSED" => {
                let what = reply.text()?;
                let before = reply.number()?;
                let error = match what.as_str() {
                    "odd" => UpdateRefusal::Odd { before, now: games },
                    "batch" => UpdateRefusal::Batch,
                    _ => UpdateRefusal::Incompatible {
                        before,
                        now: games,
                        spsa: request.spsa.map_or(0, |report| report.games()),
                    },
                };
                UpdateOutcome::Refused { error, task: Box::new(task_view(key, &mut reply)?) }
            }
            _ => UpdateOutcome::Absent(absent(&mut reply)?),
        })
    }

    pub(super) async fn note_round(&self, names: &Names, request: &BeginSpsa) -> StateResult<CloseOutcome> {
        let key = request.who.key;
        let run = names.run(key.run);
        let keys = [&*run.run, &run.tasks, &names.active, &names.dirty];
        let mut command = self.command(&scripts::BEGIN_SPSA, &names.text, &keys);
        command
            .arg(key.task.0)
            .arg(member(key))
            .arg(&request.who.unique_key)
            .arg(&request.who.username)
            .arg(round_text(&request.round))
            .arg(signature(&request.round.packed_flips))
            .arg(request.write_id.0);
        let mut reply = self.run(&scripts::BEGIN_SPSA, &command, Way::Shared).await?;
        closed(key, &mut reply)
    }

    pub(super) async fn close_one(&self, names: &Names, request: &CloseTask) -> StateResult<CloseOutcome> {
        let key = request.key;
        let run = names.run(key.run);
        let leader = self.base.lease(LeaseName::Leader);
        let keys = [
            &*run.run,
            &run.tasks,
            &run.live,
            &names.ranking,
            &names.active,
            &names.connections,
            &names.dirty,
            &leader,
        ];
        let mut command = self.command(&scripts::CLOSE_TASK, &names.text, &keys);
        command.arg(key.run.to_string()).arg(key.task.0).arg(member(key)).arg(request.write_id.0);
        let cause = match &request.why {
            CloseWhy::Given { cause, .. } => cause.as_ref(),
            CloseWhy::Dead { cause, .. } => Some(cause),
        };
        match cause {
            Some(cause) => {
                command.arg(kind_text(cause.kind)).arg(&cause.message).arg(ids_text(&cause.ids));
            }
            None => {
                command.arg(&["", "", ""]);
            }
        }
        match &request.why {
            CloseWhy::Given { who, .. } => {
                command.arg("given").arg(&who.unique_key).arg(&who.username);
            }
            CloseWhy::Dead { cutoff, token, .. } => {
                command.arg("dead").arg(cutoff.0).arg(token.generation.0).arg(token.counter);
            }
        }
        let mut reply = self.run(&scripts::CLOSE_TASK, &command, Way::Shared).await?;
        closed(key, &mut reply)
    }

    pub(super) async fn close_some(&self, names: &Names, request: &CloseSlice) -> StateResult<SliceOutcome> {
        let run = names.run(request.run);
        let keys = [
            &*run.run,
            &run.tasks,
            &run.live,
            &names.ranking,
            &names.active,
            &names.connections,
            &names.dirty,
        ];
        let mut command = self.command(&scripts::CLOSE_SLICE, &names.text, &keys);
        command
            .arg(request.run.to_string())
            .arg(request.operation.to_hex())
            .arg(request.limit)
            .arg(request.write_id.0);
        let mut reply = self.run(&scripts::CLOSE_SLICE, &command, Way::Shared).await?;
        if reply.word() != "CLOSED" {
            return Err(reply.unexpected());
        }
        let remaining = reply.number()?;
        let mut closed = Vec::new();
        while !reply.is_empty() {
            closed.push(member_view(&mut reply)?);
        }
        Ok(SliceOutcome { closed, remaining })
    }

    pub(super) async fn dead(
        &self,
        names: &Names,
        cutoff: Millis,
        limit: usize,
    ) -> StateResult<Vec<TaskKey>> {
        let keys = [&*names.active, &names.ranking];
        let mut command = self.command(&scripts::FIND_DEAD, &names.text, &keys);
        command.arg(cutoff.0).arg(limit.min(MOST_DEAD));
        let mut reply = self.run(&scripts::FIND_DEAD, &command, Way::Shared).await?;
        if reply.word() != "DEAD" {
            return Err(reply.unexpected());
        }
        super::dirty::members(&mut reply)
    }
}

/// Refusals that name what isn't here, or isn't the caller's.
pub(super) fn absent(reply: &mut Reply) -> StateResult<Absent> {
    match reply.word() {
        "NORUN" => Ok(Absent::NoRun),
        "NOTASK" => Ok(Absent::NoTask { next: TaskId(reply.number()?) }),
        "MISMATCH" => {
            let field = if reply.text()? == "username" { "username" } else { "unique_key" };
            Ok(Absent::Mismatch { field, stored: reply.text()? })
        }
        _ => Err(reply.unexpected()),
    }
}

fn closed(key: TaskKey, reply: &mut Reply) -> StateResult<CloseOutcome> {
    match reply.word() {
        "DONE" => Ok(CloseOutcome::Done(Box::new(task_view(key, reply)?))),
        "INACTIVE" => Ok(CloseOutcome::Inactive(Box::new(task_view(key, reply)?))),
        "STILL" => Ok(CloseOutcome::StillAlive),
        _ => Ok(CloseOutcome::Absent(absent(reply)?)),
    }
}

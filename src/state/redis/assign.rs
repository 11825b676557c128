//! Admission and the claim (`spec/scheduling.md` section 3).

use std::sync::Arc;

use super::keys::{Names, task_of};
use super::lease::millis;
use super::link::Way;
use super::reply::{Reply, odd};
use super::run_codec::row;
use super::task_codec::{document_bytes, ids_text, unpack};
use super::{RedisState, scripts};
use crate::domain::capacity::MOST_BATCH_PAIRS;
use crate::domain::ids::{RunId, TaskKey};
use crate::state::{
    Admission, AdmissionOutcome, AssignOutcome, AssignTask, Claim, DuplicateName, OpenRequest, StateResult,
    TaskView,
};

/// A script that needs the keys of another run, where the worker is at work, says so. It may be at work elsewhere by the
/// time that it is called again, but hardly so often.
const LOOKS: usize = 4;

impl RedisState {
    pub(super) async fn admit(&self, names: &Names, request: &Admission) -> StateResult<AdmissionOutcome> {
        let worker = &request.worker;
        let lock = self.base.lease(crate::state::LeaseName::RequestTask);
        let mut at_work: Option<RunId> = None;
        for _ in 0..LOOKS {
            // Where nothing is known, any key of this farm will do: it isn't looked at.
            let there = at_work.map_or_else(|| names.wtt.clone(), |run| names.run(run).tasks);
            let keys = [
                &*names.slots,
                &lock,
                &names.blocked,
                &names.wtt,
                &names.active,
                &names.connections,
                &names.ranking,
                &names.seen,
                &there,
            ];
            let mut command = self.command(&scripts::SEMAPHORE_ACQUIRE, &names.text, &keys);
            command
                .arg(&request.holder)
                .arg(request.slots)
                .arg(millis(request.slot_ttl))
                .arg(&worker.short_name.0)
                .arg(&worker.unique_key)
                .arg(&worker.remote_addr)
                .arg(request.machine_limit)
                .arg(hex(at_work));
            let mut reply = self.run(&scripts::SEMAPHORE_ACQUIRE, &command, Way::Shared).await?;
            return Ok(match reply.word() {
                "BUSY" => AdmissionOutcome::Busy,
                "BLOCKED" => AdmissionOutcome::Blocked { message: reply.text()? },
                "DUPLICATE" => AdmissionOutcome::Duplicate(duplicate(&mut reply)?),
                "MACHINE" => AdmissionOutcome::MachineLimit,
                "REPEATED" => AdmissionOutcome::Repeated(Box::new(member_view(&mut reply)?)),
                "OPEN" => AdmissionOutcome::Open(open(&mut reply)?),
                "LOOK" => {
                    at_work = Some(run_id(&mut reply)?);
                    continue;
                }
                _ => return Err(reply.unexpected()),
            });
        }
        // A name that several machines fight for; the workers ask again.
        Ok(AdmissionOutcome::Busy)
    }

    pub(super) async fn claim(&self, names: &Names, request: &AssignTask) -> StateResult<AssignOutcome> {
        let worker = &request.worker;
        let lock = self.base.lease(crate::state::LeaseName::RequestTask);
        let run = names.run(request.run);
        let info = document_bytes(&request.worker_info)?;
        let mut at_work: Option<RunId> = None;
        for _ in 0..LOOKS {
            let there = names.run(at_work.unwrap_or(request.run));
            let keys = [
                &*lock,
                &names.blocked,
                &names.wtt,
                &names.active,
                &names.connections,
                &names.ranking,
                &names.seen,
                &names.slots,
                &names.dirty,
                &run.run,
                &run.tasks,
                &run.live,
                &there.run,
                &there.tasks,
                &there.live,
            ];
            let mut command = self.command(&scripts::ASSIGN_TASK, &names.text, &keys);
            command
                .arg(request.run.to_string())
                .arg(request.args_version)
                .arg(&worker.short_name.0)
                .arg(&worker.unique_key)
                .arg(&worker.username)
                .arg(worker.concurrency)
                .arg(&worker.remote_addr)
                .arg(&info)
                .arg(request.machine_limit)
                .arg(request.cap)
                .arg(&request.slot)
                .arg(request.write_id.0)
                .arg(request.stale.0.0)
                .arg(ids_text(&request.stale.1))
                .arg(hex(at_work))
                .arg(MOST_BATCH_PAIRS);
            let mut reply = self.run(&scripts::ASSIGN_TASK, &command, Way::Shared).await?;
            return Ok(match reply.word() {
                "LOCKED" => AssignOutcome::Locked,
                "BLOCKED" => AssignOutcome::Blocked { message: reply.text()? },
                "DUPLICATE" => AssignOutcome::Duplicate(duplicate(&mut reply)?),
                "MACHINE" => AssignOutcome::MachineLimit,
                "STALERUN" => AssignOutcome::Stale,
                "NOGAMES" => AssignOutcome::NoGames,
                "REPEATED" => AssignOutcome::Repeated(Box::new(member_view(&mut reply)?)),
                "CLAIMED" => AssignOutcome::Claimed(Box::new(claimed(&mut reply)?)),
                "LOOK" => {
                    at_work = Some(run_id(&mut reply)?);
                    continue;
                }
                _ => return Err(reply.unexpected()),
            });
        }
        Ok(AssignOutcome::Locked)
    }
}

fn hex(run: Option<RunId>) -> String {
    run.map(|run| run.to_string()).unwrap_or_default()
}

fn run_id(reply: &mut Reply) -> StateResult<RunId> {
    let text = reply.text()?;
    RunId::parse(&text).ok_or_else(|| odd("lookup", "no run"))
}

/// A task that the answer names itself.
pub(super) fn member_view(reply: &mut Reply) -> StateResult<TaskView> {
    let member = reply.text()?;
    let key = task_of(&member).ok_or_else(|| odd("lookup", "no task"))?;
    task_view(key, reply)
}

/// A task that the caller named.
pub(super) fn task_view(key: TaskKey, reply: &mut Reply) -> StateResult<TaskView> {
    let packed = reply.bytes()?;
    unpack(key, &packed, &reply.text()?)
}

fn duplicate(reply: &mut Reply) -> StateResult<DuplicateName> {
    let seconds = reply.number()?;
    Ok(DuplicateName { seconds, task: member_view(reply)?.record })
}

fn claimed(reply: &mut Reply) -> StateResult<Claim> {
    let task = member_view(reply)?;
    let itp = reply.number()?;
    let record = Arc::from(reply.text()?);
    let stale = if reply.is_empty() { None } else { Some(member_view(reply)?) };
    Ok(Claim { task, stale, itp, record })
}

/// What a worker has seen: the latest run, then each of them once.
pub(super) fn read_seen(text: &str) -> StateResult<(RunId, Vec<RunId>)> {
    let mut runs = text.split(' ').map(RunId::parse);
    let last = runs.next().flatten().ok_or_else(|| odd("seen", "no run"))?;
    let runs = runs.collect::<Option<Vec<_>>>().ok_or_else(|| odd("seen", "no run"))?;
    Ok((last, runs))
}

fn open(reply: &mut Reply) -> StateResult<OpenRequest> {
    let (seen, last_run) = match reply.optional()? {
        Some(text) => {
            let (last, runs) = read_seen(&text)?;
            (runs, Some(last))
        }
        None => (Vec::new(), None),
    };
    let ranking = reply.text()?.lines().map(row).collect::<StateResult<_>>()?;
    Ok(OpenRequest { ranking, seen, last_run })
}

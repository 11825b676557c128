//! Admission and the claim (`spec/scheduling.md` section 3).

use std::collections::HashSet;
use std::sync::Arc;

use super::lease::after;
use super::run_state::Held;
use super::tables::{Seen, Tables};
use crate::domain::action::{CloseCause, CloseKind};
use crate::domain::capacity::task_size;
use crate::domain::ids::{Generation, Millis, TaskId, TaskKey, Version};
use crate::domain::results::Stats;
use crate::domain::run::Phase;
use crate::domain::task::{TaskRecord, TaskWorker};
use crate::state::{
    Admission, AdmissionOutcome, AssignOutcome, AssignTask, Claim, DuplicateName, LeaseName, OpenRequest,
    TaskView,
};

/// A name is taken for so many seconds after its holder's last sign of life.
const NAME_TAKEN_SECONDS: i64 = 120;

/// The worker of that name that stands in the way, or the task that a claim would replace.
enum Standing {
    Nobody,
    Duplicate(DuplicateName),
    Unanswered(TaskView),
    ToReplace(TaskKey),
}

impl Tables {
    pub(super) fn semaphore_acquire(&mut self, request: Admission, now: Millis) -> AdmissionOutcome {
        self.slots.retain(|_, expires| *expires > now);
        if self.slots.len() >= request.slots as usize || self.lease(LeaseName::RequestTask, now).is_some() {
            return AdmissionOutcome::Busy;
        }
        if let Some(message) = self.blocked.get(&request.worker.short_name) {
            return AdmissionOutcome::Blocked { message: message.clone() };
        }
        match self.standing(&request.worker, now) {
            Standing::Duplicate(duplicate) => return AdmissionOutcome::Duplicate(duplicate),
            Standing::Unanswered(task) => {
                self.deliver(&task);
                return AdmissionOutcome::Repeated(Box::new(task));
            }
            Standing::Nobody | Standing::ToReplace(_) => {}
        }
        if self.at_machine_limit(&request.worker, request.machine_limit) {
            return AdmissionOutcome::MachineLimit;
        }
        self.slots.insert(request.holder, after(now, request.slot_ttl));
        let seen = self.seen.get(&request.worker.short_name);
        AdmissionOutcome::Open(OpenRequest {
            ranking: self
                .runs
                .values()
                .filter(|run| run.phase == Phase::Running)
                .map(|run| run.ranking_row())
                .collect(),
            seen: seen.map_or_else(Vec::new, |seen| seen.runs.iter().copied().collect()),
            last_run: seen.map(|seen| seen.last_run),
        })
    }

    pub(super) fn assign_task(
        &mut self,
        request: AssignTask,
        generation: Generation,
        now: Millis,
    ) -> AssignOutcome {
        if self.lease(LeaseName::RequestTask, now).is_some() {
            return AssignOutcome::Locked;
        }
        if let Some(message) = self.blocked.get(&request.worker.short_name) {
            return AssignOutcome::Blocked { message: message.clone() };
        }
        let replaced = match self.standing(&request.worker, now) {
            Standing::Duplicate(duplicate) => return AssignOutcome::Duplicate(duplicate),
            Standing::Unanswered(task) => {
                self.slots.remove(&request.slot);
                self.deliver(&task);
                return AssignOutcome::Repeated(Box::new(task));
            }
            Standing::ToReplace(key) => Some(key),
            Standing::Nobody => None,
        };
        if self.at_machine_limit(&request.worker, request.machine_limit) {
            return AssignOutcome::MachineLimit;
        }
        let Some(run) = self.runs.get_mut(&request.run) else { return AssignOutcome::Stale };
        if run.phase != Phase::Running || run.args.version != request.args_version {
            return AssignOutcome::Stale;
        }
        let Some(num_games) =
            task_size(request.cap, run.args.num_games, run.counters.committed_games, run.kind.sprt_batch())
        else {
            return AssignOutcome::NoGames;
        };

        // Everything is checked; from here on nothing can fail.
        let key = TaskKey { run: request.run, task: run.next_task };
        let record = TaskRecord {
            key,
            generation,
            version: Version(1),
            write_id: request.write_id,
            num_games,
            start: run.next_start,
            active: true,
            last_updated: now,
            stats: Stats::default(),
            worker: Some(request.worker.clone()),
            worker_info: request.worker_info,
            spsa_round: None,
            answered: false,
            digests: Vec::new(),
            tail: Vec::new(),
            cause: None,
            bad: None,
            extra: bson::Document::new(),
        };
        run.next_task = TaskId(key.task.0 + 1);
        run.next_start += num_games;
        run.counters.workers += 1;
        run.counters.cores += u64::from(request.worker.concurrency);
        run.counters.committed_games += num_games;
        run.counters.total_games += num_games;
        run.touch(request.write_id);
        run.tasks
            .insert(key.task, Held { record: Arc::new(record), durable: Version(0), dirty_since: Some(now) });
        self.dirty.insert((now, key));
        self.active.insert((now, key));
        *self.connections.entry(request.worker.remote_addr.clone()).or_insert(0) += 1;

        let stale = replaced.and_then(|old| {
            let (write_id, ids) = request.stale;
            let cause = CloseCause { kind: CloseKind::Stale, message: String::new(), time: now, ids };
            self.deactivate(old, generation, write_id, now, Some(cause));
            self.view(old)
        });
        let name = request.worker.short_name;
        self.wtt.insert(name.clone(), key);
        let seen =
            self.seen.entry(name).or_insert_with(|| Seen { runs: HashSet::new(), last_run: request.run });
        seen.runs.insert(request.run);
        seen.last_run = request.run;
        self.slots.remove(&request.slot);
        match (self.view(key), self.runs.get(&key.run)) {
            (Some(task), Some(run)) => {
                let (itp, record) = (run.itp, run.record.clone());
                AssignOutcome::Claimed(Box::new(Claim { task, stale, itp, record }))
            }
            _ => AssignOutcome::Stale,
        }
    }

    fn standing(&self, worker: &TaskWorker, now: Millis) -> Standing {
        let Some(key) = self.wtt.get(&worker.short_name) else { return Standing::Nobody };
        let Some(record) = self.alive(*key) else { return Standing::Nobody };
        let same_key = record.worker.as_ref().is_some_and(|there| there.unique_key == worker.unique_key);
        if !same_key {
            let seconds = now.seconds_since(record.last_updated);
            if seconds <= NAME_TAKEN_SECONDS {
                return Standing::Duplicate(DuplicateName { task: record.clone(), seconds });
            }
            return Standing::ToReplace(*key);
        }
        if !record.answered
            && let Some(view) = self.view(*key)
        {
            return Standing::Unanswered(view);
        }
        Standing::ToReplace(*key)
    }

    /// A repeated claim that is durable is answered with this: nothing will be acknowledged for it later (a claim that
    /// a rebuild loaded, say), and a worker that asks once more must not get the same task for ever.
    fn deliver(&mut self, task: &TaskView) {
        if task.is_durable() {
            self.mark_answered(task.record.key);
        }
    }

    fn at_machine_limit(&self, worker: &TaskWorker, limit: u32) -> bool {
        self.connections.get(&worker.remote_addr).copied().unwrap_or(0) >= limit
    }
}

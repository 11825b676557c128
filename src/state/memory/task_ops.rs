//! What a worker, or the leader, does with one task: heartbeat, report, tuning round, giving up.

use std::sync::Arc;

use super::run_state::RunState;
use super::tables::{Tables, close};
use crate::domain::action::{CloseCause, CloseKind};
use crate::domain::ids::{Generation, Millis, RunId, TaskKey};
use crate::domain::run::{Phase, RunKind};
use crate::domain::task::{Contribution, TailEntry};
use crate::state::{
    Absent, BeatOutcome, BeginSpsa, Caller, CloseOutcome, CloseSlice, CloseTask, CloseWhy, LeaseName,
    SliceOutcome, StateError, StateResult, UpdateOutcome, UpdateRefusal, UpdateTask,
};

/// More games than any run can have: what a double counts exactly. A report beyond is nonsense, and must not reach
/// sums and statistics.
const MAX_GAMES: u64 = 1 << 53;

impl Tables {
    /// Steps 5 to 7 of `spec/worker-api.md` section 1.8: the run, the task, and whose it is.
    fn identify(&self, who: &Caller) -> Result<(), Absent> {
        let Some(run) = self.runs.get(&who.key.run) else { return Err(Absent::NoRun) };
        let Some(held) = run.tasks.get(&who.key.task) else {
            return Err(Absent::NoTask { next: run.next_task });
        };
        let (unique_key, username) = match &held.record.worker {
            Some(worker) => (worker.unique_key.as_str(), worker.username.as_str()),
            None => ("", ""),
        };
        if unique_key != who.unique_key {
            return Err(Absent::Mismatch { field: "unique_key", stored: unique_key.to_owned() });
        }
        if username != who.username {
            return Err(Absent::Mismatch { field: "username", stored: username.to_owned() });
        }
        Ok(())
    }

    /// Marks a sign of life of an active task.
    fn refresh(&mut self, key: TaskKey, now: Millis) {
        let Some(held) = self.runs.get_mut(&key.run).and_then(|run| run.tasks.get_mut(&key.task)) else {
            return;
        };
        let record = Arc::make_mut(&mut held.record);
        self.active.remove(&(record.last_updated, key));
        record.last_updated = now;
        self.active.insert((now, key));
    }

    pub(super) fn beat(&mut self, who: &Caller, now: Millis) -> BeatOutcome {
        if let Err(absent) = self.identify(who) {
            return BeatOutcome::Absent(absent);
        }
        let alive = self.alive(who.key).is_some();
        if alive {
            self.refresh(who.key, now);
            // Who knows of the task has had the answer to its claim.
            self.mark_answered(who.key);
        }
        BeatOutcome::Alive(alive)
    }

    pub(super) fn update_task(
        &mut self,
        request: UpdateTask,
        generation: Generation,
        now: Millis,
    ) -> StateResult<UpdateOutcome> {
        let key = request.who.key;
        if let Err(absent) = self.identify(&request.who) {
            return Ok(UpdateOutcome::Absent(absent));
        }
        let task = self.view(key).ok_or_else(|| lost(key))?;
        let run = self.runs.get_mut(&key.run).ok_or_else(|| lost(key))?;
        let alive = task.record.active && run.phase == Phase::Running;
        if task.record.knows(request.digest) {
            let fold = Box::new(run.fold_view());
            if alive {
                // A repetition counts for nothing, but it is a sign of life.
                self.refresh(key, now);
            }
            return Ok(UpdateOutcome::Repeated { task: Box::new(task), alive, fold });
        }
        if !alive {
            return Ok(UpdateOutcome::Inactive(Box::new(task)));
        }
        if matches!(run.kind, RunKind::Spsa { .. }) && request.spsa.is_none() {
            return Ok(UpdateOutcome::MissingSpsa);
        }
        let old = task.record.stats;
        if let Err(error) = check_report(&request, run.kind, old.games()) {
            self.deactivate(key, generation, request.write_id, now, None);
            let task = Box::new(self.view(key).ok_or_else(|| lost(key))?);
            return Ok(UpdateOutcome::Refused { error, task });
        }
        let results = run.counters.results.replace(&old, &request.stats);
        let countable = request.stats.is_within(MAX_GAMES);
        let Some(results) = results.filter(|results| countable && results.is_within(MAX_GAMES)) else {
            self.deactivate(key, generation, request.write_id, now, None);
            let error = UpdateRefusal::Incompatible {
                before: old.games(),
                now: request.stats.games(),
                spsa: request.spsa.map_or(0, |report| report.games()),
            };
            let task = Box::new(self.view(key).ok_or_else(|| lost(key))?);
            return Ok(UpdateOutcome::Refused { error, task });
        };

        // Everything is checked; from here on nothing can fail.
        run.counters.results = results;
        run.last_updated = now;
        run.touch(request.write_id);
        let contribution = contribution(run.kind, &request, &task.record, &old);
        let entry = contribution.map(|what| append(run, what));
        let durable_position = run.durable_position;
        let complete = request.stats.games() >= task.record.num_games;
        if complete {
            self.release(key, request.stats.games(), request.write_id);
        } else {
            self.refresh(key, now);
        }
        // The report and the closing are one step, hence one version.
        self.write_task(key, generation, request.write_id, now, |record| {
            record.stats = request.stats;
            record.worker_info = request.worker_info.clone();
            record.answered = true;
            record.spsa_round = None;
            record.remember(request.digest);
            record.tail.retain(|entry| entry.seq > durable_position);
            record.tail.extend(entry);
            if complete {
                let (kind, ids) = (CloseKind::Completed, request.action_ids);
                close(record, now, Some(CloseCause { kind, message: String::new(), time: now, ids }));
            }
        });
        let task = Box::new(self.view(key).ok_or_else(|| lost(key))?);
        let fold = Box::new(self.runs.get(&key.run).ok_or_else(|| lost(key))?.fold_view());
        Ok(UpdateOutcome::Accepted { task, alive: !complete, fold })
    }

    pub(super) fn begin_spsa(
        &mut self,
        request: BeginSpsa,
        generation: Generation,
        now: Millis,
    ) -> CloseOutcome {
        let key = request.who.key;
        if let Err(absent) = self.identify(&request.who) {
            return CloseOutcome::Absent(absent);
        }
        if self.alive(key).is_some() {
            let round = request.round;
            self.write_task(key, generation, request.write_id, now, |record| {
                record.answered = true;
                record.spsa_round = Some(round);
            });
            return self.done(key);
        }
        match self.view(key) {
            Some(task) => CloseOutcome::Inactive(Box::new(task)),
            None => CloseOutcome::Absent(Absent::NoRun),
        }
    }

    pub(super) fn close_task(
        &mut self,
        request: CloseTask,
        generation: Generation,
        now: Millis,
    ) -> StateResult<CloseOutcome> {
        let key = request.key;
        let cause = match request.why {
            CloseWhy::Given { who, cause } => {
                if let Err(absent) = self.identify(&who) {
                    return Ok(CloseOutcome::Absent(absent));
                }
                cause.map(|cause| CloseCause { time: now, ..cause })
            }
            CloseWhy::Dead { cutoff, token, cause } => {
                if !self.holds(LeaseName::Leader, token, now) {
                    return Err(StateError::StaleToken);
                }
                let Some(task) = self.view(key) else { return Ok(CloseOutcome::Absent(Absent::NoRun)) };
                if task.record.last_updated > cutoff {
                    return Ok(CloseOutcome::StillAlive);
                }
                Some(CloseCause { time: now, ..cause })
            }
        };
        if self.alive(key).is_none() {
            return Ok(match self.view(key) {
                Some(task) => CloseOutcome::Inactive(Box::new(task)),
                None => CloseOutcome::Absent(Absent::NoRun),
            });
        }
        self.deactivate(key, generation, request.write_id, now, cause);
        Ok(self.done(key))
    }

    fn done(&self, key: TaskKey) -> CloseOutcome {
        match self.view(key) {
            Some(task) => CloseOutcome::Done(Box::new(task)),
            None => CloseOutcome::Absent(Absent::NoRun),
        }
    }

    pub(super) fn close_slice(
        &mut self,
        request: CloseSlice,
        generation: Generation,
        now: Millis,
    ) -> StateResult<SliceOutcome> {
        let Some(run) = self.runs.get(&request.run) else {
            return Ok(SliceOutcome { closed: Vec::new(), remaining: 0 });
        };
        let ours = run.operation.as_ref().is_some_and(|operation| operation.id == request.operation);
        if !ours || run.phase == Phase::Running {
            return Err(StateError::StaleToken);
        }
        let active = active_tasks(run, request.run);
        let slice: Vec<TaskKey> = active.iter().copied().take(request.limit).collect();
        for key in &slice {
            self.deactivate(*key, generation, request.write_id, now, None);
        }
        let closed: Vec<_> = slice.iter().filter_map(|key| self.view(*key)).collect();
        Ok(SliceOutcome { remaining: active.len() - slice.len(), closed })
    }

    pub(super) fn find_dead(&self, cutoff: Millis, limit: usize) -> Vec<TaskKey> {
        self.active
            .iter()
            .take_while(|(last_seen, _)| *last_seen <= cutoff)
            .filter(|(_, key)| self.alive(*key).is_some())
            .take(limit)
            .map(|(_, key)| *key)
            .collect()
    }
}

fn active_tasks(run: &RunState, id: RunId) -> Vec<TaskKey> {
    run.tasks
        .iter()
        .filter(|(_, held)| held.record.active)
        .map(|(task, _)| TaskKey { run: id, task: *task })
        .collect()
}

fn lost(key: TaskKey) -> StateError {
    StateError::Bug(format!("task {key} vanished within a transition"))
}

/// Rules 2 to 4 of `spec/scheduling.md` section 6.
fn check_report(request: &UpdateTask, kind: RunKind, before: u64) -> Result<(), UpdateRefusal> {
    let now = request.stats.games();
    let spsa = match kind {
        RunKind::Spsa { .. } => request.spsa.map_or(0, |report| report.games()),
        RunKind::Games | RunKind::Sprt { .. } => 0,
    };
    if now < before || (spsa > 0 && now <= before) {
        return Err(UpdateRefusal::Incompatible { before, now, spsa });
    }
    if !(now - before).is_multiple_of(2) {
        return Err(UpdateRefusal::Odd { before, now });
    }
    if matches!(kind, RunKind::Sprt { .. }) && !now.is_multiple_of(kind.batch_games()) {
        return Err(UpdateRefusal::Batch);
    }
    Ok(())
}

/// What the report adds to the run's record, if anything.
fn contribution(
    kind: RunKind,
    request: &UpdateTask,
    task: &crate::domain::task::TaskRecord,
    old: &crate::domain::results::Stats,
) -> Option<Contribution> {
    match kind {
        RunKind::Games => None,
        RunKind::Sprt { .. } => Some(Contribution::Sprt(growth(old, &request.stats))),
        RunKind::Spsa { .. } => {
            // Without an outstanding round, or with another round's checksum, the games count and nothing else.
            let round = task.spsa_round.as_ref()?;
            let report = request.spsa?;
            let sig = u32::try_from(report.sig).ok()?;
            round.entry(sig, report.wins, report.losses, report.num_games).map(Contribution::Spsa)
        }
    }
}

/// Growth of wins, losses, draws and the pair counts. Wrapping is right: the sum of all growths is a count again.
fn growth(old: &crate::domain::results::Stats, new: &crate::domain::results::Stats) -> [i64; 8] {
    let d = |old: u64, new: u64| new.wrapping_sub(old) as i64;
    let (p, q) = (&old.pentanomial, &new.pentanomial);
    [
        d(old.wins, new.wins),
        d(old.losses, new.losses),
        d(old.draws, new.draws),
        d(p[0], q[0]),
        d(p[1], q[1]),
        d(p[2], q[2]),
        d(p[3], q[3]),
        d(p[4], q[4]),
    ]
}

fn append(run: &mut RunState, what: Contribution) -> TailEntry {
    run.sequence += 1;
    let entry = TailEntry { seq: run.sequence, what };
    run.pending.push_back(entry.clone());
    entry
}

//! The order-sensitive record, the phase, and the fields that others set.

use super::run_state::RunState;
use super::tables::Tables;
use crate::domain::ids::Millis;
use crate::domain::run::Phase;
use crate::state::{
    CommitFold, FoldOutcome, LeaseName, PhaseOutcome, SetPhase, SetRunFields, StateError, StateResult,
};

impl Tables {
    pub(super) fn commit_fold(&mut self, request: CommitFold, _now: Millis) -> FoldOutcome {
        let Some(run) = self.runs.get_mut(&request.run) else { return FoldOutcome::NoRun };
        if run.position != request.from || request.to > run.sequence {
            return FoldOutcome::Moved { position: run.position };
        }
        run.record = request.record;
        run.position = request.to;
        while run.pending.front().is_some_and(|entry| entry.seq <= request.to) {
            run.pending.pop_front();
        }
        run.touch(request.write_id);
        FoldOutcome::Committed
    }

    pub(super) fn set_phase(&mut self, request: SetPhase, _now: Millis) -> PhaseOutcome {
        let Some(run) = self.runs.get_mut(&request.run) else { return PhaseOutcome::NoRun };
        let free = run.operation.is_none();
        let ours = run.operation.as_ref().is_some_and(|operation| operation.id == request.operation.id);
        if run.phase != request.from || !(free || ours) {
            return PhaseOutcome::Refused(Box::new(run.view()));
        }
        run.phase = request.to;
        // A finished run keeps its operation until it leaves: its last write may have to be repeated.
        run.operation = (request.to != Phase::Running).then_some(request.operation);
        if request.to == Phase::Finished {
            run.nps = 0.0;
            run.games_per_minute = 0.0;
        }
        run.touch(request.write_id);
        PhaseOutcome::Changed(Box::new(run.view()))
    }

    pub(super) fn set_run_fields(&mut self, request: SetRunFields, now: Millis) -> StateResult<bool> {
        if request.leader.is_some_and(|token| !self.holds(LeaseName::Leader, token, now)) {
            return Err(StateError::StaleToken);
        }
        let Some(run) = self.runs.get_mut(&request.run) else { return Ok(false) };
        if let Some(args) = request.args
            && args.version > run.args.version
        {
            run.args = args;
        }
        if let Some(itp) = request.itp {
            run.itp = itp;
        }
        if let Some((nps, games_per_minute)) = request.speed {
            set_speed(run, nps, games_per_minute);
        }
        Ok(true)
    }
}

/// Gauges are written only while the run is unfinished (`spec/scheduling.md` section 4.4).
fn set_speed(run: &mut RunState, nps: f64, games_per_minute: f64) {
    if run.phase == Phase::Running {
        run.nps = nps;
        run.games_per_minute = games_per_minute;
    }
}

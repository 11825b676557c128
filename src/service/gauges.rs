//! What only one process tells of the farm as a whole: the leader, every few seconds. The others show zeros.

use super::Farm;
use super::election::Leadership;
use super::error::ServiceResult;
use super::run_cache::CachedRun;
use crate::domain::capacity::{SprtProgress, core_hours, remaining_games, remaining_sprt_games};
use crate::domain::fold::Record;
use crate::domain::run::Phase;
use crate::state::RunView;
use crate::telemetry::catalogue::{
    COMMIT_QUEUE, COMMIT_QUEUE_LIMIT, DIRTY_AGE, DIRTY_TASKS, FARM_ACTIVE_RUNS, FARM_CORES, FARM_GAMES,
    FARM_NPS, FARM_PENDING, FARM_RUNS, FARM_WORKERS, GENERATION,
};
use crate::telemetry::metric::Gauge;

/// All of them.
static OF_THE_FARM: [&Gauge<0>; 9] = [
    &FARM_WORKERS,
    &FARM_CORES,
    &FARM_NPS,
    &FARM_GAMES,
    &FARM_RUNS,
    &FARM_ACTIVE_RUNS,
    &FARM_PENDING,
    &DIRTY_TASKS,
    &DIRTY_AGE,
];

/// This process doesn't lead, so it has nothing to tell of the farm.
pub(super) fn forget_gauges() {
    for gauge in OF_THE_FARM {
        gauge.set([], 0.0);
    }
}

/// Sums over runs.
#[derive(Debug, Default)]
struct Totals {
    workers: u64,
    cores: u64,
    nodes_per_second: f64,
    games_per_minute: f64,
    runs: u64,
    active: u64,
    core_hours: f64,
}

impl Totals {
    fn add(&mut self, view: &RunView, run: &CachedRun) {
        self.runs += 1;
        self.active += u64::from(view.counters.workers > 0);
        self.workers += u64::from(view.counters.workers);
        self.cores += view.counters.cores;
        self.nodes_per_second += view.nps;
        self.games_per_minute += view.games_per_minute;
        if run.approved {
            self.core_hours += remaining_core_hours(view, run);
        }
    }

    /// Seconds that the cores which play would take for the rest; 0 while none plays.
    fn pending_seconds(&self) -> f64 {
        if self.cores == 0 { 0.0 } else { self.core_hours * 3600.0 / self.cores as f64 }
    }
}

/// `spec/statistics.md` section 10.7. A record that can't be read is somebody else's trouble: then it is a matter of games.
fn remaining_core_hours(view: &RunView, run: &CachedRun) -> f64 {
    let results = &view.counters.results;
    let games = match Record::parse(&view.record) {
        Ok(Record::Sprt { sprt, .. }) => {
            let mean = |squares: f64, sum: f64| if sum == 0.0 { 0.0 } else { squares / sum / 2.0 };
            let overshoot = sprt.overshoot.as_ref();
            let progress = SprtProgress {
                llr: sprt.llr,
                alpha: sprt.alpha,
                beta: sprt.beta,
                o0: overshoot.map_or(0.0, |o| -mean(o.sq0, o.m0)),
                o1: overshoot.map_or(0.0, |o| mean(o.sq1, o.m1)),
                pairs: results.pairs(),
            };
            remaining_sprt_games(view.num_games, &progress)
        }
        _ => remaining_games(view.num_games, results.games()),
    };
    core_hours(run.game_seconds, games, f64::from(run.facts.threads))
}

impl Farm {
    /// Tells how the farm is: the leader's.
    pub async fn tell_gauges(&self, leadership: &Leadership) -> ServiceResult<()> {
        let mut totals = Totals::default();
        for view in self.state.read_runs().await? {
            if view.phase == Phase::Finished {
                continue;
            }
            if let Some(run) = self.runs.at_least(view.id, view.args_version).await? {
                totals.add(&view, &run);
            }
        }
        let backlog = self.state.backlog().await?;
        let now = self.state.now().await?;
        let age = backlog.oldest.map_or(0.0, |oldest| (now.0 - oldest.0).max(0) as f64 / 1000.0);
        leadership.check()?;
        let values = [
            totals.workers as f64,
            totals.cores as f64,
            totals.nodes_per_second,
            totals.games_per_minute,
            totals.runs as f64,
            totals.active as f64,
            totals.pending_seconds(),
            backlog.tasks as f64,
            age,
        ];
        for (gauge, value) in OF_THE_FARM.iter().zip(values) {
            gauge.set([], value);
        }
        Ok(())
    }

    /// Brings up to date what is worth knowing only when somebody asks.
    pub fn observe(&self) {
        COMMIT_QUEUE.set([], self.committer.queued() as f64);
        COMMIT_QUEUE_LIMIT.set([], super::committer::QUEUE as f64);
        GENERATION.set([], self.generation().0 as f64);
        if self.leadership().is_none() {
            // Also what a job told that was overtaken by the end of the term.
            forget_gauges();
        }
        self.state.observe();
    }
}

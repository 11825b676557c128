//! Looking at the runs while the fleet plays: for the progress display, for the end, and for results that shrink (I5).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use super::ledger::Invariant;
use super::protocol::{EloView, RunView};
use super::worker::Fleet;
use crate::domain::ids::RunId;
use crate::domain::results::Stats;

/// A run as the server shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSnapshot {
    /// Its id.
    pub run: RunId,
    /// Branch of the new engine.
    pub tag: String,
    /// Decided, stopped or deleted.
    pub finished: bool,
    /// Results.
    pub results: Stats,
    /// Size.
    pub num_games: u64,
    /// Sequential test, if it is one.
    pub sprt: Option<SprtSnapshot>,
    /// Elo estimate; only in the final report, of a sequential test.
    pub elo: Option<EloView>,
}

/// State of a sequential test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SprtSnapshot {
    /// Log-likelihood ratio.
    pub llr: f64,
    /// Bound of rejection.
    pub lower_bound: f64,
    /// Bound of acceptance.
    pub upper_bound: f64,
    /// Empty, `accepted` or `rejected`.
    pub state: String,
}

impl RunSnapshot {
    fn new(run: RunId, view: RunView) -> Self {
        let sprt = view.args.sprt.map(|sprt| SprtSnapshot {
            llr: sprt.llr,
            lower_bound: sprt.lower_bound,
            upper_bound: sprt.upper_bound,
            state: sprt.state,
        });
        Self {
            run,
            tag: view.args.new_tag,
            finished: view.finished,
            results: view.results,
            num_games: view.args.num_games,
            sprt,
            elo: None,
        }
    }
}

/// What was last seen of the runs.
#[derive(Debug, Default)]
pub struct Watch {
    runs: Mutex<BTreeMap<RunId, RunSnapshot>>,
    all_finished: Mutex<bool>,
}

impl Watch {
    /// The runs, as last seen.
    pub fn runs(&self) -> Vec<RunSnapshot> {
        self.runs.lock().values().cloned().collect()
    }

    /// Whether this run was seen finished.
    pub fn is_finished(&self, run: &str) -> bool {
        let id = RunId::parse(run);
        self.runs.lock().iter().any(|(known, seen)| Some(*known) == id && seen.finished)
    }

    /// Whether at the last look nothing was left to be played.
    pub fn all_finished(&self) -> bool {
        *self.all_finished.lock()
    }

    /// Looks every so often until the simulation ends.
    pub async fn run(self: Arc<Self>, fleet: Arc<Fleet>) {
        let interval = Duration::from_secs_f64(fleet.options.watch_seconds);
        while fleet.pace.wait(interval).await {
            self.look(&fleet).await;
        }
    }

    async fn look(&self, fleet: &Fleet) {
        let mut ids = fleet.ledger.runs();
        ids.extend(fleet.options.stop.run_finished.as_deref().and_then(RunId::parse));
        ids.sort_unstable();
        ids.dedup();
        let mut finished = true;
        for run in ids {
            finished &= self.look_at(fleet, run).await;
        }
        if fleet.options.stop.all_runs_finished {
            let idle = match fleet.client.active_runs().await {
                Ok(active) => !active.values().any(|run| run.approved && !run.finished),
                Err(_) => false,
            };
            *self.all_finished.lock() = finished && idle;
        }
    }

    /// Reads one run; true if it is finished.
    pub(super) async fn look_at(&self, fleet: &Fleet, run: RunId) -> bool {
        let before = fleet.ledger.flow(run);
        let Ok(view) = fleet.client.get_run(&run.to_string()).await else {
            return false;
        };
        if let Some(shrunk) = fleet.ledger.observed(run, &view.results, before) {
            let purged = fleet.client.has_purged_tasks(&run.to_string()).await;
            // Only a clear "nothing was purged" condemns.
            if purged == Ok(false) {
                fleet.ledger.breach(Invariant::I5, format!("{shrunk}, and nothing was purged"));
            }
        }
        let finished = view.finished;
        self.runs.lock().insert(run, RunSnapshot::new(run, view));
        finished
    }

    /// Reads all played runs once more, with their Elo estimates.
    pub(super) async fn last_look(&self, fleet: &Fleet) -> Vec<RunSnapshot> {
        for run in fleet.ledger.runs() {
            self.look_at(fleet, run).await;
        }
        let mut runs = self.runs();
        for run in runs.iter_mut().filter(|run| run.sprt.is_some()) {
            run.elo = fleet.client.get_elo(&run.run.to_string()).await.ok().flatten();
        }
        runs
    }
}

//! The simulation as a whole: starts the fleet, watches it, ends it, compares the books, reports.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::audit::audit;
use super::client::Client;
use super::ledger::Ledger;
use super::machine::Machine;
use super::options::{OptionsError, SimulateOptions};
use super::pace::Pace;
use super::report::{EndedBy, Observer, Report, Setting, Silent, Snapshots};
use super::tally::Tally;
use super::watch::Watch;
use super::worker::{Fleet, Worker};
use crate::sys::random::seeded;
use crate::sys::spawn;

/// How often the end is checked.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between two snapshots.
const SNAPSHOT_TICKS: u64 = 10;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The options can't be obeyed.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The report file can't be written.
    #[error("the report can't be written to {path}: {reason}")]
    Report {
        /// The file.
        path: String,
        /// Why.
        reason: std::io::Error,
    },
}

/// Runs a simulation to its end, silently.
///
/// # Errors
/// When the options can't be obeyed or the report can't be written. Broken invariants are no error of this kind: see
/// [`Report::broken`].
pub async fn run(options: SimulateOptions) -> Result<Report, SimulateError> {
    run_observed(options, std::future::pending(), &mut Silent).await
}

/// Runs a simulation until a stop condition holds or `interrupt` completes; `observer` gets a snapshot per second.
///
/// # Errors
/// As for [`run`].
pub async fn run_observed(
    options: SimulateOptions,
    interrupt: impl Future<Output = ()>,
    observer: &mut dyn Observer,
) -> Result<Report, SimulateError> {
    let model = options.check()?;
    let tally = Arc::new(Tally::default());
    let (end, stop) = watch::channel(false);
    let fleet = Arc::new(Fleet {
        client: Client::new(&options, Arc::clone(&tally))?,
        ledger: Ledger::default(),
        tally,
        model,
        pace: Pace::new(options.speed_up, stop),
        options,
    });
    let workers = recruit(&fleet)?;
    let mut handles = Vec::with_capacity(workers.len());
    let ramp = fleet.options.ramp_seconds / workers.len().max(1) as f64;
    for (place, worker) in workers.into_iter().enumerate() {
        let start_after = Duration::from_secs_f64(ramp * place as f64);
        handles.push(spawn::task("simulated worker", worker.run(start_after)));
    }
    let eyes = Arc::new(Watch::default());
    let watcher = spawn::task("simulation watch", Arc::clone(&eyes).run(Arc::clone(&fleet)));

    let ended_by = tokio::select! {
        () = interrupt => EndedBy::Interrupt,
        ended_by = attend(&fleet, &eyes, observer) => ended_by,
    };
    let seconds = fleet.pace.elapsed();
    let workers_at_end = fleet.tally.workers();
    // Nobody listening means that all are gone already.
    let _ = end.send(true);
    for handle in handles {
        // A worker that panicked has shown so on standard error; the others' numbers still count.
        let _ = handle.await;
    }
    let _ = watcher.await;
    let audits = audit(&fleet.client, &fleet.ledger, fleet.options.audit, fleet.options.settle_seconds).await;
    let runs = eyes.last_look(&fleet).await;
    let report = assemble(&fleet, ended_by, seconds, workers_at_end, audits, runs);
    if let Some(path) = &fleet.options.report_file {
        report
            .save(path)
            .map_err(|reason| SimulateError::Report { path: path.display().to_string(), reason })?;
    }
    Ok(report)
}

/// Draws machines and deals out accounts.
fn recruit(fleet: &Arc<Fleet>) -> Result<Vec<Worker>, OptionsError> {
    let options = &fleet.options;
    let mut workers = Vec::with_capacity(options.workers);
    for (place, account) in options.accounts.iter().cycle().take(options.workers).enumerate() {
        let mut rng = seeded(options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(place as u64));
        let machine = Machine::draw(&options.machines, &account.username, place, &mut rng)?;
        workers.push(Worker::new(Arc::clone(fleet), machine, account.password.clone(), rng));
    }
    Ok(workers)
}

/// Shows snapshots until a stop condition holds.
async fn attend(fleet: &Fleet, eyes: &Watch, observer: &mut dyn Observer) -> EndedBy {
    let mut snapshots = Snapshots::default();
    let mut ticks = 0;
    loop {
        tokio::time::sleep(TICK).await;
        ticks += 1;
        let ended_by = ended(fleet, eyes);
        if ticks % SNAPSHOT_TICKS == 0 || ended_by.is_some() {
            let broken = fleet.ledger.breach_count();
            observer.observe(&snapshots.take(fleet.pace.elapsed(), &fleet.tally, eyes.runs(), broken));
        }
        if let Some(ended_by) = ended_by {
            return ended_by;
        }
    }
}

fn ended(fleet: &Fleet, eyes: &Watch) -> Option<EndedBy> {
    let stop = &fleet.options.stop;
    if stop.max_seconds.is_some_and(|limit| fleet.pace.elapsed() >= limit) {
        return Some(EndedBy::MaxSeconds);
    }
    if stop.max_games.is_some_and(|limit| fleet.tally.total_games() >= limit) {
        return Some(EndedBy::MaxGames);
    }
    if stop.run_finished.as_deref().is_some_and(|run| eyes.is_finished(run)) {
        return Some(EndedBy::RunFinished);
    }
    if stop.all_runs_finished && eyes.all_finished() {
        return Some(EndedBy::AllRunsFinished);
    }
    let gone = fleet.tally.workers().gone;
    (gone >= fleet.options.workers as u64).then_some(EndedBy::NoWorkerLeft)
}

fn assemble(
    fleet: &Fleet,
    ended_by: EndedBy,
    seconds: f64,
    workers: super::tally::WorkerCounts,
    audits: Vec<super::audit::RunAudit>,
    runs: Vec<super::watch::RunSnapshot>,
) -> Report {
    let (broken_details, broken_counts) = fleet.ledger.breaches();
    let (games, requests) = (fleet.tally.total_games(), fleet.tally.total_requests());
    let per_second = |count: u64| count as f64 / seconds.max(1e-3);
    Report {
        setting: Setting::of(&fleet.options),
        ended_by,
        seconds,
        games,
        games_per_second: per_second(games),
        requests,
        requests_per_second: per_second(requests),
        events: fleet.tally.events(),
        workers,
        latency: fleet.tally.latencies(),
        errors: fleet.tally.errors(),
        runs,
        audits,
        broken_counts,
        broken_details,
    }
}

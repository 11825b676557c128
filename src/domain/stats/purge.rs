//! Which tasks of a finished run are thrown out (`spec/statistics.md` section 9.2).

use std::collections::BTreeSet;

use super::chi2::{Chi2, PurgeRule, ResidualColor, ShownResidual, WorkerTask, bad_workers};
use super::counts::Counts;
use super::flags::crash_or_time;
use crate::domain::ids::{Millis, TaskId};
use crate::domain::results::Stats;

/// A run older than this many milliseconds is not purged: 31 days.
const MAX_AGE_MS: i64 = 31 * 24 * 3600 * 1000;

/// What decides whether a run may be purged at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeSubject {
    /// Is it finished?
    pub finished: bool,
    /// Did it fail?
    pub failed: bool,
    /// When it started, if that is known.
    pub start_time: Option<Millis>,
    /// Now.
    pub now: Millis,
}

/// A task of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PurgeTask<'a> {
    /// Its number.
    pub id: TaskId,
    /// `worker_info.unique_key`, if there is worker information.
    pub unique_key: Option<&'a str>,
    /// Its results.
    pub stats: Stats,
    /// Was it thrown out already?
    pub bad: bool,
}

/// Why nothing is purged; the text is the answer to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PurgeRefusal {
    /// The run still plays.
    #[error("Can only purge completed run")]
    NotFinished,
    /// It started at least 31 days ago, or nobody knows when.
    #[error("Run too old to be purged")]
    TooOld,
    /// It failed.
    #[error("You cannot purge a failed run")]
    Failed,
    /// All workers are alike.
    #[error("No bad workers")]
    NoBadWorkers,
}

/// A task to throw out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Victim {
    /// Its number.
    pub task: TaskId,
    /// To be stored with it. +∞ is possible.
    pub residual: f64,
    /// To be stored with it.
    pub color: ResidualColor,
}

/// What a purge does.
#[derive(Debug, Clone, PartialEq)]
pub struct PurgePlan {
    /// Crashing tasks first, then those of bad workers, each in order of the tasks.
    pub victims: Vec<Victim>,
    /// Totals of the run without them. Sequential tests are then updated with these.
    pub results: Stats,
}

/// Plans the purge of a run.
///
/// # Errors
/// [`PurgeRefusal`] when nothing is to be done.
pub fn plan_purge(
    run: &PurgeSubject,
    tasks: &[PurgeTask<'_>],
    rule: &PurgeRule,
) -> Result<PurgePlan, PurgeRefusal> {
    if !run.finished {
        return Err(PurgeRefusal::NotFinished);
    }
    if run.start_time.is_none_or(|start| run.now.0.saturating_sub(start.0) >= MAX_AGE_MS) {
        return Err(PurgeRefusal::TooOld);
    }
    if run.failed {
        return Err(PurgeRefusal::Failed);
    }
    let mut victims = Vec::new();
    let mut bad: Vec<bool> = tasks.iter().map(|task| task.bad).collect();
    for (task, bad) in tasks.iter().zip(&mut bad) {
        if !*bad && crash_or_time(&task.stats) {
            *bad = true;
            let residual = ShownResidual::CRASH_OR_TIME;
            victims.push(Victim { task: task.id, residual, color: ResidualColor::Red });
        }
    }
    // Crashing tasks use up one iteration.
    let iters = if victims.is_empty() { rule.iters } else { rule.iters.saturating_sub(1) };
    let judged: Vec<WorkerTask<'_>> = tasks
        .iter()
        .zip(&bad)
        .map(|(task, bad)| WorkerTask {
            unique_key: task.unique_key,
            counts: Counts::from(&task.stats),
            bad: *bad,
        })
        .collect();
    let chi2 = Chi2::new(&judged, &BTreeSet::new());
    let workers = bad_workers(&judged, &chi2, &PurgeRule { iters, ..*rule });
    for (task, bad) in tasks.iter().zip(&mut bad) {
        let Some(key) = task.unique_key.filter(|key| workers.iter().any(|worker| worker == key)) else {
            continue;
        };
        if *bad {
            continue;
        }
        *bad = true;
        let residual = chi2.residual(key).unwrap_or(f64::INFINITY);
        victims.push(Victim { task: task.id, residual, color: chi2.color(residual) });
    }
    if victims.is_empty() {
        return Err(PurgeRefusal::NoBadWorkers);
    }
    let kept = tasks.iter().zip(&bad).filter(|(_, bad)| !**bad).map(|(task, _)| &task.stats);
    Ok(PurgePlan { victims, results: sum(kept) })
}

fn sum<'a>(all: impl Iterator<Item = &'a Stats>) -> Stats {
    let mut total = Stats::default();
    for stats in all {
        total.wins = total.wins.saturating_add(stats.wins);
        total.losses = total.losses.saturating_add(stats.losses);
        total.draws = total.draws.saturating_add(stats.draws);
        total.crashes = total.crashes.saturating_add(stats.crashes);
        total.time_losses = total.time_losses.saturating_add(stats.time_losses);
        for (sum, pairs) in total.pentanomial.iter_mut().zip(stats.pentanomial) {
            *sum = sum.saturating_add(pairs);
        }
    }
    total
}

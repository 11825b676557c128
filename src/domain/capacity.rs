//! How much work fits a worker and how much is left of a run (`spec/scheduling.md` sections 3.4 to 3.6, 4.3 to 4.5,
//! `spec/statistics.md` sections 10.4 to 10.9 and 11.3).

use super::results::Stats;

/// Seconds that a task should keep a worker busy.
const TASK_SECONDS: f64 = 1800.0;

/// Nodes per second of the machine for which time controls are meant.
const REFERENCE_NPS: f64 = 628_000.0;

/// Games that a sequential test is assumed to take before it has shown anything.
const AVERAGE_TEST_GAMES: f64 = 95_000.0;

/// Game pairs after which a test's own course is all that counts: the positions of the standard book.
const BOOK_POSITIONS: f64 = 2_632_036.0;

/// No task is larger than this, however short its games; far above anything real, and even.
const LARGEST_CAP: u64 = 1 << 40;

/// A batch counts for no more pairs than this when tasks are sized.
pub const MOST_BATCH_PAIRS: u64 = LARGEST_CAP / 4;

/// Games that a worker should get at once: about half an hour's work, in whole batches for a sequential test and in
/// whole pairs otherwise; never less than one of those.
///
/// `duration` is the estimated seconds of a game, `sprt_batch_size` the pairs of a batch.
pub fn worker_cap(duration: f64, concurrency: u32, threads: u32, sprt_batch_size: Option<u64>) -> u64 {
    let games = TASK_SECONDS / duration * f64::from(concurrency / threads.max(1));
    let unit = unit_of_games(sprt_batch_size);
    // The cast saturates and turns "not a number" into zero.
    let units = (games / unit as f64 + 0.5) as u64;
    unit.saturating_mul(units).min(LARGEST_CAP - LARGEST_CAP % unit).max(unit)
}

/// Games of the next task, `None` when the run needs no more. A sequential test commits whole batches, so that it
/// may exceed `num_games` by less than one.
pub fn task_size(
    cap: u64,
    num_games: u64,
    committed_games: u64,
    sprt_batch_size: Option<u64>,
) -> Option<u64> {
    let mut remaining = num_games.checked_sub(committed_games).filter(|remaining| *remaining > 0)?;
    if sprt_batch_size.is_some() {
        let unit = unit_of_games(sprt_batch_size);
        remaining = remaining.div_ceil(unit).saturating_mul(unit);
    }
    Some(cap.min(remaining))
}

/// Games that may not be divided: a batch of pairs, or one pair.
fn unit_of_games(sprt_batch_size: Option<u64>) -> u64 {
    sprt_batch_size.unwrap_or(1).clamp(1, MOST_BATCH_PAIRS) * 2
}

/// What the internal throughput of a run is computed from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throughput {
    /// Percentage that the submitter asked for.
    pub throughput: f64,
    /// Ratio of the run's time control ([`super::time_control::tc_ratio`]).
    pub tc_ratio: f64,
    /// Games played.
    pub games: u64,
    /// Unfinished runs of the same submitter that have workers, this one included if it has.
    pub active_runs_of_user: u64,
    /// Log-likelihood ratio and lower bound of a sequential test; a missing number counts as 0.
    pub sprt: Option<(f64, f64)>,
}

/// The internal throughput: the weight with which runs of one priority share the farm. Always positive.
pub fn calc_itp(run: &Throughput) -> f64 {
    let asked = if run.throughput.is_nan() { 1.0 } else { run.throughput };
    let mut itp = asked.clamp(1.0, 500.0);
    if run.tc_ratio > 1.0 {
        itp *= libm::pow(run.tc_ratio, 0.774);
    }
    let active = run.active_runs_of_user as f64;
    itp *= 36.0 / (36.0 + active * active);
    let mut bonus = (run.games as f64 / 200_000.0).min(1.0);
    if let Some((llr, elo0)) = run.sprt
        && llr > 2.0
    {
        bonus += 0.1;
        if elo0 > 0.0 {
            bonus += 0.1;
        }
    }
    itp * (1.0 + bonus)
}

/// What the remaining work of a sequential test is estimated from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SprtProgress {
    /// Current log-likelihood ratio.
    pub llr: f64,
    /// Probability of a false positive.
    pub alpha: f64,
    /// Probability of a false negative.
    pub beta: f64,
    /// Expected overshoot over the lower bound, 0 when unknown.
    pub o0: f64,
    /// Expected overshoot over the upper bound, 0 when unknown.
    pub o1: f64,
    /// Game pairs played.
    pub pairs: u64,
}

/// Games that a fixed-length or SPSA run still needs.
pub fn remaining_games(num_games: u64, played: u64) -> u64 {
    num_games.saturating_sub(played)
}

/// Games that a sequential test is expected to need still: an average test at first, later more and more what its
/// own course suggests.
pub fn remaining_sprt_games(num_games: u64, sprt: &SprtProgress) -> u64 {
    let played = sprt.pairs as f64 * 2.0;
    let bound = if sprt.llr > 0.0 {
        libm::log((1.0 - sprt.beta) / sprt.alpha) - sprt.o1
    } else {
        libm::log(sprt.beta / (1.0 - sprt.alpha)) + sprt.o0
    };
    let travelled = sprt.llr.abs().max(0.1);
    let bound = bound.abs();
    if travelled >= bound {
        return 0;
    }
    // Distribution function of Beta(1, 15).
    let weight = 1.0 - (1.0 - (sprt.pairs as f64 / BOOK_POSITIONS).min(1.0)).powi(15);
    let extrapolated = (played * bound / travelled).trunc();
    // The cast saturates and turns "not a number" into zero.
    let expected = (extrapolated * weight + AVERAGE_TEST_GAMES * (1.0 - weight)) as u64;
    expected.min(num_games).saturating_sub(sprt.pairs.saturating_mul(2))
}

/// Core hours that `games` games take. `duration` is the estimated seconds of one.
pub fn core_hours(duration: f64, games: u64, threads: f64) -> f64 {
    duration * games as f64 * threads / 3600.0
}

/// A worker's part in the nodes per second of a run.
pub fn nps_summand(nps: f64, concurrency: u32) -> f64 {
    f64::from(concurrency) * nps
}

/// A worker's part in the games per minute of a run. A worker that hasn't measured its speed yet adds nothing.
pub fn games_per_minute_summand(nps: f64, duration: f64, concurrency: u32, threads: u32) -> f64 {
    if nps == 0.0 {
        return 0.0;
    }
    nps / REFERENCE_NPS * (60.0 / duration) * f64::from(concurrency / threads.max(1))
}

/// The hash size in MiB that an option text asks for: the number after the first `Hash=` that digits follow, 0 if
/// there is none. `FooHash=12 Hash=64` means 12; workers read it the same way.
pub fn hash_of_options(options: &str) -> u64 {
    const KEY: &str = "Hash=";
    let mut rest = options;
    while let Some(found) = rest.find(KEY) {
        rest = rest.get(found + KEY.len()..).unwrap_or_default();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            return rest.get(..digits).and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX);
        }
    }
    0
}

/// Whether a hash size suits a time control. Short tests may use any; a ratio that can't be computed suits none.
pub fn hash_is_reasonable(tc_ratio: Option<f64>, hash: u64) -> bool {
    let Some(ratio) = tc_ratio.filter(|ratio| !ratio.is_nan()) else {
        return false;
    };
    if ratio < 5.0 {
        return true;
    }
    let relative = hash as f64 / (64.0 * ratio / 6.0);
    (0.6..=1.5).contains(&relative)
}

/// MiB that a worker with `concurrency` cores needs for a run: the harness, two networks per engine, and per game
/// two engines with their stacks and hash tables. Saturates.
pub fn memory_need(concurrency: u32, threads: u32, new_hash: u64, base_hash: u64) -> u64 {
    let threads = u64::from(threads.max(1));
    let games = u64::from(concurrency) / threads;
    let engines = (2 * games).saturating_mul(12 + 139 + 31 * threads);
    let hashes = games.saturating_mul(new_hash.saturating_add(base_hash));
    (220 + 2 * 80 + 64_u64).saturating_add(engines).saturating_add(hashes)
}

/// What the totals of a run need to know of a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskTotals {
    /// Whether the worker still holds it.
    pub active: bool,
    /// Its size in games.
    pub num_games: u64,
    /// What was reported.
    pub stats: Stats,
    /// The worker's cores.
    pub concurrency: u32,
    /// The worker's nodes per second on one core, 0 when not measured.
    pub nps: f64,
}

/// Totals of a run, derived from its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Aggregates {
    /// Sum of all results.
    pub results: Stats,
    /// Cores of active tasks.
    pub cores: u64,
    /// Number of active tasks.
    pub workers: u64,
    /// Games promised by active tasks plus games played by the others.
    pub committed_games: u64,
    /// Games of all tasks ever created: the opening offset of the next one.
    pub total_games: u64,
    /// Nodes per second of active tasks.
    pub nps: f64,
    /// Estimated games per minute of active tasks.
    pub games_per_minute: f64,
}

/// Sums up the tasks of a run; `duration` is the estimated seconds of a game. `None` when a count overflows, which
/// no genuine run can reach.
pub fn aggregate(
    tasks: impl IntoIterator<Item = TaskTotals>,
    duration: f64,
    threads: u32,
) -> Option<Aggregates> {
    let mut totals = Aggregates::default();
    for task in tasks {
        totals.results = totals.results.plus(&task.stats)?;
        totals.total_games = totals.total_games.checked_add(task.num_games)?;
        if !task.active {
            totals.committed_games = totals.committed_games.checked_add(task.stats.games())?;
            continue;
        }
        totals.committed_games = totals.committed_games.checked_add(task.num_games)?;
        totals.workers += 1;
        totals.cores = totals.cores.checked_add(u64::from(task.concurrency))?;
        totals.nps += nps_summand(task.nps, task.concurrency);
        totals.games_per_minute += games_per_minute_summand(task.nps, duration, task.concurrency, threads);
    }
    Some(totals)
}

#[cfg(test)]
mod tests;

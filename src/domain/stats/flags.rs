//! Verdicts on runs and tasks (`spec/statistics.md` sections 9.1 and 11, `spec/scheduling.md` section 5).

use super::counts::Counts;
use super::elo::FixedEstimate;
use super::sprt::SprtState;
use super::text::fixed;
use crate::domain::results::Stats;

/// More crashes than this are too many for a task.
const MAX_CRASHES: u64 = 3;

/// Time losses are judged after more games than this.
const MIN_GAMES_FOR_TIME: u64 = 20;

/// A larger share of games lost on time is too much.
const MAX_TIME_LOSS_SHARE: f64 = 0.1;

/// What kind of test a run is, as far as verdicts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestKind {
    /// Sequential, with its verdict so far.
    Sprt(SprtState),
    /// Parameter tuning: never has a verdict.
    Spsa,
    /// A number of games set in advance.
    FixedGames,
}

/// Colours of a finished run in the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Passed.
    pub is_green: bool,
    /// Failed with more wins than losses.
    pub is_yellow: bool,
}

/// What the results of a run say, whether or not it is finished.
pub fn verdict(kind: TestKind, counts: &Counts) -> SprtState {
    match kind {
        TestKind::Sprt(state) => state,
        TestKind::Spsa => SprtState::Undecided,
        TestKind::FixedGames => match FixedEstimate::new(counts.samples()) {
            Ok(estimate) if estimate.los < 0.05 => SprtState::Rejected,
            Ok(estimate) if estimate.los > 0.95 => SprtState::Accepted,
            _ => SprtState::Undecided,
        },
    }
}

/// The flags of a run (section 11.1).
pub fn compute_flags(finished: bool, kind: TestKind, counts: &Counts) -> Flags {
    if !finished {
        return Flags::default();
    }
    let verdict = verdict(kind, counts);
    Flags {
        is_green: verdict == SprtState::Accepted,
        is_yellow: verdict == SprtState::Rejected && counts.wins() > counts.losses(),
    }
}

/// Must the run go on? A run is stopped as soon as this is false (section 11.2).
pub fn is_undecided(kind: TestKind, games: u64, num_games: u64) -> bool {
    games < num_games && !matches!(kind, TestKind::Sprt(SprtState::Accepted | SprtState::Rejected))
}

/// Did a task crash or lose on time too often to be trusted? (section 9.1)
pub fn crash_or_time(stats: &Stats) -> bool {
    let games = stats.games();
    stats.crashes > MAX_CRASHES
        || (games > MIN_GAMES_FOR_TIME && stats.time_losses as f64 / games as f64 > MAX_TIME_LOSS_SHARE)
}

/// The message to log when a task ends that crashed or lost on time too often; `None` when there is nothing to log.
pub fn crash_or_time_message(stats: &Stats) -> Option<String> {
    let games = stats.games();
    if games == 0 || !crash_or_time(stats) {
        return None;
    }
    let share = |count: u64| fixed(100.0 * (count as f64 / games as f64), 1);
    let (time_losses, crashes) = (stats.time_losses, stats.crashes);
    Some(format!("Time losses:{time_losses}({}%) Crashes:{crashes}({}%)", share(time_losses), share(crashes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crash_or_time_messages_have_the_form_of_the_log() {
        let stats = Stats { draws: 40, time_losses: 5, ..Stats::default() };
        assert_eq!(crash_or_time_message(&stats).unwrap(), "Time losses:5(12.5%) Crashes:0(0.0%)");
        let stats = Stats { draws: 400, crashes: 4, ..Stats::default() };
        assert_eq!(crash_or_time_message(&stats).unwrap(), "Time losses:0(0.0%) Crashes:4(1.0%)");
        assert_eq!(crash_or_time_message(&Stats { crashes: 4, ..Stats::default() }), None);
        assert_eq!(crash_or_time_message(&Stats { draws: 40, time_losses: 4, ..Stats::default() }), None);
    }
}

//! How long simulated games take and how often a worker reports (`spec/worker-api.md` section 7.5).
//!
//! The client computes this by itself, as a worker does, rather than with the server's code: a mistake there must not
//! be hidden by the same mistake here.

/// Speed of the reference machine, nodes per second: a machine of this speed plays at the nominal time control.
pub const REFERENCE_NPS: f64 = 628_000.0;

/// Expected seconds of one game at time control `tc` (`[moves/]time[+increment]`) on the reference machine;
/// `None` when `tc` is unreadable or has no length (`spec/scheduling.md` section 4.1).
pub fn game_seconds(tc: &str) -> Option<f64> {
    let (time, increment) = match tc.split_once('+') {
        Some((time, increment)) => (time, increment.parse::<f64>().ok()?),
        None => (tc, 0.0),
    };
    let (moves, time) = match time.split_once('/') {
        Some((moves, time)) => (Some(moves.parse::<f64>().ok()?), time),
        None => (None, time),
    };
    let seconds = match time.split_once(':') {
        Some((minutes, seconds)) => minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?,
        None => time.parse::<f64>().ok()?,
    };
    let periods = match moves {
        Some(moves) if moves > 0.0 => 68.0 / moves,
        _ => 1.0,
    };
    let duration = 1.84 * (seconds * periods + 68.0 * increment);
    (duration.is_finite() && duration > 0.0).then_some(duration)
}

/// Games that a worker plays between two reports. Always even and positive.
///
/// `sprt_batch` is the run's batch size in pairs for an SPRT; `at_once` the games played in parallel; `game` the
/// seconds of one game.
pub fn games_per_report(sprt_batch: Option<u64>, at_once: u64, game: f64) -> u64 {
    if let Some(batch) = sprt_batch {
        return batch.max(1).saturating_mul(2);
    }
    let long = game_seconds("60+0.6").unwrap_or(185.472);
    let factor = (long / game).round().clamp(1.0, 1000.0) as u64;
    at_once.max(1).saturating_mul(4).saturating_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_the_table() {
        for (tc, expected) in [
            ("10+0.1", 30.912),
            ("60+0.6", 185.472),
            ("40/10", 31.28),
            ("40/60+0.5", 250.24),
            ("0.5", 0.92),
            ("1:30+1", 290.72),
        ] {
            let seconds = game_seconds(tc).unwrap();
            assert!((seconds - expected).abs() < 1e-9, "{tc}: {seconds}");
        }
        assert_eq!(game_seconds("0+0"), None);
        assert_eq!(game_seconds("ten"), None);
    }

    #[test]
    fn an_sprt_reports_per_batch_and_others_per_stretch_of_equal_time() {
        assert_eq!(games_per_report(Some(16), 7, 30.912), 32);
        assert_eq!(games_per_report(None, 7, 185.472), 28);
        assert_eq!(games_per_report(None, 7, 30.912), 168);
    }
}

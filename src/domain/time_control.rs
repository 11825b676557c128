//! Time controls and what follows from them (`spec/scheduling.md` sections 4.1 and 4.2, `spec/statistics.md`
//! sections 10.1 to 10.3).

use super::number::{is_digits, is_positive_integer, parse_finite};

/// Moves that a game is assumed to last, per player.
const MOVES_PER_GAME: f64 = 68.0;

/// Both players' clocks, less what games that end early leave unused: 2 * 0.92.
const CLOCKS_USED: f64 = 1.84;

/// Estimated seconds of a game at `10+0.1`, to which every ratio refers.
const REFERENCE_SECONDS: f64 = (10.0 + 0.1 * MOVES_PER_GAME) * CLOCKS_USED;

/// Why a time control is refused. The text names the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeControlError {
    /// It does not follow the grammar.
    #[error("{0:?} is not a time control such as 10+0.1 or 40/60+0.5")]
    Malformed(String),
    /// It gives the players no time at all, or an absurd amount of it.
    #[error("the time control {0:?} does not give a game a usable length")]
    UnusableLength(String),
}

/// Estimated seconds of a game, always positive and finite.
///
/// Understands `[moves/]time[+increment]` with the time in seconds or as `minutes:seconds`; this is wider than what
/// a new run may have (see [`check_form`]), since stored runs are read with it too.
pub fn estimate_game_duration(tc: &str) -> Result<f64, TimeControlError> {
    let malformed = || TimeControlError::Malformed(tc.to_owned());
    let pieces: Vec<&str> = tc.split('+').collect();
    let increment = match pieces.as_slice() {
        [_, increment] => parse_finite(increment).ok_or_else(malformed)?,
        _ => 0.0,
    };

    let pieces: Vec<&str> = pieces.first().copied().unwrap_or_default().split('/').collect();
    let moves = match pieces.as_slice() {
        [moves, _] => moves.trim().parse::<i64>().map_err(|_| malformed())?,
        _ => 0,
    };

    let clock = pieces.last().copied().unwrap_or_default();
    let mut seconds = match clock.split_once(':') {
        Some((minutes, seconds)) => {
            let minutes = parse_finite(minutes).ok_or_else(malformed)?;
            minutes * 60.0 + parse_finite(seconds).ok_or_else(malformed)?
        }
        None => parse_finite(clock).ok_or_else(malformed)?,
    };
    if moves > 0 {
        seconds *= MOVES_PER_GAME / moves as f64;
    }

    let duration = (seconds + increment * MOVES_PER_GAME) * CLOCKS_USED;
    if duration.is_finite() && duration > 0.0 {
        Ok(duration)
    } else {
        Err(TimeControlError::UnusableLength(tc.to_owned()))
    }
}

/// Checks that a new run may have this time control: `([1-9]\d*/)?\d+(\.\d+)?(\+\d+(\.\d+)?)?`, and a positive
/// length. Returns the estimated seconds of a game.
pub fn check_form(tc: &str) -> Result<f64, TimeControlError> {
    let (moves, rest) = match tc.split_once('/') {
        Some((moves, rest)) => (Some(moves), rest),
        None => (None, tc),
    };
    let (time, increment) = match rest.split_once('+') {
        Some((time, increment)) => (time, Some(increment)),
        None => (rest, None),
    };
    let well_formed =
        moves.is_none_or(is_positive_integer) && is_decimal(time) && increment.is_none_or(is_decimal);
    if !well_formed {
        return Err(TimeControlError::Malformed(tc.to_owned()));
    }
    estimate_game_duration(tc)
}

/// Whether `text` is `\d+(\.\d+)?`.
fn is_decimal(text: &str) -> bool {
    match text.split_once('.') {
        Some((whole, fraction)) => is_digits(whole) && is_digits(fraction),
        None => is_digits(text),
    }
}

/// The number at the very start of the time control, kept with the run for the index of long tests. For `40/60+0.5`
/// it is 40, the number of moves; stored runs depend on that.
pub fn tc_base(tc: &str) -> Result<f64, TimeControlError> {
    let malformed = || TimeControlError::Malformed(tc.to_owned());
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(tc);
    let mut end = whole;
    if let Some(fraction) = tc.get(whole..).and_then(|rest| rest.strip_prefix('.')) {
        let length = digits(fraction);
        if length > 0 {
            end += 1 + length;
        }
    }
    if whole == 0 {
        return Err(malformed());
    }
    tc.get(..end).and_then(parse_finite).ok_or_else(malformed)
}

/// How much longer a game takes than at `10+0.1` on one thread, weighted by threads. Threads that are missing, not
/// finite or not positive count as one. The base side's time control is meant, also with time odds.
pub fn tc_ratio(tc: &str, threads: Option<f64>) -> Result<f64, TimeControlError> {
    let threads = threads.filter(|threads| threads.is_finite() && *threads > 0.0).unwrap_or(1.0);
    Ok(threads * estimate_game_duration(tc)? / REFERENCE_SECONDS)
}

/// Game pairs between two looks at a sequential test, fixed when the run is created.
pub fn sprt_batch_size(ratio: f64) -> u64 {
    // The cast saturates, and turns a ratio that is not a number into the smallest batch.
    ((0.5 + 16.0 / ratio) as u64).max(1)
}

/// Whether a test with this ratio counts as long: the `LTC: ` prefix of the description, filters and highlights.
pub fn is_ltc(ratio: f64) -> bool {
    ratio > 4.0
}

/// Whether a run with this `tc_base` is in the index of long finished tests. Not the same notion as [`is_ltc`].
pub fn is_ltc_by_base(tc_base: f64) -> bool {
    tc_base >= 40.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(actual: f64, expected: f64) -> bool {
        (actual - expected).abs() <= 1e-9 + 1e-9 * expected.abs()
    }

    #[test]
    fn durations_of_the_specification() {
        let cases = [
            ("10+0.1", 30.912),
            ("60+0.6", 185.472),
            ("5+0.05", 15.456),
            ("8+0.08", 24.7296),
            ("10+0.01", 19.6512),
            ("20+0.2", 61.824),
            ("180+1.8", 556.416),
            ("40/10", 31.28),
            ("40/60+0.5", 250.24),
            ("0.5", 0.92),
            ("1:30+1", 290.72),
            ("0/10", 18.4),
        ];
        for (tc, seconds) in cases {
            let actual = estimate_game_duration(tc).unwrap();
            assert!(close(actual, seconds), "{tc}: {actual} instead of {seconds}");
        }
    }

    #[test]
    fn a_time_control_without_time_is_refused() {
        for tc in ["0", "0.0", "0+0", "40/0", "0:0+0.0"] {
            assert_eq!(estimate_game_duration(tc), Err(TimeControlError::UnusableLength(tc.into())), "{tc}");
        }
        assert!(check_form("0+0.1").is_ok(), "an increment alone is time");
    }

    #[test]
    fn form_accepts_the_grammar_and_nothing_else() {
        for tc in ["10+0.1", "10", "0.5", "40/60", "40/60+0.5", "007+1"] {
            assert!(check_form(tc).is_ok(), "{tc}");
        }
        for tc in [
            "", "abc", "+1", "10+", "10+x", "10+0.1+5", "1:30", "0/10", "04/10", "/10", "40/", "4/5/6", ".5",
            "5.", "10 ", " 10", "-10", "1e3", "10+0.1\n", "١٠",
        ] {
            assert_eq!(check_form(tc), Err(TimeControlError::Malformed(tc.into())), "{tc:?}");
        }
        assert!(check_form("0").is_err());
    }

    #[test]
    fn ratios_and_batches_of_the_specification() {
        let cases = [
            ("10+0.1", 1.0, 1.0, 16),
            ("60+0.6", 1.0, 6.0, 3),
            ("5+0.05", 8.0, 4.0, 4),
            ("5+0.05", 1.0, 0.5, 32),
            ("1+0.01", 1.0, 0.1, 160),
            ("20+0.2", 8.0, 16.0, 1),
            ("180+1.8", 1.0, 18.0, 1),
            ("30+0.3", 4.0, 12.0, 1),
            ("40/10", 1.0, 1.0119047619047619, 16),
            ("60+0.6", 8.0, 48.0, 1),
        ];
        for (tc, threads, ratio, batch) in cases {
            let actual = tc_ratio(tc, Some(threads)).unwrap();
            assert!(close(actual, ratio), "{tc}: {actual} instead of {ratio}");
            assert_eq!(sprt_batch_size(actual), batch, "{tc}, {threads} threads");
        }
        for threads in [None, Some(0.0), Some(-3.0), Some(f64::NAN), Some(f64::INFINITY)] {
            assert!(close(tc_ratio("60+0.6", threads).unwrap(), 6.0), "{threads:?}");
        }
    }

    #[test]
    fn two_notions_of_long() {
        assert!(!is_ltc(4.0) && is_ltc(4.1));
        assert!(!is_ltc_by_base(39.9) && is_ltc_by_base(40.0));
    }

    #[test]
    fn the_base_is_the_leading_number() {
        for (tc, base) in [("10+0.1", 10.0), ("40/60+0.5", 40.0), ("0.5", 0.5), ("60.x", 60.0), ("1:30", 1.0)]
        {
            assert_eq!(tc_base(tc), Ok(base), "{tc}");
        }
        for tc in ["", "x", "+1", ".5"] {
            assert!(tc_base(tc).is_err(), "{tc}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(tc in prop_oneof!["\\PC*", "[0-9:/+.]*"]) {
            let _ = tc_base(&tc);
            if let Ok(seconds) = check_form(&tc) {
                prop_assert!(seconds.is_finite() && seconds > 0.0);
            }
            if let Ok(ratio) = tc_ratio(&tc, Some(1.0)) {
                prop_assert!(sprt_batch_size(ratio) >= 1);
            }
        }
    }
}

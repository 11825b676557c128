//! How long games are kept (`spec/storage.md` section 13). Runs and the event log are kept for ever.

use super::ids::Millis;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// Runs that nothing has happened to for longer are not looked at: what is left of their games stays.
const VISITED_DAYS: i64 = 60;

/// What a run's games are kept by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GamesOf<'a> {
    /// No more games are played.
    pub finished: bool,
    /// Its submitter took it back.
    pub deleted: bool,
    /// `args.tc`.
    pub tc: &'a str,
    /// Last accepted result, or the end.
    pub last_updated: Millis,
}

/// Whether a run's games have outlived their time.
pub fn games_expired(run: &GamesOf<'_>, now: Millis) -> bool {
    let age = now.0.saturating_sub(run.last_updated.0);
    if age > VISITED_DAYS * DAY {
        return false;
    }
    let days = match (run.finished, run.deleted) {
        (true, false) if is_long(run.tc) => 10,
        (true, false) => 1,
        (true, true) => 10,
        (false, false) => 50,
        (false, true) => 0,
    };
    age > days * DAY
}

/// A time control that begins with 20 to 99, or with three digits: at least twenty of whatever unit it is in.
fn is_long(tc: &str) -> bool {
    matches!(tc.as_bytes(), [b'2'..=b'9', b'0'..=b'9', ..] | [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expired(finished: bool, deleted: bool, tc: &str, hours: i64) -> bool {
        let run = GamesOf { finished, deleted, tc, last_updated: Millis(0) };
        games_expired(&run, Millis(hours * 60 * 60 * 1000))
    }

    #[test]
    fn games_live_as_long_as_the_table_says() {
        for (finished, deleted, tc, days) in [
            (true, false, "10+0.1", 1),
            (true, false, "60+0.6", 10),
            (true, false, "120+1", 10),
            (true, false, "5+0.05", 1),
            (true, true, "10+0.1", 10),
            (true, true, "60+0.6", 10),
            (false, false, "10+0.1", 50),
            (false, true, "10+0.1", 0),
        ] {
            assert!(!expired(finished, deleted, tc, days * 24), "{finished} {deleted} {tc}");
            assert!(expired(finished, deleted, tc, days * 24 + 1), "{finished} {deleted} {tc}");
            assert!(expired(finished, deleted, tc, 60 * 24), "{finished} {deleted} {tc}");
            assert!(!expired(finished, deleted, tc, 60 * 24 + 1), "not looked at any more");
        }
    }

    #[test]
    fn long_is_what_begins_with_twenty_or_three_digits() {
        for (tc, long) in [
            ("20+0.2", true),
            ("19+0.2", false),
            ("99/10", true),
            ("100", true),
            ("1000+1", true),
            ("10+0.1", false),
            ("2+0.02", false),
            ("0.20", false),
            ("", false),
            ("1", false),
            ("2", false),
        ] {
            assert_eq!(is_long(tc), long, "{tc}");
        }
    }
}

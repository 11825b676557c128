//! When to try again: after a failure nobody is sent to the server for a while, and then one first.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::Rng;

use crate::sys::{clock, random};
use crate::telemetry::catalogue;

/// Pause after the first failure; it doubles with each further one.
const SHORTEST: Duration = Duration::from_millis(50);

/// The longest pause: a server that came back is found within this.
const LONGEST: Duration = Duration::from_secs(1);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<Trouble>);

#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    until: Option<Instant>,
    last: String,
}

impl Breaker {
    /// Whether somebody may try now.
    ///
    /// # Errors
    /// What the last one met.
    pub(super) fn admits(&self) -> Result<(), String> {
        let trouble = self.0.lock();
        match trouble.until {
            Some(until) if clock::stopwatch() < until => Err(trouble.last.clone()),
            _ => Ok(()),
        }
    }

    /// Whether the last try failed.
    pub(super) fn is_troubled(&self) -> bool {
        self.0.lock().failures > 0
    }

    /// An answer came.
    pub(super) fn well(&self) {
        let mut trouble = self.0.lock();
        if trouble.failures > 0 {
            tracing::info!(failures = trouble.failures, "the schedule's server answers again");
            catalogue::CIRCUIT_OPEN.set(["schedule"], 0.0);
            *trouble = Trouble::default();
        }
    }

    /// A try to connect failed.
    pub(super) fn failed(&self, why: &str) {
        let mut trouble = self.0.lock();
        if trouble.failures == 0 {
            tracing::warn!(error = why, "the schedule's server can't be reached");
            catalogue::CIRCUIT_OPEN.set(["schedule"], 1.0);
        }
        let doubled = SHORTEST.saturating_mul(1 << trouble.failures.min(10)).min(LONGEST);
        // Replicas that lost the server together don't come back together.
        let pause = doubled.mul_f64(random::rng().random_range(0.5..1.0));
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.until = Some(clock::stopwatch() + pause);
        why.clone_into(&mut trouble.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_tries_for_a_while_after_a_failure() {
        let breaker = Breaker::default();
        assert_eq!(breaker.admits(), Ok(()));
        for _ in 0..20 {
            breaker.failed("refused");
        }
        assert_eq!(breaker.admits(), Err("refused".to_owned()));
        assert!(breaker.is_troubled());
        breaker.well();
        assert_eq!(breaker.admits(), Ok(()));
        assert!(!breaker.is_troubled());
    }
}

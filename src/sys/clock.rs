//! Wall clock and monotonic clock, replaceable in tests.

#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::ids::Millis;

/// Where a component reads the time from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Wall-clock time, UTC.
    fn now(&self) -> Millis;
    /// A monotonic reading; only differences mean anything.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug, Clone)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic reading starts at zero now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        wall_now()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A clock that moves only when told to. Clones share the time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<AtomicI64>,
}

impl ManualClock {
    /// Starts at `start`.
    pub fn new(start: Millis) -> Self {
        Self { now: Arc::new(AtomicI64::new(start.0)) }
    }

    /// Moves the time forward (or back, with a negative amount) by `ms` milliseconds.
    pub fn advance(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        Millis(self.now.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now.load(Ordering::SeqCst).max(0) as u64)
    }
}

/// The machine's wall clock, for code that has no [`Clock`] at hand (log lines, command line, client side).
pub fn wall_now() -> Millis {
    let ms = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    };
    Millis(ms)
}

/// A stopwatch started now, for measuring how long something took.
pub fn stopwatch() -> Instant {
    Instant::now()
}

//! Whether the threads that serve requests turn: each has a timer that notes how late it fires.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::sys::clock::stopwatch;
use crate::telemetry::catalogue::{EVENT_LOOP_DELAY, EVENT_LOOP_SILENCE};

/// How often each says that it turns.
const TICK: Duration = Duration::from_millis(100);

/// When each loop turned last.
#[derive(Debug)]
pub struct Pulse {
    origin: Instant,
    /// Of each loop, ms after the origin.
    beats: Mutex<Vec<Arc<AtomicU64>>>,
}

impl Pulse {
    /// No loop yet.
    pub fn new() -> Self {
        Self { origin: stopwatch(), beats: Mutex::default() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Beats on the loop that polls it, until that ends.
    pub async fn beat(self: Arc<Self>) {
        let mine = Arc::new(AtomicU64::new(self.now()));
        self.beats.lock().push(mine.clone());
        let pulse = Arc::downgrade(&self);
        drop(self);
        loop {
            let began = stopwatch();
            tokio::time::sleep(TICK).await;
            EVENT_LOOP_DELAY.record([], began.elapsed().saturating_sub(TICK).as_secs_f64());
            let Some(pulse) = pulse.upgrade() else { return };
            mine.store(pulse.now(), Ordering::Release);
        }
    }

    /// For how long the slowest loop has not turned. A loop that has ended doesn't count.
    pub fn silence(&self) -> Duration {
        let mut beats = self.beats.lock();
        beats.retain(|beat| Arc::strong_count(beat) > 1);
        let oldest = beats.iter().map(|beat| beat.load(Ordering::Acquire)).min();
        let silence = Duration::from_millis(oldest.map_or(0, |oldest| self.now().saturating_sub(oldest)));
        EVENT_LOOP_SILENCE.set([], silence.as_secs_f64());
        silence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_is_held_up_shows() {
        let pulse = Arc::new(Pulse::new());
        assert_eq!(pulse.silence(), Duration::ZERO);
        let beating = crate::sys::spawn::task("pulse", pulse.clone().beat());
        tokio::time::sleep(TICK * 3).await;
        std::thread::sleep(TICK * 8);
        assert!(pulse.silence() >= TICK * 7, "{:?}", pulse.silence());
        beating.abort();
        drop(beating.await);
        assert_eq!(pulse.silence(), Duration::ZERO, "it is gone, and not silent");
    }
}

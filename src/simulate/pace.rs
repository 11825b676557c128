//! Simulated time, and the cap on requests.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::sys::clock::stopwatch;

/// Shortest real pause after which a worker asks again, however fast the time runs: a fleet without work must not
/// become an attack.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// The relation of simulated to real time, and the signal that it is over.
#[derive(Debug, Clone)]
pub struct Pace {
    speed_up: f64,
    started: Instant,
    stop: watch::Receiver<bool>,
}

impl Pace {
    /// Time starts now and runs `speed_up` times as fast as it should, until `stop` becomes true.
    pub fn new(speed_up: f64, stop: watch::Receiver<bool>) -> Self {
        Self { speed_up, started: stopwatch(), stop }
    }

    /// Real seconds since the start.
    pub fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// The real length of so many simulated seconds.
    pub fn real(&self, simulated_seconds: f64) -> Duration {
        Duration::try_from_secs_f64(simulated_seconds / self.speed_up).unwrap_or(Duration::from_secs(86_400))
    }

    /// Whether the simulation has been told to end.
    pub fn is_over(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits; false when the simulation ended meanwhile.
    pub async fn wait(&self, real: Duration) -> bool {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(real) => !self.is_over(),
            // An error means that the sender is gone, which is an end as well.
            _ = stop.wait_for(|over| *over) => false,
        }
    }

    /// Waits so many simulated seconds before trying again, but not too briefly in real time.
    pub async fn pause(&self, simulated_seconds: f64) -> bool {
        self.wait(self.real(simulated_seconds).max(SHORTEST_PAUSE)).await
    }
}

/// Lets through so many requests per second, evenly spaced; without a rate, all.
#[derive(Debug)]
pub struct RequestGate {
    interval: Option<Duration>,
    next: Mutex<Option<Instant>>,
}

impl RequestGate {
    /// A gate of that many passes per second.
    pub fn new(per_second: Option<f64>) -> Self {
        let interval = per_second.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok());
        Self { interval, next: Mutex::new(None) }
    }

    /// Waits for one's turn.
    pub async fn pass(&self) {
        let Some(interval) = self.interval else {
            return;
        };
        let wait = {
            let now = stopwatch();
            let mut next = self.next.lock();
            let turn = next.map_or(now, |next| next.max(now));
            *next = Some(turn + interval);
            turn.saturating_duration_since(now)
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gate_spaces_requests() {
        let gate = RequestGate::new(Some(200.0));
        let started = stopwatch();
        for _ in 0..21 {
            gate.pass().await;
        }
        assert!(started.elapsed() >= Duration::from_millis(95), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn waiting_ends_with_the_simulation() {
        let (end, stop) = watch::channel(false);
        let pace = Pace::new(10.0, stop);
        assert_eq!(pace.real(15.0), Duration::from_millis(1500));
        assert!(pace.wait(Duration::from_millis(1)).await);
        let waiting = pace.clone();
        let waiter = crate::sys::spawn::task("test", async move { waiting.pause(1e6).await });
        end.send(true).unwrap();
        assert!(!waiter.await.unwrap());
        assert!(pace.is_over());
    }
}

//! Bounded work with a short queue: overload is answered, not suffered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::telemetry::catalogue;
use crate::telemetry::metric::Held;

/// Who goes through a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Workers.
    Worker,
    /// The public.
    Read,
    /// An operator.
    Management,
}

impl Class {
    /// For metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Read => "read",
            Self::Management => "management",
        }
    }

    /// Counts a request that was turned away.
    pub fn shed(self, why: Shed) {
        catalogue::HTTP_SHED.increment([self.name(), why.name()]);
    }
}

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in the catalogue")]
pub enum Shed {
    QueueFull,
    QueueTimeout,
    Deadline,
    RateLimit,
    NotReady,
    Closing,
    BodyMemory,
}

impl Shed {
    fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::Deadline => "deadline",
            Self::RateLimit => "rate_limit",
            Self::NotReady => "not_ready",
            Self::Closing => "closing",
            Self::BodyMemory => "body_memory",
        }
    }
}

/// How many may be inside, and how many may wait.
pub struct Gate {
    class: Class,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
}

/// A place inside, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _slot: OwnedSemaphorePermit,
    _shown: Held<1>,
}

/// One who waits; counted for as long as this lives, however the waiting ends.
struct Waiting<'a> {
    waiting: &'a AtomicUsize,
    _shown: Held<1>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Gate {
    /// A gate for `slots` inside and `queue` waiting.
    pub fn new(class: Class, slots: usize, queue: usize) -> Self {
        let slots = slots.clamp(1, Semaphore::MAX_PERMITS);
        catalogue::HTTP_IN_FLIGHT_LIMIT.set([class.name()], slots as f64);
        Self { class, slots: Arc::new(Semaphore::new(slots)), waiting: AtomicUsize::new(0), queue }
    }

    /// A place, at once or after at most `patience`.
    ///
    /// # Errors
    /// Why not: the queue is full, or patience has ended. That is counted.
    pub async fn enter(&self, patience: Duration) -> Result<Turn, Shed> {
        let entered = self.slot(patience).await;
        match entered {
            Ok(slot) => Ok(Turn { _slot: slot, _shown: catalogue::HTTP_IN_FLIGHT.hold([self.class.name()]) }),
            Err(why) => {
                self.class.shed(why);
                Err(why)
            }
        }
    }

    async fn slot(&self, patience: Duration) -> Result<OwnedSemaphorePermit, Shed> {
        if let Ok(permit) = self.slots.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting =
            Waiting { waiting: &self.waiting, _shown: catalogue::HTTP_QUEUED.hold([self.class.name()]) };
        if before >= self.queue {
            return Err(Shed::QueueFull);
        }
        let permit = tokio::time::timeout(patience, self.slots.clone().acquire_owned()).await;
        permit.ok().and_then(Result::ok).ok_or(Shed::QueueTimeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_beyond_the_queue_are_turned_away_at_once_and_those_in_it_in_time() {
        let gate = Gate::new(Class::Read, 1, 1);
        let inside = gate.enter(Duration::ZERO).await;
        assert!(inside.is_ok());
        let patient = gate.enter(Duration::from_millis(50));
        let (patient, late) = tokio::join!(patient, gate.enter(Duration::from_secs(60)));
        assert_eq!(late.unwrap_err(), Shed::QueueFull, "the queue has one place");
        assert_eq!(patient.unwrap_err(), Shed::QueueTimeout, "the slot never came back");
        drop(inside);
        assert!(gate.enter(Duration::ZERO).await.is_ok());
        assert_eq!(gate.waiting.load(Ordering::Acquire), 0);
    }
}

//! Bounded work with a short queue: overload is answered, not suffered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many may be inside, and how many may wait.
pub struct Gate {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
}

/// One who waits; counted for as long as this lives, however the waiting ends.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Gate {
    /// A gate for `slots` inside and `queue` waiting.
    pub fn new(slots: usize, queue: usize) -> Self {
        let slots = slots.clamp(1, Semaphore::MAX_PERMITS);
        Self { slots: Arc::new(Semaphore::new(slots)), waiting: AtomicUsize::new(0), queue }
    }

    /// A slot, at once or after at most `patience`; None when the queue is full or patience ends.
    pub async fn enter(&self, patience: Duration) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.slots.clone().try_acquire_owned() {
            return Some(permit);
        }
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        if before >= self.queue {
            return None;
        }
        let permit = tokio::time::timeout(patience, self.slots.clone().acquire_owned()).await;
        permit.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_beyond_the_queue_are_turned_away_at_once_and_those_in_it_in_time() {
        let gate = Gate::new(1, 1);
        let inside = gate.enter(Duration::ZERO).await;
        assert!(inside.is_some());
        let patient = gate.enter(Duration::from_millis(50));
        let (patient, late) = tokio::join!(patient, gate.enter(Duration::from_secs(60)));
        assert!(late.is_none(), "the queue has one place");
        assert!(patient.is_none(), "the slot never came back");
        drop(inside);
        assert!(gate.enter(Duration::ZERO).await.is_some());
        assert_eq!(gate.waiting.load(Ordering::Acquire), 0);
    }
}

//! How many documents the committer sends at once: as many as the store confirms in good time.
//!
//! One size doesn't fit: a store that writes 50,000 documents a second wants large batches, and one that is slow or
//! busy would never confirm such a batch before its deadline, nor the next one of the same size. So the limit halves
//! with each batch that was late and doubles with each that was quick, as a congestion window does.

use std::time::Duration;

/// Documents in one batch at most, and the least that the limit shrinks to.
pub(super) const LARGEST: usize = 512;
const SMALLEST: usize = 8;

/// A full batch that took less is quick: the next may be twice as large.
const QUICK: Duration = Duration::from_millis(500);

/// A batch that took longer is slow: answers that wait for the next one would wait long.
const SLOW: Duration = Duration::from_secs(2);

/// The present limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchSize(usize);

impl Default for BatchSize {
    fn default() -> Self {
        Self(LARGEST)
    }
}

impl BatchSize {
    /// Documents that the next batch may have.
    pub(super) fn limit(self) -> usize {
        self.0
    }

    /// A batch was confirmed, which took so long.
    pub(super) fn confirmed(&mut self, documents: usize, took: Duration) {
        if took > SLOW {
            self.late(documents);
        } else if took < QUICK && documents >= self.0 {
            self.0 = self.0.saturating_mul(2).min(LARGEST);
        }
    }

    /// A batch was not confirmed in time: half of it next, and never more than was the limit.
    pub(super) fn late(&mut self, documents: usize) {
        self.0 = self.0.min(documents / 2).max(SMALLEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of a store that writes so many documents a second, with a queue that never empties. True if it
    /// confirmed the batch within the deadline.
    fn batch(size: &mut BatchSize, documents_a_second: f64, deadline: Duration) -> bool {
        let documents = size.limit();
        let took = Duration::from_secs_f64(documents as f64 / documents_a_second);
        let is_in_time = took <= deadline;
        if is_in_time {
            size.confirmed(documents, took)
        } else {
            size.late(documents)
        }
        is_in_time
    }

    #[test]
    fn a_slow_store_is_sent_what_it_can_confirm_and_a_quick_one_the_most() {
        let deadline = Duration::from_secs(5);
        for rate in [2.0, 10.0, 47.0, 100.0, 300.0, 2_000.0, 1e6] {
            let mut size = BatchSize::default();
            let late = (0..50).filter(|_| !batch(&mut size, rate, deadline)).count();
            assert!(late <= 6, "at {rate} a second, {late} batches were late");
            let took = size.limit() as f64 / rate;
            assert!(took <= 4.0, "at {rate} a second, a batch takes {took} s");
            if rate >= 2_000.0 {
                assert_eq!(size.limit(), LARGEST);
            }
        }
    }

    #[test]
    fn it_grows_again_when_the_store_recovers() {
        let mut size = BatchSize::default();
        for _ in 0..20 {
            size.late(size.limit());
        }
        assert_eq!(size.limit(), SMALLEST);
        for _ in 0..6 {
            size.confirmed(size.limit(), Duration::from_millis(3));
        }
        assert_eq!(size.limit(), LARGEST);
    }

    #[test]
    fn a_batch_that_was_not_full_proves_nothing_about_larger_ones() {
        let mut size = BatchSize::default();
        size.late(100);
        assert_eq!(size.limit(), 50);
        size.confirmed(49, Duration::from_millis(1));
        assert_eq!(size.limit(), 50);
        size.confirmed(50, Duration::from_secs(1));
        assert_eq!(size.limit(), 50);
        size.confirmed(50, Duration::from_millis(1));
        assert_eq!(size.limit(), 100);
    }
}

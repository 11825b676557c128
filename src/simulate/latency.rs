//! A histogram of latencies whose buckets grow with the value: a sixteenth wide each, so quantiles are within 6 %.

use serde::Serialize;

/// Buckets per power of two.
const SUB: u64 = 16;
/// Enough for every 64-bit value: 16 exact ones, then 16 for each of 60 powers of two.
const BUCKETS: usize = 16 * 61;

/// Counts of latencies, in microseconds.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u64,
    max: u64,
}

/// The numbers of a histogram that people read, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct LatencySummary {
    /// Number of measurements.
    pub count: u64,
    /// Mean.
    pub mean_ms: f64,
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99.9th percentile.
    pub p999_ms: f64,
    /// The largest one, exact.
    pub max_ms: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, sum: 0, max: 0 }
    }
}

fn bucket(micros: u64) -> usize {
    if micros < SUB {
        return micros as usize;
    }
    let power = 63 - u64::from(micros.leading_zeros());
    let within = (micros >> (power - 4)) & (SUB - 1);
    ((power - 3) * SUB + within) as usize
}

/// The largest value that falls into a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket;
    }
    let power = bucket / SUB + 3;
    let within = bucket % SUB;
    ((SUB + within) << (power - 4)).saturating_add((1 << (power - 4)) - 1)
}

impl Histogram {
    /// Adds one measurement, in microseconds.
    pub fn record(&mut self, micros: u64) {
        if let Some(count) = self.counts.get_mut(bucket(micros)) {
            *count += 1;
        }
        self.total += 1;
        self.sum = self.sum.saturating_add(micros);
        self.max = self.max.max(micros);
    }

    /// Adds all measurements of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// Number of measurements.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The value, in microseconds, that a share `q` (0 to 1) of the measurements does not exceed; 0 when empty.
    pub fn quantile(&self, q: f64) -> u64 {
        if self.total == 0 {
            return 0;
        }
        let rank = ((q * self.total as f64).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        for (i, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(i).min(self.max);
            }
        }
        self.max
    }

    /// The usual percentiles.
    pub fn summary(&self) -> LatencySummary {
        let ms = |micros: u64| micros as f64 / 1000.0;
        LatencySummary {
            count: self.total,
            mean_ms: if self.total == 0 { 0.0 } else { ms(self.sum) / self.total as f64 },
            p50_ms: ms(self.quantile(0.5)),
            p90_ms: ms(self.quantile(0.9)),
            p99_ms: ms(self.quantile(0.99)),
            p999_ms: ms(self.quantile(0.999)),
            max_ms: ms(self.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_reaches_at_most_a_sixteenth_above_it() {
        let mut values = vec![0, 1, 15, 16, 17, 31, 32, 1000, 123_456, u64::MAX / 2, u64::MAX];
        values.extend((0..64).map(|i| 1u64 << i));
        for value in values {
            let b = bucket(value);
            assert!(b < BUCKETS, "{value}");
            let top = upper(b);
            assert!(top >= value, "{value}: {top}");
            assert!(top - value <= value / 16, "{value}: {top}");
        }
    }

    #[test]
    fn quantiles_of_evenly_spread_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        (1..=10_000).for_each(|v| histogram.record(v));
        for (q, expected) in [(0.5, 5000.0), (0.9, 9000.0), (0.99, 9900.0)] {
            let value = histogram.quantile(q) as f64;
            assert!((value - expected).abs() / expected < 0.07, "{q}: {value}");
        }
        assert_eq!(histogram.quantile(1.0), 10_000);
        assert_eq!(histogram.summary().count, 10_000);
        assert!((histogram.summary().mean_ms - 5.0005).abs() < 1e-9);
    }

    #[test]
    fn merging_is_recording_both() {
        let (mut a, mut b, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
        for v in 0..500 {
            a.record(v * 3);
            b.record(v * 70);
            both.record(v * 3);
            both.record(v * 70);
        }
        a.merge(&b);
        assert_eq!(a.summary(), both.summary());
    }
}

//! How often one address may read: a token bucket each, in a table that can't grow without bound; and, where the schedule is
//! shared, one count for all replicas together.
//!
//! The own table is asked first: whom it refuses is no burden on the shared server, which workers wait for, too. The shared
//! count is asked last, by those who have their turn, so that many readers from many addresses are none either.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;

use crate::service::Farm;
use crate::state::Rate;

/// Addresses that are remembered; an attack with more makes us forget, not grow.
const ADDRESSES: usize = 20_000;

/// How long the shared count may take.
const PATIENCE: Duration = Duration::from_millis(250);

/// Tokens of one address.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

/// The limiter. A rate of 0 lets everybody through.
pub struct RateLimiter {
    rate: f64,
    burst: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

impl RateLimiter {
    /// `rate` requests per second in the long run, `burst` at once.
    pub fn new(rate: f64, burst: f64) -> Self {
        Self { rate, burst: burst.max(1.0), buckets: Mutex::new(HashMap::new()) }
    }

    /// Whether any address can be refused at all.
    pub fn is_on(&self) -> bool {
        self.rate > 0.0
    }

    /// The same by everybody's count, where there is one, of a request that this process's own count admits. Without an
    /// answer in time that one stands. It is a command to the shared server: to be asked by few at once.
    pub async fn admits_everywhere(&self, address: &str, farm: &Farm) -> bool {
        if !self.is_on() {
            return true;
        }
        let rate = Rate { per_second: self.rate, burst: self.burst };
        let address = subscriber(ip(address)).to_string();
        let asked = tokio::time::timeout(PATIENCE, farm.state.admit_address(&address, rate)).await;
        !matches!(asked, Ok(Ok(Some(false))))
    }

    /// Whether a request from an address may go on; `now` is a monotonic reading.
    pub fn admits(&self, address: &str, now: Duration) -> bool {
        if !self.is_on() {
            return true;
        }
        let key = subscriber(ip(address));
        let refilled = |bucket: &Bucket| {
            let seconds = now.saturating_sub(bucket.at).as_secs_f64();
            (bucket.tokens + seconds * self.rate).min(self.burst)
        };
        let mut buckets = self.buckets.lock();
        if buckets.len() >= ADDRESSES && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| refilled(bucket) < self.burst);
            if buckets.len() >= ADDRESSES {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: self.burst, at: now });
        *bucket = Bucket { tokens: refilled(bucket), at: now };
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

/// What isn't an address is everybody's.
fn ip(address: &str) -> IpAddr {
    address.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Who pays for the address: an IPv6 subscriber has a whole /64.
fn subscriber(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn a_burst_is_admitted_and_then_the_rate() {
        let limiter = RateLimiter::new(2.0, 3.0);
        for _ in 0..3 {
            assert!(limiter.admits("203.0.113.9", NOW));
        }
        assert!(!limiter.admits("203.0.113.9", NOW));
        assert!(limiter.admits("203.0.113.10", NOW), "addresses are judged apart");
        let later = NOW + Duration::from_millis(500);
        assert!(limiter.admits("203.0.113.9", later));
        assert!(!limiter.admits("203.0.113.9", later));
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one() {
        let limiter = RateLimiter::new(1.0, 1.0);
        assert!(limiter.admits("2001:db8::1", NOW));
        assert!(!limiter.admits("2001:db8::2", NOW));
        assert!(limiter.admits("2001:db8:0:1::1", NOW));
    }

    #[test]
    fn no_rate_is_no_limit_and_the_table_stays_bounded() {
        let off = RateLimiter::new(0.0, 1.0);
        assert!((0..1000).all(|_| off.admits("203.0.113.9", NOW)));
        let limiter = RateLimiter::new(1.0, 2.0);
        for n in 0..50_000_u32 {
            limiter.admits(&Ipv4Addr::from_bits(n).to_string(), NOW);
        }
        assert!(limiter.buckets.lock().len() <= ADDRESSES);
    }
}

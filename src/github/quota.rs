//! How many calls the API still grants (`spec/run-management.md` section 5.1, `spec/read-api.md` section 2.11). Pure.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// The resource whose quota is followed.
const RESOURCE: &str = "core";

/// Granted per period until somebody says otherwise.
const USUAL_LIMIT: u64 = 5000;

/// Seconds of a period.
const PERIOD: i64 = 3600;

/// The quota of resource `core`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Calls granted in a period.
    pub limit: u64,
    /// Calls left.
    pub remaining: u64,
    /// When the period ends, seconds since the epoch.
    pub reset: i64,
    /// Calls made.
    pub used: u64,
    /// Whether an answer told this.
    pub known: bool,
}

impl Quota {
    /// Before the first answer.
    pub fn unknown(started: i64) -> Self {
        Self { limit: USUAL_LIMIT, remaining: USUAL_LIMIT, reset: started, used: 0, known: false }
    }

    /// From the headers of an answer; None if they tell of another resource, or not all of it.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        if text("x-ratelimit-resource")? != RESOURCE {
            return None;
        }
        Some(Self {
            limit: text("x-ratelimit-limit")?.parse().ok()?,
            remaining: text("x-ratelimit-remaining")?.parse().ok()?,
            reset: text("x-ratelimit-reset")?.parse().ok()?,
            used: text("x-ratelimit-used")?.parse().ok()?,
            known: true,
        })
    }

    /// From the answer to the question for the quota.
    pub fn from_answer(answer: &Value) -> Option<Self> {
        let core = answer.get("resources")?.get(RESOURCE)?;
        Some(Self {
            limit: core.get("limit")?.as_u64()?,
            remaining: core.get("remaining")?.as_u64()?,
            reset: core.get("reset")?.as_i64()?,
            used: core.get("used")?.as_u64()?,
            known: true,
        })
    }

    /// Whether more than half is spent and the period goes on.
    pub fn is_half_spent(&self, now: i64) -> bool {
        self.known && self.reset > now && self.remaining < self.used
    }

    /// Whether it says nothing about the present.
    pub fn is_outdated(&self, now: i64) -> bool {
        !self.known || self.reset <= now
    }

    /// A known quota that nobody used has no running period: one would begin with the next call. True if that is so.
    pub fn rest(&mut self, now: i64) -> bool {
        let rests = self.known && self.remaining == self.limit;
        if rests {
            self.reset = now.saturating_add(PERIOD);
        }
        rests
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(resource: &str, remaining: &str) -> HeaderMap {
        let pairs = [("limit", "60"), ("remaining", remaining), ("reset", "1000"), ("used", "31")];
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.into_iter().chain([("resource", resource)]) {
            let name = format!("x-ratelimit-{name}");
            headers.insert(
                reqwest::header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        headers
    }

    #[test]
    fn only_whole_headers_of_the_core_count() {
        let quota = Quota::from_headers(&headers("core", "29")).unwrap();
        assert_eq!(quota, Quota { limit: 60, remaining: 29, reset: 1000, used: 31, known: true });
        assert_eq!(Quota::from_headers(&headers("search", "29")), None);
        assert_eq!(Quota::from_headers(&headers("core", "-1")), None);
        assert_eq!(Quota::from_headers(&headers("core", "many")), None);
        let mut missing = headers("core", "29");
        missing.remove("x-ratelimit-used");
        assert_eq!(Quota::from_headers(&missing), None);
    }

    #[test]
    fn half_is_spent_when_more_was_used_than_is_left_until_the_reset() {
        let quota = Quota::from_headers(&headers("core", "29")).unwrap();
        assert!(quota.is_half_spent(999));
        assert!(!quota.is_half_spent(1000), "the period is over");
        assert!(!Quota { remaining: 31, ..quota }.is_half_spent(999));
        assert!(!Quota { known: false, ..quota }.is_half_spent(999));
    }

    #[test]
    fn an_answer_tells_it_too() {
        let core = json!({ "limit": 60, "remaining": 59, "reset": 5, "used": 1 });
        let quota = Quota::from_answer(&json!({ "resources": { "core": core } })).unwrap();
        assert_eq!((quota.remaining, quota.reset, quota.known), (59, 5, true));
        assert_eq!(Quota::from_answer(&json!({ "resources": { "core": { "limit": 60 } } })), None);
        assert_eq!(Quota::from_answer(&json!([])), None);
    }

    #[test]
    fn an_unused_quota_has_no_end() {
        let mut unknown = Quota::unknown(7);
        assert!(!unknown.rest(100) && unknown.is_outdated(0));
        assert_eq!(unknown.reset, 7);
        let mut unused = Quota { known: true, ..unknown };
        assert!(unused.rest(100));
        assert_eq!(unused.reset, 3700);
    }
}

//! What the farm asks GitHub, or a mirror of it (`spec/run-management.md` section 5): the table of opening books, the
//! commit of the official master branch, and how many calls are left.
//!
//! Answers are not trusted: each call has a deadline, a largest size and a typed failure. Nothing here decides what a
//! failure means; whoever asks keeps what they had.

mod client;
mod error;
mod quota;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::header::HeaderMap;
use serde_json::Value;

use self::client::{Client, Question, Tries};
pub use self::error::GitHubError;
pub use self::quota::Quota;
use crate::config::Secret;
use crate::sys::clock::Clock;
use crate::telemetry::catalogue;

/// The whole table of books is some hundred kilobytes.
const BOOKS_LIMIT: usize = 8 << 20;

/// A commit lists what it changed.
const COMMIT_LIMIT: usize = 16 << 20;

/// The quota is a short list.
const QUOTA_LIMIT: usize = 1 << 20;

/// After a question for the quota that had no answer, nobody asks again for so long.
const QUOTA_PAUSE: Duration = Duration::from_secs(30);

/// Where and how GitHub is asked.
#[derive(Debug, Clone)]
pub struct GitHubSettings {
    /// Base address of the API; None asks nobody.
    pub api: Option<String>,
    /// Base address of files as they are; None asks nobody.
    pub raw: Option<String>,
    /// Sent to the API's address only.
    pub token: Option<Secret>,
    /// For one call, from the first byte to the last.
    pub timeout: Duration,
}

impl Default for GitHubSettings {
    /// Asks nobody.
    fn default() -> Self {
        Self { api: None, raw: None, token: None, timeout: Duration::from_secs(3) }
    }
}

/// GitHub, as far as the farm knows it.
#[derive(Debug)]
pub struct GitHub {
    client: Client,
    clock: Arc<dyn Clock>,
    quota: Mutex<Quota>,
    /// Held by whoever asks for the quota; when that failed last, by the monotonic clock.
    quota_turn: tokio::sync::Mutex<Option<Duration>>,
}

impl GitHub {
    /// Nothing is asked yet.
    pub fn new(settings: GitHubSettings, clock: Arc<dyn Clock>) -> Self {
        let quota = Mutex::new(Quota::unknown(seconds(&*clock)));
        Self { client: Client::new(settings), clock, quota, quota_turn: tokio::sync::Mutex::default() }
    }

    /// Whether the table of books can be asked for.
    pub fn has_books(&self) -> bool {
        self.client.has_api() || self.client.has_raw()
    }

    /// Whether commits can be asked for.
    pub fn has_commits(&self) -> bool {
        self.client.has_api()
    }

    /// `books.json` of the official books, parsed and not checked further. Few calls left, or no API: read as a file,
    /// which costs no call, if there is an address for that.
    ///
    /// # Errors
    /// Nobody to ask, no usable answer, or few calls left and no other way.
    pub async fn books(&self) -> Result<Value, GitHubError> {
        let question = match self.check_quota() {
            Ok(()) => Question::api(
                "/repos/official-stockfish/books/contents/books.json?ref=master",
                "application/vnd.github.raw",
            ),
            Err(_) if self.client.has_raw() => Question::raw("/official-stockfish/books/master/books.json"),
            Err(why) => return Err(why),
        };
        let body = self.ask(&question, BOOKS_LIMIT, Tries::Two).await?;
        parse("books.json", &body)
    }

    /// The commit id of the official master branch: 40 lower-case hex digits.
    ///
    /// # Errors
    /// Nobody to ask, no usable answer, or few calls left.
    pub async fn official_master(&self) -> Result<String, GitHubError> {
        self.check_quota()?;
        let question = Question::api(
            "/repos/official-stockfish/Stockfish/commits/master",
            "application/vnd.github+json",
        );
        let body = self.ask(&question, COMMIT_LIMIT, Tries::Two).await?;
        let commit = parse("the commit", &body)?;
        let sha = commit.get("sha").and_then(Value::as_str).unwrap_or_default();
        let is_sha = sha.len() == 40 && sha.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_sha {
            return Err(GitHubError::not_understood("the commit", "sha is not 40 hex digits"));
        }
        Ok(sha.to_owned())
    }

    /// The quota as the last answer told it.
    pub fn last_quota(&self) -> Quota {
        *self.quota.lock()
    }

    /// The quota as it should be now (`spec/read-api.md` section 2.11): asked for if it is unknown or was reset since.
    /// That call is not counted; when it fails, the last known quota stands.
    pub async fn quota(&self) -> Quota {
        let now = seconds(&*self.clock);
        if self.quota.lock().rest(now) {
            return self.last_quota();
        }
        if self.client.has_api() && self.last_quota().is_outdated(now) {
            let mut failed = self.quota_turn.lock().await;
            // Whoever waited for the turn finds what the one before learned.
            let paused = failed.is_some_and(|at| self.clock.monotonic().saturating_sub(at) < QUOTA_PAUSE);
            if !paused && self.last_quota().is_outdated(now) {
                *failed = match self.ask_quota().await {
                    Ok(_) => None,
                    Err(error) => {
                        tracing::debug!(%error, "the quota is not known");
                        Some(self.clock.monotonic())
                    }
                };
            }
        }
        self.last_quota()
    }

    /// Asks for the quota.
    ///
    /// # Errors
    /// Nobody to ask, or no usable answer.
    pub async fn ask_quota(&self) -> Result<Quota, GitHubError> {
        let question = Question::api("/rate_limit", "application/vnd.github+json");
        let body = self.ask(&question, QUOTA_LIMIT, Tries::One).await?;
        let quota = Quota::from_answer(&parse("the quota", &body)?)
            .ok_or_else(|| GitHubError::not_understood("the quota", "resources.core is not a quota"))?;
        self.note(quota);
        Ok(quota)
    }

    /// The API, if more than half of its calls are left or nobody knows. So the last calls stay for what people wait
    /// for.
    fn check_quota(&self) -> Result<(), GitHubError> {
        if !self.client.has_api() {
            return Err(GitHubError::Off);
        }
        if self.last_quota().is_half_spent(seconds(&*self.clock)) {
            return Err(GitHubError::HalfSpent);
        }
        Ok(())
    }

    async fn ask(&self, question: &Question<'_>, limit: usize, tries: Tries) -> Result<Vec<u8>, GitHubError> {
        let see = |headers: &HeaderMap| {
            if question.is_counted()
                && let Some(quota) = Quota::from_headers(headers)
            {
                self.note(quota);
            }
        };
        self.client.get(question, limit, tries, see).await
    }

    fn note(&self, quota: Quota) {
        catalogue::GITHUB_CALLS_LEFT.set([], quota.remaining as f64);
        *self.quota.lock() = quota;
    }
}

fn seconds(clock: &dyn Clock) -> i64 {
    clock.now().0.div_euclid(1000)
}

fn parse(what: &'static str, body: &[u8]) -> Result<Value, GitHubError> {
    serde_json::from_slice(body).map_err(|error| GitHubError::not_understood(what, error))
}

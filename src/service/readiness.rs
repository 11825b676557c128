//! Whether this process can serve: asked in the background, told at once.
//!
//! The schedule and the store are asked each by a task of its own, each answer has a deadline, and whoever wants to know gets
//! the latest verdict: a dependency that hangs makes nobody wait. One answer that is late is no absence: it takes some in a
//! row to go, and some to come back. Whether the store's schema still fits is looked at beside that ([`super::schema_watch`]).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Farm;
use super::degrade::StorePolicy;
use super::error::{ServiceError, ServiceResult};
use super::membership::Standing;
use super::schema_watch::Misfit;
use crate::sys::spawn;
use crate::telemetry::catalogue::{DEGRADED_STATE, DEPENDENCY_SECONDS, DEPENDENCY_UP, READY};

/// The culprit whose name isn't a dependency's: the store answers, but its schema is none that this version can work with.
pub const SCHEMA: &str = "schema";

/// A verdict that is older than so many periods and deadlines is none: whoever should have asked doesn't.
const STALE: u32 = 5;

/// How dependencies are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadinessSettings {
    /// From one question to the next.
    pub period: Duration,
    /// How long an answer may take.
    pub deadline: Duration,
    /// Failures in a row that mean that it is away.
    pub failures: u32,
    /// Answers in a row that mean that it is back.
    pub successes: u32,
}

impl Default for ReadinessSettings {
    fn default() -> Self {
        Self { period: Duration::from_secs(1), deadline: Duration::from_secs(1), failures: 2, successes: 2 }
    }
}

/// What this process depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    /// Where the schedule is: Redis, or this process's memory.
    Schedule,
    /// Where durable data is.
    Store,
}

impl Dependency {
    /// For answers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Store => "store",
        }
    }
}

/// What is known of a dependency.
#[derive(Debug, Default)]
struct Check {
    /// Why it is taken for away; None if it isn't.
    trouble: Option<String>,
    /// Since when that holds, by the monotonic clock.
    since: Duration,
    /// Answers in a row that speak against it.
    contrary: u32,
    /// When the last answer, or its absence, was noted; None before the first.
    checked: Option<Duration>,
}

impl Check {
    /// Returns whether the verdict has changed.
    fn note(&mut self, answer: Result<(), String>, now: Duration, settings: &ReadinessSettings) -> bool {
        let is_first = self.checked.replace(now).is_none();
        let needed = if answer.is_ok() { settings.successes } else { settings.failures };
        if answer.is_ok() == self.trouble.is_none() && !is_first {
            self.contrary = 0;
            if let Err(why) = answer {
                self.trouble = Some(why);
            }
            return false;
        }
        self.contrary += 1;
        if self.contrary < needed && !is_first {
            return false;
        }
        self.contrary = 0;
        self.since = now;
        self.trouble = answer.err();
        true
    }

    /// What is wrong, and for how long it has been.
    fn verdict(&self, now: Duration, settings: &ReadinessSettings) -> Option<(String, Duration)> {
        let Some(checked) = self.checked else { return Some(("it was not asked yet".to_owned(), now)) };
        let age = now.saturating_sub(checked);
        if age > (settings.period + settings.deadline) * STALE {
            return Some(("it has not been asked for too long".to_owned(), age));
        }
        self.trouble.clone().map(|why| (why, now.saturating_sub(self.since)))
    }
}

/// The latest verdicts of a process.
#[derive(Debug, Default)]
pub struct Readiness {
    schedule: Mutex<Check>,
    store: Mutex<Check>,
    pub(super) schema: Mutex<Misfit>,
}

impl Readiness {
    fn of(&self, dependency: Dependency) -> &Mutex<Check> {
        match dependency {
            Dependency::Schedule => &self.schedule,
            Dependency::Store => &self.store,
        }
    }
}

/// Whether a process serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does.
    Ready,
    /// It does what it can without its store.
    Degraded,
    /// It doesn't: send nothing.
    NotReady,
}

impl State {
    /// For answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::NotReady => "not_ready",
        }
    }
}

/// Who is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Culprit {
    /// `schedule`, `store`, `schema`, or `draining`: the process itself is on its way out.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: String,
    /// For how long it has been, if that is known.
    pub lasted: Option<Duration>,
}

/// Whether a process serves, and if not, or not wholly, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it does.
    pub state: State,
    /// Empty if it is [`State::Ready`].
    pub culprits: Vec<Culprit>,
}

impl Farm {
    /// Asks the schedule and the store again and again, for as long as the farm lives.
    pub fn keep_watch(self: &Arc<Self>) {
        self.watch_schema();
        for dependency in [Dependency::Schedule, Dependency::Store] {
            let farm = Arc::downgrade(self);
            let period = self.settings.readiness.period;
            spawn::task("readiness", async move {
                while let Some(farm) = farm.upgrade() {
                    farm.check(dependency).await;
                    drop(farm);
                    tokio::time::sleep(period).await;
                }
            });
        }
    }

    async fn check(&self, dependency: Dependency) {
        let began = self.clock.monotonic();
        let answer = self.question(dependency).await.map_err(|error| error.to_string());
        let now = self.clock.monotonic();
        DEPENDENCY_SECONDS.record([dependency.name()], now.saturating_sub(began).as_secs_f64());
        let mut check = self.readiness.of(dependency).lock();
        let changed = check.note(answer, now, &self.settings.readiness);
        DEPENDENCY_UP.set([dependency.name()], f64::from(u8::from(check.trouble.is_none())));
        match &check.trouble {
            Some(why) if changed => tracing::warn!(dependency = dependency.name(), why, "not available"),
            None if changed => tracing::info!(dependency = dependency.name(), "available"),
            _ => {}
        }
    }

    /// Asks whether it answers, and answers for us.
    async fn question(&self, dependency: Dependency) -> ServiceResult<()> {
        let deadline = self.settings.readiness.deadline;
        match dependency {
            Dependency::Schedule => {
                within(deadline, async { self.is_mine(self.state.generation().await?) }).await
            }
            Dependency::Store => within(deadline, async { Ok(self.store.ping().await?) }).await,
        }
    }

    /// Whether this process serves, from what was found out last. Waits for nothing.
    pub fn verdict(&self) -> Verdict {
        let now = self.clock.monotonic();
        let mut culprits = Vec::new();
        let mut state = State::Ready;
        if self.is_draining() {
            state = State::NotReady;
            let why = "the server was told to stop".to_owned();
            culprits.push(Culprit { what: "draining", why, lasted: None });
        }
        if !self.is_ready() {
            state = State::NotReady;
            let standing = self.membership.standing();
            let what = if matches!(standing, Standing::StoreBehind { .. }) { "store" } else { "schedule" };
            culprits.push(Culprit { what, why: standing.to_string(), lasted: None });
        }
        for dependency in [Dependency::Schedule, Dependency::Store] {
            let verdict = self.readiness.of(dependency).lock().verdict(now, &self.settings.readiness);
            let Some((why, lasted)) = verdict else { continue };
            let goes_on =
                dependency == Dependency::Store && self.settings.store_policy == StorePolicy::Degrade;
            state = match state {
                State::Ready | State::Degraded if goes_on => State::Degraded,
                _ => State::NotReady,
            };
            culprits.push(Culprit { what: dependency.name(), why, lasted: Some(lasted) });
        }
        if let Some((why, since)) = self.readiness.schema.lock().clone() {
            // Whatever the policy: it is about a store that is away, and not about one that would be written wrongly.
            state = State::NotReady;
            culprits.push(Culprit { what: SCHEMA, why, lasted: Some(now.saturating_sub(since)) });
        }
        READY.set([], f64::from(u8::from(state != State::NotReady)));
        DEGRADED_STATE.set([], f64::from(u8::from(state == State::Degraded)));
        Verdict { state, culprits }
    }
}

async fn within(deadline: Duration, question: impl Future<Output = ServiceResult<()>>) -> ServiceResult<()> {
    let late = |_| Err(ServiceError::Unavailable(format!("no answer within {} ms", deadline.as_millis())));
    tokio::time::timeout(deadline, question).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: ReadinessSettings = ReadinessSettings {
        period: Duration::from_secs(1),
        deadline: Duration::from_secs(1),
        failures: 3,
        successes: 2,
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_takes_some_failures_to_go_and_some_answers_to_come_back() {
        let mut check = Check::default();
        assert!(check.verdict(at(0), &SETTINGS).is_some(), "nobody has asked");
        let bad = || Err("away".to_owned());
        assert!(check.note(Ok(()), at(1), &SETTINGS), "the first answer counts at once");
        assert_eq!(check.verdict(at(1), &SETTINGS), None);
        for (second, answer) in [(2, bad()), (3, bad()), (4, Ok(())), (5, bad()), (6, bad())] {
            assert!(!check.note(answer, at(second), &SETTINGS));
            assert_eq!(check.verdict(at(second), &SETTINGS), None);
        }
        assert!(check.note(bad(), at(7), &SETTINGS));
        assert_eq!(check.verdict(at(9), &SETTINGS), Some(("away".to_owned(), at(2))));
        assert!(!check.note(Ok(()), at(10), &SETTINGS));
        assert!(check.verdict(at(10), &SETTINGS).is_some());
        assert!(check.note(Ok(()), at(11), &SETTINGS));
        assert_eq!(check.verdict(at(11), &SETTINGS), None);
    }

    #[test]
    fn a_verdict_grows_old() {
        let mut check = Check::default();
        check.note(Ok(()), at(1), &SETTINGS);
        assert_eq!(check.verdict(at(11), &SETTINGS), None);
        assert!(check.verdict(at(12), &SETTINGS).is_some());
    }
}

//! Who leads: one replica at a time runs the periodic jobs and rebuilds the schedule.
//!
//! The lease is the state's; what it lets this process do is measured here, by this process's own monotonic clock: from
//! before the granting call was sent, until some time before the lease can end. So a leader that can't renew has stopped
//! before another may begin, whatever its calls do. What it started all the same is refused by its token.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::Farm;
use super::error::{ServiceError, ServiceResult};
use super::gauges::forget_gauges;
use crate::domain::ids::{Generation, Millis, Token};
use crate::state::{LeaseName, LeaseOutcome, StateResult};
use crate::sys::clock::Clock;
use crate::telemetry::catalogue;

/// A leader that doesn't renew for this long is replaced.
const LEASE: Duration = Duration::from_secs(12);

/// So long before its lease can end a leader stops.
const MARGIN: Duration = Duration::from_secs(2);

/// How often a leader renews.
const RENEW: Duration = Duration::from_secs(3);

/// How often the others look whether they may lead.
const ASK: Duration = Duration::from_secs(1);

/// How long a renewal may take; what comes later counts for nothing.
const CALL: Duration = Duration::from_secs(3);

/// How finely the end of a term is looked at.
const TICK: Duration = Duration::from_millis(100);

/// For so long after leadership began, a sleep ended or a clock was set, no task is declared dead (`durability.md`
/// section 11).
const MERCY: Duration = Duration::from_secs(150);

/// The state's clock and this process's may drift; this much at once is a clock that was set, or a machine that slept.
const STEP: u64 = 30_000;

/// The state of being leader, as jobs see it. Clones are of the same term.
#[derive(Debug, Clone)]
pub struct Leadership {
    /// What transitions check.
    pub token: Token,
    term: Arc<Term>,
}

#[derive(Debug)]
struct Term {
    clock: Arc<dyn Clock>,
    /// By the monotonic clock, ms.
    valid_until: AtomicU64,
    mercy_until: AtomicU64,
    /// Both clocks when they were last compared.
    compared: Mutex<Option<(Duration, Millis)>>,
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Leadership {
    /// A term that began by a call sent at `asked`, with a lease of `lease`.
    pub fn new(token: Token, clock: Arc<dyn Clock>, asked: Duration, lease: Duration) -> Self {
        let mercy_until = ms(clock.monotonic() + MERCY);
        let term = Term {
            clock,
            valid_until: AtomicU64::new(ms(asked + lease.saturating_sub(MARGIN))),
            mercy_until: AtomicU64::new(mercy_until),
            compared: Mutex::new(None),
        };
        Self { token, term: Arc::new(term) }
    }

    /// Whether this process may still act as the leader.
    pub fn holds(&self) -> bool {
        ms(self.term.clock.monotonic()) < self.term.valid_until.load(Ordering::Acquire)
    }

    /// # Errors
    /// [`ServiceError::Superseded`] when the term is over.
    pub fn check(&self) -> ServiceResult<()> {
        if self.holds() { Ok(()) } else { Err(over()) }
    }

    /// Does a leader's work, until it is done or the term is over, whichever comes first; then it is given up where it
    /// stands.
    ///
    /// # Errors
    /// The work's; [`ServiceError::Superseded`] when the term is over.
    pub async fn during<T>(&self, work: impl Future<Output = ServiceResult<T>>) -> ServiceResult<T> {
        let mut work = pin!(work);
        let mut tick = tokio::time::interval(TICK);
        std::future::poll_fn(|cx| {
            // The clock is asked each time: after a process was stopped, its timers may come later than its answers.
            while tick.poll_tick(cx).is_ready() {}
            match self.check() {
                Ok(()) => work.as_mut().poll(cx),
                Err(over) => Poll::Ready(Err(over)),
            }
        })
        .await
    }

    /// Whether somebody may be declared dead.
    pub fn may_bury(&self) -> bool {
        ms(self.term.clock.monotonic()) >= self.term.mercy_until.load(Ordering::Acquire)
    }

    /// From now on, for a while, nobody is declared dead.
    pub fn have_mercy(&self) {
        self.term.mercy_until.store(ms(self.term.clock.monotonic() + MERCY), Ordering::Release);
    }

    /// Compares the state's clock with this process's: where one went much further than the other since the last time,
    /// silence proves nothing.
    pub fn compare_clocks(&self, state: Millis) {
        let own = self.term.clock.monotonic();
        let Some((own_then, state_then)) = self.term.compared.lock().replace((own, state)) else { return };
        let own_went = i64::try_from(ms(own.saturating_sub(own_then))).unwrap_or(i64::MAX);
        let step = state.0.saturating_sub(state_then.0).saturating_sub(own_went);
        if step.unsigned_abs() > STEP {
            tracing::warn!(
                step_ms = step,
                "a clock was set, or this machine slept; nobody is declared dead for a while"
            );
            catalogue::CLOCK_STEPS.increment([]);
            self.have_mercy();
        }
    }

    fn extend(&self, asked: Duration) {
        self.term.valid_until.store(ms(asked + LEASE.saturating_sub(MARGIN)), Ordering::Release);
    }

    fn end(&self) {
        self.term.valid_until.store(0, Ordering::Release);
    }
}

fn over() -> ServiceError {
    ServiceError::Superseded("this process does not lead any more".to_owned())
}

/// What this process knows of its own leadership.
#[derive(Debug, Default)]
pub struct Election {
    leadership: RwLock<Option<Leadership>>,
    /// Held by who asks: two at once would count from each other's calls.
    turn: tokio::sync::Mutex<()>,
    retired: AtomicBool,
    /// Since when nobody led, as far as this process saw, by the monotonic clock.
    vacant_since: Mutex<Option<Duration>>,
}

impl Farm {
    /// This process's leadership, while it has it.
    pub fn leadership(&self) -> Option<Leadership> {
        self.election.leadership.read().clone().filter(Leadership::holds)
    }

    /// Renews leadership, or asks for it if nobody has it. None if this process doesn't lead afterwards. One that is cut off
    /// gives it back: its jobs would only fail.
    pub async fn stand(&self) -> Option<Leadership> {
        let _turn = self.election.turn.lock().await;
        if self.election.retired.load(Ordering::Acquire) {
            return None;
        }
        let held = self.election.leadership.read().clone();
        if !self.membership.is_in_touch(self.clock.monotonic()) {
            if let Some(held) = held {
                self.note_end(&held);
                drop(within(self.state.lease_release(LeaseName::Leader, held.token)).await);
            }
            return None;
        }
        if let Some(held) = held {
            if self.renew(&held).await {
                return Some(held);
            }
            self.note_end(&held);
        }
        let begun = self.ask().await?;
        tracing::info!(
            replica = %self.identity, generation = %begun.token.generation, counter = begun.token.counter,
            "this process leads"
        );
        catalogue::LEADER_CHANGES.increment([]);
        catalogue::LEADER.set([], 1.0);
        catalogue::LEADER_TOKEN.set([], begun.token.counter as f64);
        *self.election.leadership.write() = Some(begun.clone());
        Some(begun)
    }

    /// Whether the term goes on.
    async fn renew(&self, held: &Leadership) -> bool {
        if !held.holds() {
            return false;
        }
        let asked = self.clock.monotonic();
        match within(self.state.lease_renew(LeaseName::Leader, held.token, LEASE)).await {
            Some(Ok(true)) => {
                held.extend(asked);
                if let Some(Ok(now)) = within(self.state.now()).await {
                    held.compare_clocks(now);
                }
                true
            }
            Some(Ok(false)) => false,
            // Renewed or not: the term goes on as long as it did before.
            Some(Err(error)) => {
                tracing::warn!(replica = %self.identity, %error, "leadership could not be renewed");
                held.holds()
            }
            None => held.holds(),
        }
    }

    async fn ask(&self) -> Option<Leadership> {
        let taken = within(self.state.lease_read(LeaseName::Leader)).await?;
        match taken {
            Ok(Some(lease)) if lease.holder != self.identity => {
                *self.election.vacant_since.lock() = None;
                return None;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "leadership could not be asked for");
                return None;
            }
        }
        let vacant_since = *self.election.vacant_since.lock().get_or_insert_with(|| self.clock.monotonic());
        let known = self.known_generation().await?;
        let asked = self.clock.monotonic();
        let granted = self.state.lease_acquire(LeaseName::Leader, &self.identity, LEASE, known);
        let Some(granted) = within(granted).await else {
            catalogue::LEASE_REQUESTS.increment(["leader", "failed"]);
            return None;
        };
        catalogue::LEASE_REQUESTS.increment(["leader", outcome_name(&granted)]);
        match granted {
            Ok(LeaseOutcome::Held(token)) => {
                let vacancy = self.clock.monotonic().saturating_sub(vacant_since);
                catalogue::LEASE_WAIT.record([], vacancy.as_secs_f64());
                *self.election.vacant_since.lock() = None;
                Some(Leadership::new(token, self.clock.clone(), asked, LEASE))
            }
            Ok(LeaseOutcome::Taken(_)) => None,
            Err(error) => {
                tracing::warn!(replica = %self.identity, %error, "leadership could not be asked for");
                None
            }
        }
    }

    /// The generation above which a token must be, even where the state has lost its own: the store's, or, while the
    /// store is away, the one that this process works for.
    async fn known_generation(&self) -> Option<Generation> {
        match tokio::time::timeout(CALL, self.store.fence()).await {
            Ok(Ok(fence)) => Some(fence.max(self.generation())),
            _ => Some(self.generation()).filter(|known| *known > Generation(0)),
        }
    }

    /// Ends a term that a transition found stale, or that can't be renewed.
    pub fn note_end(&self, held: &Leadership) {
        held.end();
        let mut leadership = self.election.leadership.write();
        if leadership.as_ref().is_some_and(|now| Arc::ptr_eq(&now.term, &held.term)) {
            *leadership = None;
            show_no_leader();
            tracing::warn!(replica = %self.identity, counter = held.token.counter, "this process leads no more");
        }
    }

    /// Asks for and renews leadership until `stop` turns true; then the term is over, but its lease isn't given back yet:
    /// see [`Farm::step_down`].
    pub async fn keep_standing(&self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let leads = self.stand().await.is_some();
            tokio::select! {
                () = tokio::time::sleep(if leads { RENEW } else { ASK }) => {}
                changed = stop.changed() => if changed.is_err() { break },
            }
        }
        self.retire();
    }

    /// Ends a term, and begins none any more.
    fn retire(&self) {
        self.election.retired.store(true, Ordering::Release);
        if let Some(held) = &*self.election.leadership.read() {
            held.end();
        }
    }

    /// Gives leadership back at once, so that another may begin. Whatever a leader does must have ended.
    pub async fn step_down(&self) {
        self.retire();
        let _turn = self.election.turn.lock().await;
        let Some(held) = self.election.leadership.write().take() else { return };
        show_no_leader();
        let released = within(self.state.lease_release(LeaseName::Leader, held.token)).await;
        tracing::info!(replica = %self.identity, ?released, "leadership handed over");
    }
}

/// What only a leader tells of the farm is no longer this process's to tell.
fn show_no_leader() {
    catalogue::LEADER.set([], 0.0);
    forget_gauges();
}

/// What came of asking for a lease, for metrics.
pub(super) fn outcome_name(granted: &StateResult<LeaseOutcome>) -> &'static str {
    match granted {
        Ok(LeaseOutcome::Held(_)) => "granted",
        Ok(LeaseOutcome::Taken(_)) => "taken",
        Err(_) => "failed",
    }
}

async fn within<T>(call: impl Future<Output = StateResult<T>>) -> Option<StateResult<T>> {
    tokio::time::timeout(CALL, call).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock::ManualClock;

    fn term(clock: &ManualClock) -> Leadership {
        let token = Token { generation: Generation(3), counter: 7 };
        Leadership::new(token, Arc::new(clock.clone()), clock.monotonic(), LEASE)
    }

    #[test]
    fn a_term_ends_before_its_lease_and_counts_from_before_the_call() {
        let clock = ManualClock::new(Millis(1_000_000));
        let leadership = term(&clock);
        clock.advance(9_999);
        assert!(leadership.holds());
        clock.advance(1);
        assert!(!leadership.holds());
        assert!(matches!(leadership.check(), Err(ServiceError::Superseded(_))));
        let asked = clock.monotonic();
        clock.advance(4_000);
        leadership.extend(asked);
        clock.advance(5_999);
        assert!(leadership.holds());
        clock.advance(1);
        assert!(!leadership.holds());
    }

    #[tokio::test]
    async fn work_stops_where_it_stands_when_the_term_is_over() {
        let clock = ManualClock::new(Millis(1_000_000));
        let leadership = term(&clock);
        assert_eq!(leadership.during(async { Ok(5) }).await, Ok(5));
        let endless = leadership.during(async {
            clock.advance(11_000);
            std::future::pending::<()>().await;
            Ok(())
        });
        assert!(matches!(endless.await, Err(ServiceError::Superseded(_))));
    }

    #[test]
    fn a_clock_that_was_set_gives_everybody_time() {
        let clock = ManualClock::new(Millis(1_000_000));
        let leadership = term(&clock);
        leadership.compare_clocks(Millis(5_000_000));
        clock.advance(200_000);
        leadership.compare_clocks(Millis(5_200_000 + 29_000));
        assert!(leadership.may_bury(), "that much may be the drift of a while");
        for step in [31_000, -31_000] {
            clock.advance(1_000_000);
            assert!(leadership.may_bury());
            let (_, before) = leadership.term.compared.lock().unwrap();
            leadership.compare_clocks(Millis(before.0 + 1_000_000 + step));
            assert!(!leadership.may_bury());
        }
    }
}

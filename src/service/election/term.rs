//! A term of leadership: how long it holds, by this process's monotonic clock, and what is done under it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::RwLock;

use crate::domain::ids::{Millis, Token};
use crate::service::error::{ServiceError, ServiceResult};
use crate::sys::clock::Clock;
use crate::telemetry::catalogue;

/// So long before its lease can end a leader stops.
const MARGIN: Duration = Duration::from_secs(2);

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
    /// By the monotonic clock, ms; 0 when it was ended.
    valid_until: AtomicU64,
    mercy_until: AtomicU64,
    /// Both clocks when they were last compared.
    compared: Mutex<Option<(Duration, Millis)>>,
    /// Read-locked by each work that is under way.
    works: RwLock<()>,
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
            works: RwLock::new(()),
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
        // Held for longer than the work lives. Who asks for all of them has ended the term.
        let _under_way = self.term.works.try_read().map_err(|_| over())?;
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

    /// The term goes on: its lease, of `lease`, was renewed by a call sent at `asked`. One that was ended meanwhile stays so.
    pub(super) fn extend(&self, asked: Duration, lease: Duration) {
        let until = ms(asked + lease.saturating_sub(MARGIN));
        let valid_until = &self.term.valid_until;
        let extended =
            valid_until.fetch_update(Ordering::AcqRel, Ordering::Acquire, |was| (was > 0).then_some(until));
        let _ = extended;
    }

    /// The term is over, for all clones of it and for good. What is under way stops soon: see [`Leadership::idle`].
    pub(super) fn end(&self) {
        self.term.valid_until.store(0, Ordering::Release);
    }

    /// After its end: waits until nothing that was done under it is under way.
    pub(super) async fn idle(&self) {
        drop(self.term.works.write().await);
    }

    /// Whether both are of the same term.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.term, &other.term)
    }
}

fn over() -> ServiceError {
    ServiceError::Superseded("this process does not lead any more".to_owned())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::domain::ids::Generation;
    use crate::sys::clock::ManualClock;

    const LEASE: Duration = Duration::from_secs(12);

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
        leadership.extend(asked, LEASE);
        clock.advance(5_999);
        assert!(leadership.holds());
        clock.advance(1);
        assert!(!leadership.holds());
    }

    #[test]
    fn a_term_that_was_ended_is_not_extended_by_an_answer_that_comes_later() {
        let clock = ManualClock::new(Millis(1_000_000));
        let leadership = term(&clock);
        leadership.extend(clock.monotonic(), LEASE);
        assert!(leadership.holds());
        leadership.end();
        leadership.extend(clock.monotonic(), LEASE);
        assert!(!leadership.holds() && !leadership.clone().holds());
    }

    #[tokio::test]
    async fn a_term_is_idle_when_its_work_is_gone() {
        struct Work<'a>(&'a Cell<bool>);
        impl Drop for Work<'_> {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let clock = ManualClock::new(Millis(1_000_000));
        let leadership = term(&clock);
        let gone = Cell::new(false);
        let work = leadership.during(async {
            let _work = Work(&gone);
            std::future::pending::<()>().await;
            Ok(())
        });
        let end = async {
            tokio::task::yield_now().await;
            assert!(!gone.get());
            leadership.end();
            leadership.idle().await;
            assert!(gone.get(), "it is still under way");
        };
        let (work, ()) = tokio::join!(work, end);
        assert!(matches!(work, Err(ServiceError::Superseded(_))));
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

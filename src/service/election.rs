//! Who leads: one replica at a time runs the periodic jobs and rebuilds the schedule.
//!
//! The lease is the state's; what it lets this process do is measured here, by this process's own monotonic clock: from
//! before the granting call was sent, until some time before the lease can end. So a leader that can't renew has stopped
//! before another may begin, whatever its calls do. What it started all the same is refused by its token. Who gives the lease
//! back before its time has ended its term first, and waited until nothing that it did as the leader is under way.

mod term;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};

pub use self::term::Leadership;
use super::Farm;
use super::gauges::forget_gauges;
use crate::domain::ids::Generation;
use crate::state::{LeaseName, LeaseOutcome, StateResult};
use crate::telemetry::catalogue;

/// A leader that doesn't renew for this long is replaced.
const LEASE: Duration = Duration::from_secs(12);

/// How often a leader renews.
const RENEW: Duration = Duration::from_secs(3);

/// How often the others look whether they may lead.
const ASK: Duration = Duration::from_secs(1);

/// How long a renewal may take; what comes later counts for nothing.
const CALL: Duration = Duration::from_secs(3);

/// What this process knows of its own leadership.
#[derive(Debug, Default)]
pub struct Election {
    leadership: RwLock<Option<Leadership>>,
    /// Held by who asks: two at once would count from each other's calls.
    turn: tokio::sync::Mutex<()>,
    retired: AtomicBool,
    /// Whether it may lead has changed.
    changed: Notify,
    /// Since when nobody led, as far as this process saw, by the monotonic clock.
    vacant_since: Mutex<Option<Duration>>,
}

impl Election {
    /// Whether this process may lead has changed: it stands, or gives leadership back, at once.
    pub(super) fn reconsider(&self) {
        self.changed.notify_one();
    }
}

impl Farm {
    /// This process's leadership, while it has it.
    pub fn leadership(&self) -> Option<Leadership> {
        self.election.leadership.read().clone().filter(Leadership::holds)
    }

    /// Why this process must not lead; None if it may.
    fn unfit(&self) -> Option<&'static str> {
        if self.is_draining() {
            // Its scheduler stops, and steps down; whoever asks here before that begins no term any more.
            return Some("it was told to stop");
        }
        if !self.membership.is_in_touch(self.clock.monotonic()) {
            return Some("it is cut off, and its jobs would only fail");
        }
        // Its jobs write, and what they know of the store is no longer true.
        self.misfit().then_some("the schema doesn't fit this version")
    }

    /// Renews leadership, or asks for it if nobody has it. None if this process doesn't lead afterwards. One that must not
    /// lead gives it back.
    pub async fn stand(&self) -> Option<Leadership> {
        let _turn = self.election.turn.lock().await;
        if self.election.retired.load(Ordering::Acquire) {
            return None;
        }
        let held = self.election.leadership.read().clone();
        if let Some(why) = self.unfit() {
            // It doesn't look who leads meanwhile.
            *self.election.vacant_since.lock() = None;
            if let Some(held) = held {
                self.note_end(&held);
                self.give_back(&held, why).await;
            }
            return None;
        }
        if let Some(held) = held {
            if self.renew(&held).await {
                return Some(held);
            }
            self.note_end(&held);
        }
        if self.election.retired.load(Ordering::Acquire) {
            return None;
        }
        let begun = self.ask().await?;
        if self.election.retired.load(Ordering::Acquire) {
            // Told to stop while it asked: no term begins; what the last one did ends before its lease is given back.
            begun.end();
            let last = self.election.leadership.write().take();
            show_no_leader();
            self.give_back(&last.unwrap_or(begun), "it ends").await;
            return None;
        }
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
                held.extend(asked, LEASE);
                if let Some(Ok(now)) = within(self.state.now()).await {
                    held.compare_clocks(now);
                }
                held.holds()
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
        if self.election.retired.load(Ordering::Acquire) {
            // The term is over because this process ends; whoever ends it gives the lease back.
            return;
        }
        let mut leadership = self.election.leadership.write();
        if leadership.as_ref().is_some_and(|now| now.is(held)) {
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
                () = self.election.changed.notified() => {}
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

    /// Gives leadership back at once, so that another may begin; there is no way back.
    pub async fn step_down(&self) {
        self.retire();
        let _turn = self.election.turn.lock().await;
        let Some(held) = self.election.leadership.write().take() else { return };
        held.end();
        show_no_leader();
        self.give_back(&held, "it ends").await;
    }

    /// Gives the lease of a term back that was ended, so that another may begin at once. What was done under it stops first,
    /// within a tick; a lease that can't be given back ends by itself.
    async fn give_back(&self, held: &Leadership, why: &str) {
        if tokio::time::timeout(CALL, held.idle()).await.is_err() {
            tracing::warn!(replica = %self.identity, why, "a leader's work doesn't stop; the lease is left to its end");
            return;
        }
        let released = within(self.state.lease_release(LeaseName::Leader, held.token)).await;
        tracing::info!(replica = %self.identity, why, ?released, "leadership handed over");
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

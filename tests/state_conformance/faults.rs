//! "Scripts read and check everything, then write; nothing that can fail follows the first write" (`durability.md` section 11):
//! a fault at every call of every script, on a real server, through all that the other tests of the state do.

use std::sync::Arc;

use shoal::domain::ids::Millis;
use shoal::state::StateError;
use shoal::sys::clock::ManualClock;
use tokio::sync::Mutex;

use super::calls::World;
use super::fixture::{Fixture, redis_state};
use super::picture::COMPACT;
use super::trial::{Change, Fails, Trial, all_scripts};
use super::way::Way;
use super::{claims, leases, phases, random_histories, reports};
use crate::cluster::redis::{RedisServer, Variant};

/// A server of its own, before which every script is tried out.
pub struct Faults {
    _server: RedisServer,
    way: Way,
    trial: Arc<Mutex<Trial>>,
}

impl Faults {
    async fn start() -> Option<Self> {
        Self::make(true).await
    }

    /// One where scripts are let through as they are.
    pub async fn without_trials() -> Option<Self> {
        Self::make(false).await
    }

    async fn make(tries: bool) -> Option<Self> {
        let server = RedisServer::start_with(Variant::Standalone, COMPACT)?;
        let trial = Arc::new(Mutex::new(Trial::new(&server.url(), tries).await));
        let way = Way::to(server.port, trial.clone()).await;
        Some(Self { _server: server, way, trial })
    }

    pub fn url(&self) -> String {
        self.way.url()
    }

    /// When that script is met next, it alone finds something else.
    pub async fn change(&self, script: &str, change: Change) {
        self.trial.lock().await.change(script, change);
    }

    pub async fn has_changed(&self) -> bool {
        self.trial.lock().await.has_changed()
    }

    /// A new schedule, held to the one in this process's memory: what a trial didn't put back would show.
    pub async fn fixture(&self) -> Fixture {
        Fixture::twin_at(&self.way.url()).await
    }
}

#[tokio::test]
async fn nothing_that_can_fail_follows_the_first_write() {
    let Some(faults) = Faults::start().await else { return };
    claims::on_faults::each(&faults).await;
    leases::on_faults::each(&faults).await;
    phases::on_faults::each(&faults).await;
    reports::on_faults::each(&faults).await;
    random_histories::some_histories(&faults, 4).await;
    let trial = faults.trial.lock().await;
    trial.judge();
    trial.judge_exceptions();
}

#[tokio::test]
async fn an_error_at_any_call_reaches_whoever_asked() {
    let Some(faults) = Faults::start().await else { return };
    for script in all_scripts() {
        for (fails, clock) in [
            (Fails::First, Some(ManualClock::new(Millis(1_700_000_000_000)))),
            // And by the server's clock, which is asked by a call, too.
            (Fails::FirstWrite, None),
        ] {
            if fails == Fails::FirstWrite && READING.contains(&&*script) {
                continue;
            }
            let state = redis_state(&faults.way.url(), clock.as_ref()).await;
            let clock = clock.unwrap_or_else(|| ManualClock::new(Millis(0)));
            let world = World::new(Fixture::begin(state, clock).await).await;
            faults.trial.lock().await.raise(&script, fails);
            let failed = world.call(&script).await;
            assert!(faults.trial.lock().await.has_raised(), "{script} was not called");
            assert!(matches!(failed, Err(StateError::Bug(_))), "{script}, {fails:?}: {failed:?}");
            assert_eq!(world.call(&script).await, Ok(()), "{script}: once more");
        }
    }
    let trial = faults.trial.lock().await;
    assert_eq!(*trial.names(), all_scripts());
    trial.judge();
}

/// Scripts that write nothing.
pub const READING: [&str; 14] = [
    "audit_run",
    "census",
    "dirty_backlog",
    "find_dead",
    "lease_read",
    "list_runs",
    "peek_dirty",
    "peek_dirty_run",
    "read_fold",
    "read_generation",
    "read_run",
    "read_tasks",
    "scan_table",
    "task_numbers",
];

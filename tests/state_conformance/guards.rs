//! What each script checks before anything else, and what keeps a stale holder out: another schedule, another history of the
//! server, another token.

use shoal::domain::ids::*;
use shoal::domain::run::RunKind;
use shoal::state::*;
use shoal::sys::clock::ManualClock;

use super::calls::World;
use super::faults::Faults;
use super::fixture::*;
use super::trial::{Change, all_scripts};
use crate::cluster::redis::{RedisServer, Variant};

/// Scripts that serve whatever the schedule is.
const UNGUARDED: [&str; 7] = [
    "lease_acquire",
    "lease_read",
    "lease_release",
    "lease_renew",
    "rate_limit",
    "read_generation",
    "set_generation",
];

/// Scripts that a rebuild uses before its schedule serves.
const LOADING: [&str; 4] = ["block_worker", "load_run", "load_seen", "load_tasks"];

/// What is answered when one script meets a change, whatever is asked before and after.
async fn after(faults: &Faults, script: &str, change: Change) -> StateResult<()> {
    let state = redis_state(&faults.url(), None).await;
    let world = World::new(Fixture::begin(state, ManualClock::new(Millis(0))).await).await;
    faults.change(script, change).await;
    let answer = world.call(script).await;
    assert!(faults.has_changed().await, "{script} was not called");
    answer
}

#[tokio::test]
async fn every_script_refuses_a_schedule_that_does_not_serve_and_another_history() {
    let Some(faults) = Faults::without_trials().await else { return };
    for script in all_scripts().iter().filter(|script| !UNGUARDED.contains(&script.as_str())) {
        let foreign = after(&faults, script, (1, "replid", "another")).await;
        assert_eq!(foreign, Err(StateError::Foreign), "{script}");
        let loading = after(&faults, script, (1, "state", "loading")).await;
        let expected = if LOADING.contains(&script.as_str()) { Ok(()) } else { Err(StateError::NotLoaded) };
        assert_eq!(loading, expected, "{script}");
    }
}

#[tokio::test]
async fn what_a_leader_does_is_refused_at_each_step_once_it_is_none() {
    let Some(faults) = Faults::without_trials().await else { return };
    for script in ["clean_workers", "clean_seen"] {
        let stale = after(&faults, script, (2, "n", "1")).await;
        assert_eq!(stale, Err(StateError::StaleToken), "{script}");
    }
    // Two replicas load the same run: what the later one adds is of its own loading only.
    let other = after(&faults, "load_tasks", (2, "load", "another")).await;
    assert!(matches!(other, Err(StateError::Bug(_))), "{other:?}");
}

#[tokio::test]
async fn tokens_increase_whatever_the_server_has_lost() {
    let Some(server) = RedisServer::start(Variant::Standalone) else { return };
    let state = redis_state(&server.url(), None).await;
    let f = Fixture::begin(state, ManualClock::new(Millis(0))).await;
    let first = f.leader().await;
    let other = Token { generation: Generation(first.generation.0 + 1), ..first };
    let ttl = std::time::Duration::from_secs(100);
    assert!(!f.state.lease_renew(LeaseName::Leader, other, ttl).await.unwrap(), "of another generation");
    assert!(!f.state.lease_release(LeaseName::Leader, other).await.unwrap());
    let keys: Vec<String> = server.ask(&["KEYS", "*:lease:*"]);
    assert_eq!(keys.len(), 2, "{keys:?}");
    server.ask::<()>(&["DEL", &keys[0], &keys[1]]);
    let second = f.leader().await;
    assert!(second.counter > first.counter, "{second:?} after {first:?}");
    // The store may know of a newer schedule than the server does.
    let newer = f.state.lease_acquire(LeaseName::RequestTask, "a", ttl, Generation(7)).await.unwrap();
    let LeaseOutcome::Held(token) = newer else { panic!("{newer:?}") };
    assert_eq!(token.generation, Generation(7));
}

#[tokio::test]
async fn a_running_run_is_not_closed_by_whatever_operation() {
    let Some(server) = RedisServer::shared() else { return };
    let state = redis_state(&server.url(), None).await;
    let f = Fixture::begin(state, ManualClock::new(Millis(0))).await;
    let operation = operation();
    let run = RunLoad { operation: Some(operation.clone()), ..load(RunKind::Games, 1000) };
    assert!(f.state.load_run(G, run.clone()).await.unwrap());
    f.claim(run.id, &worker(1, 0), 100).await;
    assert!(f.close_slice(run.id, &operation, 10).await.is_err());
}

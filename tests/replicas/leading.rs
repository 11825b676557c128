//! One leader at a time, by everybody's own clock, and a stale one changes nothing.

use std::time::Duration;

use serde_json::json;
use shoal::service::ServiceError;
use shoal::state::{LeaseName, LeaseOutcome, SchedulingState, SetRunFields, StateError};

use super::place::*;
use crate::service::farm::{Worker, drawn};

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_can_not_renew_has_stopped_before_another_begins() {
    over_a_file(async |place| {
        let (first, second) = place.pair().await;
        let term = first.farm.leadership().unwrap();
        let mut led_by_nobody = 0;
        for _ in 0..130 {
            place.pass(&[&first, &second], 100);
            let (a, b) = (first.farm.leadership().is_some(), second.farm.stand().await.is_some());
            assert!(!(a && b), "two lead");
            led_by_nobody += usize::from(!a && !b);
        }
        assert!(second.farm.leadership().is_some() && first.farm.stand().await.is_none());
        assert!((15..=25).contains(&led_by_nobody), "{led_by_nobody} tenths of a second without a leader");
        assert!(matches!(term.check(), Err(ServiceError::Superseded(_))));
        assert!(second.farm.leadership().unwrap().token > term.token);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_renews_stays_and_one_that_steps_down_is_replaced_at_once() {
    over_a_file(async |place| {
        let (first, second) = place.pair().await;
        for _ in 0..20 {
            place.pass(&[&first, &second], 3_000);
            first.serves().await;
            second.serves().await;
            assert!(first.farm.stand().await.is_some() && second.farm.stand().await.is_none());
        }
        first.farm.step_down().await;
        assert!(first.farm.leadership().is_none());
        assert!(second.farm.stand().await.is_some());
        assert!(first.farm.stand().await.is_none(), "it has retired");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_job_is_cut_short_by_its_end_hands_over_all_the_same() {
    over_a_file(async |place| {
        let (first, second) = place.pair().await;
        let term = first.farm.leadership().unwrap();
        // The process is told to stop: the term ends, and a job that was under way finds out first.
        let (_stop, stopped) = tokio::sync::watch::channel(true);
        first.farm.keep_standing(stopped).await;
        assert!(matches!(term.check(), Err(ServiceError::Superseded(_))));
        first.farm.note_end(&term);
        assert!(second.farm.stand().await.is_none(), "its lease goes on until it is given back");
        first.farm.step_down().await;
        assert!(second.farm.stand().await.is_some(), "the lease was left to its end");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_slept_past_its_lease_changes_nothing() {
    over_each_store(async |place| {
        let (sleeper, second) = place.pair().await;
        let run = second.approved(json!({ "num_games": 1000 })).await;
        let worker = Worker::new(1, 7);
        let key = second.task(&worker).await;
        second.update(&worker, key, drawn(100)).await;
        let stale = sleeper.farm.leadership().unwrap();
        // Its clock stood still: to itself it leads.
        place.pass(&[&second], 400_000);
        second.serves().await;
        assert!(second.farm.stand().await.is_some());
        assert!(stale.holds());
        let before = place.state.read_run(run).await.unwrap().unwrap();
        let version = before.version;
        let superseded = |result| assert!(matches!(result, Err(ServiceError::Superseded(_))), "{result:?}");
        // Past the mercy of its beginning, and yet within its lease by its own clock.
        let clock = std::sync::Arc::new(sleeper.clock.clone());
        let ago = shoal::sys::clock::Clock::monotonic(&sleeper.clock);
        let hour = Duration::from_secs(3600);
        let stale = shoal::service::election::Leadership::new(stale.token, clock, ago, hour);
        sleeper.clock.advance(200_000);
        superseded(sleeper.farm.scavenge(&stale).await);
        superseded(sleeper.farm.update_itp(&stale).await);
        superseded(sleeper.farm.update_speed(&stale).await);
        assert_eq!(place.state.clean(stale.token).await, Err(StateError::StaleToken));
        let fields = SetRunFields { run, args: None, itp: Some(1.0), speed: None, leader: Some(stale.token) };
        let refused = place.state.set_run_fields(sleeper.farm.generation(), fields).await;
        assert_eq!(refused, Err(StateError::StaleToken));
        assert!(!place.state.lease_release(LeaseName::Leader, stale.token).await.unwrap());
        let after = place.state.read_run(run).await.unwrap().unwrap();
        assert_eq!((after.version, after.itp, after.counters.workers), (version, before.itp, 1));
        // The real one closes the silent task.
        let leads = second.farm.leadership().unwrap();
        assert!(!leads.may_bury(), "it has just begun");
        place.pass(&[&second], 9_000);
        second.farm.scavenge(&leads).await.unwrap();
        assert_eq!(place.state.read_run(run).await.unwrap().unwrap().counters.workers, 1, "mercy");
        for _ in 0..20 {
            second.serves().await;
            assert!(second.farm.stand().await.is_some());
            place.pass(&[&second], 9_000);
        }
        second.farm.scavenge(&leads).await.unwrap();
        assert_eq!(place.state.read_run(run).await.unwrap().unwrap().counters.workers, 0);
        place.check(run).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_increase_even_where_the_schedule_lost_its_own() {
    over_a_file(async |place| {
        let (first, second) = place.pair().await;
        let mut last = first.farm.leadership().unwrap().token;
        for turn in 0..4 {
            place.state.lose_everything();
            place.pass(&[&first, &second], 20_000);
            let next = if turn % 2 == 0 { &second } else { &first };
            next.serves().await;
            let LeaseOutcome::Held(token) = place
                .state
                .lease_acquire(
                    LeaseName::Leader,
                    &next.farm.identity,
                    Duration::from_secs(12),
                    next.farm.generation(),
                )
                .await
                .unwrap()
            else {
                panic!()
            };
            // The token of the election was granted before the generation was raised.
            assert!(token >= last, "{token:?} after {last:?}");
            place.state.lease_release(LeaseName::Leader, token).await.unwrap();
            let again = place.replica();
            again.serves().await;
            let token = again.farm.stand().await.unwrap().token;
            assert!(token > last, "{token:?} after {last:?}");
            again.farm.step_down().await;
            last = token;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_buries_nobody() {
    over_a_file(async |place| {
        let (first, _second) = place.pair().await;
        let run = first.approved(json!({ "num_games": 1000 })).await;
        let key = first.task(&Worker::new(1, 7)).await;
        let leads = first.farm.leadership().unwrap();
        for _ in 0..20 {
            place.pass(&[&first], 9_000);
            first.serves().await;
            assert!(first.farm.stand().await.is_some());
            assert!(Worker::new(1, 7).beats(&first.farm, key).await);
        }
        assert!(leads.may_bury());
        // The schedule's clock is set an hour forward; the lease ends with it, and the leader is elected again.
        place.clock.advance(3_600_000);
        first.farm.scavenge(&leads).await.unwrap();
        assert!(!leads.may_bury());
        assert!(first.farm.stand().await.is_some());
        first.farm.scavenge(&first.farm.leadership().unwrap()).await.unwrap();
        assert_eq!(place.state.read_run(run).await.unwrap().unwrap().counters.workers, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_from_the_store_leaves_it_to_another() {
    over_a_file(async |place| {
        let (first, second) = place.pair().await;
        first.faults.deaf.store(true, std::sync::atomic::Ordering::SeqCst);
        for _ in 0..8 {
            place.pass(&[&first, &second], 2_000);
            assert!(first.farm.look(true).await.is_err());
            assert!(first.farm.is_ready(), "heartbeats go on");
            second.serves().await;
            first.farm.stand().await;
        }
        assert!(first.farm.leadership().is_none());
        assert!(second.farm.stand().await.is_some(), "at once: the lease was given back");
        first.faults.heal();
        first.serves().await;
        assert!(first.farm.stand().await.is_none());
    })
    .await;
}

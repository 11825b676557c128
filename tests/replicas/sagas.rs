//! Ends and purges of runs, carried out by a replica that dies anywhere, by two at once, or by one after the other (P3).

use std::sync::atomic::Ordering;

use serde_json::json;
use shoal::domain::ids::{RunId, TaskKey};
use shoal::domain::results::Stats;
use shoal::service::Farm;
use shoal::state::SchedulingState;

use super::place::*;
use crate::service::farm::{Worker, drawn, trust};

/// What becomes of the replica that began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It is dead: the other one goes on.
    Dies,
    /// It was only slow: both go on, at the same time.
    GoesOn,
}

/// What the leader does every second.
async fn tick(farm: &Farm) {
    // Whatever one replica's tick finds half done by the other is found again.
    drop(farm.sweep().await);
    drop(farm.take_up_sagas().await);
    drop(farm.flush_runs().await);
    drop(farm.reconcile().await);
}

/// A run one report before its end, with a task whose games a purge takes out: the other one has all it needs.
async fn nearly_over(first: &Replica, second: &Replica, auto_purge: bool) -> (RunId, Worker, TaskKey, Stats) {
    let run = first.approved(json!({ "num_games": 1000, "auto_purge": auto_purge })).await;
    let (bad, good) = (Worker::new(1, 7), Worker::new(2, 50));
    let key = second.task(&bad).await;
    second.update(&bad, key, Stats { crashes: 9, ..drawn(408) }).await;
    let key = first.task(&good).await;
    (run, good, key, drawn(1000))
}

async fn go_on(place: &Place, first: &Replica, second: &Replica, run: Option<RunId>, then: Then) {
    if then == Then::GoesOn {
        first.faults.heal();
    }
    for _ in 0..3 {
        place.pass(&[first, second], 6_000);
        if then == Then::GoesOn {
            tokio::join!(tick(&first.farm), tick(&second.farm));
        } else {
            tick(&second.farm).await;
        }
        if let Some(run) = run {
            place.settle(run).await;
        }
    }
}

fn count(log: &[String], what: &str) -> usize {
    log.iter().filter(|entry| entry.starts_with(what)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_a_replica_did_not_live_to_see_is_reached_once() {
    let mut interrupted = 0;
    for (then, answers_lost) in
        [(Then::Dies, false), (Then::Dies, true), (Then::GoesOn, false), (Then::GoesOn, true)]
    {
        for commits in 0..8 {
            let interrupted = &mut interrupted;
            over_a_file(async |place| {
                let (first, second) = place.pair().await;
                let (run, worker, key, stats) = nearly_over(&first, &second, true).await;
                first.faults.answers_lost.store(answers_lost, Ordering::SeqCst);
                first.faults.fail_after(commits);
                let acknowledged = worker.update(&first.farm, key, stats, None).await.is_ok();
                *interrupted += usize::from(first.faults.commits_left.load(Ordering::SeqCst) < 0);
                go_on(&place, &first, &second, Some(run), then).await;
                let what = format!("{then:?} after {commits} commits, answers lost {answers_lost}");
                let again = second.update(&worker, key, stats).await;
                assert!(
                    !again.alive && again.error.is_none(),
                    "{what}: {again:?}, acknowledged {acknowledged}"
                );
                place.settle(run).await;
                place.check(run).await;
                let log = place.log().await;
                assert_eq!(count(&log, "finished_run"), 1, "{what}: {log:?}");
                assert_eq!(count(&log, "purge_run: Auto purge"), 1, "{what}: {log:?}");
                let doc = place.store.run(run).await.unwrap().unwrap();
                assert!(doc.doc.get_bool("finished").unwrap() && doc.meta.operation.is_none(), "{what}");
                assert!(place.store.bad_task(run, 0).await.unwrap().is_some(), "{what}");
                assert!(place.store.bad_task(run, 1).await.unwrap().is_none(), "{what}");
                assert!(
                    first.farm.is_ready() && second.farm.is_ready(),
                    "{what}: the store contradicts nobody"
                );
            })
            .await;
        }
    }
    assert!(interrupted > 12, "the faults did hit: {interrupted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_purge_that_a_replica_did_not_live_to_see_is_completed_or_never_happened() {
    for then in [Then::Dies, Then::GoesOn] {
        for commits in 0..6 {
            over_a_file(async |place| {
                let (first, second) = place.pair().await;
                let (run, worker, key, stats) = nearly_over(&first, &second, false).await;
                first.update(&worker, key, stats).await;
                place.settle(run).await;
                first.faults.fail_after(commits);
                drop(first.farm.manual_purge(run, "alice").await);
                // One that died before there was an operation leaves the run open, for two minutes.
                go_on(&place, &first, &second, None, then).await;
                for _ in 0..2 {
                    place.pass(&[&first, &second], 121_000);
                    tick(&second.farm).await;
                }
                place.settle(run).await;
                place.check(run).await;
                let what = format!("{then:?} after {commits} commits");
                let log = place.log().await;
                let purged = place.store.bad_task(run, 0).await.unwrap().is_some();
                assert_eq!(count(&log, "purge_run: Manual purge"), usize::from(purged), "{what}: {log:?}");
                let again = second.farm.manual_purge(run, "bob").await;
                assert_eq!(again.is_ok(), !purged, "{what}: {again:?}");
                place.check(run).await;
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_end_and_purge_a_run_at_once_do_it_once() {
    over_each_store(async |place| {
        let (first, second) = place.pair().await;
        for turn in 0..6 {
            let (run, worker, key, stats) = nearly_over(&first, &second, turn % 2 == 0).await;
            // Begun by the first, which then hears nothing of its store for a while.
            first.faults.fail_after(turn);
            drop(worker.update(&first.farm, key, stats, None).await);
            first.faults.heal();
            drop(second.farm.flush_runs().await);
            if let Some(operation) = place.state.read_run(run).await.unwrap().and_then(|view| view.operation)
            {
                let id = operation.id;
                let ends = tokio::join!(
                    first.farm.close_down(run, id),
                    second.farm.close_down(run, id),
                    first.farm.close_down(run, id),
                    second.farm.close_down(run, id),
                );
                assert!(ends.0.is_ok() && ends.1.is_ok() && ends.2.is_ok() && ends.3.is_ok(), "{ends:?}");
            }
            place.settle(run).await;
            place.check(run).await;
            let both =
                tokio::join!(first.farm.manual_purge(run, "alice"), second.farm.manual_purge(run, "bob"));
            place.settle(run).await;
            place.check(run).await;
            assert!(!(both.0.is_ok() && both.1.is_ok()), "a purge that did something twice: {both:?}");
            assert!(first.farm.is_ready() && second.farm.is_ready(), "the store contradicts nobody");
        }
        let log = place.log().await;
        assert_eq!(count(&log, "finished_run"), 6, "{log:?}");
        assert_eq!(count(&log, "purge_run: Auto purge"), 3, "{log:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_stops_at_once_are_one() {
    over_each_store(async |place| {
        let (first, second) = place.pair().await;
        let run = first.approved(json!({ "num_games": 100_000 })).await;
        for number in 1..=5 {
            let worker = Worker::new(number, 7);
            let key = second.task(&worker).await;
            first.update(&worker, key, drawn(2)).await;
        }
        let stops = tokio::join!(
            first.farm.user_stop(run, "alice"),
            second.farm.user_stop(run, "bob"),
            first.farm.user_stop(run, "bob"),
            second.farm.user_stop(run, "alice"),
        );
        let done = [stops.0, stops.1, stops.2, stops.3].iter().filter(|stop| stop.is_ok()).count();
        assert_eq!(done, 1);
        place.settle(run).await;
        place.check(run).await;
        assert_eq!(count(&place.log().await, "stop_run"), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_counted_once_whoever_writes_the_end() {
    for then in [Then::Dies, Then::GoesOn] {
        for commits in 0..5 {
            over_a_file(async |place| {
                let (first, second) = place.pair().await;
                let run = first.approved(json!({ "num_games": 1000 })).await;
                let worker = Worker::new(1, 7);
                let key = second.task(&worker).await;
                trust(&first.farm, "carol", 5000.0).await;
                first.faults.answers_lost.store(true, Ordering::SeqCst);
                first.faults.fail_after(commits);
                drop(first.farm.stop_run(&worker.about(key, json!({ "message": "wrong bench" }))).await);
                go_on(&place, &first, &second, Some(run), then).await;
                place.check(run).await;
                let doc = place.store.run(run).await.unwrap().unwrap().doc;
                let what = format!("{then:?} after {commits} commits");
                assert_eq!(
                    (doc.get_bool("failed").ok(), doc.get_i32("failures").ok()),
                    (Some(true), Some(1)),
                    "{what}"
                );
                assert_eq!(count(&place.log().await, "stop_run"), 1, "{what}");
            })
            .await;
        }
    }
}

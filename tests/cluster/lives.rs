//! Replicas that live, die, sleep, and are replaced, while a fleet is at work.

use std::time::Duration;

use shoal::sys::clock::stopwatch;
use shoal::sys::random::seeded;

use super::drill::{Drill, Engines, Scale, scale, turn};
use super::leaders::LeaderWatch;
use super::redis::{RedisServer, Variant};

/// A leader that is killed has a successor by then (L3), and a busy machine has its time.
const SUCCESSION: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn a_run_comes_to_its_end_and_every_replica_has_had_its_share() {
    let _turn = turn().await;
    let Some(redis) = RedisServer::start(Variant::Standalone) else { return };
    let replicas = scale().replicas;
    let Some(drill) = Drill::start("shared", &redis.url(), replicas, Engines::Differ).await else { return };
    let (farm, _) = drill.finish_by_itself().await;
    let shares = farm.balancer().shares();
    eprintln!("shares: {shares:?}");
    let all: u64 = shares.iter().map(|share| share.good).sum();
    for share in &shares {
        assert!(share.good * 4 * shares.len() as u64 > all, "a replica had less than a quarter of its share");
    }
    // Those who report at once fold together, and don't race each other for what one of them can commit.
    let (mut folds, mut reports) = (0.0, 0.0);
    for number in 0..replicas {
        let metrics = farm.metrics(number).await.unwrap();
        folds += metrics.sum_with("shoal_redis_script_calls_total", "script=\"commit_fold\"");
        reports += metrics.sum_with("shoal_redis_script_calls_total", "script=\"update_task\"");
    }
    eprintln!("{reports} reports, {folds} folds committed or tried");
    assert!(reports > 0.0 && folds <= 1.5 * reports, "{reports} reports, {folds} folds");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_nothing_acknowledged_is_lost() {
    let _turn = turn().await;
    let Some(redis) = RedisServer::start(Variant::Standalone) else { return };
    let Scale { replicas, kills, leaders_killed, between, .. } = scale();
    let started = Drill::start("killed", &redis.url(), replicas, Engines::AreClose).await;
    let Some(mut drill) = started else { return };
    let watch = LeaderWatch::start(&drill.farm);
    let mut rng = seeded(5);
    for _ in 0..leaders_killed {
        let (leader, token) = drill.farm.leader_other_than(None, SUCCESSION).await;
        watch.sees(token).await;
        drill.farm.kill(leader);
        let began = stopwatch();
        let (successor, its_token) = drill.farm.leader_other_than(Some(leader), SUCCESSION).await;
        watch.sees(its_token).await;
        eprintln!("replica {leader} was killed; {successor} led after {:?}", began.elapsed());
        assert!(its_token > token, "tokens grow: {token}, {its_token}");
        drill.farm.run(leader);
        for _ in 0..kills {
            tokio::time::sleep(between).await;
            let unlucky = drill.farm.any(&mut rng);
            drill.farm.ready(unlucky).await;
            drill.farm.kill(unlucky);
            drill.farm.run(unlucky);
        }
    }
    for number in 0..replicas {
        drill.farm.ready(number).await;
    }
    drill.farm.leader_other_than(None, SUCCESSION).await;
    eprintln!("times without a leader: {:?}", watch.gaps());
    eprintln!("longest time without an assignment: {:?}", drill.prober.longest_pause());
    watch.finish();
    assert!(watch.gaps().len() >= leaders_killed, "{:?}", watch.gaps());
    drill.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_slept_through_its_lease_changes_nothing() {
    let _turn = turn().await;
    let Some(redis) = RedisServer::start(Variant::Standalone) else { return };
    let started = Drill::start("asleep", &redis.url(), scale().replicas, Engines::AreClose).await;
    let Some(mut drill) = started else { return };
    let watch = LeaderWatch::start(&drill.farm);
    let (leader, token) = drill.farm.leader_other_than(None, SUCCESSION).await;
    drill.farm.process(leader).pause();
    let (successor, its_token) = drill.farm.leader_other_than(Some(leader), SUCCESSION).await;
    assert!(its_token > token, "tokens grow: {token}, {its_token}");
    let jobs_before = drill.farm.log(leader).matches("a periodic job").count();
    drill.farm.process(leader).resume();
    drill.farm.ready(leader).await;
    // It has had every opportunity to act on what it believed.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let metrics = drill.farm.metrics(leader).await.unwrap();
    assert_eq!(metrics.sum("shoal_leader"), 0.0, "it believes to lead");
    assert_eq!(drill.farm.leader().await, Some((successor, its_token)));
    let log = drill.farm.log(leader);
    eprintln!("periodic jobs that failed at it: {}", log.matches("a periodic job").count() - jobs_before);
    assert!(
        log.contains("this process leads no more"),
        "it said nothing about having lost its lease:\n{log}"
    );
    watch.finish();
    drill.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_costs_no_worker_anything() {
    let _turn = turn().await;
    let Some(redis) = RedisServer::start(Variant::Standalone) else { return };
    let replicas = scale().replicas;
    let started = Drill::start("rolling", &redis.url(), replicas, Engines::AreClose).await;
    let Some(mut drill) = started else { return };
    let watch = LeaderWatch::start(&drill.farm);
    // The leader goes first, so that the office moves at least once.
    let (leader, token) = drill.farm.leader_other_than(None, SUCCESSION).await;
    watch.sees(token).await;
    for number in (0..replicas).map(|step| (leader + step) % replicas) {
        assert!(drill.farm.terminate(number).await, "SIGTERM ends in exit code 0");
        drill.farm.run(number);
        drill.farm.ready(number).await;
        drill.farm.seen_by_balancer().await;
    }
    drill.farm.leader_other_than(None, SUCCESSION).await;
    eprintln!("times without a leader: {:?}", watch.gaps());
    eprintln!("longest time without an assignment: {:?}", drill.prober.longest_pause());
    watch.finish();
    assert!(!watch.gaps().is_empty(), "the office never moved");
    // Two seconds (L3) where nothing else is done on the machine. Where it is busy, giving up the office may come too late; then
    // the lease ends by itself.
    let most = if super::drill::long() { Duration::from_secs(8) } else { SUCCESSION };
    assert!(watch.gaps().iter().all(|gap| *gap < most), "{:?}", watch.gaps());
    drill.finish().await;
}

//! A Redis that loses what it knew, all or some of it, while a fleet is at work: it is a cache of the schedule, and
//! nothing acknowledged goes with it.

use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::Value;
use shoal::sys::clock::stopwatch;
use shoal::sys::random::seeded;

use super::drill::{Drill, Engines, Scale, scale, turn};
use super::farm::Farm;
use super::redis::{Memory, RedisServer, Variant};
use super::sentinel::{MASTER, Sentinels};

/// Ten seconds (L4); a machine whose two cores the whole farm and its fleet share has its time.
const BACK: Duration = Duration::from_secs(40);

/// A fleet at work over a Redis of its own.
async fn at_work(name: &str) -> Option<(RedisServer, Drill)> {
    let redis = RedisServer::start(Variant::Standalone)?;
    let drill = Drill::start(name, &redis.url(), scale().replicas, Engines::AreClose).await?;
    Some((redis, drill))
}

/// Until tasks are served again, and every replica is ready. The trouble began at `since`; what is asked from `gone` on
/// can't be answered out of what was there before.
async fn healed(drill: &mut Drill, since: Instant, gone: Instant, what: &str) {
    let served = drill.prober.served_again(gone, BACK).await.duration_since(since);
    for number in 0..drill.farm.replicas.len() {
        drill.farm.ready(number).await;
    }
    eprintln!(
        "{what}: tasks were served again after {served:?}, every replica was ready after {:?}",
        since.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_restarts_with_or_without_its_data_costs_some_seconds() {
    let _turn = turn().await;
    let Some((mut redis, mut drill)) = at_work("restarted").await else { return };
    let old = redis.snapshot();
    for (what, memory) in [
        ("with its data", Memory::Kept),
        ("without", Memory::Lost),
        ("from an old snapshot", Memory::Old(&old)),
    ] {
        tokio::time::sleep(scale().between).await;
        let began = stopwatch();
        tokio::task::block_in_place(|| redis.restart(&memory));
        healed(&mut drill, began, stopwatch(), &format!("Redis restarted {what}")).await;
    }
    drill.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_in_the_middle_of_writes_loses_nothing_acknowledged() {
    let _turn = turn().await;
    let Some(mut sentinels) = tokio::task::block_in_place(Sentinels::start) else { return };
    let url = format!("redis+sentinel://{}/{MASTER}", sentinels.addresses().join(","));
    let replicas = scale().replicas;
    let Some(mut drill) = Drill::start("failover", &url, replicas, Engines::AreClose).await else { return };
    tokio::time::sleep(scale().between).await;
    let old = sentinels.servers[0].port;
    let began = stopwatch();
    sentinels.servers[0].kill();
    let gone = stopwatch();
    let place = tokio::task::block_in_place(|| sentinels.wait_for_failover(old));
    assert_eq!(place, 1);
    eprintln!("the sentinels took {:?}", began.elapsed());
    healed(&mut drill, began, gone, "failover").await;
    // The old one comes back, thinks for a moment that it is the primary, and is told otherwise.
    tokio::task::block_in_place(|| sentinels.servers[0].run());
    tokio::time::sleep(scale().between).await;
    let began = stopwatch();
    healed(&mut drill, began, began, "the old primary came back").await;
    eprintln!("longest time without an assignment: {:?}", drill.prober.longest_pause());
    drill.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_is_filled_again_and_holds_what_it_held() {
    let _turn = turn().await;
    let Some((redis, mut drill)) = at_work("emptied").await else { return };
    let Scale { flushes, between, .. } = scale();
    let mut rng = seeded(8);
    for number in 0..flushes {
        tokio::time::sleep(between.mul_f64(rng.random_range(0.3..1.0))).await;
        let began = stopwatch();
        redis.flush();
        healed(&mut drill, began, stopwatch(), &format!("FLUSHALL {}", number + 1)).await;
    }
    eprintln!("longest time without an assignment: {:?}", drill.prober.longest_pause());
    drill.interrupt();
    let (mut farm, id) = drill.frozen().await;
    assert_rebuild_changes_nothing(&mut farm, &redis, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_dies_at_once_what_was_acknowledged_is_in_the_store() {
    let _turn = turn().await;
    let Some((redis, mut drill)) = at_work("at once").await else { return };
    let replicas = drill.farm.replicas.len();
    tokio::time::sleep(scale().between).await;
    redis.flush();
    for number in 0..replicas {
        drill.farm.kill(number);
    }
    // Nobody repeats anything afterwards, so a report that was lost stays lost.
    drill.interrupt();
    for number in 0..replicas {
        drill.farm.run(number);
    }
    for number in 0..replicas {
        drill.farm.ready(number).await;
    }
    drill.farm.seen_by_balancer().await;
    drill.frozen().await;
}

/// I15: what is rebuilt equals what was there at rest, but for clocks. Every replica shows the same.
async fn assert_rebuild_changes_nothing(farm: &mut Farm, redis: &RedisServer, id: &str) {
    let before = at_rest(farm, id).await;
    assert!(before["run"]["workers"].as_u64().unwrap() > 0, "tasks are active: {}", before["run"]);
    let loaded = times_loaded(farm);
    redis.flush();
    let began = stopwatch();
    while times_loaded(farm) == loaded {
        assert!(began.elapsed() < BACK, "nobody noticed that Redis is empty");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for number in 0..farm.replicas.len() {
        farm.ready(number).await;
    }
    eprintln!("rebuilt at rest after at most {:?}", began.elapsed());
    let after = at_rest(farm, id).await;
    assert_eq!(before, after);
    farm.assert_unbroken().await;
}

/// How often the schedule was loaded, by anybody.
fn times_loaded(farm: &Farm) -> usize {
    let of = |number| farm.log(number).matches("the schedule is loaded").count();
    (0..farm.replicas.len()).map(of).sum()
}

/// The run and its tasks, without times and what is computed from them; the same from every replica.
async fn at_rest(farm: &Farm, id: &str) -> Value {
    let mut shown = Vec::new();
    for number in 0..farm.replicas.len() {
        let mut run = farm.read(number, &format!("/api/get_run/{id}")).await;
        without_clocks(&mut run);
        let mut tasks = farm.tasks(number, id).await;
        tasks.iter_mut().for_each(without_clocks);
        shown.push(serde_json::json!({ "run": run, "tasks": tasks }));
    }
    let first = shown.swap_remove(0);
    assert!(shown.iter().all(|other| *other == first), "replicas show different things");
    first
}

fn without_clocks(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in ["last_updated", "games_per_minute", "nps", "itp", "duration"] {
                fields.remove(name);
            }
            fields.values_mut().for_each(without_clocks);
        }
        Value::Array(items) => items.iter_mut().for_each(without_clocks),
        _ => {}
    }
}

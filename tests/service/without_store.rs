//! The policies for a store that is away (`durability.md` section 10).

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use shoal::service::degrade::StorePolicy;
use shoal::service::request_spsa::SpsaAnswer;
use shoal::service::{FarmSettings, ServiceError};
use shoal::sys::clock::stopwatch;

use super::farm::*;

fn degrade(settings: &mut FarmSettings) {
    settings.store_policy = StorePolicy::Degrade;
}

#[test]
fn reports_of_known_tasks_are_answered_marked_and_written_later() {
    let (world, life) = World::begin_with(degrade);
    let run = life.approved(json!({ "sprt": { "elo0": 0.0, "elo1": 2.0 } }));
    let worker = Worker::new(1, 7);
    let (key, ..) = life.task(&worker);
    world.faults.fail_after(0);
    for games in [32, 64, 64] {
        let answer = life.update(&worker, key, drawn(games));
        assert!(answer.alive && !answer.durable, "{answer:?}");
    }
    assert_eq!(life.stored_tasks(run)[0].stats, drawn(0), "the store is away");
    world.faults.heal();
    world.clock.advance(6000);
    life.tick();
    assert_eq!(life.stored_tasks(run)[0].stats, drawn(64));
    assert_eq!(world.faults.entries_of(run).len(), 2, "each contribution once");
    let again = life.update(&worker, key, drawn(64));
    assert!(again.alive && again.durable);
    life.check(run);
    life.kill();
    let life = world.start();
    life.check(run);
    assert_eq!(life.stored_tasks(run)[0].stats, drawn(64));
}

#[test]
fn what_hands_out_work_or_ends_something_waits_for_the_store() {
    let (world, life) = World::begin_with(degrade);
    let (worker, tuner) = (Worker::new(1, 50), Worker::new(2, 7));
    let run = life.approved(json!({ "num_games": 1000 }));
    let (key, games, _) = life.task(&worker);
    assert_eq!((key.run, games), (run, 1000), "all there are");
    let tuning = life.approved(json!({
        "num_games": 1000,
        "spsa": { "A": 0.1, "alpha": 0.602, "gamma": 0.101, "raw_params": "One,100,0,200,10,0.002" },
    }));
    let (round, ..) = life.task(&tuner);
    assert_eq!(round.run, tuning);
    let asked = life.run(life.farm.request_spsa(&tuner.about(round, json!({})))).unwrap();
    let SpsaAnswer::Round(values) = asked else { panic!("{asked:?}") };
    let played = json!({ "wins": 0, "losses": 0, "draws": 2, "num_games": 2, "sig": values.sig });
    world.faults.fail_after(0);
    assert!(life.update(&worker, key, drawn(100)).alive);
    let away = |answer: Option<ServiceError>| {
        assert!(matches!(answer, Some(ServiceError::NotDurable(_))), "{answer:?}");
    };
    away(life.run(Worker::new(3, 7).request(&life.farm)).err());
    away(life.run(tuner.update(&life.farm, round, drawn(2), Some(played))).err());
    // The last games of a run end it.
    away(life.run(worker.update(&life.farm, key, drawn(1000), None)).err());
    away(life.run(life.farm.failed_task(&tuner.about(round, json!({ "message": "gone" })))).err());
    world.faults.heal();
    world.clock.advance(6000);
    life.tick();
    life.settle(run);
    life.check(run);
    life.check(tuning);
}

#[test]
fn more_than_the_bound_is_refused() {
    let (world, life) = World::begin_with(|settings| {
        degrade(settings);
        settings.degrade_limit = 2;
    });
    let run = life.approved(json!({ "num_games": 4000 }));
    let tasks: Vec<_> = (1..=3)
        .map(|number| {
            let worker = Worker::new(number, 7);
            let (key, ..) = life.task(&worker);
            (worker, key)
        })
        .collect();
    world.faults.fail_after(0);
    let answers: Vec<_> = tasks
        .iter()
        .map(|(worker, key)| life.run(worker.update(&life.farm, *key, drawn(10), None)))
        .collect();
    assert!(answers[0].is_ok() && answers[1].is_ok());
    assert!(matches!(answers[2], Err(ServiceError::Unavailable(_))), "{:?}", answers[2]);
    world.faults.heal();
    world.clock.advance(6000);
    life.tick();
    life.check(run);
    assert!(life.update(&tasks[2].0, tasks[2].1, drawn(10)).durable);
}

#[test]
fn a_process_of_an_old_schedule_does_not_degrade() {
    let (world, life) = World::begin_with(degrade);
    life.approved(json!({}));
    let worker = Worker::new(1, 7);
    let (key, ..) = life.task(&worker);
    // Somebody else has taken over: the store is there, and says so.
    let fence = life.run(life.farm.store.fence()).unwrap();
    life.run(life.farm.store.raise_fence(fence)).unwrap().unwrap();
    let answer = life.run(worker.update(&life.farm, key, drawn(32), None));
    assert!(matches!(answer, Err(ServiceError::Outdated(_))), "{answer:?}");
    drop(world);
}

#[test]
fn nobody_waits_for_a_store_that_is_known_to_be_away() {
    let (world, life) = World::begin();
    let run = life.approved(json!({}));
    let worker = Worker::new(1, 7);
    let (key, ..) = life.task(&worker);
    world.faults.stalls.store(true, Ordering::SeqCst);
    world.faults.deaf.store(true, Ordering::SeqCst);
    let report = || {
        let began = stopwatch();
        let answer = life.run(worker.update(&life.farm, key, drawn(32), None));
        assert!(matches!(answer, Err(ServiceError::NotDurable(_))), "{answer:?}");
        began.elapsed()
    };
    let first = report();
    let second = report();
    assert!(first >= Duration::from_secs(4), "a batch waits for its deadline: {first:?}");
    assert!(second < Duration::from_secs(4), "the next is told at once: {second:?}");
    world.faults.heal();
    // It answers again: after a while so do we.
    let acknowledged = (0..400).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        life.run(worker.update(&life.farm, key, drawn(32), None)).is_ok()
    });
    assert!(acknowledged);
    life.check(run);
}

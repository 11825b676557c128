//! A store that is away, or whose answers are lost (`durability.md` sections 2, 3 and 5).

use std::sync::atomic::Ordering;
use std::time::Duration;

use bson::Bson;
use serde_json::json;
use shoal::domain::ids::{RunId, TaskKey};
use shoal::domain::results::Stats;
use shoal::service::ServiceError;
use shoal::sys::patience::Patience;

use super::farm::*;

#[test]
fn an_update_is_not_acknowledged_before_it_is_durable_and_counts_once() {
    for answers_lost in [false, true] {
        let (world, life) = World::begin();
        let run = life.approved(json!({ "sprt": { "elo0": 0.0, "elo1": 2.0 } }));
        let worker = Worker::new(1, 7);
        let (key, ..) = life.task(&worker);
        life.tick();
        world.faults.answers_lost.store(answers_lost, Ordering::SeqCst);
        world.faults.fail_after(0);
        for _ in 0..3 {
            let answer = life.run(worker.update(&life.farm, key, drawn(32), None));
            assert!(matches!(answer, Err(ServiceError::NotDurable(_))), "{answer:?}");
        }
        world.faults.heal();
        for _ in 0..2 {
            assert!(life.update(&worker, key, drawn(32)).alive);
        }
        life.check(run);
        life.tick();
        assert_eq!(world.faults.entries_of(run).len(), 1);
        life.kill();
        let life = world.start();
        life.check(run);
        assert_eq!(life.stored_tasks(run)[0].stats, drawn(32));
        assert!(life.update(&worker, key, drawn(32)).alive, "known after a restart, too");
    }
}

#[test]
fn a_server_that_starts_asks_a_store_in_trouble_again() {
    let (world, life) = World::begin();
    let run = life.approved(json!({}));
    let worker = Worker::new(1, 7);
    let (key, ..) = life.task(&worker);
    let before = life.farm.generation();
    world.faults.fences_unsure.store(3, Ordering::SeqCst);
    let pause = Duration::from_millis(1);
    let rebuild = |patience| life.run(life.farm.rebuild_patiently(Patience { patience, pause }));
    assert!(matches!(rebuild(Duration::ZERO), Err(ServiceError::Unavailable(_))));
    let after = rebuild(Duration::from_secs(60)).unwrap();
    // Each try raised the fence, also those whose answer was lost.
    assert_eq!(after.0, before.0 + 4);
    assert!(life.update(&worker, key, drawn(32)).alive);
    life.check(run);
}

#[test]
fn a_claim_is_not_told_before_the_task_that_it_replaces_is_closed_for_good() {
    let (world, life) = World::begin();
    let run = life.approved(json!({}));
    let worker = Worker::new(1, 7);
    let (stale, ..) = life.task(&worker);
    *world.faults.unfit.lock() = Some(stale);
    // The new task is durable, the closing of the old one isn't: the worker is refused.
    assert!(life.run(worker.request(&life.farm)).is_err());
    world.faults.heal();
    let (key, _, start) = life.task(&worker);
    assert_eq!((key.task.0, start), (1, 408), "nobody knew of that task, so it is still the worker's");
    life.tick();
    life.check(run);
    assert_eq!(life.stored_tasks(run).len(), 2);
}

#[test]
fn a_claim_that_was_not_acknowledged_is_repeated() {
    let (world, life) = World::begin();
    let run = life.approved(json!({}));
    let worker = Worker::new(1, 7);
    world.faults.fail_after(0);
    for _ in 0..3 {
        assert!(matches!(life.run(worker.request(&life.farm)), Err(ServiceError::NotDurable(_))));
    }
    world.faults.heal();
    let (key, _, start) = life.task(&worker);
    assert_eq!((key.task.0, start), (0, 0));
    life.check(run);
    // Answered now: the next request is a new start of the worker, and its task is stale.
    let (next, _, start) = life.task(&worker);
    assert_eq!((next.task.0, start), (1, 408));
    assert_eq!(life.log()[2], "failed_task 0: Stale active task");
    life.check(run);
    assert_eq!(life.run(life.farm.state.census()).unwrap().slots, 0, "every slot came back");
}

#[test]
fn a_claim_that_became_durable_after_its_worker_was_refused_is_still_that_workers() {
    for answers_lost in [false, true] {
        let (world, life) = World::begin();
        // All games fit into one task: nobody gets another one.
        let run = life.approved(json!({ "num_games": 1000 }));
        let worker = Worker::new(1, 50);
        world.faults.answers_lost.store(answers_lost, Ordering::SeqCst);
        world.faults.fail_after(0);
        assert!(matches!(life.run(worker.request(&life.farm)), Err(ServiceError::NotDurable(_))));
        world.faults.heal();
        // What waits for the store is swept up before the worker asks again.
        world.clock.advance(6000);
        life.tick();
        assert_eq!(life.run(life.farm.state.count_dirty()).unwrap(), 0);
        assert_eq!(life.stored_tasks(run).len(), 1);
        let (key, games, start) = life.task(&worker);
        assert_eq!((key.task.0, games, start), (0, 1000, 0));
        assert!(life.update(&worker, key, drawn(32)).alive);
        life.check(run);
    }
}

#[test]
fn a_run_whose_deciding_update_was_lost_is_ended_all_the_same() {
    let (world, life) = World::begin();
    let run = life.approved(json!({ "num_games": 1000 }));
    let worker = Worker::new(1, 50);
    let (key, games, _) = life.task(&worker);
    assert_eq!(games, 1000);
    world.faults.fail_after(0);
    assert!(life.run(worker.update(&life.farm, key, drawn(1000), None)).is_err());
    // The worker never comes back.
    world.faults.heal();
    life.tick();
    world.clock.advance(6000);
    life.tick();
    life.settle(run);
    life.check(run);
    assert!(life.log()[2].starts_with("finished_run"));
}

/// A run of 400 games whose only task crashed, just before its last update.
fn about_to_be_purged(life: &Life) -> (RunId, Worker, TaskKey) {
    let run = life.custom(json!({ "auto_purge": true }), |doc| {
        doc.get_document_mut("args").unwrap().insert("num_games", Bson::Int32(400));
    });
    let worker = Worker::new(1, 7);
    let (key, ..) = life.task(&worker);
    life.tick();
    (run, worker, key)
}

#[test]
fn a_finish_that_was_interrupted_anywhere_is_completed_once() {
    let mut interrupted = 0;
    for (restart, answers_lost) in [(true, false), (true, true), (false, false), (false, true)] {
        for commits in 0..6 {
            let (world, life) = World::begin();
            let (run, worker, key) = about_to_be_purged(&life);
            world.faults.answers_lost.store(answers_lost, Ordering::SeqCst);
            world.faults.fail_after(commits);
            let stats = Stats { crashes: 4, ..drawn(400) };
            let answer = life.run(worker.update(&life.farm, key, stats, None));
            let acknowledged = answer.is_ok();
            interrupted += usize::from(world.faults.commits_left.load(Ordering::SeqCst) < 0);
            let life = if restart {
                life.kill();
                world.start()
            } else {
                world.faults.heal();
                life
            };
            for _ in 0..3 {
                world.clock.advance(6000);
                life.tick();
                life.settle(run);
            }
            if !acknowledged {
                let again = life.update(&worker, key, stats);
                assert!(!again.alive && again.error.is_none(), "{again:?}");
                world.clock.advance(6000);
                life.tick();
                life.settle(run);
            }
            let what = format!("{commits} commits, restart {restart}, answers lost {answers_lost}");
            assert_eq!(
                life.log(),
                ["crash_or_time 0: Time losses:0(0.0%) Crashes:4(1.0%)", "purge_run: Auto purge"],
                "{what}"
            );
            life.check(run);
            let (next, _, start) = life.task(&Worker::new(2, 7));
            assert_eq!((next.task.0, start), (1, 400), "{what}");
        }
    }
    assert!(interrupted > 12, "the faults did hit: {interrupted}");
}

#[test]
fn a_stop_that_was_interrupted_anywhere_is_completed_or_never_happened() {
    for restart in [true, false] {
        for commits in 0..5 {
            let (world, life) = World::begin();
            let run = life.approved(json!({}));
            let workers = [Worker::new(1, 3), Worker::new(2, 3)];
            let keys: Vec<_> = workers.iter().map(|worker| life.task(worker).0).collect();
            life.update(&workers[0], keys[0], drawn(20));
            life.tick();
            world.faults.fail_after(commits);
            let stopped = life.run(life.farm.user_stop(run, "alice")).is_ok();
            let life = if restart {
                life.kill();
                world.start()
            } else {
                world.faults.heal();
                life
            };
            for _ in 0..2 {
                world.clock.advance(6000);
                life.tick();
                life.settle(run);
            }
            let stops = life.log().iter().filter(|entry| *entry == "stop_run: User stop").count();
            let finished = life.document(run).doc.get_bool("finished").unwrap();
            assert_eq!(stops, usize::from(finished), "{commits} commits, restart {restart}");
            assert!(finished || (restart && !stopped), "acknowledged, or left to the living: it must end");
            life.check(run);
        }
    }
}

#[test]
fn a_manual_purge_that_was_interrupted_anywhere_is_completed_or_never_happened() {
    for restart in [true, false] {
        for commits in 0..5 {
            let (world, life) = World::begin();
            let run = life.approved(json!({ "num_games": 1000 }));
            let (bad, good) = (Worker::new(1, 7), Worker::new(2, 50));
            let (key, ..) = life.task(&bad);
            life.update(&bad, key, Stats { crashes: 9, ..drawn(408) });
            let (key, games, _) = life.task(&good);
            life.update(&good, key, drawn(games + 408));
            life.settle(run);
            let before = life.log().len();
            world.faults.fail_after(commits);
            let _ = life.run(life.farm.manual_purge(run, "alice"));
            let life = if restart {
                life.kill();
                world.start()
            } else {
                world.faults.heal();
                life
            };
            for _ in 0..2 {
                world.clock.advance(6000);
                life.tick();
                life.settle(run);
            }
            let what = format!("{commits} commits, restart {restart}");
            life.check(run);
            let doc = life.document(run);
            assert!(doc.doc.get_bool("finished").unwrap(), "{what}: the other task has all the games");
            let purged = life.stored_tasks(run)[0].bad.is_some();
            let logged =
                life.log()[before..].iter().filter(|entry| *entry == "purge_run: Manual purge").count();
            assert_eq!(logged, usize::from(purged), "{what}");
            // Whatever became of it, it can be done (again).
            let again = life.run(life.farm.manual_purge(run, "bob"));
            assert_eq!(again.is_ok(), !purged, "{what}: {again:?}");
            life.check(run);
        }
    }
}

#[test]
fn a_hole_in_the_numbers_is_filled_and_nothing_overlaps() {
    let (world, life) = World::begin();
    let run = life.approved(json!({ "num_games": 2000, "tc": "10+0.1" }));
    let workers: Vec<_> = (1..=4).map(|n| Worker::new(n, 7)).collect();
    let (first, ..) = life.task(&workers[0]);
    let lost = TaskKey { run, task: shoal::domain::ids::TaskId(1) };
    *world.faults.refused.lock() = Some(lost);
    assert!(life.run(workers[1].request(&life.farm)).is_err());
    let (third, _, start) = life.task(&workers[2]);
    assert_eq!((third.task.0, start), (2, 816));
    life.kill();
    let life = world.start();
    let tasks = life.stored_tasks(run);
    assert_eq!((tasks.len(), tasks[1].start, tasks[1].num_games, tasks[1].active), (3, 408, 408, false));
    life.check(run);
    let (fourth, _, start) = life.task(&workers[1]);
    assert_eq!((fourth.task.0, start), (3, 1224));
    assert!(life.update(&workers[2], third, drawn(100)).alive);
    assert!(life.update(&workers[0], first, drawn(100)).alive);
    life.check(run);
}

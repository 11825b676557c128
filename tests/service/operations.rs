//! What people, workers and the leader do to runs, with the log entries of each (`spec/scheduling.md` sections 8, 9
//! and 14).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use shoal::domain::ids::{RunId, TaskId, TaskKey};
use shoal::domain::modify_run::ModifyRequest;
use shoal::domain::new_run::RunForm;
use shoal::domain::results::Stats;
use shoal::service::election::Leadership;
use shoal::service::failed_task::FailedAnswer;
use shoal::service::request_task::TaskAnswer;
use shoal::service::{Farm, ServiceError};
use shoal::state::{LeaseName, LeaseOutcome};
use shoal::store::RunPatch;
use shoal::sys::{random, spawn};

use super::farm::*;

const CRASHED: &str = "crash_or_time 0: Time losses:0(0.0%) Crashes:4(20.0%)";

fn crashed() -> Stats {
    Stats { crashes: 4, ..drawn(20) }
}

fn modification() -> ModifyRequest {
    ModifyRequest { num_games: None, priority: None, throughput: None, auto_purge: None, info: None }
}

#[test]
fn a_failed_task_is_logged_once_and_keeps_its_games() {
    let (_world, life) = World::begin();
    let run = life.approved(json!({}));
    let worker = Worker::new(1, 7);
    let (key, ..) = life.task(&worker);
    life.update(&worker, key, crashed());
    let fail = || {
        let request = worker.about(key, json!({ "message": "x".repeat(6000) }));
        life.run(life.farm.failed_task(&request)).unwrap()
    };
    assert_eq!(fail(), FailedAnswer::Closed);
    assert_eq!(fail(), FailedAnswer::Inactive(key));
    let log = life.log();
    assert_eq!(log[2..], [CRASHED.to_owned(), format!("failed_task 0: {}", "x".repeat(5120))]);
    life.check(run);
    let (next, games, start) = life.task(&worker);
    assert_eq!((next.task, games, start), (TaskId(1), 408, 408));
    assert!(!life.update(&worker, key, drawn(22)).alive, "late, by number");
    assert_eq!(life.stored_tasks(run)[0].stats, crashed());
}

#[test]
fn the_leader_closes_the_dead_and_nobody_else() {
    let (world, life) = World::begin();
    let run = life.approved(json!({}));
    let (quiet, lively) = (Worker::new(1, 7), Worker::new(2, 7));
    let (dead, ..) = life.task(&quiet);
    life.update(&quiet, dead, crashed());
    let hour = Duration::from_secs(3600);
    let leading = |token| {
        let clock = Arc::new(world.clock.clone());
        Leadership::new(token, clock, life.farm.clock.monotonic(), hour)
    };
    let before = life.farm.generation();
    let lease = life.run(life.farm.state.lease_acquire(LeaseName::Leader, "me", hour, before)).unwrap();
    let LeaseOutcome::Held(token) = lease else { panic!() };
    let stale = shoal::domain::ids::Token { counter: token.counter + 1, ..token };
    let (leader, fresh, stale) = (leading(token), leading(token), leading(stale));
    world.clock.advance(300_000);
    let (alive, ..) = life.task(&lively);
    let scavenge = |leadership: &Leadership| life.run(life.farm.scavenge(leadership));
    world.clock.advance(60_000);
    scavenge(&leader).unwrap();
    assert_eq!(life.log().len(), 2, "360 s are not more than 360 s");
    world.clock.advance(1);
    fresh.have_mercy();
    scavenge(&fresh).unwrap();
    assert_eq!(life.log().len(), 2, "mercy after a pause");
    assert!(matches!(scavenge(&stale), Err(ServiceError::Superseded(_))));
    assert_eq!(life.log().len(), 2, "a stale leader does nothing");
    for _ in 0..2 {
        scavenge(&leader).unwrap();
    }
    assert_eq!(life.log()[2..], [CRASHED, "dead_task 0"]);
    life.check(run);
    assert!(life.run(life.farm.beat(&lively.about(alive, json!({})))).unwrap());
    assert!(!life.run(life.farm.beat(&quiet.about(dead, json!({})))).unwrap());
}

#[test]
fn a_worker_may_stop_a_run_if_its_account_is_trusted() {
    let (_world, life) = World::begin();
    let run = life.approved(json!({ "auto_purge": true }));
    let (first, second) = (Worker::new(1, 7), Worker::new(2, 7));
    let (a, ..) = life.task(&first);
    let (b, ..) = life.task(&second);
    let stop = |worker: &Worker, key| {
        life.run(life.farm.stop_run(&worker.about(key, json!({ "message": "wrong bench" }))))
    };
    life.run(trust(&life.farm, "carol", 999.0));
    assert!(matches!(stop(&first, a), Err(ServiceError::Refused(_))));
    assert_eq!(life.log()[2..], ["stop_run 0: wrong bench (not authorized)"]);
    assert!(!life.stored_tasks(run)[0].active, "its task is given up");
    life.check(run);
    life.run(trust(&life.farm, "carol", 1000.0));
    stop(&second, b).unwrap();
    life.settle(run);
    assert!(matches!(stop(&second, b), Err(ServiceError::Refused(_))), "finished already");
    assert_eq!(
        life.log()[3..],
        ["stop_run 1: wrong bench", "purge_run: Auto purge (not performed): You cannot purge a failed run",]
    );
    life.check(run);
    let doc = life.document(run).doc;
    assert!(doc.get_bool("failed").unwrap());
    assert_eq!(doc.get_i32("failures").unwrap(), 1);
    // It goes on, fails again, and the failures are counted.
    let request = ModifyRequest { auto_purge: Some(false), ..modification() };
    life.run(life.farm.modify_run(run, &request, "bob")).unwrap();
    let doc = life.document(run).doc;
    assert!(!doc.get_bool("failed").unwrap() && !doc.get_bool("finished").unwrap());
    let (c, _, start) = life.task(&second);
    assert_eq!((c.task, start), (TaskId(2), 816));
    stop(&second, c).unwrap();
    life.settle(run);
    assert_eq!(life.document(run).doc.get_i32("failures").unwrap(), 2);
    life.check(run);
    assert_eq!(
        life.log()[5..],
        ["modify_run: modify: auto-purge changed from True to False", "stop_run 2: wrong bench"]
    );
}

#[test]
fn a_person_stops_revives_and_deletes() {
    let (world, life) = World::begin();
    let run = life.approved(json!({ "auto_purge": true }));
    let worker = Worker::new(1, 7);
    let (key, ..) = life.task(&worker);
    life.update(&worker, key, drawn(100));
    assert!(matches!(life.run(life.farm.user_stop(run, "carol")), Err(ServiceError::Refused(_))));
    life.run(life.farm.user_stop(run, "alice")).unwrap();
    life.settle(run);
    assert!(life.run(life.farm.user_stop(run, "alice")).is_err());
    assert_eq!(
        life.log()[2..],
        ["purge_run: Auto purge (not performed): No bad workers", "stop_run: User stop"]
    );
    life.check(run);
    assert_eq!(life.request(&worker), TaskAnswer::Nothing);
    // Raised throughput by its owner: revived, and to be approved again.
    let request = ModifyRequest { throughput: Some(200), ..modification() };
    life.run(life.farm.modify_run(run, &request, "alice")).unwrap();
    assert_eq!(
        life.log()[4..],
        ["approve_run: unapproved", "modify_run: modify: throughput changed from 100 to 200"]
    );
    life.check(run);
    assert_eq!(life.request(&worker), TaskAnswer::Nothing, "not approved, not served");
    life.run(life.farm.approve_run(run, "bob")).unwrap();
    let (key, games, start) = life.task(&worker);
    assert_eq!((key.task, games, start), (TaskId(1), 408, 408));
    life.check(run);
    life.run(life.farm.delete_run(run, "alice")).unwrap();
    life.settle(run);
    life.check(run);
    assert_eq!(life.log()[7..], ["delete_run"]);
    let doc = life.document(run).doc;
    assert!(doc.get_bool("deleted").unwrap() && doc.get_bool("finished").unwrap());
    life.kill();
    let life = world.start();
    assert_eq!(life.log().len(), 8);
    assert_eq!(life.request(&worker), TaskAnswer::Nothing);
    life.check(run);
}

#[test]
fn nobody_approves_their_own_run() {
    let (_world, life) = World::begin();
    let form = |user: &str| {
        let form = form(json!({ "username": user }));
        shoal::domain::new_run::RunForm::from_json(&form).unwrap()
    };
    let worker = Worker::new(1, 7);
    let (of_alice, of_bob) = life.run(async {
        let of_alice = life.farm.create_run(&form("alice")).await.unwrap();
        (of_alice, life.farm.create_run(&form("bob")).await.unwrap())
    });
    assert_eq!(life.request(&worker), TaskAnswer::Nothing);
    let approve =
        |run, who: &str| life.run(life.farm.approve_run(run, who)).map_err(|error| error.to_string());
    assert_eq!(approve(of_bob, "bob").unwrap_err(), format!("Run {of_bob}: Self approval is disabled!"));
    assert!(approve(of_alice, "carol").is_err());
    assert_eq!(life.request(&worker), TaskAnswer::Nothing);
    approve(of_alice, "bob").unwrap();
    assert_eq!(approve(of_alice, "bob").unwrap_err(), format!("Run {of_alice} already approved!"));
    assert_eq!(life.task(&worker).0.run, of_alice);
    assert_eq!(life.log().len(), 3);
}

#[test]
fn the_machine_limit_holds_when_everybody_asks_at_once() {
    let (_world, life) = World::begin();
    let run = life.approved(json!({ "num_games": 100_000 }));
    let answers = life.run(async {
        let requests: Vec<_> = (0..40)
            .map(|n| {
                let mut worker = Worker::new(n, 1);
                worker.address = "10.9.9.9".to_owned();
                worker.limit = 5;
                let farm = life.farm.clone();
                spawn::task("request", async move { worker.request(&farm).await.unwrap() })
            })
            .collect();
        let mut answers = Vec::new();
        for request in requests {
            answers.push(request.await.unwrap());
        }
        answers
    });
    let assigned = answers.iter().filter(|answer| matches!(answer, TaskAnswer::Assigned(..))).count();
    assert_eq!(assigned, 5);
    let limit = "Request_task: Machine limit reached for user carol".to_owned();
    assert!(answers.iter().all(|answer| {
        matches!(answer, TaskAnswer::Assigned(..)) || *answer == TaskAnswer::Error(limit.clone())
    }));
    life.check(run);
    assert_eq!(life.run(life.farm.state.census()).unwrap().slots, 0);
}

#[test]
fn one_worker_that_asks_many_times_at_once_has_one_task() {
    let (_world, life) = World::begin();
    let run = life.approved(json!({ "num_games": 100_000 }));
    life.run(async {
        let requests: Vec<_> = (0..20)
            .map(|_| {
                let farm = life.farm.clone();
                spawn::task("request", async move { Worker::new(1, 1).request(&farm).await.unwrap() })
            })
            .collect();
        for request in requests {
            assert!(matches!(request.await.unwrap(), TaskAnswer::Assigned(..)));
        }
    });
    let census = life.run(life.farm.state.census()).unwrap();
    assert_eq!((census.active_tasks, census.connections, census.slots), (1, 1, 0));
    life.check(run);
}

#[test]
fn a_report_that_contradicts_costs_the_task_and_nothing_else() {
    let (_world, life) = World::begin();
    let run = life.approved(json!({ "sprt": { "elo0": 0.0, "elo1": 2.0 } }));
    let worker = Worker::new(1, 7);
    let (key, ..) = life.task(&worker);
    assert!(life.update(&worker, key, drawn(96)).alive);
    let answer = life.update(&worker, key, drawn(64));
    let expected =
        format!("Update_task: task {key} has incompatible stats. Before 96. Now 64. SPSA_games 0.");
    assert_eq!((answer.alive, answer.error), (false, Some(expected)));
    assert_eq!(life.log().len(), 2, "nothing is logged");
    life.check(run);
    let (key, ..) = life.task(&worker);
    let answer = life.update(&worker, key, drawn(40));
    assert!(answer.error.unwrap().ends_with("is incompatible with the SPRT batch size"));
    let foreign = life.run(Worker::new(2, 7).update(&life.farm, key, drawn(64), None));
    assert!(foreign.unwrap_err().to_string().starts_with("Invalid unique_key for task"));
    life.check(run);
    let view = life.run(life.farm.state.read_run(run)).unwrap().unwrap();
    assert_eq!(view.counters.results, drawn(96));
}

#[test]
fn a_blocked_worker_gets_nothing_also_after_a_restart() {
    let (world, life) = World::begin();
    let run = life.approved(json!({}));
    let worker = Worker::new(1, 7);
    let name = "carol-7cores-00000001";
    let block =
        |life: &Life, blocked| life.run(life.farm.block_worker("bob", name, blocked, "too hot")).unwrap();
    block(&life, true);
    block(&life, true);
    assert!(matches!(life.request(&worker), TaskAnswer::Error(text) if text.contains("too hot")));
    life.kill();
    let life = world.start();
    assert!(matches!(life.request(&worker), TaskAnswer::Error(_)));
    block(&life, false);
    life.task(&worker);
    assert_eq!(life.log()[2..], ["block_worker: blocked", "block_worker: unblocked"]);
    life.check(run);
}

#[test]
fn an_imported_unfinished_test_goes_on_where_it_was() {
    // As an import leaves it: never written by a schedule, results in the tasks, no tails.
    let (world, life) = World::begin();
    let run = life.approved(json!({ "sprt": { "elo0": 0.0, "elo1": 2.0 } }));
    let worker = Worker::new(1, 7);
    let (key, ..) = life.task(&worker);
    life.update(&worker, key, pairs([1, 3, 8, 4, 0]));
    life.tick();
    let old = life.document(run);
    let mut tasks = life.stored_tasks(run);
    let id = shoal::domain::ids::RunId(shoal::sys::random::object_id());
    let meta = shoal::store::RunMeta::new(shoal::domain::run::Phase::Running);
    let mut doc = old.doc.clone();
    doc.insert("_id", id.0);
    tasks[0].key.run = id;
    tasks[0].tail.clear();
    tasks[0].digests.clear();
    tasks[0].version = shoal::domain::ids::Version(0);
    tasks[0].generation = shoal::domain::ids::Generation(0);
    life.run(async {
        life.farm.store.insert_run(&shoal::store::StoredRun { id, doc, meta }, &[]).await.unwrap();
        life.farm.store.insert_tasks(&tasks).await.unwrap();
        life.farm.user_stop(run, "alice").await.unwrap();
    });
    life.settle(run);
    for _ in 0..2 {
        // Two restarts: the first one seals it.
        world.clock.advance(1);
    }
    life.kill();
    world.start().kill();
    let life = world.start();
    life.check(id);
    let next = shoal::domain::ids::TaskKey { run: id, task: TaskId(0) };
    assert!(life.update(&worker, next, pairs([2, 6, 16, 8, 0])).alive);
    life.tick();
    let stored = life.document(id);
    assert_eq!(stored.meta.folded[3..], [2, 6, 16, 8, 0]);
    life.check(id);
}

#[test]
fn what_died_between_store_and_schedule_arrives_later() {
    let (_world, life) = World::begin();
    let run = life.approved(json!({}));
    life.run(async {
        let version = life.farm.store.run(run).await.unwrap().unwrap().meta.args_version;
        let patch = RunPatch { set: vec![("args.priority".to_owned(), 7.into())], actions: Vec::new() };
        life.farm.store.patch_run(run, version, &patch).await.unwrap();
        // A run that was inserted, and then its request died.
        let mut other = life.farm.store.run(run).await.unwrap().unwrap();
        other.id = RunId(random::object_id());
        other.doc.insert("_id", other.id.0);
        life.farm.store.insert_run(&other, &[]).await.unwrap();
        for _ in 0..2 {
            life.farm.reconcile().await.unwrap();
        }
        assert_eq!(life.farm.state.read_run(run).await.unwrap().unwrap().priority, 7);
        assert!(life.farm.state.read_run(other.id).await.unwrap().is_some());
        assert_eq!(life.farm.state.read_runs().await.unwrap().len(), 2);
    });
}

#[test]
fn a_stop_in_the_middle_of_everything_loses_nothing() {
    let (_world, life) = World::begin();
    let run = life.approved(json!({ "num_games": 100_000 }));
    let acknowledged = life.run(async {
        let players: Vec<_> = (0..8)
            .map(|n| spawn::task("worker", play_until_told_off(life.farm.clone(), Worker::new(n, 1))))
            .collect();
        while life.farm.state.read_run(run).await.unwrap().unwrap().counters.results.games() < 60 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let stops: Vec<_> = (0..4)
            .map(|_| {
                let farm = life.farm.clone();
                spawn::task("stop", async move { farm.user_stop(run, "bob").await.is_ok() })
            })
            .collect();
        let mut stopped = 0;
        for stop in stops {
            stopped += u32::from(stop.await.unwrap());
        }
        assert_eq!(stopped, 1, "one of them did it");
        let mut all = Vec::new();
        for player in players {
            all.extend(player.await.unwrap());
        }
        all
    });
    life.settle(run);
    life.check(run);
    assert!(acknowledged.iter().map(|(_, games)| games).sum::<u64>() >= 40, "{acknowledged:?}");
    let tasks = life.stored_tasks(run);
    for (task, games) in acknowledged {
        assert_eq!(tasks[task.0 as usize].stats.games(), games);
    }
    assert_eq!(life.log()[2..], ["stop_run: User stop"]);
}

/// Plays until there is nothing to do; the games that were acknowledged, by task.
async fn play_until_told_off(farm: Arc<Farm>, worker: Worker) -> BTreeMap<TaskId, u64> {
    let mut acknowledged = BTreeMap::new();
    loop {
        let (key, size) = match worker.request(&farm).await.unwrap() {
            TaskAnswer::Assigned(doc, task) => {
                let run = RunId::parse(doc.get_str("_id").unwrap()).unwrap();
                let size = doc.get_document("my_task").unwrap().get_i32("num_games").unwrap();
                (TaskKey { run, task }, size as u64)
            }
            TaskAnswer::Nothing => return acknowledged,
            TaskAnswer::Info(_) => continue,
            TaskAnswer::Error(error) => panic!("{error}"),
        };
        let mut games = 0;
        while games < size {
            games += 2;
            let answer = worker.update(&farm, key, drawn(games), None).await.unwrap();
            if answer.info.is_none() {
                acknowledged.insert(key.task, games);
            }
            if !answer.alive {
                break;
            }
        }
    }
}

#[test]
fn games_outlive_their_run_by_a_day_and_those_of_a_running_one_stay() {
    let (world, life) = World::begin();
    let runs = [life.approved(json!({})), life.approved(json!({ "new_tag": "other" }))];
    for (n, run) in runs.iter().enumerate() {
        for task in 0..3 {
            let key = TaskKey { run: *run, task: TaskId(task) };
            life.run(life.farm.store.insert_pgn(key, random::object_id(), &[0x1f, 0x8b, n as u8])).unwrap();
        }
    }
    life.run(life.farm.user_stop(runs[0], "alice")).unwrap();
    life.settle(runs[0]);
    let uploads = |run| life.run(life.farm.store.run_pgns(run)).unwrap().len();
    world.clock.advance(24 * 3600 * 1000);
    assert_eq!(life.run(life.farm.expire_games()).unwrap(), 0, "a day is not more than a day");
    world.clock.advance(1000);
    assert_eq!(life.run(life.farm.expire_games()).unwrap(), 3);
    assert_eq!((uploads(runs[0]), uploads(runs[1])), (0, 3));
    assert_eq!(life.run(life.farm.expire_games()).unwrap(), 0);
}

#[test]
fn a_run_whose_networks_are_unknown_is_refused_until_they_are_added() {
    let (_world, life) = World::begin();
    let (known, unknown) = (NET, "nn-0000000000ff.nnue");
    let form =
        RunForm::from_json(&form(json!({ "new_nets": [known, unknown], "base_nets": [unknown] }))).unwrap();
    let refused = life.run(life.farm.create_run(&form)).unwrap_err().to_string();
    assert!(refused.contains(unknown) && !refused.contains(known), "{refused}");
    assert_eq!(refused.matches(unknown).count(), 1, "each is named once: {refused}");
    assert!(life.run(life.farm.store.unfinished_runs()).unwrap().is_empty(), "nothing was made");

    let wrong = life.run(life.farm.add_net("net.nnue", "alice")).unwrap_err().to_string();
    assert!(wrong.contains("net.nnue"), "{wrong}");
    assert!(life.run(life.farm.add_net(unknown, "nobody")).is_err());
    assert!(life.run(life.farm.add_net(unknown, "alice")).unwrap());
    assert!(!life.run(life.farm.add_net(unknown, "bob")).unwrap(), "it is there");
    assert_eq!(life.log().iter().filter(|entry| entry.starts_with("upload_nn")).count(), 1);
    life.run(life.farm.create_run(&form)).unwrap();
}

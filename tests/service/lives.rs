//! Runs from their first task to their end.

use std::sync::Arc;
use std::time::Duration;

use bson::{Bson, Document};
use rand::Rng;
use serde_json::json;
use shoal::domain::fold::Record;
use shoal::domain::ids::{RunId, TaskId, TaskKey};
use shoal::domain::results::Stats;
use shoal::domain::spsa::apply;
use shoal::domain::stats::counts::Counts;
use shoal::domain::stats::sprt::SprtState;
use shoal::domain::task::{Contribution, TailEntry};
use shoal::service::Farm;
use shoal::service::request_spsa::SpsaAnswer;
use shoal::service::request_task::TaskAnswer;
use shoal::sys::{random, spawn};

use super::farm::*;

/// The record as one process makes it that applies the accepted updates one after the other (I9, I10).
pub fn replayed(args: &Document, entries: &[TailEntry], num_games: u64) -> String {
    let mut record = Record::from_args(args, [0; 8]).unwrap();
    match &mut record {
        Record::Games => {}
        Record::Sprt { sprt, folded } => {
            for entry in entries {
                let Contribution::Sprt(growth) = &entry.what else { panic!("{entry:?}") };
                let played: i64 = folded[..3].iter().sum();
                if sprt.state != SprtState::Undecided || played as u64 >= num_games {
                    break;
                }
                for (count, step) in folded.iter_mut().zip(growth) {
                    *count += step;
                }
                let [w, l, d, p0, p1, p2, p3, p4] = folded.map(|count| count as u64);
                let stats = Stats {
                    wins: w,
                    losses: l,
                    draws: d,
                    pentanomial: [p0, p1, p2, p3, p4],
                    ..Stats::default()
                };
                sprt.update(&Counts::from(&stats)).unwrap();
            }
        }
        Record::Spsa(spsa) => {
            for entry in entries {
                let Contribution::Spsa(result) = &entry.what else { panic!("{entry:?}") };
                apply(spsa, result, num_games).unwrap();
            }
        }
    }
    record.to_text().unwrap()
}

/// Sixteen pairs of a patch that is better than it should be.
pub fn batch(rng: &mut impl Rng) -> [u64; 5] {
    let mut p = [0; 5];
    for _ in 0..16 {
        p[[0, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4][rng.random_range(0..13)]] += 1;
    }
    p
}

pub fn plus(a: [u64; 5], b: [u64; 5]) -> [u64; 5] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4]]
}

/// Plays until no run wants games any more. Every update is sent twice, an older one again from time to time.
async fn play(farm: Arc<Farm>, worker: Worker, seed: u64) {
    let mut rng = random::seeded(seed);
    loop {
        let (key, num_games) = match worker.request(&farm).await.unwrap() {
            TaskAnswer::Assigned(doc, task) => {
                let run = RunId::parse(doc.get_str("_id").unwrap()).unwrap();
                let games = doc.get_document("my_task").unwrap().get_i32("num_games").unwrap();
                (TaskKey { run, task }, games as u64)
            }
            TaskAnswer::Nothing => return,
            TaskAnswer::Info(_) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            TaskAnswer::Error(error) => panic!("{error}"),
        };
        let (mut p, mut alive, mut older) = ([0; 5], true, None);
        while alive {
            p = plus(p, batch(&mut rng));
            alive = worker.update(&farm, key, pairs(p), None).await.unwrap().alive;
            let again = worker.update(&farm, key, pairs(p), None).await.unwrap();
            assert!(again.error.is_none(), "a repetition is never an error: {again:?}");
            if let Some(older) = older.filter(|_| rng.random_range(0..3) == 0) {
                let late = worker.update(&farm, key, pairs(older), None).await.unwrap();
                assert!(late.error.is_none(), "an older update that comes again is harmless: {late:?}");
            }
            older = Some(p);
            assert!(!alive || pairs(p).games() < num_games, "a task ends with its games");
            tokio::task::yield_now().await;
        }
    }
}

#[test]
fn a_sequential_test_ends_as_one_process_would_end_it() {
    for (seed, workers) in [(1, 1), (2, 16), (3, 16)] {
        let (world, life) = World::begin();
        let run = life.approved(json!({ "sprt": { "elo0": 0.0, "elo1": 10.0 } }));
        let args = life.document(run).doc.get_document("args").unwrap().clone();
        life.run(async {
            let tasks: Vec<_> = (0..workers)
                .map(|n| {
                    spawn::task(
                        "worker",
                        play(life.farm.clone(), Worker::new(n, 1), seed * 100 + u64::from(n)),
                    )
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        life.settle(run);
        let stored = life.document(run);
        let entries = world.faults.entries_of(run);
        let numbers: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
        assert_eq!(
            numbers,
            (1..=entries.len() as u64).collect::<Vec<_>>(),
            "no place in the order is missing"
        );
        assert_eq!(stored_record(&stored), replayed(&args, &entries, 800_000));
        let sprt = stored.doc.get_document("args").unwrap().get_document("sprt").unwrap();
        assert_eq!(sprt.get_str("state").unwrap(), "accepted");
        assert!(stored.doc.get_bool("is_green").unwrap());
        life.check(run);
        let log = life.log();
        assert_eq!(log.iter().filter(|entry| entry.starts_with("finished_run")).count(), 1, "{log:?}");
        assert_eq!(log.len(), 3, "created, approved, finished: {log:?}");
    }
}

#[test]
fn a_fixed_number_of_games_is_played_and_no_opening_twice() {
    let (_world, life) = World::begin();
    let run = life.approved(json!({ "num_games": 1000 }));
    let (first, second) = (Worker::new(1, 7), Worker::new(2, 7));
    let (a, games, start) = life.task(&first);
    assert_eq!((games, start), (408, 0));
    let (b, games, start) = life.task(&second);
    assert_eq!((games, start), (408, 408));
    assert!(life.update(&first, a, drawn(200)).alive);
    assert!(!life.update(&first, a, drawn(408)).alive);
    let (c, games, start) = life.task(&first);
    assert_eq!((c.task, games, start), (TaskId(2), 184, 816));
    life.check(run);
    assert!(!life.update(&second, b, drawn(408)).alive);
    assert_eq!(life.request(&second), TaskAnswer::Nothing);
    assert!(!life.update(&first, c, drawn(184)).alive);
    life.settle(run);
    life.check(run);
    assert_eq!(life.request(&first), TaskAnswer::Nothing);
    let log = life.log();
    assert_eq!(
        log[2..],
        ["finished_run: Result:rejected Elo:0.00[-0.00,0.00] LOS:50% Games:1000 Ptnml:[0,0,500,0,0]"].map(
            |expected| {
                let (start, _) = expected.split_once("Elo").unwrap();
                assert!(log[2].starts_with(start), "{log:?}");
                log[2].clone()
            }
        )
    );
    // Whoever reports now hears that it is over.
    let late = life.update(&first, c, drawn(200));
    assert_eq!(late.info.unwrap(), format!("Update_task: task {c} is not active"));
}

#[test]
fn a_tuning_run_applies_every_result_once() {
    let (world, life) = World::begin();
    let run = life.approved(json!({
        "num_games": 1000,
        "spsa": { "A": 0.1, "alpha": 0.602, "gamma": 0.101,
                  "raw_params": "One,100,0,200,10,0.002\nTwo,5.5,-10,10,2,0.002" },
    }));
    let args = life.document(run).doc.get_document("args").unwrap().clone();
    let mut rng = random::seeded(7);
    let workers = [Worker::new(1, 1), Worker::new(2, 1), Worker::new(3, 1)];
    let mut tasks: Vec<Option<(TaskKey, [u64; 5])>> = vec![None; workers.len()];
    let mut earlier = None;
    for _ in 0..2000 {
        let turn = rng.random_range(0..workers.len());
        let worker = &workers[turn];
        let Some((key, played)) = tasks[turn] else {
            match life.request(worker) {
                TaskAnswer::Assigned(_, task) => tasks[turn] = Some((TaskKey { run, task }, [0; 5])),
                TaskAnswer::Nothing if life.run(life.farm.is_finished(run)).unwrap() => break,
                TaskAnswer::Nothing => {}
                other => panic!("{other:?}"),
            }
            continue;
        };
        // The answer to the first request is lost; the second round is played.
        let ask = || life.run(life.farm.request_spsa(&worker.about(key, json!({})))).unwrap();
        ask();
        let SpsaAnswer::Round(values) = ask() else {
            tasks[turn] = None;
            continue;
        };
        let round = [0, 1, 1, rng.random_range(0..3), 0];
        let now = plus(played, round);
        let Stats { wins, losses, draws, .. } = pairs(round);
        let spsa = json!({ "wins": wins, "losses": losses, "draws": draws,
                           "num_games": wins + losses + draws, "sig": values.sig });
        let send = |p, spsa| life.run(worker.update(&life.farm, key, pairs(p), Some(spsa))).unwrap();
        let answer = send(now, spsa.clone());
        assert!(answer.error.is_none(), "{answer:?}");
        assert!(send(now, spsa.clone()).error.is_none(), "sent twice, applied once");
        if let Some((of, p, spsa)) = earlier.replace((key, now, spsa))
            && of == key
        {
            assert!(send(p, spsa).error.is_none(), "late, and harmless");
        }
        tasks[turn] = answer.alive.then_some((key, now));
    }
    life.settle(run);
    life.check(run);
    let stored = life.document(run);
    let entries = world.faults.entries_of(run);
    assert!(entries.len() > 100, "{} results", entries.len());
    assert_eq!(stored_record(&stored), replayed(&args, &entries, 1000));
    assert_eq!(life.log().last().unwrap(), "finished_run: SPSA tune finished");
    let rounds = stored_rounds(&life.stored_tasks(run));
    assert_eq!(rounds, 0, "no closed task has a round");
}

fn stored_rounds(tasks: &[shoal::domain::task::TaskRecord]) -> usize {
    tasks.iter().filter(|task| task.spsa_round.is_some()).count()
}

#[test]
fn a_purge_revives_a_run_that_lost_games() {
    // The example at the end of section 9.2 of the specification.
    let (_world, life) = World::begin();
    let run = life.custom(json!({ "auto_purge": true }), |doc| {
        doc.get_document_mut("args").unwrap().insert("num_games", Bson::Int32(400));
    });
    let worker = Worker::new(1, 7);
    let (key, games, start) = life.task(&worker);
    assert_eq!((games, start), (400, 0));
    let stats = Stats { crashes: 4, ..drawn(400) };
    assert!(!life.update(&worker, key, stats).alive);
    life.settle(run);
    assert_eq!(life.log(), ["crash_or_time 0: Time losses:0(0.0%) Crashes:4(1.0%)", "purge_run: Auto purge"]);
    life.check(run);
    let view = life.run(life.farm.state.read_run(run)).unwrap().unwrap();
    assert_eq!((view.counters.results, view.counters.committed_games), (Stats::default(), 0));
    assert_eq!(view.counters.total_games, 400);
    let bad = life.run(life.farm.store.bad_task(run, 0)).unwrap().unwrap();
    let mark = bad.bad.unwrap();
    assert_eq!((mark.stats, mark.residual, mark.residual_color.as_str()), (stats, 10.0, "red"));
    let (key, games, start) = life.task(&worker);
    assert_eq!((key.task, games, start), (TaskId(1), 400, 400));
    assert!(!life.document(run).doc.get_bool("finished").unwrap());
    // The second time it is played properly, and the first task stays out.
    assert!(!life.update(&worker, key, drawn(400)).alive);
    life.settle(run);
    life.check(run);
    assert_eq!(life.log()[2], "purge_run: Auto purge (not performed): No bad workers");
    assert!(life.log()[3].starts_with("finished_run"));
}

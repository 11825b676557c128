//! The process dies at a random moment, again and again; what was acknowledged is there (P2, I3, I9, I14, I15, I20).

use std::collections::BTreeMap;

use rand::Rng;
use serde_json::json;
use shoal::domain::ids::{RunId, TaskKey};
use shoal::domain::results::Stats;
use shoal::service::request_task::TaskAnswer;
use shoal::sys::random;

use super::farm::*;
use super::lives::{batch, plus, replayed};

/// A worker's side of its task: what it has played, and what was acknowledged.
#[derive(Debug, Clone)]
struct Playing {
    key: TaskKey,
    num_games: u64,
    played: [u64; 5],
}

#[test]
fn whatever_was_acknowledged_survives_any_death() {
    for seed in 0..from_environment("SHOAL_TEST_SEEDS", 3) {
        die_often(seed, from_environment("SHOAL_TEST_LIVES", 12));
    }
}

fn from_environment(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |number| number.parse().unwrap())
}

fn die_often(seed: u64, lives: u64) {
    let mut rng = random::seeded(seed);
    let (world, mut life) = World::begin();
    let sprt = life.approved(json!({ "sprt": { "elo0": 0.0, "elo1": 3.0 } }));
    let fixed = life.approved(json!({ "num_games": 2000, "auto_purge": true }));
    let args = life.document(sprt).doc.get_document("args").unwrap().clone();
    let workers: Vec<_> = (0..8).map(|n| Worker::new(n, 1 + n % 3)).collect();
    let mut playing: Vec<Option<Playing>> = vec![None; workers.len()];
    // Statistics that were acknowledged, by task.
    let mut acknowledged: BTreeMap<TaskKey, Stats> = BTreeMap::new();
    let mut claimed: BTreeMap<TaskKey, (u64, u64)> = BTreeMap::new();
    for _ in 0..lives {
        // From some moment on nothing is written any more, then the process dies.
        world.faults.fail_after(rng.random_range(5..60));
        world.faults.answers_lost.store(rng.random_range(0..2) == 0, std::sync::atomic::Ordering::SeqCst);
        for _ in 0..rng.random_range(10..60) {
            let turn = rng.random_range(0..workers.len());
            let worker = &workers[turn];
            world.clock.advance(rng.random_range(0..3000));
            let Some(mine) = playing[turn].clone() else {
                if let Ok(TaskAnswer::Assigned(doc, task)) = life.run(worker.request(&life.farm)) {
                    let run = RunId::parse(doc.get_str("_id").unwrap()).unwrap();
                    let key = TaskKey { run, task };
                    let mine = doc.get_document("my_task").unwrap();
                    let num_games = mine.get_i32("num_games").unwrap() as u64;
                    let start = mine.get_i32("start").unwrap() as u64;
                    let before = claimed.insert(key, (start, num_games));
                    assert!(before.is_none_or(|before| before == (start, num_games)));
                    playing[turn] = Some(Playing { key, num_games, played: [0; 5] });
                }
                continue;
            };
            let played = plus(mine.played, batch(&mut rng));
            match life.run(worker.update(&life.farm, mine.key, pairs(played), None)) {
                Ok(answer) => {
                    assert_eq!(answer.error, None);
                    if answer.info.is_none() {
                        acknowledged.insert(mine.key, pairs(played));
                    }
                    playing[turn] = answer.alive.then_some(Playing { played, ..mine });
                    assert!(
                        !answer.alive || pairs(played).games() < playing[turn].as_ref().unwrap().num_games
                    );
                }
                // It goes on playing and reports the sum.
                Err(_) => playing[turn] = Some(Playing { played, ..mine }),
            }
        }
        life.kill();
        life = world.start();
        for run in [sprt, fixed] {
            life.settle(run);
            life.check(run);
        }
        for (key, stats) in &acknowledged {
            let task = life.run(life.farm.store.task(*key)).unwrap().unwrap();
            let kept = task.bad.as_ref().map_or(task.stats, |mark| mark.stats);
            assert!(kept.games() >= stats.games(), "task {key} lost games: {kept:?}, acknowledged {stats:?}");
        }
        let mut ranges: BTreeMap<RunId, Vec<(u64, u64)>> = BTreeMap::new();
        for (key, range) in &claimed {
            ranges.entry(key.run).or_default().push(*range);
        }
        for ranges in ranges.values() {
            for pair in ranges.windows(2) {
                assert!(pair[0].0 + pair[0].1 <= pair[1].0, "openings overlap: {pair:?}");
            }
        }
    }
    world.faults.heal();
    life.run(async {
        let _ = life.farm.user_stop(sprt, "alice").await;
        let _ = life.farm.user_stop(fixed, "alice").await;
    });
    for run in [sprt, fixed] {
        life.settle(run);
        life.check(run);
    }
    let entries = world.faults.entries_of(sprt);
    assert!(entries.len() > 20, "{} reports", entries.len());
    assert_eq!(stored_record(&life.document(sprt)), replayed(&args, &entries, 800_000));
    let log = life.log();
    for once in ["finished_run", "stop_run"] {
        assert!(log.iter().filter(|entry| entry.starts_with(once)).count() <= 2, "{log:?}");
    }
}

//! Replicas as they live: by the machine's clocks, with scheduler, membership and workers, while the schedule is emptied
//! under them and leaders go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use serde_json::json;
use shoal::domain::ids::{RunId, TaskKey};
use shoal::scheduler;
use shoal::service::request_task::TaskAnswer;
use shoal::service::{Farm, ServiceError};
use shoal::state::SchedulingState;
use shoal::sys::clock::stopwatch;
use shoal::sys::{random, spawn};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::place::*;
use crate::durability::fixtures::SqliteFixture;
use crate::service::farm::{Worker, drawn};

/// A process, as it were.
struct Process {
    farm: Arc<Farm>,
    stop: watch::Sender<bool>,
    scheduler: JoinHandle<()>,
}

impl Process {
    fn start(place: &Place, state: Arc<dyn SchedulingState>) -> Self {
        let farm = Place::living(place.store.clone(), state);
        let (stop, stopped) = watch::channel(false);
        drop(farm.take_part(stopped.clone()));
        let scheduler = scheduler::start(farm.clone(), stopped);
        Self { farm, stop, scheduler }
    }

    /// As SIGTERM does.
    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.scheduler.await.unwrap();
    }
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) -> Duration {
    let began = stopwatch();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

/// What was acknowledged: games by task, and when the last task was given out.
#[derive(Default)]
struct Ledger {
    games: BTreeMap<TaskKey, u64>,
    assigned: u64,
}

/// Plays through whichever replica until the run is over.
async fn play(farms: Vec<Arc<Farm>>, run: RunId, number: u32, ledger: Arc<Mutex<Ledger>>) {
    let mut rng = random::seeded(u64::from(number));
    let worker = Worker::new(number, 3);
    let again = |error: &ServiceError| {
        let passes = matches!(
            error,
            ServiceError::Outdated(_)
                | ServiceError::Unavailable(_)
                | ServiceError::NotDurable(_)
                | ServiceError::Busy(_)
        );
        assert!(passes, "an error that costs a worker its task: {error:?}");
    };
    let mut pick = move || farms[rng.random_range(0..farms.len())].clone();
    loop {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let farm = pick();
        let key = match worker.request(&farm).await {
            Ok(TaskAnswer::Assigned(_, task)) => TaskKey { run, task },
            Ok(TaskAnswer::Nothing) => match farm.is_finished(run).await {
                Ok(true) => return,
                _ => continue,
            },
            Ok(TaskAnswer::Info(_)) => continue,
            Ok(TaskAnswer::Error(error)) => panic!("{error}"),
            Err(error) => {
                again(&error);
                continue;
            }
        };
        ledger.lock().assigned += 1;
        let (mut games, mut alive) = (0, true);
        while alive {
            games += 8;
            loop {
                tokio::time::sleep(Duration::from_millis(120)).await;
                match worker.update(&pick(), key, drawn(games), None).await {
                    Ok(answer) => {
                        assert_eq!(answer.error, None);
                        if answer.info.is_none() {
                            ledger.lock().games.insert(key, games);
                        }
                        alive = answer.alive;
                        break;
                    }
                    Err(error) => again(&error),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_emptied_under_load_and_leaders_that_go_cost_nobody_anything() {
    let _turn = crate::drills::turn().await;
    let sqlite = SqliteFixture::new();
    let mut place = Place::new(sqlite.store()).await;
    let state =
        Arc::new(shoal::state::memory::MemoryState::new(Arc::new(shoal::sys::clock::SystemClock::new())));
    place.state = state.clone();
    let mut processes: Vec<_> = (0..3).map(|_| Process::start(&place, state.clone())).collect();
    let farms: Vec<_> = processes.iter().map(|process| process.farm.clone()).collect();
    for farm in &farms {
        until("every replica serves", async || farm.is_ready()).await;
    }
    assert_eq!(farms.iter().filter(|farm| farm.leadership().is_some()).count(), 1);
    let run = approved(&farms[0], json!({ "num_games": 8000 })).await;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    // The third process will end: workers talk to the others.
    let leader = farms.iter().position(|farm| farm.leadership().is_some()).unwrap();
    let stays: Vec<_> =
        farms.iter().enumerate().filter(|(at, _)| *at != leader).map(|(_, farm)| farm.clone()).collect();
    let playing: Vec<_> = (1..=16)
        .map(|number| spawn::task("worker", play(stays.clone(), run, number, ledger.clone())))
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    processes.remove(leader).stop().await;
    let gap = until("another leads", async || stays.iter().any(|farm| farm.leadership().is_some())).await;
    eprintln!("another led {gap:?} after the leader had stepped down");
    assert!(gap < Duration::from_secs(10));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let before = stays[0].generation();
        state.lose_everything();
        let healed = until("the schedule is back", async || {
            stays.iter().all(|farm| farm.is_ready() && farm.generation() > before)
        })
        .await;
        eprintln!("the schedule was back after {healed:?}");
        assert!(healed < Duration::from_secs(20));
    }
    for worker in playing {
        worker.await.unwrap();
    }
    until("the run has left", async || matches!(state.read_run(run).await, Ok(None))).await;
    let Ledger { games: acknowledged, assigned } = std::mem::take(&mut *ledger.lock());
    assert!(assigned >= 16, "{assigned} tasks");
    let games: u64 = acknowledged.values().sum();
    for (key, games) in acknowledged {
        let task = place.store.task(key).await.unwrap().unwrap();
        assert!(task.stats.games() >= games, "task {key} lost games: {:?}, acknowledged {games}", task.stats);
    }
    assert!(games >= 8000, "{games} games");
    place.check(run).await;
    for process in processes {
        process.stop().await;
    }
}

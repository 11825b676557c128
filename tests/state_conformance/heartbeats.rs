//! Heartbeats that wait together: some that are given up, too many of them, and whoever was to send them being gone.
//!
//! On a server of its own, which is stopped for a while, so that what is sent stays under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::join_all;
use shoal::domain::ids::{Millis, TaskKey};
use shoal::domain::run::RunKind;
use shoal::domain::task::TaskWorker;
use shoal::state::redis::RedisState;
use shoal::state::*;
use shoal::sys::clock::ManualClock;
use shoal::sys::spawn;

use super::fixture::*;
use crate::cluster::redis::{RedisServer, Variant};

/// Heartbeats that wait at most (`state/redis/beats.rs`).
const ROOM: usize = 10_000;

/// When so many wait, a second call is begun beside the first.
const SECOND: usize = 32;

/// Long enough for what was begun to be sent.
const BEGUN: Duration = Duration::from_millis(300);

/// Long enough for an answer, and less than a deadline.
const SOON: Duration = Duration::from_secs(10);

type Beat = Pin<Box<dyn Future<Output = StateResult<BeatOutcome>> + Send>>;

/// A worker whose task has been heard of before.
struct Farm {
    server: RedisServer,
    state: Arc<RedisState>,
    key: TaskKey,
    worker: TaskWorker,
}

impl Farm {
    async fn start() -> Option<Self> {
        let server = RedisServer::start(Variant::Standalone)?;
        let clock = ManualClock::new(Millis(1_700_000_000_000));
        let state = redis_state(&server.url(), Some(&clock)).await;
        let f = Fixture::begin(state.clone(), clock).await;
        let run = f.run(RunKind::Games, 1000).await;
        let worker = worker(1, 0);
        let key = f.claim(run, &worker, 100).await.task.record.key;
        f.update(key, &worker, drawn(2)).await;
        Some(Self { server, state, key, worker })
    }

    fn beat(&self) -> Beat {
        let (state, who) = (self.state.clone(), caller(self.key, &self.worker));
        Box::pin(async move { state.beat(G, &who).await })
    }

    /// Some that wait.
    async fn waiting(&self, number: usize) -> Vec<Beat> {
        let mut beats: Vec<Beat> = (0..number).map(|_| self.beat()).collect();
        for beat in &mut beats {
            assert!(futures::poll!(beat).is_pending());
        }
        beats
    }

    /// A call that is under way on another runtime when that ends.
    async fn abandoned_elsewhere(&self, then: impl AsyncFnOnce()) -> Beat {
        let (gone, ends) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let beat = self.beat();
        let elsewhere = spawn::blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut beat = beat;
            runtime.block_on(async {
                assert!(futures::poll!(&mut beat).is_pending());
                tokio::time::sleep(BEGUN).await;
            });
            begun.send(()).unwrap();
            ends.recv().unwrap();
            drop(runtime);
            beat
        });
        begins.await.unwrap();
        then().await;
        gone.send(()).unwrap();
        elsewhere.await.unwrap()
    }
}

async fn soon<F: Future>(answer: F) -> F::Output {
    tokio::time::timeout(SOON, answer).await.expect("an answer in time")
}

fn is_alive(answer: &StateResult<BeatOutcome>) -> bool {
    matches!(answer, Ok(BeatOutcome::Alive(true)))
}

#[tokio::test]
async fn those_who_are_given_up_take_nobody_with_them() {
    let Some(farm) = Farm::start().await else { return };
    for _ in 0..3 {
        farm.server.pause();
        // The first one is why they are sent; the others are of its call, of a second one, and of none yet.
        let mut sent = farm.waiting(SECOND + 8).await;
        tokio::time::sleep(BEGUN).await;
        let mut queued = farm.waiting(8).await;
        drop(sent.remove(0));
        drop(sent.remove(7));
        drop(queued.remove(0));
        drop(queued.remove(3));
        farm.server.resume();
        for beats in [sent, queued] {
            let answers = soon(join_all(beats)).await;
            assert!(answers.iter().all(is_alive), "{answers:?}");
        }
        assert!(is_alive(&soon(farm.beat()).await), "and who comes later");
    }
}

#[tokio::test]
async fn when_too_many_wait_the_next_are_told_at_once() {
    let Some(farm) = Farm::start().await else { return };
    farm.server.pause();
    // Nobody else has a turn before all of them have asked.
    let beats = farm.waiting(ROOM).await;
    for _ in 0..10 {
        let Poll::Ready(Err(StateError::Unavailable(why))) = futures::poll!(&mut farm.beat()) else {
            panic!("one too many waits")
        };
        assert!(why.contains("heartbeats"), "{why}");
    }
    // Those that were sent have made room for as many.
    tokio::time::sleep(BEGUN).await;
    let mut more = Vec::new();
    loop {
        let mut beat = farm.beat();
        match futures::poll!(&mut beat) {
            Poll::Pending => more.push(beat),
            Poll::Ready(answer) => {
                assert!(matches!(answer, Err(StateError::Unavailable(_))), "{answer:?}");
                break;
            }
        }
    }
    assert!((1..=2 * 64).contains(&more.len()), "two calls of at most 64 are under way: {}", more.len());
    farm.server.resume();
    for beats in [beats, more] {
        let answers = soon(join_all(beats)).await;
        assert!(answers.iter().all(is_alive), "each that waited is answered");
    }
    assert!(is_alive(&soon(farm.beat()).await), "there is room again");
}

#[tokio::test]
async fn when_whoever_sends_ends_those_who_wait_are_told_and_the_next_send_themselves() {
    let Some(farm) = Farm::start().await else { return };
    farm.server.pause();
    let mut waiting = Vec::new();
    let sent = farm.abandoned_elsewhere(async || waiting = farm.waiting(3).await).await;
    // The server is still stopped: this isn't its word.
    for beat in waiting.into_iter().chain([sent]) {
        assert!(matches!(soon(beat).await, Err(StateError::Unknown(_))));
    }
    let next = farm.waiting(1).await;
    farm.server.resume();
    let answers = soon(join_all(next)).await;
    assert!(answers.iter().all(is_alive), "{answers:?}");
}

#[tokio::test]
async fn when_one_of_two_who_send_ends_the_other_goes_on() {
    let Some(farm) = Farm::start().await else { return };
    farm.server.pause();
    let (mut second, mut waiting) = (Vec::new(), Vec::new());
    let sent = farm
        .abandoned_elsewhere(async || {
            second = farm.waiting(SECOND).await;
            tokio::time::sleep(BEGUN).await;
            waiting = farm.waiting(3).await;
        })
        .await;
    assert!(matches!(soon(sent).await, Err(StateError::Unknown(_))));
    tokio::time::sleep(BEGUN).await;
    for beat in &mut waiting {
        assert!(futures::poll!(beat).is_pending(), "somebody is still to send it");
    }
    farm.server.resume();
    for beats in [second, waiting] {
        let answers = soon(join_all(beats)).await;
        assert!(answers.iter().all(is_alive), "{answers:?}");
    }
}

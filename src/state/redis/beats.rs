//! Heartbeats: most of what workers send. Those that arrive while others are under way to the server go together, in one
//! call of one script: load makes batches, there is no timer.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::keys::{Names, member};
use super::link::Way;
use super::task_codec::living_head;
use super::task_ops::absent;
use super::{RedisState, scripts};
use crate::domain::ids::{RunId, TaskKey};
use crate::state::{BeatOutcome, Caller, StateError, StateResult};
use crate::sys::spawn;

/// Heartbeats in one call.
const MOST: usize = 64;

/// Calls under way at once: while the server is busy with one, the next is put together.
const CALLS: usize = 2;

/// Heartbeats that wait to be sent; more than a farm's gate admits at once.
const ROOM: usize = 10_000;

/// A heartbeat that is to be sent, and who waits for its answer.
struct Waiting {
    names: Arc<Names>,
    key: TaskKey,
    head: Vec<u8>,
    answer: oneshot::Sender<StateResult<bool>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    calls: usize,
}

/// Heartbeats on their way to the server.
#[derive(Default)]
pub(super) struct Beats(Mutex<Queue>);

/// The right to send. It ends when nothing waits, or with the task that has it.
struct Turn {
    state: Weak<RedisState>,
    over: bool,
}

impl Turn {
    /// The next heartbeats of one generation. If there are none, the turn is over in the same step: who comes later starts
    /// another.
    fn take(&mut self, state: &RedisState) -> Vec<Waiting> {
        let mut queue = state.beats.0.lock();
        let Some(first) = queue.waiting.front().map(|first| first.names.generation) else {
            queue.calls -= 1;
            self.over = true;
            return Vec::new();
        };
        let alike = queue.waiting.iter().take(MOST).take_while(|next| next.names.generation == first).count();
        queue.waiting.drain(..alike).collect()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if let Some(state) = self.state.upgrade() {
            let mut queue = state.beats.0.lock();
            queue.calls -= 1;
            // Given up in the middle, as when its runtime ends: if nobody else sends, those who wait hear that at once.
            if queue.calls == 0 {
                queue.waiting.clear();
            }
        }
    }
}

impl Beats {
    /// Sends a heartbeat with those that are sent next, and waits for its answer.
    pub(super) async fn note(
        &self,
        state: &RedisState,
        names: Arc<Names>,
        who: &Caller,
    ) -> StateResult<BeatOutcome> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            names: names.clone(),
            key: who.key,
            head: living_head(&who.unique_key, &who.username)?,
            answer,
        };
        let starts = {
            let mut queue = self.0.lock();
            if queue.waiting.len() >= ROOM {
                return Err(StateError::Unavailable("too many heartbeats wait".to_owned()));
            }
            queue.waiting.push_back(waiting);
            // Few together cost almost what many do.
            let starts = queue.calls == 0 || queue.calls < CALLS && queue.waiting.len() >= MOST / 2;
            queue.calls += usize::from(starts);
            starts
        };
        if starts {
            // Not by the one who waits: it may be given up at any moment, and others wait, too.
            spawn::detached("heartbeats", send(Turn { state: state.me.clone(), over: false }));
        }
        match answered.await {
            Ok(Ok(true)) => Ok(BeatOutcome::Alive(true)),
            // The first after a claim, or of a task that is another's, or closed, or nowhere.
            Ok(Ok(false)) => Box::pin(state.note_beat(&names, who)).await,
            Ok(Err(error)) => Err(error),
            // A sign of life does no harm twice, and the worker repeats it.
            Err(_) => Err(StateError::Unknown("a heartbeat got no answer".to_owned())),
        }
    }
}

/// Sends what waits until nothing does.
async fn send(mut turn: Turn) {
    loop {
        // Whoever is ready on this thread comes along.
        tokio::task::yield_now().await;
        let Some(state) = turn.state.upgrade() else { return };
        let batch = turn.take(&state);
        if batch.is_empty() {
            return;
        }
        match state.note_beats(&batch).await {
            Ok(noted) => {
                for (waiting, noted) in batch.into_iter().zip(noted) {
                    // Nobody there: given up meanwhile.
                    let _ = waiting.answer.send(Ok(noted));
                }
            }
            Err(error) => {
                for waiting in batch {
                    let _ = waiting.answer.send(Err(error.clone()));
                }
            }
        }
    }
}

impl RedisState {
    /// One call for heartbeats of one generation; whether each was noted, in their order.
    async fn note_beats(&self, batch: &[Waiting]) -> StateResult<Vec<bool>> {
        let Some(first) = batch.first() else { return Ok(Vec::new()) };
        let names = &first.names;
        // By run: few runs have most of the workers.
        let mut by_run: Vec<(RunId, Vec<usize>)> = Vec::new();
        for (place, waiting) in batch.iter().enumerate() {
            match by_run.iter_mut().find(|(run, _)| *run == waiting.key.run) {
                Some((_, places)) => places.push(place),
                None => by_run.push((waiting.key.run, vec![place])),
            }
        }
        let of_runs: Vec<_> = by_run.iter().map(|(run, _)| names.run(*run)).collect();
        let keys = std::iter::once(&*names.active);
        let keys = keys.chain(of_runs.iter().flat_map(|names| [&*names.run, &names.tasks]));
        let keys: Vec<&str> = keys.collect();
        let mut command = self.command(&scripts::BEATS, &names.text, &keys);
        for (_, places) in &by_run {
            command.arg(places.len());
            let of_run = || places.iter().filter_map(|place| batch.get(*place));
            of_run().for_each(|waiting| {
                command.arg(waiting.key.task.0);
            });
            of_run().for_each(|waiting| {
                command.arg(member(waiting.key));
            });
            of_run().for_each(|waiting| {
                command.arg(&waiting.head);
            });
        }
        let mut reply = self.run(&scripts::BEATS, &command, Way::Shared).await?;
        let mut noted = vec![false; batch.len()];
        for place in by_run.into_iter().flat_map(|(_, places)| places) {
            let alive = reply.flag()?;
            if let Some(noted) = noted.get_mut(place) {
                *noted = alive;
            }
        }
        Ok(noted)
    }

    /// A heartbeat that isn't like most.
    async fn note_beat(&self, names: &Names, who: &Caller) -> StateResult<BeatOutcome> {
        let run = names.run(who.key.run);
        let mut command = self.command(&scripts::BEAT, &names.text, &[&run.run, &run.tasks, &names.active]);
        command.arg(who.key.task.0).arg(member(who.key)).arg(&who.unique_key).arg(&who.username);
        let mut reply = self.run(&scripts::BEAT, &command, Way::Shared).await?;
        if reply.word() == "ALIVE" {
            return Ok(BeatOutcome::Alive(reply.flag()?));
        }
        Ok(BeatOutcome::Absent(absent(&mut reply)?))
    }
}

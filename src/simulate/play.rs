//! Playing one task: games take their time, heartbeats go out, reports are sent and repeated until they are answered
//! (`spec/worker-api.md` sections 7.2, 7.4 and 7.5).

use std::time::{Duration, Instant};

use rand::Rng;

use super::answer::Trouble;
use super::cadence::{game_seconds, games_per_report};
use super::endpoint::Endpoint;
use super::protocol::{AssignedRun, SpsaResult, WorkerRequest};
use super::tally::Event;
use super::worker::Worker;
use crate::domain::ids::RunId;
use crate::domain::results::Stats;
use crate::sys::clock::stopwatch;

/// A sign of life is due so many simulated seconds after the last one.
const BEAT_SECONDS: f64 = 120.0;
/// Attempts at a report, as a worker makes them.
const ATTEMPTS: u32 = 5;
/// Simulated seconds between attempts.
const RETRY_SECONDS: f64 = 15.0;
/// Games in an uploaded file: few, since the server stores it unread.
const UPLOADED_GAMES: usize = 4;

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayEnd {
    /// Played to its end, or ended by the server.
    Played,
    /// Given back, or no report got through.
    Failed,
    /// The worker disappeared.
    Vanished,
    /// The simulation ended.
    Over,
}

/// What will befall the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Normal,
    /// Vanish when so many games are played.
    Vanish(u64),
    /// Give the task back when so many games are played.
    Fail(u64),
}

/// A stretch of playing or reporting that ends the task; `Err` carries the end.
type Step<T> = Result<T, PlayEnd>;

/// A task being played.
#[derive(Debug)]
pub struct Play {
    run: RunId,
    run_text: String,
    task: u32,
    num_games: u64,
    stats: Stats,
    per_report: u64,
    /// Simulated seconds that one game adds, all boards together.
    seconds_per_game: f64,
    is_spsa: bool,
    fate: Fate,
    last_sign: Instant,
}

impl Play {
    /// Plans the task for the worker's machine. `run` has been checked.
    pub fn new(run: RunId, task: u32, assigned: AssignedRun, worker: &mut Worker) -> Self {
        let args = &assigned.args;
        let base = game_seconds(&args.tc).unwrap_or(1.0);
        let new = args.new_tc.as_deref().and_then(game_seconds).unwrap_or(base);
        let game = (base + new) / 2.0;
        let at_once = u64::from(worker.machine.cores() / args.threads.max(1)).max(1);
        let batch = args.sprt.as_ref().map(|sprt| sprt.batch_size);
        let stats = assigned.my_task.stats.unwrap_or_default();
        let left = assigned.my_task.num_games.saturating_sub(stats.games());
        let options = &worker.fleet.options;
        let chance = worker.rng.random::<f64>();
        let moment = stats.games() + (worker.rng.random::<f64>() * left as f64) as u64;
        let fate = if chance < options.vanish_rate {
            Fate::Vanish(moment)
        } else if chance < options.vanish_rate + options.fail_rate {
            Fate::Fail(moment)
        } else {
            Fate::Normal
        };
        Self {
            run,
            run_text: assigned.id.clone(),
            task,
            num_games: assigned.my_task.num_games,
            stats,
            per_report: games_per_report(batch, at_once, game),
            seconds_per_game: game * worker.machine.slowness() / at_once as f64,
            is_spsa: args.spsa.is_some(),
            fate,
            last_sign: stopwatch(),
        }
    }

    /// Plays, reports, uploads.
    pub async fn run(mut self, worker: &mut Worker) -> PlayEnd {
        if worker.machine.bench().is_err() {
            return PlayEnd::Failed;
        }
        let end = match self.games(worker).await {
            Ok(()) => PlayEnd::Played,
            Err(end) => end,
        };
        match end {
            PlayEnd::Vanished => {}
            PlayEnd::Over => {
                if worker.fleet.options.give_back {
                    worker.fail_task(&self.run_text, self.task, "The simulation has ended.").await;
                }
            }
            PlayEnd::Played | PlayEnd::Failed => self.upload(worker).await,
        }
        end
    }

    async fn games(&mut self, worker: &mut Worker) -> Step<()> {
        let mut last_spsa = None;
        while self.stats.games() < self.num_games {
            let sig = if self.is_spsa { self.parameters(worker, last_spsa).await? } else { None };
            if self.is_spsa && sig.is_none() {
                return Ok(());
            }
            let batch = self.per_report.min(self.num_games - self.stats.games());
            self.meet_fate(batch, worker).await?;
            if !self.play_for(batch as f64 * self.seconds_per_game, worker).await? {
                return Ok(());
            }
            let played = worker.fleet.model.play(batch / 2, &mut worker.rng);
            let Some(stats) = self.stats.plus(&played) else {
                return Err(PlayEnd::Failed);
            };
            self.stats = stats;
            let spsa = sig.map(|sig| SpsaResult {
                wins: played.wins,
                losses: played.losses,
                draws: played.draws,
                num_games: batch,
                sig,
            });
            last_spsa = spsa;
            if !self.report(spsa, worker).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Vanishing and failing happen in the middle of a batch.
    async fn meet_fate(&mut self, batch: u64, worker: &mut Worker) -> Step<()> {
        let reached = self.stats.games().saturating_add(batch);
        let end = match self.fate {
            Fate::Vanish(moment) if moment < reached => PlayEnd::Vanished,
            Fate::Fail(moment) if moment < reached => PlayEnd::Failed,
            _ => return Ok(()),
        };
        if !self.play_for(batch as f64 * self.seconds_per_game / 2.0, worker).await? {
            return Err(PlayEnd::Played);
        }
        if end == PlayEnd::Failed {
            worker.fail_task(&self.run_text, self.task, "The simulated engine would not start.").await;
        }
        Err(end)
    }

    /// Lets games go on for so long, with signs of life; false when the server doesn't want the task any more.
    async fn play_for(&mut self, simulated_seconds: f64, worker: &Worker) -> Step<bool> {
        let pace = &worker.fleet.pace;
        let (whole, beat_interval) = (pace.real(simulated_seconds), pace.real(BEAT_SECONDS));
        let started = stopwatch();
        loop {
            let left = whole.saturating_sub(started.elapsed());
            let until_beat = beat_interval.saturating_sub(self.last_sign.elapsed());
            let going_on = pace.wait(left.min(until_beat)).await;
            if !going_on {
                return Err(PlayEnd::Over);
            }
            if left <= until_beat {
                return Ok(true);
            }
            if !self.beat(worker).await {
                return Ok(false);
            }
        }
    }

    async fn beat(&mut self, worker: &Worker) -> bool {
        let body = worker.body().about(&self.run_text, self.task);
        let answer = worker.fleet.client.beat(&body, worker.address()).await;
        self.last_sign = stopwatch();
        match answer {
            Ok(answer) => answer.task_alive,
            Err(trouble) => {
                worker.note(Endpoint::Beat, &trouble, false);
                !matches!(trouble, Trouble::Refused { .. })
            }
        }
    }

    /// The signature of the next parameters of a tuning; `None` when the task is over.
    async fn parameters(&self, worker: &Worker, last: Option<SpsaResult>) -> Step<Option<u64>> {
        let body = WorkerRequest {
            stats: Some(&self.stats),
            spsa: last.as_ref(),
            ..worker.body().about(&self.run_text, self.task)
        };
        match worker.fleet.client.request_spsa(&body, worker.address()).await {
            Ok(answer) if !answer.task_alive => Ok(None),
            Ok(answer) => {
                let (Some(w), Some(b)) = (&answer.w_params, &answer.b_params) else {
                    let trouble =
                        Trouble::Misshapen { detail: "a live task without w_params and b_params".to_owned() };
                    worker.note(Endpoint::RequestSpsa, &trouble, false);
                    return self.give_back(worker, "no parameters").await;
                };
                if w.len() != b.len() {
                    let trouble =
                        Trouble::Misshapen { detail: "w_params and b_params differ in length".to_owned() };
                    worker.note(Endpoint::RequestSpsa, &trouble, false);
                }
                Ok(Some(answer.sig.unwrap_or(0)))
            }
            Err(trouble) => {
                worker.note(Endpoint::RequestSpsa, &trouble, false);
                self.give_back(worker, "request_spsa failed").await
            }
        }
    }

    async fn give_back<T>(&self, worker: &Worker, message: &str) -> Step<T> {
        worker.fail_task(&self.run_text, self.task, message).await;
        Err(PlayEnd::Failed)
    }

    /// Sends the cumulative results until they are answered; false when the task is over.
    async fn report(&mut self, spsa: Option<SpsaResult>, worker: &Worker) -> Step<bool> {
        let fleet = &worker.fleet;
        let bridge = Duration::from_secs_f64(fleet.options.min_bridge_seconds);
        let started = stopwatch();
        let mut attempts = 0;
        loop {
            attempts += 1;
            fleet.ledger.sent(self.run, self.task, &self.stats);
            let body = WorkerRequest {
                stats: Some(&self.stats),
                spsa: spsa.as_ref(),
                ..worker.body().about(&self.run_text, self.task)
            };
            match fleet.client.update_task(&body, worker.address()).await {
                Ok(answer) => {
                    if answer.info.is_some() {
                        fleet.tally.count(Event::NotActive);
                    } else {
                        let gained = fleet.ledger.acknowledged(self.run, self.task, &self.stats);
                        fleet.tally.games(gained);
                    }
                    self.last_sign = stopwatch();
                    return Ok(answer.task_alive);
                }
                Err(trouble) => {
                    worker.note(Endpoint::UpdateTask, &trouble, spsa.is_some() && attempts > 1);
                    let for_good = matches!(trouble, Trouble::Refused { .. });
                    if for_good || (attempts >= ATTEMPTS && started.elapsed() >= bridge) {
                        return self.give_back(worker, "Too many failed update attempts.").await;
                    }
                }
            }
            fleet.tally.count(Event::Retried);
            if !fleet.pace.pause(RETRY_SECONDS).await {
                return Err(PlayEnd::Over);
            }
        }
    }

    async fn upload(&self, worker: &mut Worker) {
        if !worker.fleet.options.upload_pgns || self.is_spsa || self.stats.games() == 0 {
            return;
        }
        let Some(pgn) = super::pgn::upload(&self.run_text, self.task, UPLOADED_GAMES, &mut worker.rng) else {
            return;
        };
        let body = WorkerRequest {
            message: Some(""),
            pgn: Some(&pgn),
            ..worker.body().about(&self.run_text, self.task)
        };
        if let Err(trouble) = worker.fleet.client.upload_pgn(&body, worker.address()).await {
            worker.note(Endpoint::UploadPgn, &trouble, false);
        }
    }
}

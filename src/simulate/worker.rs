//! One worker: asks for tasks, plays them, backs off, vanishes and comes back (`spec/worker-api.md` section 7).

use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;

use super::answer::Trouble;
use super::client::Client;
use super::endpoint::Endpoint;
use super::judge::{Circumstances, own_doing};
use super::ledger::{Invariant, Ledger};
use super::machine::Machine;
use super::model::GameModel;
use super::options::SimulateOptions;
use super::pace::Pace;
use super::play::{Play, PlayEnd};
use super::protocol::{TaskAnswer, VERSION, WorkerRequest};
use super::tally::{Doing, Event, Tally};
use crate::domain::ids::RunId;

/// First back-off, simulated seconds.
const FIRST_DELAY: f64 = 15.0;
/// Longest back-off, simulated seconds.
const LONGEST_DELAY: f64 = 900.0;

/// What all workers of a simulation share.
#[derive(Debug)]
pub struct Fleet {
    /// What was asked for.
    pub options: SimulateOptions,
    /// The connection to the server.
    pub client: Client,
    /// The books.
    pub ledger: Ledger,
    /// The counters.
    pub tally: Arc<Tally>,
    /// The games.
    pub model: GameModel,
    /// The time.
    pub pace: Pace,
}

/// A simulated worker.
#[derive(Debug)]
pub struct Worker {
    pub(super) fleet: Arc<Fleet>,
    pub(super) machine: Machine,
    pub(super) rng: StdRng,
    password: String,
    proven_password: bool,
    doing: Option<Doing>,
    delay: f64,
}

/// How one round of the loop ended.
enum Round {
    /// A task ran without exception: the back-off starts anew.
    Played,
    /// Nothing was played.
    Fruitless,
    /// The worker disappeared without a word.
    Vanished,
    /// The worker ends for good.
    Quit,
}

impl Worker {
    /// A worker that has not begun.
    pub fn new(fleet: Arc<Fleet>, machine: Machine, password: String, rng: StdRng) -> Self {
        Self { fleet, machine, rng, password, proven_password: false, doing: None, delay: FIRST_DELAY }
    }

    /// Works until the simulation ends or the server turns the worker away for good.
    pub async fn run(mut self, start_after: std::time::Duration) {
        self.becomes(Doing::Waiting);
        if self.fleet.pace.wait(start_after).await {
            while self.another_round().await {}
        }
        self.becomes(Doing::Gone);
    }

    async fn another_round(&mut self) -> bool {
        let round = self.round().await;
        if self.fleet.pace.is_over() {
            return false;
        }
        match round {
            Round::Played => self.delay = FIRST_DELAY,
            Round::Fruitless => {
                self.becomes(Doing::Waiting);
                let delay = self.delay;
                self.delay = (2.0 * delay).min(LONGEST_DELAY);
                return self.fleet.pace.pause(delay).await;
            }
            Round::Vanished => return self.stay_away().await,
            Round::Quit => return false,
        }
        true
    }

    /// Back after a while under a new key: on the same installation, whose name the server may still hold to be taken,
    /// or as a machine that takes the lost one's place.
    async fn stay_away(&mut self) -> bool {
        self.becomes(Doing::Away);
        self.fleet.tally.count(Event::Vanished);
        let away = -(1.0 - self.rng.random::<f64>()).ln() * self.fleet.options.return_seconds;
        if !self.fleet.pace.pause(away).await {
            return false;
        }
        self.becomes(Doing::Waiting);
        self.delay = FIRST_DELAY;
        let same_installation = self.rng.random::<bool>();
        self.machine.restart(same_installation).is_ok()
    }

    async fn round(&mut self) -> Round {
        if let Some(end) = self.ask_version().await {
            return end;
        }
        if self.fleet.pace.is_over() {
            return Round::Quit;
        }
        let answer = self.fleet.client.request_task(&self.body(), self.address()).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(trouble) => {
                self.note(Endpoint::RequestTask, &trouble, false);
                return Round::Fruitless;
            }
        };
        let Some(play) = self.accept(answer).await else {
            return Round::Fruitless;
        };
        self.becomes(Doing::Playing);
        self.fleet.tally.count(Event::TaskStarted);
        let end = play.run(self).await;
        match end {
            PlayEnd::Played => {
                self.fleet.tally.count(Event::TaskEnded);
                Round::Played
            }
            PlayEnd::Failed => {
                self.fleet.tally.count(Event::TaskFailed);
                Round::Fruitless
            }
            PlayEnd::Vanished => Round::Vanished,
            PlayEnd::Over => Round::Quit,
        }
    }

    /// The check before every task; `None` when the worker may go on.
    async fn ask_version(&mut self) -> Option<Round> {
        let answer = self.fleet.client.request_version(&self.body(), self.address()).await;
        match answer {
            Ok(answer) => {
                self.proven_password = true;
                if answer.version > VERSION {
                    let detail = format!("request_version answers {}, a worker is {VERSION}", answer.version);
                    self.fleet.ledger.breach(Invariant::I18, detail);
                }
                None
            }
            Err(trouble) => {
                self.note(Endpoint::RequestVersion, &trouble, false);
                let for_good = matches!(trouble, Trouble::Refused { .. });
                Some(if for_good { Round::Quit } else { Round::Fruitless })
            }
        }
    }

    /// Enters an assignment into the ledger; `None` when there is nothing to play.
    async fn accept(&mut self, answer: TaskAnswer) -> Option<Play> {
        if answer.task_waiting.is_some() {
            let busy = answer.info.is_some_and(|info| info.contains("too busy"));
            self.fleet.tally.count(if busy { Event::Busy } else { Event::NoTask });
            return None;
        }
        let (Some(run), Some(task)) = (answer.run, answer.task_id) else {
            let detail = "request_task answers neither task_waiting nor run and task_id".to_owned();
            self.fleet.ledger.breach(Invariant::I18, detail);
            return None;
        };
        let Some(id) = RunId::parse(&run.id) else {
            self.fleet.ledger.breach(Invariant::I18, format!("request_task answers run id {:?}", run.id));
            return None;
        };
        let key = self.machine.unique_key();
        self.fleet.ledger.assigned(id, task, &run.my_task, key, self.machine.username());
        if let Err(problem) = run.check() {
            let detail = format!("{id}/{task}: a worker ends on this assignment: {problem}");
            self.fleet.ledger.breach(Invariant::I18, detail);
            self.fail_task(&run.id, task, &problem).await;
            return None;
        }
        Some(Play::new(id, task, run, self))
    }

    /// Posts `failed_task`; whatever the answer, a worker goes on.
    pub(super) async fn fail_task(&self, run: &str, task: u32, message: &str) {
        let body = WorkerRequest { message: Some(message), ..self.body().about(run, task) };
        if let Err(trouble) = self.fleet.client.failed_task(&body, self.address()).await {
            self.note(Endpoint::FailedTask, &trouble, false);
        }
    }

    pub(super) fn body(&self) -> WorkerRequest<'_> {
        WorkerRequest::new(&self.password, &self.machine.json)
    }

    pub(super) fn address(&self) -> Option<&reqwest::header::HeaderValue> {
        self.fleet.options.forwarded_for.then_some(&self.machine.address)
    }

    /// Enters into the ledger what a worker must not be answered.
    pub(super) fn note(&self, endpoint: Endpoint, trouble: &Trouble, repeated_spsa: bool) {
        let detail = match trouble {
            Trouble::Network { .. } | Trouble::Unavailable { .. } => return,
            Trouble::Misshapen { detail } => detail.clone(),
            Trouble::Refused { status, error } => {
                let seen = Circumstances {
                    renamed: self.machine.renamed,
                    repeated_spsa,
                    proven_password: self.proven_password,
                };
                if own_doing(endpoint, *status, error, seen) {
                    return;
                }
                format!("error with status {status}: {error}")
            }
        };
        let who = self.machine.unique_key();
        self.fleet.ledger.breach(Invariant::I18, format!("{} to {who}: {detail}", endpoint.name()));
    }

    fn becomes(&mut self, doing: Doing) {
        self.fleet.tally.change(self.doing, doing);
        self.doing = Some(doing);
    }
}

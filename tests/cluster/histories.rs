//! Linearizability of assignment: many clients at once over several replicas, and what they saw must be what one
//! schedule can have told them (I1, I2, I12, I13, I20), with and without trouble meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use shoal::domain::ids::RunId;
use shoal::domain::results::Stats;
use shoal::simulate::SimulateOptions;
use shoal::simulate::answer::Trouble;
use shoal::simulate::audit::{AuditOutcome, audit};
use shoal::simulate::client::Client;
use shoal::simulate::ledger::Ledger;
use shoal::simulate::machine::{Machine, MachineMix};
use shoal::simulate::options::AuditDepth;
use shoal::simulate::protocol::WorkerRequest;
use shoal::simulate::tally::Tally;
use shoal::sys::clock::stopwatch;
use shoal::sys::random::seeded;
use shoal::sys::spawn;

use super::drill::{long, turn};
use super::farm::{Farm, SLOTS};
use super::history::{Claim, End, History};
use super::leaders::LeaderWatch;
use super::redis::{RedisServer, Variant};
use crate::drills::{accounts, fixed_run, run};

const REPLICAS: usize = 4;
const CLIENTS: usize = 64;
/// Four clients each, so that they meet the machine limit.
const ADDRESSES: usize = 16;
const MACHINE_LIMIT: u64 = 3;

/// What all clients share.
struct Shared {
    client: Client,
    ledger: Ledger,
    over: AtomicBool,
    started: Instant,
}

impl Shared {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_clients_see_is_what_one_schedule_can_have_told_them() {
    histories(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_clients_see_amid_trouble_is_what_one_schedule_can_have_told_them() {
    histories(true).await;
}

async fn histories(trouble: bool) {
    let _turn = turn().await;
    let Some(redis) = RedisServer::start(Variant::Standalone) else { return };
    let Some(mut farm) = Farm::start(REPLICAS, &redis.url()).await else { return };
    farm.keep_if_asked();
    let (num_games, time) = if long() { (60_000, 300) } else { (1_000, 15) };
    let desk = farm.desk();
    accounts(&desk);
    run(&desk, &["user", "machine-limit", "volunteer", &MACHINE_LIMIT.to_string()]);
    let id = fixed_run(&desk, "histories", num_games);

    let mut options = SimulateOptions::new(&farm.url(), CLIENTS, "volunteer", "secret");
    // Past the balancer: each request goes to another replica than the one before.
    options.urls = (0..REPLICAS).map(|number| farm.address(number, "")).collect();
    options.timeout_seconds = 10.0;
    let client = Client::new(&options, Arc::new(Tally::default())).unwrap();
    let shared = Arc::new(Shared {
        client,
        ledger: Ledger::default(),
        over: AtomicBool::new(false),
        started: stopwatch(),
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| spawn::task("client", Player::new(shared.clone(), number).play()))
        .collect();
    let watch = LeaderWatch::start(&farm);

    let mut rng = seeded(3);
    let mut most_slots = 0;
    let mut in_trouble = !trouble;
    while shared.now() < Duration::from_secs(time) {
        most_slots = most_slots.max(slots(&redis));
        if !in_trouble && shared.now() > Duration::from_secs(time / 4) {
            in_trouble = true;
            let unlucky = farm.any(&mut rng);
            farm.kill(unlucky);
            redis.flush();
            farm.run(unlucky);
        }
        if farm.is_finished(0, &id).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shared.over.store(true, Ordering::Relaxed);
    let mut history = History::default();
    for client in clients {
        history.append(client.await.unwrap());
    }
    let tasks = history.claims.len();
    eprintln!(
        "{tasks} claims, {} ends, at most {most_slots} slots at once, in {:?}",
        history.ends.len(),
        shared.now()
    );
    assert!(tasks > CLIENTS, "only {tasks} tasks were assigned");
    let impossible = history.impossible(num_games, MACHINE_LIMIT);
    assert!(impossible.is_empty(), "{impossible:#?}");
    assert!(most_slots <= SLOTS, "I12: {most_slots} slots at once");
    if !trouble {
        watch.finish();
    }
    for number in 0..REPLICAS {
        farm.ready(number).await;
    }
    for audited in audit(&shared.client, &shared.ledger, AuditDepth::All, 30.0).await {
        assert_eq!(audited.outcome, AuditOutcome::Agrees, "{audited:?}");
        assert!(audited.results.games() <= num_games, "{audited:?}");
    }
    let (broken, _) = shared.ledger.breaches();
    assert!(broken.is_empty(), "{broken:#?}");
    farm.assert_unbroken().await;
}

/// Slots of the semaphore that are held now, by Redis' own clock.
fn slots(redis: &RedisServer) -> u64 {
    let count = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) local most = 0 \
                 for _, key in ipairs(redis.call('KEYS', '*:slots')) do \
                 most = math.max(most, redis.call('ZCOUNT', key, '(' .. string.format('%.0f', now), '+inf')) end \
                 return most";
    redis.ask(&["EVAL", count, "0"])
}

/// One client.
struct Player {
    shared: Arc<Shared>,
    machine: Machine,
    address: usize,
    rng: StdRng,
    history: History,
    /// When the first request was sent whose outcome isn't known.
    unknown_since: Option<Duration>,
}

impl Player {
    fn new(shared: Arc<Shared>, number: usize) -> Self {
        let mut rng = seeded(number as u64);
        let address = number % ADDRESSES;
        let machine = Machine::draw(&MachineMix::uniform(1), "volunteer", address, &mut rng).unwrap();
        Self { shared, machine, address, rng, history: History::default(), unknown_since: None }
    }

    async fn play(mut self) -> History {
        while !self.shared.is_over() {
            match self.ask().await {
                Some(claim) => self.use_up(claim).await,
                None => self.pause(10, 60).await,
            }
        }
        self.history
    }

    async fn pause(&mut self, least: u64, most: u64) {
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(least..most))).await;
    }

    async fn ask(&mut self) -> Option<(String, Claim)> {
        let sent = self.shared.now();
        let body = WorkerRequest::new("secret", &self.machine.json);
        let answer = self.shared.client.request_task(&body, Some(&self.machine.address)).await;
        let since = self.unknown_since.unwrap_or(sent);
        let answer = match answer {
            Ok(answer) => answer,
            Err(Trouble::Refused { error, .. }) => {
                let fair =
                    error.contains("Machine limit reached") || error.contains("There is already a worker");
                assert!(fair, "{error}");
                return None;
            }
            Err(Trouble::Misshapen { detail }) => panic!("{detail}"),
            Err(Trouble::Network { .. } | Trouble::Unavailable { .. }) => {
                self.unknown_since = Some(since);
                return None;
            }
        };
        let (run, task) = (answer.run?, answer.task_id?);
        self.unknown_since = None;
        let id = RunId::parse(&run.id).unwrap();
        self.shared.ledger.assigned(id, task, &run.my_task, self.machine.unique_key(), "volunteer");
        let claim = Claim {
            task,
            start: run.my_task.start,
            games: run.my_task.num_games,
            key: self.machine.unique_key().to_owned(),
            address: self.address,
            sent: since,
            answered: self.shared.now(),
        };
        self.history.claims.push(claim.clone());
        Some((run.id, claim))
    }

    /// Plays it to its end, gives it back, or is replaced by another start of the worker.
    async fn use_up(&mut self, (run, claim): (String, Claim)) {
        self.pause(1, 40).await;
        match self.rng.random_range(0..100) {
            0..75 => self.report(&run, &claim).await,
            75..98 => self.give_back(&run, &claim).await,
            // Gone without a word; the name stays taken, so another installation takes its place.
            _ => self.machine.restart(false).unwrap(),
        }
    }

    async fn report(&mut self, run: &str, claim: &Claim) {
        let stats =
            Stats { draws: claim.games, pentanomial: [0, 0, claim.games / 2, 0, 0], ..Stats::default() };
        let id = RunId::parse(run).unwrap();
        let body = WorkerRequest::new("secret", &self.machine.json).about(run, claim.task);
        let body = WorkerRequest { stats: Some(&stats), ..body };
        self.history.ends.push(End { task: claim.task, sent: self.shared.now(), kept: claim.games });
        self.shared.ledger.sent(id, claim.task, &stats);
        loop {
            match self.shared.client.update_task(&body, Some(&self.machine.address)).await {
                Ok(answer) if answer.info.is_none() => {
                    self.shared.ledger.acknowledged(id, claim.task, &stats);
                    return;
                }
                Ok(_) => return,
                Err(trouble) if trouble_of_servers(&trouble) => {}
                Err(trouble) => panic!("update_task: {trouble:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn give_back(&mut self, run: &str, claim: &Claim) {
        self.history.ends.push(End { task: claim.task, sent: self.shared.now(), kept: 0 });
        let body = WorkerRequest::new("secret", &self.machine.json).about(run, claim.task);
        let body = WorkerRequest { message: Some("given back"), ..body };
        loop {
            match self.shared.client.failed_task(&body, Some(&self.machine.address)).await {
                Ok(_) => return,
                Err(trouble) if trouble_of_servers(&trouble) => {}
                Err(trouble) => panic!("failed_task: {trouble:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn trouble_of_servers(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Network { .. } | Trouble::Unavailable { .. })
}

//! Readers ask twenty times for what they may have, and workers hardly notice (`SHOAL_LONG=1`: 2,000 of them).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use shoal::simulate::SimulateOptions;
use shoal::simulate::client::Client;
use shoal::simulate::machine::{Machine, MachineMix};
use shoal::simulate::protocol::WorkerRequest;
use shoal::simulate::tally::Tally;
use shoal::sys::clock::stopwatch;
use shoal::sys::random::seeded;
use shoal::sys::spawn;
use tokio::sync::Semaphore;

use super::drill::{long, turn};
use super::farm::Farm;
use super::redis::{RedisServer, Variant};
use crate::drills::{accounts, undecided_run};

/// What one address may ask in a second, how many addresses ask, and how many times more they ask than they may.
const RATE: u64 = 5;
const ADDRESSES: u64 = 10;
const TIMES: u64 = 20;

/// Latencies of a phase.
fn percentile(times: &mut [Duration], part: f64) -> Duration {
    times.sort_unstable();
    let place = (times.len() as f64 * part) as usize;
    times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Workers that beat; what each beat took.
struct Workers {
    took: Arc<Mutex<Vec<Duration>>>,
    failed: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Workers {
    async fn start(url: &str, count: usize, period: Duration) -> Self {
        let mut options = SimulateOptions::new(url, count, "volunteer", "secret");
        options.timeout_seconds = 20.0;
        options.max_connections = 256;
        let options = Arc::new(options);
        let client = Arc::new(Client::new(&options, Arc::new(Tally::default())).unwrap());
        let took: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let failed = Arc::new(AtomicU64::new(0));
        let at_once = Arc::new(Semaphore::new(4));
        let ready = Arc::new(AtomicU64::new(0));
        let worker = |number: usize| {
            let (options, client, took, failed) =
                (options.clone(), client.clone(), took.clone(), failed.clone());
            let (at_once, ready) = (at_once.clone(), ready.clone());
            spawn::task("worker", async move {
                let account = &options.accounts[0];
                let mix = MachineMix::uniform(1);
                let mut rng = seeded(number as u64);
                let machine = Machine::draw(&mix, &account.username, number, &mut rng).unwrap();
                let body = WorkerRequest::new(&account.password, &machine.json);
                let address = Some(&machine.address);
                let (run, task) = loop {
                    let turn = at_once.acquire().await;
                    let answer = client.request_task(&body, address).await;
                    drop(turn);
                    if let Ok(answer) = answer
                        && let (Some(run), Some(task)) = (answer.run, answer.task_id)
                    {
                        break (run.id, task);
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                };
                ready.fetch_add(1, Ordering::AcqRel);
                // Not all in step.
                tokio::time::sleep(period.mul_f64(number as f64 / count as f64)).await;
                loop {
                    let began = stopwatch();
                    match client.beat(&body.about(&run, task), address).await {
                        Ok(_) => took.lock().push(began.elapsed()),
                        Err(trouble) => {
                            eprintln!("a beat failed: {trouble:?}");
                            failed.fetch_add(1, Ordering::AcqRel);
                        }
                    }
                    tokio::time::sleep(period.saturating_sub(began.elapsed())).await;
                }
            })
        };
        let tasks = (0..count).map(worker).collect();
        let began = stopwatch();
        while ready.load(Ordering::Acquire) < count as u64 {
            assert!(began.elapsed() < Duration::from_secs(300), "not all workers got a task");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self { took, failed, tasks }
    }

    /// What beats took in some time: how many, the half of them, 99 of a hundred.
    async fn measure(&self, time: Duration) -> (usize, Duration, Duration) {
        self.took.lock().clear();
        tokio::time::sleep(time).await;
        let mut times = std::mem::take(&mut *self.took.lock());
        (times.len(), percentile(&mut times, 0.5), percentile(&mut times, 0.99))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Readers that ask so often, whether they are answered or not; counts by status.
struct Readers {
    answers: Arc<Mutex<std::collections::BTreeMap<u16, u64>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Readers {
    fn start(url: &str) -> Self {
        let answers: Arc<Mutex<std::collections::BTreeMap<u16, u64>>> = Arc::default();
        let client = shoal::sys::web::client().timeout(Duration::from_secs(20)).build().unwrap();
        let reader = |address: u64| {
            let (client, answers) = (client.clone(), answers.clone());
            let url = format!("{url}/api/active_runs");
            spawn::task("reader", async move {
                let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / (RATE * TIMES)));
                let at_once = Arc::new(Semaphore::new(64));
                loop {
                    tick.tick().await;
                    let Ok(place) = at_once.clone().acquire_owned().await else { return };
                    let request =
                        client.get(&url).header("x-forwarded-for", format!("203.0.113.{address}")).send();
                    let answers = answers.clone();
                    spawn::task("read", async move {
                        let _place = place;
                        let status = match request.await {
                            Ok(answer) => {
                                let status = answer.status().as_u16();
                                drop(answer.bytes().await);
                                status
                            }
                            Err(_) => 0,
                        };
                        *answers.lock().entry(status).or_default() += 1;
                    });
                }
            })
        };
        let tasks = (0..ADDRESSES).map(reader).collect();
        Self { answers, tasks }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_times_too_many_reads_do_not_hold_workers_up() {
    let _turn = turn().await;
    let Some(redis) = RedisServer::start(Variant::Standalone) else { return };
    let more = [
        ("SHOAL_READ_RATE_LIMIT", RATE.to_string().into()),
        ("SHOAL_READ_RATE_BURST", RATE.to_string().into()),
        ("SHOAL_READ_IN_FLIGHT", "8".into()),
    ];
    let Some(mut farm) = Farm::start_with(2, &redis.url(), &more).await else { return };
    let desk = farm.desk();
    accounts(&desk);
    undecided_run(&desk, "overload");
    let (count, period, time) = match long() {
        true => (2000, Duration::from_secs(10), Duration::from_secs(30)),
        false => (100, Duration::from_secs(1), Duration::from_secs(5)),
    };
    let workers = Workers::start(&farm.url(), count, period).await;
    workers.measure(period).await;
    let (beats, quiet, quiet_slow) = workers.measure(time).await;
    let readers = Readers::start(&farm.url());
    workers.measure(Duration::from_secs(2)).await;
    readers.answers.lock().clear();
    let began = stopwatch();
    let (loaded_beats, loaded, loaded_slow) = workers.measure(time).await;
    let seconds = began.elapsed().as_secs_f64();
    let answers = readers.answers.lock().clone();
    drop(readers);
    let of = |status: u16| answers.get(&status).copied().unwrap_or(0);
    let (served, all) = (of(200), answers.values().sum::<u64>());
    eprintln!(
        "{count} workers; quiet: {beats} beats, half within {quiet:.2?}, 99 % within {quiet_slow:.2?}; with {:.0} reads/s, \
         of which {:.0}/s were answered ({answers:?}): {loaded_beats} beats, half within {loaded:.2?}, 99 % within \
         {loaded_slow:.2?}",
        all as f64 / seconds,
        served as f64 / seconds,
    );
    assert_eq!(workers.failed.load(Ordering::Acquire), 0, "no worker was turned away");
    assert_eq!(of(0), 0, "readers are answered, too: {answers:?}");
    let may = (RATE * ADDRESSES) as f64 * seconds;
    assert!(
        served > 0 && (served as f64) < may * 1.5 + (RATE * ADDRESSES) as f64,
        "{served} of {may}: one count for all"
    );
    let mut shed = 0.0;
    for number in 0..2 {
        let metrics = farm.metrics(number).await.unwrap();
        shed +=
            metrics.all("shoal_http_requests_shed_total{class=\"read\"").iter().map(|(_, n)| n).sum::<f64>();
        assert_eq!(
            metrics
                .all("shoal_http_requests_shed_total{class=\"worker\"")
                .iter()
                .map(|(_, n)| n)
                .sum::<f64>(),
            0.0
        );
    }
    let refused = (of(429) + of(503)) as f64;
    assert!(shed >= refused, "every refusal is counted: {shed} of {refused}");
    if !long() {
        // Other tests share this machine's processors: how many reads came to be sent, and how long beats took, says nothing.
        return;
    }
    assert!(all as f64 > may * 5.0, "that was no overload: {answers:?}");
    // Fleet, readers, servers, Redis and database share this machine's processors: short times say little.
    let floor = Duration::from_millis(20);
    assert!(loaded <= (quiet * 2).max(floor), "half of the beats: {quiet:?}, then {loaded:?}");
    assert!(loaded_slow <= (quiet_slow * 2).max(floor * 2), "99 %: {quiet_slow:?}, then {loaded_slow:?}");
}

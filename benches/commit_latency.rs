//! What an acknowledgement costs at a given load: updates are offered at a fixed rate, whether the earlier ones have been
//! answered or not (of one worker's the next waits for its turn), and the time from each one's due moment to its
//! acknowledgement is measured. Beside it stands one update at a time, which shares its write with nobody: what the group
//! commit adds is the difference.
//!
//! `cargo bench --bench commit_latency`. With `SHOAL_BENCH_MONGODB_URL` also on that server, in a database of its own.

mod common;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use shoal::service::Farm;
use shoal::store::mongo::{MongoSettings, MongoStore, MongoUrl};
use shoal::sys::{clock, random, spawn};
use tokio::sync::Mutex;

/// Updates a second that are offered.
const RATES: [u32; 3] = [10, 100, 1000];

/// Workers that take turns. A worker waits for its answer before it reports again, as all do.
const WORKERS: usize = 500;

/// Runs that wait for workers.
const RUNS: usize = 10;

/// How long each rate is offered.
const SECONDS: u32 = 10;

fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len() - 1);
    sorted[at].as_secs_f64() * 1e3
}

fn print(what: &str, mut latencies: Vec<Duration>, seconds: f64, batches: u64) {
    let count = latencies.len();
    latencies.sort_unstable();
    println!(
        "  {what:<22} {:>7.1} acknowledged/s   p50 {:>7.2} ms   p95 {:>7.2} ms   p99 {:>7.2} ms   {:>5.1} documents a batch",
        count as f64 / seconds,
        percentile(&latencies, 0.5),
        percentile(&latencies, 0.95),
        percentile(&latencies, 0.99),
        count as f64 / batches.max(1) as f64,
    );
}

fn batches(farm: &Farm) -> u64 {
    farm.committer.stats().batches.load(std::sync::atomic::Ordering::Relaxed)
}

async fn measure(name: &str, farm: &Arc<Farm>) {
    println!("{name}");
    let mut reporters = Vec::new();
    for worker in 0..WORKERS {
        reporters.push(Arc::new(Mutex::new(common::Reporter::new(farm, worker).await)));
    }

    let (before, began) = (batches(farm), clock::stopwatch());
    let mut alone = Vec::new();
    for reporter in reporters.iter().take(100) {
        let request = reporter.lock().await.next();
        let since = clock::stopwatch();
        farm.update_task(&request, "?").await.expect("an acknowledgement");
        alone.push(since.elapsed());
    }
    print("one at a time", alone, began.elapsed().as_secs_f64(), batches(farm) - before);

    for rate in RATES {
        let (before, began) = (batches(farm), clock::stopwatch());
        let mut under_way = Vec::new();
        for number in 0..rate * SECONDS {
            let due = Duration::from_secs(1) * number / rate;
            if let Some(wait) = due.checked_sub(began.elapsed()) {
                tokio::time::sleep(wait).await;
            }
            let reporter = reporters[number as usize % WORKERS].clone();
            under_way.push(spawn::task("update", acknowledged(farm.clone(), reporter, began, due)));
        }
        let latencies: Vec<_> =
            join_all(under_way).await.into_iter().map(|one| one.expect("no panic")).collect();
        let seconds = began.elapsed().as_secs_f64();
        print(&format!("{rate} a second offered"), latencies, seconds, batches(farm) - before);
    }
}

async fn acknowledged(
    farm: Arc<Farm>,
    reporter: Arc<Mutex<common::Reporter>>,
    began: std::time::Instant,
    due: Duration,
) -> Duration {
    let mut reporter = reporter.lock().await;
    let request = reporter.next();
    let answer = farm.update_task(&request, "?").await.expect("an acknowledgement");
    assert!(answer.error.is_none() && answer.durable, "{answer:?}");
    began.elapsed().saturating_sub(due)
}

async fn on_sqlite() {
    let (bench, _) = common::farm(RUNS).await;
    measure("SQLite", &bench.farm).await;
}

async fn on_mongodb(url: &str) {
    let settings = MongoSettings {
        url: MongoUrl::new(url).expect("an address of MongoDB"),
        database: format!("shoal_bench_{}", random::identity()),
        pool: 16,
        deadline: Duration::from_secs(5),
    };
    let store = MongoStore::connect(&settings).await.expect("a server");
    store.migrate().await.expect("a schema");
    let store = Arc::new(store);
    let (farm, _) = common::farm_on(store.clone(), RUNS).await;
    measure("MongoDB", &farm).await;
    store.drop_database().await.expect("the database goes");
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(on_sqlite());
    match std::env::var("SHOAL_BENCH_MONGODB_URL") {
        Ok(url) => runtime.block_on(on_mongodb(&url)),
        Err(_) => println!("MongoDB: not measured, SHOAL_BENCH_MONGODB_URL names no server"),
    }
}

//! Acknowledged assignments and updates per second, with the group commit, at several numbers of concurrent workers.
//!
//! `cargo bench --bench group_commit`

mod common;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use shoal::service::Farm;
use shoal::sys::{clock, spawn};

const SECONDS: u64 = 3;

async fn updates(farm: Arc<Farm>, worker: usize, until: Duration, began: std::time::Instant) -> u64 {
    let mut reporter = common::Reporter::new(&farm, worker).await;
    let mut done = 0;
    while began.elapsed() < until && done < 200 {
        let answer = farm.update_task(&reporter.next(), "?").await.expect("an acknowledgement");
        assert!(answer.error.is_none() && answer.info.is_none(), "{answer:?}");
        done += 1;
        if !answer.alive {
            break;
        }
    }
    done
}

async fn measure(workers: usize) {
    let (bench, _) = common::farm(10).await;
    let farm = &bench.farm;
    let began = clock::stopwatch();
    let assigned = join_all((0..workers).map(|worker| {
        let farm = farm.clone();
        spawn::task("assign", async move { common::assign(&farm, worker).await })
    }))
    .await
    .len();
    let seconds = began.elapsed().as_secs_f64();
    let assignments = assigned as f64 / seconds;

    let began = clock::stopwatch();
    let until = Duration::from_secs(SECONDS);
    let mut total = 0;
    let mut round = 1;
    while began.elapsed() < until {
        let base = round * 100_000;
        let counts = join_all(
            (0..workers)
                .map(|worker| spawn::task("update", updates(farm.clone(), base + worker, until, began))),
        )
        .await;
        total += counts.into_iter().map(|count| count.expect("no panic")).sum::<u64>();
        round += 1;
    }
    let updates = total as f64 / began.elapsed().as_secs_f64();
    println!(
        "{workers:>5} workers at once: {assignments:>8.0} assignments/s, {updates:>8.0} updates/s, all durable"
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for workers in [1, 16, 256, 1000] {
        runtime.block_on(measure(workers));
    }
}

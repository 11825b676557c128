//! Cost of finding a worker's run among two hundred: every `request_task` pays it.
#![allow(missing_docs)]

use std::collections::HashSet;
use std::hint::black_box;
use std::sync::Arc;

use bson::oid::ObjectId;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use shoal::domain::eligibility::{Candidate, Ranking, RunArgsFacts, WorkerFacts, eligible_in_order, order};
use shoal::domain::ids::RunId;

#[path = "common/allocator.rs"]
mod allocator;

const RUNS: u32 = 200;

/// A queue such as a busy day's: a few priorities, some filters, most runs with cores at work.
fn candidates() -> Vec<Candidate> {
    let candidate = |number: u32| {
        let mut id = [0; 12];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let filter = match number % 10 {
            0 => Some("avx512|vnni"),
            1 => Some(r"^x86-64(?!.*avx512)"),
            _ => None,
        };
        let threads = if number.is_multiple_of(7) { 8 } else { 1 };
        let spsa = number.is_multiple_of(5).then_some(30);
        let args = RunArgsFacts::new(
            RunId(ObjectId::from_bytes(id)),
            threads,
            "Hash=64",
            "Hash=64",
            spsa,
            filter,
            None,
        );
        let ranking = Ranking {
            finished: false,
            approved: !number.is_multiple_of(13),
            priority: i64::from(number % 3) - 1,
            num_games: 800_000,
            committed_games: u64::from(number) * 1000,
            cores: u64::from(number * 7919 % 1000),
            itp: 50.0 + f64::from(number * 104_729 % 400),
        };
        Candidate { args: Arc::new(args), ranking }
    };
    (0..RUNS).map(candidate).collect()
}

fn worker() -> WorkerFacts {
    WorkerFacts {
        concurrency: 4,
        min_threads: 1,
        max_memory: 16_000,
        near_github_api_limit: false,
        seen: HashSet::new(),
        last_run: None,
        worker_arch: "x86-64-avx2".into(),
        compiler: "g++".into(),
    }
}

fn eligibility(criterion: &mut Criterion) {
    let worker = worker();
    let runs = candidates();
    let mut log = Vec::new();
    criterion.bench_function("order 200 runs", |bencher| {
        let unordered = || runs.clone();
        bencher.iter_batched_ref(unordered, |runs| order(runs, black_box(&worker)), BatchSize::SmallInput);
    });
    criterion.bench_function("best of 200 runs", |bencher| {
        let unordered = || runs.clone();
        let best = |runs: &mut Vec<Candidate>| {
            eligible_in_order(runs, black_box(&worker), &mut log).next().map(|best| best.args.run)
        };
        bencher.iter_batched_ref(unordered, best, BatchSize::SmallInput);
    });
    // The worst case: none fits, all are judged.
    let small = WorkerFacts { max_memory: 0, ..worker.clone() };
    let mut log = Vec::new();
    criterion.bench_function("none of 200 runs", |bencher| {
        let unordered = || runs.clone();
        let none = |runs: &mut Vec<Candidate>| eligible_in_order(runs, black_box(&small), &mut log).count();
        bencher.iter_batched_ref(unordered, none, BatchSize::SmallInput);
    });
}

criterion_group!(benches, eligibility);
criterion_main!(benches);

//! `beat` and `request_task` through the service, durable write included.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;

fn service(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (bench, _) = runtime.block_on(common::farm(200));
    let farm = bench.farm.clone();
    let (run, task) = runtime.block_on(common::assign(&farm, 0));
    let beat = common::request(0, json!({ "run_id": run.to_string(), "task_id": task }));
    c.bench_function("beat", |b| {
        b.to_async(&runtime).iter(|| async { farm.beat(&beat).await.expect("an answer") });
    });
    let next = AtomicUsize::new(1);
    c.bench_function("request_task, 200 runs", |b| {
        b.to_async(&runtime).iter(|| async {
            let worker = next.fetch_add(1, Ordering::Relaxed);
            common::assign(&farm, worker).await
        });
    });
}

criterion_group!(benches, service);
criterion_main!(benches);

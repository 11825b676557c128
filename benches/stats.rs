//! What a statistic costs: each accepted update computes an LLR, each view of a sequential test an estimate.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use shoal::domain::stats::counts::Counts;
use shoal::domain::stats::elo::EloModel;
use shoal::domain::stats::llr::llr_normalized;
use shoal::domain::stats::sprt::SprtRecord;
use shoal::domain::stats::sprt_elo::{SprtEstimate, SprtQuestion};

#[path = "common/allocator.rs"]
mod allocator;

const TYPICAL: [f64; 5] = [39.0, 2226.0, 31451.0, 2412.0, 40.0];
const ONE_SIDED: [f64; 5] = [0.0, 0.0, 0.0, 0.0, 10_000_000.0];

fn stats(criterion: &mut Criterion) {
    criterion.bench_function("LLR_normalized, typical", |bencher| {
        bencher.iter(|| llr_normalized(0.0, 2.0, black_box(&TYPICAL)));
    });
    criterion.bench_function("LLR_normalized, one-sided", |bencher| {
        bencher.iter(|| llr_normalized(0.0, 2.0, black_box(&ONE_SIDED)));
    });
    let counts = Counts { trinomial: [18_000.0, 36_000.0, 18_336.0], pentanomial: Some(TYPICAL) };
    let record = SprtRecord::new(0.05, 0.05, 0.0, 2.0, EloModel::Normalized, 8);
    criterion.bench_function("SPRT update", |bencher| {
        bencher.iter(|| {
            let mut record = record;
            record.update(black_box(&counts)).map(|()| record.llr)
        });
    });
    let question = SprtQuestion::from(&record);
    criterion.bench_function("SPRT_elo", |bencher| {
        bencher.iter(|| SprtEstimate::new(black_box(&question), black_box(&counts)));
    });
}

criterion_group!(benches, stats);
criterion_main!(benches);

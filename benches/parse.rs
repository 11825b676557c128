//! Reading the bodies that workers send most.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use shoal::domain::names::LegacyUsernames;
use shoal::domain::validate::Body;

#[path = "common/allocator.rs"]
mod allocator;

const WORKER_INFO: &str = r#"{"uname":"Linux 6.1.0-18-amd64","architecture":["64bit","ELF"],"concurrency":7,
"max_memory":5702,"min_threads":1,"username":"TestWorkerUser","version":325,"python_version":[3,12,1],
"gcc_version":[13,2,0],"compiler":"g++","unique_key":"amaya-5a28-4b7d-b27b-d78d97ecf11a","modified":true,
"worker_arch":"x86-64-avx2","ARCH":"64bit AVX2 BMI2","nps":1234567.8,"near_github_api_limit":false}"#;

const TASK: &str = r#""run_id":"64e74776a170cb1f26fa3930","task_id":3"#;

const STATS: &str = r#""stats":{"wins":120,"losses":105,"draws":255,"crashes":0,"time_losses":1,
"pentanomial":[0,45,135,60,0]}"#;

const SPSA: &str = r#""spsa":{"wins":10,"losses":8,"draws":14,"num_games":32,"sig":3735928559}"#;

fn requests(criterion: &mut Criterion) {
    let pgn = format!("\"pgn\":\"{}\"", "QUJD".repeat(50_000));
    let cases = [
        ("request_task", String::new()),
        ("beat", format!(",{TASK}")),
        ("failed_task", format!(",{TASK},\"message\":\"Engine crashed\"")),
        ("update_task", format!(",{TASK},{STATS}")),
        ("update_task_spsa", format!(",{TASK},{STATS},{SPSA}")),
        ("upload_pgn_200kB", format!(",{TASK},{pgn}")),
        ("refused", ",\"unknown\":1".to_owned()),
    ];
    let legacy = LegacyUsernames::default();
    for (name, rest) in cases {
        let body = format!("{{\"password\":\"secret\",\"worker_info\":{WORKER_INFO}{rest}}}");
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                let body = Body::parse(black_box(body.as_bytes()))?;
                let allowed = body.access(&legacy).is_ok();
                black_box(allowed);
                body.full(&legacy)
            });
        });
    }
}

criterion_group!(benches, requests);
criterion_main!(benches);

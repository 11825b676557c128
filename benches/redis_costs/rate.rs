//! How many requests for a task a second one process gets through before the durable write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shoal::domain::capacity::worker_cap;
use shoal::domain::eligibility::{Candidate, Ranking, RunArgsFacts, WorkerFacts, eligible_in_order};
use shoal::domain::ids::RunId;
use shoal::state::*;
use shoal::sys::{clock, spawn};

use crate::requests::{G, admission, assignment, schedule};

/// Clients that ask for tasks at once.
pub const CLIENTS: usize = 64;

/// Requests for a task a second through admission, the choice among 100 runs, and the claim.
pub async fn request_task() -> f64 {
    let (state, run_ids) = schedule(100, 1000).await;
    let facts: Arc<Vec<Arc<RunArgsFacts>>> = Arc::new(
        run_ids
            .iter()
            .map(|run| Arc::new(RunArgsFacts::new(*run, 1, "Hash=16", "Hash=16", None, None, None)))
            .collect(),
    );
    let next = Arc::new(AtomicUsize::new(1_000_000));
    let began = clock::stopwatch();
    let length = Duration::from_secs(5);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (state, facts, next) = (state.clone(), facts.clone(), next.clone());
            spawn::task("client", async move {
                let mut claimed = 0_u64;
                while began.elapsed() < length {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let admission = admission(number);
                    let slot = admission.holder.clone();
                    let open = match state.semaphore_acquire(admission).await {
                        Ok(AdmissionOutcome::Open(open)) => open,
                        other => panic!("{other:?}"),
                    };
                    let run = choose(&facts, &open);
                    let mut assignment = assignment(run, number);
                    assignment.slot = slot;
                    match state.assign_task(G, assignment).await {
                        Ok(AssignOutcome::Claimed(_)) => claimed += 1,
                        other => panic!("{other:?}"),
                    }
                }
                claimed
            })
        })
        .collect();
    let mut claimed = 0;
    for client in clients {
        claimed += client.await.expect("no panic");
    }
    claimed as f64 / began.elapsed().as_secs_f64()
}

fn choose(facts: &[Arc<RunArgsFacts>], open: &OpenRequest) -> RunId {
    let worker = WorkerFacts {
        concurrency: 8,
        min_threads: 1,
        max_memory: 16_000,
        near_github_api_limit: false,
        seen: open.seen.iter().copied().collect(),
        last_run: open.last_run,
        worker_arch: "x86-64-avx2".to_owned(),
        compiler: "g++".to_owned(),
    };
    let _ = worker_cap(20.0, 8, 1, None);
    let mut candidates: Vec<Candidate> = open
        .ranking
        .iter()
        .filter_map(|row| {
            let args = facts.iter().find(|facts| facts.run == row.run)?.clone();
            let ranking = Ranking {
                finished: false,
                approved: true,
                priority: row.priority,
                num_games: row.num_games,
                committed_games: row.committed_games,
                cores: row.cores,
                itp: row.itp,
            };
            Some(Candidate { args, ranking })
        })
        .collect();
    let mut failures = Vec::new();
    let chosen = eligible_in_order(&mut candidates, &worker, &mut failures).next();
    chosen.expect("a run that wants games").args.run
}

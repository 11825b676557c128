//! What each script costs the server, by its own count (`INFO commandstats`: its only thread's time), with 10, 100 and 1,000
//! unfinished runs and 100,000 active tasks; and how many requests for a task a second one process gets through before
//! the durable write, with 100 unfinished runs.
//!
//! `SHOAL_BENCH_REDIS_URL=redis://127.0.0.1:6379 cargo bench --bench redis_costs`: a server that does nothing else. Its
//! statistics are reset. `SHOAL_BENCH_TASKS` sets another number of active tasks.

#[path = "../common/mod.rs"]
mod common;
mod rate;
mod requests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use shoal::domain::action::{CloseCause, CloseKind};
use shoal::domain::ids::*;
use shoal::domain::run::Phase;
use shoal::domain::task::SpsaRound;
use shoal::state::*;
use shoal::sys::random;

use crate::requests::{G, admission, assignment, caller, ids, operation, report, schedule, worker};

/// Calls of each script.
const CALLS: usize = 2000;

/// Each script's calls are measured in so many parts, of which the middle one counts: what else the machine does comes and
/// goes.
const PARTS: usize = 20;

/// Calls under way at once.
const AT_ONCE: usize = 16;

/// A second way to the server, for its statistics.
struct Server(::redis::aio::MultiplexedConnection);

impl Server {
    async fn connect() -> Self {
        let url = std::env::var("SHOAL_BENCH_REDIS_URL").expect("SHOAL_BENCH_REDIS_URL");
        let client = ::redis::Client::open(url).expect("an address");
        Self(client.get_multiplexed_async_connection().await.expect("a connection"))
    }

    async fn reset(&mut self) {
        let _: ::redis::Value =
            ::redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut self.0).await.expect("an answer");
    }

    /// Microseconds of scripts since the reset, and their number.
    async fn spent(&mut self) -> (f64, f64) {
        let text: String =
            ::redis::cmd("INFO").arg("commandstats").query_async(&mut self.0).await.expect("an answer");
        let line = text.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap_or_default();
        let of = |name: &str| {
            let value = line.split([':', ',']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse().ok()).unwrap_or(0.0)
        };
        (of("usec"), of("calls"))
    }
}

/// Measures every script once; microseconds a call, by name.
async fn costs(runs: usize, tasks: usize) -> BTreeMap<&'static str, f64> {
    let (state, run_ids) = schedule(runs, tasks).await;
    let mut server = Server::connect().await;
    let mut costs = BTreeMap::new();
    let each = tasks / runs;
    let key = |n: usize| TaskKey { run: run_ids[n % runs], task: TaskId((n / runs % each.max(1)) as u32) };
    let number = |n: usize| n % runs * each + n / runs % each.max(1);
    let fresh = |n: usize| tasks + n;
    // Calls that the server saw: of what goes together, fewer than were made.
    let mut seen = BTreeMap::new();
    macro_rules! measure {
        ($name:literal, $calls:expr, |$n:ident| $call:expr) => {{
            let mut parts = Vec::new();
            let mut together = 0.0;
            for part in 0..PARTS {
                server.reset().await;
                let calls = $calls * part / PARTS..$calls * (part + 1) / PARTS;
                // One after the other would measure a server that falls asleep between two calls.
                let mut under_way = stream::iter(calls.map(|$n| $call)).buffer_unordered(AT_ONCE);
                while let Some(answer) = under_way.next().await {
                    let _ = answer.expect($name);
                }
                let (spent, calls) = server.spent().await;
                if calls > 0.0 {
                    parts.push(spent / calls);
                }
                together += calls;
            }
            parts.sort_by(f64::total_cmp);
            costs.insert($name, parts[parts.len() / 2]);
            seen.insert($name, together);
        }};
    }
    let token = match state.lease_acquire(LeaseName::Leader, "bench", Duration::from_secs(3600), G).await {
        Ok(LeaseOutcome::Held(token)) => token,
        other => panic!("{other:?}"),
    };
    measure!("read_generation", CALLS, |_n| state.generation());
    measure!("lease_acquire", CALLS, |_n| state.lease_acquire(
        LeaseName::Leader,
        "bench",
        Duration::from_secs(3600),
        G
    ));
    measure!("lease_renew", CALLS, |_n| state.lease_renew(
        LeaseName::Leader,
        token,
        Duration::from_secs(3600)
    ));
    measure!("lease_read", CALLS, |_n| state.lease_read(LeaseName::Leader));
    measure!("semaphore_acquire", CALLS, |n| state.semaphore_acquire(admission(fresh(n))));
    measure!("assign_task", CALLS, |n| state.assign_task(G, assignment(run_ids[n % runs], fresh(n))));
    // As many go together as arrive together: a call's time, and a heartbeat's part of it.
    measure!("beats (a call)", 10 * CALLS, |n| {
        let who = caller(key(n % CALLS), number(n % CALLS));
        let state = state.clone();
        async move { state.beat(G, &who).await }
    });
    costs.insert("beats (each)", costs["beats (a call)"] * seen["beats (a call)"] / (10 * CALLS) as f64);
    // Enough of them that each task remembers sixteen bodies.
    measure!("update_task", 20 * CALLS, |n| {
        let n_task = n % CALLS;
        state.update_task(G, report(key(n_task), number(n_task), (n / CALLS + 1) as u64))
    });
    measure!("begin_spsa", CALLS, |n| state.begin_spsa(
        G,
        BeginSpsa {
            who: caller(key(n), number(n)),
            round: SpsaRound { iter: n as u64, packed_flips: vec![0x80; 8] },
            write_id: random::write_id(),
        }
    ));
    measure!("find_dead", CALLS, |_n| state.find_dead(Millis(1), 1000));
    measure!("commit_fold", CALLS, |n| state.commit_fold(
        G,
        CommitFold {
            run: run_ids[n % runs],
            from: 0,
            to: 0,
            record: Arc::from("{}"),
            write_id: random::write_id()
        }
    ));
    measure!("set_run_fields", CALLS, |n| state.set_run_fields(
        G,
        SetRunFields {
            run: run_ids[n % runs],
            args: None,
            itp: Some(n as f64),
            speed: None,
            leader: Some(token)
        }
    ));
    measure!("read_fold", CALLS, |n| state.read_fold(run_ids[n % runs]));
    measure!("read_run", CALLS, |n| state.read_run(run_ids[n % runs]));
    measure!("read_tasks (one)", CALLS, |n| state.read_task(key(n)));
    measure!("count_dirty", CALLS, |_n| state.count_dirty());
    let dirty = state.peek_dirty(DirtyFilter { limit: 250, ..DirtyFilter::default() }).await.expect("dirty");
    let acks: Vec<DurableAck> = dirty
        .tasks
        .iter()
        .map(|task| DurableAck::Task { key: task.record.key, version: task.record.version, told: true })
        .collect();
    measure!("ack_dirty (one)", acks.len(), |n| state.ack_dirty(G, &acks[n..=n]));
    measure!("ack_dirty (ten)", acks.len() / 10, |n| state.ack_dirty(G, &acks[10 * n..10 * n + 10]));
    measure!("block_worker", CALLS, |n| {
        let name = worker(n).short_name;
        let state = state.clone();
        async move { state.block_worker(&name, None).await }
    });
    measure!("close_task (given)", CALLS, |n| state.close_task(
        G,
        CloseTask {
            key: key(n),
            why: CloseWhy::Given {
                who: caller(key(n), number(n)),
                cause: Some(CloseCause::new(CloseKind::Failed, "", Millis(0), ids())),
            },
            write_id: random::write_id(),
        }
    ));
    let finishing = operation();
    let set_phase = |run, from, to| {
        state.set_phase(
            G,
            SetPhase { run, from, to, operation: finishing.clone(), write_id: random::write_id() },
        )
    };
    // There and back again.
    measure!("set_phase", CALLS, |n| if n / runs % 2 == 0 {
        set_phase(run_ids[n % runs], Phase::Running, Phase::Finishing)
    } else {
        set_phase(run_ids[n % runs], Phase::Finishing, Phase::Running)
    });
    set_phase(run_ids[0], Phase::Running, Phase::Finishing).await.expect("a phase");
    measure!("close_slice (ten)", (each / 10).clamp(1, 5), |_n| state.close_slice(
        G,
        CloseSlice { run: run_ids[0], operation: finishing.id, limit: 10, write_id: random::write_id() }
    ));
    costs
}

#[actix_web::main]
async fn main() {
    let tasks = std::env::var("SHOAL_BENCH_TASKS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let sizes = [10, 100, 1000];
    let mut columns = Vec::new();
    for runs in sizes {
        columns.push(costs(runs, tasks).await);
    }
    println!("microseconds of the server a call, {tasks} active tasks");
    println!("{:<22}{:>10}{:>10}{:>10}", "script", "10 runs", "100 runs", "1000 runs");
    for name in columns[0].keys() {
        print!("{name:<22}");
        for column in &columns {
            print!("{:>10.1}", column[name]);
        }
        println!();
    }
    let rate = rate::request_task().await;
    println!(
        "request_task before the durable write, {} clients, 100 runs: {rate:.0} a second",
        rate::CLIENTS
    );
}

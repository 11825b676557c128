//! What each script costs the server, by its own count (`INFO commandstats`: its only thread's time), with 10, 100 and 1,000
//! unfinished runs and 100,000 active tasks; and how many requests for a task a second one process gets through before
//! the durable write, with 100 unfinished runs.
//!
//! `SHOAL_BENCH_REDIS_URL=redis://127.0.0.1:6379 cargo bench --bench redis_costs`: a server that does nothing else. Its
//! statistics are reset. `SHOAL_BENCH_TASKS` sets another number of active tasks.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bson::doc;
use bson::oid::ObjectId;
use futures::stream::{self, StreamExt};
use shoal::domain::action::{CloseCause, CloseKind};
use shoal::domain::capacity::worker_cap;
use shoal::domain::eligibility::{Candidate, Ranking, RunArgsFacts, WorkerFacts, eligible_in_order};
use shoal::domain::fold::Record;
use shoal::domain::ids::*;
use shoal::domain::results::Stats;
use shoal::domain::run::{Counters, FinishReason, Phase, RunKind, RunOperation};
use shoal::domain::task::{BodyDigest, SpsaRound, TaskRecord, TaskWorker};
use shoal::state::redis::RedisState;
use shoal::state::*;
use shoal::sys::{clock, random, spawn};

const G: Generation = Generation(1);

/// Calls of each script.
const CALLS: usize = 2000;

/// Calls under way at once.
const AT_ONCE: usize = 16;

/// Clients that ask for tasks at once.
const CLIENTS: usize = 64;

fn worker(number: usize) -> TaskWorker {
    TaskWorker {
        username: "bench".to_owned(),
        unique_key: format!("{number:08x}-5a28-4b7d-b27b-d78d97ecf11a"),
        short_name: ShortWorkerName(format!("bench-8cores-{number:08x}")),
        concurrency: 8,
        remote_addr: format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255),
    }
}

fn task(key: TaskKey, number: usize) -> TaskRecord {
    let mut record = TaskRecord::void(key, u64::from(key.task.0) * 1000, 1000, Millis(0));
    record.active = true;
    record.version = Version(1);
    record.generation = G;
    record.worker = Some(worker(number));
    record.worker_info = Arc::new(doc! {
        "uname": "Linux 6.8.0", "architecture": ["64bit", "ELF"], "concurrency": 8, "max_memory": 16000,
        "compiler": "g++", "version": 325, "python_version": [3, 12, 1], "gcc_version": [13, 2, 0],
        "worker_arch": "x86-64-avx2", "ARCH": "64bit BMI2 AVX2", "nps": 1_234_567.0, "country_code": "?",
    });
    record
}

fn load(run: usize, tasks: Vec<TaskRecord>, id: RunId) -> RunLoad {
    let active = tasks.len() as u64;
    RunLoad {
        id,
        args: ArgsFields { version: 1, num_games: 1 << 40, priority: 0 },
        kind: RunKind::Spsa { params: 2 },
        start_time: Millis(run as i64),
        last_updated: Millis(0),
        phase: Phase::Running,
        operation: None,
        version: Version(0),
        counters: Counters {
            results: Stats::default(),
            workers: active as u32,
            cores: 8 * active,
            committed_games: 1000 * active,
            total_games: 1000 * active,
        },
        itp: 100.0,
        nps: 0.0,
        games_per_minute: 0.0,
        next_task: TaskId(active as u32),
        next_start: 1000 * active,
        record: Arc::from(Record::Games.to_text().expect("a record")),
        position: 0,
        pending: Vec::new(),
        sequence: 0,
        tasks,
    }
}

/// A schedule with so many runs, and the tasks among them.
async fn schedule(runs: usize, tasks: usize) -> (Arc<RedisState>, Vec<RunId>) {
    let state = common::redis().await.expect("SHOAL_BENCH_REDIS_URL names a Redis");
    assert!(state.set_generation(G, LoadState::Loading).await.expect("an answer"));
    let mut ids = Vec::new();
    let each = tasks / runs;
    for run in 0..runs {
        let id = RunId(random::object_id());
        let of_run =
            (0..each).map(|n| task(TaskKey { run: id, task: TaskId(n as u32) }, run * each + n)).collect();
        assert!(state.load_run(G, load(run, of_run, id)).await.expect("an answer"));
        ids.push(id);
    }
    assert!(state.set_generation(G, LoadState::Loaded).await.expect("an answer"));
    (state, ids)
}

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

fn admission(number: usize) -> Admission {
    Admission {
        holder: random::identity(),
        slots: 1_000_000,
        slot_ttl: Duration::from_secs(60),
        worker: worker(number),
        machine_limit: 1_000_000,
    }
}

fn assignment(run: RunId, number: usize) -> AssignTask {
    AssignTask {
        run,
        args_version: 1,
        worker: worker(number),
        worker_info: task(TaskKey { run, task: TaskId(0) }, number).worker_info,
        machine_limit: 1_000_000,
        cap: 1000,
        slot: String::new(),
        write_id: random::write_id(),
        stale: (random::write_id(), ids()),
    }
}

fn ids() -> [ObjectId; 2] {
    [random::object_id(), random::object_id()]
}

fn caller(key: TaskKey, number: usize) -> Caller {
    let worker = worker(number);
    Caller { key, unique_key: worker.unique_key, username: worker.username }
}

fn report(key: TaskKey, number: usize, pairs: u64) -> UpdateTask {
    UpdateTask {
        who: caller(key, number),
        stats: Stats { draws: 2 * pairs, pentanomial: [0, 0, pairs, 0, 0], ..Stats::default() },
        spsa: Some(SpsaReport { wins: 0, losses: 0, draws: 2, num_games: 2, sig: 1 }),
        digest: BodyDigest(pairs << 32 | number as u64),
        worker_info: task(key, number).worker_info,
        write_id: random::write_id(),
        action_ids: ids(),
    }
}

fn operation() -> RunOperation {
    RunOperation {
        id: random::object_id(),
        reason: FinishReason::UserStop,
        actor: "bench".to_owned(),
        time: Millis(0),
        action_ids: [random::object_id(); 4],
        worker_stop: None,
        purge: None,
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
    macro_rules! measure {
        ($name:literal, $calls:expr, |$n:ident| $call:expr) => {{
            server.reset().await;
            // One after the other would measure a server that falls asleep between two calls.
            let mut under_way = stream::iter((0..$calls).map(|$n| $call)).buffer_unordered(AT_ONCE);
            while let Some(answer) = under_way.next().await {
                let _ = answer.expect($name);
            }
            let (spent, calls) = server.spent().await;
            costs.insert($name, spent / calls);
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
    let (spent, _) = server.spent().await;
    costs.insert("beats (each)", spent / (10 * CALLS) as f64);
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

/// Requests for a task a second through admission, the choice among 100 runs, and the claim.
async fn request_task() -> f64 {
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
    let rate = request_task().await;
    println!("request_task before the durable write, {CLIENTS} clients, 100 runs: {rate:.0} a second");
}

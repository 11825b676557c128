//! A schedule of any size, and what workers ask of it.

use std::sync::Arc;
use std::time::Duration;

use bson::doc;
use bson::oid::ObjectId;
use shoal::domain::fold::Record;
use shoal::domain::ids::*;
use shoal::domain::results::Stats;
use shoal::domain::run::{Counters, FinishReason, Phase, RunKind, RunOperation};
use shoal::domain::task::{BodyDigest, TaskRecord, TaskWorker};
use shoal::state::redis::RedisState;
use shoal::state::*;
use shoal::sys::random;

use crate::common;

pub const G: Generation = Generation(1);

pub fn worker(number: usize) -> TaskWorker {
    TaskWorker {
        username: "bench".to_owned(),
        unique_key: format!("{number:08x}-5a28-4b7d-b27b-d78d97ecf11a"),
        short_name: ShortWorkerName(format!("bench-8cores-{number:08x}")),
        concurrency: 8,
        remote_addr: format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255),
    }
}

pub fn task(key: TaskKey, number: usize) -> TaskRecord {
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

pub fn load(run: usize, tasks: Vec<TaskRecord>, id: RunId) -> RunLoad {
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
pub async fn schedule(runs: usize, tasks: usize) -> (Arc<RedisState>, Vec<RunId>) {
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

pub fn admission(number: usize) -> Admission {
    Admission {
        holder: random::identity(),
        slots: 1_000_000,
        slot_ttl: Duration::from_secs(60),
        worker: worker(number),
        machine_limit: 1_000_000,
    }
}

pub fn assignment(run: RunId, number: usize) -> AssignTask {
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

pub fn ids() -> [ObjectId; 2] {
    [random::object_id(), random::object_id()]
}

pub fn caller(key: TaskKey, number: usize) -> Caller {
    let worker = worker(number);
    Caller { key, unique_key: worker.unique_key, username: worker.username }
}

pub fn report(key: TaskKey, number: usize, pairs: u64) -> UpdateTask {
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

pub fn operation() -> RunOperation {
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

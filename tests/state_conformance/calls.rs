//! Each script called once, by its name, through the state's own functions, in a schedule where it has something to do.

use std::time::Duration;

use shoal::domain::action::CloseKind;
use shoal::domain::ids::*;
use shoal::domain::run::{Phase, RunKind, RunOperation};
use shoal::domain::task::{TaskRecord, TaskWorker};
use shoal::state::*;
use shoal::sys::random;

use super::fixture::*;

/// More tasks than a rebuild loads with one script.
const MANY: u32 = 201;

/// A schedule in which something of every kind is there.
pub struct World {
    pub f: Fixture,
    games: RunId,
    sprt: RunId,
    tuning: RunId,
    /// Being finished, with two active tasks.
    ending: (RunId, RunOperation),
    /// Finished, and to be unloaded.
    ended: RunId,
    /// One task each of the first three runs; the first isn't answered yet, the others are.
    tasks: [(TaskKey, TaskWorker); 3],
    /// What is dirty.
    acks: Vec<DurableAck>,
    leader: Token,
}

impl World {
    pub async fn new(f: Fixture) -> Self {
        let games = f.run(RunKind::Games, 100_000).await;
        let sprt = f.run(RunKind::Sprt { batch_size: 1 }, 100_000).await;
        let tuning = f.run(RunKind::Spsa { params: 1 }, 100_000).await;
        let finishing = f.run(RunKind::Games, 1000).await;
        let ended = f.run(RunKind::Games, 1000).await;
        let mut tasks = Vec::new();
        for (number, run) in (10..).zip([games, sprt, tuning]) {
            let worker = worker(number, 0);
            let key = f.claim(run, &worker, 100).await.task.record.key;
            tasks.push((key, worker));
        }
        f.update(tasks[1].0, &tasks[1].1, drawn(2)).await;
        let begin = BeginSpsa { who: caller(tasks[2].0, &tasks[2].1), round: round(1), write_id: write_id() };
        f.state.begin_spsa(G, begin).await.unwrap();
        let mut closed = Vec::new();
        for number in 20..24 {
            let run = if number < 22 { finishing } else { ended };
            let worker = worker(number, 0);
            let key = f.claim(run, &worker, 100).await.task.record.key;
            if number == 23 {
                // Closed and not durable: it leaves with its run.
                f.give_up(key, &worker).await;
            }
            closed.push(key);
        }
        let (ending, last) = (operation(), operation());
        f.phase(finishing, Phase::Running, Phase::Finishing, &ending).await;
        f.phase(ended, Phase::Running, Phase::Finishing, &last).await;
        f.close_slice(ended, &last, 10).await.unwrap();
        f.phase(ended, Phase::Finishing, Phase::Finished, &last).await;
        let acks = vec![
            DurableAck::Task { key: tasks[1].0, version: Version(2), told: true },
            DurableAck::Task { key: closed[2], version: Version(2), told: true },
            DurableAck::Run(sprt, Version(1), 0),
        ];
        let leader = f.leader().await;
        let tasks = tasks.try_into().unwrap();
        Self { f, games, sprt, tuning, ending: (finishing, ending), ended, tasks, acks, leader }
    }

    /// Calls a script. Each has something to do the first time.
    pub async fn call(&self, script: &str) -> StateResult<()> {
        let state = &self.f.state;
        let [(games, player), (sprt, reporter), (tuning, tuner)] = &self.tasks;
        let second = Duration::from_secs(100);
        match script {
            "lease_acquire" => answered(state.lease_acquire(LeaseName::RequestTask, "a", second, G).await?),
            "lease_renew" => answered(state.lease_renew(LeaseName::Leader, self.leader, second).await?),
            "lease_release" => answered(state.lease_release(LeaseName::Leader, self.leader).await?),
            "lease_read" => answered(state.lease_read(LeaseName::Leader).await?),
            "set_generation" => answered(state.set_generation(Generation(2), LoadState::Loading).await?),
            "read_generation" => answered(state.generation().await?),
            "semaphore_acquire" => answered(state.semaphore_acquire(admission(&worker(30, 0), "30")).await?),
            "load_run" => {
                let mut run = load(RunKind::Games, 1000);
                run.tasks = void_tasks(&run, 1);
                answered(state.load_run(G, run).await?);
            }
            "load_tasks" => {
                state.set_generation(Generation(2), LoadState::Loading).await?;
                let mut run = load(RunKind::Games, 1000);
                run.tasks = void_tasks(&run, MANY);
                answered(state.load_run(Generation(2), run).await?);
            }
            "unload_run" => answered(state.unload_run(G, self.ended).await?),
            "assign_task" => {
                answered(state.assign_task(G, assignment(self.games, &worker(31, 0), 100)).await?)
            }
            // One that was never heard of before is told by itself.
            "beat" => answered(state.beat(G, &caller(*games, player)).await?),
            "beats" => answered(state.beat(G, &caller(*sprt, reporter)).await?),
            "update_task" => answered(state.update_task(G, report(*sprt, reporter, drawn(4), None)).await?),
            "begin_spsa" => {
                let begin = BeginSpsa { who: caller(*tuning, tuner), round: round(2), write_id: write_id() };
                answered(state.begin_spsa(G, begin).await?);
            }
            "close_task" => {
                let why =
                    CloseWhy::Given { who: caller(*games, player), cause: Some(cause(CloseKind::Failed)) };
                answered(state.close_task(G, CloseTask { key: *games, why, write_id: write_id() }).await?);
            }
            "close_slice" => {
                let (run, operation) = (self.ending.0, self.ending.1.id);
                let slice = CloseSlice { run, operation, limit: 10, write_id: write_id() };
                answered(state.close_slice(G, slice).await?);
            }
            "find_dead" => answered(state.find_dead(Millis(i64::MAX / 4096), 10).await?),
            "commit_fold" => {
                let (run, record) = (self.sprt, "folded".into());
                answered(
                    state
                        .commit_fold(G, CommitFold { run, from: 0, to: 1, record, write_id: write_id() })
                        .await?,
                );
            }
            "set_phase" => {
                let (from, to) = (Phase::Running, Phase::Finishing);
                let operation = operation();
                let phase = SetPhase { run: self.tuning, from, to, operation, write_id: write_id() };
                answered(state.set_phase(G, phase).await?);
            }
            "set_run_fields" => {
                let (args, itp) = (ArgsFields { version: 2, num_games: 2000, priority: 1 }, Some(2.0));
                let speed = Some((1.0, 2.0));
                let fields =
                    SetRunFields { run: self.games, args: Some(args), itp, speed, leader: Some(self.leader) };
                answered(state.set_run_fields(G, fields).await?);
            }
            "block_worker" => {
                state.block_worker(&worker(32, 0).short_name, Some("because".to_owned())).await?;
            }
            "peek_dirty" => {
                answered(state.peek_dirty(DirtyFilter { limit: 10, ..Default::default() }).await?)
            }
            "peek_dirty_run" => {
                let filter = DirtyFilter { run: Some(self.games), limit: 10, ..Default::default() };
                answered(state.peek_dirty(filter).await?);
            }
            "ack_dirty" => state.ack_dirty(G, &self.acks).await?,
            "dirty_backlog" => answered(state.backlog().await?),
            "list_runs" => answered(state.read_runs().await?),
            "read_run" => answered(state.read_run(self.games).await?),
            "read_fold" => answered(state.read_fold(self.sprt).await?),
            "read_tasks" => answered(state.read_task(*games).await?),
            "task_numbers" => answered(state.read_tasks(self.games).await?),
            "scan_table" => answered(state.read_seen().await?),
            "load_seen" => {
                let worker = worker(33, 0).short_name;
                let seen = SeenView { worker, runs: vec![self.games], last_run: self.games };
                state.load_seen(vec![seen]).await?;
            }
            // The workers of closed tasks; what those of an unloaded run have seen.
            "clean_workers" | "clean_seen" => {
                state.unload_run(G, self.ended).await?;
                answered(state.clean(self.leader).await?);
            }
            "audit_run" => answered(state.audit(self.games).await?),
            "rate_limit" => {
                let rate = Rate { per_second: 0.01, burst: 10.0 };
                answered(state.admit_address("192.0.2.1", rate).await?);
            }
            "census" => answered(state.census().await?),
            other => panic!("{other} is new: say here how it is called"),
        }
        Ok(())
    }
}

fn write_id() -> WriteId {
    random::write_id()
}

fn void_tasks(run: &RunLoad, number: u32) -> Vec<TaskRecord> {
    (0..number)
        .map(|n| TaskRecord::void(TaskKey { run: run.id, task: TaskId(n) }, u64::from(n) * 2, 2, Millis(0)))
        .collect()
}

/// What the answer is is told elsewhere; here, that there is one.
fn answered<T>(_: T) {}

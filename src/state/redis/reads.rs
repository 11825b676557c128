//! Reading tasks, what workers have seen, blocks, numbers.

use futures::future::try_join_all;

use super::assign::read_seen;
use super::dirty::next_member;
use super::keys::Names;
use super::link::Way;
use super::reply::Reply;
use super::run_codec::read_phase;
use super::task_codec::unpack;
use super::{RedisState, scripts};
use crate::domain::ids::{RunId, ShortWorkerName, TaskId, TaskKey};
use crate::domain::run::Phase;
use crate::state::{Census, SeenView, StateResult, TaskLookup, TaskView};

/// Tasks read with one script.
const SLICE: usize = 200;

/// Entries of a table asked for at once.
const ENTRIES: usize = 500;

/// What `read_tasks` answers.
struct Held {
    next: TaskId,
    phase: Phase,
    tasks: Vec<TaskView>,
}

impl RedisState {
    /// None if the run isn't here.
    async fn held(
        &self,
        names: &Names,
        run: RunId,
        numbers: &[TaskId],
        way: Way,
    ) -> StateResult<Option<Held>> {
        let keys = names.run(run);
        let mut command =
            self.command(&scripts::READ_TASKS, &names.text, &[&keys.run, &keys.tasks, &names.active]);
        command.arg(run.to_string());
        for number in numbers {
            command.arg(number.0);
        }
        let mut reply = self.run(&scripts::READ_TASKS, &command, way).await?;
        if reply.word() == "NORUN" {
            return Ok(None);
        }
        let next = TaskId(reply.number()?);
        let phase = read_phase(&reply.text()?)?;
        let mut tasks = Vec::new();
        while !reply.is_empty() {
            let key = TaskKey { run, task: TaskId(reply.number()?) };
            let packed = reply.bytes()?;
            tasks.push(unpack(key, &packed, &reply.text()?)?);
        }
        Ok(Some(Held { next, phase, tasks }))
    }

    pub(super) async fn task(&self, names: &Names, key: TaskKey) -> StateResult<TaskLookup> {
        let Some(mut held) = self.held(names, key.run, &[key.task], Way::Shared).await? else {
            return Ok(TaskLookup::NoRun);
        };
        Ok(match held.tasks.pop() {
            Some(task) => {
                let alive = task.record.active && held.phase == Phase::Running;
                TaskLookup::Found { task: Box::new(task), alive }
            }
            None => TaskLookup::NoTask { next: held.next },
        })
    }

    /// Each slice is of one moment.
    pub(super) async fn tasks(&self, names: &Names, run: RunId) -> StateResult<Vec<TaskView>> {
        let keys = names.run(run);
        let command = self.command(&scripts::TASK_NUMBERS, &names.text, &[&keys.tasks]);
        let mut reply = self.run(&scripts::TASK_NUMBERS, &command, Way::Own).await?;
        let mut numbers = Vec::new();
        while !reply.is_empty() {
            numbers.push(TaskId(reply.number()?));
        }
        numbers.sort_unstable();
        let mut tasks = Vec::with_capacity(numbers.len());
        for slice in numbers.chunks(SLICE) {
            let held = self.held(names, run, slice, Way::Own).await?;
            tasks.extend(held.into_iter().flat_map(|held| held.tasks));
        }
        Ok(tasks)
    }

    /// Those of the tasks that are held, in the order they are named.
    pub(super) async fn tasks_by_key(&self, names: &Names, keys: &[TaskKey]) -> StateResult<Vec<TaskView>> {
        let mut runs: Vec<(RunId, Vec<TaskId>)> = Vec::new();
        for key in keys {
            match runs.iter_mut().find(|(run, numbers)| *run == key.run && numbers.len() < SLICE) {
                Some((_, numbers)) => numbers.push(key.task),
                None => runs.push((key.run, vec![key.task])),
            }
        }
        let looks = runs.iter().map(|(run, numbers)| self.held(names, *run, numbers, Way::Shared));
        let held = try_join_all(looks).await?;
        let mut found: std::collections::HashMap<TaskKey, TaskView> = held
            .into_iter()
            .flatten()
            .flat_map(|held| held.tasks)
            .map(|task| (task.record.key, task))
            .collect();
        Ok(keys.iter().filter_map(|key| found.remove(key)).collect())
    }

    /// Walks through a table: `each` gets names and values. An entry that changes meanwhile may come twice.
    pub(super) async fn walk(
        &self,
        names: &Names,
        table: &str,
        kind: &str,
        mut each: impl FnMut(String, String),
    ) -> StateResult<()> {
        let mut cursor = "0".to_owned();
        loop {
            let mut command = self.command(&scripts::SCAN_TABLE, &names.text, &[table]);
            command.arg(kind).arg(&cursor).arg(ENTRIES);
            let mut reply = self.run(&scripts::SCAN_TABLE, &command, Way::Own).await?;
            cursor = reply.text()?;
            while !reply.is_empty() {
                let name = reply.text()?;
                each(name, reply.text()?);
            }
            if cursor == "0" {
                return Ok(());
            }
        }
    }

    pub(super) async fn seen(&self, names: &Names) -> StateResult<Vec<SeenView>> {
        let mut seen = std::collections::BTreeMap::new();
        self.walk(names, &names.seen, "HSCAN", |name, runs| {
            seen.insert(ShortWorkerName(name), runs);
        })
        .await?;
        seen.into_iter()
            .map(|(worker, text)| {
                let (last_run, mut runs) = read_seen(&text)?;
                runs.sort();
                Ok(SeenView { worker, runs, last_run })
            })
            .collect()
    }

    pub(super) async fn put_seen(&self, names: &Names, seen: &[SeenView]) -> StateResult<()> {
        for slice in seen.chunks(ENTRIES) {
            let mut command = self.command(&scripts::LOAD_SEEN, &names.text, &[&names.seen]);
            for view in slice {
                let runs = std::iter::once(&view.last_run).chain(&view.runs).map(RunId::to_string);
                command.arg(&view.worker.0).arg(runs.collect::<Vec<_>>().join(" "));
            }
            self.run(&scripts::LOAD_SEEN, &command, Way::Own).await?;
        }
        Ok(())
    }

    pub(super) async fn mirror_block(
        &self,
        names: &Names,
        worker: &ShortWorkerName,
        message: Option<&str>,
    ) -> StateResult<()> {
        let mut command = self.command(&scripts::BLOCK_WORKER, &names.text, &[&names.blocked]);
        command.arg(&worker.0).arg(u8::from(message.is_some())).arg(message.unwrap_or_default());
        self.run(&scripts::BLOCK_WORKER, &command, Way::Shared).await?;
        Ok(())
    }

    pub(super) async fn count(&self, names: &Names) -> StateResult<Census> {
        let keys = [
            &*names.runs,
            &names.active,
            &names.connections,
            &names.wtt,
            &names.slots,
            &names.dirty,
            &names.ranking,
        ];
        let command = self.command(&scripts::CENSUS, &names.text, &keys);
        let mut reply = self.run(&scripts::CENSUS, &command, Way::Own).await?;
        census(&mut reply)
    }
}

fn census(reply: &mut Reply) -> StateResult<Census> {
    let mut census = Census {
        runs: reply.number()?,
        active_tasks: reply.number()?,
        addresses: reply.number()?,
        connections: reply.number()?,
        worker_map: reply.number()?,
        slots: reply.number()?,
        dirty: reply.number()?,
        live_names: Vec::new(),
    };
    while !reply.is_empty() {
        let name = ShortWorkerName(reply.text()?);
        census.live_names.push((name, next_member(reply)?));
    }
    census.live_names.sort();
    Ok(census)
}

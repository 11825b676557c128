//! Housekeeping and audits: what walks through tables, a slice at a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::keys::{Names, task_of};
use super::link::Way;
use super::scripts::Script;
use super::task_codec::unpack;
use super::{RedisState, run_codec, scripts};
use crate::domain::ids::{Generation, Millis, RunId, ShortWorkerName, TaskId, TaskKey, Token};
use crate::state::audit::{self, Copy, RunCopy};
use crate::state::{LeaseName, StateResult};
use crate::sys::spawn;

/// Names looked at with one script.
const SLICE: usize = 200;

/// Keys of older generations looked for at once.
const KEYS: usize = 1000;

/// In a cluster, so many generations are looked back at: each rebuild looks at those before it.
const OLDER: u64 = 16;

/// Between two looks at tables that didn't agree: what was under way has arrived by then.
const SETTLED: Duration = Duration::from_millis(200);

/// Looks at tables that don't agree. The tables are read one after the other while work goes on: what is really wrong stays as it
/// is; what isn't may look the same twice, hardly more often.
const LOOKS_AGAIN: usize = 3;

impl RedisState {
    pub(super) async fn tidy(&self, names: &Names, leader: Token) -> StateResult<usize> {
        let mut workers = Vec::new();
        self.walk(names, &names.wtt, "HSCAN", |name, _| workers.push(name)).await?;
        let keys = [&*names.wtt, &names.active, &names.ranking];
        let mut gone = self.tidy_slices(names, &scripts::CLEAN_WORKERS, &keys, leader, &workers).await?;
        let mut seen = Vec::new();
        self.walk(names, &names.seen, "HSCAN", |name, _| seen.push(name)).await?;
        let keys = [&*names.seen, &names.runs];
        gone += self.tidy_slices(names, &scripts::CLEAN_SEEN, &keys, leader, &seen).await?;
        Ok(gone)
    }

    /// Even with nobody to look at: a stale leader is to know.
    async fn tidy_slices(
        &self,
        names: &Names,
        script: &'static Script,
        tables: &[&str],
        leader: Token,
        workers: &[String],
    ) -> StateResult<usize> {
        let lease = self.base.lease(LeaseName::Leader);
        let mut keys = vec![lease.as_str()];
        keys.extend(tables);
        let mut gone = 0;
        let mut slices: Vec<&[String]> = workers.chunks(SLICE).collect();
        if slices.is_empty() {
            slices.push(&[]);
        }
        for slice in slices {
            let mut command = self.command(script, &names.text, &keys);
            command.arg(leader.generation.0).arg(leader.counter);
            for worker in slice {
                command.arg(worker);
            }
            gone += self.run(script, &command, Way::Own).await?.number::<usize>()?;
        }
        Ok(gone)
    }

    pub(super) async fn audit_one(&self, names: &Names, run: RunId) -> StateResult<Vec<String>> {
        // All of the run is of one moment.
        match self.copy_run(names, run).await? {
            Some((copy, active)) => Ok(audit::of_run(&copy, &active)),
            None => Ok(Vec::new()),
        }
    }

    /// Tables and runs are copied one after the other while the farm works. A difference counts if it is still the same
    /// when all of them are copied once more.
    pub(super) async fn audit_all(&self, names: &Names) -> StateResult<Vec<String>> {
        let mut wrong = audit::of_tables(&self.copy(names).await?);
        for _ in 0..LOOKS_AGAIN {
            if wrong.is_empty() {
                break;
            }
            tokio::time::sleep(SETTLED).await;
            let there: HashSet<String> = audit::of_tables(&self.copy(names).await?).into_iter().collect();
            wrong.retain(|what| there.contains(what));
        }
        Ok(wrong)
    }

    async fn copy(&self, names: &Names) -> StateResult<Copy> {
        let mut copy = Copy::default();
        for run in self.run_ids(names).await? {
            if let Some((run, _)) = self.copy_run(names, run).await? {
                copy.runs.push(run);
            }
        }
        let mut workers = HashMap::new();
        self.walk(names, &names.wtt, "HSCAN", |name, member| {
            if let Some(key) = task_of(&member) {
                workers.insert(ShortWorkerName(name), key);
            }
        })
        .await?;
        copy.workers = workers.into_iter().collect();
        self.walk(names, &names.connections, "HSCAN", |addr, open| {
            copy.connections.insert(addr, open.parse().unwrap_or(0));
        })
        .await?;
        self.walk(names, &names.active, "ZSCAN", |member, seen| {
            if let (Some(key), Ok(seen)) = (task_of(&member), seen.parse()) {
                copy.active.insert(key, Millis(seen));
            }
        })
        .await?;
        // A sign of life between two looks is none between the tables.
        for (key, task) in copy.runs.iter_mut().flat_map(|run| {
            let id = run.id;
            run.tasks.iter_mut().map(move |(number, task)| (TaskKey { run: id, task: *number }, task))
        }) {
            if let Some(seen) = copy.active.get(&key)
                && task.record.active
            {
                Arc::make_mut(&mut task.record).last_updated = *seen;
            }
        }
        self.walk(names, &names.dirty, "ZSCAN", |member, _| copy.dirty.extend(task_of(&member))).await?;
        Ok(copy)
    }

    /// A run with its tasks, and which of these are in the table of active ones.
    async fn copy_run(
        &self,
        names: &Names,
        id: RunId,
    ) -> StateResult<Option<(RunCopy, HashMap<TaskKey, Millis>)>> {
        let run = names.run(id);
        let keys = [&*run.run, &run.pending, &run.tasks, &names.active];
        let mut command = self.command(&scripts::AUDIT_RUN, &names.text, &keys);
        command.arg(id.to_string());
        let mut reply = self.run(&scripts::AUDIT_RUN, &command, Way::Own).await?;
        if reply.word() == "NORUN" {
            return Ok(None);
        }
        let next_start = reply.number()?;
        let view = run_codec::view(id, &mut reply)?;
        let (mut tasks, mut active) = (Vec::new(), HashMap::new());
        while !reply.is_empty() {
            let number = TaskId(reply.number()?);
            let key = TaskKey { run: id, task: number };
            let packed = reply.bytes()?;
            let seen = reply.text()?;
            if let Ok(seen) = seen.parse() {
                active.insert(key, Millis(seen));
            }
            tasks.push((number, unpack(key, &packed, &seen)?));
        }
        Ok(Some((RunCopy::new(&view, next_start, tasks), active)))
    }

    /// Takes what older generations left, in the background: nobody reads it any more.
    pub(super) fn forget_older(&self, generation: Generation) {
        let Some(state) = self.me.upgrade() else { return };
        spawn::task("forget older schedules", async move {
            if let Err(error) = state.unlink_older(generation).await {
                tracing::warn!(%error, "what older schedules left could not be deleted; the next one will try again");
            }
        });
    }

    async fn unlink_older(&self, generation: Generation) -> StateResult<()> {
        let failed = |error: redis::RedisError| super::errors::state_error(&error);
        if self.facts.mode == "cluster" {
            // A walk through all keys would be one through some node's: go by the names that there were.
            for older in generation.0.saturating_sub(OLDER)..generation.0 {
                let names = Names::new(&self.base, Generation(older));
                let mut list = redis::cmd("ZRANGE");
                list.arg(&names.runs).arg(0).arg(-1);
                let ids = self.link.send(&list, Way::Own).await.map_err(failed)?;
                let ids: Vec<String> = redis::from_redis_value(ids)
                    .map_err(|error| crate::state::StateError::Bug(error.to_string()))?;
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(&names.all());
                for id in ids.iter().filter_map(|id| RunId::parse(id)) {
                    let run = names.run(id);
                    unlink.arg(&[run.run, run.pending, run.tasks, run.live]);
                }
                self.link.send(&unlink, Way::Own).await.map_err(failed)?;
            }
            return Ok(());
        }
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(self.base.pattern()).arg("COUNT").arg(KEYS);
            let slice: Value = self.link.send(&scan, Way::Own).await.map_err(failed)?;
            let (next, keys): (String, Vec<String>) = redis::from_redis_value(slice)
                .map_err(|error| crate::state::StateError::Bug(error.to_string()))?;
            let older = |key: &&String| self.base.generation_of(key).is_some_and(|there| there < generation);
            let older: Vec<&String> = keys.iter().filter(older).collect();
            if !older.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                for key in older {
                    unlink.arg(key);
                }
                self.link.send(&unlink, Way::Own).await.map_err(failed)?;
            }
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }
}

//! Loading, unloading, phases, folded records, fields, and reading runs.

use futures::future::try_join_all;
use redis::Cmd;

use super::keys::{Names, RunNames};
use super::lease::yes;
use super::link::Way;
use super::run_codec::{self, operation_text, phase_text};
use super::task_codec::{entry_text, pack};
use super::{RedisState, scripts};
use crate::domain::ids::RunId;
use crate::domain::task::TaskRecord;
use crate::state::{
    CommitFold, FoldOutcome, FoldView, LeaseName, PhaseOutcome, RunLoad, RunView, SetPhase, SetRunFields,
    StateResult,
};
use crate::sys::random;

/// Tasks that a rebuild loads with one script: a few milliseconds of the server's only thread.
const SLICE: usize = 200;

impl RedisState {
    pub(super) async fn put_run(&self, names: &Names, load: &RunLoad) -> StateResult<bool> {
        let run = names.run(load.id);
        // A schedule that serves gets the run whole: a task that isn't there yet would seem to be closed.
        let loading = self.loading.load(std::sync::atomic::Ordering::Acquire);
        let first = if loading { load.tasks.len().min(SLICE) } else { load.tasks.len() };
        let (now, later) = load.tasks.split_at(first);
        let identity = random::identity();
        let keys = [
            &*run.run,
            &run.pending,
            &names.runs,
            &names.ranking,
            &run.tasks,
            &run.live,
            &names.active,
            &names.connections,
            &names.wtt,
        ];
        let fields = run_codec::fields(load)?;
        let mut command = self.command(&scripts::LOAD_RUN, &names.text, &keys);
        command
            .arg(load.id.to_string())
            .arg(load.start_time.0)
            .arg(&identity)
            .arg(load.pending.len())
            .arg(fields.len());
        for entry in &load.pending {
            command.arg(entry_text(entry));
        }
        for (name, value) in &fields {
            command.arg(name).arg(value);
        }
        push_tasks(&mut command, now)?;
        if !yes(&self.run(&scripts::LOAD_RUN, &command, Way::Own).await?)? {
            return Ok(false);
        }
        for slice in later.chunks(SLICE) {
            self.put_tasks(names, &run, load.id, &identity, slice).await?;
        }
        Ok(true)
    }

    async fn put_tasks(
        &self,
        names: &Names,
        run: &RunNames,
        id: RunId,
        identity: &str,
        tasks: &[TaskRecord],
    ) -> StateResult<()> {
        let keys = [&*run.run, &run.tasks, &run.live, &names.active, &names.connections, &names.wtt];
        let mut command = self.command(&scripts::LOAD_TASKS, &names.text, &keys);
        command.arg(id.to_string()).arg(identity);
        push_tasks(&mut command, tasks)?;
        let reply = self.run(&scripts::LOAD_TASKS, &command, Way::Own).await?;
        if yes(&reply)? { Ok(()) } else { Err(reply.unexpected()) }
    }

    pub(super) async fn drop_run(&self, names: &Names, id: RunId) -> StateResult<bool> {
        let run = names.run(id);
        let keys =
            [&*run.run, &run.pending, &run.tasks, &run.live, &names.runs, &names.ranking, &names.dirty];
        let mut command = self.command(&scripts::UNLOAD_RUN, &names.text, &keys);
        command.arg(id.to_string());
        yes(&self.run(&scripts::UNLOAD_RUN, &command, Way::Shared).await?)
    }

    pub(super) async fn put_fold(&self, names: &Names, request: &CommitFold) -> StateResult<FoldOutcome> {
        let run = names.run(request.run);
        let mut command = self.command(&scripts::COMMIT_FOLD, &names.text, &[&run.run, &run.pending]);
        command.arg(request.from).arg(request.to).arg(&*request.record).arg(request.write_id.0);
        let mut reply = self.run(&scripts::COMMIT_FOLD, &command, Way::Shared).await?;
        match reply.word() {
            "COMMITTED" => Ok(FoldOutcome::Committed),
            "MOVED" => Ok(FoldOutcome::Moved { position: reply.number()? }),
            "NORUN" => Ok(FoldOutcome::NoRun),
            _ => Err(reply.unexpected()),
        }
    }

    pub(super) async fn move_phase(&self, names: &Names, request: &SetPhase) -> StateResult<PhaseOutcome> {
        let run = names.run(request.run);
        let keys = [&*run.run, &run.pending, &names.ranking];
        let mut command = self.command(&scripts::SET_PHASE, &names.text, &keys);
        command
            .arg(request.run.to_string())
            .arg(phase_text(request.from))
            .arg(phase_text(request.to))
            .arg(operation_text(&request.operation)?)
            .arg(request.operation.id.to_hex())
            .arg(request.write_id.0);
        let mut reply = self.run(&scripts::SET_PHASE, &command, Way::Shared).await?;
        match reply.word() {
            "CHANGED" => Ok(PhaseOutcome::Changed(Box::new(run_codec::view(request.run, &mut reply)?))),
            "REFUSED" => Ok(PhaseOutcome::Refused(Box::new(run_codec::view(request.run, &mut reply)?))),
            "NORUN" => Ok(PhaseOutcome::NoRun),
            _ => Err(reply.unexpected()),
        }
    }

    pub(super) async fn put_fields(&self, names: &Names, request: &SetRunFields) -> StateResult<bool> {
        let run = names.run(request.run);
        let leader = self.base.lease(LeaseName::Leader);
        let mut command =
            self.command(&scripts::SET_RUN_FIELDS, &names.text, &[&run.run, &names.ranking, &leader]);
        command.arg(request.run.to_string());
        match request.leader {
            Some(token) => command.arg(token.generation.0).arg(token.counter),
            None => command.arg("").arg(""),
        };
        match request.args {
            Some(args) => command.arg(args.version).arg(args.num_games).arg(args.priority),
            None => command.arg(&["", "", ""]),
        };
        command.arg(request.itp.map(|itp| itp.to_string()).unwrap_or_default());
        match request.speed {
            Some((nps, games_per_minute)) => command.arg(nps.to_string()).arg(games_per_minute.to_string()),
            None => command.arg(&["", ""]),
        };
        yes(&self.run(&scripts::SET_RUN_FIELDS, &command, Way::Shared).await?)
    }

    pub(super) async fn run_view(&self, names: &Names, id: RunId, way: Way) -> StateResult<Option<RunView>> {
        let run = names.run(id);
        let command = self.command(&scripts::READ_RUN, &names.text, &[&run.run, &run.pending]);
        let mut reply = self.run(&scripts::READ_RUN, &command, way).await?;
        match reply.word() {
            "RUN" => Ok(Some(run_codec::view(id, &mut reply)?)),
            "NORUN" => Ok(None),
            _ => Err(reply.unexpected()),
        }
    }

    /// Each as it is at a moment of its own: nothing that follows from several runs at once is changed by them.
    pub(super) async fn run_views(&self, names: &Names) -> StateResult<Vec<RunView>> {
        let ids = self.run_ids(names).await?;
        let views = try_join_all(ids.into_iter().map(|id| self.run_view(names, id, Way::Shared))).await?;
        let mut views: Vec<RunView> = views.into_iter().flatten().collect();
        views.sort_by_key(|run| (run.start_time, run.id));
        Ok(views)
    }

    pub(super) async fn run_ids(&self, names: &Names) -> StateResult<Vec<RunId>> {
        let command = self.command(&scripts::LIST_RUNS, &names.text, &[&names.runs]);
        let mut reply = self.run(&scripts::LIST_RUNS, &command, Way::Shared).await?;
        let mut ids = Vec::new();
        while !reply.is_empty() {
            let text = reply.text()?;
            ids.push(RunId::parse(&text).ok_or_else(|| reply.unexpected())?);
        }
        Ok(ids)
    }

    pub(super) async fn fold_view(&self, names: &Names, id: RunId) -> StateResult<Option<FoldView>> {
        let run = names.run(id);
        let command = self.command(&scripts::READ_FOLD, &names.text, &[&run.run, &run.pending]);
        let mut reply = self.run(&scripts::READ_FOLD, &command, Way::Shared).await?;
        match reply.word() {
            "FOLD" => Ok(Some(run_codec::fold(&mut reply)?)),
            "NORUN" => Ok(None),
            _ => Err(reply.unexpected()),
        }
    }
}

fn push_tasks(command: &mut Cmd, tasks: &[TaskRecord]) -> StateResult<()> {
    for task in tasks {
        let worker = task.worker.as_ref();
        command
            .arg(task.key.task.0)
            .arg(u8::from(task.active))
            .arg(u8::from(worker.is_some()))
            .arg(worker.map_or("", |worker| &worker.remote_addr))
            .arg(worker.map_or("", |worker| &worker.short_name.0))
            .arg(pack(task)?);
    }
    Ok(())
}

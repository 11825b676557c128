//! The finish saga (`durability.md` section 5).
//!
//! 1. One transition flips the phase, with the operation: from here on no task of the run lives.
//! 2. What is dirty becomes durable, then the run document with phase and operation: the caller may be answered.
//! 3. Tasks are closed in slices; a due purge is decided, committed and carried out; the run document gets its last
//!    form together with the log entries, under ids that the operation chose; the run leaves the schedule.
//!
//! Every step can be repeated, and be done by two processes at once: whoever was taken for dead may go on. What is
//! decided once (the phase, the victims of a purge) is decided in the schedule, and everybody goes on with what stands
//! there; what is written has the version and identity that the schedule gave it, so a second writer only repeats the
//! first. A rebuild takes up what was interrupted, from the run document.

use std::time::Duration;

use bson::oid::ObjectId;
use bson::{Bson, Document};

use super::Farm;
use super::documents::run_write;
use super::error::{ServiceError, ServiceResult};
use super::run_cache::CachedRun;
use super::saga::Saga;
use crate::domain::action::{Action, Event};
use crate::domain::fold::Record;
use crate::domain::ids::{Millis, RunId, TaskId};
use crate::domain::results::Stats;
use crate::domain::run::{FinishReason, Phase, RunKind, RunOperation, WorkerStop};
use crate::domain::stats::chi2::PurgeRule;
use crate::domain::stats::counts::Counts;
use crate::domain::stats::flags::{Flags, compute_flags};
use crate::domain::stats::text::{Test, finished_run_message};
use crate::state::{CloseSlice, DirtyFilter, Invalidation, PhaseOutcome, RunView, SetPhase};
use crate::store::codec::{as_count, int};
use crate::store::{DocumentWrite, RunWrite};
use crate::sys::random;

/// Tasks closed in one transition.
const SLICE: usize = 200;

/// How long the caller waits for the end, so that it looks synchronous.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who stops a run, and why.
#[derive(Debug, Clone)]
pub struct Stop {
    reason: FinishReason,
    /// None means the run's owner.
    actor: Option<String>,
    worker_stop: Option<WorkerStop>,
}

impl Stop {
    /// The statistics, or the number of games, decided.
    pub fn decided() -> Self {
        Self { reason: FinishReason::Decided, actor: None, worker_stop: None }
    }

    /// A modification left nothing to play.
    pub fn modified() -> Self {
        Self { reason: FinishReason::Modified, actor: None, worker_stop: None }
    }

    /// A worker found the run broken.
    pub fn by_worker(username: &str, stop: WorkerStop) -> Self {
        Self { reason: FinishReason::WorkerStop, actor: Some(username.to_owned()), worker_stop: Some(stop) }
    }

    /// A person stopped it.
    pub fn by_user(username: &str) -> Self {
        Self { reason: FinishReason::UserStop, actor: Some(username.to_owned()), worker_stop: None }
    }

    /// A person deleted it.
    pub fn delete(username: &str) -> Self {
        Self { reason: FinishReason::Delete, actor: Some(username.to_owned()), worker_stop: None }
    }

    pub(super) fn operation(self, owner: &str, time: Millis) -> RunOperation {
        RunOperation {
            id: random::object_id(),
            reason: self.reason,
            actor: self.actor.unwrap_or_else(|| owner.to_owned()),
            time,
            // In the order in which the entries will be written, so that newest-first listings keep it.
            action_ids: [random::object_id(), random::object_id(), random::object_id(), random::object_id()],
            worker_stop: self.worker_stop,
            purge: None,
        }
    }
}

impl Farm {
    /// Whether a run is finished, or being finished; an unknown one is not.
    pub async fn is_finished(&self, run: RunId) -> ServiceResult<bool> {
        if let Some(view) = self.state.read_run(run).await? {
            return Ok(view.phase != Phase::Running);
        }
        let stored = self.store.run(run).await?;
        Ok(stored.is_some_and(|stored| stored.doc.get_bool("finished").unwrap_or(false)))
    }

    /// Finishes a run. False if it is being finished by somebody else, or is finished. When this returns the decision
    /// is durable, and most often all of it is done.
    pub async fn finish(self: &Farm, run: RunId, stop: Stop) -> ServiceResult<bool> {
        let cached = self.runs.at_least(run, 0).await?;
        let cached = cached.ok_or_else(|| ServiceError::NotFound(format!("The run {run} does not exist")))?;
        let Some(turn) = self.sagas.begin(run) else { return Ok(false) };
        // The state's time: whoever takes it up measures its age by that.
        let operation = stop.operation(&cached.owner, self.state.now().await?);
        let flip = SetPhase {
            run,
            from: Phase::Running,
            to: Phase::Finishing,
            operation: operation.clone(),
            write_id: random::write_id(),
        };
        match self.state.set_phase(self.generation(), flip).await? {
            PhaseOutcome::Changed(_) => {}
            PhaseOutcome::Refused(_) | PhaseOutcome::NoRun => return Ok(false),
        }
        tracing::info!(%run, reason = ?operation.reason, actor = %operation.actor, "finishing");
        let Saga { durable, rest } = self.start_saga(turn, run, operation)?;
        durable
            .await
            .map_err(|_| ServiceError::Unavailable("the farm is shutting down".to_owned()))
            .flatten()?;
        // Durable is enough for an answer; whatever happens to the rest, it is taken up again.
        let _ = tokio::time::timeout(PATIENCE, rest).await;
        Ok(true)
    }

    /// Makes what is known of a run durable: first its tasks, then its document, so that the record is never ahead.
    pub async fn flush_run(&self, run: RunId, cached: &CachedRun) -> ServiceResult<()> {
        self.fold_now(run).await?;
        let Some(view) = self.state.read_run(run).await? else { return Ok(()) };
        if view.phase == Phase::Finished {
            // That version is the saga's last write, which says more: this one must not come before it.
            return Ok(());
        }
        self.flush_tasks(run).await?;
        if view.durable >= view.version {
            // A saga that a rebuild found: its version is the stored one, but the write's identity isn't known here.
            return Ok(());
        }
        let record = Record::parse(&view.record)?;
        self.committer.write_all(vec![DocumentWrite::Run(Box::new(run_write(&view, cached, &record)))]).await
    }

    /// Makes every dirty task of a run durable.
    pub async fn flush_tasks(&self, run: RunId) -> ServiceResult<()> {
        let filter = DirtyFilter { run: Some(run), since: None, limit: usize::MAX };
        let dirty = self.state.peek_dirty(filter).await?;
        let views: Vec<_> = dirty.tasks.iter().collect();
        for slice in views.chunks(SLICE) {
            self.committer.write_all(self.barrier(slice).await?).await?;
        }
        Ok(())
    }

    /// Step 3 of the saga; also how an interrupted one is taken up.
    pub async fn close_down(&self, run: RunId, operation: ObjectId) -> ServiceResult<()> {
        loop {
            let slice = CloseSlice { run, operation, limit: SLICE, write_id: random::write_id() };
            let outcome = self.state.close_slice(self.generation(), slice).await?;
            let views: Vec<_> = outcome.closed.iter().collect();
            self.committer.write_all(self.barrier(&views).await?).await?;
            if outcome.remaining == 0 {
                break;
            }
        }
        self.flush_tasks(run).await?;
        let Some(operation) = self.decided(run, operation).await? else { return Ok(()) };
        if operation.purge.is_some() {
            self.carry_out_purge(run, &operation).await?;
        }
        self.conclude(run, operation).await?;
        // It is over, whatever the check says.
        if let Err(error) = self.validate_run(run).await {
            tracing::warn!(%run, %error, "the finished run could not be checked");
        }
        Ok(())
    }

    /// The operation with everything decided, and the decision durable; None if somebody else has ended it.
    async fn decided(&self, run: RunId, operation: ObjectId) -> ServiceResult<Option<RunOperation>> {
        let Some(view) = self.state.read_run(run).await? else { return Ok(None) };
        let Some(there) = standing_operation(&view, operation) else { return Ok(None) };
        let cached = self.runs.at_least(run, view.args_version).await?;
        let cached = cached.ok_or_else(|| ServiceError::Bug(format!("run {run} is not in the store")))?;
        if view.phase == Phase::Finishing && self.wants_auto_purge(&cached, &there) {
            return self.decide_purge(&view, &cached, there, PurgeRule::AUTO).await.map(Some);
        }
        if view.phase == Phase::Purging {
            // Whoever decided may not have come to write it: before that nothing may follow.
            self.flush_run(run, &cached).await?;
        }
        Ok(Some(there))
    }

    fn wants_auto_purge(&self, run: &CachedRun, operation: &RunOperation) -> bool {
        run.auto_purge
            && operation.purge.is_none()
            && operation.reason != FinishReason::Delete
            && !matches!(run.kind, RunKind::Spsa { .. })
    }

    /// The last form of the run document, the log entries, and out of the schedule, or back into it.
    async fn conclude(&self, run: RunId, operation: RunOperation) -> ServiceResult<()> {
        let Some(view) = self.state.read_run(run).await? else { return Ok(()) };
        if standing_operation(&view, operation.id).is_none() {
            // Somebody else has ended the saga, and perhaps revived the run.
            return Ok(());
        }
        let performed = operation.purge.as_ref().is_some_and(|purge| purge.message.is_empty());
        let view = if view.phase == Phase::Finished {
            view
        } else {
            let finished = SetPhase {
                run,
                from: if performed { Phase::Purging } else { Phase::Finishing },
                to: Phase::Finished,
                operation,
                write_id: random::write_id(),
            };
            match self.state.set_phase(self.generation(), finished).await? {
                PhaseOutcome::Changed(view) => *view,
                // Whoever was faster writes the last form; if it dies in doing so, the leader does.
                PhaseOutcome::Refused(_) | PhaseOutcome::NoRun => return Ok(()),
            }
        };
        let Some(operation) = view.operation.clone() else { return Ok(()) };
        let revive = operation.purge.as_ref().is_some_and(|purge| purge.message.is_empty() && purge.revive);
        let stored = self.store.run(run).await?;
        let stored = stored.ok_or_else(|| ServiceError::Bug(format!("run {run} is not in the store")))?;
        let meta = &stored.meta;
        let written = meta.generation == self.generation() && meta.version >= view.version;
        if !written {
            let write = self.last_write(view, &CachedRun::new(&stored), &operation, revive)?;
            self.committer.write_all(vec![DocumentWrite::Run(Box::new(write))]).await?;
        }
        self.state.unload_run(self.generation(), run).await?;
        self.tell(Invalidation::Run(run)).await;
        if revive {
            self.load_stored(run).await?;
        }
        tracing::info!(%run, revived = revive, "finished");
        Ok(())
    }

    /// The run document's last form. Who writes it again, from the same view, writes the same.
    fn last_write(
        &self,
        mut view: RunView,
        run: &CachedRun,
        operation: &RunOperation,
        revive: bool,
    ) -> ServiceResult<RunWrite> {
        let purge = operation.purge.as_ref().filter(|purge| purge.message.is_empty());
        let record = Record::parse(purge.map_or(&*view.record, |purge| purge.record.as_str()))?;
        if let Some(purge) = purge {
            view.counters.results = purge.results;
        }
        view.counters.committed_games = view.counters.results.games();
        let mut write = run_write(&view, run, &record);
        write.set.extend(outcome_fields(run, operation, &record, &view.counters.results, revive));
        write.actions = self.saga_actions(run, operation, &record, &view, revive);
        if revive {
            write.phase = Phase::Running;
        }
        write.operation = None;
        Ok(write)
    }

    /// The log entries of an operation, in order (`spec/scheduling.md` section 14).
    fn saga_actions(
        &self,
        run: &CachedRun,
        operation: &RunOperation,
        record: &Record,
        view: &RunView,
        revive: bool,
    ) -> Vec<Document> {
        let label = || run.label.clone();
        let mut entries = Vec::new();
        if let Some(stop) = &operation.worker_stop {
            let task = Some((stop.worker.clone(), TaskId(stop.task_id)));
            let event = Event::StopRun { run: label(), message: stop.message.clone(), task };
            entries.push(Action::by(operation.actor.clone(), event));
        }
        if let Some(purge) = &operation.purge {
            let manual = operation.reason == FinishReason::Purge;
            let kind = if manual { "Manual purge" } else { "Auto purge" };
            let message = match purge.message.as_str() {
                "" => kind.to_owned(),
                why => format!("{kind} (not performed): {why}"),
            };
            let by = if manual { &operation.actor } else { &run.owner };
            entries.push(Action::by(by.clone(), Event::PurgeRun { run: label(), message }));
        }
        match operation.reason {
            FinishReason::Decided | FinishReason::Modified if !revive => {
                let message = finished_message(run, record, &view.counters.results);
                entries.push(Action::by(run.owner.clone(), Event::FinishedRun { run: label(), message }));
            }
            FinishReason::UserStop => {
                let event = Event::StopRun { run: label(), message: "User stop".to_owned(), task: None };
                entries.push(Action::by(operation.actor.clone(), event));
            }
            FinishReason::Delete => {
                entries.push(Action::by(operation.actor.clone(), Event::DeleteRun { run: label() }));
            }
            _ => {}
        }
        // One time for all, that of the operation: the order is that of the ids. A later time would be passed over by
        // what happens right after.
        entries
            .iter()
            .zip(operation.action_ids)
            .map(|(action, id)| action.to_document(id, operation.time))
            .collect()
    }
}

/// The operation that stands in the schedule, if it is this one and still under way.
fn standing_operation(view: &RunView, operation: ObjectId) -> Option<RunOperation> {
    let there = view.operation.as_ref().filter(|there| there.id == operation && view.phase != Phase::Running);
    there.cloned()
}

/// Fields that only the end of a run sets.
fn outcome_fields(
    run: &CachedRun,
    operation: &RunOperation,
    record: &Record,
    results: &Stats,
    revive: bool,
) -> Vec<(String, Bson)> {
    let flag = |name: &str, value: bool| (name.to_owned(), Bson::Boolean(value));
    if revive {
        return ["finished", "deleted", "failed", "is_green", "is_yellow"]
            .map(|name| flag(name, false))
            .to_vec();
    }
    let Flags { is_green, is_yellow } = compute_flags(true, test_of(record).kind(), &counts_of(run, results));
    let mut set = vec![flag("finished", true), flag("is_green", is_green), flag("is_yellow", is_yellow)];
    match operation.reason {
        FinishReason::WorkerStop => {
            set.push(flag("failed", true));
            let failures = as_count(run.doc.get("failures")).unwrap_or(0);
            set.push(("failures".to_owned(), int(failures + 1)));
        }
        FinishReason::Delete => set.push(flag("deleted", true)),
        _ => {}
    }
    set
}

fn test_of(record: &Record) -> Test<'_> {
    match record {
        Record::Games => Test::FixedGames,
        Record::Sprt { sprt, .. } => Test::Sprt(sprt),
        Record::Spsa(spsa) => Test::Spsa { iter: spsa.iter, num_iter: spsa.num_iter },
    }
}

/// The counts that decide; very old runs have no pairs.
fn counts_of(run: &CachedRun, results: &Stats) -> Counts {
    if run.has_pentanomial { Counts::from(results) } else { Counts::from_games_only(results) }
}

fn finished_message(run: &CachedRun, record: &Record, results: &Stats) -> String {
    let counts = counts_of(run, results);
    let test = test_of(record);
    finished_run_message(&test, &counts, compute_flags(true, test.kind(), &counts).is_green)
}

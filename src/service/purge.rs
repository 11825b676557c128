//! Purging: taking the results of bad workers out of a finished run (`spec/scheduling.md` section 9.2,
//! `durability.md` section 5).
//!
//! One write of the run document, with the victims and the results after it, is the commit point. Before it nothing
//! happened; after it everything follows, whoever carries it out.

use std::collections::HashMap;
use std::sync::Arc;

use bson::oid::ObjectId;
use sha2::{Digest, Sha256};

use super::Farm;
use super::documents::{log_entry, run_write};
use super::error::{ServiceError, ServiceResult};
use super::run_cache::CachedRun;
use super::saga::Turn;
use crate::domain::action::{Action, Event};
use crate::domain::fold::{Record, run_is_decided};
use crate::domain::ids::{RunId, TaskId, TaskKey, Version, WriteId};
use crate::domain::results::Stats;
use crate::domain::run::{FinishReason, Phase, PurgeDecision, RunOperation, Victim};
use crate::domain::stats::chi2::PurgeRule;
use crate::domain::stats::purge::{PurgeSubject, PurgeTask, plan_purge};
use crate::domain::task::{BadMark, TaskRecord};
use crate::state::{Invalidation, PhaseOutcome, RunView, SetPhase};
use crate::store::{DocumentWrite, TaskWrite};
use crate::sys::{random, spawn};

/// Tasks read, or changed, at a time.
const PAGE: usize = 500;

impl Farm {
    /// All tasks of a run, in order, page by page, through `visit`.
    pub async fn each_task(&self, run: RunId, mut visit: impl FnMut(TaskRecord)) -> ServiceResult<()> {
        let mut from = TaskId(0);
        loop {
            let page = self.store.tasks(run, from, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            from = TaskId(last.key.task.0.saturating_add(1));
            let full = page.len() == PAGE;
            page.into_iter().for_each(&mut visit);
            if !full {
                return Ok(());
            }
        }
    }

    /// Decides on a purge and, if it takes anybody out, makes that durable: the commit point. `view` is the run as it was
    /// before its tasks are looked at: where somebody else has decided meanwhile, that decision counts.
    pub(super) async fn decide_purge(
        &self,
        view: &RunView,
        cached: &CachedRun,
        mut operation: RunOperation,
        rule: PurgeRule,
    ) -> ServiceResult<RunOperation> {
        let run = view.id;
        let mut tasks = Tasks::default();
        let mut results = Stats::default();
        let mut bad_tasks = 0;
        self.each_task(run, |task| {
            results = results.plus(&task.stats).unwrap_or(results);
            bad_tasks += u32::from(task.bad.is_some());
            tasks.add(&task);
        })
        .await?;
        let stored_failed = cached.doc.get_bool("failed").unwrap_or(false);
        let subject = PurgeSubject {
            finished: true,
            failed: stored_failed || operation.reason == FinishReason::WorkerStop,
            start_time: cached.start_time,
            now: operation.time,
        };
        let tasks = tasks.judged();
        let mut decision = PurgeDecision {
            message: String::new(),
            victims: Vec::new(),
            results,
            record: view.record.to_string(),
            revive: false,
        };
        match plan_purge(&subject, &tasks, &rule) {
            Err(refusal) => decision.message = refusal.to_string(),
            Ok(plan) => {
                decision.results = plan.results;
                for (victim, position) in plan.victims.iter().zip(bad_tasks..) {
                    decision.victims.push(Victim {
                        task_id: victim.task.0,
                        position,
                        residual: victim.residual.to_string(),
                        color: victim.color.as_str().to_owned(),
                    });
                }
                let mut record = Record::parse(&view.record)?;
                record.restart(&plan.results, true)?;
                decision.record = record.to_text()?;
                decision.revive = !run_is_decided(&record, plan.results.games(), view.num_games);
            }
        }
        let performed = decision.message.is_empty();
        operation.purge = Some(decision);
        if performed {
            let flip = SetPhase {
                run,
                from: view.phase,
                to: Phase::Purging,
                operation: operation.clone(),
                write_id: random::write_id(),
            };
            let view = match self.state.set_phase(self.generation(), flip).await? {
                PhaseOutcome::Changed(view) => *view,
                PhaseOutcome::Refused(view) => *view,
                PhaseOutcome::NoRun => return Err(ended(run)),
            };
            let decided = view.operation.clone().filter(|there| there.id == operation.id);
            operation = decided.filter(|there| there.purge.is_some()).ok_or_else(|| ended(run))?;
            if view.phase == Phase::Purging {
                let record = Record::parse(&view.record)?;
                let write = run_write(&view, cached, &record);
                self.committer.write_all(vec![DocumentWrite::Run(Box::new(write))]).await?;
            }
        }
        Ok(operation)
    }

    /// Marks the victims. A victim that is marked already is done.
    pub(super) async fn carry_out_purge(&self, run: RunId, operation: &RunOperation) -> ServiceResult<()> {
        let Some(purge) = &operation.purge else { return Ok(()) };
        for victims in purge.victims.chunks(PAGE) {
            let mut writes = Vec::with_capacity(victims.len());
            for victim in victims {
                let key = TaskKey { run, task: TaskId(victim.task_id) };
                let Some(task) = self.store.task(key).await? else { continue };
                if task.bad.is_none() {
                    let record = Arc::new(self.marked(task, victim, operation.id));
                    writes.push(DocumentWrite::Task(TaskWrite { record, actions: Vec::new() }));
                }
            }
            self.committer.write_all(writes).await?;
        }
        Ok(())
    }

    fn marked(&self, mut task: TaskRecord, victim: &Victim, operation: ObjectId) -> TaskRecord {
        task.bad = Some(BadMark {
            position: victim.position,
            stats: task.stats,
            residual: victim.residual.parse().unwrap_or(f64::INFINITY),
            residual_color: victim.color.clone(),
            extra: bson::Document::new(),
        });
        task.stats = Stats::default();
        task.active = false;
        task.spsa_round = None;
        let generation = self.generation();
        // The first version of this generation, or the next one: both are newer than what is stored.
        task.version = if task.generation == generation { task.version.next() } else { Version(1) };
        task.generation = generation;
        // Of two that carry out the same purge, the second repeats the first's write.
        task.write_id = mark_id(operation, victim.task_id);
        task
    }

    /// A person purges a finished run. Returns why nothing was purged, or an empty text.
    pub async fn purge_run(&self, run: RunId, actor: &str) -> ServiceResult<String> {
        let (farm, actor) = (self.handle(), actor.to_owned());
        let farm = farm.ok_or_else(|| ServiceError::Unavailable("the farm is shutting down".to_owned()))?;
        // In a task of its own: a caller who goes away must not leave the run half opened.
        let work = spawn::task("purge", async move { farm.purge_finished(run, &actor).await });
        work.await.map_err(|error| ServiceError::Bug(format!("purging run {run}: {error}")))?
    }

    async fn purge_finished(&self, run: RunId, actor: &str) -> ServiceResult<String> {
        let stored = self.store.run(run).await?;
        let stored = stored.ok_or_else(|| ServiceError::NotFound("No run with this id".to_owned()))?;
        if self.state.read_run(run).await?.is_some() || !stored.doc.get_bool("finished").unwrap_or(false) {
            let cached = CachedRun::new(&stored);
            return self.not_purged(&cached, actor, "Can only purge completed run").await;
        }
        let (_turn, cached) = self.open_finished(run).await?;
        let outcome = self.purge_opened(run, &cached, actor).await;
        if outcome.as_ref().map_or(true, |message| !message.is_empty()) {
            // Once an operation is in the schedule, it is taken up again there.
            if self.state.read_run(run).await?.is_some_and(|view| view.operation.is_none()) {
                self.state.unload_run(self.generation(), run).await?;
            }
            self.tell(Invalidation::Run(run)).await;
        }
        match outcome? {
            message if message.is_empty() => Ok(message),
            message => self.not_purged(&cached, actor, &message).await,
        }
    }

    /// Puts a finished run into the schedule, closed, with the turn to change it.
    pub(super) async fn open_finished(&self, run: RunId) -> ServiceResult<(Turn, Arc<CachedRun>)> {
        let busy = || ServiceError::Unavailable(format!("run {run} is being changed by somebody else"));
        let turn = self.sagas.begin(run).ok_or_else(busy)?;
        let stored = self.store.run(run).await?.ok_or_else(busy)?;
        if !stored.doc.get_bool("finished").unwrap_or(false)
            || !self.load_into(&stored, Phase::Finished).await?
        {
            return Err(busy());
        }
        // From here on nobody else can open it; whoever did before may have changed it since it was read.
        let again = self.store.run(run).await;
        if !matches!(&again, Ok(Some(again)) if again.meta == stored.meta) {
            self.state.unload_run(self.generation(), run).await?;
            return Err(busy());
        }
        Ok((turn, self.runs.put(&stored)))
    }

    async fn purge_opened(&self, run: RunId, cached: &CachedRun, actor: &str) -> ServiceResult<String> {
        let view = self.state.read_run(run).await?;
        let view = view.ok_or_else(|| ended(run))?;
        let now = self.state.now().await?;
        let operation = RunOperation {
            id: random::object_id(),
            reason: FinishReason::Purge,
            actor: actor.to_owned(),
            time: now,
            action_ids: [random::object_id(), random::object_id(), random::object_id(), random::object_id()],
            worker_stop: None,
            purge: None,
        };
        let operation = self.decide_purge(&view, cached, operation, PurgeRule::MANUAL).await?;
        let message = operation.purge.as_ref().map(|purge| purge.message.clone()).unwrap_or_default();
        if message.is_empty() {
            self.close_down(run, operation.id).await?;
        }
        Ok(message)
    }

    async fn not_purged(&self, run: &CachedRun, actor: &str, why: &str) -> ServiceResult<String> {
        let message = format!("Manual purge (not performed): {why}");
        let action = Action::by(actor.to_owned(), Event::PurgeRun { run: run.label.clone(), message });
        self.store.insert_actions(&[log_entry(&action, self.now())]).await?;
        Ok(why.to_owned())
    }
}

fn ended(run: RunId) -> ServiceError {
    ServiceError::Unavailable(format!("somebody else has changed run {run} meanwhile"))
}

/// Identity of the write that marks a victim.
fn mark_id(operation: ObjectId, task: u32) -> WriteId {
    let mut digest = Sha256::new();
    digest.update(operation.bytes());
    digest.update(task.to_le_bytes());
    let digest = digest.finalize();
    WriteId(digest.iter().take(8).fold(0, |id, byte| (id << 8) | u64::from(*byte)))
}

/// What a purge judges of a run's tasks: of hundreds of thousands, whole ones would fill the memory.
#[derive(Default)]
struct Tasks {
    /// Each worker once.
    workers: Vec<String>,
    number_of: HashMap<String, usize>,
    /// Task, number of its worker, results, and whether it is bad.
    tasks: Vec<(TaskId, Option<usize>, Stats, bool)>,
}

impl Tasks {
    fn add(&mut self, task: &TaskRecord) {
        let worker = task.worker.as_ref().map(|worker| match self.number_of.get(&worker.unique_key) {
            Some(number) => *number,
            None => {
                let number = self.workers.len();
                self.workers.push(worker.unique_key.clone());
                self.number_of.insert(worker.unique_key.clone(), number);
                number
            }
        });
        self.tasks.push((task.key.task, worker, task.stats, task.bad.is_some()));
    }

    fn judged(&self) -> Vec<PurgeTask<'_>> {
        let of = |(id, worker, stats, bad): &(TaskId, Option<usize>, Stats, bool)| PurgeTask {
            id: *id,
            unique_key: worker.and_then(|number| self.workers.get(number)).map(String::as_str),
            stats: *stats,
            bad: *bad,
        };
        self.tasks.iter().map(of).collect()
    }
}

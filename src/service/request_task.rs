//! `request_task`: a task for a worker (`spec/scheduling.md` section 3; architecture, section 4).

use std::sync::Arc;

use bson::{Bson, Document, doc};

use super::Farm;
use super::committer::Reservation;
use super::documents::task_long_name;
use super::error::{ServiceError, ServiceResult};
use super::run_cache::CachedRun;
use super::update_task::stored_info;
use crate::domain::action::Action;
use crate::domain::eligibility::{Candidate, Ranking, WorkerFacts, eligible_in_order};
use crate::domain::fold::Record;
use crate::domain::ids::{RunId, TaskId};
use crate::domain::names::blocked_worker_text;
use crate::domain::task::TaskWorker;
use crate::domain::validate::WorkerRequest;
use crate::state::{
    Admission, AdmissionOutcome, AssignOutcome, AssignTask, Claim, DuplicateName, OpenRequest, RankingRow,
    TaskView,
};
use crate::store::codec::{int, stats_document};
use crate::sys::clock::stopwatch;
use crate::sys::random;
use crate::telemetry::catalogue;

/// Runs that fill up, or change, between the judgement and the claim are passed over at most so often.
const TRIES: usize = 8;

/// What the worker is told.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskAnswer {
    /// Nothing to do.
    Nothing,
    /// Try again soon.
    Info(String),
    /// Refused.
    Error(String),
    /// The stripped run, and the number of the new task.
    Assigned(Document, TaskId),
}

/// Where a request came from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Address, as text; the machine limit counts it.
    pub remote_addr: String,
    /// Two capital letters, or `?`.
    pub country: String,
    /// `scheme://host`, for links in texts.
    pub host_url: String,
}

fn too_busy() -> TaskAnswer {
    TaskAnswer::Info("Request_task: the server is currently too busy...".to_owned())
}

fn machine_limit(username: &str) -> TaskAnswer {
    told(
        "machine_limit",
        TaskAnswer::Error(format!("Request_task: Machine limit reached for user {username}")),
    )
}

/// Counts an answer.
fn told(what: &'static str, answer: TaskAnswer) -> TaskAnswer {
    catalogue::TASK_ANSWERS.increment([what]);
    answer
}

/// What an admission says of the semaphore, for metrics.
fn slot_outcome(admitted: &AdmissionOutcome) -> &'static str {
    match admitted {
        AdmissionOutcome::Open(_) => "acquired",
        AdmissionOutcome::Busy => "refused",
        _ => "unneeded",
    }
}

fn no_longer_needed(run: RunId) -> TaskAnswer {
    TaskAnswer::Info(format!(
        "Request_task: alas the run {run} corresponding to the assigned task no longer needs games. Please try again..."
    ))
}

impl Farm {
    /// Finds, claims and describes a task; it is durable before it is described.
    pub async fn request_task(
        &self,
        request: &WorkerRequest,
        machine_limit: u32,
        mut origin: Origin,
    ) -> ServiceResult<TaskAnswer> {
        // A task named in the request lends its address (`spec/worker-api.md` section 6.2).
        if let Some(named) = self.check_named(request).await?
            && let Some(worker) = named.worker
        {
            origin.remote_addr = worker.remote_addr;
        }
        let began = stopwatch();
        let turn = self.request_turns.clone().acquire_owned();
        let turn = tokio::time::timeout(self.settings.request_wait, turn).await;
        catalogue::TASK_WAIT.record([], began.elapsed().as_secs_f64());
        let Ok(Ok(turn)) = turn else { return Ok(told("busy", too_busy())) };
        // Room for the new task and for the stale one.
        let reserved = match self.committer.reserve(2) {
            Ok(reserved) => reserved,
            Err(_) => return Ok(told("busy", too_busy())),
        };
        let attempt =
            Attempt { farm: self, request, machine_limit, origin: &origin, slot: random::identity() };
        let outcome = attempt.claim().await;
        drop(turn);
        match outcome? {
            Claimed::Answer(answer) => Ok(answer),
            Claimed::Task { what, run, claim } => {
                Ok(told(what, self.describe(reserved, &run, &claim).await?))
            }
        }
    }

    async fn describe(
        &self,
        reserved: Reservation,
        run: &CachedRun,
        claim: &Claim,
    ) -> ServiceResult<TaskAnswer> {
        let mut views = vec![&claim.task];
        views.extend(&claim.stale);
        reserved.commit(self.barrier(&views).await?).await?;
        let task = &claim.task.record;
        let stripped = self.stripped_run(run, claim)?;
        tracing::debug!(run = %run.id, task = %task.key.task, games = task.num_games, "task assigned");
        Ok(TaskAnswer::Assigned(stripped, task.key.task))
    }

    /// What a worker gets to know of its run (`spec/worker-api.md` section 6.2).
    fn stripped_run(&self, run: &CachedRun, claim: &Claim) -> ServiceResult<Document> {
        let task = &claim.task.record;
        let mut args = run.args().cloned().unwrap_or_default();
        args.insert("itp", claim.itp);
        Record::parse(&claim.record)?.overlay(&mut args);
        let books = self.books();
        let sri = args
            .get_str("book")
            .ok()
            .and_then(|book| books.get_document(book).ok())
            .and_then(|book| book.get_str("sri").ok());
        if let Some(sri) = sri {
            args.insert("book_sri", sri);
        }
        Ok(doc! {
            "_id": run.id.to_string(),
            "args": args,
            "my_task": {
                "num_games": int(task.num_games),
                "start": int(task.start),
                "stats": Bson::Document(stats_document(&task.stats)),
            },
        })
    }
}

/// What came of an attempt, before anything is durable.
enum Claimed {
    Answer(TaskAnswer),
    Task { what: &'static str, run: Arc<CachedRun>, claim: Box<Claim> },
}

struct Attempt<'a> {
    farm: &'a Farm,
    request: &'a WorkerRequest,
    machine_limit: u32,
    origin: &'a Origin,
    slot: String,
}

impl Attempt<'_> {
    async fn claim(&self) -> ServiceResult<Claimed> {
        let worker = self.worker()?;
        let admission = Admission {
            holder: self.slot.clone(),
            slots: self.farm.settings.request_slots,
            slot_ttl: self.farm.settings.slot_ttl,
            worker: worker.clone(),
            machine_limit: self.machine_limit,
        };
        let admitted = self.farm.state.semaphore_acquire(admission).await?;
        catalogue::SEMAPHORE_REQUESTS.increment([slot_outcome(&admitted)]);
        match admitted {
            AdmissionOutcome::Busy => Ok(Claimed::Answer(told("busy", too_busy()))),
            AdmissionOutcome::Blocked { message } => self.blocked(&worker, &message).await,
            AdmissionOutcome::Duplicate(duplicate) => Ok(self.duplicate(&duplicate)),
            AdmissionOutcome::MachineLimit => Ok(Claimed::Answer(machine_limit(&worker.username))),
            AdmissionOutcome::Repeated(task) => self.repeated(task).await,
            AdmissionOutcome::Open(open) => {
                let _held = catalogue::SEMAPHORE_HELD.hold([]);
                let outcome = self.choose(worker, open).await;
                if !matches!(outcome, Ok(Claimed::Task { .. })) {
                    self.farm.state.semaphore_release(&self.slot).await?;
                }
                outcome
            }
        }
    }

    async fn choose(&self, worker: TaskWorker, open: OpenRequest) -> ServiceResult<Claimed> {
        let facts = self.facts(&open);
        let mut runs = Vec::with_capacity(open.ranking.len());
        for row in &open.ranking {
            if let Some(run) = self.farm.runs.at_least(row.run, row.args_version).await? {
                runs.push((run, row));
            }
        }
        let mut candidates: Vec<Candidate> = runs.iter().map(|(run, row)| candidate(run, row)).collect();
        let mut filter_failures = Vec::new();
        let chosen: Vec<RunId> = eligible_in_order(&mut candidates, &facts, &mut filter_failures)
            .take(TRIES)
            .map(|candidate| candidate.args.run)
            .collect();
        let entries: Vec<Action> = filter_failures.into_iter().map(Action::log_message).collect();
        self.farm.log(&entries).await?;

        let mut filled = None;
        for id in chosen {
            let Some((run, row)) = runs.iter().find(|(run, _)| run.id == id) else { continue };
            let request = AssignTask {
                run: id,
                args_version: row.args_version,
                worker: worker.clone(),
                worker_info: Arc::new(stored_info(self.request, &self.origin.country)),
                machine_limit: self.machine_limit,
                cap: run.task_cap(worker.concurrency),
                slot: self.slot.clone(),
                write_id: random::write_id(),
                stale: (random::write_id(), super::documents::closing_ids()),
            };
            match self.farm.state.assign_task(self.farm.generation(), request).await? {
                AssignOutcome::Claimed(claim) => {
                    return Ok(Claimed::Task { what: "assigned", run: run.clone(), claim });
                }
                AssignOutcome::Repeated(task) => return self.repeated(task).await,
                AssignOutcome::NoGames | AssignOutcome::Stale => filled = Some(id),
                AssignOutcome::Locked => return Ok(Claimed::Answer(told("paused", too_busy()))),
                AssignOutcome::Blocked { message } => return self.blocked(&worker, &message).await,
                AssignOutcome::Duplicate(duplicate) => return Ok(self.duplicate(&duplicate)),
                AssignOutcome::MachineLimit => {
                    return Ok(Claimed::Answer(machine_limit(&worker.username)));
                }
            }
        }
        Ok(Claimed::Answer(match filled {
            Some(run) => told("filled", no_longer_needed(run)),
            None => told("nothing", TaskAnswer::Nothing),
        }))
    }

    async fn repeated(&self, task: Box<TaskView>) -> ServiceResult<Claimed> {
        let id = task.record.key.run;
        let view = self.farm.state.read_run(id).await?;
        let view = view.ok_or_else(|| ServiceError::Unavailable(format!("run {id} is being closed")))?;
        let run = self.farm.runs.at_least(id, view.args_version).await?;
        let run =
            run.ok_or_else(|| ServiceError::Bug(format!("run {id} of an active task is not in the store")))?;
        let claim = Claim { task: *task, stale: None, itp: view.itp, record: view.record };
        Ok(Claimed::Task { what: "repeated", run, claim: Box::new(claim) })
    }

    async fn blocked(&self, worker: &TaskWorker, message: &str) -> ServiceResult<Claimed> {
        self.farm.note_blocked_request(&worker.short_name).await?;
        let text = blocked_worker_text(&self.origin.host_url, &worker.short_name, message);
        Ok(Claimed::Answer(told("blocked", TaskAnswer::Error(text))))
    }

    fn duplicate(&self, duplicate: &DuplicateName) -> Claimed {
        let task = &duplicate.task;
        let theirs =
            task.worker.as_ref().map_or_else(String::new, |worker| task_long_name(worker, &task.worker_info));
        catalogue::TASK_ANSWERS.increment(["duplicate"]);
        Claimed::Answer(TaskAnswer::Error(format!(
            "Request_task: There is already a worker running with name \"{theirs}\" which {} seconds ago sent an update \
             for task {} (my name is \"{}\")",
            duplicate.seconds,
            task.key,
            self.request.worker_info.long_name(),
        )))
    }

    fn worker(&self) -> ServiceResult<TaskWorker> {
        let info = &self.request.worker_info;
        let concurrency = u32::try_from(info.concurrency).map_err(|_| {
            ServiceError::Invalid(format!(
                "request['worker_info']['concurrency'] (value:{}) is too large",
                info.concurrency
            ))
        })?;
        Ok(TaskWorker {
            username: info.username.clone(),
            unique_key: info.unique_key.clone(),
            short_name: info.short_name(),
            concurrency,
            remote_addr: self.origin.remote_addr.clone(),
        })
    }

    fn facts(&self, open: &OpenRequest) -> WorkerFacts {
        let info = &self.request.worker_info;
        WorkerFacts {
            concurrency: u32::try_from(info.concurrency).unwrap_or(u32::MAX),
            min_threads: u32::try_from(info.min_threads).unwrap_or(u32::MAX),
            max_memory: info.max_memory,
            near_github_api_limit: info.near_github_api_limit,
            seen: open.seen.iter().copied().collect(),
            last_run: open.last_run,
            worker_arch: info.worker_arch.clone(),
            compiler: info.compiler.clone(),
        }
    }
}

fn candidate(run: &CachedRun, row: &RankingRow) -> Candidate {
    Candidate {
        args: run.facts.clone(),
        ranking: Ranking {
            finished: false,
            approved: run.approved,
            priority: row.priority,
            num_games: row.num_games,
            committed_games: row.committed_games,
            cores: row.cores,
            itp: row.itp,
        },
    }
}

//! The committer: an answer waits here until its documents are durable (`durability.md` section 2).
//!
//! Room is reserved before a transition, so that a full queue refuses before anything has changed. A batch starts as
//! soon as the previous one has returned: load makes batches, there is no timer, and a store that is slow gets smaller
//! ones ([`BatchSize`]). While the store is away ([`Absence`]) nobody is kept waiting for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::Instrument;

use super::absence::Absence;
use super::batch_size::{BatchSize, LARGEST};
use super::error::{ServiceError, ServiceResult};
use super::membership::Membership;
use crate::state::{DurableAck, SchedulingState};
use crate::store::{DocumentWrite, SharedStore, StoreError, WriteOutcome};
use crate::sys::{clock, spawn};
use crate::telemetry::catalogue;
use crate::telemetry::otlp::TARGET;

/// Documents that may wait or be under way at once.
pub const QUEUE: usize = 4096;

/// How long one batch may take.
const STORE_DEADLINE: Duration = Duration::from_secs(5);

/// How long an answer waits for its documents.
const ANSWER_DEADLINE: Duration = Duration::from_secs(25);

/// What one answer waits for. Its documents stay together, in one batch: a claim isn't told while the closing of the
/// task that it replaces hasn't been confirmed.
struct Job {
    writes: Vec<DocumentWrite>,
    waiter: Waiter,
}

/// Who waits for a job.
struct Waiter {
    /// Documents of the job.
    documents: usize,
    since: Instant,
    /// Whether a worker is answered when they are durable.
    answers: bool,
    done: oneshot::Sender<ServiceResult<()>>,
    _room: Vec<OwnedSemaphorePermit>,
}

impl Waiter {
    /// Whether the worker will hear of it. Who gave up waiting has answered that it isn't durable.
    fn is_told(&self, verdict: &ServiceResult<()>) -> bool {
        verdict.is_ok() && self.answers && !self.done.is_closed()
    }
}

/// Counters of a committer's life, for metrics.
#[derive(Debug, Default)]
pub struct CommitterStats {
    /// Batches written.
    pub batches: AtomicU64,
    /// Documents that became durable by them.
    pub applied: AtomicU64,
    /// Documents that were durable before.
    pub superseded: AtomicU64,
    /// Documents refused because the generation changed or the schedule was rolled back.
    pub fenced: AtomicU64,
    /// Batches that failed.
    pub failed: AtomicU64,
}

/// A handle; clones share the queue.
#[derive(Clone)]
pub struct Committer {
    jobs: mpsc::UnboundedSender<Job>,
    room: Arc<Semaphore>,
    stats: Arc<CommitterStats>,
}

/// Reserved room for some documents.
pub struct Reservation {
    jobs: mpsc::UnboundedSender<Job>,
    room: Vec<OwnedSemaphorePermit>,
}

impl Committer {
    /// Starts the committing task. `membership` says for which schedule, and hears when the store refuses it.
    pub fn start(store: SharedStore, state: Arc<dyn SchedulingState>, membership: Arc<Membership>) -> Self {
        let (jobs, queue) = mpsc::unbounded_channel();
        let stats = Arc::new(CommitterStats::default());
        let room = Arc::new(Semaphore::new(QUEUE));
        let writer = BatchWriter { store, state, membership, stats: stats.clone() };
        spawn::task("committer", run(queue, writer));
        Self { jobs, room, stats }
    }

    /// Reserves room for up to `documents` documents.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] when the queue is full.
    pub fn reserve(&self, documents: usize) -> ServiceResult<Reservation> {
        let mut room = Vec::with_capacity(documents);
        for _ in 0..documents {
            let permit = self.room.clone().try_acquire_owned();
            room.push(permit.map_err(|_| ServiceError::Busy("the committer's queue is full".to_owned()))?);
        }
        Ok(Reservation { jobs: self.jobs.clone(), room })
    }

    /// Writes documents for a background job: waits for room instead of refusing.
    pub async fn write_all(&self, writes: Vec<DocumentWrite>) -> ServiceResult<()> {
        let mut waits = Vec::with_capacity(writes.len());
        for write in writes {
            let permit = self.room.clone().acquire_owned().await;
            let permit = permit.map_err(|_| stopped())?;
            waits.push(submit(&self.jobs, vec![permit], vec![write], false)?);
        }
        for wait in waits {
            wait_for(wait).await?;
        }
        Ok(())
    }

    /// Documents that wait or are under way.
    pub fn queued(&self) -> usize {
        QUEUE.saturating_sub(self.room.available_permits())
    }

    /// Counters since the start.
    pub fn stats(&self) -> &CommitterStats {
        &self.stats
    }
}

impl Reservation {
    /// Hands documents over and waits until all are durable. Room that isn't used is given back.
    ///
    /// # Errors
    /// [`ServiceError::NotDurable`] when the store did not confirm it; [`ServiceError::Outdated`] when this process
    /// works for an old schedule.
    pub async fn commit(mut self, writes: Vec<DocumentWrite>) -> ServiceResult<()> {
        if writes.len() > self.room.len() {
            return Err(ServiceError::Bug("no room was reserved".to_owned()));
        }
        if writes.is_empty() {
            return Ok(());
        }
        self.room.truncate(writes.len());
        let wait = submit(&self.jobs, std::mem::take(&mut self.room), writes, true)?;
        drop(self);
        wait_for(wait).instrument(tracing::trace_span!(target: TARGET, "durable")).await
    }
}

fn submit(
    jobs: &mpsc::UnboundedSender<Job>,
    room: Vec<OwnedSemaphorePermit>,
    writes: Vec<DocumentWrite>,
    answers: bool,
) -> ServiceResult<oneshot::Receiver<ServiceResult<()>>> {
    let (done, wait) = oneshot::channel();
    let waiter = Waiter { documents: writes.len(), since: clock::stopwatch(), answers, done, _room: room };
    jobs.send(Job { writes, waiter }).map_err(|_| stopped())?;
    Ok(wait)
}

async fn wait_for(wait: oneshot::Receiver<ServiceResult<()>>) -> ServiceResult<()> {
    match tokio::time::timeout(ANSWER_DEADLINE, wait).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(stopped()),
        Err(_) => Err(ServiceError::NotDurable("the store did not confirm in time".to_owned())),
    }
}

fn stopped() -> ServiceError {
    ServiceError::Unavailable("the committer has stopped".to_owned())
}

async fn run(mut queue: mpsc::UnboundedReceiver<Job>, writer: BatchWriter) {
    let mut jobs = Vec::with_capacity(LARGEST);
    let mut absence = Absence::default();
    let mut size = BatchSize::default();
    loop {
        let received = tokio::select! {
            biased;
            () = absence.ended() => continue,
            // Few jobs have more than one document, and none more than two: a batch that is slow for it makes the next smaller.
            received = queue.recv_many(&mut jobs, size.limit()) => received,
        };
        if received == 0 {
            return;
        }
        let documents = jobs.iter().map(|job| job.waiter.documents).sum();
        if absence.is_noticed() {
            catalogue::COMMIT_OUTCOMES.add(["store_away"], documents as u64);
            for job in jobs.drain(..) {
                let _ = job.waiter.done.send(Err(ServiceError::NotDurable("the store is away".to_owned())));
            }
        } else {
            let began = clock::stopwatch();
            if writer.write(&mut jobs).await {
                size.confirmed(documents, began.elapsed());
            } else if absence.notice(began.elapsed(), &writer.store) {
                size.late(documents);
            }
            catalogue::COMMIT_BATCH_LIMIT.set([], size.limit() as f64);
        }
    }
}

/// Writes batches and tells those who wait for them.
struct BatchWriter {
    store: SharedStore,
    state: Arc<dyn SchedulingState>,
    membership: Arc<Membership>,
    stats: Arc<CommitterStats>,
}

impl BatchWriter {
    /// Empties `jobs`. False if the store did not confirm them.
    async fn write(&self, jobs: &mut Vec<Job>) -> bool {
        let current = self.membership.generation();
        let mut writes = Vec::with_capacity(jobs.len());
        let mut waiters = Vec::with_capacity(jobs.len());
        for job in jobs.drain(..) {
            writes.extend(job.writes);
            waiters.push(job.waiter);
        }
        let began = clock::stopwatch();
        let result = tokio::time::timeout(STORE_DEADLINE, self.store.commit(current, &writes))
            .instrument(tracing::trace_span!(target: TARGET, "commit", documents = writes.len()))
            .await;
        catalogue::COMMIT_SECONDS.record([], began.elapsed().as_secs_f64());
        catalogue::COMMIT_BATCH.record([], writes.len() as f64);
        let outcomes = match result {
            Ok(Ok(outcomes)) if outcomes.len() == writes.len() => outcomes,
            failure => {
                self.stats.failed.fetch_add(1, Ordering::Relaxed);
                catalogue::COMMIT_OUTCOMES.add(["unknown"], writes.len() as u64);
                let error = batch_error(failure);
                tracing::warn!(documents = writes.len(), %error, "a batch was not confirmed");
                let unconfirmed = matches!(error, ServiceError::NotDurable(_));
                for waiter in waiters {
                    let _ = waiter.done.send(Err(error.clone()));
                }
                return !unconfirmed;
            }
        };
        self.stats.batches.fetch_add(1, Ordering::Relaxed);
        let mut acks = Vec::with_capacity(writes.len());
        let mut verdicts = Vec::with_capacity(waiters.len());
        let mut settled = writes.iter().zip(outcomes);
        for waiter in &waiters {
            let own: Vec<_> = settled.by_ref().take(waiter.documents).collect();
            for (_, outcome) in &own {
                self.membership.refused(current, *outcome);
            }
            // Of all of them, for the metrics, before the first failure is what the waiter hears.
            let each: Vec<_> = own.iter().map(|(_, outcome)| verdict(*outcome, &self.stats)).collect();
            let verdict: ServiceResult<()> = each.into_iter().collect();
            let is_told = waiter.is_told(&verdict);
            acks.extend(own.iter().filter_map(|(write, outcome)| ack(write, *outcome, is_told)));
            verdicts.push(verdict);
        }
        if let Err(error) = self.state.ack_dirty(current, &acks).await {
            tracing::warn!(%error, "what became durable could not be noted");
        }
        for (waiter, verdict) in waiters.into_iter().zip(verdicts) {
            if verdict.is_ok() {
                catalogue::DURABLE_SECONDS.record([], waiter.since.elapsed().as_secs_f64());
            }
            let _ = waiter.done.send(verdict);
        }
        true
    }
}

fn batch_error(
    failure: Result<Result<Vec<WriteOutcome>, StoreError>, tokio::time::error::Elapsed>,
) -> ServiceError {
    match failure {
        Ok(Ok(_)) => ServiceError::Bug("the store answered for another number of documents".to_owned()),
        Ok(Err(error @ (StoreError::Unavailable(_) | StoreError::Unknown(_) | StoreError::Timeout))) => {
            ServiceError::NotDurable(error.to_string())
        }
        Ok(Err(error)) => error.into(),
        Err(_) => ServiceError::NotDurable("the store did not answer in time".to_owned()),
    }
}

fn ack(write: &DocumentWrite, outcome: WriteOutcome, told: bool) -> Option<DurableAck> {
    if !matches!(outcome, WriteOutcome::Applied | WriteOutcome::Superseded) {
        return None;
    }
    Some(match write {
        DocumentWrite::Task(task) => {
            DurableAck::Task { key: task.record.key, version: task.record.version, told }
        }
        DocumentWrite::Run(run) => DurableAck::Run(run.id, run.version, run.position),
    })
}

fn verdict(outcome: WriteOutcome, stats: &CommitterStats) -> ServiceResult<()> {
    catalogue::COMMIT_OUTCOMES.increment([outcome.name()]);
    match outcome {
        WriteOutcome::Applied => {
            stats.applied.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        WriteOutcome::Superseded => {
            stats.superseded.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        WriteOutcome::RolledBack | WriteOutcome::Fenced(_) => {
            stats.fenced.fetch_add(1, Ordering::Relaxed);
            Err(ServiceError::Outdated("this process works for an old schedule".to_owned()))
        }
        WriteOutcome::Refused => {
            Err(ServiceError::Bug("the store does not take the document; its log says why".to_owned()))
        }
        WriteOutcome::Missing => Err(ServiceError::Bug("the run is not in the store".to_owned())),
    }
}

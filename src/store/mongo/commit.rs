//! The committer's batches (`durability.md` section 2).
//!
//! A task's statement says: if you are of my generation and older, become this; and if you aren't there, be made. A
//! document that the condition misses is there all the same, so the insertion breaks the uniqueness of its key: that
//! is how a refusal is told from a success. A run is there already or must not be made; which of them were refused is
//! read back when some were.
//!
//! Whatever isn't a plain match is *doubtful*: an insertion may have slipped behind a rebuild that has listed the
//! tasks already. For those the fence is read once more afterwards; if it has moved, they are not acknowledged, and
//! the rebuild either saw them or fills their place.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use bson::{Bson, Document, doc};

use super::bulk::{Outcome, statement};
use super::entries::Logged;
use super::layout::{self, META, bits};
use super::watch::Call;
use super::{MongoStore, collection};
use crate::domain::ids::{Generation, WriteId};
use crate::store::codec::phase_name;
use crate::store::stamp::{Stamp, Verdict, judge};
use crate::store::{CommitStore, DocumentWrite, RunWrite, StoreError, StoreResult, TaskWrite, WriteOutcome};
use crate::sys::clock::stopwatch;
use crate::telemetry::catalogue;

/// Between two tries of a batch, at first and at most.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What a statement demands of the document that is there.
#[derive(Debug, Clone, Copy)]
enum Demand {
    /// Of the batch's generation, and older than the write.
    Older,
    /// Exactly this: what was read of an earlier generation.
    Exactly(Stamp),
}

/// One document of a batch on its way.
struct Entry<'a> {
    id: Bson,
    collection: &'static str,
    stamp: Stamp,
    update: Document,
    actions: &'a [Document],
    demand: Demand,
    doubtful: bool,
    outcome: Option<WriteOutcome>,
}

impl<'a> Entry<'a> {
    fn of(generation: Generation, write: &'a DocumentWrite) -> StoreResult<Self> {
        match write {
            DocumentWrite::Task(task) => Self::task(generation, task),
            DocumentWrite::Run(run) => Self::run(generation, run),
        }
    }

    fn task(generation: Generation, write: &'a TaskWrite) -> StoreResult<Self> {
        let record = &write.record;
        let stamp =
            Stamp { generation: record.generation, version: record.version, write_id: record.write_id };
        let mut update = doc! {
            "$set": layout::task_fields(record)?,
            "$setOnInsert": layout::task_key_fields(record.key),
        };
        if record.bad.is_none() {
            update.insert("$unset", doc! { "bad_position": "" });
        }
        push_actions(&mut update, "acts", &write.actions);
        // Made under another generation than its sender believes in.
        let outcome =
            (stamp.generation != generation).then(|| WriteOutcome::Fenced(generation.max(stamp.generation)));
        Ok(Self {
            id: layout::task_id(record.key).into(),
            collection: collection::TASKS,
            stamp,
            update,
            actions: &write.actions,
            demand: Demand::Older,
            doubtful: false,
            outcome,
        })
    }

    fn run(generation: Generation, write: &'a RunWrite) -> StoreResult<Self> {
        let stamp = Stamp { generation, version: write.version, write_id: write.write_id };
        let mut set: Document = write.set.iter().cloned().collect();
        let mut meta = |key: &str, value: Bson| set.insert(format!("{META}.{key}"), value);
        meta("g", bits(generation.0));
        meta("sv", bits(write.version.0));
        meta("w", bits(write.write_id.0));
        meta("phase", phase_name(write.phase).into());
        meta("position", bits(write.position));
        meta("folded", layout::folded(&write.folded).into());
        if let Some(operation) = &write.operation {
            meta("operation", layout::operation_document(operation)?);
        }
        let mut update = doc! { "$set": set };
        if write.operation.is_none() {
            update.insert("$unset", doc! { format!("{META}.operation"): "" });
        }
        push_actions(&mut update, &format!("{META}.acts"), &write.actions);
        Ok(Self {
            id: write.id.0.into(),
            collection: collection::RUNS,
            stamp,
            update,
            actions: &write.actions,
            demand: Demand::Older,
            doubtful: false,
            outcome: None,
        })
    }

    fn is_task(&self) -> bool {
        self.collection == collection::TASKS
    }

    fn statement(&self) -> Document {
        let (prefix, version) =
            if self.is_task() { (String::new(), "v") } else { (format!("{META}."), "sv") };
        let mut filter = doc! { "_id": self.id.clone() };
        match self.demand {
            Demand::Older => {
                filter.insert(format!("{prefix}g"), bits(self.stamp.generation.0));
                filter.insert(format!("{prefix}{version}"), doc! { "$lt": bits(self.stamp.version.0) });
            }
            Demand::Exactly(stored) => {
                filter.insert(format!("{prefix}g"), bits(stored.generation.0));
                filter.insert(format!("{prefix}{version}"), bits(stored.version.0));
                filter.insert(format!("{prefix}w"), bits(stored.write_id.0));
            }
        }
        statement(filter, self.update.clone(), self.is_task())
    }

    /// Judges the write by what is stored now.
    fn judge(&mut self, stored: Option<Stamp>) {
        self.doubtful = true;
        match judge(stored, self.stamp) {
            Verdict::Settled(outcome) => self.outcome = Some(outcome),
            Verdict::Write => {
                self.demand = match stored {
                    Some(stored) if stored.generation < self.stamp.generation => Demand::Exactly(stored),
                    // Not yet of a majority when it was read, or gone.
                    _ => Demand::Older,
                };
            }
        }
    }

    fn is_durable(&self) -> bool {
        matches!(self.outcome, Some(WriteOutcome::Applied | WriteOutcome::Superseded))
    }

    fn refuse(&mut self, reason: &str) {
        tracing::error!(id = %self.id, collection = self.collection, reason, "MongoDB does not take a document");
        self.outcome = Some(WriteOutcome::Refused);
    }
}

/// Adds log entries to the update of the document that causes them.
fn push_actions(update: &mut Document, path: &str, actions: &[Document]) {
    if !actions.is_empty() {
        update.insert("$push", doc! { path: { "$each": actions.to_vec() } });
    }
}

/// The positions of the entries of a collection that have no outcome yet.
fn open(entries: &[Entry<'_>], collection: &str) -> Vec<usize> {
    let still = |entry: &Entry<'_>| entry.outcome.is_none() && entry.collection == collection;
    entries.iter().enumerate().filter(|(_, entry)| still(entry)).map(|(index, _)| index).collect()
}

impl MongoStore {
    /// One try: true when everything is settled. After an error, or false, the same again is safe.
    async fn attempt(&self, generation: Generation, entries: &mut [Entry<'_>]) -> StoreResult<bool> {
        if entries.iter().any(|entry| entry.outcome.is_none()) {
            let fence = self.recent_fence(generation).await?;
            if fence != generation {
                for entry in entries.iter_mut().filter(|entry| !entry.is_durable()) {
                    entry.outcome = Some(WriteOutcome::Fenced(fence));
                }
            }
            // Tasks first: a record is never ahead of them.
            self.write_tasks(entries).await?;
            self.write_runs(entries).await?;
            if entries.iter().any(|entry| entry.outcome.is_none()) {
                return Ok(false);
            }
        }
        if entries.iter().any(|entry| entry.doubtful && entry.is_durable()) {
            let fence = self.read_fence().await?;
            for entry in entries.iter_mut().filter(|entry| entry.doubtful && entry.is_durable()) {
                if fence != generation {
                    entry.outcome = Some(WriteOutcome::Fenced(fence));
                }
                entry.doubtful = fence != generation;
            }
        }
        self.log_causes(entries).await?;
        Ok(true)
    }

    async fn write_tasks(&self, entries: &mut [Entry<'_>]) -> StoreResult<()> {
        // Twice at once: two insertions of one key may have met.
        for again in [false, true] {
            let open = open(entries, collection::TASKS);
            if open.is_empty() {
                return Ok(());
            }
            if again {
                catalogue::MONGODB_RESENT.add([], open.len() as u64);
            }
            let statements = open.iter().filter_map(|index| entries.get(*index)).map(Entry::statement);
            let answer = self.update_many(collection::TASKS, statements.collect()).await?;
            for (index, outcome) in open.into_iter().zip(answer.outcomes) {
                let Some(entry) = entries.get_mut(index) else { continue };
                match outcome {
                    Outcome::Done => {
                        entry.doubtful |= matches!(entry.demand, Demand::Exactly(_));
                        entry.outcome = Some(WriteOutcome::Applied);
                    }
                    Outcome::Inserted => {
                        entry.doubtful = true;
                        entry.outcome = Some(WriteOutcome::Applied);
                    }
                    Outcome::Duplicate => {}
                    Outcome::Refused(reason) => entry.refuse(&reason),
                }
            }
        }
        let open = open(entries, collection::TASKS);
        let stored = self.stamps(collection::TASKS, entries, &open, layout::task_stamp).await?;
        for index in open {
            let Some(entry) = entries.get_mut(index) else { continue };
            let stamp = stored.get(&entry.id.to_string()).copied();
            entry.judge(stamp);
        }
        Ok(())
    }

    async fn write_runs(&self, entries: &mut [Entry<'_>]) -> StoreResult<()> {
        let open = open(entries, collection::RUNS);
        if open.is_empty() {
            return Ok(());
        }
        let statements: Vec<_> =
            open.iter().filter_map(|index| entries.get(*index)).map(Entry::statement).collect();
        let count = statements.len() as u64;
        let answer = self.update_many(collection::RUNS, statements).await?;
        let mut pending = Vec::new();
        for (index, outcome) in open.into_iter().zip(answer.outcomes) {
            let Some(entry) = entries.get_mut(index) else { continue };
            match outcome {
                Outcome::Refused(reason) => entry.refuse(&reason),
                Outcome::Done if answer.matched == count => {
                    entry.doubtful |= matches!(entry.demand, Demand::Exactly(_));
                    entry.outcome = Some(WriteOutcome::Applied);
                }
                _ => pending.push(index),
            }
        }
        // Some conditions missed; which ones, the documents say.
        let stored = self.stamps(collection::RUNS, entries, &pending, layout::run_stamp).await?;
        let mut applied: HashSet<(String, WriteId)> = HashSet::new();
        for index in pending {
            let Some(entry) = entries.get_mut(index) else { continue };
            let id = entry.id.to_string();
            match stored.get(&id).copied() {
                None => entry.outcome = Some(WriteOutcome::Missing),
                // Ours, now or by an earlier try; of two equal ones in a batch the second is a repetition.
                Some(stamp) if stamp == entry.stamp && applied.insert((id, stamp.write_id)) => {
                    entry.doubtful = true;
                    entry.outcome = Some(WriteOutcome::Applied);
                }
                stamp => entry.judge(stamp),
            }
        }
        Ok(())
    }

    /// The stamps of what is stored, by `_id` as text.
    async fn stamps(
        &self,
        collection: &str,
        entries: &[Entry<'_>],
        which: &[usize],
        stamp: fn(&Document) -> Stamp,
    ) -> StoreResult<HashMap<String, Stamp>> {
        if which.is_empty() {
            return Ok(HashMap::new());
        }
        catalogue::MONGODB_READ_BACK.add([], which.len() as u64);
        let ids: Vec<Bson> =
            which.iter().filter_map(|index| entries.get(*index)).map(|entry| entry.id.clone()).collect();
        let target = self.collection(collection);
        let find = target
            .find(doc! { "_id": { "$in": ids } })
            .projection(doc! { "g": 1, "v": 1, "w": 1, META: 1 })
            .max_time(self.deadline);
        let cursor = self.read(Call::Find, find.into_future()).await?;
        let found = self
            .drain(cursor, |doc| {
                let id = doc.get("_id").map(ToString::to_string).unwrap_or_default();
                Ok((id, stamp(&doc)))
            })
            .await?;
        Ok(found.into_iter().collect())
    }

    /// Moves the log entries of what is durable to the log.
    async fn log_causes(&self, entries: &[Entry<'_>]) -> StoreResult<()> {
        // Entries of what was durable before, too: the version that superseded this one may not carry them.
        let logged: Vec<_> = entries
            .iter()
            .filter(|entry| entry.is_durable() && !entry.actions.is_empty())
            .map(|entry| Logged {
                collection: entry.collection,
                id: entry.id.clone(),
                actions: entry.actions.to_vec(),
            })
            .collect();
        self.log_and_clear(logged).await
    }
}

fn is_unknown(error: &StoreError) -> bool {
    matches!(error, StoreError::Unknown(_))
}

#[async_trait]
impl CommitStore for MongoStore {
    async fn fence(&self) -> StoreResult<Generation> {
        self.read_fence().await
    }

    async fn raise_fence(&self, from: Generation) -> StoreResult<Option<Generation>> {
        self.raise(from).await
    }

    async fn seal(&self, generation: Generation) -> StoreResult<u64> {
        self.seal_older(generation).await
    }

    async fn vantage(&self) -> StoreResult<String> {
        self.primary_in_its_term().await
    }

    async fn commit(
        &self,
        generation: Generation,
        batch: &[DocumentWrite],
    ) -> StoreResult<Vec<WriteOutcome>> {
        let mut entries =
            batch.iter().map(|write| Entry::of(generation, write)).collect::<StoreResult<Vec<_>>>()?;
        let began = stopwatch();
        let mut pause = PAUSE;
        // Once a try may have been carried out, no later one that never left makes that undone.
        let mut doubt = None;
        loop {
            let left = self.deadline.saturating_sub(began.elapsed());
            let attempt = self.attempt(generation, &mut entries);
            let error = match tokio::time::timeout(left, attempt).await {
                Ok(Ok(true)) => break,
                Ok(Ok(false)) => None,
                Ok(Err(error @ (StoreError::Unknown(_) | StoreError::Unavailable(_)))) => Some(error),
                Ok(Err(StoreError::Timeout)) => None,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(StoreError::Unknown("MongoDB does not answer in time".to_owned())),
            };
            if began.elapsed() + pause >= self.deadline {
                let late = || StoreError::Unknown("the batch is not settled in time".to_owned());
                let has_written = entries.iter().any(Entry::is_durable);
                let error = doubt.or(error).filter(|error| !has_written || is_unknown(error));
                return Err(error.unwrap_or_else(late));
            }
            if let Some(error) = error {
                tracing::debug!(%error, documents = entries.len(), "sending a batch again");
                catalogue::MONGODB_REPEATED.increment([]);
                for entry in entries.iter_mut().filter(|entry| entry.outcome.is_none()) {
                    entry.doubtful = true;
                }
                doubt = doubt.or(Some(error).filter(is_unknown));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        // Without an outcome nothing is settled, so there is none left without.
        Ok(entries.iter().map(|entry| entry.outcome.unwrap_or(WriteOutcome::Refused)).collect())
    }
}

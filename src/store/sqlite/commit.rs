//! The committer's batches, and the fence (`durability.md` sections 1 and 2).

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::actions::{self, EncodedAction};
use super::failure::Work;
use super::rows::{bits, from_bits};
use super::tasks::EncodedTask;
use super::{SqliteStore, runs, tasks};
use crate::domain::ids::Generation;
use crate::store::codec::set_path;
use crate::store::stamp::{Stamp, Verdict, judge};
use crate::store::{CommitStore, DocumentWrite, RunWrite, StoreResult, WriteOutcome};

/// A document of a batch, encoded.
enum Encoded {
    Task(EncodedTask, Vec<EncodedAction>),
    Run(Box<RunWrite>, Vec<EncodedAction>),
}

impl Encoded {
    fn of(write: &DocumentWrite) -> StoreResult<Self> {
        Ok(match write {
            DocumentWrite::Task(task) => {
                Self::Task(EncodedTask::of(&task.record)?, actions::encode_all(&task.actions)?)
            }
            DocumentWrite::Run(run) => Self::Run(run.clone(), actions::encode_all(&run.actions)?),
        })
    }
}

fn commit(connection: &Connection, generation: Generation, batch: &[Encoded]) -> Work<Vec<WriteOutcome>> {
    let fence = fence(connection)?;
    if fence != generation {
        return Ok(vec![WriteOutcome::Fenced(fence); batch.len()]);
    }
    let mut outcomes = Vec::with_capacity(batch.len());
    for write in batch {
        let (outcome, log) = match write {
            Encoded::Task(task, log) => (commit_task(connection, generation, task)?, log),
            Encoded::Run(run, log) => (commit_run(connection, generation, run)?, log),
        };
        // Entries of what was durable before, too: the version that superseded this one doesn't carry them.
        if matches!(outcome, WriteOutcome::Applied | WriteOutcome::Superseded) {
            actions::insert(connection, log)?;
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn commit_task(connection: &Connection, generation: Generation, task: &EncodedTask) -> Work<WriteOutcome> {
    if task.stamp.generation != generation {
        // Made under another generation than its sender believes in.
        return Ok(WriteOutcome::Fenced(generation.max(task.stamp.generation)));
    }
    match judge(tasks::stamp(connection, task.key)?, task.stamp) {
        Verdict::Settled(outcome) => Ok(outcome),
        Verdict::Write => {
            task.put(connection)?;
            Ok(WriteOutcome::Applied)
        }
    }
}

fn commit_run(connection: &Connection, generation: Generation, write: &RunWrite) -> Work<WriteOutcome> {
    let Some(mut run) = runs::get(connection, write.id)? else { return Ok(WriteOutcome::Missing) };
    let stored =
        Stamp { generation: run.meta.generation, version: run.meta.version, write_id: run.meta.write_id };
    let new = Stamp { generation, version: write.version, write_id: write.write_id };
    if let Verdict::Settled(outcome) = judge(Some(stored), new) {
        return Ok(outcome);
    }
    for (path, value) in &write.set {
        set_path(&mut run.doc, path, value.clone());
    }
    run.meta.generation = generation;
    run.meta.version = write.version;
    run.meta.write_id = write.write_id;
    run.meta.phase = write.phase;
    run.meta.operation = write.operation.clone();
    run.meta.position = write.position;
    run.meta.folded = write.folded;
    runs::put(connection, &run, false)?;
    Ok(WriteOutcome::Applied)
}

fn fence(connection: &Connection) -> Work<Generation> {
    let mut statement = connection.prepare_cached("SELECT generation FROM fence WHERE one = 1")?;
    let generation: i64 = statement.query_row([], |row| row.get(0))?;
    Ok(Generation(from_bits(generation)))
}

#[async_trait]
impl CommitStore for SqliteStore {
    async fn fence(&self) -> StoreResult<Generation> {
        self.read(fence).await
    }

    async fn raise_fence(&self, from: Generation) -> StoreResult<Option<Generation>> {
        let Some(next) = from.0.checked_add(1) else { return Ok(None) };
        self.write(move |transaction| {
            let raised = transaction.execute(
                "UPDATE fence SET generation = ?2 WHERE one = 1 AND generation = ?1",
                params![bits(from.0), bits(next)],
            )?;
            Ok((raised == 1).then_some(Generation(next)))
        })
        .await
    }

    async fn seal(&self, generation: Generation) -> StoreResult<u64> {
        self.write(move |transaction| {
            // A generation that isn't the fence's any more has nothing to seal.
            let mut sealed = 0;
            for sql in [
                "UPDATE tasks SET g = ?1 WHERE active = 1 AND g < ?1
                     AND (SELECT generation FROM fence WHERE one = 1) = ?1",
                "UPDATE runs SET g = ?1 WHERE finished = 0 AND g < ?1
                     AND (SELECT generation FROM fence WHERE one = 1) = ?1",
            ] {
                sealed += transaction.execute(sql, params![bits(generation.0)])?;
            }
            Ok(u64::try_from(sealed).unwrap_or(u64::MAX))
        })
        .await
    }

    async fn commit(
        &self,
        generation: Generation,
        batch: &[DocumentWrite],
    ) -> StoreResult<Vec<WriteOutcome>> {
        let encoded = batch.iter().map(Encoded::of).collect::<StoreResult<Vec<_>>>()?;
        self.write(move |transaction| commit(transaction, generation, &encoded)).await
    }
}

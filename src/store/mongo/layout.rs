//! Between records and MongoDB's documents.
//!
//! A **run** has fishtest's fields (`spec/storage.md` section 3) at the top, where people look for them, and Shoal's
//! under [`META`]. A **task** is a document of its own: its key and versions at the top, fishtest's part under
//! [`TASK`], so that one `$set` replaces that part whole whatever its fields are called, and fields beside it survive.
//! 64-bit counts are stored as their bit patterns.

use bson::{Bson, Document, doc};

use crate::domain::ids::{Generation, RunId, TaskId, TaskKey, Version, WriteId};
use crate::domain::task::TaskRecord;
use crate::store::codec::{self, int};
use crate::store::stamp::Stamp;
use crate::store::{RunMeta, StoreError, StoreResult, StoredRun};

/// Key of Shoal's part of a run's document.
pub(super) const META: &str = "shoal_meta";

/// Key of fishtest's part of a task's document.
pub(super) const TASK: &str = "task";

/// A 64-bit count or identity as its bit pattern.
pub(super) fn bits(value: u64) -> Bson {
    Bson::Int64(value as i64)
}

/// The inverse of [`bits`]; whatever is missing is 0.
pub(super) fn from_bits(doc: &Document, key: &str) -> u64 {
    match doc.get(key) {
        Some(Bson::Int64(value)) => *value as u64,
        Some(Bson::Int32(value)) => i64::from(*value) as u64,
        _ => 0,
    }
}

/// A task's `_id`: its run in hex and its number with leading zeros, so that the order of texts is that of tasks.
pub(super) fn task_id(key: TaskKey) -> String {
    format!("{}-{:010}", key.run, key.task.0)
}

/// The first `_id` that is not of the run any more: `.` follows `-`.
pub(super) fn tasks_end(run: RunId) -> String {
    format!("{run}.")
}

/// The place in the order of writes that a task's document has.
pub(super) fn task_stamp(doc: &Document) -> Stamp {
    Stamp {
        generation: Generation(from_bits(doc, "g")),
        version: Version(from_bits(doc, "v")),
        write_id: WriteId(from_bits(doc, "w")),
    }
}

/// The place in the order of writes that a run's document has.
pub(super) fn run_stamp(doc: &Document) -> Stamp {
    let empty = Document::new();
    let meta = doc.get_document(META).unwrap_or(&empty);
    Stamp {
        generation: Generation(from_bits(meta, "g")),
        version: Version(from_bits(meta, "sv")),
        write_id: WriteId(from_bits(meta, "w")),
    }
}

/// The fields of a task's document that its record owns.
pub(super) fn task_fields(record: &TaskRecord) -> StoreResult<Document> {
    let mut fields = doc! {
        "g": bits(record.generation.0),
        "v": bits(record.version.0),
        "w": bits(record.write_id.0),
        "active": record.active,
        TASK: codec::task_document(record)?,
    };
    if let Some(mark) = &record.bad {
        fields.insert("bad_position", int(u64::from(mark.position)));
    }
    Ok(fields)
}

/// A task's whole document, for one that isn't there yet.
pub(super) fn new_task(record: &TaskRecord) -> StoreResult<Document> {
    let mut doc = doc! { "_id": task_id(record.key) };
    doc.extend(task_key_fields(record.key));
    doc.extend(task_fields(record)?);
    Ok(doc)
}

/// The key in a form for people and for indexes.
pub(super) fn task_key_fields(key: TaskKey) -> Document {
    doc! { "run_id": key.run.0, "task_id": int(u64::from(key.task.0)) }
}

/// The key of a task's document.
pub(super) fn task_key(doc: &Document) -> StoreResult<TaskKey> {
    let damaged = || StoreError::Damaged(format!("task {:?}: its key is not understood", doc.get("_id")));
    let run = doc.get_object_id("run_id").map_err(|_| damaged())?;
    let number = codec::as_count(doc.get("task_id")).and_then(|number| u32::try_from(number).ok());
    Ok(TaskKey { run: RunId(run), task: TaskId(number.ok_or_else(damaged)?) })
}

/// A task from its document.
pub(super) fn read_task(mut doc: Document) -> StoreResult<TaskRecord> {
    let (key, stamp) = (task_key(&doc)?, task_stamp(&doc));
    let Some(Bson::Document(part)) = doc.remove(TASK) else {
        return Err(StoreError::Damaged(format!("task {key}: it has no `{TASK}`")));
    };
    codec::read_task(key, stamp.generation, stamp.version, stamp.write_id, part)
}

/// A run's whole document, for one that isn't there yet.
pub(super) fn new_run(run: &StoredRun, actions: &[Document]) -> StoreResult<Document> {
    let meta = &run.meta;
    let mut own = doc! {
        "av": bits(meta.args_version),
        "g": bits(meta.generation.0),
        "sv": bits(meta.version.0),
        "w": bits(meta.write_id.0),
        "phase": codec::phase_name(meta.phase),
        "position": bits(meta.position),
        "folded": folded(&meta.folded),
    };
    if let Some(operation) = &meta.operation {
        own.insert("operation", operation_document(operation)?);
    }
    if !actions.is_empty() {
        own.insert("acts", actions.to_vec());
    }
    let mut doc = doc! { "_id": run.id.0 };
    // The run's own order of fields, its `_id` included, is part of what readers see.
    doc.extend(run.doc.clone());
    doc.insert("_id", run.id.0);
    doc.insert(META, own);
    Ok(doc)
}

/// A run from its document.
pub(super) fn read_run(mut doc: Document) -> StoreResult<StoredRun> {
    let id = doc.get_object_id("_id").map(RunId).map_err(|_| {
        StoreError::Damaged(format!("run {:?}: its identity is not understood", doc.get("_id")))
    })?;
    let stamp = run_stamp(&doc);
    let Some(Bson::Document(own)) = doc.remove(META) else {
        return Err(StoreError::Damaged(format!("run {id}: it has no `{META}`")));
    };
    let damaged = |what: &str| StoreError::Damaged(format!("run {id}: {what} is not understood"));
    let phase = own.get_str("phase").ok().and_then(codec::phase_named).ok_or_else(|| damaged("phase"))?;
    let operation = match own.get("operation") {
        None | Some(Bson::Null) => None,
        Some(stored) => Some(bson::deserialize_from_bson(stored.clone()).map_err(|_| damaged("operation"))?),
    };
    let mut counts = [0; 8];
    let stored = own.get_array("folded").map_err(|_| damaged("folded"))?;
    for (slot, value) in counts.iter_mut().zip(stored) {
        *slot = value.as_i64().ok_or_else(|| damaged("folded"))?;
    }
    let meta = RunMeta {
        args_version: from_bits(&own, "av"),
        generation: stamp.generation,
        version: stamp.version,
        write_id: stamp.write_id,
        phase,
        operation,
        position: from_bits(&own, "position"),
        folded: counts,
    };
    Ok(StoredRun { id, doc, meta })
}

/// Counts as the document keeps them.
pub(super) fn folded(counts: &[i64; 8]) -> Vec<Bson> {
    counts.iter().map(|count| Bson::Int64(*count)).collect()
}

/// An operation as the document keeps it.
pub(super) fn operation_document(operation: &crate::domain::run::RunOperation) -> StoreResult<Bson> {
    bson::serialize_to_bson(operation).map_err(|error| StoreError::Damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_task_ids_is_that_of_numbers_within_their_run() {
        let run = RunId::parse("6740a2c47f2b1e5d3c9a1f10").unwrap();
        let id = |task| task_id(TaskKey { run, task: TaskId(task) });
        let mut ids: Vec<_> = [0, 9, 10, 1_000_000_000, u32::MAX].into_iter().map(id).collect();
        ids.push(tasks_end(run));
        assert!(ids.is_sorted(), "{ids:?}");
    }
}

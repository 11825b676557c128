//! Runs, without their tasks.

use async_trait::async_trait;
use bson::Document;
use rusqlite::{Connection, Row, named_params, params};

use super::actions::{self, EncodedAction};
use super::failure::{Failure, Work};
use super::rows::{bits, decode, encode, from_bits, object_id, plain};
use super::{SqliteStore, tasks};
use crate::domain::ids::{Generation, RunId, TaskId, TaskKey, Version, WriteId};
use crate::domain::task::TaskRecord;
use crate::store::codec::{as_date, as_number, phase_name, phase_named, set_path};
use crate::store::{
    FinishedQuery, PatchOutcome, RunMeta, RunPatch, RunStore, StoreError, StoreResult, StoredRun,
};

const COLUMNS: &str = "id, av, g, sv, w, phase, operation, position, folded, doc";

/// What the indexes over runs need of a document.
pub(super) struct Listing {
    finished: bool,
    deleted: bool,
    green: bool,
    yellow: bool,
    username: Option<String>,
    last_updated: Option<i64>,
    tc_base: Option<f64>,
}

impl Listing {
    fn of(doc: &Document) -> Self {
        let flag = |key: &str| doc.get_bool(key).unwrap_or(false);
        let username = doc.get_document("args").and_then(|args| args.get_str("username"));
        Self {
            finished: flag("finished"),
            deleted: flag("deleted"),
            green: flag("is_green"),
            yellow: flag("is_yellow"),
            username: username.ok().map(str::to_owned),
            last_updated: as_date(doc.get("last_updated")).map(|at| at.0),
            tc_base: as_number(doc.get("tc_base")),
        }
    }
}

/// Inserts a run, or replaces everything about it.
pub(super) fn put(connection: &Connection, run: &StoredRun, insert: bool) -> Work<()> {
    let sql = if insert {
        "INSERT INTO runs (id, av, g, sv, w, phase, operation, position, folded, finished, deleted, is_green,
             is_yellow, username, last_updated, tc_base, doc)
         VALUES (:id, :av, :g, :sv, :w, :phase, :operation, :position, :folded, :finished, :deleted, :green,
             :yellow, :username, :last_updated, :tc_base, :doc)"
    } else {
        "UPDATE runs SET av = :av, g = :g, sv = :sv, w = :w, phase = :phase, operation = :operation,
             position = :position, folded = :folded, finished = :finished, deleted = :deleted, is_green = :green,
             is_yellow = :yellow, username = :username, last_updated = :last_updated, tc_base = :tc_base, doc = :doc
         WHERE id = :id"
    };
    let listing = Listing::of(&run.doc);
    let meta = &run.meta;
    let operation = meta.operation.as_ref().map(to_json).transpose()?;
    connection.prepare_cached(sql)?.execute(named_params! {
        ":id": run.id.0.bytes(),
        ":av": bits(meta.args_version),
        ":g": bits(meta.generation.0),
        ":sv": bits(meta.version.0),
        ":w": bits(meta.write_id.0),
        ":phase": phase_name(meta.phase),
        ":operation": operation,
        ":position": bits(meta.position),
        ":folded": to_json(&meta.folded)?,
        ":finished": listing.finished,
        ":deleted": listing.deleted,
        ":green": listing.green,
        ":yellow": listing.yellow,
        ":username": listing.username,
        ":last_updated": listing.last_updated,
        ":tc_base": listing.tc_base,
        ":doc": encode(&run.doc)?,
    })?;
    Ok(())
}

/// A run by its identity.
pub(super) fn get(connection: &Connection, id: RunId) -> Work<Option<StoredRun>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE id = ?1"))?;
    let mut rows = statement.query(params![id.0.bytes()])?;
    rows.next()?.map(read).transpose()
}

pub(super) fn read(row: &Row<'_>) -> Work<StoredRun> {
    let id = RunId(object_id(row, "id")?);
    let bytes = row.get_ref("doc")?.as_blob().map_err(rusqlite::Error::from)?;
    let doc = decode(bytes, || format!("run {id}"))?;
    let unsigned = |column: &str| row.get::<_, i64>(column).map(from_bits);
    let phase: String = row.get("phase")?;
    let operation: Option<String> = row.get("operation")?;
    let folded: String = row.get("folded")?;
    let meta = RunMeta {
        args_version: unsigned("av")?,
        generation: Generation(unsigned("g")?),
        version: Version(unsigned("sv")?),
        write_id: WriteId(unsigned("w")?),
        phase: phase_named(&phase)
            .ok_or_else(|| StoreError::Damaged(format!("run {id}: phase {phase:?}")))?,
        operation: operation.map(|text| from_json(&text, id)).transpose()?,
        position: unsigned("position")?,
        folded: from_json(&folded, id)?,
    };
    Ok(StoredRun { id, doc, meta })
}

fn to_json<T: serde::Serialize>(value: &T) -> StoreResult<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str, id: RunId) -> StoreResult<T> {
    serde_json::from_str(text).map_err(|error| StoreError::Damaged(format!("run {id}: {error}")))
}

fn finished(connection: &Connection, query: &FinishedQuery) -> Work<Vec<StoredRun>> {
    // Conditions are spelt as in the partial indexes, so that one of those answers (`spec/storage.md` section 12).
    let mut sql = format!("SELECT {COLUMNS} FROM runs WHERE finished = 1 AND deleted = 0");
    if query.green {
        sql.push_str(" AND is_green = 1");
    }
    if query.yellow {
        sql.push_str(" AND is_yellow = 1");
    }
    if query.ltc {
        sql.push_str(" AND tc_base >= 40.0");
    }
    if query.username.is_some() {
        sql.push_str(" AND username = :username");
    }
    if query.since.is_some() {
        sql.push_str(" AND last_updated >= :since");
    }
    sql.push_str(" ORDER BY last_updated DESC, id LIMIT :limit OFFSET :skip");
    let (limit, skip) = (plain(query.limit), plain(query.skip));
    let since = query.since.map(|at| at.0);
    let mut values: Vec<(&str, &dyn rusqlite::ToSql)> = vec![(":limit", &limit), (":skip", &skip)];
    if query.username.is_some() {
        values.push((":username", &query.username));
    }
    if since.is_some() {
        values.push((":since", &since));
    }
    let mut statement = connection.prepare_cached(&sql)?;
    collect(statement.query(values.as_slice())?)
}

fn collect(mut rows: rusqlite::Rows<'_>) -> Work<Vec<StoredRun>> {
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        runs.push(read(row)?);
    }
    Ok(runs)
}

fn patch(
    connection: &Connection,
    id: RunId,
    expected: u64,
    set: Vec<(String, bson::Bson)>,
    log: &[EncodedAction],
) -> Work<PatchOutcome> {
    let Some(mut run) = get(connection, id)? else { return Ok(PatchOutcome::Missing) };
    if run.meta.args_version != expected {
        return Ok(PatchOutcome::Conflict(run.meta.args_version));
    }
    for (path, value) in set {
        set_path(&mut run.doc, &path, value);
    }
    run.meta.args_version = expected.saturating_add(1);
    put(connection, &run, false)?;
    actions::insert(connection, log)?;
    Ok(PatchOutcome::Applied(run.meta.args_version))
}

#[async_trait]
impl RunStore for SqliteStore {
    async fn insert_run(&self, run: &StoredRun, actions: &[Document]) -> StoreResult<()> {
        let (run, log) = (run.clone(), actions::encode_all(actions)?);
        self.write(move |transaction| {
            put(transaction, &run, true)
                .map_err(|failure: Failure| failure.duplicate(|| format!("run {}", run.id)))?;
            actions::insert(transaction, &log)
        })
        .await
    }

    async fn run(&self, id: RunId) -> StoreResult<Option<StoredRun>> {
        self.read(move |connection| get(connection, id)).await
    }

    async fn unfinished_runs(&self) -> StoreResult<Vec<StoredRun>> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM runs WHERE finished = 0 ORDER BY last_updated DESC, id");
            collect(connection.prepare_cached(&sql)?.query([])?)
        })
        .await
    }

    async fn unfinished_versions(&self) -> StoreResult<Vec<(RunId, u64)>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT id, av FROM runs WHERE finished = 0")?;
            let mut rows = statement.query([])?;
            let mut versions = Vec::new();
            while let Some(row) = rows.next()? {
                versions.push((RunId(object_id(row, "id")?), from_bits(row.get("av")?)));
            }
            Ok(versions)
        })
        .await
    }

    async fn finished_runs(&self, query: &FinishedQuery) -> StoreResult<Vec<StoredRun>> {
        let query = query.clone();
        self.read(move |connection| finished(connection, &query)).await
    }

    async fn patch_run(&self, id: RunId, expected: u64, change: &RunPatch) -> StoreResult<PatchOutcome> {
        let (set, log) = (change.set.clone(), actions::encode_all(&change.actions)?);
        self.write(move |transaction| patch(transaction, id, expected, set, &log)).await
    }

    async fn task(&self, key: TaskKey) -> StoreResult<Option<TaskRecord>> {
        self.read(move |connection| tasks::get(connection, key)).await
    }

    async fn tasks(&self, run: RunId, from: TaskId, limit: usize) -> StoreResult<Vec<TaskRecord>> {
        self.read(move |connection| tasks::page(connection, run, from, limit)).await
    }

    async fn bad_task(&self, run: RunId, position: u32) -> StoreResult<Option<TaskRecord>> {
        self.read(move |connection| tasks::bad(connection, run, position)).await
    }

    async fn next_task(&self, run: RunId) -> StoreResult<TaskId> {
        self.read(move |connection| tasks::next(connection, run)).await
    }

    async fn insert_tasks(&self, records: &[TaskRecord]) -> StoreResult<()> {
        let encoded = records.iter().map(tasks::EncodedTask::of).collect::<StoreResult<Vec<_>>>()?;
        self.write(move |transaction| {
            for task in &encoded {
                task.insert_if_absent(transaction)?;
            }
            Ok(())
        })
        .await
    }
}

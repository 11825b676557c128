//! Rows of tasks.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::failure::Work;
use super::rows::{bits, decode, encode, from_bits, narrow, object_id, plain};
use crate::domain::ids::{Generation, RunId, TaskId, TaskKey, Version, WriteId};
use crate::domain::task::TaskRecord;
use crate::store::stamp::Stamp;
use crate::store::{StoreError, StoreResult, codec};

const COLUMNS: &str = "run_id, task_id, g, v, w, doc";

/// A task as its columns, ready before the writer is asked for its time.
#[derive(Debug)]
pub(super) struct EncodedTask {
    pub(super) key: TaskKey,
    pub(super) stamp: Stamp,
    active: bool,
    bad_position: Option<u32>,
    doc: Vec<u8>,
}

impl EncodedTask {
    /// Encodes a record.
    pub(super) fn of(record: &TaskRecord) -> StoreResult<Self> {
        Ok(Self {
            key: record.key,
            stamp: Stamp {
                generation: record.generation,
                version: record.version,
                write_id: record.write_id,
            },
            active: record.active,
            bad_position: record.bad.as_ref().map(|mark| mark.position),
            doc: encode(&codec::task_document(record)?)?,
        })
    }

    /// Writes it over whatever is there.
    pub(super) fn put(&self, connection: &Connection) -> Work<()> {
        self.execute(
            connection,
            "INSERT INTO tasks (run_id, task_id, g, v, w, active, bad_position, doc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (run_id, task_id) DO UPDATE SET g = excluded.g, v = excluded.v, w = excluded.w,
                 active = excluded.active, bad_position = excluded.bad_position, doc = excluded.doc",
        )
    }

    /// Writes it unless there is one of that number.
    pub(super) fn insert_if_absent(&self, connection: &Connection) -> Work<()> {
        self.execute(
            connection,
            "INSERT INTO tasks (run_id, task_id, g, v, w, active, bad_position, doc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (run_id, task_id) DO NOTHING",
        )
    }

    fn execute(&self, connection: &Connection, sql: &str) -> Work<()> {
        connection.prepare_cached(sql)?.execute(params![
            self.key.run.0.bytes(),
            self.key.task.0,
            bits(self.stamp.generation.0),
            bits(self.stamp.version.0),
            bits(self.stamp.write_id.0),
            self.active,
            self.bad_position,
            self.doc,
        ])?;
        Ok(())
    }
}

/// The stamp of what is stored.
pub(super) fn stamp(connection: &Connection, key: TaskKey) -> Work<Option<Stamp>> {
    let mut statement =
        connection.prepare_cached("SELECT g, v, w FROM tasks WHERE run_id = ?1 AND task_id = ?2")?;
    Ok(statement.query_row(params![key.run.0.bytes(), key.task.0], read_stamp).optional()?)
}

/// The first three columns as a stamp.
pub(super) fn read_stamp(row: &Row<'_>) -> rusqlite::Result<Stamp> {
    Ok(Stamp {
        generation: Generation(from_bits(row.get(0)?)),
        version: Version(from_bits(row.get(1)?)),
        write_id: WriteId(from_bits(row.get(2)?)),
    })
}

/// One task.
pub(super) fn get(connection: &Connection, key: TaskKey) -> Work<Option<TaskRecord>> {
    let sql = format!("SELECT {COLUMNS} FROM tasks WHERE run_id = ?1 AND task_id = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![key.run.0.bytes(), key.task.0])?;
    rows.next()?.map(read).transpose()
}

/// Tasks in order.
pub(super) fn page(connection: &Connection, run: RunId, from: TaskId, limit: usize) -> Work<Vec<TaskRecord>> {
    let sql =
        format!("SELECT {COLUMNS} FROM tasks WHERE run_id = ?1 AND task_id >= ?2 ORDER BY task_id LIMIT ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let limit = plain(u64::try_from(limit).unwrap_or(u64::MAX));
    let mut rows = statement.query(params![run.0.bytes(), from.0, limit])?;
    let mut tasks = Vec::new();
    while let Some(row) = rows.next()? {
        tasks.push(read(row)?);
    }
    Ok(tasks)
}

/// A purged task by its position.
pub(super) fn bad(connection: &Connection, run: RunId, position: u32) -> Work<Option<TaskRecord>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM tasks WHERE run_id = ?1 AND bad_position = ?2 ORDER BY task_id LIMIT 1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![run.0.bytes(), position])?;
    rows.next()?.map(read).transpose()
}

/// One more than the highest number.
pub(super) fn next(connection: &Connection, run: RunId) -> Work<TaskId> {
    let mut statement = connection.prepare_cached("SELECT max(task_id) FROM tasks WHERE run_id = ?1")?;
    let highest: Option<i64> = statement.query_row(params![run.0.bytes()], |row| row.get(0))?;
    match highest {
        None => Ok(TaskId(0)),
        Some(highest) => Ok(TaskId(narrow(highest.saturating_add(1), "next task number")?)),
    }
}

fn read(row: &Row<'_>) -> Work<TaskRecord> {
    let key = TaskKey {
        run: RunId(object_id(row, "run_id")?),
        task: TaskId(narrow(row.get("task_id")?, "task number")?),
    };
    let unsigned = |column: &str| row.get::<_, i64>(column).map(from_bits);
    let stamp = Stamp {
        generation: Generation(unsigned("g")?),
        version: Version(unsigned("v")?),
        write_id: WriteId(unsigned("w")?),
    };
    let bytes =
        row.get_ref("doc")?.as_blob().map_err(|error| StoreError::Damaged(format!("task {key}: {error}")))?;
    let doc = decode(bytes, || format!("task {key}"))?;
    Ok(codec::read_task(key, stamp.generation, stamp.version, stamp.write_id, doc)?)
}

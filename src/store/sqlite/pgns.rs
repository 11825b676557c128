//! Games. An identity's first part is its time, so the order of identities is the order of age.

use async_trait::async_trait;
use bson::oid::ObjectId;
use rusqlite::{OptionalExtension, params};

use super::SqliteStore;
use super::failure::Failure;
use super::rows::{narrow, object_id, plain};
use crate::domain::ids::{RunId, TaskId, TaskKey};
use crate::store::{PgnEntry, PgnStore, StoreResult};

#[async_trait]
impl PgnStore for SqliteStore {
    async fn insert_pgn(&self, key: TaskKey, id: ObjectId, gzip: &[u8]) -> StoreResult<()> {
        let bytes = gzip.to_vec();
        self.write(move |transaction| {
            let size = plain(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            transaction
                .prepare_cached(
                    "INSERT INTO pgns (id, run_id, task_id, size, bytes) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![id.bytes(), key.run.0.bytes(), key.task.0, size, bytes])
                .map_err(|error| Failure::from(error).duplicate(|| format!("upload {id}")))?;
            Ok(())
        })
        .await
    }

    async fn pgn(&self, key: TaskKey) -> StoreResult<Option<Vec<u8>>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT bytes FROM pgns WHERE run_id = ?1 AND task_id = ?2 ORDER BY id DESC LIMIT 1",
            )?;
            let row = statement.query_row(params![key.run.0.bytes(), key.task.0], |row| row.get(0));
            Ok(row.optional()?)
        })
        .await
    }

    async fn run_pgns(&self, run: RunId) -> StoreResult<Vec<PgnEntry>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT task_id, id, size FROM pgns WHERE run_id = ?1 ORDER BY task_id, id",
            )?;
            let mut rows = statement.query(params![run.0.bytes()])?;
            let mut entries = Vec::new();
            while let Some(row) = rows.next()? {
                entries.push(PgnEntry {
                    id: object_id(row, "id")?,
                    task: TaskId(narrow(row.get("task_id")?, "task number")?),
                    size: narrow(row.get("size")?, "size of an upload")?,
                });
            }
            Ok(entries)
        })
        .await
    }

    async fn pgn_by_id(&self, id: ObjectId) -> StoreResult<Option<Vec<u8>>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT bytes FROM pgns WHERE id = ?1")?;
            Ok(statement.query_row(params![id.bytes()], |row| row.get(0)).optional()?)
        })
        .await
    }

    async fn next_run_with_pgns(&self, after: Option<RunId>) -> StoreResult<Option<RunId>> {
        let after = after.map_or_else(Vec::new, |run| run.0.bytes().to_vec());
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT run_id FROM pgns WHERE run_id > ?1 ORDER BY run_id LIMIT 1")?;
            let mut rows = statement.query(params![after])?;
            rows.next()?.map(|row| Ok(RunId(object_id(row, "run_id")?))).transpose()
        })
        .await
    }

    async fn delete_pgns(&self, run: RunId, limit: usize) -> StoreResult<u64> {
        let limit = plain(u64::try_from(limit).unwrap_or(u64::MAX));
        self.write(move |transaction| {
            let deleted = transaction
                .prepare_cached(
                    "DELETE FROM pgns WHERE id IN
                         (SELECT id FROM pgns WHERE run_id = ?1 ORDER BY task_id, id LIMIT ?2)",
                )?
                .execute(params![run.0.bytes(), limit])?;
            Ok(u64::try_from(deleted).unwrap_or(u64::MAX))
        })
        .await
    }
}

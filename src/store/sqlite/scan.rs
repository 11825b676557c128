//! Walking through whole tables, by their keys.

use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::{Bson, Document};
use rusqlite::{Row, params};

use super::SqliteStore;
use super::failure::Work;
use super::rows::{decode, narrow, object_id, plain};
use super::{misc, runs, workers};
use crate::domain::ids::{RunId, ShortWorkerName, TaskId};
use crate::store::{PgnEntry, ScanStore, StoreResult, StoredRun, WorkerBlock};

/// Smaller than every key of its kind.
const FIRST: &str = "";

impl SqliteStore {
    /// Rows of a statement with the two parameters `after` and `limit`.
    async fn walk<T: Send + 'static>(
        &self,
        sql: &'static str,
        after: rusqlite::types::Value,
        limit: usize,
        read: impl Fn(&Row<'_>) -> Work<T> + Send + 'static,
    ) -> StoreResult<Vec<T>> {
        let limit = plain(u64::try_from(limit).unwrap_or(u64::MAX));
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(params![after, limit])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
            Ok(found)
        })
        .await
    }

    async fn walk_documents(
        &self,
        sql: &'static str,
        after: Option<&str>,
        limit: usize,
    ) -> StoreResult<Vec<Document>> {
        let after = after.unwrap_or(FIRST).to_owned();
        self.walk(sql, after.into(), limit, |row| {
            let bytes = row.get_ref("doc")?.as_blob().map_err(rusqlite::Error::from)?;
            Ok(decode(bytes, || "a document".to_owned())?)
        })
        .await
    }
}

/// An object id as a key; none sorts before all.
fn key(id: Option<ObjectId>) -> rusqlite::types::Value {
    id.map_or_else(Vec::new, |id| id.bytes().to_vec()).into()
}

#[async_trait]
impl ScanStore for SqliteStore {
    async fn scan_runs(&self, after: Option<RunId>, limit: usize) -> StoreResult<Vec<StoredRun>> {
        let sql = "SELECT id, av, g, sv, w, phase, operation, position, folded, doc FROM runs WHERE id > ?1 ORDER BY id
                   LIMIT ?2";
        self.walk(sql, key(after.map(|run| run.0)), limit, runs::read).await
    }

    async fn scan_actions(&self, after: Option<ObjectId>, limit: usize) -> StoreResult<Vec<Document>> {
        let sql = "SELECT id, doc FROM actions WHERE id > ?1 ORDER BY id LIMIT ?2";
        self.walk(sql, key(after), limit, |row| {
            let id = object_id(row, "id")?;
            let bytes = row.get_ref("doc")?.as_blob().map_err(rusqlite::Error::from)?;
            Ok(decode(bytes, || format!("log entry {id}"))?)
        })
        .await
    }

    async fn scan_workers(
        &self,
        after: Option<&ShortWorkerName>,
        limit: usize,
    ) -> StoreResult<Vec<WorkerBlock>> {
        let sql = "SELECT worker_name, id, blocked, message, last_updated FROM workers WHERE worker_name > ?1
                   ORDER BY worker_name LIMIT ?2";
        let after = after.map_or_else(|| FIRST.to_owned(), |name| name.0.clone());
        self.walk(sql, after.into(), limit, workers::read).await
    }

    async fn scan_nets(&self, after: Option<&str>, limit: usize) -> StoreResult<Vec<Document>> {
        let sql = "SELECT doc FROM nns WHERE name > ?1 ORDER BY name LIMIT ?2";
        self.walk_documents(sql, after, limit).await
    }

    async fn scan_kv(&self, after: Option<&str>, limit: usize) -> StoreResult<Vec<(String, Bson)>> {
        let sql = "SELECT key, value FROM kvstore WHERE key > ?1 ORDER BY key LIMIT ?2";
        let after = after.unwrap_or(FIRST).to_owned();
        self.walk(sql, after.into(), limit, |row| {
            let key: String = row.get("key")?;
            let bytes: Vec<u8> = row.get("value")?;
            let value = misc::unwrap_value(&bytes, &key)?;
            Ok((key, value))
        })
        .await
    }

    async fn scan_user_cache(&self, after: Option<&str>, limit: usize) -> StoreResult<Vec<Document>> {
        let sql = "SELECT doc FROM user_cache WHERE username > ?1 ORDER BY username LIMIT ?2";
        self.walk_documents(sql, after, limit).await
    }

    async fn scan_pgns(&self, after: Option<ObjectId>, limit: usize) -> StoreResult<Vec<(RunId, PgnEntry)>> {
        let sql = "SELECT id, run_id, task_id, size FROM pgns WHERE id > ?1 ORDER BY id LIMIT ?2";
        self.walk(sql, key(after), limit, |row| {
            let entry = PgnEntry {
                id: object_id(row, "id")?,
                task: TaskId(narrow(row.get("task_id")?, "task number")?),
                size: narrow(row.get("size")?, "size of an upload")?,
            };
            Ok((RunId(object_id(row, "run_id")?), entry))
        })
        .await
    }
}

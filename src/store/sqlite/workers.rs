//! Blocks of workers.

use async_trait::async_trait;
use bson::Document;
use rusqlite::{Row, params};

use super::SqliteStore;
use super::actions;
use super::failure::Work;
use super::rows::object_id;
use crate::domain::ids::{Millis, ShortWorkerName};
use crate::store::{StoreResult, WorkerBlock, WorkerStore};

const COLUMNS: &str = "worker_name, id, blocked, message, last_updated";

pub(super) fn read(row: &Row<'_>) -> Work<WorkerBlock> {
    Ok(WorkerBlock {
        id: object_id(row, "id")?,
        name: ShortWorkerName(row.get("worker_name")?),
        blocked: row.get("blocked")?,
        message: row.get("message")?,
        last_updated: Millis(row.get("last_updated")?),
    })
}

#[async_trait]
impl WorkerStore for SqliteStore {
    async fn worker(&self, name: &ShortWorkerName) -> StoreResult<Option<WorkerBlock>> {
        let name = name.clone();
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM workers WHERE worker_name = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![name.0])?;
            rows.next()?.map(read).transpose()
        })
        .await
    }

    async fn blocked_workers(&self) -> StoreResult<Vec<WorkerBlock>> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM workers WHERE blocked = 1 ORDER BY worker_name");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([])?;
            let mut blocks = Vec::new();
            while let Some(row) = rows.next()? {
                blocks.push(read(row)?);
            }
            Ok(blocks)
        })
        .await
    }

    async fn put_worker(&self, block: &WorkerBlock, actions: &[Document]) -> StoreResult<()> {
        let (block, log) = (block.clone(), actions::encode_all(actions)?);
        self.write(move |transaction| {
            // The name is the key; an entry keeps the identity that it was made with.
            transaction.execute(
                "INSERT INTO workers (worker_name, id, blocked, message, last_updated) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (worker_name) DO UPDATE SET blocked = excluded.blocked, message = excluded.message,
                     last_updated = excluded.last_updated",
                params![block.name.0, block.id.bytes(), block.blocked, block.message, block.last_updated.0],
            )?;
            actions::insert(transaction, &log)
        })
        .await
    }

    async fn change_worker(
        &self,
        block: &WorkerBlock,
        expected: Option<&WorkerBlock>,
        actions: &[Document],
    ) -> StoreResult<bool> {
        let (block, expected, log) = (block.clone(), expected.cloned(), actions::encode_all(actions)?);
        self.write(move |transaction| {
            let changed = match expected {
                None => transaction.execute(
                    "INSERT INTO workers (worker_name, id, blocked, message, last_updated)
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (worker_name) DO NOTHING",
                    params![
                        block.name.0,
                        block.id.bytes(),
                        block.blocked,
                        block.message,
                        block.last_updated.0
                    ],
                )?,
                Some(expected) => transaction.execute(
                    "UPDATE workers SET blocked = ?2, message = ?3, last_updated = ?4
                     WHERE worker_name = ?1 AND blocked = ?5 AND message = ?6 AND last_updated = ?7",
                    params![
                        block.name.0,
                        block.blocked,
                        block.message,
                        block.last_updated.0,
                        expected.blocked,
                        expected.message,
                        expected.last_updated.0
                    ],
                )?,
            };
            if changed == 1 {
                actions::insert(transaction, &log)?;
            }
            Ok(changed == 1)
        })
        .await
    }
}

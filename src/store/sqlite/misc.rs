//! Neural networks' metadata, and the key-value collection.

use async_trait::async_trait;
use bson::{Bson, Document, doc};
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::failure::Work;
use super::rows::{decode, encode};
use crate::store::codec::{as_count, int};
use crate::store::{MiscStore, StoreError, StoreResult};

/// Where a value is in its wrapping document: values needn't be documents, and their field names may hold dots.
const VALUE: &str = "value";

fn net(connection: &Connection, name: &str) -> Work<Option<Document>> {
    let mut statement = connection.prepare_cached("SELECT doc FROM nns WHERE name = ?1")?;
    let bytes: Option<Vec<u8>> = statement.query_row(params![name], |row| row.get(0)).optional()?;
    Ok(bytes.map(|bytes| decode(&bytes, || format!("network {name}"))).transpose()?)
}

fn put_net(connection: &Connection, name: &str, net: &Document) -> Work<()> {
    connection
        .prepare_cached(
            "INSERT INTO nns (name, doc) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc",
        )?
        .execute(params![name, encode(net)?])?;
    Ok(())
}

/// A value out of its wrapping document.
pub(super) fn unwrap_value(bytes: &[u8], key: &str) -> Work<Bson> {
    let value = decode(bytes, || format!("value of {key}"))?.remove(VALUE);
    Ok(value.ok_or_else(|| StoreError::Damaged(format!("value of {key}: it is not there")))?)
}

#[async_trait]
impl MiscStore for SqliteStore {
    async fn net(&self, name: &str) -> StoreResult<Option<Document>> {
        let name = name.to_owned();
        self.read(move |connection| net(connection, &name)).await
    }

    async fn put_net(&self, net: &Document) -> StoreResult<()> {
        let name = net
            .get_str("name")
            .map_err(|_| StoreError::Damaged("a network's document without a name".into()))?
            .to_owned();
        let net = net.clone();
        self.write(move |transaction| put_net(transaction, &name, &net)).await
    }

    async fn count_downloads(&self, name: &str, by: u64) -> StoreResult<()> {
        let name = name.to_owned();
        self.write(move |transaction| {
            let Some(mut net) = net(transaction, &name)? else { return Ok(()) };
            let downloads = as_count(net.get("downloads")).unwrap_or(0).saturating_add(by);
            net.insert("downloads", int(downloads));
            put_net(transaction, &name, &net)
        })
        .await
    }

    async fn kv(&self, key: &str) -> StoreResult<Option<Bson>> {
        let key = key.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT value FROM kvstore WHERE key = ?1")?;
            let bytes: Option<Vec<u8>> = statement.query_row(params![key], |row| row.get(0)).optional()?;
            bytes.map(|bytes| unwrap_value(&bytes, &key)).transpose()
        })
        .await
    }

    async fn put_kv(&self, key: &str, value: &Bson) -> StoreResult<()> {
        let (key, value) = (key.to_owned(), encode(&doc! { VALUE: value.clone() })?);
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO kvstore (key, value) VALUES (?1, ?2)
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                )?
                .execute(params![key, value])?;
            Ok(())
        })
        .await
    }

    async fn ping(&self) -> StoreResult<()> {
        self.read(|connection| Ok(connection.query_row("SELECT generation FROM fence", [], |_| Ok(()))?))
            .await
    }
}

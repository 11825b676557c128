//! Games: fishtest's document (`spec/storage.md` section 8), with the key in two fields for order. What is larger than
//! a document may be goes on in parts, which are there before the document is. An identity's first part is its time,
//! so the order of identities is the order of age.

use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, doc};

use super::scan::after_key;
use super::watch::Call;
use super::{MongoStore, TRANSFER, collection, failure};
use crate::domain::ids::{RunId, TaskId, TaskKey};
use crate::store::codec::{as_count, int};
use crate::store::{PgnEntry, PgnStore, StoreError, StoreResult};

/// Bytes in one document at most.
const PART: usize = 12 * 1024 * 1024;

fn binary(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() })
}

fn part_id(id: ObjectId, number: u64) -> String {
    format!("{id}-{number}")
}

fn damaged(id: ObjectId) -> StoreError {
    StoreError::Damaged(format!("upload {id}"))
}

fn bytes_of(doc: &mut Document, key: &str, id: ObjectId) -> StoreResult<Vec<u8>> {
    match doc.remove(key) {
        Some(Bson::Binary(binary)) => Ok(binary.bytes),
        _ => Err(damaged(id)),
    }
}

/// An upload without its bytes.
pub(super) fn entry(doc: &Document) -> StoreResult<PgnEntry> {
    let id = doc.get_object_id("_id").map_err(|_| StoreError::Damaged("an upload".into()))?;
    let task = as_count(doc.get("task")).and_then(|task| u32::try_from(task).ok());
    let size = as_count(doc.get("size")).ok_or_else(|| damaged(id))?;
    Ok(PgnEntry { id, task: TaskId(task.ok_or_else(|| damaged(id))?), size })
}

impl MongoStore {
    async fn whole(&self, stored: Option<Document>) -> StoreResult<Option<Vec<u8>>> {
        let Some(mut doc) = stored else { return Ok(None) };
        let id = doc.get_object_id("_id").map_err(|_| StoreError::Damaged("an upload's identity".into()))?;
        let mut bytes = bytes_of(&mut doc, "pgn_zip", id)?;
        for number in 1..as_count(doc.get("parts")).unwrap_or(1) {
            let parts = self.collection(collection::PGN_PARTS);
            let find = parts.find_one(doc! { "_id": part_id(id, number) });
            let part = self.read_within(Call::Find, TRANSFER, find.into_future()).await?;
            bytes.extend(bytes_of(&mut part.ok_or_else(|| damaged(id))?, "bytes", id)?);
        }
        Ok(Some(bytes))
    }

    async fn write_games(&self, collection: &str, document: Document) -> StoreResult<()> {
        let target = self.collection(collection);
        let insert = target.insert_one(document);
        self.write_within(Call::Insert, TRANSFER, insert.into_future()).await.map(|_| ())
    }
}

#[async_trait]
impl PgnStore for MongoStore {
    async fn insert_pgn(&self, key: TaskKey, id: ObjectId, gzip: &[u8]) -> StoreResult<()> {
        let mut parts = gzip.chunks(PART);
        let first = parts.next().unwrap_or_default();
        let mut count = 1;
        for part in parts {
            let document = doc! { "_id": part_id(id, count), "bytes": binary(part) };
            match self.write_games(collection::PGN_PARTS, document).await {
                // Left behind by a try whose answer was lost.
                Ok(()) | Err(StoreError::Duplicate(_)) => count += 1,
                Err(error) => return Err(error),
            }
        }
        let mut document = doc! {
            "_id": id,
            "run_id": format!("{}-{}", key.run, key.task),
            "size": int(gzip.len() as u64),
            "run": key.run.0,
            "task": int(u64::from(key.task.0)),
            "pgn_zip": binary(first),
        };
        if count > 1 {
            document.insert("parts", int(count));
        }
        let written = self.write_games(collection::PGNS, document).await;
        written.map_err(|error| failure::duplicate(error, || format!("upload {id}")))
    }

    async fn pgn(&self, key: TaskKey) -> StoreResult<Option<Vec<u8>>> {
        let filter = doc! { "run": key.run.0, "task": int(u64::from(key.task.0)) };
        let pgns = self.collection(collection::PGNS);
        let find = pgns.find_one(filter).sort(doc! { "_id": -1 });
        let stored = self.read_within(Call::Find, TRANSFER, find.into_future()).await?;
        self.whole(stored).await
    }

    async fn run_pgns(&self, run: RunId) -> StoreResult<Vec<PgnEntry>> {
        let target = self.collection(collection::PGNS);
        let find = target
            .find(doc! { "run": run.0 })
            .sort(doc! { "task": 1, "_id": 1 })
            .projection(doc! { "task": 1, "size": 1 })
            .max_time(self.deadline);
        let cursor = self.read(Call::Find, find.into_future()).await?;
        self.drain(cursor, |doc| entry(&doc)).await
    }

    async fn pgn_by_id(&self, id: ObjectId) -> StoreResult<Option<Vec<u8>>> {
        let pgns = self.collection(collection::PGNS);
        let stored =
            self.read_within(Call::Find, TRANSFER, pgns.find_one(doc! { "_id": id }).into_future()).await?;
        self.whole(stored).await
    }

    async fn next_run_with_pgns(&self, after: Option<RunId>) -> StoreResult<Option<RunId>> {
        let pgns = self.collection(collection::PGNS);
        let find = pgns
            .find_one(after_key("run", after.map(|run| Bson::ObjectId(run.0))))
            .sort(doc! { "run": 1, "task": 1, "_id": 1 })
            .projection(doc! { "run": 1 })
            .max_time(self.deadline);
        let Some(first) = self.read(Call::Find, find.into_future()).await? else { return Ok(None) };
        let run = first.get_object_id("run");
        run.map(|run| Some(RunId(run))).map_err(|_| StoreError::Damaged("an upload's run".into()))
    }

    async fn delete_pgns(&self, run: RunId, limit: usize) -> StoreResult<u64> {
        let mut deleted = 0;
        for PgnEntry { id, size, .. } in self.run_pgns(run).await?.into_iter().take(limit) {
            // The parts go first: what points to them stays until they are gone, so that nothing is left behind.
            let parts = size.div_ceil(PART as u64);
            if parts > 1 {
                let names: Vec<String> = (1..parts).map(|number| part_id(id, number)).collect();
                let target = self.collection(collection::PGN_PARTS);
                self.write(Call::Delete, target.delete_many(doc! { "_id": { "$in": names } }).into_future())
                    .await?;
            }
            let target = self.collection(collection::PGNS);
            deleted += self
                .write(Call::Delete, target.delete_one(doc! { "_id": id }).into_future())
                .await?
                .deleted_count;
        }
        Ok(deleted)
    }
}

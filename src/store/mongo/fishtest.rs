//! A database in fishtest's own layout (`spec/storage.md`): what a farm moves in from, or back to. It is no store:
//! documents are read and written as they are, and nobody serves from it.

use std::time::Duration;

use bson::raw::RawDocumentBuf;
use bson::{Bson, Document, doc};
use mongodb::error::ErrorKind;
use mongodb::{Collection, Cursor, Database};

use super::failure::{self, is_duplicate};
use super::watch::{self, Call, timed};
use super::{MongoSettings, TRANSFER, collection, layout};
use crate::store::{StoreError, StoreResult};

/// Documents that one answer of the server brings at most.
const BATCH: u32 = 200;

/// The same of keys alone: between two answers each document is fetched and taken, and a server forgets a walk that
/// stands still for ten minutes.
const KEYS: u32 = 10;

/// Collection with the mark of an export that hasn't ended.
const EXPORT: &str = "shoal_export";

/// The mark's `_id`.
const MARK: &str = "export";

/// Collections that only Shoal's databases have.
const OURS: [&str; 4] =
    [collection::MIGRATIONS, collection::FENCE, collection::USER_SECRETS, collection::LEASES];

/// Whose layout a database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// It holds no document.
    Empty,
    /// Shoal's.
    Shoal,
    /// Somebody else's, fishtest's most likely; names of its collections, in order.
    Other(Vec<String>),
}

/// What an export finds where it is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportMark {
    /// The database was empty and is marked now.
    Begun,
    /// An export of the same farm was interrupted here.
    Interrupted,
    /// It holds something else: what, in words.
    Refused(String),
}

/// One database on a MongoDB server.
#[derive(Debug, Clone)]
pub struct FishtestDatabase {
    database: Database,
    place: String,
    deadline: Duration,
}

impl FishtestDatabase {
    /// Connects lazily: whether somebody answers shows the first call.
    ///
    /// # Errors
    /// `Unavailable` when the settings can't be used.
    pub async fn connect(settings: &MongoSettings) -> StoreResult<Self> {
        let client = settings.client().await?;
        let database = client.database(&settings.database);
        let place = format!("database {} on {}", settings.database, settings.url.hosts());
        Ok(Self { database, place, deadline: settings.deadline })
    }

    /// The database in words, without a password.
    pub fn place(&self) -> String {
        self.place.clone()
    }

    /// Whose layout it has.
    ///
    /// # Errors
    /// As every read.
    pub async fn layout(&self) -> StoreResult<Layout> {
        let mut names = self.read(Call::Other, self.database.list_collection_names().into_future()).await?;
        names.retain(|name| !name.starts_with("system."));
        names.sort();
        if names.iter().any(|name| OURS.contains(&name.as_str())) {
            return Ok(Layout::Shoal);
        }
        // One that only a part of a dump was restored into has none of those.
        if self.first(collection::RUNS).await?.is_some_and(|run| run.contains_key(layout::META)) {
            return Ok(Layout::Shoal);
        }
        let mut filled = Vec::new();
        for name in names {
            if self.first(&name).await?.is_some() {
                filled.push(name);
            }
        }
        Ok(if filled.is_empty() { Layout::Empty } else { Layout::Other(filled) })
    }

    async fn first(&self, collection: &str) -> StoreResult<Option<Document>> {
        let target: Collection<Document> = self.database.collection(collection);
        // Names only: a run has megabytes.
        let find = target.find_one(doc! {}).projection(doc! { "_id": 1, layout::META: 1 });
        self.read(Call::Find, find.max_time(self.deadline).into_future()).await
    }

    /// All documents of a collection in the order of `_id`, without the fields that `without` names.
    ///
    /// # Errors
    /// As every read.
    pub async fn walk(&self, collection: &str, without: &[&str]) -> StoreResult<Walk> {
        let projection: Document =
            without.iter().map(|field| ((*field).to_owned(), Bson::Int32(0))).collect();
        self.find(collection, projection, BATCH).await
    }

    /// The `_id`s of a collection's documents, in order, each in a document of its own.
    ///
    /// # Errors
    /// As every read.
    pub async fn walk_ids(&self, collection: &str) -> StoreResult<Walk> {
        self.find(collection, doc! { "_id": 1 }, KEYS).await
    }

    async fn find(&self, collection: &str, projection: Document, batch: u32) -> StoreResult<Walk> {
        let target: Collection<RawDocumentBuf> = self.database.collection(collection);
        let find = target.find(doc! {}).sort(doc! { "_id": 1 }).batch_size(batch);
        let find = if projection.is_empty() { find } else { find.projection(projection) };
        let cursor = self.transfer(Call::Find, find.into_future()).await?;
        Ok(Walk { cursor, deadline: self.deadline.max(TRANSFER) })
    }

    /// A document by its `_id`, which may be of any type.
    ///
    /// # Errors
    /// As every read.
    pub async fn fetch(&self, collection: &str, id: Bson) -> StoreResult<Option<RawDocumentBuf>> {
        let target: Collection<RawDocumentBuf> = self.database.collection(collection);
        self.transfer(Call::Find, target.find_one(doc! { "_id": id }).into_future()).await
    }

    /// Marks the database as the place of an export of a farm, if it may be one.
    ///
    /// # Errors
    /// As every call.
    pub async fn begin_export(&self, farm: &str) -> StoreResult<ExportMark> {
        let marks: Collection<Document> = self.database.collection(EXPORT);
        match self.layout().await? {
            Layout::Empty => {
                let mark =
                    doc! { "_id": MARK, "farm": farm, "about": "An export by Shoal that has not ended." };
                self.write(Call::Insert, marks.insert_one(mark).into_future()).await?;
                Ok(ExportMark::Begun)
            }
            Layout::Shoal => Ok(ExportMark::Refused("it is a Shoal database".to_owned())),
            Layout::Other(names) => {
                let find = marks.find_one(doc! { "_id": MARK }).max_time(self.deadline);
                let Some(mark) = self.read(Call::Find, find.into_future()).await? else {
                    return Ok(ExportMark::Refused(format!(
                        "it is not empty: it holds {}",
                        names.join(", ")
                    )));
                };
                if mark.get_str("farm").ok() == Some(farm) {
                    return Ok(ExportMark::Interrupted);
                }
                Ok(ExportMark::Refused("it holds an interrupted export of another farm".to_owned()))
            }
        }
    }

    /// Takes the mark away: the export is complete.
    ///
    /// # Errors
    /// As every write.
    pub async fn end_export(&self) -> StoreResult<()> {
        let marks: Collection<Document> = self.database.collection(EXPORT);
        self.write(Call::Other, marks.drop().into_future()).await
    }

    /// Removes the documents of a collection, if there is one.
    ///
    /// # Errors
    /// As every write.
    pub async fn clear(&self, collection: &str) -> StoreResult<()> {
        let target: Collection<Document> = self.database.collection(collection);
        self.write(Call::Delete, target.delete_many(doc! {}).into_future()).await?;
        Ok(())
    }

    /// Whether there is a document with an `_id`.
    ///
    /// # Errors
    /// As every read.
    pub async fn holds(&self, collection: &str, id: Bson) -> StoreResult<bool> {
        let target: Collection<Document> = self.database.collection(collection);
        let find = target.find_one(doc! { "_id": id }).projection(doc! { "_id": 1 }).max_time(self.deadline);
        Ok(self.read(Call::Find, find.into_future()).await?.is_some())
    }

    /// Inserts documents; those whose `_id` is there already are left as they are.
    ///
    /// # Errors
    /// As every write; some may have been inserted.
    pub async fn insert_absent(&self, collection: &str, documents: &[RawDocumentBuf]) -> StoreResult<()> {
        if documents.is_empty() {
            return Ok(());
        }
        let target: Collection<RawDocumentBuf> = self.database.collection(collection);
        let insert = target.insert_many(documents).ordered(false).into_future();
        let insert = timed(Call::Insert, insert);
        let Ok(answer) = tokio::time::timeout(self.deadline.max(TRANSFER), insert).await else {
            return Err(StoreError::Unknown("MongoDB does not answer in time".to_owned()));
        };
        let Err(error) = answer else { return Ok(()) };
        if let ErrorKind::InsertMany(failed) = error.kind.as_ref()
            && failed.write_concern_error.is_none()
            && let Some(errors) = &failed.write_errors
            && errors.iter().all(|error| is_duplicate(error.code))
        {
            return Ok(());
        }
        Err(failure::of_write(error))
    }

    /// Writes a document in the place of the one with its `_id`, if there is one.
    ///
    /// # Errors
    /// As every write. Afterwards the old one may be gone: it is for a database that nobody reads yet.
    pub async fn put(&self, collection: &str, id: Bson, document: RawDocumentBuf) -> StoreResult<()> {
        let target: Collection<RawDocumentBuf> = self.database.collection(collection);
        // Not a replacement: with its condition, the statement of a document of 16 MiB would be no document any more.
        self.write(Call::Delete, target.delete_one(doc! { "_id": id }).into_future()).await?;
        self.insert_absent(collection, &[document]).await
    }

    async fn read<T>(
        &self,
        call: Call,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> StoreResult<T> {
        within(self.deadline, timed(call, work)).await
    }

    /// A read of much.
    async fn transfer<T>(
        &self,
        call: Call,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> StoreResult<T> {
        within(self.deadline.max(TRANSFER), timed(call, work)).await
    }

    async fn write<T>(
        &self,
        call: Call,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> StoreResult<T> {
        match tokio::time::timeout(self.deadline.max(TRANSFER), timed(call, work)).await {
            Ok(result) => result.map_err(failure::of_write),
            Err(_) => Err(StoreError::Unknown("MongoDB does not answer in time".to_owned())),
        }
    }
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = mongodb::error::Result<T>>,
) -> StoreResult<T> {
    match tokio::time::timeout(deadline, work).await {
        Ok(result) => result.map_err(failure::of_read),
        Err(_) => Err(StoreError::Timeout),
    }
}

/// Documents one after the other; the server sends them by the batch.
#[derive(Debug)]
pub struct Walk {
    cursor: Cursor<RawDocumentBuf>,
    deadline: Duration,
}

impl Walk {
    /// The next one.
    ///
    /// # Errors
    /// As every read; a server forgets a walk that stood still for minutes.
    pub async fn next(&mut self) -> StoreResult<Option<RawDocumentBuf>> {
        within(self.deadline, watch::next(&mut self.cursor)).await
    }
}

//! The shared store: MongoDB, for farms that have one.
//!
//! Every write waits for a majority and the journal; every read is of a majority, on the primary; every call has a
//! deadline. Documents (see [`layout`]) keep fishtest's field types. There are no transactions: a write that has log
//! entries carries them inside ([`entries`]), and the committer's conditional batches ([`commit`]) are refused by the
//! server itself when they are stale.

mod actions;
mod bulk;
mod commit;
mod entries;
mod failure;
mod fence;
mod fishtest;
mod layout;
mod migrate;
mod misc;
mod pgns;
mod presence;
#[cfg(test)]
mod queries;
mod runs;
mod scan;
mod server;
mod settings;
mod tasks;
mod users;
mod watch;
mod workers;

use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bson::Document;
use mongodb::{Client, Collection, Cursor, Database};
use parking_lot::Mutex;

pub use self::fishtest::{ExportMark, FishtestDatabase, Layout, Walk};
pub use self::migrate::{MIGRATIONS, MigrateError};
pub use self::server::ServerFacts;
pub use self::settings::{MongoSettings, MongoUrl};
use crate::domain::ids::Generation;
use crate::store::sqlite::ServeLock;
use crate::store::{StoreError, StoreResult};
use crate::sys::random;

/// How long a transfer of games may take: one may be hundreds of megabytes.
const TRANSFER: Duration = Duration::from_secs(60);

/// Names of the collections.
mod collection {
    pub(super) const RUNS: &str = "runs";
    pub(super) const TASKS: &str = "tasks";
    pub(super) const USERS: &str = "users";
    pub(super) const USER_SECRETS: &str = "user_secrets";
    pub(super) const USER_CACHE: &str = "user_cache";
    pub(super) const ACTIONS: &str = "actions";
    pub(super) const WORKERS: &str = "workers";
    pub(super) const PGNS: &str = "pgns";
    pub(super) const PGN_PARTS: &str = "pgn_parts";
    pub(super) const NNS: &str = "nns";
    pub(super) const KVSTORE: &str = "kvstore";
    pub(super) const FENCE: &str = "fence";
    pub(super) const MIGRATIONS: &str = "schema_migrations";
    pub(super) const LEASES: &str = "leases";
}

/// The store in one database of a MongoDB server.
#[derive(Debug)]
pub struct MongoStore {
    database: Database,
    facts: ServerFacts,
    deadline: Duration,
    /// The fence at the last look, and when that was.
    fence_seen: Mutex<Option<(Generation, Instant)>>,
    /// Whether log entries may wait in the documents that caused them, and when that was looked at last.
    entries_wait: AtomicBool,
    settled_at: Mutex<Option<Instant>>,
    /// Random identity of this connection, under which a server announces itself.
    identity: String,
    /// Held for as long as a server uses this; never read.
    _lock: Option<ServeLock>,
}

impl MongoStore {
    /// Connects, and finds out what the server can do. The schema is left alone: see [`MongoStore::migrate`].
    ///
    /// # Errors
    /// `Unavailable` when the address can't be understood or nobody answers there in time.
    pub async fn connect(settings: &MongoSettings) -> StoreResult<Self> {
        let options = settings.client_options().await?;
        let client = Client::with_options(options)
            .map_err(|error| StoreError::Unavailable(format!("MongoDB: {error}")))?;
        let database = client.database(&settings.database);
        let asked = tokio::time::timeout(settings.deadline, ServerFacts::ask(&database)).await;
        let facts = asked
            .map_err(|_| StoreError::Unavailable("MongoDB does not answer in time".to_owned()))?
            .map_err(|error| StoreError::Unavailable(format!("MongoDB: {error}")))?;
        Ok(Self {
            database,
            facts,
            deadline: settings.deadline,
            fence_seen: Mutex::new(None),
            entries_wait: AtomicBool::new(true),
            settled_at: Mutex::new(None),
            identity: random::identity(),
            _lock: None,
        })
    }

    /// The same store, holding the lock of a server's data directory.
    #[must_use]
    pub fn with_lock(mut self, lock: ServeLock) -> Self {
        self._lock = Some(lock);
        self
    }

    /// What the server is.
    pub fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    /// Name of the database.
    pub fn database_name(&self) -> &str {
        self.database.name()
    }

    /// Removes the whole database: tests clean up so.
    ///
    /// # Errors
    /// As every write.
    pub async fn drop_database(&self) -> StoreResult<()> {
        self.write(async { self.database.drop().await }).await
    }

    fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    /// Waits for a read, until the deadline.
    async fn read<T>(&self, work: impl Future<Output = mongodb::error::Result<T>>) -> StoreResult<T> {
        self.read_within(self.deadline, work).await
    }

    async fn read_within<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> StoreResult<T> {
        match tokio::time::timeout(deadline, work).await {
            Ok(result) => result.map_err(failure::of_read),
            Err(_) => Err(StoreError::Timeout),
        }
    }

    /// Waits for a write, until the deadline; beyond it nobody knows.
    async fn write<T>(&self, work: impl Future<Output = mongodb::error::Result<T>>) -> StoreResult<T> {
        self.write_within(self.deadline, work).await
    }

    async fn write_within<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> StoreResult<T> {
        match tokio::time::timeout(deadline, work).await {
            Ok(result) => result.map_err(failure::of_write),
            Err(_) => Err(StoreError::Unknown("MongoDB does not answer in time".to_owned())),
        }
    }

    /// Reads what a cursor gives, document by document.
    async fn drain<T>(
        &self,
        mut cursor: Cursor<Document>,
        mut read: impl FnMut(Document) -> StoreResult<T>,
    ) -> StoreResult<Vec<T>> {
        use futures::TryStreamExt;
        let mut found = Vec::new();
        while let Some(document) = self.read(cursor.try_next()).await? {
            found.push(read(document)?);
        }
        Ok(found)
    }

    /// One document of a collection by its `_id`.
    async fn by_id(&self, collection: &str, id: impl Into<bson::Bson>) -> StoreResult<Option<Document>> {
        let filter = bson::doc! { "_id": id.into() };
        self.read(self.collection(collection).find_one(filter).max_time(self.deadline).into_future()).await
    }
}

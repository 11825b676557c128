//! The shared store: MongoDB, for farms that have one.
//!
//! Every write waits for a majority and the journal; every read is of a majority, on the primary; every call has a
//! deadline. Documents (see [`layout`]) keep fishtest's field types. There are no transactions: a write that has log
//! entries carries them inside ([`entries`]), and the committer's conditional batches ([`commit`]) are refused by the
//! server itself when they are stale.

mod actions;
mod bulk;
mod commit;
mod connect;
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
use mongodb::{Collection, Cursor, Database};
use parking_lot::Mutex;

pub use self::connect::ConnectError;
pub use self::fishtest::{ExportMark, FishtestDatabase, Layout, Walk};
pub use self::migrate::{MIGRATIONS, MigrateError};
pub use self::server::ServerFacts;
pub use self::settings::{MongoSettings, MongoUrl};
use self::watch::{Call, timed};
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
    /// [`ConnectError`]: whether it is worth trying again.
    pub async fn connect(settings: &MongoSettings) -> Result<Self, ConnectError> {
        let client = settings.client().await?;
        let database = client.database(&settings.database);
        // The driver gives up choosing a server after one deadline, and then says what was wrong with each.
        let patience = settings.deadline.saturating_mul(2);
        let ask = async {
            let facts = ServerFacts::ask(&database).await?;
            connect::is_allowed(&database).await.map(|()| facts)
        };
        let asked = tokio::time::timeout(patience, ask).await;
        let facts = asked
            .map_err(|_| StoreError::Unavailable("MongoDB does not answer in time".to_owned()))?
            .map_err(connect::error)?;
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
        self.write(Call::Other, async { self.database.drop().await }).await
    }

    fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    /// Waits for a read, until the deadline.
    async fn read<T>(
        &self,
        call: Call,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> StoreResult<T> {
        self.read_within(call, self.deadline, work).await
    }

    async fn read_within<T>(
        &self,
        call: Call,
        deadline: Duration,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> StoreResult<T> {
        match tokio::time::timeout(deadline, timed(call, work)).await {
            Ok(result) => result.map_err(failure::of_read),
            Err(_) => Err(StoreError::Timeout),
        }
    }

    /// Waits for a write, until the deadline; beyond it nobody knows.
    async fn write<T>(
        &self,
        call: Call,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> StoreResult<T> {
        self.write_within(call, self.deadline, work).await
    }

    async fn write_within<T>(
        &self,
        call: Call,
        deadline: Duration,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> StoreResult<T> {
        match tokio::time::timeout(deadline, timed(call, work)).await {
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
        let mut found = Vec::new();
        loop {
            match tokio::time::timeout(self.deadline, watch::next(&mut cursor)).await {
                Ok(Ok(Some(document))) => found.push(read(document)?),
                Ok(Ok(None)) => return Ok(found),
                Ok(Err(error)) => return Err(failure::of_read(error)),
                Err(_) => return Err(StoreError::Timeout),
            }
        }
    }

    /// One document of a collection by its `_id`.
    async fn by_id(&self, collection: &str, id: impl Into<bson::Bson>) -> StoreResult<Option<Document>> {
        let filter = bson::doc! { "_id": id.into() };
        self.read(
            Call::Find,
            self.collection(collection).find_one(filter).max_time(self.deadline).into_future(),
        )
        .await
    }
}

//! The embedded store: one SQLite file in the data directory.
//!
//! One thread writes ([`writer`]), a batch a transaction, flushed to the disk before it is acknowledged; a few
//! connections read ([`readers`]) beside it. Documents are BSON in the rows, with the columns that conditions and
//! orders need beside them (`migrations/sqlite`). A `serve` holds the file alone ([`lock`]); tools may work beside it.

mod actions;
mod commit;
mod failure;
mod lock;
mod maintenance;
pub mod migrate;
mod misc;
mod open;
mod pgns;
mod readers;
mod rows;
mod runs;
mod scan;
mod tasks;
mod users;
mod workers;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction};

use self::failure::Work;
pub use self::lock::{LOCK_FILE, ServeLock, acquire, running};
pub use self::open::{APPLICATION_ID, OpenError, schema_of};
use self::readers::Readers;
use self::writer::Writer;
use crate::store::StoreResult;

/// Name of the database within the data directory.
pub const DATABASE_FILE: &str = "shoal.db";

/// Connections for reading.
const READERS: usize = 4;

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long a connection waits for another process's transaction. Below [`DEADLINE`], so that the outcome is known.
const BUSY: Duration = Duration::from_secs(4);

/// What the file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A server: alone on the file among servers.
    Serve,
    /// A command beside a server, or without one.
    Tool,
}

/// The store on one file. Dropping it waits until the last accepted write is done and the file is closed.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    deadline: Duration,
    readers: Readers,
    writer: Writer,
    /// `data_version` at the last look, see [`SqliteStore::poll_foreign_changes`].
    seen: Mutex<i64>,
}

impl SqliteStore {
    /// Opens the database, makes it if it isn't there, and brings its schema up to date. Blocks.
    ///
    /// # Errors
    /// [`OpenError`]: another server has it (`Serve`), it is another program's or damaged, its schema is newer, or it
    /// is older and a server runs on it (`Tool`).
    pub fn open(path: impl AsRef<Path>, mode: Mode) -> Result<Self, OpenError> {
        let path = path.as_ref();
        Self::open_at(path, mode).map_err(|error| open::at(path, error))
    }

    fn open_at(path: &Path, mode: Mode) -> Result<Self, OpenError> {
        let lock = match mode {
            Mode::Serve => Some(lock::acquire(path)?),
            Mode::Tool => None,
        };
        let mut connection = open::writer(path, BUSY)?;
        if mode == Mode::Tool && !migrate::pending(&connection)?.is_empty() {
            // An older server must not find its tables changed under it.
            if let Some(pid) = lock::running(path)? {
                return Err(OpenError::UpgradeUnderServer { path: path.to_owned(), pid });
            }
        }
        for name in migrate::migrate(&mut connection)? {
            tracing::info!(name, "schema step applied");
        }
        let seen = maintenance::data_version(&connection)?;
        let readers = Readers::open(path, READERS, BUSY)?;
        let writer = Writer::start(connection, lock)
            .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), deadline: DEADLINE, readers, writer, seen: Mutex::new(seen) })
    }

    /// The same store with another deadline for every call.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn read<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Work<T> + Send + 'static,
    {
        self.readers.read(self.deadline, work).await
    }

    async fn write<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Work<T> + Send + 'static,
    {
        self.writer.transaction(self.deadline, work).await
    }
}

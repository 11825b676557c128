//! What only this store has: a look at other processes, a copy while it runs, a check of the file.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::failure::Failure;
use super::{BUSY, OpenError, SqliteStore, lock, open};
use crate::store::{StoreError, StoreResult};
use crate::sys::spawn;

/// Pages that a backup copies at a time; between two steps others get their turn.
const BACKUP_PAGES: i32 = 256;
const BACKUP_PAUSE: Duration = Duration::from_millis(5);

/// SQLite's counter of changes that other connections made. Asked on the write connection, which makes all of this
/// process's changes, it counts those of other processes.
pub(super) fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0))
}

impl SqliteStore {
    /// Whether another process (a command) has changed anything since the last call, or since the store was opened.
    /// Cheap enough for once a second; caches of users, blocks and runs are dropped then.
    ///
    /// # Errors
    /// As every call of the store.
    pub async fn poll_foreign_changes(&self) -> StoreResult<bool> {
        let now = self
            .writer
            .call(self.deadline, |connection| Ok(data_version(connection).map_err(Failure::from)?))
            .await?;
        let mut seen = self.seen.lock();
        let changed = *seen != now;
        *seen = now;
        Ok(changed)
    }

    /// The server that has this database open, if there is one: its process id, 0 if that can't be read. Meant for
    /// tools: in a server it names the server itself.
    ///
    /// # Errors
    /// When the lock file can't be looked at.
    pub fn server_running(&self) -> Result<Option<u32>, OpenError> {
        lock::running(&self.path)
    }

    /// Copies the database, as it is at one moment, into a new file while it is in use.
    ///
    /// # Errors
    /// `Unavailable` when the target exists or can't be written; a copy that failed is removed.
    pub async fn backup_to(&self, target: impl AsRef<Path>) -> StoreResult<()> {
        let (source, target) = (self.path.clone(), target.as_ref().to_owned());
        spawn::blocking(move || {
            let reserved = std::fs::OpenOptions::new().write(true).create_new(true).open(&target);
            reserved.map_err(|error| refused(&target, &error))?;
            let copied = copy(&source, &target);
            if copied.is_err() {
                // What is half there must not be taken for a backup; the first error is the one to report.
                let _ = std::fs::remove_file(&target);
            }
            copied
        })
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("the backup panicked".into())))
    }

    /// Reads the whole file and checks its structure; what is wrong with it, or nothing. May take minutes.
    ///
    /// # Errors
    /// `Unavailable` when it can't be opened or read.
    pub async fn check(&self) -> StoreResult<Vec<String>> {
        let path = self.path.clone();
        spawn::blocking(move || {
            let connection = open::reader(&path, BUSY).map_err(|error| refused(&path, &error))?;
            match integrity(&connection).map_err(|error| StoreError::from(Failure::from(error))) {
                Ok(mut found) => {
                    found.retain(|line| line != "ok");
                    Ok(found)
                }
                // Too damaged to go on: a finding like any other.
                Err(StoreError::Damaged(finding)) => Ok(vec![finding]),
                Err(error) => Err(error),
            }
        })
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("the check panicked".into())))
    }
}

fn integrity(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA integrity_check(20)")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

fn copy(source: &Path, target: &Path) -> StoreResult<()> {
    let from = open::reader(source, BUSY).map_err(|error| refused(source, &error))?;
    // A read transaction: without it every write of another connection would start the copy over.
    from.execute_batch("BEGIN; SELECT generation FROM fence").map_err(Failure::from)?;
    let mut to = Connection::open(target).map_err(Failure::from)?;
    let backup = Backup::new(&from, &mut to).map_err(Failure::from)?;
    loop {
        match backup.step(BACKUP_PAGES).map_err(Failure::from)? {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => std::thread::sleep(BACKUP_PAUSE),
        }
    }
}

fn refused(path: &Path, error: &dyn std::error::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

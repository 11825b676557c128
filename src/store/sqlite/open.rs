//! Opening the file: refusing what isn't ours, and the settings of every connection.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::migrate::MIGRATIONS;
use crate::store::migrate::{SchemaError, StepState, states};

/// "SHOL": tells our file from another program's.
pub const APPLICATION_ID: i64 = 0x5348_4F4C;

/// Compiled statements that a connection keeps.
const STATEMENTS: usize = 96;

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has it.
    #[error("{} is in use by another server (process {}); stop it first", path.display(), holder_text(*pid))]
    Locked {
        /// The database.
        path: PathBuf,
        /// Who holds it, if that could be read.
        pid: Option<u32>,
    },
    /// It is a database of another program.
    #[error("{} is a database, but not one of shoal's (application id {application_id:#x})", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it says it is.
        application_id: i64,
    },
    /// It isn't a readable database.
    #[error("{} is damaged or not a database: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// The schema isn't one that this version can work with.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The schema is older, and a running server prevents its change.
    #[error("the schema of {} must be upgraded, but a server is running on it (process {pid})", path.display())]
    UpgradeUnderServer {
        /// The database.
        path: PathBuf,
        /// The server.
        pid: u32,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Anything else that SQLite reports.
    #[error("database error: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

fn holder_text(pid: Option<u32>) -> String {
    pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string())
}

/// Names the file in errors about its content.
pub(super) fn at(path: &Path, error: OpenError) -> OpenError {
    let OpenError::Sqlite(error) = error else { return error };
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::Damaged { path: path.to_owned(), reason: error.to_string() }
        }
        _ => OpenError::Sqlite(error),
    }
}

/// A connection that may write.
pub(super) fn writer(path: &Path, busy: Duration) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    settings(&connection, busy)?;
    claim(&connection, path)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
    // What is acknowledged must survive a power cut, not only a crash of the process.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    Ok(connection)
}

/// The schema's steps and their states in a file, which is not changed; if there is no file, all are pending.
///
/// # Errors
/// When the file isn't ours, or its schema isn't one that this version can work with.
pub fn schema_of(path: &Path) -> Result<Vec<StepState>, OpenError> {
    if !path.exists() {
        return Ok(states(MIGRATIONS, &[])?);
    }
    let steps = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(OpenError::from)
        .and_then(|connection| super::migrate::schema(&connection));
    steps.map_err(|error| at(path, error))
}

/// A connection that only reads. The file is there already.
pub(super) fn reader(path: &Path, busy: Duration) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    settings(&connection, busy)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn settings(connection: &Connection, busy: Duration) -> Result<(), OpenError> {
    connection.busy_timeout(busy)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

/// Takes an empty file as ours; refuses another program's before anything in it is changed.
fn claim(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application_id = number("PRAGMA application_id")?;
    if application_id == APPLICATION_ID {
        return Ok(());
    }
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if application_id != 0 || tables > 0 || number("PRAGMA user_version")? != 0 {
        return Err(OpenError::Foreign { path: path.to_owned(), application_id });
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    Ok(())
}

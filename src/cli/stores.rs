//! Opening stores for commands that walk through whole farms.

use std::path::Path;
use std::sync::Arc;

use super::{CliError, control};
use crate::config::Config;
use crate::store::SharedStore;
use crate::store::sqlite::{DATABASE_FILE, Mode, SqliteStore, running};

/// The configured farm's store, with no server on it.
pub async fn alone(config: &Config) -> Result<SharedStore, CliError> {
    data_directory(&config.data_dir, control::server_pid(config)?)
}

/// The store that a user names: a data directory.
pub async fn named(place: &str) -> Result<SharedStore, CliError> {
    let dir = Path::new(place);
    let pid = running(&dir.join(DATABASE_FILE)).map_err(CliError::failed)?;
    data_directory(dir, pid)
}

/// The store in a data directory, locked as a server would lock it, so that none starts meanwhile.
fn data_directory(dir: &Path, server: Option<u32>) -> Result<SharedStore, CliError> {
    if let Some(pid) = server {
        return Err(CliError::failed(format!(
            "a server (process {pid}) runs on {}: stop it first, so that what is read and written is of one moment",
            dir.display()
        )));
    }
    std::fs::create_dir_all(dir).map_err(|error| CliError::failed(format!("{}: {error}", dir.display())))?;
    let store = SqliteStore::open(dir.join(DATABASE_FILE), Mode::Serve).map_err(CliError::failed)?;
    Ok(Arc::new(store))
}

//! Which store the configuration means, and opening it.

use std::sync::Arc;
use std::time::Duration;

use super::{CliError, control};
use crate::config::Config;
use crate::store::SharedStore;
use crate::store::mongo::{MongoSettings, MongoStore};
use crate::store::sqlite::{Mode, SqliteStore, acquire};
use crate::sys::random;

/// A server is heard of so often.
const ANNOUNCE: Duration = Duration::from_secs(10);

/// The part of the configuration that is MongoDB's; None if durable data lives in the data directory.
pub fn mongo_settings(config: &Config) -> Option<MongoSettings> {
    let url = config.mongodb_url.clone()?;
    Some(MongoSettings {
        url,
        database: config.mongodb_database.clone(),
        pool: config.mongodb_pool.get(),
        deadline: config.mongodb_deadline,
    })
}

/// The store, for the only server that works on it: a file is locked, a database on a server is announced. Its schema
/// is brought up to date.
///
/// # Errors
/// When it can't be reached, is another server's, or has a schema that this version can't work with.
pub async fn open(config: &Config, role: Role) -> Result<SharedStore, CliError> {
    std::fs::create_dir_all(&config.data_dir)
        .map_err(|error| CliError::failed(format!("{}: {error}", config.data_dir.display())))?;
    let Some(settings) = mongo_settings(config) else {
        let store = SqliteStore::open(control::database(config), Mode::Serve).map_err(CliError::failed)?;
        return Ok(Arc::new(store));
    };
    let lock = acquire(&control::database(config)).map_err(CliError::failed)?;
    let store = connect(&settings).await?.with_lock(lock);
    let other = store.announced().await.map_err(CliError::failed)?;
    match (role, other) {
        (Role::Command, Some(other)) => {
            return Err(CliError::failed(format!(
                "a server ({other}) works on that database: give the command on its machine, with its data directory"
            )));
        }
        (Role::Serve, Some(other)) => {
            tracing::warn!(%other, "another server worked on that database until now; it is shut out");
        }
        (_, None) => {}
    }
    for name in store.migrate().await.map_err(CliError::failed)? {
        tracing::info!(name, "schema step applied");
    }
    Ok(Arc::new(store))
}

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// To serve.
    Serve,
    /// To carry out one command where no server runs.
    Command,
}

/// Connects, and says in the log what the server is and what it lacks.
///
/// # Errors
/// When nobody answers.
pub async fn connect(settings: &MongoSettings) -> Result<MongoStore, CliError> {
    let store = MongoStore::connect(settings).await.map_err(CliError::failed)?;
    let facts = store.facts();
    tracing::info!(
        hosts = settings.url.hosts(),
        database = settings.database,
        version = facts.version,
        replica_set = facts.replica_set,
        pool = settings.pool,
        "connected to MongoDB"
    );
    for shortcoming in facts.shortcomings() {
        tracing::warn!("MongoDB: {shortcoming}");
    }
    Ok(store)
}

/// Says again and again that this process serves, until it is told to stop.
pub async fn announce(store: SharedStore) {
    let who = format!("process {} ({})", std::process::id(), random::identity());
    loop {
        if let Err(error) = store.announce(Some(&who)).await {
            tracing::warn!(%error, "this server could not announce itself");
        }
        tokio::time::sleep(ANNOUNCE).await;
    }
}

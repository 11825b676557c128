//! Which store the configuration means, and opening it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{CliError, control};
use crate::config::Config;
use crate::service::readiness;
use crate::store::mongo::{ConnectError, MigrateError, MongoSettings, MongoStore, MongoUrl};
use crate::store::sqlite::{DATABASE_FILE, Mode, SqliteStore, acquire, running};
use crate::store::{MiscStore, SharedStore};
use crate::sys::patience::{Patience, Wait};

/// A server is heard of so often.
const ANNOUNCE: Duration = Duration::from_secs(10);

/// Where everything is started at once, the database may be the last: a server waits for it, however long, and says so
/// meanwhile (`/startupz`, `/readyz`). Whoever started it knows when to give up. Not for what time doesn't mend, such as a
/// wrong password; a schema that it can't work with is mended by whoever shares it.
const OF_A_SERVER: Patience = Patience { patience: Duration::MAX, pause: Duration::from_millis(500) };

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

/// The store, for the server that works on it: a file is locked, a database on a server is announced. Its schema is
/// brought up to date. Where the schedule is shared, so is the database; only the data directory is this process's.
///
/// # Errors
/// When it can't be reached, is another server's, or has a schema that this version can't work with: a server waits for
/// all but the second, if the store is one that others share.
pub async fn open(config: &Config, role: Role) -> Result<SharedStore, CliError> {
    std::fs::create_dir_all(&config.data_dir)
        .map_err(|error| CliError::failed(format!("{}: {error}", config.data_dir.display())))?;
    let Some(settings) = mongo_settings(config) else {
        // A schema that doesn't fit is the end of it here, and rightly so: nobody else changes the file, so what is wrong
        // is the executable, and whoever started it should hear that at once.
        let store = SqliteStore::open(control::database(config), Mode::Serve).map_err(CliError::failed)?;
        return Ok(Arc::new(store));
    };
    let lock = acquire(&control::database(config)).map_err(CliError::failed)?;
    let waiting = format!("no database at {} yet", settings.url.hosts());
    let shared = config.redis_url.is_some();
    let prepare = async || prepare(&settings, role, shared).await;
    let waits_for = |obstacle: &Obstacle| obstacle.passes.then(|| Wait::to_start(&waiting));
    let store = role.patience().ask(waits_for, prepare).await;
    Ok(Arc::new(store.map_err(|obstacle| obstacle.error)?.with_lock(lock)))
}

/// Why a database can't be worked with now.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
struct Obstacle {
    error: CliError,
    /// Whether it may be different in a moment.
    passes: bool,
}

impl Obstacle {
    fn now(error: impl std::fmt::Display) -> Self {
        Self { error: CliError::failed(error), passes: true }
    }

    fn always(error: impl std::fmt::Display) -> Self {
        Self { error: CliError::failed(error), passes: false }
    }
}

/// Connects, looks who else works there, and brings the schema up to date.
async fn prepare(settings: &MongoSettings, role: Role, shared: bool) -> Result<MongoStore, Obstacle> {
    let store = reach(settings).await.map_err(|error| match error {
        ConnectError::Never(_) => Obstacle::always(error),
        ConnectError::Now(error) => Obstacle::now(error),
    })?;
    let other = store.announced().await.map_err(Obstacle::now)?;
    match (role, other) {
        (Role::Serve | Role::Command, Some(_)) if shared => {}
        (Role::Alone, Some(other)) => {
            return Err(Obstacle::always(format!(
                "a server ({other}) works on that database: stop it first, and whatever shares it"
            )));
        }
        (Role::Command, Some(other)) => {
            return Err(Obstacle::always(format!(
                "a server ({other}) works on that database: give the command on its machine, with its data directory"
            )));
        }
        (Role::Serve, Some(other)) => {
            tracing::warn!(%other, "another server worked on that database until now; it is shut out");
        }
        (_, None) => {}
    }
    // On the connection that is there. The operator rolls forward or back, and nobody has to start this process again.
    let waits_for = |error: &MigrateError| match error {
        MigrateError::Schema(_) => Some(Wait {
            culprit: readiness::SCHEMA,
            text: "the database's schema is none that this version can work with".to_owned(),
        }),
        _ => None,
    };
    let applied = role.patience().ask(waits_for, async || store.migrate().await).await;
    let applied = applied.map_err(|error| match error {
        MigrateError::Store(error) => Obstacle::now(error),
        error => Obstacle::always(error),
    })?;
    for name in applied {
        tracing::info!(name, "schema step applied");
    }
    Ok(store)
}

/// The configured farm's store for a command that walks through all of it: no server may run.
///
/// # Errors
/// When one does, and as [`open`].
pub async fn alone(config: &Config) -> Result<SharedStore, CliError> {
    if let Some(pid) = control::server_pid(config)? {
        return Err(served(pid, &config.data_dir));
    }
    open(config, Role::Alone).await
}

/// The store in a place that a person names: `mongodb://HOSTS/DATABASE`, or a data directory. Pool and deadline are
/// the configured ones.
///
/// # Errors
/// When a server works on it, and as [`open`].
pub async fn named(config: &Config, place: &str) -> Result<SharedStore, CliError> {
    if !place.contains("://") {
        let dir = Path::new(place);
        let database = dir.join(DATABASE_FILE);
        if let Some(pid) = running(&database).map_err(CliError::failed)? {
            return Err(served(pid, dir));
        }
        std::fs::create_dir_all(dir)
            .map_err(|error| CliError::failed(format!("{}: {error}", dir.display())))?;
        return Ok(Arc::new(SqliteStore::open(database, Mode::Serve).map_err(CliError::failed)?));
    }
    let settings = address(config, place)?;
    let store = connect(&settings).await?;
    if let Some(other) = store.announced().await.map_err(CliError::failed)? {
        return Err(CliError::failed(format!("a server ({other}) works on that database: stop it first")));
    }
    store.migrate().await.map_err(CliError::failed)?;
    Ok(Arc::new(store))
}

/// A database that a person names: `mongodb://HOSTS/DATABASE`. Pool and deadline are the configured ones.
///
/// # Errors
/// When it is no such address.
pub fn address(config: &Config, place: &str) -> Result<MongoSettings, CliError> {
    let url = MongoUrl::new(place).map_err(CliError::failed)?;
    let named = url.database().map(str::to_owned);
    let database =
        named.ok_or_else(|| CliError::failed("the address names no database: mongodb://HOSTS/DATABASE"))?;
    Ok(MongoSettings { url, database, pool: config.mongodb_pool.get(), deadline: config.mongodb_deadline })
}

fn served(pid: u32, dir: &Path) -> CliError {
    CliError::failed(format!(
        "a server (process {pid}) runs on {}: stop it first, so that what is read and written is of one moment",
        dir.display()
    ))
}

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// To serve.
    Serve,
    /// To carry out one command where no server runs on the data directory.
    Command,
    /// To carry out one command that wants the farm for itself.
    Alone,
}

impl Role {
    /// How long it waits for a store that is away, or too slow: a person who gave a command is told at once.
    pub(super) fn patience(self) -> Patience {
        match self {
            Self::Serve => OF_A_SERVER,
            Self::Command | Self::Alone => Patience::NONE,
        }
    }
}

/// Connects, and says in the log what the server is and what it lacks.
///
/// # Errors
/// When nobody answers, or never can with these settings.
pub async fn connect(settings: &MongoSettings) -> Result<MongoStore, CliError> {
    reach(settings).await.map_err(CliError::failed)
}

async fn reach(settings: &MongoSettings) -> Result<MongoStore, ConnectError> {
    let store = MongoStore::connect(settings).await?;
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
pub async fn announce(store: SharedStore, identity: String) {
    let who = format!("process {} ({identity})", std::process::id());
    loop {
        if let Err(error) = store.announce(Some(&who)).await {
            tracing::warn!(%error, "this server could not announce itself");
        }
        tokio::time::sleep(ANNOUNCE).await;
    }
}

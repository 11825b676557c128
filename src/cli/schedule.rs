//! Where the schedule lives: in this process, or on a server that others share.

use std::sync::Arc;
use std::time::Duration;

use super::CliError;
use super::store::{self, Role};
use crate::config::Config;
use crate::service::membership::Standing;
use crate::service::{Farm, FarmSettings};
use crate::state::StateError;
use crate::state::memory::MemoryState;
use crate::state::redis::{RedisSettings, RedisState};
use crate::sys::clock::{Clock, SystemClock, stopwatch};
use crate::sys::patience::Wait;

/// How long a command waits for a schedule that is being loaded.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(200);

/// The part of the configuration that is Redis'; None if the schedule lives in the server's process.
pub fn redis_settings(config: &Config) -> Option<RedisSettings> {
    let url = config.redis_url.clone()?;
    Some(RedisSettings {
        url,
        prefix: config.redis_prefix.clone(),
        deadline: config.redis_deadline,
        pool: config.redis_pool.get() as usize,
    })
}

/// Opens the store and the schedule. One of this process's own is loaded when this returns; one that is shared is joined
/// by a server later, while it runs ([`Farm::take_part`]), and by a command before this returns.
///
/// # Errors
/// When one of them can't be reached, or the schedule not be loaded.
pub async fn open(config: &Config, role: Role, settings: FarmSettings) -> Result<Arc<Farm>, CliError> {
    let store = store::open(config, role).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let Some(redis) = redis_settings(config) else {
        let state = Arc::new(MemoryState::new(clock.clone()));
        let farm = Farm::new(state, store, clock, settings);
        farm.rebuild_patiently(role.patience()).await.map_err(CliError::failed)?;
        return Ok(farm);
    };
    let state = connect(&redis, role).await?;
    let farm = Farm::new(state, store, clock, FarmSettings { shared: true, ..settings });
    if role != Role::Serve {
        join(&farm).await?;
    }
    Ok(farm)
}

/// Connects, and says in the log what the server is and what it lacks.
async fn connect(settings: &RedisSettings, role: Role) -> Result<Arc<RedisState>, CliError> {
    let waiting = format!("no Redis at {} yet", settings.url.hosts());
    let waits_for = |error: &StateError| {
        let passes = matches!(error, StateError::Unavailable(_) | StateError::Unknown(_));
        passes.then(|| Wait::to_start(&waiting))
    };
    let connect = async || RedisState::connect(settings).await;
    let state = role.patience().ask(waits_for, connect).await.map_err(CliError::failed)?;
    let facts = state.facts();
    tracing::info!(
        hosts = settings.url.hosts(),
        prefix = settings.prefix,
        version = facts.version,
        mode = facts.mode,
        maxmemory_policy = facts.maxmemory_policy,
        "connected to Redis"
    );
    for shortcoming in facts.shortcomings() {
        tracing::warn!("Redis: {shortcoming}");
    }
    Ok(state)
}

/// Joins the schedule as one more replica, for one command. Where no server lives that would load it, this process does.
async fn join(farm: &Arc<Farm>) -> Result<(), CliError> {
    let alone = farm.store.announced().await.map_err(CliError::failed)?.is_none();
    let began = stopwatch();
    loop {
        let looked = farm.look(alone).await;
        match &looked {
            Ok(Standing::Serving) => return Ok(()),
            Ok(behind @ Standing::StoreBehind { .. }) => return Err(CliError::failed(behind)),
            _ if began.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
            Ok(other) => return Err(CliError::failed(other)),
            Err(error) => return Err(CliError::failed(error)),
        }
    }
}

//! The way to the server: connections that requests share, a pool for what holds one for longer, finding the primary anew,
//! and a breaker, so that nobody waits for a server that is known to be away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_redis::{Manager, Pool, PoolConfig, Runtime, Timeouts};
use parking_lot::RwLock;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, RedisResult, TlsMode, Value};

use super::breaker::Breaker;
use super::errors::{Class, class, state_error};
use super::settings::{Place, RedisSettings};
use crate::state::StateResult;
use crate::telemetry::catalogue;

/// Connections that requests share. Each carries as many requests at once as there are (automatic pipelining); with two, a
/// long answer on one doesn't keep everybody.
const LANES: usize = 2;

/// What holds a connection may take so many deadlines for one answer.
const PATIENT: u32 = 5;

/// A connection to the server that takes writes.
enum Primary {
    Server { client: Client, lanes: Vec<MultiplexedConnection>, next: AtomicUsize, pool: Pool },
    Cluster { client: Client, hot: ClusterConnection, bulk: ClusterConnection },
}

/// How a command is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// On a shared connection: what a worker waits for.
    Shared,
    /// On a shared connection, if there is one: what isn't worth connecting for. Who gives it up early would give up
    /// connecting, too, and again and again nobody would be connected.
    Spare,
    /// On a connection of its own: what is long.
    Own,
}

pub(super) struct Link {
    settings: RedisSettings,
    current: RwLock<Option<Arc<Primary>>>,
    making: tokio::sync::Mutex<Option<SentinelClient>>,
    breaker: Breaker,
}

impl Link {
    pub(super) fn new(settings: RedisSettings) -> Self {
        Self {
            settings,
            current: RwLock::new(None),
            making: tokio::sync::Mutex::new(None),
            breaker: Breaker::default(),
        }
    }

    /// Sends a command and waits for its answer, for no longer than the deadline. Errors of the server are errors here.
    pub(super) async fn send(&self, command: &Cmd, way: Way) -> Result<Value, RedisError> {
        let connected = self.current.read().clone();
        let primary = match (connected, way) {
            (Some(primary), _) => primary,
            (None, Way::Spare) => return Err(away("not connected now".to_owned())),
            // What every request would carry with it for what hardly any needs has a place of its own.
            (None, Way::Shared | Way::Own) => Box::pin(self.primary()).await?,
        };
        let answer = tokio::time::timeout(self.deadline(way), run(&primary, command, way)).await;
        let answer = match answer {
            Ok(answer) => answer.and_then(Value::extract_error),
            Err(_) => Err(late()),
        };
        match &answer {
            Ok(_) => self.breaker.well(),
            Err(error) if matches!(class(error), Class::Unknown | Class::Elsewhere) => {
                self.give_up(&primary, error)
            }
            Err(_) => {}
        }
        answer
    }

    pub(super) fn deadline(&self, way: Way) -> Duration {
        match way {
            Way::Shared | Way::Spare => self.settings.deadline,
            Way::Own => self.settings.deadline * PATIENT,
        }
    }

    /// Shows how the pool is used.
    pub(super) fn observe(&self) {
        let current = self.current.read();
        let pool = match current.as_deref() {
            Some(Primary::Server { pool, .. }) => Some(pool.status()),
            Some(Primary::Cluster { .. }) | None => None,
        };
        let (size, idle, waiting) = pool.map_or((0, 0, 0), |pool| (pool.size, pool.available, pool.waiting));
        catalogue::REDIS_POOL.set([], size as f64);
        catalogue::REDIS_POOL_USED.set([], size.saturating_sub(idle) as f64);
        catalogue::REDIS_POOL_WAITING.set([], waiting as f64);
    }

    /// A client for a subscription of its own.
    pub(super) async fn client(&self) -> StateResult<Client> {
        let primary = self.primary().await.map_err(|error| state_error(&error))?;
        Ok(match &*primary {
            Primary::Server { client, .. } | Primary::Cluster { client, .. } => client.clone(),
        })
    }

    /// Whoever still waits on the connection goes on waiting; nobody new is sent there.
    fn give_up(&self, primary: &Arc<Primary>, error: &RedisError) {
        let mut current = self.current.write();
        if current.as_ref().is_some_and(|there| Arc::ptr_eq(there, primary)) {
            *current = None;
            catalogue::REDIS_CONNECTIONS_LOST.increment([]);
            tracing::warn!(%error, "the connection to the schedule's server is given up");
        }
    }

    async fn primary(&self) -> Result<Arc<Primary>, RedisError> {
        if let Some(primary) = self.current.read().clone() {
            return Ok(primary);
        }
        self.breaker.admits().map_err(away)?;
        let mut sentinel = if self.breaker.is_troubled() {
            // One tries; the others are told at once.
            self.making.try_lock().map_err(|_| away("it is being looked for".to_owned()))?
        } else {
            self.making.lock().await
        };
        if let Some(primary) = self.current.read().clone() {
            return Ok(primary);
        }
        self.breaker.admits().map_err(away)?;
        let connecting = tokio::time::timeout(self.settings.deadline, self.connect(&mut sentinel));
        match connecting.await.unwrap_or_else(|_| Err(late())) {
            Ok(primary) => {
                let primary = Arc::new(primary);
                *self.current.write() = Some(primary.clone());
                self.breaker.well();
                Ok(primary)
            }
            Err(error) => {
                // What the sentinels said may be what was wrong.
                *sentinel = None;
                self.breaker.failed(&error.to_string());
                Err(away(error.to_string()))
            }
        }
    }

    async fn connect(&self, sentinel: &mut Option<SentinelClient>) -> RedisResult<Primary> {
        match self.settings.url.place() {
            Place::Single(info) => self.server(Client::open((**info).clone())?).await,
            Place::Sentinel { sentinels, service, node } => {
                let client = match sentinel {
                    Some(client) => client,
                    None => {
                        let mut there = SentinelNodeConnectionInfo::default()
                            .set_redis_connection_info(node.redis_settings().clone());
                        if matches!(node.addr(), redis::ConnectionAddr::TcpTls { .. }) {
                            there = there.set_tls_mode(TlsMode::Secure);
                        }
                        let sentinels = sentinels.clone();
                        sentinel.insert(SentinelClient::build(
                            sentinels,
                            service.clone(),
                            Some(there),
                            SentinelServerType::Master,
                        )?)
                    }
                };
                let client = client.async_get_client().await?;
                self.server(client).await
            }
            Place::Cluster(nodes) => {
                let first = nodes.first().cloned();
                let first = first.ok_or_else(|| away("the address names no host".to_owned()))?;
                let connect = |response| {
                    ClusterClientBuilder::new(nodes.clone())
                        .connection_timeout(self.settings.deadline)
                        .response_timeout(response)
                        // Repeating is up to who knows whether that is safe.
                        .retries(0)
                        .build()
                };
                let hot = connect(self.deadline(Way::Shared))?.get_async_connection().await?;
                let bulk = connect(self.deadline(Way::Own))?.get_async_connection().await?;
                Ok(Primary::Cluster { client: Client::open(first)?, hot, bulk })
            }
        }
    }

    async fn server(&self, client: Client) -> RedisResult<Primary> {
        let config = |response| {
            AsyncConnectionConfig::new()
                .set_connection_timeout(Some(self.settings.deadline))
                .set_response_timeout(Some(response))
        };
        let mut lanes = Vec::with_capacity(LANES);
        for _ in 0..LANES {
            let config = config(self.deadline(Way::Shared));
            lanes.push(client.get_multiplexed_async_connection_with_config(&config).await?);
        }
        let manager =
            Manager::new_with_config(client.get_connection_info().clone(), config(self.deadline(Way::Own)))?;
        let wait = Some(self.settings.deadline);
        let mut limits = PoolConfig::new(self.settings.pool.max(1));
        limits.timeouts = Timeouts { wait, create: wait, recycle: wait };
        let pool = Pool::builder(manager).config(limits).runtime(Runtime::Tokio1).build();
        let pool = pool.map_err(|error| away(error.to_string()))?;
        Ok(Primary::Server { client, lanes, next: AtomicUsize::new(0), pool })
    }
}

async fn run(primary: &Primary, command: &Cmd, way: Way) -> RedisResult<Value> {
    match (primary, way) {
        (Primary::Server { lanes, next, .. }, Way::Shared | Way::Spare) => {
            let lane = lanes.get(next.fetch_add(1, Ordering::Relaxed) % LANES);
            let mut lane = lane.cloned().ok_or_else(|| away("no connection".to_owned()))?;
            lane.req_packed_command(command).await
        }
        (Primary::Server { pool, .. }, Way::Own) => {
            Box::pin(async {
                let mut connection = pool.get().await.map_err(|error| away(error.to_string()))?;
                let answer = connection.req_packed_command(command).await;
                if answer.as_ref().is_err_and(|error| class(error) == Class::Unknown) {
                    // It may still be busy with what nobody waits for any more.
                    drop(deadpool_redis::Connection::take(connection));
                }
                answer
            })
            .await
        }
        (Primary::Cluster { hot, .. }, Way::Shared | Way::Spare) => {
            Box::pin(async { hot.clone().req_packed_command(command).await }).await
        }
        (Primary::Cluster { bulk, .. }, Way::Own) => {
            Box::pin(async { bulk.clone().req_packed_command(command).await }).await
        }
    }
}

/// Nothing was sent.
fn away(why: String) -> RedisError {
    let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, why);
    RedisError::from(refused)
}

/// It was sent, and what came of it isn't known.
fn late() -> RedisError {
    RedisError::from((ErrorKind::Io, "no answer in time"))
}

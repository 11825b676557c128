//! `shoal serve`: the life of a server, from the first line of its log to the last.

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{CliError, CliResult, control};
use crate::config::Config;
use crate::domain::action::{Action, Event};
use crate::http::{self, HttpSettings};
use crate::scheduler;
use crate::service::{Farm, FarmSettings};
use crate::sys::spawn;
use crate::telemetry;

/// What a server is put together from.
pub struct FarmParts {
    /// The farm, with its schedule loaded.
    pub farm: Arc<Farm>,
    /// Where it listens.
    pub listener: TcpListener,
    /// What `/metrics` answers from.
    pub metrics: Option<PrometheusHandle>,
}

/// A running server.
pub struct Running {
    farm: Arc<Farm>,
    http: ServerHandle,
    http_done: JoinHandle<std::io::Result<()>>,
    control: ServerHandle,
    control_done: JoinHandle<std::io::Result<()>>,
    stop: watch::Sender<bool>,
    scheduler: JoinHandle<()>,
}

impl Running {
    /// Starts answering and scheduling.
    pub fn start(config: &Config, parts: FarmParts) -> Result<Self, CliError> {
        let FarmParts { farm, listener, metrics } = parts;
        let settings = Arc::new(HttpSettings::from_config(config, metrics));
        let server = http::serve(farm.clone(), settings, listener, config.http_workers)
            .map_err(|error| CliError::failed(format!("the server does not start: {error}")))?;
        let socket = control::socket(config);
        let control_server = http::control::serve(farm.clone(), &socket)
            .map_err(|error| CliError::failed(format!("{}: {error}", socket.display())))?;
        let (stop, stopped) = watch::channel(false);
        Ok(Self {
            http: server.handle(),
            http_done: spawn::task("http", server),
            control: control_server.handle(),
            control_done: spawn::task("control", control_server),
            scheduler: scheduler::start(farm.clone(), stopped),
            farm,
            stop,
        })
    }

    /// Shuts down: readiness goes false, a grace for load balancers, no new requests, those in flight finish, the
    /// schedule's counters are written, leadership is handed over.
    pub async fn stop(self, grace: Duration) {
        self.farm.set_draining();
        tokio::time::sleep(grace).await;
        self.http.stop(true).await;
        let _ = self.http_done.await;
        self.control.stop(true).await;
        let _ = self.control_done.await;
        let _ = self.stop.send(true);
        let _ = self.scheduler.await;
        for (what, result) in [
            ("the last versions", self.farm.sweep_all().await.map(|_| ())),
            ("the counters", self.farm.flush_runs().await.map(|_| ())),
            ("what workers have seen", self.farm.keep_seen().await),
        ] {
            if let Err(error) = result {
                tracing::error!(%error, "{what} could not be written; the next start recomputes them");
            }
        }
    }
}

/// Serves until SIGTERM or Ctrl-C.
pub async fn serve(config: Config) -> CliResult {
    let metrics = telemetry::init(&config).map_err(CliError::failed)?;
    let listener = TcpListener::bind(config.listen)
        .map_err(|error| CliError::failed(format!("listen: {}: {error}", config.listen)))?;
    let address = listener.local_addr().map_err(CliError::failed)?;
    let farm = control::open(&config, farm_settings(&config, address.port())).await?;
    let grace = config.shutdown_grace;
    system_event(&farm, &format!("start fishtest@{}", address.port())).await;
    let running =
        Running::start(&config, FarmParts { farm: farm.clone(), listener, metrics: Some(metrics) })?;
    tracing::info!(%address, data = %config.data_dir.display(), "listening on {address}");
    terminated().await;
    tracing::info!("shutting down");
    running.stop(grace).await;
    system_event(&farm, &format!("stop fishtest@{}", address.port())).await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn farm_settings(config: &Config, port: u16) -> FarmSettings {
    FarmSettings {
        request_slots: config.request_slots,
        max_unpacked_pgn: config.max_unpacked_pgn,
        nn_url: config.nn_url.clone(),
        port: Some(port),
        ..FarmSettings::default()
    }
}

async fn system_event(farm: &Farm, message: &str) {
    let action = Action::by_system(Event::SystemEvent { message: message.to_owned() });
    if let Err(error) = farm.log(&[action]).await {
        tracing::warn!(%error, message, "an event could not be logged");
    }
}

/// Completes at SIGTERM or Ctrl-C.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM can't be caught");
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

//! `shoal serve`: the life of a server, from the first line of its log to the last.

use std::future::Future;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::store::{self, Role};
use super::{CliError, CliResult, control, schedule};
use crate::config::Config;
use crate::domain::action::{Action, Event};
use crate::github::GitHubSettings;
use crate::http::{self, HttpSettings, Site};
use crate::scheduler;
use crate::service::degrade::StorePolicy;
use crate::service::readiness::ReadinessSettings;
use crate::service::{Farm, FarmSettings};
use crate::sys::{clock, random, spawn};
use crate::telemetry::{self, Exposition, otlp};

/// Between the first refusal and the end of listening (`spec/worker-api.md` section 1.7).
const FAREWELL: Duration = Duration::from_millis(500);

/// How long the last spans may take to be sent.
const LAST_SPANS: Duration = Duration::from_secs(5);

/// What a server is put together from.
pub struct FarmParts {
    /// The farm, with its schedule loaded.
    pub farm: Arc<Farm>,
    /// Where it listens.
    pub listener: TcpListener,
    /// What `/metrics` answers from.
    pub metrics: Option<Exposition>,
}

/// A running server.
pub struct Running {
    farm: Arc<Farm>,
    site: Arc<Site>,
    http: ServerHandle,
    http_done: JoinHandle<std::io::Result<()>>,
    control: ServerHandle,
    control_done: JoinHandle<std::io::Result<()>>,
    /// Ends the leader's work.
    stop: watch::Sender<bool>,
    /// Ends the part in the shared schedule.
    leave: watch::Sender<bool>,
    drain: Duration,
    grace: Duration,
    scheduler: JoinHandle<()>,
    membership: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts answering and scheduling.
    pub fn start(config: &Config, parts: FarmParts) -> Result<Self, CliError> {
        let FarmParts { farm, listener, metrics } = parts;
        let site = Site::new(farm.clone(), http_settings(config), metrics);
        let server = http::serve(site.clone(), listener, config.http_workers)
            .map_err(|error| CliError::failed(format!("the server does not start: {error}")))?;
        let socket = control::socket(config);
        let control_server = http::control::serve_control(farm.clone(), &socket)
            .map_err(|error| CliError::failed(format!("{}: {error}", socket.display())))?;
        let (stop, stopped) = watch::channel(false);
        let (leave, left) = watch::channel(false);
        Ok(Self {
            http: server.handle(),
            http_done: spawn::task("http", server),
            control: control_server.handle(),
            control_done: spawn::task("control", control_server),
            membership: farm.membership.is_shared().then(|| farm.take_part(left)),
            scheduler: scheduler::start(farm.clone(), stopped),
            farm,
            site,
            stop,
            leave,
            drain: config.drain_period,
            grace: config.shutdown_grace,
        })
    }

    /// Shuts down. Readiness goes false and leadership is handed over; for the drain period requests are served as before,
    /// each on a connection that is closed behind it, until balancers have noticed. Then whoever asks is told to ask
    /// again, requests in flight finish, and the schedule's counters are written.
    pub async fn stop(self) {
        self.farm.set_draining();
        // Leadership first: another replica has to act soon, however long the last requests take here.
        let _ = self.stop.send(true);
        tokio::time::sleep(self.drain).await;
        self.site.begin_shutdown();
        let _ = self.leave.send(true);
        tokio::time::sleep(FAREWELL).await;
        self.http.stop(true).await;
        let _ = self.http_done.await;
        self.control.stop(true).await;
        let _ = self.control_done.await;
        let _ = self.scheduler.await;
        if let Some(membership) = self.membership {
            let _ = membership.await;
        }
        write_last_versions(&self.farm, self.grace).await;
        if self.farm.membership.is_shared() {
            // The rest is the leader's, and there is another.
            return;
        }
        for (what, result) in [
            ("the counters", self.farm.flush_runs().await.map(|_| ())),
            ("what workers have seen", self.farm.keep_seen().await),
        ] {
            if let Err(error) = result {
                tracing::error!(%error, "{what} could not be written; the next start recomputes them");
            }
        }
    }
}

/// Most of it is durable already, or was never answered for. Under `degrade` it may be neither, and then the store
/// has the whole grace to come back. Where the schedule is shared, other replicas go on trying.
async fn write_last_versions(farm: &Farm, grace: Duration) {
    let began = clock::stopwatch();
    while let Err(error) = farm.sweep_all().await {
        let alone = !farm.membership.is_shared();
        if alone && began.elapsed() < grace && farm.settings.store_policy == StorePolicy::Degrade {
            tracing::warn!(%error, "the store is away, and results may wait for it; trying again");
            tokio::time::sleep(FAREWELL).await;
            continue;
        }
        let waiting = farm.state.count_dirty().await.unwrap_or(0);
        tracing::error!(%error, tasks = waiting, "the last versions of tasks could not be written");
        return;
    }
}

/// Serves until SIGTERM or Ctrl-C; `/metrics` asks the allocator, if there is a way to.
pub async fn serve(config: Config, allocator: Option<telemetry::allocator::Probe>) -> CliResult {
    let traces = init_logs(&config)?;
    let metrics = telemetry::install_metrics(allocator).map_err(CliError::failed)?;
    spawn::task("metrics upkeep", upkeep(metrics.clone()));
    let mut stops = Stops::listen();
    let listener = TcpListener::bind(config.listen)
        .map_err(|error| CliError::failed(format!("listen: {}: {error}", config.listen)))?;
    let address = listener.local_addr().map_err(CliError::failed)?;
    let opening = schedule::open(&config, Role::Serve, farm_settings(&config, address.port()));
    let Some(farm) = open_from_lobby(&listener, &metrics, opening, &mut stops).await? else {
        tracing::info!("stopped before there was a farm");
        return Ok(ExitCode::SUCCESS);
    };
    let announcing = spawn::task("announce", store::announce(farm.store.clone(), farm.identity.clone()));
    let running =
        Running::start(&config, FarmParts { farm: farm.clone(), listener, metrics: Some(metrics) })?;
    tracing::info!(%address, replica = %farm.identity, data = %config.data_dir.display(), "listening on {address}");
    // Not before it serves: the store may be slow.
    let name = name(&farm, address.port());
    system_event(&farm, &format!("start {name}")).await;
    stops.next().await;
    tracing::info!(drain = ?config.drain_period, "shutting down");
    tokio::select! {
        biased;
        () = running.stop() => {}
        () = stops.next() => {
            // What was acknowledged is durable; the rest is what a crash would leave.
            tracing::warn!("told to stop once more: giving up what is under way");
            return Ok(ExitCode::FAILURE);
        }
    }
    system_event(&farm, &format!("stop {name}")).await;
    announcing.abort();
    if let Err(error) = farm.store.announce(None).await {
        tracing::warn!(%error, "commands will take this server for alive for some seconds");
    }
    tracing::info!("stopped");
    if let Some(traces) = traces {
        traces.finish(LAST_SPANS).await;
    }
    Ok(ExitCode::SUCCESS)
}

/// Logs, and traces if there is a collector.
fn init_logs(config: &Config) -> Result<Option<otlp::Traces>, CliError> {
    let endpoint = config.otlp_endpoint.clone();
    let settings = endpoint.map(|endpoint| otlp::OtlpSettings::new(endpoint, random::identity()));
    let started = settings.map(otlp::start).transpose().map_err(CliError::failed)?;
    let (layer, traces) = started.unzip();
    telemetry::init_logs(&config.log, config.log_format, layer).map_err(CliError::failed)?;
    Ok(traces)
}

/// Listens while a farm is being opened, so that whoever asks hears what it waits for. None if the process was told to stop
/// meanwhile.
async fn open_from_lobby(
    listener: &TcpListener,
    metrics: &Exposition,
    opening: impl Future<Output = Result<Arc<Farm>, CliError>>,
    stops: &mut Stops,
) -> Result<Option<Arc<Farm>>, CliError> {
    let listener = listener.try_clone().map_err(CliError::failed)?;
    let lobby = http::lobby::serve_lobby(listener, Some(metrics.clone()))
        .map_err(|error| CliError::failed(format!("the server does not start: {error}")))?;
    let handle = lobby.handle();
    let done = spawn::task("lobby", lobby);
    let farm = tokio::select! {
        opened = opening => Some(opened),
        () = stops.next() => None,
    };
    // What comes meanwhile waits on the listener for the farm.
    handle.stop(true).await;
    let _ = done.await;
    farm.transpose()
}

/// Keeps the samples of histograms that nobody asks for from piling up.
async fn upkeep(metrics: Exposition) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        metrics.run_upkeep();
    }
}

fn http_settings(config: &Config) -> HttpSettings {
    let defaults = HttpSettings::default();
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let count = |count: std::num::NonZeroU32| count.get() as usize;
    HttpSettings {
        trusted_proxies: config.trusted_proxies.clone(),
        worker_body_limit: size(config.worker_body_limit),
        pgn_body_limit: size(config.pgn_body_limit),
        worker_slots: count(config.worker_in_flight),
        read_slots: count(config.read_in_flight),
        read_rate: f64::from(config.read_rate_limit),
        shutdown_timeout: config.shutdown_grace,
        read_burst: f64::from(config.read_rate_burst.get()),
        liveness_limit: config.liveness_limit,
        ..defaults
    }
}

fn farm_settings(config: &Config, port: u16) -> FarmSettings {
    FarmSettings {
        request_slots: config.request_slots.get(),
        max_unpacked_pgn: config.max_unpacked_pgn,
        nn_url: config.nn_url.clone(),
        port: Some(port),
        github: github_settings(config),
        store_policy: config.store_policy,
        degrade_limit: config.degrade_limit.get() as usize,
        readiness: ReadinessSettings {
            period: config.readiness_period,
            deadline: config.readiness_deadline,
            failures: config.readiness_failures.get(),
            successes: config.readiness_successes.get(),
        },
        ..FarmSettings::default()
    }
}

/// What the configuration says about GitHub.
pub fn github_settings(config: &Config) -> GitHubSettings {
    GitHubSettings {
        api: config.github_api_url.clone(),
        raw: config.github_raw_url.clone(),
        token: config.github_token.clone(),
        ..GitHubSettings::default()
    }
}

/// How the event log names this server: of several, by its identity, too.
fn name(farm: &Farm, port: u16) -> String {
    let name = format!("fishtest@{port}");
    if farm.membership.is_shared() { format!("{name} ({})", farm.identity) } else { name }
}

async fn system_event(farm: &Farm, message: &str) {
    let action = Action::by_system(Event::SystemEvent { message: message.to_owned() });
    if let Err(error) = farm.log(&[action]).await {
        tracing::warn!(%error, message, "an event could not be logged");
    }
}

/// SIGTERM and Ctrl-C, from the moment that somebody listens: one that comes while nobody waits for it counts at the next wait.
pub(super) struct Stops {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Stops {
    pub(super) fn listen() -> Self {
        let listen = |kind, name| {
            let listening = signal(kind);
            listening.inspect_err(|error| tracing::warn!(%error, "{name} can't be caught")).ok()
        };
        Self {
            terminate: listen(SignalKind::terminate(), "SIGTERM"),
            interrupt: listen(SignalKind::interrupt(), "SIGINT"),
        }
    }

    /// Completes at the next of them.
    pub(super) async fn next(&mut self) {
        async fn one(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = one(&mut self.terminate) => {}
            () = one(&mut self.interrupt) => {}
        }
    }
}

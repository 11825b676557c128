//! The edges of the farm that speak HTTP (`spec/worker-api.md`, `spec/read-api.md`; architecture, section 7).
//!
//! Every request goes through [`dispatch`]: shutdown, routing, overload, then one handler. Workers' requests run in a
//! task of their own, so that neither a panic nor a client that hangs up leaves a use case half done. [`error`] is
//! the one place that maps what went wrong to the wire.

mod body;
pub mod client_addr;
pub mod control;
mod dispatch;
mod downloads;
mod error;
mod gate;
mod health;
pub mod lobby;
mod metrics;
mod object;
mod pulse;
mod rate_limit;
mod read_api;
mod request_id;
mod route;
mod worker_api;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpRequest, HttpServer, web};
use tokio::sync::Semaphore;

use self::body::Bodies;
use self::gate::{Class, Gate};
use self::pulse::Pulse;
use self::rate_limit::RateLimiter;
use crate::config::{Network, TrustedProxies};
use crate::service::Farm;
use crate::sys::spawn;
use crate::telemetry::metric::Held;
use crate::telemetry::{Exposition, catalogue};

/// What the HTTP edge can be told.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Peers whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: TrustedProxies,
    /// Largest body of a worker's request but for uploads, bytes.
    pub worker_body_limit: usize,
    /// Largest body of an upload of games, bytes.
    pub pgn_body_limit: usize,
    /// Large bodies that may be in memory at once, bytes. At least one upload is always admitted.
    pub body_memory: usize,
    /// A worker's request is answered within this time; the worker itself gives up after 30 s.
    pub request_deadline: Duration,
    /// A public read is answered within this time.
    pub read_deadline: Duration,
    /// How long the body of an upload may take to arrive.
    pub upload_deadline: Duration,
    /// How long the next piece of a body, or room for the next piece of a download, may take.
    pub stall_deadline: Duration,
    /// How long a new connection may be without a whole request head. Longer than clients and balancers keep a
    /// connection that they opened ahead of need: what ends this wait is a 408, and one that crosses a request on its
    /// way would be taken for its answer.
    pub head_deadline: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// How long requests in flight may go on when the server stops.
    pub shutdown_timeout: Duration,
    /// Connections per thread.
    pub max_connections: usize,
    /// Workers' requests in flight.
    pub worker_slots: usize,
    /// Workers' requests that wait for a slot.
    pub worker_queue: usize,
    /// Public reads in flight.
    pub read_slots: usize,
    /// Public reads that wait for a slot.
    pub read_queue: usize,
    /// Downloads of games at once.
    pub download_slots: usize,
    /// Public reads per second and address that are answered in the long run; 0 for no limit.
    pub read_rate: f64,
    /// Public reads per address that may come at once.
    pub read_burst: f64,
    /// A thread that serves requests and has not turned for so long is stuck: `/livez` says so.
    pub liveness_limit: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            trusted_proxies: TrustedProxies::new(vec![Network::single(Ipv4Addr::LOCALHOST.into())]),
            worker_body_limit: 1 << 20,
            pgn_body_limit: 200 << 20,
            body_memory: 512 << 20,
            request_deadline: Duration::from_secs(25),
            read_deadline: Duration::from_secs(10),
            upload_deadline: Duration::from_secs(300),
            stall_deadline: Duration::from_secs(20),
            head_deadline: Duration::from_secs(75),
            keep_alive: Duration::from_secs(75),
            shutdown_timeout: Duration::from_secs(20),
            max_connections: 10_000,
            worker_slots: 1024,
            worker_queue: 4096,
            read_slots: 64,
            read_queue: 256,
            download_slots: 32,
            read_rate: 50.0,
            read_burst: 200.0,
            liveness_limit: Duration::from_secs(10),
        }
    }
}

/// What all threads of the HTTP edge share.
pub struct Site {
    farm: Arc<Farm>,
    settings: HttpSettings,
    closing: AtomicBool,
    started: AtomicBool,
    pulse: Arc<Pulse>,
    workers: Gate,
    reads: Gate,
    downloads: Arc<Semaphore>,
    bodies: Bodies,
    limiter: RateLimiter,
    active_runs: read_api::ActiveRuns,
    exposition: Option<Exposition>,
}

impl Site {
    /// A site over a farm. `exposition` is what `/metrics` answers; without it there is no such path.
    pub fn new(farm: Arc<Farm>, settings: HttpSettings, exposition: Option<Exposition>) -> Arc<Self> {
        Arc::new(Self {
            closing: AtomicBool::new(false),
            started: AtomicBool::new(false),
            pulse: Arc::new(Pulse::new()),
            workers: Gate::new(Class::Worker, settings.worker_slots, settings.worker_queue),
            reads: Gate::new(Class::Read, settings.read_slots, settings.read_queue),
            downloads: Arc::new(Semaphore::new(settings.download_slots)),
            bodies: Bodies::new(&settings),
            limiter: RateLimiter::new(settings.read_rate, settings.read_burst),
            active_runs: read_api::ActiveRuns::default(),
            farm,
            settings,
            exposition,
        })
    }

    /// From now on every request of workers and of the public gets an empty 503, which a worker takes for trouble
    /// of the network and bridges (`spec/worker-api.md` section 1.7).
    pub fn begin_shutdown(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Whether it has ever been ready.
    fn has_started(&self) -> bool {
        if !self.started.load(Ordering::Acquire) && self.farm.is_ready() {
            self.started.store(true, Ordering::Release);
        }
        self.started.load(Ordering::Acquire)
    }

    /// Whether [`Site::begin_shutdown`] was called.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

/// An open connection, for as long as it is.
struct Connection {
    _shown: Held<0>,
}

/// Puts the whole site into an application.
pub fn configure(cfg: &mut web::ServiceConfig, site: Arc<Site>) {
    let handler = move |request: HttpRequest, payload: web::Payload| {
        let site = site.clone();
        async move { dispatch::dispatch(&site, &request, payload).await }
    };
    cfg.default_service(web::to(handler));
}

/// Serves the site on a listener with so many threads. Nothing is answered before the returned server is awaited or
/// spawned; its handle stops it, gracefully within [`HttpSettings::shutdown_timeout`]. Signals are left alone.
///
/// # Errors
/// The listener can't be used.
pub fn serve(site: Arc<Site>, listener: TcpListener, threads: usize) -> io::Result<Server> {
    let settings = site.settings.clone();
    site.farm.keep_watch();
    spawn::task("pulse", site.pulse.clone().beat());
    let server = HttpServer::new(move || {
        // Once on each thread.
        spawn::local(site.pulse.clone().beat());
        App::new().configure(|cfg| configure(cfg, site.clone()))
    })
    .on_connect(|_, extensions| {
        extensions.insert(Connection { _shown: catalogue::HTTP_CONNECTIONS.hold([]) });
    })
    .workers(threads.max(1))
    .keep_alive(settings.keep_alive)
    .client_request_timeout(settings.head_deadline)
    .client_disconnect_timeout(Duration::from_secs(5))
    .max_connections(settings.max_connections)
    .shutdown_timeout(settings.shutdown_timeout.as_secs())
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(server)
}

//! Servers and database servers that die and stay away, with the durable data in MongoDB (`durability.md` sections 2
//! and 10).
//!
//! The short form is part of the suite. `SHOAL_LONG=1` is the form that a release has to pass: 2,000 workers, twenty
//! kills of the server and five of the database server, or a database server that is away for a minute.

use std::path::{Path, PathBuf};
use std::time::Duration;

use shoal::simulate::options::{AuditDepth, StopCondition};
use shoal::simulate::report::{EndedBy, Report};
use shoal::simulate::{SimulateOptions, run as simulate};

use super::server::{Server, accounts, approved_run, free_port, run, turn};
use crate::durability::mongo_server::OwnServer;

struct Sizes {
    workers: usize,
    kills_of_server: usize,
    kills_of_store: usize,
    absence: Duration,
    between: Duration,
    /// Nearer to the bounds' middle takes more games.
    elo: f64,
    speed_up: f64,
}

fn sizes() -> Sizes {
    if std::env::var_os("SHOAL_LONG").is_none() {
        let (absence, between) = (Duration::from_secs(4), Duration::from_millis(1500));
        return Sizes {
            workers: 40,
            kills_of_server: 2,
            kills_of_store: 1,
            absence,
            between,
            elo: 20.0,
            speed_up: 60.0,
        };
    }
    let (absence, between) = (Duration::from_secs(60), Duration::from_secs(4));
    Sizes {
        workers: 2000,
        kills_of_server: 20,
        kills_of_store: 5,
        absence,
        between,
        elo: 1.5,
        speed_up: 20.0,
    }
}

/// A data directory, and a database server that can be taken away.
struct Place {
    dir: tempfile::TempDir,
    file: PathBuf,
    store_port: u16,
    port: u16,
    store: Option<OwnServer>,
}

impl Place {
    /// None where there is no database server that may be killed.
    fn new(policy: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let (store_port, port) = (free_port(), free_port());
        let file = dir.path().join("database");
        let store = OwnServer::start(&file, store_port)?;
        let config = format!(
            "mongodb_url = \"{}?directConnection=true\"\nstore_policy = \"{policy}\"\nlog = \"error\"\n\
             request_slots = 64\nworker_in_flight = 2048\n",
            store.url
        );
        std::fs::write(dir.path().join("shoal.toml"), config).unwrap();
        Some(Self { dir, file, store_port, port, store: Some(store) })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    async fn server(&self) -> Server {
        Server::start(self.path(), self.port).await
    }

    fn take_store_away(&mut self) {
        self.store.as_mut().unwrap().kill();
        self.store = None;
    }

    fn bring_store_back(&mut self) {
        self.store = OwnServer::start(&self.file, self.store_port);
    }
}

/// A fleet on a run that takes its time, until the run is decided.
fn fleet(place: &Place, run: &str) -> SimulateOptions {
    let Sizes { workers, elo, speed_up, .. } = sizes();
    let url = format!("http://127.0.0.1:{}", place.port);
    let mut options = SimulateOptions::new(&url, workers, "volunteer", "secret");
    options.games.elo = elo;
    options.speed_up = speed_up;
    options.forwarded_for = true;
    options.vanish_rate = 0.01;
    options.fail_rate = 0.01;
    options.audit = AuditDepth::All;
    options.stop =
        StopCondition { run_finished: Some(run.to_owned()), max_seconds: Some(900.0), ..Default::default() };
    options
}

/// The fleet saw nothing wrong, and what it was acknowledged is what the store has.
fn judge(place: &Place, id: &str, report: &Report) {
    eprintln!("{}", report.summary());
    assert!(report.broken().is_empty(), "{:#?}", report.broken_details);
    assert_eq!(report.ended_by, EndedBy::RunFinished, "{}", report.summary());
    assert!(report.audits.iter().all(|audit| audit.looked_at > 0), "not audited: {}", report.summary());
    let shown: serde_json::Value = serde_json::from_str(&run(place.path(), &["run", "show", id])).unwrap();
    assert_eq!(shown["finished"], true);
    assert_eq!(shown["workers"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_what_was_acknowledged_is_in_mongodb() {
    let _turn = turn().await;
    let Some(mut place) = Place::new("refuse") else { return };
    let Sizes { kills_of_server, kills_of_store, between, .. } = sizes();
    let mut server = place.server().await;
    accounts(place.path());
    let id = approved_run(place.path(), "killed");
    let playing = shoal::sys::spawn::task("fleet", simulate(fleet(&place, &id)));
    for kill in 0..kills_of_server {
        tokio::time::sleep(between).await;
        server.kill();
        // Now and then both are gone at once.
        if kill % kills_of_server.div_ceil(kills_of_store) == 0 {
            place.take_store_away();
            place.bring_store_back();
        }
        server = place.server().await;
    }
    let report = playing.await.unwrap().unwrap();
    judge(&place, &id, &report);
    assert!(server.terminate(), "SIGTERM ends in exit code 0");
}

async fn absence(policy: &str) {
    let _turn = turn().await;
    let Some(mut place) = Place::new(policy) else { return };
    let Sizes { absence, between, .. } = sizes();
    let mut server = place.server().await;
    accounts(place.path());
    let id = approved_run(place.path(), policy);
    let playing = shoal::sys::spawn::task("fleet", simulate(fleet(&place, &id)));
    tokio::time::sleep(between * 2).await;
    place.take_store_away();
    tokio::time::sleep(absence).await;
    let readiness = server.try_get("/readyz").await;
    let exposition = server.get("/metrics").await.text().await.unwrap();
    place.bring_store_back();
    assert_eq!(readiness.status().is_success(), policy == "degrade");
    assert!(readiness.text().await.unwrap().contains("\"store\":"));
    let degraded = exposition.contains("shoal_degraded_updates_total{answer=\"acknowledged\"}");
    assert_eq!(degraded, policy == "degrade", "{exposition}");
    let report = playing.await.unwrap().unwrap();
    judge(&place, &id, &report);
    assert!(server.terminate(), "SIGTERM ends in exit code 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stays_away_is_bridged_by_refusing() {
    absence("refuse").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stays_away_is_bridged_by_degrading() {
    absence("degrade").await;
}

//! Servers and database servers that die and stay away, with the durable data in MongoDB (`durability.md` sections 2
//! and 10).
//!
//! The short form is part of the suite. `SHOAL_LONG=1` is the form that a release has to pass: 2,000 workers, twenty
//! kills of the server and five of the database server, or a database server that is away for a minute.

use std::path::{Path, PathBuf};

use shoal::simulate::run as simulate;

use super::fleet::{Sizes, fleet, judge, sizes};
use super::server::{Server, accounts, approved_run, free_port, turn};
use crate::durability::mongo_server::OwnServer;

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
            "mongodb_url = \"{}?directConnection=true\"\nstore_policy = \"{policy}\"\n\
             mongodb_deadline = \"5s\"\nlog = \"error\"\nrequest_slots = 64\nworker_in_flight = 2048\n",
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

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_what_was_acknowledged_is_in_mongodb() {
    let _turn = turn().await;
    let Some(mut place) = Place::new("refuse") else { return };
    let Sizes { workers_on_mongodb, kills_on_mongodb, kills_of_store, between, .. } = sizes();
    let mut server = place.server().await;
    accounts(place.path());
    let id = approved_run(place.path(), "killed");
    let playing = shoal::sys::spawn::task("fleet", simulate(fleet(&server.url(), workers_on_mongodb, &id)));
    for kill in 0..kills_on_mongodb {
        tokio::time::sleep(between).await;
        server.kill();
        // Now and then both are gone at once: a server that starts together with its database server waits for it.
        if kill % kills_on_mongodb.div_ceil(kills_of_store) == 0 {
            place.take_store_away();
            place.bring_store_back();
        }
        server = place.server().await;
    }
    let report = playing.await.unwrap().unwrap();
    judge(place.path(), &id, &report);
    assert!(server.terminate(), "SIGTERM ends in exit code 0");
}

/// Whether the server's metrics have counted something.
async fn has_counted(server: &Server, what: &str) -> bool {
    let page = server.get("/metrics").await.text().await.unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(what)?.trim().parse::<f64>().ok());
    value.unwrap_or_else(|| panic!("{what} isn't there")) > 0.0
}

/// Waits until the server's metrics tell of something.
async fn tells(server: &Server, what: &str) {
    for _ in 0..240 {
        if has_counted(server, what).await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    panic!("the metrics never told of {what}");
}

async fn absence(policy: &str) {
    let _turn = turn().await;
    let Some(mut place) = Place::new(policy) else { return };
    let Sizes { workers_on_mongodb, absence, between, .. } = sizes();
    let mut server = place.server().await;
    accounts(place.path());
    let id = approved_run(place.path(), policy);
    let playing = shoal::sys::spawn::task("fleet", simulate(fleet(&server.url(), workers_on_mongodb, &id)));
    // The fleet has to be at work before the store goes.
    tells(&server, "shoal_http_requests_total{endpoint=\"update_task\",outcome=\"ok\"}").await;
    tokio::time::sleep(between).await;
    place.take_store_away();
    tokio::time::sleep(absence).await;
    let readiness = server.try_get("/readyz").await;
    assert_eq!(readiness.status().is_success(), policy == "degrade");
    assert!(readiness.text().await.unwrap().contains("\"store\":"));
    let acknowledged = "shoal_degraded_updates_total{answer=\"acknowledged\"}";
    if policy == "degrade" {
        tells(&server, acknowledged).await;
    } else {
        assert!(!has_counted(&server, acknowledged).await);
    }
    place.bring_store_back();
    let report = playing.await.unwrap().unwrap();
    judge(place.path(), &id, &report);
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

//! What readiness says when a dependency stops, dies or becomes slow: soon, at once when asked, and with the culprit's name. A
//! server says it, too, when it is started before what it needs.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use shoal::sys::clock::stopwatch;

use super::drill::turn;
use super::process::Process;
use super::redis::{RedisServer, Variant, free_port};
use super::slow::SlowWay;
use crate::drills::command;
use crate::durability::mongo_server::{OwnServer, database};

/// A readiness check that takes longer has been made to wait, also on a machine that is out of breath.
const AT_ONCE: Duration = Duration::from_millis(750);

/// Until the verdict changes: some periods and deadlines, and a busy machine's time.
pub const SOON: Duration = Duration::from_secs(30);

/// A server of its own, with its data elsewhere.
pub struct Server {
    pub port: u16,
    process: Process,
    dir: tempfile::TempDir,
    client: reqwest::Client,
}

/// An answer, and how long it took.
pub struct Answer {
    pub status: u16,
    pub body: Value,
    took: Duration,
}

impl Server {
    fn start(redis: u16, mongo: u16) -> Self {
        Self::with_database(redis, &format!("mongodb://127.0.0.1:{mongo}/?directConnection=true"))
    }

    fn with_database(redis: u16, url: &str) -> Self {
        Self::on(redis, url, &database())
    }

    pub fn on(redis: u16, url: &str, database: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut serve = command(dir.path(), &["serve"]);
        serve
            .env("SHOAL_LISTEN", format!("127.0.0.1:{port}"))
            .env("SHOAL_REDIS_URL", format!("redis://127.0.0.1:{redis}"))
            .env("SHOAL_MONGODB_URL", url)
            .env("SHOAL_MONGODB_DATABASE", database)
            .env("SHOAL_DRAIN_PERIOD", "2s");
        let process = Process::start(&mut serve, &dir.path().join("log"), None);
        let client = shoal::sys::web::client().timeout(Duration::from_secs(5)).build().unwrap();
        Self { port, process, dir, client }
    }

    pub async fn try_ask(&self, path: &str) -> reqwest::Result<Answer> {
        let began = stopwatch();
        let answer = self.client.get(format!("http://127.0.0.1:{}{path}", self.port)).send().await?;
        let (status, text) = (answer.status().as_u16(), answer.text().await?);
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body, took: began.elapsed() })
    }

    pub async fn ask(&self, path: &str) -> Answer {
        self.try_ask(path).await.unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Asks until it serves. Who asks the lobby while the farm opens may find the connection cut, and asks again as after any
    /// trouble of the network.
    pub async fn opens(&self) -> Answer {
        let began = stopwatch();
        loop {
            match self.try_ask("/readyz").await {
                Ok(answer) if answer.status == 200 => return answer,
                _ => assert!(began.elapsed() < SOON * 2, "{}", self.log()),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks until readiness has a status, and the slowest of these answers; liveness goes on all the while.
    pub async fn until(&self, status: u16) -> (Answer, Duration) {
        let began = stopwatch();
        let mut slowest = Duration::ZERO;
        loop {
            let answer = self.ask("/readyz").await;
            slowest = slowest.max(answer.took);
            let alive = self.ask("/livez").await;
            assert_eq!(alive.status, 200, "liveness is about this process alone");
            slowest = slowest.max(alive.took);
            if answer.status == status {
                return (answer, slowest);
            }
            assert!(began.elapsed() < SOON, "{}\n{}", answer.body, self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A fault, what readiness says of it, and its end.
    async fn goes_through(&self, name: &str, culprit: &str, fault: impl FnOnce(), mend: impl FnOnce()) {
        self.until(200).await;
        let began = stopwatch();
        fault();
        let (answer, slowest) = self.until(503).await;
        let noticed = began.elapsed();
        let blamed: Vec<&str> =
            answer.body["culprits"].as_array().unwrap().iter().map(|c| c["what"].as_str().unwrap()).collect();
        let why = answer.body[culprit].as_str().unwrap().to_owned();
        assert!(blamed.contains(&culprit), "{}", answer.body);
        assert_eq!(
            (answer.body["ready"].clone(), answer.body["state"].clone()),
            (false.into(), "not_ready".into())
        );
        mend();
        let mended = stopwatch();
        let (_, slowest_back) = self.until(200).await;
        let slowest = slowest.max(slowest_back);
        eprintln!(
            "{name:<16} not ready after {noticed:>8.2?}, ready again after {:>8.2?}, slowest answer {slowest:>8.2?}: {culprit}: {why}",
            mended.elapsed()
        );
        assert!(slowest < AT_ONCE, "{name}: readiness was made to wait: {slowest:?}");
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_who_is_paused_gone_or_slow_and_waits_for_nobody() {
    let _turn = turn().await;
    let Some(mut redis) = RedisServer::start(Variant::Standalone) else { return };
    let place = tempfile::tempdir().unwrap();
    let (file, mongo_port) = (place.path().join("database"), free_port());
    let Some(mut mongo) = OwnServer::start(&file, mongo_port) else { return };
    let to_redis = SlowWay::start(redis.port).await;
    let to_mongo = SlowWay::start(mongo_port).await;
    let mut server = Server::start(to_redis.port, to_mongo.port);
    server.opens().await;
    let slow = Duration::from_secs(2);
    server.goes_through("Redis paused", "schedule", || redis.pause(), || redis.resume()).await;
    server
        .goes_through("Redis slow", "schedule", || to_redis.delay(slow), || to_redis.delay(Duration::ZERO))
        .await;
    let redis = std::cell::RefCell::new(&mut redis);
    server
        .goes_through("Redis gone", "schedule", || redis.borrow_mut().kill(), || redis.borrow_mut().run())
        .await;
    let pid = mongo.pid();
    server.goes_through("MongoDB paused", "store", || signal(pid, "STOP"), || signal(pid, "CONT")).await;
    server
        .goes_through("MongoDB slow", "store", || to_mongo.delay(slow), || to_mongo.delay(Duration::ZERO))
        .await;
    let mongo = std::cell::RefCell::new(&mut mongo);
    let again = || **mongo.borrow_mut() = OwnServer::start(&file, mongo_port).unwrap();
    server.goes_through("MongoDB gone", "store", || mongo.borrow_mut().kill(), again).await;
    let metrics = server.ask("/metrics").await.body;
    assert!(metrics.as_str().unwrap().contains("\nshoal_dependency_up{dependency=\"store\"} 1\n"));
    // On its way out it is unready and serves, each time for the last time on a connection.
    server.process.ask_to_end();
    let (answer, _) = server.until(503).await;
    assert_eq!(answer.body["culprits"][0]["what"], "draining", "{}", answer.body);
    let url = format!("http://127.0.0.1:{}/api/rate_limit", server.port);
    let served = server.client.get(url).send().await.unwrap();
    assert_eq!(served.status(), 200);
    assert_eq!(served.headers()["connection"], "close");
    assert!(server.process.ended(Duration::from_secs(60)).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_listens_before_what_it_needs_is_there_and_says_what_it_waits_for() {
    let _turn = turn().await;
    let Some(mut redis) = RedisServer::start(Variant::Standalone) else { return };
    redis.kill();
    let place = tempfile::tempdir().unwrap();
    let mongo_port = free_port();
    let server = Server::start(redis.port, mongo_port);
    let began = stopwatch();
    let waits_for = async |what: &str| loop {
        if let Ok(answer) = server.try_ask("/readyz").await {
            assert_eq!(answer.status, 503);
            let why = answer.body["culprits"][0]["why"].as_str().unwrap_or_default();
            if why.contains(what) {
                break;
            }
        }
        assert!(began.elapsed() < SOON * 2, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    waits_for("no database").await;
    assert_eq!(server.ask("/livez").await.status, 200);
    assert_eq!(server.ask("/startupz").await.status, 503);
    assert!(server.ask("/metrics").await.body.as_str().unwrap().contains("shoal_ready 0"));
    let beat = server.ask("/api/beat").await;
    assert!(beat.status == 503 && beat.body.is_string(), "workers are told to try again: {}", beat.body);
    let Some(_mongo) = OwnServer::start(&place.path().join("database"), mongo_port) else { return };
    waits_for("no Redis").await;
    redis.run();
    server.opens().await;
    assert_eq!(server.ask("/startupz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_its_store_can_be_told_to_stop() {
    let Some(redis) = RedisServer::start(Variant::Standalone) else { return };
    let mut server = Server::start(redis.port, free_port());
    while server.try_ask("/livez").await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.process.ask_to_end();
    assert!(server.process.ended(Duration::from_secs(30)).await.unwrap().success(), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_wait_for_what_time_does_not_mend() {
    let Some(redis) = RedisServer::start(Variant::Standalone) else { return };
    let place = tempfile::tempdir().unwrap();
    let port = free_port();
    let Some(_mongo) = OwnServer::start(&place.path().join("database"), port) else { return };
    let url = format!("mongodb://nobody:hunter2@127.0.0.1:{port}/admin?authMechanism=SCRAM-SHA-256");
    let mut server = Server::with_database(redis.port, &url);
    let ended = server.process.ended(SOON * 2).await;
    let log = server.log();
    assert!(!ended.unwrap().success(), "{log}");
    assert!(log.contains("refuses the account") && !log.contains("hunter2"), "{log}");
}

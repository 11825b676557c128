//! A schema that a release can't work with: it is waited for at the start, and a replica that finds it while it runs neither serves
//! nor leads until it fits again.

use std::time::Duration;

use bson::{Document, doc};
use shoal::store::mongo::{MIGRATIONS, MongoStore};
use shoal::sys::clock::stopwatch;

use super::drill::turn;
use super::metrics::Metrics;
use super::readiness::{Answer, SOON, Server};
use super::redis::{RedisServer, Variant, free_port};
use crate::durability::mongo_server::{OwnServer, database, settings};

impl Server {
    /// Asks until readiness blames the schema, with such words, and nobody else.
    async fn until_it_blames_the_schema(&self, why: &str) -> Answer {
        let began = stopwatch();
        loop {
            if let Ok(answer) = self.try_ask("/readyz").await
                && answer.body["culprits"][0]["what"] == "schema"
                && answer.body["culprits"][0]["why"].as_str().unwrap().contains(why)
            {
                assert_eq!(answer.status, 503);
                assert_eq!(answer.body["culprits"].as_array().unwrap().len(), 1, "{}", answer.body);
                return answer;
            }
            assert!(began.elapsed() < SOON * 2, "{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn metrics(&self) -> Metrics {
        Metrics::parse(self.ask("/metrics").await.body.as_str().unwrap())
    }

    /// Whether it says that it leads, and how many of the leader's jobs it has carried out.
    async fn leading(&self) -> (bool, f64) {
        let metrics = self.metrics().await;
        (metrics.sum("shoal_leader") > 0.0, metrics.sum("shoal_job_duration_seconds_count"))
    }
}

/// The record of the schema's steps, as an operator, another release or a restore changes it.
struct Steps(mongodb::Collection<Document>);

impl Steps {
    async fn add(&self, name: &str) {
        self.0.insert_one(doc! { "_id": name, "checksum": "x" }).await.unwrap();
    }

    async fn remove(&self, name: &str) {
        assert_eq!(self.0.delete_one(doc! { "_id": name }).await.unwrap().deleted_count, 1);
    }

    async fn edit(&self, name: &str, checksum: &str) {
        let set = doc! { "$set": { "checksum": checksum } };
        assert_eq!(self.0.update_one(doc! { "_id": name }, set).await.unwrap().modified_count, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_does_not_fit_is_waited_for_before_and_while_a_server_serves() {
    let _turn = turn().await;
    let Some(redis) = RedisServer::start(Variant::Standalone) else { return };
    let place = tempfile::tempdir().unwrap();
    let port = free_port();
    let Some(mongo) = OwnServer::start(&place.path().join("database"), port) else { return };
    let database = database();
    let store = MongoStore::connect(&settings(&mongo.url, &database)).await.unwrap();
    store.migrate().await.unwrap();
    let client = mongodb::Client::with_uri_str(&mongo.url).await.unwrap();
    let steps = Steps(client.database(&database).collection("schema_migrations"));

    // Started on the schema of a release that has taken something away.
    steps.add("9999_contract_future").await;
    let url = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
    let server = Server::on(redis.port, &url, &database);
    server.until_it_blames_the_schema("step 9999_contract_future").await;
    assert_eq!(server.ask("/livez").await.status, 200);
    let started = server.ask("/startupz").await;
    assert_eq!((started.status, started.body["what"].as_str()), (503, Some("schema")), "{}", started.body);
    assert!(started.body["why"].as_str().unwrap().contains("9999_contract_future"), "{}", started.body);
    let metrics = server.ask("/metrics").await.body;
    assert!(metrics.as_str().unwrap().contains("\nshoal_ready 0\n"));
    let beat = server.ask("/api/beat").await;
    assert!(beat.status == 503 && beat.body.is_string(), "workers are told to try again: {}", beat.body);
    // It goes on by itself.
    steps.remove("9999_contract_future").await;
    let answer = server.opens().await;
    assert_eq!(answer.body["schema"], "ok", "{}", answer.body);
    assert_eq!(server.ask("/startupz").await.status, 200);

    // Changed under it, whatever the way; it has started all the same.
    let initial = MIGRATIONS[0];
    let says = async |what: &str| {
        let answer = server.until_it_blames_the_schema(what).await;
        assert_eq!(server.ask("/livez").await.status, 200);
        assert_eq!(
            (answer.body["store"].clone(), answer.body["schedule"].clone()),
            ("ok".into(), "ok".into())
        );
        assert_eq!(server.ask("/startupz").await.status, 200);
        let metrics = server.ask("/metrics").await.body;
        assert!(metrics.as_str().unwrap().contains("\nshoal_dependency_up{dependency=\"schema\"} 0\n"));
    };
    steps.add("0002_future").await;
    says("step 0002_future").await;
    steps.remove("0002_future").await;
    server.until(200).await;
    steps.edit(initial.name, "another").await;
    says("with another text").await;
    steps.edit(initial.name, &initial.checksum()).await;
    server.until(200).await;

    // What a newer release only adds disturbs nobody.
    steps.add("0002_expand_future").await;
    let looks = async || {
        let page = server.ask("/metrics").await.body;
        let series = "shoal_dependency_check_duration_seconds_count{dependency=\"schema\"} ";
        let count =
            page.as_str().unwrap().lines().find_map(|line| line.strip_prefix(series)?.parse::<u64>().ok());
        count.unwrap()
    };
    let (before, began) = (looks().await, stopwatch());
    while looks().await < before + 2 {
        assert!(began.elapsed() < SOON * 2, "the schema isn't looked at");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(server.ask("/readyz").await.status, 200);
    let metrics = server.ask("/metrics").await.body;
    assert!(metrics.as_str().unwrap().contains("\nshoal_dependency_up{dependency=\"schema\"} 1\n"));
}

/// Who of them says that it leads; waits until there is one.
async fn leader(servers: &[Server]) -> usize {
    let began = stopwatch();
    loop {
        for (number, server) in servers.iter().enumerate() {
            if server.leading().await.0 {
                return number;
            }
        }
        assert!(began.elapsed() < SOON, "nobody leads\n{}", servers[0].log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a server has carried out more jobs as the leader.
async fn works(server: &Server) {
    let (began, before) = (stopwatch(), server.leading().await.1);
    while server.leading().await.1 < before + 3.0 {
        assert!(began.elapsed() < SOON, "no jobs\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_leads_whom_the_schema_does_not_fit() {
    let _turn = turn().await;
    let Some(redis) = RedisServer::start(Variant::Standalone) else { return };
    let place = tempfile::tempdir().unwrap();
    let port = free_port();
    let Some(mongo) = OwnServer::start(&place.path().join("database"), port) else { return };
    let database = database();
    let url = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
    let first = Server::on(redis.port, &url, &database);
    first.opens().await;
    let second = Server::on(redis.port, &url, &database);
    second.opens().await;
    let servers = [first, second];
    works(&servers[leader(&servers).await]).await;

    let client = mongodb::Client::with_uri_str(&mongo.url).await.unwrap();
    let steps = Steps(client.database(&database).collection("schema_migrations"));
    steps.add("9999_contract_future").await;
    for server in &servers {
        server.until_it_blames_the_schema("step 9999_contract_future").await;
    }
    // At once, and not when the lease ends: it is given back.
    let lease = || redis.ask::<Vec<String>>(&["KEYS", "*:lease:leader"]);
    let began = stopwatch();
    while !lease().is_empty() {
        assert!(began.elapsed() < SOON, "the lease is held\n{}{}", servers[0].log(), servers[1].log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let handed_over = |server: &&Server| server.log().contains("leadership handed over");
    assert_eq!(servers.iter().filter(handed_over).count(), 1, "{}{}", servers[0].log(), servers[1].log());
    // Longer than anybody waits before it asks for a lease that is free.
    let jobs = async || [servers[0].leading().await.1, servers[1].leading().await.1];
    let before = jobs().await;
    let free = stopwatch();
    while free.elapsed() < Duration::from_secs(4) {
        assert!(lease().is_empty(), "somebody leads");
        for server in &servers {
            assert!(!server.leading().await.0, "{}", server.log());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(jobs().await, before, "jobs without a leader");

    steps.remove("9999_contract_future").await;
    for server in &servers {
        server.until(200).await;
    }
    works(&servers[leader(&servers).await]).await;
    assert_eq!(lease().len(), 1);
}

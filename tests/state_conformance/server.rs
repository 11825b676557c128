//! What only a state on a server has to promise: nothing is left behind there, and other histories are noticed.

use std::time::Duration;

use shoal::domain::ids::{Generation, Millis};
use shoal::domain::run::RunKind;
use shoal::state::redis::{RedisSettings, RedisState, RedisUrl};
use shoal::state::*;
use shoal::sys::clock::ManualClock;

use super::fixture::*;
use crate::cluster::redis::{RedisServer, Variant};

/// Keys of a farm on a server.
async fn keys(url: &str, prefix: &str) -> Vec<String> {
    let client = ::redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut keys: Vec<String> =
        ::redis::cmd("KEYS").arg(format!("*{prefix}*")).query_async(&mut connection).await.unwrap();
    keys.sort();
    keys
}

#[tokio::test]
async fn a_new_generation_takes_what_older_ones_left() {
    for server in [RedisServer::shared(), RedisServer::shared_cluster()].into_iter().flatten() {
        let plain = server.url();
        let kind =
            if std::ptr::eq(server, RedisServer::shared().unwrap()) { "redis" } else { "redis+cluster" };
        let url = plain.replacen("redis", kind, 1);
        let prefix = format!("older-{}", shoal::sys::random::identity());
        let settings = RedisSettings {
            url: RedisUrl::new(url.trim_end_matches('/')).unwrap(),
            prefix: prefix.clone(),
            deadline: Duration::from_secs(30),
            pool: 2,
        };
        let state = RedisState::connect(&settings).await.unwrap();
        for generation in [1, 2] {
            assert!(state.set_generation(Generation(generation), LoadState::Loading).await.unwrap());
            for _ in 0..3 {
                let load = load(RunKind::Games, 1000);
                assert!(state.load_run(Generation(generation), load.clone()).await.unwrap());
            }
            assert!(state.set_generation(Generation(generation), LoadState::Loaded).await.unwrap());
        }
        let of = |generation: u64, keys: &[String]| {
            let own = generation.to_string();
            keys.iter().filter(|key| key.split(':').nth(2) == Some(own.as_str())).count()
        };
        let mut left = keys(&plain, &prefix).await;
        for _ in 0..300 {
            if of(1, &left) == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            left = keys(&plain, &prefix).await;
        }
        assert_eq!(of(1, &left), 0, "{left:?}");
        assert_eq!(of(2, &left), 5, "three runs, their list and the ranking: {left:?}");
    }
}

#[tokio::test]
async fn an_emptied_server_is_not_loaded_and_another_history_is_foreign() {
    let Some(server) = RedisServer::start(Variant::Standalone) else { return };
    let clock = ManualClock::new(Millis(0));
    let state = redis_state(&server.url(), Some(&clock)).await;
    assert_eq!(state.generation().await.unwrap(), None);
    assert!(state.set_generation(G, LoadState::Loading).await.unwrap());
    assert!(state.set_generation(G, LoadState::Loaded).await.unwrap());
    let client = ::redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    // Demoted and promoted again: its run id and its clients' connections stay, its history is another.
    for master in [["127.0.0.1", "1"], ["NO", "ONE"]] {
        let _: ::redis::Value =
            ::redis::cmd("REPLICAOF").arg(&master).query_async(&mut connection).await.unwrap();
    }
    assert_eq!(state.generation().await.unwrap_err(), StateError::Foreign);
    let late = state.load_run(G, load(RunKind::Games, 10)).await;
    assert_eq!(late.unwrap_err(), StateError::Foreign);
    assert_eq!(state.read_runs().await.unwrap_err(), StateError::Foreign);
    assert!(
        !state.set_generation(G, LoadState::Loaded).await.unwrap(),
        "what was loaded is gone with its history"
    );
    let _: ::redis::Value = ::redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    assert_eq!(state.generation().await.unwrap(), None);
    assert_eq!(state.read_runs().await.unwrap_err(), StateError::NotLoaded);
    // Scripts that were forgotten are sent again.
    let _: ::redis::Value = ::redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut connection).await.unwrap();
    assert!(state.set_generation(Generation(2), LoadState::Loading).await.unwrap());
}

//! A server whose memory is full (`maxmemory` with `noeviction`): what would need more is refused and changes nothing, what
//! reads or gives back goes on, and so does everything once there is room.

use redis::aio::MultiplexedConnection;
use shoal::state::StateError;

use super::calls::World;
use super::faults::READING;
use super::fixture::{Fixture, redis_state};
use super::picture::{COMPACT, Picture};
use super::trial::all_scripts;
use crate::cluster::redis::{RedisServer, Variant};

/// Scripts that begin by taking something away: the server admits what they write then.
const GIVING_BACK: [&str; 6] =
    ["ack_dirty", "clean_seen", "clean_workers", "commit_fold", "lease_release", "unload_run"];

async fn picture(server: &RedisServer) -> Picture {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection: MultiplexedConnection = client.get_multiplexed_async_connection().await.unwrap();
    Picture::take(&mut connection, "").await
}

#[tokio::test]
async fn where_memory_is_full_what_needs_more_is_refused_and_changes_nothing() {
    let Some(server) = RedisServer::start_with(Variant::Standalone, COMPACT) else { return };
    let limit = |bytes: &str| server.ask::<()>(&["CONFIG", "SET", "maxmemory", bytes]);
    for script in all_scripts() {
        server.flush();
        let state = redis_state(&server.url(), None).await;
        let clock = shoal::sys::clock::ManualClock::new(shoal::domain::ids::Millis(0));
        let world = World::new(Fixture::begin(state, clock).await).await;
        let before = picture(&server).await;
        limit("1");
        let answer = world.call(&script).await;
        limit("0");
        let changes = before.changes(&picture(&server).await);
        if READING.contains(&&*script) || GIVING_BACK.contains(&&*script) {
            assert_eq!(answer, Ok(()), "{script}");
            assert_eq!(changes.is_empty(), READING.contains(&&*script), "{script}: {changes:?}");
        } else {
            assert!(
                matches!(&answer, Err(StateError::Unavailable(why)) if why.contains("OOM")),
                "{script}: {answer:?}"
            );
            assert_eq!(changes, [""; 0], "{script}");
        }
        assert_eq!(world.call(&script).await, Ok(()), "{script}: there is room again");
        if !READING.contains(&&*script) {
            assert_ne!(
                before.changes(&picture(&server).await),
                [""; 0],
                "{script}: there was something to do"
            );
        }
    }
}

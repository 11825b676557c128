//! A Redis with a replica, and three sentinels that put the replica in its place when it is gone.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use shoal::sys::clock::stopwatch;

use super::process::Process;
use super::redis::{RedisServer, Variant, free_port};

/// The name that sentinels know the primary by.
pub const MASTER: &str = "farm";

/// Two servers and their sentinels; they end when dropped.
pub struct Sentinels {
    /// The first is the primary at the beginning.
    pub servers: Vec<RedisServer>,
    ports: Vec<u16>,
    _sentinels: Vec<Process>,
    _dir: tempfile::TempDir,
}

impl Sentinels {
    /// Starts all, and waits until the sentinels know of each other and of the replica. None if tests on Redis are to
    /// be left out.
    pub fn start() -> Option<Self> {
        let primary = RedisServer::start(Variant::Standalone)?;
        let replica =
            RedisServer::start_with(Variant::Standalone, &format!("replicaof 127.0.0.1 {}", primary.port))?;
        let dir = tempfile::tempdir().unwrap();
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let sentinel = |port: &u16| {
            let config = dir.path().join(format!("sentinel-{port}.conf"));
            let text = format!(
                "port {port}\nbind 127.0.0.1\nprotected-mode no\ndir {}\n\
                 sentinel monitor {MASTER} 127.0.0.1 {} 2\nsentinel down-after-milliseconds {MASTER} 1000\n\
                 sentinel failover-timeout {MASTER} 5000\nsentinel parallel-syncs {MASTER} 1\n",
                dir.path().display(),
                primary.port
            );
            std::fs::write(&config, text).unwrap();
            let mut command = Command::new(RedisServer::program()?);
            Some(Process::start(command.arg(&config).arg("--sentinel"), &config.with_extension("log"), None))
        };
        let sentinels = ports.iter().filter_map(sentinel).collect();
        let farm = Self { servers: vec![primary, replica], ports, _sentinels: sentinels, _dir: dir };
        farm.wait("see one another", || {
            farm.ports.iter().all(|port| {
                let known = |what| farm.ask::<Vec<redis::Value>>(*port, &["SENTINEL", what, MASTER]);
                known("sentinels").is_some_and(|others| others.len() == 2)
                    && known("replicas").is_some_and(|replicas| replicas.len() == 1)
            })
        });
        farm.wait("have a replica in step", || {
            farm.servers[1].ask::<String>(&["INFO", "replication"]).contains("master_link_status:up")
        });
        Some(farm)
    }

    /// Host and port of each sentinel.
    pub fn addresses(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// The port of the server that they take for the primary.
    pub fn primary(&self) -> Option<u16> {
        let words = ["SENTINEL", "get-master-addr-by-name", MASTER];
        let (_, port) =
            self.ports.iter().find_map(|sentinel| self.ask::<(String, u16)>(*sentinel, &words))?;
        Some(port)
    }

    /// Until another server than this is the primary, and acts as one. Returns its place.
    pub fn wait_for_failover(&self, from: u16) -> usize {
        let place = || {
            let port = self.primary().filter(|port| *port != from)?;
            let place = self.servers.iter().position(|server| server.port == port)?;
            let role = self.servers[place].try_ask::<String>(&["INFO", "replication"]).ok()?;
            role.contains("role:master").then_some(place)
        };
        self.wait("fail over", || place().is_some());
        place().expect("a moment ago there was one")
    }

    fn ask<T: redis::FromRedisValue>(&self, port: u16, words: &[&str]) -> Option<T> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}/")).ok()?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(2)).ok()?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).ok()
    }

    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let began = stopwatch();
        while !done() {
            let logs = || {
                let file = |port: &u16| self._dir.path().join(format!("sentinel-{port}.log"));
                let text = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
                self.ports.iter().map(file).map(text).collect::<String>()
            };
            assert!(began.elapsed() < Duration::from_secs(60), "the sentinels never {what}:\n{}", logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn when_the_primary_is_gone_the_replica_takes_its_place() {
    let Some(mut farm) = Sentinels::start() else { return };
    farm.servers[0].ask::<()>(&["SET", "a", "b"]);
    farm.servers[0].ask::<u32>(&["WAIT", "1", "5000"]);
    let old = farm.servers[0].port;
    farm.servers[0].kill();
    assert_eq!(farm.wait_for_failover(old), 1);
    assert_eq!(farm.servers[1].ask::<String>(&["GET", "a"]), "b");
    assert_eq!(farm.addresses().len(), 3);
}

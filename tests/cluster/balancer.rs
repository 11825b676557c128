//! A real load balancer, set up as an operator would: `haproxy`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use shoal::sys::clock::stopwatch;

use super::process::{Process, program};
use super::redis::free_port;

/// A balancer before some replicas; it ends when dropped.
pub struct Balancer {
    port: u16,
    socket: PathBuf,
    _process: Process,
    _dir: tempfile::TempDir,
}

/// What a replica had to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Requests that were sent to it.
    pub requests: u64,
    /// Of these, answered with 2xx.
    pub good: u64,
    /// Whether its health check passes.
    pub up: bool,
}

/// The program; None, loudly, where it is missing. Long forms are what somebody asked for: they fail without it.
fn haproxy() -> Option<PathBuf> {
    let found = program("haproxy");
    if found.is_none() {
        let asked = std::env::var_os("SHOAL_LONG").is_some();
        assert!(!asked, "the long form of this test wants haproxy");
        eprintln!("SKIPPED: a test that wants a load balancer: install haproxy");
    }
    found
}

impl Balancer {
    /// Starts one before the replicas on these ports; None where there is no haproxy.
    pub async fn start(replicas: &[u16]) -> Option<Self> {
        let haproxy = haproxy()?;
        let dir = tempfile::tempdir().unwrap();
        let (port, socket) = (free_port(), dir.path().join("stats"));
        let config = dir.path().join("haproxy.cfg");
        std::fs::write(&config, configuration(port, &socket.display().to_string(), replicas)).unwrap();
        let log = dir.path().join("log");
        let process = Process::start(Command::new(haproxy).arg("-db").arg("-f").arg(&config), &log, None);
        let mut balancer = Self { port, socket, _process: process, _dir: dir };
        let began = stopwatch();
        while !balancer.listens() {
            let alive = balancer._process.is_alive() && began.elapsed() < Duration::from_secs(30);
            assert!(alive, "haproxy:\n{}", std::fs::read_to_string(&log).unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(balancer)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What each replica had to do so far, in their order.
    pub fn shares(&self) -> Vec<Share> {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.write_all(b"show stat\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let mut lines = answer.trim_start_matches("# ").lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let rows = lines.map(|line| names.iter().copied().zip(line.split(',')).collect::<BTreeMap<_, _>>());
        let number = |text: Option<&&str>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
        rows.filter(|row| row.get("svname").is_some_and(|name| name.starts_with("replica")))
            .map(|row| Share {
                requests: number(row.get("stot")),
                good: number(row.get("hrsp_2xx")),
                up: row.get("status").is_some_and(|status| status.starts_with("UP")),
            })
            .collect()
    }

    fn listens(&self) -> bool {
        self.socket.exists() && std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }
}

/// Replicas are asked whether they are ready. A request goes to another replica only if it never reached the first: the
/// worker repeats by itself, and knows when. An operator's balancer sets the client's address itself; here the fleet's
/// machines say which they are.
fn configuration(port: u16, socket: &str, replicas: &[u16]) -> String {
    // Twice as many descriptors, and some hosts grant few.
    let most = if std::env::var_os("SHOAL_LONG").is_some() { 4000 } else { 450 };
    let mut text = format!(
        "global\n    maxconn {most}\n    stats socket {socket} level admin\n\
         defaults\n    mode http\n    timeout connect 1s\n    timeout client 60s\n    timeout server 60s\n    \
         timeout queue 10s\n    timeout http-keep-alive 60s\n    timeout check 2s\n    \
         retries 3\n    retry-on conn-failure\n    option redispatch 1\n    option forwardfor if-none\n\
         frontend workers\n    bind 127.0.0.1:{port}\n    default_backend replicas\n\
         backend replicas\n    balance leastconn\n    option httpchk GET /readyz\n    http-check expect status 200\n    \
         default-server check inter 500ms fastinter 200ms fall 2 rise 1\n"
    );
    for (number, port) in replicas.iter().enumerate() {
        text.push_str(&format!("    server replica{number} 127.0.0.1:{port}\n"));
    }
    text
}

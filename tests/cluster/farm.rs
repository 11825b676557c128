//! A farm of several `shoal serve` on one database and one Redis, each of which can be treated badly.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use shoal::sys::clock::stopwatch;
use shoal::sys::web;

use super::balancer::Balancer;
use super::metrics::Metrics;
use super::process::Process;
use super::redis::free_port;
use crate::drills::{SHOAL, command_of};
use crate::durability::mongo_server;

/// A replica that asks nothing of it has this long to become ready: it may have to wait for a lease to end.
const READY: Duration = Duration::from_secs(120);

/// Slots of the semaphore: as many requests for a task are judged at once, by all replicas together.
pub const SLOTS: u64 = 16;

/// One `shoal serve`.
pub struct Replica {
    pub port: u16,
    pub data: PathBuf,
    /// The executable that it is started from.
    pub program: PathBuf,
    process: Option<Process>,
}

/// The replicas, and what is before and behind them.
pub struct Farm {
    pub replicas: Vec<Replica>,
    balancer: Balancer,
    environment: Vec<(&'static str, PathBuf)>,
    client: reqwest::Client,
    dir: tempfile::TempDir,
}

impl Farm {
    /// Starts so many replicas over a Redis, as an operator would: all at once. None where something that they need
    /// is left out.
    pub async fn start(count: usize, redis_url: &str) -> Option<Self> {
        Self::start_with(count, redis_url, &[]).await
    }

    /// The same, with more in the replicas' environment.
    pub async fn start_with(
        count: usize,
        redis_url: &str,
        environment: &[(&'static str, PathBuf)],
    ) -> Option<Self> {
        let store = mongo_server::url()?;
        let dir = tempfile::tempdir().unwrap();
        let database = mongo_server::database();
        let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let balancer = Balancer::start(&ports).await?;
        let replica = |(number, port): (usize, &u16)| {
            let data = dir.path().join(format!("replica{number}"));
            std::fs::create_dir(&data).unwrap();
            std::fs::write(data.join("shoal.toml"), configuration(*port, store, &database, redis_url))
                .unwrap();
            Replica { port: *port, data, program: PathBuf::from(SHOAL), process: None }
        };
        let replicas = ports.iter().enumerate().map(replica).collect();
        let client = web::client().timeout(Duration::from_secs(2)).build().unwrap();
        let mut farm = Self { replicas, balancer, environment: environment.to_vec(), client, dir };
        for number in 0..count {
            farm.run(number);
        }
        for number in 0..count {
            farm.ready(number).await;
        }
        farm.seen_by_balancer().await;
        Some(farm)
    }

    /// Where workers come in.
    pub fn url(&self) -> String {
        self.balancer.url()
    }

    /// The balancer before it.
    pub fn balancer(&self) -> &Balancer {
        &self.balancer
    }

    /// A data directory in which commands reach a replica that lives.
    pub fn desk(&mut self) -> PathBuf {
        let alive = self.replicas.iter_mut().position(Replica::is_alive);
        self.replicas[alive.expect("a replica lives")].data.clone()
    }

    /// Starts a replica, without waiting for it.
    pub fn run(&mut self, number: usize) {
        let mut serve = self.command(number, &["serve"]);
        let replica = &mut self.replicas[number];
        replica.process = Some(Process::start(&mut serve, &replica.data.join("log"), None));
    }

    /// A command with a replica's configuration and environment.
    pub fn command(&self, number: usize, args: &[&str]) -> Command {
        let replica = &self.replicas[number];
        let mut command = command_of(&replica.program, &replica.data, args);
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Until a replica says that it is ready.
    pub async fn ready(&mut self, number: usize) {
        let began = stopwatch();
        while !self.is_ready(number).await {
            let replica = &mut self.replicas[number];
            let fine = replica.is_alive() && began.elapsed() < READY;
            assert!(fine, "replica {number} is not ready:\n{}", self.log_tail(number));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Until the balancer sends requests to every replica.
    pub async fn seen_by_balancer(&self) {
        let began = stopwatch();
        while !self.balancer.shares().iter().all(|share| share.up) {
            assert!(began.elapsed() < READY, "{:?}", self.balancer.shares());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether a replica says so.
    pub async fn is_ready(&self, number: usize) -> bool {
        let answer = self.client.get(self.address(number, "/readyz")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Kills a replica as a power failure would.
    pub fn kill(&mut self, number: usize) {
        self.replicas[number].process = None;
    }

    /// SIGSTOP and SIGCONT.
    pub fn process(&mut self, number: usize) -> &mut Process {
        self.replicas[number].process.as_mut().expect("it was killed")
    }

    /// SIGTERM; whether it ended well, in time.
    pub async fn terminate(&mut self, number: usize) -> bool {
        let process = self.process(number);
        process.ask_to_end();
        let ended = process.ended(Duration::from_secs(60)).await;
        self.replicas[number].process = None;
        ended.is_some_and(|status| status.success())
    }

    /// A replica by chance.
    pub fn any(&self, rng: &mut StdRng) -> usize {
        rng.random_range(0..self.replicas.len())
    }

    /// The replica that says it leads, and its token.
    pub async fn leader(&self) -> Option<(usize, u64)> {
        for number in 0..self.replicas.len() {
            let Some(metrics) = self.metrics(number).await else { continue };
            if metrics.sum("shoal_leader") > 0.0 {
                return Some((number, metrics.sum("shoal_leader_token") as u64));
            }
        }
        None
    }

    /// Until somebody leads other than this one.
    pub async fn leader_other_than(&self, old: Option<usize>, within: Duration) -> (usize, u64) {
        let began = stopwatch();
        loop {
            if let Some((number, token)) = self.leader().await
                && Some(number) != old
            {
                return (number, token);
            }
            assert!(began.elapsed() < within, "nobody leads");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What a replica's metrics say; None if it doesn't answer.
    pub async fn metrics(&self, number: usize) -> Option<Metrics> {
        let answer = self.client.get(self.address(number, "/metrics")).send().await.ok()?;
        Some(Metrics::parse(&answer.text().await.ok()?))
    }

    /// Where a replica answers, past the balancer.
    pub fn address(&self, number: usize, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.replicas[number].port)
    }

    /// A document of the read API, from one replica.
    pub async fn read(&self, number: usize, path: &str) -> serde_json::Value {
        self.try_read(number, path).await.unwrap_or_else(|| panic!("{path} isn't there"))
    }

    /// The same; None if there is no such document.
    pub async fn try_read(&self, number: usize, path: &str) -> Option<serde_json::Value> {
        let answer = self.client.get(self.address(number, path)).send().await.unwrap();
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return None;
        }
        Some(answer.error_for_status().unwrap().json().await.unwrap())
    }

    /// All tasks of a run, as a replica shows them.
    pub async fn tasks(&self, number: usize, id: &str) -> Vec<serde_json::Value> {
        let mut tasks = Vec::new();
        while let Some(task) = self.try_read(number, &format!("/api/get_task/{id}/{}", tasks.len())).await {
            tasks.push(task);
        }
        tasks
    }

    /// I20, for every task of a run, whoever had it: opening ranges don't overlap.
    pub async fn assert_openings_disjoint(&self, number: usize, id: &str) {
        let tasks = self.tasks(number, id).await;
        let range = |task: &serde_json::Value| {
            let start = task["start"].as_u64().unwrap();
            (start, start + task["num_games"].as_u64().unwrap())
        };
        let mut ranges: Vec<_> = tasks.iter().map(range).enumerate().map(|(n, range)| (range, n)).collect();
        ranges.sort_unstable();
        let overlaps: Vec<_> = ranges.windows(2).filter(|pair| pair[0].0.1 > pair[1].0.0).collect();
        assert!(overlaps.is_empty(), "I20: (openings, task): {overlaps:?}");
    }

    /// Whether a run is shown as finished; false where that can't be learnt now.
    pub async fn is_finished(&self, number: usize, id: &str) -> bool {
        let Ok(answer) = self.client.get(self.address(number, &format!("/api/get_run/{id}"))).send().await
        else {
            return false;
        };
        answer.json::<serde_json::Value>().await.is_ok_and(|run| run["finished"] == true)
    }

    /// All that a replica has logged, in all its lives.
    pub fn log(&self, number: usize) -> String {
        std::fs::read_to_string(self.replicas[number].data.join("log")).unwrap_or_default()
    }

    fn log_tail(&self, number: usize) -> String {
        let log = self.log(number);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// No replica, alive or dead, has ever noticed that an invariant was broken.
    pub async fn assert_unbroken(&self) {
        for number in 0..self.replicas.len() {
            if let Some(metrics) = self.metrics(number).await {
                let mut violations = metrics.all("shoal_invariant_violations_total");
                violations.retain(|(_, count)| *count > 0.0);
                assert!(violations.is_empty(), "replica {number}: {violations:?}");
            }
            let log = self.log(number);
            let worrying = ["an invariant is broken", "contradicts itself", "panicked at"];
            let lines: Vec<&str> =
                log.lines().filter(|line| worrying.iter().any(|w| line.contains(w))).collect();
            assert!(lines.is_empty(), "replica {number}:\n{}", lines.join("\n"));
        }
    }

    /// Where the logs are, for somebody who looks into a failure: `SHOAL_TEST_KEEP=1` keeps them.
    pub fn keep_if_asked(&mut self) {
        if std::env::var_os("SHOAL_TEST_KEEP").is_some() {
            self.dir.disable_cleanup(true);
            eprintln!("kept: {}", self.dir.path().display());
        }
    }
}

impl Replica {
    fn is_alive(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_alive)
    }
}

/// The replica's own file; commands in its directory read it, too.
fn configuration(port: u16, store: &str, database: &str, redis_url: &str) -> String {
    let in_flight = if std::env::var_os("SHOAL_LONG").is_some() { 4096 } else { 512 };
    format!(
        "listen = \"127.0.0.1:{port}\"\nmongodb_url = \"{store}?directConnection=true\"\n\
         mongodb_database = \"{database}\"\nredis_url = \"{redis_url}\"\nread_rate_limit = 0\n\
         request_slots = {SLOTS}\nworker_in_flight = {in_flight}\nlog = \"info\"\n"
    )
}

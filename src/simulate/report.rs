//! What a simulation found: live snapshots and the final report.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::audit::RunAudit;
use super::latency::LatencySummary;
use super::ledger::{Breach, Invariant};
use super::options::SimulateOptions;
use super::tally::{Tally, WorkerCounts};
use super::watch::RunSnapshot;

/// Why the simulation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The caller wanted it.
    Interrupt,
    /// The time was up.
    MaxSeconds,
    /// Enough games.
    MaxGames,
    /// The named run was finished.
    RunFinished,
    /// Nothing was left to play.
    AllRunsFinished,
    /// The server turned every worker away for good.
    NoWorkerLeft,
}

/// The state of a simulation at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// Real seconds since the start.
    pub seconds: f64,
    /// Workers by what they do.
    pub workers: WorkerCounts,
    /// Counted events by name.
    pub events: BTreeMap<&'static str, u64>,
    /// Acknowledged games.
    pub games: u64,
    /// Acknowledged games per real second, over the last seconds.
    pub games_per_second: f64,
    /// Requests.
    pub requests: u64,
    /// Requests per real second, over the last seconds.
    pub requests_per_second: f64,
    /// Latencies by endpoint, since the start.
    pub latency: BTreeMap<&'static str, LatencySummary>,
    /// Unusable answers by endpoint and kind.
    pub errors: BTreeMap<String, u64>,
    /// The runs as last seen.
    pub runs: Vec<RunSnapshot>,
    /// Broken invariants so far.
    pub broken: u64,
}

/// Receives snapshots about once per second.
pub trait Observer: Send {
    /// Something may be drawn now.
    fn observe(&mut self, snapshot: &Snapshot);
}

/// An observer that doesn't look.
#[derive(Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&mut self, _snapshot: &Snapshot) {}
}

/// Turns counters into snapshots with rates.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// (seconds, games, requests) of the last few snapshots.
    window: VecDeque<(f64, u64, u64)>,
}

impl Snapshots {
    pub(super) fn take(
        &mut self,
        seconds: f64,
        tally: &Tally,
        runs: Vec<RunSnapshot>,
        broken: u64,
    ) -> Snapshot {
        let (games, requests) = (tally.total_games(), tally.total_requests());
        let (then, games_then, requests_then) = self.window.front().copied().unwrap_or((0.0, 0, 0));
        let span = (seconds - then).max(1e-3);
        self.window.push_back((seconds, games, requests));
        if self.window.len() > 5 {
            self.window.pop_front();
        }
        Snapshot {
            seconds,
            workers: tally.workers(),
            events: tally.events(),
            games,
            games_per_second: (games - games_then) as f64 / span,
            requests,
            requests_per_second: (requests - requests_then) as f64 / span,
            latency: tally.latencies(),
            errors: tally.errors(),
            runs,
            broken,
        }
    }
}

/// The settings that a reader of the report needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// Addresses.
    pub urls: Vec<String>,
    /// Number of workers.
    pub workers: usize,
    /// Simulated seconds per real second.
    pub speed_up: f64,
    /// Elo difference.
    pub elo: f64,
    /// Draw rate.
    pub draw_rate: f64,
    /// Bias of the openings, Elo.
    pub bias: f64,
    /// Crashes per game.
    pub crash_rate: f64,
    /// Time losses per game.
    pub time_loss_rate: f64,
    /// Vanishing workers per task.
    pub vanish_rate: f64,
    /// Failed tasks per task.
    pub fail_rate: f64,
    /// Seed.
    pub seed: u64,
    /// Requests in flight at once.
    pub max_connections: usize,
    /// Cap on requests.
    pub requests_per_second: Option<f64>,
}

impl Setting {
    pub(super) fn of(options: &SimulateOptions) -> Self {
        Self {
            urls: options.urls.clone(),
            workers: options.workers,
            speed_up: options.speed_up,
            elo: options.games.elo,
            draw_rate: options.games.draw_rate,
            bias: options.games.bias,
            crash_rate: options.games.crash_rate,
            time_loss_rate: options.games.time_loss_rate,
            vanish_rate: options.vanish_rate,
            fail_rate: options.fail_rate,
            seed: options.seed,
            max_connections: options.max_connections,
            requests_per_second: options.requests_per_second,
        }
    }
}

/// The final report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was simulated.
    pub setting: Setting,
    /// Why it ended.
    pub ended_by: EndedBy,
    /// Real seconds of playing; the comparison of the books comes after.
    pub seconds: f64,
    /// Acknowledged games.
    pub games: u64,
    /// Acknowledged games per real second, over the whole time.
    pub games_per_second: f64,
    /// Requests.
    pub requests: u64,
    /// Requests per real second, over the whole time.
    pub requests_per_second: f64,
    /// Counted events by name.
    pub events: BTreeMap<&'static str, u64>,
    /// Workers at the end, before they were told to stop.
    pub workers: WorkerCounts,
    /// Latencies by endpoint, milliseconds.
    pub latency: BTreeMap<&'static str, LatencySummary>,
    /// Unusable answers by endpoint and kind.
    pub errors: BTreeMap<String, u64>,
    /// The runs that were played.
    pub runs: Vec<RunSnapshot>,
    /// The comparison of the books, one per run.
    pub audits: Vec<RunAudit>,
    /// How often each invariant was seen broken.
    pub broken_counts: BTreeMap<Invariant, u64>,
    /// Details of the first breaches of each.
    pub broken_details: Vec<Breach>,
}

impl Report {
    /// The invariants that were seen broken; a caller exits with a failure if there are any.
    pub fn broken(&self) -> Vec<Invariant> {
        self.broken_counts.keys().copied().collect()
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self).map_err(std::io::Error::other)?;
        text.push(b'\n');
        std::fs::write(path, text)
    }

    /// The report for people.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = self.write_summary(&mut text);
        text
    }

    fn write_summary(&self, out: &mut String) -> std::fmt::Result {
        let workers = self.setting.workers;
        writeln!(out, "{workers} workers, {:.1} s, speed-up {}", self.seconds, self.setting.speed_up)?;
        writeln!(out, "games     {:>10}  {:>10.1}/s", self.games, self.games_per_second)?;
        writeln!(out, "requests  {:>10}  {:>10.1}/s", self.requests, self.requests_per_second)?;
        let events: Vec<String> =
            self.events.iter().filter(|e| *e.1 > 0).map(|(name, n)| format!("{name} {n}")).collect();
        writeln!(out, "events    {}", events.join(", "))?;
        writeln!(out, "{:<16} {:>9} {:>9} {:>9} {:>9}", "latency, ms", "count", "p50", "p99", "max")?;
        for (endpoint, l) in &self.latency {
            let LatencySummary { count, p50_ms, p99_ms, max_ms, .. } = l;
            writeln!(out, "{endpoint:<16} {count:>9} {p50_ms:>9.2} {p99_ms:>9.2} {max_ms:>9.2}")?;
        }
        for (kind, count) in &self.errors {
            writeln!(out, "error     {kind}: {count}")?;
        }
        for run in &self.runs {
            writeln!(out, "run       {}", describe(run))?;
        }
        for audit in &self.audits {
            let outcome = format!("{:?}", audit.outcome).to_lowercase();
            writeln!(
                out,
                "books     {}: {outcome}; {} tasks ({} uncertain, {} looked at), {} games acknowledged, {} in results",
                audit.run,
                audit.tasks,
                audit.uncertain_tasks,
                audit.looked_at,
                audit.acknowledged_games,
                audit.results.games(),
            )?;
        }
        if self.broken_counts.is_empty() {
            return writeln!(out, "no invariant was seen broken");
        }
        for (invariant, count) in &self.broken_counts {
            writeln!(out, "BROKEN    {invariant:?}: {count}")?;
            for breach in self.broken_details.iter().filter(|b| b.invariant == *invariant).take(5) {
                writeln!(out, "          at {:.1} s: {}", breach.seconds, breach.detail)?;
            }
        }
        Ok(())
    }
}

/// One line about a run.
pub(super) fn describe(run: &RunSnapshot) -> String {
    let r = &run.results;
    let mut text = format!("{} {} W {} L {} D {}", run.run, run.tag, r.wins, r.losses, r.draws);
    let [a, b, c, d, e] = r.pentanomial;
    let _ = write!(text, " Ptnml {a},{b},{c},{d},{e}");
    if let Some(sprt) = &run.sprt {
        let _ = write!(text, " LLR {:.2} [{:.2}, {:.2}]", sprt.llr, sprt.lower_bound, sprt.upper_bound);
        if !sprt.state.is_empty() {
            let _ = write!(text, " {}", sprt.state);
        }
    }
    if let Some(elo) = &run.elo {
        let [low, high] = elo.ci;
        let _ = write!(text, " Elo {:.2} [{low:.2}, {high:.2}]", elo.elo);
    }
    if run.finished {
        text.push_str(" finished");
    }
    text
}

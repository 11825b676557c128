//! What the server promised: every acknowledged assignment and every acknowledged report, and the checks that need
//! nothing but these. The ledger lives in the client, so it outlasts any restart of the server.

use std::collections::BTreeMap;
use std::time::Instant;

use parking_lot::Mutex;
use serde::Serialize;

use super::protocol::{AssignedTask, TaskView};
use crate::domain::ids::RunId;
use crate::domain::results::Stats;
use crate::sys::clock::stopwatch;

/// The invariants that a client can see broken (`guarantees.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Invariant {
    /// A task was handed to two workers.
    I1,
    /// An acknowledged report is not in the statistics, or not once.
    I3,
    /// Results are not the sum of the tasks, or disagree with themselves.
    I4,
    /// Statistics shrank.
    I5,
    /// An acknowledged assignment disappeared.
    I6,
    /// A worker was sent something other than a documented answer or a plain-text 503.
    I18,
    /// Opening ranges of a run overlap.
    I20,
}

/// One observation of a broken invariant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Breach {
    /// Which.
    pub invariant: Invariant,
    /// Real seconds since the start.
    pub seconds: f64,
    /// What was seen, with run, task and numbers.
    pub detail: String,
}

/// Details kept per invariant; beyond that breaches are only counted.
const DETAILS: usize = 100;

/// One task that the fleet received.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskEntry {
    /// Key of its worker.
    pub unique_key: String,
    /// Account of its worker.
    pub username: String,
    /// First game in the opening order.
    pub start: u64,
    /// Size.
    pub num_games: u64,
    /// What the server last acknowledged.
    pub acknowledged: Stats,
    /// What was sent since then without being acknowledged: it may count or not.
    pub pending: Vec<Stats>,
    /// Whether a report on it was ever acknowledged.
    heard: bool,
    highest_sent: u64,
}

impl TaskEntry {
    /// Whether the server's number can only be the acknowledged one.
    pub fn is_certain(&self) -> bool {
        self.pending.is_empty()
    }

    /// Compares the server's view of the task with the promises; `None` when they agree. A purged task counts for
    /// nothing.
    pub fn compare(&self, view: &TaskView) -> Option<(Invariant, String)> {
        let stats = view.stats.unwrap_or_default();
        if let Some(worker) = &view.worker_info {
            let shown = worker.unique_key.trim_end_matches('.');
            if worker.username != self.username || !self.unique_key.starts_with(shown) {
                let holder = format!("{} of {}", worker.unique_key, worker.username);
                return Some((
                    Invariant::I1,
                    format!("belongs to {holder}, was given to {}", self.unique_key),
                ));
            }
        }
        if view.num_games != self.num_games || view.start.is_some_and(|start| start != self.start) {
            let stored = format!("{} games from {:?}", view.num_games, view.start);
            let told = format!("{} games from {}", self.num_games, self.start);
            return Some((Invariant::I20, format!("is stored with {stored}, was assigned with {told}")));
        }
        if view.bad {
            let empty = stats == Stats::default();
            return (!empty).then(|| (Invariant::I4, format!("is purged but has {stats:?}")));
        }
        if stats == self.acknowledged || self.pending.contains(&stats) {
            return None;
        }
        let pending = self.pending.len();
        let detail = format!(
            "has {stats:?}; acknowledged was {:?} and {pending} later reports were not",
            self.acknowledged
        );
        Some((Invariant::I3, detail))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Observation {
    results: Stats,
    /// Games in it that may never have been acknowledged, so that a crash may take them back.
    unacknowledged: u64,
}

#[derive(Debug, Default)]
struct RunBook {
    tasks: BTreeMap<u32, TaskEntry>,
    /// Opening ranges: first game to (first game after, task).
    openings: BTreeMap<u64, (u64, u32)>,
    sent_games: u64,
    acknowledged_games: u64,
    seen: Option<Observation>,
}

#[derive(Debug, Default)]
struct Books {
    runs: BTreeMap<RunId, RunBook>,
    breaches: Vec<Breach>,
    counts: BTreeMap<Invariant, u64>,
}

/// The fleet's books.
#[derive(Debug)]
pub struct Ledger {
    books: Mutex<Books>,
    started: Instant,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { books: Mutex::default(), started: stopwatch() }
    }
}

/// Totals of games of one run, to bracket a look at its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GamesFlow {
    /// Games sent at least once.
    pub sent: u64,
    /// Games acknowledged.
    pub acknowledged: u64,
}

impl Ledger {
    /// Notes a broken invariant.
    pub fn breach(&self, invariant: Invariant, detail: String) {
        self.books.lock().breach(invariant, detail, self.started);
    }

    /// The broken invariants: details of the first ones, and how many of each.
    pub fn breaches(&self) -> (Vec<Breach>, BTreeMap<Invariant, u64>) {
        let books = self.books.lock();
        (books.breaches.clone(), books.counts.clone())
    }

    /// How many breaches were seen.
    pub fn breach_count(&self) -> u64 {
        self.books.lock().counts.values().sum()
    }

    /// An assignment was received by the worker `unique_key`.
    ///
    /// The same task may come twice to one worker of which no report was acknowledged: a server that died since may not
    /// know that its first answer arrived, nor of reports that never reached it. To anybody else, or after an
    /// acknowledgement, it breaks I1.
    pub fn assigned(&self, run: RunId, task: u32, given: &AssignedTask, unique_key: &str, username: &str) {
        let mut books = self.books.lock();
        let book = books.runs.entry(run).or_default();
        let mut found = Vec::new();
        match book.tasks.get(&task) {
            Some(known) if known.unique_key != unique_key => {
                let detail = format!("{run}/{task} was handed to {} and to {unique_key}", known.unique_key);
                found.push((Invariant::I1, detail));
            }
            Some(known) if known.heard => {
                let detail = format!(
                    "{run}/{task} was handed again to {unique_key}, whose report on it was acknowledged"
                );
                found.push((Invariant::I1, detail));
            }
            Some(known) if known.start != given.start || known.num_games != given.num_games => {
                let detail = format!("{run}/{task} was handed again with another range of openings");
                found.push((Invariant::I20, detail));
            }
            Some(_) => {}
            None => {
                found.extend(book.claim_openings(run, task, given));
                let entry = TaskEntry {
                    unique_key: unique_key.to_owned(),
                    username: username.to_owned(),
                    start: given.start,
                    num_games: given.num_games,
                    acknowledged: given.stats.unwrap_or_default(),
                    pending: Vec::new(),
                    heard: false,
                    highest_sent: given.stats.unwrap_or_default().games(),
                };
                book.tasks.insert(task, entry);
            }
        }
        for (invariant, detail) in found {
            books.breach(invariant, detail, self.started);
        }
    }

    /// A report is about to be sent.
    pub fn sent(&self, run: RunId, task: u32, stats: &Stats) {
        let mut books = self.books.lock();
        let Some(book) = books.runs.get_mut(&run) else { return };
        let Some(entry) = book.tasks.get_mut(&task) else { return };
        if !entry.pending.contains(stats) && entry.acknowledged != *stats {
            entry.pending.push(*stats);
        }
        book.sent_games += stats.games().saturating_sub(entry.highest_sent);
        entry.highest_sent = entry.highest_sent.max(stats.games());
    }

    /// A report was accepted. Returns by how many games the acknowledged total of the task grew. A report that was
    /// refused or got no answer stays pending instead: a balancer may have delivered it twice.
    pub fn acknowledged(&self, run: RunId, task: u32, stats: &Stats) -> u64 {
        let mut books = self.books.lock();
        let Some(book) = books.runs.get_mut(&run) else { return 0 };
        let Some(entry) = book.tasks.get_mut(&task) else { return 0 };
        let gained = stats.games().saturating_sub(entry.acknowledged.games());
        entry.heard = true;
        entry.acknowledged = *stats;
        entry.pending.clear();
        book.acknowledged_games += gained;
        gained
    }

    /// The runs that the fleet played.
    pub fn runs(&self) -> Vec<RunId> {
        self.books.lock().runs.keys().copied().collect()
    }

    /// A copy of the tasks of a run.
    pub fn tasks(&self, run: RunId) -> BTreeMap<u32, TaskEntry> {
        self.books.lock().runs.get(&run).map(|book| book.tasks.clone()).unwrap_or_default()
    }

    /// Number of tasks of a run.
    pub fn task_count(&self, run: RunId) -> usize {
        self.books.lock().runs.get(&run).map_or(0, |book| book.tasks.len())
    }

    /// Games sent and acknowledged so far.
    pub fn flow(&self, run: RunId) -> GamesFlow {
        let books = self.books.lock();
        let book = books.runs.get(&run);
        book.map(|b| GamesFlow { sent: b.sent_games, acknowledged: b.acknowledged_games }).unwrap_or_default()
    }

    /// The results of a run were read; `before` is its flow before the read. Returns a description if they are smaller
    /// than at the previous look by more than what was then unacknowledged. Only a purge excuses that.
    pub fn observed(&self, run: RunId, results: &Stats, before: GamesFlow) -> Option<String> {
        let mut books = self.books.lock();
        let book = books.runs.entry(run).or_default();
        let unacknowledged = book.sent_games.saturating_sub(before.acknowledged);
        let previous = book.seen.replace(Observation { results: *results, unacknowledged })?;
        let lost = |old: u64, new: u64| old.saturating_sub(new) > previous.unacknowledged;
        let shrunk = lost(previous.results.games(), results.games())
            || previous.results.pentanomial.iter().zip(results.pentanomial).any(|(old, new)| lost(*old, new));
        shrunk.then(|| format!("results of {run} went from {:?} to {results:?}", previous.results))
    }
}

impl RunBook {
    /// Enters the opening range of a new task; returns the breach if it overlaps another.
    fn claim_openings(&mut self, run: RunId, task: u32, given: &AssignedTask) -> Option<(Invariant, String)> {
        let end = given.start.saturating_add(given.num_games);
        // Ranges in the map don't overlap, so only the last one that begins before our end can reach into ours.
        let other = self.openings.range(..end).next_back().map(|(start, (end, task))| (*start, *end, *task));
        if let Some((other_start, other_end, other_task)) = other
            && other_end > given.start
        {
            let mine = format!("{run}/{task} [{}, {end})", given.start);
            let detail = format!("{mine} overlaps {run}/{other_task} [{other_start}, {other_end})");
            return Some((Invariant::I20, detail));
        }
        self.openings.insert(given.start, (end, task));
        None
    }
}

impl Books {
    fn breach(&mut self, invariant: Invariant, detail: String, started: Instant) {
        let count = self.counts.entry(invariant).or_insert(0);
        *count += 1;
        if *count as usize <= DETAILS {
            self.breaches.push(Breach { invariant, seconds: started.elapsed().as_secs_f64(), detail });
        }
    }
}

#[cfg(test)]
mod tests;

//! What the fleet counts while it runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::endpoint::Endpoint;
use super::latency::{Histogram, LatencySummary};

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Holds a task.
    Playing,
    /// Asks for one or waits before it asks again.
    Waiting,
    /// Vanished, will be back.
    Away,
    /// Ended for good.
    Gone,
}

/// Numbers of workers by what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct WorkerCounts {
    /// Hold a task.
    pub playing: u64,
    /// Without a task.
    pub waiting: u64,
    /// Vanished, will be back.
    pub away: u64,
    /// Ended for good.
    pub gone: u64,
}

/// Events that are only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A task was received.
    TaskStarted,
    /// A task was played to its end or ended by the server.
    TaskEnded,
    /// A task was given back, or lost because reports found no server.
    TaskFailed,
    /// A worker vanished with a task.
    Vanished,
    /// An answer said that there is no task.
    NoTask,
    /// An answer said that the server is too busy.
    Busy,
    /// The server said that a reported task was closed before.
    NotActive,
    /// A report was repeated.
    Retried,
}

const EVENTS: [(Event, &str); 8] = [
    (Event::TaskStarted, "tasks_started"),
    (Event::TaskEnded, "tasks_ended"),
    (Event::TaskFailed, "tasks_failed"),
    (Event::Vanished, "vanished"),
    (Event::NoTask, "no_task"),
    (Event::Busy, "too_busy"),
    (Event::NotActive, "not_active"),
    (Event::Retried, "retried_reports"),
];

/// Shared counters of a fleet.
#[derive(Debug)]
pub struct Tally {
    latencies: [Mutex<Histogram>; Endpoint::ALL.len()],
    errors: Mutex<BTreeMap<(Endpoint, String), u64>>,
    requests: AtomicU64,
    games: AtomicU64,
    events: [AtomicU64; EVENTS.len()],
    workers: [AtomicI64; 4],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            latencies: std::array::from_fn(|_| Mutex::default()),
            errors: Mutex::default(),
            requests: AtomicU64::new(0),
            games: AtomicU64::new(0),
            events: Default::default(),
            workers: Default::default(),
        }
    }
}

impl Tally {
    /// One exchange with the server, successful or not, and how long it took.
    pub fn request(&self, endpoint: Endpoint, micros: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.latencies[endpoint as usize].lock().record(micros);
    }

    /// One unusable answer.
    pub fn error(&self, endpoint: Endpoint, kind: &str) {
        *self.errors.lock().entry((endpoint, kind.to_owned())).or_insert(0) += 1;
    }

    /// Games that the server acknowledged.
    pub fn games(&self, games: u64) {
        self.games.fetch_add(games, Ordering::Relaxed);
    }

    /// Counts an event.
    pub fn count(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A worker begins to do something else.
    pub fn change(&self, before: Option<Doing>, now: Doing) {
        if let Some(before) = before {
            self.workers[before as usize].fetch_sub(1, Ordering::Relaxed);
        }
        self.workers[now as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What the workers do.
    pub fn workers(&self) -> WorkerCounts {
        let read =
            |doing: Doing| u64::try_from(self.workers[doing as usize].load(Ordering::Relaxed)).unwrap_or(0);
        WorkerCounts {
            playing: read(Doing::Playing),
            waiting: read(Doing::Waiting),
            away: read(Doing::Away),
            gone: read(Doing::Gone),
        }
    }

    /// All exchanges so far.
    pub fn total_requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// All acknowledged games so far.
    pub fn total_games(&self) -> u64 {
        self.games.load(Ordering::Relaxed)
    }

    /// The events by name.
    pub fn events(&self) -> BTreeMap<&'static str, u64> {
        EVENTS
            .iter()
            .map(|(event, name)| (*name, self.events[*event as usize].load(Ordering::Relaxed)))
            .collect()
    }

    /// How often an event happened.
    pub fn total(&self, event: Event) -> u64 {
        self.events[event as usize].load(Ordering::Relaxed)
    }

    /// Latencies of the endpoints that were used.
    pub fn latencies(&self) -> BTreeMap<&'static str, LatencySummary> {
        let mut summaries = BTreeMap::new();
        for endpoint in Endpoint::ALL {
            let summary = self.latencies[endpoint as usize].lock().summary();
            if summary.count > 0 {
                summaries.insert(endpoint.name(), summary);
            }
        }
        summaries
    }

    /// Unusable answers, as `endpoint: kind`.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        let errors = self.errors.lock();
        errors
            .iter()
            .map(|((endpoint, kind), count)| (format!("{}: {kind}", endpoint.name()), *count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_enumerator_has_its_own_slot() {
        for (i, endpoint) in Endpoint::ALL.iter().enumerate() {
            assert_eq!(*endpoint as usize, i);
        }
        for (i, (event, _)) in EVENTS.iter().enumerate() {
            assert_eq!(*event as usize, i);
        }
    }

    #[test]
    fn counts_come_back_by_name() {
        let tally = Tally::default();
        tally.request(Endpoint::Beat, 1500);
        tally.error(Endpoint::Beat, "timeout");
        tally.error(Endpoint::Beat, "timeout");
        tally.change(None, Doing::Waiting);
        tally.change(Some(Doing::Waiting), Doing::Playing);
        tally.count(Event::Busy);
        assert_eq!(tally.errors().get("beat: timeout"), Some(&2));
        assert_eq!(tally.workers(), WorkerCounts { playing: 1, ..WorkerCounts::default() });
        assert_eq!(tally.events()["too_busy"], 1);
        assert_eq!(tally.latencies()["beat"].count, 1);
        assert_eq!(tally.total_requests(), 1);
    }
}

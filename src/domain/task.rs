//! A task: a slice of a run's games, handed to one worker.

use std::sync::Arc;

use bson::Document;
use serde::{Deserialize, Serialize};

use super::action::CloseCause;
use super::ids::{Generation, Millis, ShortWorkerName, TaskKey, Version, WriteId};
use super::results::Stats;
use super::spsa::SpsaEntry;
pub use super::spsa::SpsaRound;

/// How many accepted bodies a task remembers, so that their repetition has no effect (`durability.md` section 3).
pub const REMEMBERED_BODIES: usize = 16;

/// Fingerprint of the statistics and SPSA part of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BodyDigest(pub u64);

/// Who plays a task. Fixed when the task is created, but for nothing: an update refreshes `TaskRecord::worker_info` only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskWorker {
    /// Account name.
    pub username: String,
    /// The worker's key: `[0-9a-zA-Z]{2,8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}`.
    pub unique_key: String,
    /// Identity for duplicate detection and blocking.
    pub short_name: ShortWorkerName,
    /// Cores the worker offers; what `cores` of the run counts.
    pub concurrency: u32,
    /// Address the machine limit counts, fixed at creation.
    pub remote_addr: String,
}

/// What an accepted update adds to its run's order-sensitive record (`durability.md` section 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contribution {
    /// Growth of the counts: wins, losses, draws, then the five pair counts.
    Sprt([i64; 8]),
    /// A tuning round's result.
    Spsa(SpsaEntry),
}

/// A contribution with its place in the run's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailEntry {
    /// 1, 2, 3, ... within the run.
    pub seq: u64,
    /// What it adds.
    pub what: Contribution,
}

/// What a purge did to a task: the copy of its statistics and why (`spec/scheduling.md` section 5).
#[derive(Debug, Clone, PartialEq)]
pub struct BadMark {
    /// Position in the run's list of bad tasks.
    pub position: u32,
    /// The statistics before they were zeroed.
    pub stats: Stats,
    /// Deviation of the worker; 10 for crashes and time losses. May be infinite.
    pub residual: f64,
    /// `green`, `yellow` or `red`; old documents hold colour codes.
    pub residual_color: String,
    /// The copy's remaining fields where an imported document has them (its own worker information, for instance).
    pub extra: Document,
}

/// Everything about a task that is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRecord {
    /// Run and number.
    pub key: TaskKey,
    /// Generation of the last write.
    pub generation: Generation,
    /// Version within the generation.
    pub version: Version,
    /// Identity of the write that made this version.
    pub write_id: WriteId,
    /// Size in games, even.
    pub num_games: u64,
    /// Opening offset in games.
    pub start: u64,
    /// Whether the worker holds it. A task lives if this is true *and* its run is running.
    pub active: bool,
    /// Creation, update or deactivation; heartbeats too, but those are not durable.
    pub last_updated: Millis,
    /// Cumulative results as last reported.
    pub stats: Stats,
    /// Who plays it. None for a void task and for some very old imported ones.
    pub worker: Option<TaskWorker>,
    /// The worker information as last sent, without `remote_addr`, with `country_code`.
    pub worker_info: Arc<Document>,
    /// The outstanding tuning round.
    pub spsa_round: Option<SpsaRound>,
    /// Whether the claim was answered (durable before its answer went out).
    pub answered: bool,
    /// The last accepted bodies, oldest first.
    pub digests: Vec<BodyDigest>,
    /// Contributions that the durable record may not hold yet, in order.
    pub tail: Vec<TailEntry>,
    /// Why it was closed, where that is logged.
    pub cause: Option<CloseCause>,
    /// Set when purged; then `stats` is zero.
    pub bad: Option<BadMark>,
    /// Fields of an imported document that Shoal doesn't know.
    pub extra: Document,
}

impl TaskRecord {
    /// A closed, empty task that fills a hole in the numbering after a rebuild (`durability.md` section 9).
    pub fn void(key: TaskKey, start: u64, num_games: u64, now: Millis) -> Self {
        Self {
            key,
            generation: Generation::default(),
            version: Version::default(),
            write_id: WriteId::default(),
            num_games,
            start,
            active: false,
            last_updated: now,
            stats: Stats::default(),
            worker: None,
            worker_info: Arc::new(Document::new()),
            spsa_round: None,
            answered: true,
            digests: Vec::new(),
            tail: Vec::new(),
            cause: None,
            bad: None,
            extra: Document::new(),
        }
    }

    /// Whether this body was accepted before.
    pub fn knows(&self, digest: BodyDigest) -> bool {
        self.digests.contains(&digest)
    }

    /// Remembers an accepted body, forgetting the oldest beyond [`REMEMBERED_BODIES`].
    pub fn remember(&mut self, digest: BodyDigest) {
        if self.digests.len() >= REMEMBERED_BODIES {
            self.digests.remove(0);
        }
        self.digests.push(digest);
    }

    /// What this task adds to its run's committed games (`spec/scheduling.md` invariant 4).
    pub fn committed(&self) -> u64 {
        if self.active { self.num_games } else { self.stats.games() }
    }
}

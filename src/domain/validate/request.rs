//! What a worker may send.

use serde::{Deserialize, Serialize};

use super::worker_info::WorkerInfo;
use crate::domain::ids::RunId;
use crate::domain::names::LegacyUsernames;
use crate::domain::results::Stats;

/// The largest count on the wire: what the store's 64-bit integers hold.
pub(super) const MAX_COUNT: u64 = i64::MAX as u64;

/// A request that passed the full schema (`spec/worker-api.md` section 2.2). Every endpoint takes the same keys and
/// uses those that concern it.
#[derive(Clone, PartialEq)]
pub struct WorkerRequest {
    /// The password as sent.
    pub password: String,
    /// The worker's description of itself.
    pub worker_info: WorkerInfo,
    /// The run spoken of; sent in either case, one identity.
    pub run_id: Option<RunId>,
    /// The task spoken of, only together with a run. As sent: it may be larger than any task number.
    pub task_id: Option<u64>,
    /// Base64 of a gzip member holding the games.
    pub pgn: Option<String>,
    /// Free text; any length.
    pub message: Option<String>,
    /// Cumulative results of the task, consistent in themselves.
    pub stats: Option<Stats>,
    /// Results of one round of tuning, consistent in themselves.
    pub spsa: Option<SpsaResult>,
}

impl std::fmt::Debug for WorkerRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerRequest")
            .field("worker_info", &self.worker_info)
            .field("run_id", &self.run_id)
            .field("task_id", &self.task_id)
            .field("message", &self.message)
            .field("stats", &self.stats)
            .field("spsa", &self.spsa)
            .finish_non_exhaustive()
    }
}

impl WorkerRequest {
    /// What the types cannot say. Must agree with `walk.rs`, which finds the words for a violation; a property test
    /// compares the two.
    pub(super) fn has_valid_values(&self, legacy: &LegacyUsernames) -> bool {
        self.worker_info.has_valid_values(legacy)
            && (self.run_id.is_some() || self.task_id.is_none())
            && self.task_id.is_none_or(|id| id <= MAX_COUNT)
            && self.stats.is_none_or(|stats| counts_fit(&stats) && stats.is_consistent())
            && self.spsa.is_none_or(|spsa| spsa.is_consistent())
    }
}

/// Whether every count fits the store's integers.
pub(super) fn counts_fit(stats: &Stats) -> bool {
    let Stats { wins, losses, draws, crashes, time_losses, pentanomial } = stats;
    [wins, losses, draws, crashes, time_losses]
        .into_iter()
        .chain(pentanomial)
        .all(|count| *count <= MAX_COUNT)
}

/// Results of the games played with one set of perturbed parameters (`spec/worker-api.md` section 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpsaResult {
    /// Games won by the plus side.
    pub wins: u64,
    /// Games lost by the plus side.
    pub losses: u64,
    /// Games drawn.
    pub draws: u64,
    /// All games of the round; even.
    pub num_games: u64,
    /// CRC-32 of the packed flips that the games were played with.
    pub sig: u64,
}

impl SpsaResult {
    /// An even number of games that is the sum of the three outcomes, all within the store's integers.
    pub fn is_consistent(&self) -> bool {
        let sum = u128::from(self.wins) + u128::from(self.losses) + u128::from(self.draws);
        self.num_games.is_multiple_of(2)
            && sum == u128::from(self.num_games)
            && self.num_games <= MAX_COUNT
            && self.sig <= MAX_COUNT
    }
}

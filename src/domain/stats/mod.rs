//! Statistics: what the farm concludes from counts of games (`spec/statistics.md`).
//!
//! Counts are listed from the worst to the best outcome of the new engine: (loss, draw, win) of games, or the pairs
//! that scored 0, ½, 1, 1½, 2. A *sample* is a game or a pair accordingly.

pub mod calc_elo;
pub mod chi2;
pub mod counts;
pub mod elo;
pub mod flags;
pub mod live_elo;
pub mod llr;
#[cfg(test)]
mod properties;
pub mod purge;
pub mod raw_statistics;
mod root;
pub mod special;
pub mod sprt;
pub mod sprt_elo;
pub mod text;

/// Why a statistic has no value. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatsError {
    /// A count, a bound or a probability is not a number of its range.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// No distribution over the outcomes has the score that a hypothesis demands.
    #[error("a hypothesis demands a score that no results can have")]
    Infeasible,
    /// The two hypotheses are the same, or in the wrong order.
    #[error("elo0 must be smaller than elo1")]
    EqualBounds,
    /// A computation left the range of floating point numbers.
    #[error("numerical failure in {0}")]
    Numerical(&'static str),
}

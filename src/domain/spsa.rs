//! SPSA.

use serde::{Deserialize, Serialize};

/// A tuning round's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpsaEntry {
    /// Iteration counter when the round was handed out.
    pub iter: u64,
    /// The flips.
    pub packed_flips: Vec<u8>,
    /// Games won.
    pub wins: u64,
    /// Games lost.
    pub losses: u64,
    /// Pairs played.
    pub pairs: u64,
}

//! Log entries.

use bson::oid::ObjectId;
use serde::{Deserialize, Serialize};

use super::ids::Millis;

/// Why a task was closed, where that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseKind {
    /// All its games are played.
    Completed,
    /// Its worker gave it up.
    Failed,
    /// Its worker took another task.
    Stale,
    /// No sign of life.
    Dead,
}

/// What the log entries of a closed task are made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseCause {
    /// Why.
    pub kind: CloseKind,
    /// What the worker said.
    pub message: String,
    /// When.
    pub time: Millis,
    /// Ids of the entries.
    pub ids: [ObjectId; 2],
}

//! What the log says about a task that was closed. The closed task keeps a compact cause; the entries follow from it
//! and from the task, so that whoever writes them, however often, writes the same.

use bson::oid::ObjectId;
use serde::{Deserialize, Serialize};

use super::{Action, Event, TaskLabel, cut_message};
use crate::domain::ids::Millis;
use crate::domain::results::Stats;
use crate::domain::stats::flags::crash_or_time_message;

/// Message of a task that its worker forgot: the same worker asked for a new one.
pub const STALE_MESSAGE: &str = "Stale active task";

/// In which of four ways a task was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseKind {
    /// Its last update was accepted, or its run ended.
    Completed,
    /// Its worker gave it back.
    Failed,
    /// Its worker took another one.
    Stale,
    /// Its worker was not heard of for too long.
    Dead,
}

/// Why and when a task was closed, and the identities that its log entries will have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseCause {
    /// In which way.
    pub kind: CloseKind,
    /// The worker's words, for [`CloseKind::Failed`]; otherwise unused.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When.
    pub time: Millis,
    /// Identity of the `crash_or_time` entry, and of the entry that names the closing.
    pub ids: [ObjectId; 2],
}

impl CloseCause {
    /// A cause whose message is cut to what the log keeps, so that a closed task cannot grow with a worker's words.
    pub fn new(kind: CloseKind, message: impl Into<String>, time: Millis, ids: [ObjectId; 2]) -> Self {
        let mut message = message.into();
        cut_message(&mut message);
        Self { kind, message, time, ids }
    }
}

/// What the entries need to know of the closed task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedTask {
    /// The task's account.
    pub username: String,
    /// Worker, run and number.
    pub task: TaskLabel,
    /// The task's results when it was closed.
    pub stats: Stats,
}

/// The log entries of a closed task, with their identities, in the order of the log.
pub fn expand(cause: &CloseCause, closed: &ClosedTask) -> Vec<(ObjectId, Action)> {
    let [crash_id, close_id] = cause.ids;
    let task = || closed.task.clone();
    let mut entries = Vec::new();
    if let Some(message) = crash_or_time_message(&closed.stats) {
        entries.push((crash_id, Event::CrashOrTime { task: task(), message }));
    }
    match cause.kind {
        CloseKind::Completed => {}
        CloseKind::Failed => {
            entries.push((close_id, Event::FailedTask { task: task(), message: cause.message.clone() }));
        }
        CloseKind::Stale => {
            entries.push((close_id, Event::FailedTask { task: task(), message: STALE_MESSAGE.to_owned() }));
        }
        CloseKind::Dead => entries.push((close_id, Event::DeadTask { task: task() })),
    }
    entries.into_iter().map(|(id, event)| (id, Action::by(closed.username.as_str(), event))).collect()
}

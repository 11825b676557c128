//! Newtypes for what must not be mixed up.

use std::fmt;
use std::str::FromStr;

use bson::oid::ObjectId;
use serde::{Deserialize, Serialize};

/// Identity of a run. Always printed as 24 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub ObjectId);

impl RunId {
    /// Reads 24 hex digits of either case; upper case names the same run (`spec/worker-api.md` section 2.2).
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            ObjectId::from_str(text).ok().map(Self)
        } else {
            None
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_hex())
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a run id is 24 hex digits"))
    }
}

/// Number of a task within its run: 0, 1, 2, ... Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub u32);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A task named in full: `{run}/{number}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskKey {
    /// The run.
    pub run: RunId,
    /// The number within the run.
    pub task: TaskId,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.run, self.task)
    }
}

/// Milliseconds since the Unix epoch, UTC. Negative before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// Unix seconds with a fraction, as the action log keeps them.
    pub fn as_unix_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Whole seconds from `earlier` to `self`, rounded down.
    pub fn seconds_since(self, earlier: Self) -> i64 {
        (self.0 - earlier.0).div_euclid(1000)
    }
}

/// Generation of the schedule: raised by every rebuild; everything older is fenced out (`durability.md` section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Version of a document within a generation; 0 means "none yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Random identity of one write, which tells our own repetition from another history's write of the same version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct WriteId(pub u64);

/// `{username}-{concurrency}cores-{first part of the unique key}`: the identity of a worker for blocking,
/// duplicate detection and the worker-to-task map (`spec/worker-api.md` section 4).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShortWorkerName(pub String);

impl fmt::Display for ShortWorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fencing token of a lease: (generation, counter), ordered, only ever increasing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token {
    /// Generation in which the lease was granted.
    pub generation: Generation,
    /// Count of grants.
    pub counter: u64,
}

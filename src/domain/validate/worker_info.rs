//! A worker's description of itself.

use bson::{Bson, Document};
use serde::{Deserialize, Deserializer, Serialize};

use super::request::MAX_COUNT;
use crate::domain::arch;
use crate::domain::bson_number::int;
use crate::domain::ids::ShortWorkerName;
use crate::domain::names::{LegacyUsernames, is_unique_key, long_worker_name, short_worker_name};

/// The sixteen keys of `worker_info`, in stored order (`spec/worker-api.md` section 2.3, `spec/storage.md` section
/// 3.5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Operating system, as the machine names it.
    pub uname: String,
    /// Word size and executable format.
    pub architecture: [String; 2],
    /// Cores that the worker offers; at least 1.
    pub concurrency: u64,
    /// Memory that the worker offers, MiB.
    pub max_memory: u64,
    /// Smallest number of threads per game that the worker takes; at least 1.
    pub min_threads: u64,
    /// The account.
    pub username: String,
    /// Release of the worker; informative.
    pub version: u64,
    /// Major, minor, patch.
    pub python_version: [u64; 3],
    /// Version of whichever compiler is used: major, minor, patch.
    pub gcc_version: [u64; 3],
    /// `clang++` or `g++`.
    pub compiler: String,
    /// Names this start of the worker; the first part is stable per installation.
    pub unique_key: String,
    /// Whether the worker's code differs from the released one.
    pub modified: bool,
    /// A supported architecture or `unknown`.
    pub worker_arch: String,
    /// What the engine's build said about itself.
    #[serde(rename = "ARCH")]
    pub arch: String,
    /// Nodes per second of the last bench; keeps whether it was sent as an integer or as a float.
    pub nps: serde_json::Number,
    /// Whether few GitHub calls remain.
    pub near_github_api_limit: bool,
}

impl WorkerInfo {
    /// Identity of the worker for blocking and duplicate detection.
    pub fn short_name(&self) -> ShortWorkerName {
        short_worker_name(&self.username, self.concurrency, &self.unique_key)
    }

    /// The name that people see.
    pub fn long_name(&self) -> String {
        long_worker_name(&self.username, self.concurrency, &self.unique_key, self.modified)
    }

    /// The stored form: integers as small as they fit, `nps` of the type that was sent.
    pub fn to_document(&self) -> Document {
        let ints = |values: &[u64]| Bson::Array(values.iter().map(|value| stored_count(*value)).collect());
        let mut doc = Document::new();
        doc.insert("uname", self.uname.as_str());
        doc.insert("architecture", self.architecture.to_vec());
        doc.insert("concurrency", stored_count(self.concurrency));
        doc.insert("max_memory", stored_count(self.max_memory));
        doc.insert("min_threads", stored_count(self.min_threads));
        doc.insert("username", self.username.as_str());
        doc.insert("version", stored_count(self.version));
        doc.insert("python_version", ints(&self.python_version));
        doc.insert("gcc_version", ints(&self.gcc_version));
        doc.insert("compiler", self.compiler.as_str());
        doc.insert("unique_key", self.unique_key.as_str());
        doc.insert("modified", self.modified);
        doc.insert("worker_arch", self.worker_arch.as_str());
        doc.insert("ARCH", self.arch.as_str());
        let nps = match self.nps.as_i64() {
            Some(whole) => int(whole),
            None => Bson::Double(self.nps.as_f64().unwrap_or_default()),
        };
        doc.insert("nps", nps);
        doc.insert("near_github_api_limit", self.near_github_api_limit);
        doc
    }

    /// What the types cannot say; see [`super::WorkerRequest::has_valid_values`].
    pub(super) fn has_valid_values(&self, legacy: &LegacyUsernames) -> bool {
        let counts = [self.max_memory, self.version, self.concurrency, self.min_threads];
        let versions = self.python_version.iter().chain(&self.gcc_version);
        counts.iter().chain(versions).all(|count| *count <= MAX_COUNT)
            && self.concurrency > 0
            && self.min_threads > 0
            && legacy.allows(&self.username)
            && is_compiler(&self.compiler)
            && is_unique_key(&self.unique_key)
            && is_worker_arch(&self.worker_arch)
            && is_nps(&self.nps)
    }
}

/// A count that was checked to fit 64 signed bits.
fn stored_count(value: u64) -> Bson {
    int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Whether a worker may report this compiler.
pub(super) fn is_compiler(name: &str) -> bool {
    arch::SUPPORTED_COMPILERS.contains(&name)
}

/// Whether a worker may report this architecture.
pub(super) fn is_worker_arch(name: &str) -> bool {
    name == arch::UNKNOWN || arch::is_supported(name)
}

/// A finite number that is not negative; an integer must fit 64 signed bits.
pub(super) fn is_nps(nps: &serde_json::Number) -> bool {
    match nps.as_i64() {
        Some(whole) => whole >= 0,
        None => nps.is_f64() && nps.as_f64().is_some_and(|value| value >= 0.0),
    }
}

/// A worker's description as a task keeps it: with what the server knows about the connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredWorkerInfo {
    /// What the worker sent.
    #[serde(flatten)]
    pub info: WorkerInfo,
    /// Address of the worker; fixed when the task is created.
    pub remote_addr: String,
    /// Two capital letters, or `?`.
    pub country_code: String,
}

impl StoredWorkerInfo {
    /// The stored form.
    pub fn to_document(&self) -> Document {
        let mut doc = self.info.to_document();
        doc.insert("remote_addr", self.remote_addr.as_str());
        doc.insert("country_code", self.country_code.as_str());
        doc
    }
}

/// [`WorkerInfo`] as a request may carry it: unknown keys refused. (The lax form reads stored documents.)
#[derive(Deserialize)]
#[serde(remote = "WorkerInfo", deny_unknown_fields)]
struct Strict {
    uname: String,
    architecture: [String; 2],
    concurrency: u64,
    max_memory: u64,
    min_threads: u64,
    username: String,
    version: u64,
    python_version: [u64; 3],
    gcc_version: [u64; 3],
    compiler: String,
    unique_key: String,
    modified: bool,
    worker_arch: String,
    #[serde(rename = "ARCH")]
    arch: String,
    nps: serde_json::Number,
    near_github_api_limit: bool,
}

/// Reads exactly the sixteen keys.
pub(super) fn strict<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WorkerInfo, D::Error> {
    Strict::deserialize(deserializer)
}

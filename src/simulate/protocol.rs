//! The documents of the worker protocol as a worker sends and reads them (`spec/worker-api.md` sections 2, 6 and 7).

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::results::Stats;

/// The protocol version that this client speaks.
pub const VERSION: u64 = 325;

/// What a worker tells about itself (`spec/worker-api.md` section 2.3).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(non_snake_case)]
pub struct WorkerInfo {
    /// Operating system.
    pub uname: String,
    /// Word size and linkage.
    pub architecture: [String; 2],
    /// Cores offered.
    pub concurrency: u32,
    /// Memory offered, MiB.
    pub max_memory: u64,
    /// Smallest number of threads per engine that the worker takes.
    pub min_threads: u32,
    /// Account.
    pub username: String,
    /// Protocol version.
    pub version: u64,
    /// Version of the interpreter.
    pub python_version: [u32; 3],
    /// Version of the compiler, whichever it is.
    pub gcc_version: [u32; 3],
    /// `g++` or `clang++`.
    pub compiler: String,
    /// Identity: the first part belongs to the installation, the rest to one start of the worker.
    pub unique_key: String,
    /// Whether the worker's files were changed.
    pub modified: bool,
    /// Architecture, one of the supported names.
    pub worker_arch: String,
    /// Compiler target; `?` before the first bench.
    pub ARCH: String,
    /// Nodes per second; 0 before the first bench.
    pub nps: f64,
    /// Whether few GitHub calls are left.
    pub near_github_api_limit: bool,
}

/// Results of one SPSA stretch (`spec/worker-api.md` section 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SpsaResult {
    /// Games won with the first parameter set.
    pub wins: u64,
    /// Games lost.
    pub losses: u64,
    /// Games drawn.
    pub draws: u64,
    /// All games of the stretch.
    pub num_games: u64,
    /// Signature of the parameters that were played.
    pub sig: u64,
}

/// The body of every worker request; absent parts are not sent.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct WorkerRequest<'a> {
    /// Password of the account.
    pub password: &'a str,
    /// The worker, already as JSON: it changes rarely and is sent always.
    pub worker_info: &'a RawValue,
    /// Run of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<&'a str>,
    /// Number of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<u32>,
    /// Cumulative results of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<&'a Stats>,
    /// Results of the last SPSA stretch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spsa: Option<&'a SpsaResult>,
    /// Reason or log line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'a str>,
    /// Base64 of gzipped games.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgn: Option<&'a str>,
}

impl<'a> WorkerRequest<'a> {
    /// Credentials and identity only.
    pub fn new(password: &'a str, worker_info: &'a RawValue) -> Self {
        Self {
            password,
            worker_info,
            run_id: None,
            task_id: None,
            stats: None,
            spsa: None,
            message: None,
            pgn: None,
        }
    }

    /// The same about a task.
    pub fn about(self, run_id: &'a str, task_id: u32) -> Self {
        Self { run_id: Some(run_id), task_id: Some(task_id), ..self }
    }
}

/// Answer of `request_version`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct VersionAnswer {
    /// Newest worker version that the server knows.
    pub version: u64,
}

/// Answer of `request_task`: either `task_waiting` or a run with a task.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TaskAnswer {
    /// Present, and false, when there is no task.
    pub task_waiting: Option<bool>,
    /// Why there is none.
    pub info: Option<String>,
    /// The run, cut down to what a worker needs.
    pub run: Option<AssignedRun>,
    /// Number of the task.
    pub task_id: Option<u32>,
}

/// The run of an assignment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AssignedRun {
    /// 24 hex digits.
    #[serde(rename = "_id")]
    pub id: String,
    /// What to play.
    pub args: AssignedArgs,
    /// The task itself.
    pub my_task: AssignedTask,
}

/// The arguments that a worker reads without a default, and some with (`spec/worker-api.md` section 7.7). The textual
/// ones that only a real worker uses are read too, so that their absence is noticed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AssignedArgs {
    /// Time control.
    pub tc: String,
    /// Time control of the new engine.
    pub new_tc: Option<String>,
    /// Threads of an engine.
    pub threads: u32,
    /// Size of the whole run.
    pub num_games: u64,
    /// Opening book.
    pub book: String,
    /// Depth of the book, text or number.
    pub book_depth: serde_json::Value,
    /// Names and commits.
    pub new_tag: String,
    /// Name of the base.
    pub base_tag: String,
    /// Commit of the new engine.
    pub resolved_new: String,
    /// Commit of the base.
    pub resolved_base: String,
    /// Bench of the new engine.
    pub new_signature: String,
    /// Bench of the base.
    pub base_signature: String,
    /// Options of the new engine.
    pub new_options: String,
    /// Options of the base.
    pub base_options: String,
    /// Repository.
    pub tests_repo: String,
    /// Present for an SPRT.
    pub sprt: Option<AssignedSprt>,
    /// Present for a tuning.
    pub spsa: Option<IgnoredAny>,
}

/// The part of the SPRT arguments that a worker reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AssignedSprt {
    /// Pairs per report.
    #[serde(default = "one")]
    pub batch_size: u64,
}

fn one() -> u64 {
    1
}

/// The task of an assignment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AssignedTask {
    /// Games to play.
    pub num_games: u64,
    /// First game of the task in the run's opening order.
    pub start: u64,
    /// Games already played.
    pub stats: Option<Stats>,
}

impl AssignedRun {
    /// What a worker asserts about an assignment (`spec/worker-api.md` section 7.6); a worker ends when it doesn't
    /// hold.
    pub fn check(&self) -> Result<(), String> {
        let played = self.my_task.stats.unwrap_or_default();
        if played.games() != played.pairs().saturating_mul(2) {
            return Err(format!("my_task.stats disagree with themselves: {played:?}"));
        }
        let num_games = self.my_task.num_games;
        let left = num_games.saturating_sub(played.games());
        if left == 0 || !left.is_multiple_of(2) {
            return Err(format!("{left} games are left of {num_games}: not a positive even number"));
        }
        if let Some(sprt) = &self.args.sprt {
            let batch = sprt.batch_size.saturating_mul(2);
            if batch == 0 || !left.is_multiple_of(batch) {
                return Err(format!("{left} games are left, not a multiple of {batch}, two batches"));
            }
        }
        if crate::simulate::cadence::game_seconds(&self.args.tc).is_none() {
            return Err(format!("unreadable time control {:?}", self.args.tc));
        }
        if self.args.threads == 0 {
            return Err("no threads".to_owned());
        }
        Ok(())
    }
}

/// Answer of `update_task` and `beat`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AliveAnswer {
    /// Whether to go on.
    pub task_alive: bool,
    /// Why not, when the task was closed before.
    pub info: Option<String>,
}

/// Answer of `request_spsa`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SpsaAnswer {
    /// Whether to go on.
    pub task_alive: bool,
    /// Why not.
    pub info: Option<String>,
    /// Parameters of the first side.
    pub w_params: Option<Vec<SpsaParameter>>,
    /// Parameters of the second side.
    pub b_params: Option<Vec<SpsaParameter>>,
    /// Signature, to be sent back with the results.
    pub sig: Option<u64>,
}

/// One parameter; only the fields that a worker reads.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SpsaParameter {
    /// Name of the option.
    pub name: String,
    /// Value to play with.
    pub value: f64,
}

/// Answer of the calls whose content a worker doesn't look at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FormAnswer {
    /// Why nothing was done.
    pub info: Option<String>,
}

/// A run as `get_run`, `get_elo` and `active_runs` show it; only what the simulation looks at.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunView {
    /// Decided, stopped or deleted.
    #[serde(default)]
    pub finished: bool,
    /// May be played.
    #[serde(default)]
    pub approved: bool,
    /// Sum of the tasks.
    pub results: Stats,
    /// Arguments.
    pub args: RunArgsView,
    /// Statistics, from `get_elo` of an SPRT only.
    pub elo: Option<EloView>,
}

/// Arguments of a [`RunView`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunArgsView {
    /// Name of the new engine's branch.
    #[serde(default)]
    pub new_tag: String,
    /// Size of the run.
    #[serde(default)]
    pub num_games: u64,
    /// State of the test.
    pub sprt: Option<SprtView>,
}

/// State of a sequential test.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SprtView {
    /// Log-likelihood ratio.
    #[serde(default)]
    pub llr: f64,
    /// Empty, `accepted` or `rejected`.
    #[serde(default)]
    pub state: String,
    /// Bound of rejection.
    #[serde(default)]
    pub lower_bound: f64,
    /// Bound of acceptance.
    #[serde(default)]
    pub upper_bound: f64,
}

/// Elo estimate of an SPRT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(non_snake_case)]
pub struct EloView {
    /// Median-unbiased estimate, logistic Elo.
    pub elo: f64,
    /// 95 % interval.
    pub ci: [f64; 2],
    /// Likelihood of superiority, 0 to 1.
    pub LOS: f64,
    /// Log-likelihood ratio.
    pub LLR: f64,
}

/// A task as `get_task` shows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TaskView {
    /// Size.
    pub num_games: u64,
    /// First game in the opening order.
    pub start: Option<u64>,
    /// Whether a worker holds it.
    #[serde(default)]
    pub active: bool,
    /// Purged: its results no longer count.
    #[serde(default)]
    pub bad: bool,
    /// Results.
    pub stats: Option<Stats>,
    /// Its worker.
    pub worker_info: Option<TaskWorkerView>,
}

/// The worker of a [`TaskView`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TaskWorkerView {
    /// First eight characters of the key and three dots.
    #[serde(default)]
    pub unique_key: String,
    /// Account.
    #[serde(default)]
    pub username: String,
}

//! Which runs a worker may take, and in which order (`spec/scheduling.md` sections 3.3 and 3.4).
//!
//! This is on the path of every `request_task` and looks at every unfinished run, so that all that depends on a
//! run's arguments alone is worked out once, in [`RunArgsFacts`].

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use super::arch_filter::{ArchFilter, ArchMatch};
use super::capacity::{hash_of_options, memory_need};
use super::ids::RunId;

/// Cores above which a run without tuned parameters gets no more workers.
const CORE_LIMIT: f64 = 1_000_000.0;

/// The same for a tuning run with one parameter; it falls with the square root of their number.
const SPSA_CORE_LIMIT: f64 = 200_000.0;

/// What judging a run needs of its arguments. Immutable as long as the run is.
#[derive(Debug, Clone)]
pub struct RunArgsFacts {
    /// The run.
    pub run: RunId,
    /// Threads of an engine.
    pub threads: u32,
    /// Cores above which the run gets no more workers.
    pub core_limit: f64,
    /// Hash of the new engine in MiB.
    pub new_hash: u64,
    /// Hash of the base engine in MiB.
    pub base_hash: u64,
    /// Architectures admitted; all when absent.
    pub arch_filter: Option<Arc<ArchFilter>>,
    /// Compiler asked for; any when absent.
    pub compiler: Option<String>,
}

impl RunArgsFacts {
    /// Works out what follows from the arguments as they are stored. `spsa_parameters` is the number of tuned
    /// parameters of an SPSA run; an empty filter is none.
    pub fn new(
        run: RunId,
        threads: u32,
        new_options: &str,
        base_options: &str,
        spsa_parameters: Option<usize>,
        arch_filter: Option<&str>,
        compiler: Option<&str>,
    ) -> Self {
        let arch_filter = arch_filter.filter(|pattern| !pattern.is_empty());
        Self {
            run,
            threads,
            core_limit: core_limit(spsa_parameters),
            new_hash: hash_of_options(new_options),
            base_hash: hash_of_options(base_options),
            arch_filter: arch_filter.map(|pattern| Arc::new(ArchFilter::from_stored(pattern))),
            compiler: compiler.filter(|compiler| !compiler.is_empty()).map(str::to_owned),
        }
    }
}

/// Cores above which a run gets no more workers.
pub fn core_limit(spsa_parameters: Option<usize>) -> f64 {
    match spsa_parameters {
        Some(parameters) => SPSA_CORE_LIMIT / (parameters.max(1) as f64).sqrt(),
        None => CORE_LIMIT,
    }
}

/// What judging and ordering a run needs of its live state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranking {
    /// Whether the run is over.
    pub finished: bool,
    /// Whether an approver let it run.
    pub approved: bool,
    /// Higher goes first.
    pub priority: i64,
    /// Upper limit of games.
    pub num_games: u64,
    /// Games played or promised.
    pub committed_games: u64,
    /// Cores at work.
    pub cores: u64,
    /// Internal throughput ([`super::capacity::calc_itp`]).
    pub itp: f64,
}

/// What judging runs needs of the worker that asks.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerFacts {
    /// Cores offered.
    pub concurrency: u32,
    /// Only runs with at least this many threads per engine are wanted.
    pub min_threads: u32,
    /// MiB offered.
    pub max_memory: u64,
    /// Whether the worker can hardly download anything new.
    pub near_github_api_limit: bool,
    /// Runs whose files the worker has.
    pub seen: HashSet<RunId>,
    /// The run of the worker's latest task.
    pub last_run: Option<RunId>,
    /// Architecture, or `unknown`.
    pub worker_arch: String,
    /// Compiler.
    pub compiler: String,
}

/// Why a worker doesn't get a run; in the order in which the reasons are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Ineligible {
    /// The run is over.
    #[error("the run is finished")]
    Finished,
    /// Nobody approved the run yet.
    #[error("the run is not approved")]
    NotApproved,
    /// An engine needs more threads than the worker has cores.
    #[error("the run needs more threads than the worker has cores")]
    TooManyThreads,
    /// An engine needs fewer threads than the worker wants.
    #[error("the run has fewer threads than the worker asks for")]
    TooFewThreads,
    /// All games are played or promised.
    #[error("the run needs no more games")]
    NoGamesLeft,
    /// The worker has too little memory.
    #[error("the run needs more memory than the worker has")]
    TooLittleMemory,
    /// The worker can't download the run's files.
    #[error("the worker is near its GitHub limit and has not seen the run")]
    GithubLimit,
    /// Enough cores are at work.
    #[error("the run has as many cores as it may")]
    TooManyCores,
    /// The architecture filter excludes the worker.
    #[error("the worker's architecture is excluded")]
    WrongArch,
    /// The run asks for another compiler.
    #[error("the run asks for another compiler")]
    WrongCompiler,
}

/// Judges one run for one worker. A filter that could not be matched counts as matching, and adds a message for the
/// event log to `log`.
pub fn eligible(
    args: &RunArgsFacts,
    ranking: &Ranking,
    worker: &WorkerFacts,
    log: &mut Vec<String>,
) -> Result<(), Ineligible> {
    if ranking.finished {
        return Err(Ineligible::Finished);
    }
    if !ranking.approved {
        return Err(Ineligible::NotApproved);
    }
    if args.threads > worker.concurrency {
        return Err(Ineligible::TooManyThreads);
    }
    if args.threads < worker.min_threads {
        return Err(Ineligible::TooFewThreads);
    }
    if ranking.num_games <= ranking.committed_games {
        return Err(Ineligible::NoGamesLeft);
    }
    if memory_need(worker.concurrency, args.threads, args.new_hash, args.base_hash) > worker.max_memory {
        return Err(Ineligible::TooLittleMemory);
    }
    if worker.near_github_api_limit && !worker.seen.contains(&args.run) {
        return Err(Ineligible::GithubLimit);
    }
    if ranking.cores as f64 > args.core_limit {
        return Err(Ineligible::TooManyCores);
    }
    if let Some(filter) = &args.arch_filter {
        match filter.search(&worker.worker_arch) {
            ArchMatch::Match => {}
            ArchMatch::NoMatch => return Err(Ineligible::WrongArch),
            ArchMatch::Failed(reason) => log.push(filter.failure_message(&worker.worker_arch, &reason)),
        }
    }
    if args.compiler.as_ref().is_some_and(|compiler| *compiler != worker.compiler) {
        return Err(Ineligible::WrongCompiler);
    }
    Ok(())
}

/// A run's place in the queue of one worker: lower goes first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrderKey {
    /// Negated priority.
    pub priority: i64,
    /// Whether cores are at work already, the worker's own included if it comes from this run.
    pub started: bool,
    /// Cores per internal throughput, with half of the worker's.
    pub load: f64,
}

impl OrderKey {
    /// The place of a run with `ranking`, for a worker with `concurrency` cores.
    pub fn new(ranking: &Ranking, concurrency: u32, is_last_run: bool) -> Self {
        let own = if is_last_run { f64::from(concurrency) } else { 0.0 };
        let cores = ranking.cores as f64 + own;
        Self {
            priority: ranking.priority.saturating_neg(),
            started: cores > 0.0,
            load: (cores + f64::from(concurrency) / 2.0) / ranking.itp,
        }
    }

    /// A total order, also when a load is not a number.
    pub fn compare(&self, other: &Self) -> Ordering {
        let whole = (self.priority, self.started).cmp(&(other.priority, other.started));
        whole.then_with(|| self.load.total_cmp(&other.load))
    }
}

/// A run together with its live state.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// What follows from the arguments.
    pub args: Arc<RunArgsFacts>,
    /// The live state.
    pub ranking: Ranking,
}

/// Puts runs in the order in which a worker should try them. Among equals the older run goes first.
pub fn order(candidates: &mut [Candidate], worker: &WorkerFacts) {
    candidates.sort_by_cached_key(|candidate| {
        let run = candidate.args.run;
        let is_last_run = worker.last_run == Some(run);
        Queued(OrderKey::new(&candidate.ranking, worker.concurrency, is_last_run), run)
    });
}

struct Queued(OrderKey, RunId);

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.compare(&other.0).then_with(|| self.1.cmp(&other.1))
    }
}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Queued {}

/// The runs that a worker may take, best first. Whoever needs only the best takes only that from the iterator:
/// runs behind it are then not judged, and their filters not run.
pub fn eligible_in_order<'a>(
    candidates: &'a mut [Candidate],
    worker: &'a WorkerFacts,
    log: &'a mut Vec<String>,
) -> impl Iterator<Item = &'a Candidate> {
    order(candidates, worker);
    candidates
        .iter()
        .filter(move |candidate| eligible(&candidate.args, &candidate.ranking, worker, log).is_ok())
}

#[cfg(test)]
mod tests;

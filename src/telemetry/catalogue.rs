//! Every metric, once: the help texts of `/metrics`, the series that are there from the start, and `docs/metrics.md` follow
//! from this table. A new metric is one entry here.

use super::labels::*;
use super::metric::{Counter, Gauge, Histogram, Spec};

/// Seconds: from a heartbeat's fraction of a millisecond to the 30 s after which a worker gives up.
pub const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Seconds of what is short when all is well.
pub const SHORT_SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 2.5];

/// Seconds of what a farm waits for, or what reads through all of it.
pub const LONG_SECONDS: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0];

/// Documents in a batch.
pub const DOCUMENTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

/// Each entry: meaning; constant, kind with the number of labels; name, unit, labels; buckets of a histogram.
macro_rules! catalogue {
    ($(
        $(#[doc = $help:literal])+
        $constant:ident: $kind:ident<$count:literal> = $name:literal, $unit:literal $(, $label:ident)* $(; $buckets:ident)?;
    )+) => {
        $(
            $(#[doc = $help])+
            pub static $constant: $kind<$count> = {
                const LABELS: &[super::metric::Label] = &[$($label),*];
                const { assert!(LABELS.len() == $count, "so many labels") };
                $kind(Spec {
                    name: $name,
                    kind: $kind::<$count>::KIND,
                    unit: $unit,
                    labels: LABELS,
                    buckets: buckets!($($buckets)?),
                    help_lines: &[$($help),+],
                    kept: std::sync::OnceLock::new(),
                })
            };
        )+

        /// All of them, in the order of the reference, each with its constant's name.
        pub static ALL: &[(&str, &Spec)] = &[ $( (stringify!($constant), &$constant.0), )+ ];
    };
}

macro_rules! buckets {
    () => {
        &[]
    };
    ($buckets:ident) => {
        $buckets
    };
}

catalogue! {
    /// Requests that were answered. `ok` is 2xx and 3xx; `refused` is 4xx, what the client did wrong; `limited` is 429;
    /// `try_again` is 503, which workers repeat; `failed` is every other 5xx.
    HTTP_REQUESTS: Counter<2> = "shoal_http_requests_total", "requests", ENDPOINT, HTTP_OUTCOME;

    /// From the head of a request to the answer, bodies of requests included, downloads not.
    HTTP_REQUEST_SECONDS: Histogram<1> = "shoal_http_request_duration_seconds", "seconds", ENDPOINT; SECONDS;

    /// Requests that are being carried out.
    HTTP_IN_FLIGHT: Gauge<1> = "shoal_http_requests_in_flight", "requests", CLASS;

    /// Requests that wait for their turn.
    HTTP_QUEUED: Gauge<1> = "shoal_http_requests_queued", "requests", CLASS;

    /// Requests that may be carried out at once.
    HTTP_IN_FLIGHT_LIMIT: Gauge<1> = "shoal_http_requests_in_flight_limit", "requests", CLASS;

    /// Requests that were turned away for want of room or time, and why: the queue was full, or the wait in it too long; no answer
    /// within the deadline; too many from one address; the schedule isn't loaded; the server is stopping; too many large bodies.
    HTTP_SHED: Counter<2> = "shoal_http_requests_shed_total", "requests", CLASS, SHED;

    /// Bodies of requests that were not read to their end: too large, too slow, cut off, or no memory for them.
    HTTP_BODIES_REFUSED: Counter<1> = "shoal_http_bodies_refused_total", "requests", BODY;

    /// Open connections of clients.
    HTTP_CONNECTIONS: Gauge<0> = "shoal_http_connections", "connections";

    /// How much later than wanted a timer fired on a thread that serves requests.
    EVENT_LOOP_DELAY: Histogram<0> = "shoal_event_loop_delay_seconds", "seconds"; SECONDS;

    /// Time since the slowest thread that serves requests last turned its event loop. `/livez` fails on it.
    EVENT_LOOP_SILENCE: Gauge<0> = "shoal_event_loop_silence_seconds", "seconds";

    /// Whether this replica says that it can serve (`/readyz`): 1 or 0.
    READY: Gauge<0> = "shoal_ready", "flag";

    /// Whether this replica serves although something is amiss: 1 or 0.
    DEGRADED_STATE: Gauge<0> = "shoal_degraded", "flag";

    /// Whether what this replica depends on answers, by the readiness check, and the store's schema is one that it can work with:
    /// 1 or 0.
    DEPENDENCY_UP: Gauge<1> = "shoal_dependency_up", "flag", DEPENDENCY;

    /// How long what this replica depends on took to answer the readiness check.
    DEPENDENCY_SECONDS: Histogram<1> = "shoal_dependency_check_duration_seconds", "seconds", DEPENDENCY; SHORT_SECONDS;

    /// Whether a circuit is open: the dependency is known to be away, and nobody is kept waiting for it. 1 or 0.
    CIRCUIT_OPEN: Gauge<1> = "shoal_circuit_open", "flag", CIRCUIT;

    /// What workers that asked for a task were told. `busy`: no room, ask again; `paused`: somebody locked assignments out;
    /// `filled`: the run that was chosen has all its games meanwhile; `repeated`: the task that an answer that got lost had.
    TASK_ANSWERS: Counter<1> = "shoal_request_task_answers_total", "requests", TASK_ANSWER;

    /// How long a request for a task waited for its turn in this process.
    TASK_WAIT: Histogram<0> = "shoal_request_task_wait_seconds", "seconds"; SHORT_SECONDS;

    /// Requests for a slot of the farm's semaphore.
    SEMAPHORE_REQUESTS: Counter<1> = "shoal_semaphore_requests_total", "requests", SEMAPHORE;

    /// Slots of the farm's semaphore that this process holds.
    SEMAPHORE_HELD: Gauge<0> = "shoal_semaphore_slots_held", "slots";

    /// Leases that were asked for: `leader` is the election, `request_task` locks assignments out.
    LEASE_REQUESTS: Counter<2> = "shoal_lease_requests_total", "requests", LEASE, LEASE_OUTCOME;

    /// How long this replica saw nobody lead before it led itself.
    LEASE_WAIT: Histogram<0> = "shoal_leader_vacancy_seconds", "seconds"; LONG_SECONDS;

    /// Whether this replica leads: 1 or 0. The sum over all replicas is 1, but for the seconds of a change.
    LEADER: Gauge<0> = "shoal_leader", "flag";

    /// Second part of the token of this replica's last term; a later term's is greater.
    LEADER_TOKEN: Gauge<0> = "shoal_leader_token", "token";

    /// Terms that this replica began.
    LEADER_CHANGES: Counter<0> = "shoal_leader_changes_total", "terms";

    /// Clocks that were set, or a machine that slept, as the leader noticed: nobody is declared dead for a while.
    CLOCK_STEPS: Counter<0> = "shoal_clock_steps_total", "events";

    /// The generation of the schedule that this replica works for; 0 before the first. Replicas agree, but for seconds.
    GENERATION: Gauge<0> = "shoal_generation", "generation";

    /// Rebuilds of the schedule from the store by this replica; starting a server alone is one.
    REBUILDS: Counter<1> = "shoal_rebuilds_total", "rebuilds", REBUILD;

    /// How long rebuilds took that were carried through.
    REBUILD_SECONDS: Histogram<0> = "shoal_rebuild_duration_seconds", "seconds"; LONG_SECONDS;

    /// Notes of other replicas that this one missed: it dropped what it had cached.
    NOTES_MISSED: Counter<0> = "shoal_notes_missed_total", "notes";

    /// Calls of scripts of the schedule in Redis.
    REDIS_SCRIPTS: Counter<2> = "shoal_redis_script_calls_total", "calls", SCRIPT, CALL;

    /// How long scripts took, the way to Redis and back included.
    REDIS_SCRIPT_SECONDS: Histogram<1> = "shoal_redis_script_duration_seconds", "seconds", SCRIPT; SHORT_SECONDS;

    /// Errors of scripts. `retryable`, `elsewhere` (not the primary): nothing happened; `unknown`: it may have happened;
    /// `operator`: an operator has to mend it; `bug`: a script contradicts what it found.
    REDIS_ERRORS: Counter<1> = "shoal_redis_errors_total", "errors", REDIS_ERROR;

    /// Connections to Redis that were given up.
    REDIS_CONNECTIONS_LOST: Counter<0> = "shoal_redis_connections_lost_total", "connections";

    /// Connections in the pool for what holds one for longer.
    REDIS_POOL: Gauge<0> = "shoal_redis_pool_connections", "connections";

    /// Connections of that pool that are in use.
    REDIS_POOL_USED: Gauge<0> = "shoal_redis_pool_connections_used", "connections";

    /// Who waits for a connection of that pool.
    REDIS_POOL_WAITING: Gauge<0> = "shoal_redis_pool_waiting", "calls";

    /// Commands to MongoDB that were answered.
    MONGODB_COMMAND_SECONDS: Histogram<1> = "shoal_mongodb_command_duration_seconds", "seconds", MONGODB_COMMAND; SHORT_SECONDS;

    /// Commands to MongoDB that failed, the ones without an answer included.
    MONGODB_FAILURES: Counter<1> = "shoal_mongodb_command_failures_total", "commands", MONGODB_COMMAND;

    /// Connections to MongoDB.
    MONGODB_POOL: Gauge<0> = "shoal_mongodb_pool_connections", "connections";

    /// Connections to MongoDB that are in use.
    MONGODB_POOL_USED: Gauge<0> = "shoal_mongodb_pool_connections_used", "connections";

    /// Calls that got no connection to MongoDB.
    MONGODB_POOL_FAILURES: Counter<0> = "shoal_mongodb_pool_failures_total", "calls";

    /// Documents that the committer sent to MongoDB once more because two inserts met.
    MONGODB_RESENT: Counter<0> = "shoal_mongodb_resent_documents_total", "documents";

    /// Documents that were refused by MongoDB and read back, to learn why.
    MONGODB_READ_BACK: Counter<0> = "shoal_mongodb_read_back_documents_total", "documents";

    /// Batches that were sent to MongoDB again because their outcome was unknown.
    MONGODB_REPEATED: Counter<0> = "shoal_mongodb_batches_repeated_total", "batches";

    /// Documents that wait to become durable, or are on their way.
    COMMIT_QUEUE: Gauge<0> = "shoal_commit_queue_documents", "documents";

    /// Documents that may wait; beyond it requests are turned away before anything changes.
    COMMIT_QUEUE_LIMIT: Gauge<0> = "shoal_commit_queue_limit_documents", "documents";

    /// Documents of the next batch at most: less after a store was slow.
    COMMIT_BATCH_LIMIT: Gauge<0> = "shoal_commit_batch_limit_documents", "documents";

    /// Documents in a batch.
    COMMIT_BATCH: Histogram<0> = "shoal_commit_batch_documents", "documents"; DOCUMENTS;

    /// How long the store took for a batch.
    COMMIT_SECONDS: Histogram<0> = "shoal_commit_duration_seconds", "seconds"; SECONDS;

    /// How long an answer waited until its documents were durable.
    DURABLE_SECONDS: Histogram<0> = "shoal_commit_durable_seconds", "seconds"; SECONDS;

    /// What became of documents. `superseded`: a later version was durable already; `fenced`, `rolled_back`: written for an old
    /// schedule; `unknown`: not confirmed in time; `store_away`: not even tried.
    COMMIT_OUTCOMES: Counter<1> = "shoal_commit_outcomes_total", "documents", COMMIT;

    /// Reports that were answered although the store was away (`store_policy = degrade`), and those beyond the bound.
    DEGRADED_UPDATES: Counter<1> = "shoal_degraded_updates_total", "reports", DEGRADED;

    /// Runs that this process is finishing or purging.
    SAGAS: Gauge<0> = "shoal_sagas_in_flight", "runs";

    /// How long the leader's periodic jobs took.
    JOB_SECONDS: Histogram<1> = "shoal_job_duration_seconds", "seconds", JOB; LONG_SECONDS;

    /// When this replica last carried a periodic job through, in seconds since 1970; 0 for never. Ask for the greatest over all.
    JOB_SUCCESS: Gauge<1> = "shoal_job_last_success_timestamp_seconds", "seconds", JOB;

    /// Periodic jobs that failed or were cut short.
    JOB_FAILURES: Counter<1> = "shoal_job_failures_total", "jobs", JOB;

    /// Active tasks. The leader's, as all `shoal_farm_…` are: the others show 0, so ask for the greatest over all replicas.
    FARM_WORKERS: Gauge<0> = "shoal_farm_workers", "workers";

    /// Cores that play. The leader's.
    FARM_CORES: Gauge<0> = "shoal_farm_cores", "cores";

    /// Nodes per second of all cores that play. The leader's; a minute old at most.
    FARM_NPS: Gauge<0> = "shoal_farm_nodes_per_second", "nodes per second";

    /// Games per minute, estimated from speeds and time controls. The leader's; a minute old at most.
    FARM_GAMES: Gauge<0> = "shoal_farm_games_per_minute", "games per minute";

    /// Runs that aren't finished. The leader's.
    FARM_RUNS: Gauge<0> = "shoal_farm_unfinished_runs", "runs";

    /// Runs that aren't finished and have workers. The leader's.
    FARM_ACTIVE_RUNS: Gauge<0> = "shoal_farm_active_runs", "runs";

    /// Time that the cores that play would take for all that approved runs still need, in seconds; 0 while none plays. The leader's.
    FARM_PENDING: Gauge<0> = "shoal_farm_pending_seconds", "seconds";

    /// Tasks with a version that isn't known to be durable. The leader's.
    DIRTY_TASKS: Gauge<0> = "shoal_farm_dirty_tasks", "tasks";

    /// How long the longest of them has waited. The leader's.
    DIRTY_AGE: Gauge<0> = "shoal_farm_dirty_age_seconds", "seconds";

    /// Tasks that ended before their games did. `dead`: their worker wasn't heard of any more; `failed`: it gave up.
    TASKS_ENDED: Counter<1> = "shoal_tasks_lost_total", "tasks", TASK_END;

    /// Invariants that were found broken. Anything above 0 is a bug worth reporting.
    INVARIANTS: Counter<1> = "shoal_invariant_violations_total", "violations", INVARIANT;

    /// Stored documents that don't keep the rules of stored documents.
    INVALID_DOCUMENTS: Counter<0> = "shoal_invalid_documents_total", "documents";

    /// Accounts that were looked up. `stale`: the store was away, and what was known before it was believed for longer.
    USER_CACHE_LOOKUPS: Counter<1> = "shoal_user_cache_lookups_total", "lookups", USER_CACHE;

    /// Passwords that were verified against their hash, and how long that took.
    PASSWORD_SECONDS: Histogram<0> = "shoal_password_verification_duration_seconds", "seconds"; SECONDS;

    /// Uploads of games that were deleted because their time was over.
    PGNS_EXPIRED: Counter<0> = "shoal_pgns_expired_total", "uploads";

    /// Calls that GitHub's API still grants; 0 before it was asked for the first time.
    GITHUB_CALLS_LEFT: Gauge<0> = "shoal_github_calls_left", "calls";

    /// Spans that the collector of traces took.
    OTLP_SENT: Counter<0> = "shoal_otlp_spans_sent_total", "spans";

    /// Spans that were lost on the way to the collector of traces: no room in the queue; it refused them, was busy for too long,
    /// or wasn't there.
    OTLP_DROPPED: Counter<1> = "shoal_otlp_spans_dropped_total", "spans", OTLP_LOSS;

    /// Batches of spans that were sent again because the collector was busy.
    OTLP_RETRIES: Counter<0> = "shoal_otlp_retries_total", "batches";

    /// Memory that the program asked its allocator for and hasn't freed.
    ALLOCATOR_ALLOCATED: Gauge<0> = "shoal_allocator_allocated_bytes", "bytes";

    /// Memory in pages of which some is allocated. Far above what is allocated, it is in pieces.
    ALLOCATOR_ACTIVE: Gauge<0> = "shoal_allocator_active_bytes", "bytes";

    /// Memory that the allocator holds in RAM at most: active pages, its own data, and free pages that it gives back within seconds.
    ALLOCATOR_RESIDENT: Gauge<0> = "shoal_allocator_resident_bytes", "bytes";

    /// Memory that the allocator has got from the system, in RAM or not.
    ALLOCATOR_MAPPED: Gauge<0> = "shoal_allocator_mapped_bytes", "bytes";

    /// Address space that the allocator keeps for later, without memory behind it.
    ALLOCATOR_RETAINED: Gauge<0> = "shoal_allocator_retained_bytes", "bytes";

    /// Memory that the allocator needs for itself.
    ALLOCATOR_METADATA: Gauge<0> = "shoal_allocator_metadata_bytes", "bytes";

    /// Always 1.
    BUILD_INFO: Gauge<1> = "shoal_build_info", "flag", VERSION;

    /// Memory that is in RAM. By the operating system, as all `process_…`; only on Linux.
    PROCESS_RESIDENT: Gauge<0> = "process_resident_memory_bytes", "bytes";

    /// Address space.
    PROCESS_VIRTUAL: Gauge<0> = "process_virtual_memory_bytes", "bytes";

    /// Time on processors, user and system.
    PROCESS_CPU: Counter<0> = "process_cpu_seconds_total", "seconds";

    /// Open files and connections.
    PROCESS_FDS: Gauge<0> = "process_open_fds", "descriptors";

    /// Files and connections that may be open at once.
    PROCESS_MAX_FDS: Gauge<0> = "process_max_fds", "descriptors";

    /// Threads.
    PROCESS_THREADS: Gauge<0> = "process_threads", "threads";

    /// When the process began, in seconds since 1970.
    PROCESS_START: Gauge<0> = "process_start_time_seconds", "seconds";
}

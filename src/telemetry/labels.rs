//! The values that labels can have.

use super::metric::Label;

/// What is shown in the place of a value that isn't in its set.
pub const OTHER: &str = "other";

/// A text that comes from elsewhere, as a value of a set.
pub fn one_of(set: &'static [&'static str], text: &str) -> &'static str {
    set.iter().find(|value| **value == text).copied().unwrap_or(OTHER)
}

const fn label(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values, meaning: None }
}

/// Routes, by the last fixed part of their path; `none` is a path at which there is nothing.
pub const ENDPOINT: Label = label(
    "endpoint",
    &[
        "request_version",
        "request_task",
        "update_task",
        "beat",
        "request_spsa",
        "failed_task",
        "stop_run",
        "upload_pgn",
        "worker_log",
        "active_runs",
        "finished_runs",
        "actions",
        "get_run",
        "get_task",
        "get_elo",
        "calc_elo",
        "pgn",
        "run_pgns",
        "nn",
        "rate_limit",
        "livez",
        "readyz",
        "startupz",
        "metrics",
        "control",
        "none",
    ],
);

/// What became of a request.
pub const HTTP_OUTCOME: Label = label("outcome", &["ok", "refused", "limited", "try_again", "failed"]);

/// Who asks: workers, readers, or an operator on the control socket.
pub const CLASS: Label = label("class", &["worker", "read", "management"]);

/// Why a request was turned away.
pub const SHED: Label = label(
    "reason",
    &["queue_full", "queue_timeout", "deadline", "rate_limit", "not_ready", "closing", "body_memory"],
);

/// What was wrong with a body.
pub const BODY: Label = label("reason", &["too_large", "late", "broken", "no_memory"]);

/// What a worker that asked for a task was told.
pub const TASK_ANSWER: Label = label(
    "answer",
    &["assigned", "repeated", "nothing", "filled", "busy", "paused", "blocked", "duplicate", "machine_limit"],
);

/// What the semaphore said; `unneeded`: the request was settled without a slot.
pub const SEMAPHORE: Label = label("outcome", &["acquired", "refused", "unneeded"]);

/// Leases.
pub const LEASE: Label = label("lease", &["leader", "request_task"]);

/// What came of asking for a lease.
pub const LEASE_OUTCOME: Label = label("outcome", &["granted", "taken", "failed"]);

/// How an active task came to its end, other than by all its games.
pub const TASK_END: Label = label("cause", &["dead", "failed"]);

/// What became of a document.
pub const COMMIT: Label = label(
    "outcome",
    &["applied", "superseded", "rolled_back", "fenced", "missing", "refused", "unknown", "store_away"],
);

/// What a report was answered while the store was away.
pub const DEGRADED: Label = label("answer", &["acknowledged", "refused"]);

/// How a rebuild ended.
pub const REBUILD: Label = label("outcome", &["done", "overtaken", "failed"]);

/// What a server depends on. `schema`: the store's is one that this version can work with.
pub const DEPENDENCY: Label = label("dependency", &["schedule", "store", "schema"]);

/// What a circuit is there for.
pub const CIRCUIT: Label = label("dependency", &["schedule", "store"]);

/// Classes of errors of Redis.
pub const REDIS_ERROR: Label =
    label("class", &["retryable", "elsewhere", "unknown", "no_script", "operator", "bug"]);

/// How a call ended.
pub const CALL: Label = label("outcome", &["ok", "error"]);

/// Why spans were lost: no room in the queue; the collector refused them, was busy for too long, or wasn't there.
pub const OTLP_LOSS: Label = label("reason", &["queue_full", "refused", "exhausted", "unreachable"]);

/// What an account was found by.
pub const USER_CACHE: Label = label("outcome", &["hit", "miss", "stale"]);

/// Invariants (`guarantees`), as audits report them.
pub const INVARIANT: Label = label(
    "id",
    &[
        "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "I12", "I13", "I14", "I15",
        "I16", "I17", "I18", "I19", "I20", OTHER,
    ],
);

/// Commands to MongoDB.
pub const MONGODB_COMMAND: Label = label(
    "command",
    &["find", "getMore", "update", "insert", "delete", "aggregate", "findAndModify", "ping", "hello", OTHER],
);

/// Jobs of the leader.
pub const JOB: Label = label(
    // `job` is Prometheus' own.
    "job_name",
    &[
        "flush",
        "reconcile",
        "pause",
        "scavenge",
        "gauges",
        "itp",
        "speed",
        "audit",
        "clean",
        "seen",
        "validate",
        "structures",
        "books",
        "master",
        "retention",
    ],
);

/// Scripts of the schedule in Redis.
pub const SCRIPT: Label = label(
    "script",
    &[
        "lease_acquire",
        "lease_renew",
        "lease_release",
        "lease_read",
        "set_generation",
        "read_generation",
        "semaphore_acquire",
        "load_run",
        "load_tasks",
        "unload_run",
        "assign_task",
        "beat",
        "beats",
        "update_task",
        "begin_spsa",
        "close_task",
        "close_slice",
        "find_dead",
        "commit_fold",
        "set_phase",
        "set_run_fields",
        "block_worker",
        "peek_dirty",
        "peek_dirty_run",
        "ack_dirty",
        "dirty_backlog",
        "list_runs",
        "read_run",
        "read_fold",
        "read_tasks",
        "task_numbers",
        "scan_table",
        "load_seen",
        "clean_workers",
        "clean_seen",
        "audit_run",
        "rate_limit",
        "census",
    ],
);

/// The release that runs.
pub const VERSION: Label = Label { name: "version", values: &[], meaning: Some("the release that runs") };

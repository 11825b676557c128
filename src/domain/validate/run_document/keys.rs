//! All keys that the documents may have.

/// Keys of a run.
pub(super) const RUN: [&str; 24] = [
    "_id",
    "version",
    "args",
    "start_time",
    "last_updated",
    "tc_base",
    "rescheduled_from",
    "approved",
    "approver",
    "finished",
    "deleted",
    "failed",
    "failures",
    "is_green",
    "is_yellow",
    "workers",
    "cores",
    "committed_games",
    "total_games",
    "nps",
    "games_per_minute",
    "results",
    "tasks",
    "bad_tasks",
];

/// Keys of `args`.
pub(super) const ARGS: [&str; 31] = [
    "base_tag",
    "new_tag",
    "base_nets",
    "new_nets",
    "num_games",
    "tc",
    "new_tc",
    "book",
    "book_depth",
    "threads",
    "resolved_base",
    "resolved_new",
    "msg_base",
    "msg_new",
    "base_options",
    "new_options",
    "info",
    "base_signature",
    "new_signature",
    "username",
    "tests_repo",
    "master_repo",
    "auto_purge",
    "throughput",
    "itp",
    "priority",
    "adjudication",
    "arch_filter",
    "compiler",
    "sprt",
    "spsa",
];

/// Keys of `args.sprt`.
pub(super) const SPRT: [&str; 13] = [
    "alpha",
    "beta",
    "elo0",
    "elo1",
    "elo_model",
    "state",
    "llr",
    "batch_size",
    "lower_bound",
    "upper_bound",
    "overshoot",
    "lost_samples",
    "illegal_update",
];

/// Keys of `args.spsa`.
pub(super) const SPSA: [&str; 9] =
    ["algorithm", "A", "alpha", "gamma", "raw_params", "iter", "num_iter", "params", "param_history"];

/// Keys of `worker_info`.
pub(super) const WORKER_INFO: [&str; 18] = [
    "uname",
    "architecture",
    "concurrency",
    "min_threads",
    "max_memory",
    "username",
    "version",
    "python_version",
    "gcc_version",
    "compiler",
    "unique_key",
    "modified",
    "worker_arch",
    "ARCH",
    "nps",
    "near_github_api_limit",
    "remote_addr",
    "country_code",
];

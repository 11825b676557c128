//! The scripts of `lua/`, one per transition, each with the parts that it is put together from.
//!
//! A script is named by the digest of its text: replicas of two releases run side by side, each with its own. Keys carry a
//! layout version ([`super::keys`]); when a script's contract changes, so does its file's name.

use std::sync::LazyLock;

use redis::Script as Digest;

/// One script.
#[derive(Debug)]
pub(super) struct Script {
    /// Its file's name, for metrics and errors.
    pub(super) name: &'static str,
    /// The whole text.
    pub(super) text: String,
    /// What the server knows it by.
    pub(super) sha: String,
}

impl Script {
    fn new(name: &'static str, parts: &[&str]) -> Self {
        let text = parts.join("\n");
        let sha = Digest::new(&text).get_hash().to_owned();
        Self { name, text, sha }
    }
}

macro_rules! part {
    ($name:ident) => {
        include_str!(concat!("../../../lua/lib/", stringify!($name), ".lua"))
    };
}

/// Each entry: constant, file, parts that precede it.
macro_rules! scripts {
    ($($constant:ident = $file:literal [$($part:ident),*];)+) => {
        $(
            pub(super) static $constant: LazyLock<Script> = LazyLock::new(|| {
                Script::new($file, &[$(part!($part),)* include_str!(concat!("../../../lua/", $file, ".lua"))])
            });
        )+

        /// All of them.
        pub(super) fn all() -> Vec<&'static Script> {
            vec![$(&*$constant),+]
        }
    };
}

scripts! {
    LEASE_ACQUIRE = "lease_acquire" [guard];
    LEASE_RENEW = "lease_renew" [guard, lease];
    LEASE_RELEASE = "lease_release" [guard, lease];
    LEASE_READ = "lease_read" [guard, lease];
    SET_GENERATION = "set_generation" [guard];
    READ_GENERATION = "read_generation" [guard];
    SEMAPHORE_ACQUIRE = "semaphore_acquire" [guard, lease, task, standing];
    LOAD_RUN = "load_run" [guard, run, load];
    LOAD_TASKS = "load_tasks" [guard, load];
    UNLOAD_RUN = "unload_run" [guard];
    ASSIGN_TASK = "assign_task" [guard, lease, task, counts, run, standing];
    BEAT = "beat" [guard, task];
    UPDATE_TASK = "update_task" [guard, task, counts, run];
    BEGIN_SPSA = "begin_spsa" [guard, task];
    CLOSE_TASK = "close_task" [guard, lease, task, counts, run];
    CLOSE_SLICE = "close_slice" [guard, task, counts, run];
    FIND_DEAD = "find_dead" [guard, task];
    COMMIT_FOLD = "commit_fold" [guard];
    SET_PHASE = "set_phase" [guard, run];
    SET_RUN_FIELDS = "set_run_fields" [guard, lease, run];
    BLOCK_WORKER = "block_worker" [guard];
    PEEK_DIRTY = "peek_dirty" [guard];
    PEEK_DIRTY_RUN = "peek_dirty_run" [guard];
    ACK_DIRTY = "ack_dirty" [guard, task];
    DIRTY_BACKLOG = "dirty_backlog" [guard];
    LIST_RUNS = "list_runs" [guard];
    READ_RUN = "read_run" [guard, run];
    READ_FOLD = "read_fold" [guard, run];
    READ_TASKS = "read_tasks" [guard];
    TASK_NUMBERS = "task_numbers" [guard];
    SCAN_TABLE = "scan_table" [guard];
    LOAD_SEEN = "load_seen" [guard];
    CLEAN_WORKERS = "clean_workers" [guard, lease, task, standing];
    CLEAN_SEEN = "clean_seen" [guard, lease];
    AUDIT_RUN = "audit_run" [guard, run];
    RATE_LIMIT = "rate_limit" [guard];
    CENSUS = "census" [guard, task, standing];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_says_what_it_does_and_no_two_are_the_same() {
        let mut digests = std::collections::BTreeSet::new();
        for script in all() {
            let own = script.text.rsplit("-- KEYS  ").next().unwrap_or_default();
            for word in ["-- ARGV    1 ", "-- Returns "] {
                assert!(own.contains(word), "{}: {word}", script.name);
            }
            assert!(digests.insert(&script.sha), "{}", script.name);
        }
    }
}

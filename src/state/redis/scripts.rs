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
    fn new(name: &'static str, own: &str) -> Self {
        let mut text = String::with_capacity(4 * own.len());
        put_together(own, &mut text);
        let sha = Digest::new(&text).get_hash().to_owned();
        Self { name, text, sha }
    }
}

/// What several scripts have in common: `lua/lib`.
macro_rules! parts {
    ($($name:literal),+ $(,)?) => {
        const PARTS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../lua/lib/", $name, ".lua")))),+];
    };
}

parts! {
    "aggregates",
    "clock",
    "counts",
    "fold",
    "guard",
    "guard_loading",
    "held_until",
    "holds",
    "identify",
    "int",
    "live",
    "load",
    "member",
    "rank",
    "release",
    "run_view",
    "same",
    "serves",
    "standing",
    "task",
    "view",
    "write",
}

/// What a line that asks for parts begins with.
const ASKS: &str = "--@ ";

/// Writes a script with its parts, each where it is asked for: a function is made whenever the server comes past it, so one
/// that is rarely needed stands in the branch that needs it.
fn put_together(own: &str, text: &mut String) {
    for line in own.lines() {
        match line.trim_start().strip_prefix(ASKS) {
            None => {
                text.push_str(line);
                text.push('\n');
            }
            // What isn't there remains asked for, which a test finds.
            Some(names) => {
                for name in names.split(' ') {
                    match PARTS.iter().find(|(known, _)| *known == name) {
                        Some((_, part)) => put_together(part, text),
                        None => text.push_str(line),
                    }
                }
            }
        }
    }
}

/// Each entry: constant, file.
macro_rules! scripts {
    ($($constant:ident = $file:literal;)+) => {
        $(
            pub(super) static $constant: LazyLock<Script> =
                LazyLock::new(|| Script::new($file, include_str!(concat!("../../../lua/", $file, ".lua"))));
        )+

        /// All of them.
        pub(super) fn all() -> Vec<&'static Script> {
            vec![$(&*$constant),+]
        }
    };
}

scripts! {
    LEASE_ACQUIRE = "lease_acquire";
    LEASE_RENEW = "lease_renew";
    LEASE_RELEASE = "lease_release";
    LEASE_READ = "lease_read";
    SET_GENERATION = "set_generation";
    READ_GENERATION = "read_generation";
    SEMAPHORE_ACQUIRE = "semaphore_acquire";
    LOAD_RUN = "load_run";
    LOAD_TASKS = "load_tasks";
    UNLOAD_RUN = "unload_run";
    ASSIGN_TASK = "assign_task";
    BEAT = "beat";
    BEATS = "beats";
    UPDATE_TASK = "update_task";
    BEGIN_SPSA = "begin_spsa";
    CLOSE_TASK = "close_task";
    CLOSE_SLICE = "close_slice";
    FIND_DEAD = "find_dead";
    COMMIT_FOLD = "commit_fold";
    SET_PHASE = "set_phase";
    SET_RUN_FIELDS = "set_run_fields";
    BLOCK_WORKER = "block_worker";
    PEEK_DIRTY = "peek_dirty";
    PEEK_DIRTY_RUN = "peek_dirty_run";
    ACK_DIRTY = "ack_dirty";
    DIRTY_BACKLOG = "dirty_backlog";
    LIST_RUNS = "list_runs";
    READ_RUN = "read_run";
    READ_FOLD = "read_fold";
    READ_TASKS = "read_tasks";
    TASK_NUMBERS = "task_numbers";
    SCAN_TABLE = "scan_table";
    LOAD_SEEN = "load_seen";
    CLEAN_WORKERS = "clean_workers";
    CLEAN_SEEN = "clean_seen";
    AUDIT_RUN = "audit_run";
    RATE_LIMIT = "rate_limit";
    CENSUS = "census";
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
            assert!(!script.text.contains(ASKS), "{}: a part that isn't there", script.name);
            assert!(digests.insert(&script.sha), "{}", script.name);
        }
    }
}

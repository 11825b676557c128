//! Names of keys: a prefix as the hash tag, so that all are of one slot of a cluster; a version of the layout; and, but
//! for the leases, the generation, so that a new one begins empty.

use crate::domain::ids::{Generation, RunId, TaskKey};
use crate::state::LeaseName;

/// Raised when the layout of a key changes: two releases with different layouts don't see each other's keys.
const LAYOUT: u32 = 3;

/// Names that don't depend on the generation.
#[derive(Debug, Clone)]
pub(super) struct Base {
    prefix: String,
    /// hash: g, state, replid.
    pub(super) generation: String,
    /// string: count of grants.
    pub(super) lease_counter: String,
    /// Channel of [`super::notes`].
    pub(super) notes: String,
}

impl Base {
    pub(super) fn new(prefix: &str) -> Self {
        let prefix = format!("{{{prefix}}}:{LAYOUT}:");
        Self {
            generation: format!("{prefix}generation"),
            lease_counter: format!("{prefix}lease:counter"),
            notes: format!("{prefix}notes"),
            prefix,
        }
    }

    pub(super) fn lease(&self, name: LeaseName) -> String {
        let name = match name {
            LeaseName::Leader => "leader",
            LeaseName::RequestTask => "request_task",
        };
        format!("{}lease:{name}", self.prefix)
    }

    /// How often an address has asked of late.
    pub(super) fn rate(&self, address: &str) -> String {
        format!("{}rate:{address}", self.prefix)
    }

    /// Which generation a key of this farm belongs to, if it belongs to one.
    pub(super) fn generation_of(&self, key: &str) -> Option<Generation> {
        key.strip_prefix(&self.prefix)?.split(':').next()?.parse().ok().map(Generation)
    }

    /// A pattern that all keys of this farm match.
    pub(super) fn pattern(&self) -> String {
        let escaped: String = self
            .prefix
            .chars()
            .flat_map(|c| if "*?[]\\^".contains(c) { vec!['\\', c] } else { vec![c] })
            .collect();
        format!("{escaped}*")
    }
}

/// Names within a generation; see `ARCHITECTURE.md` for what each holds.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) generation: Generation,
    /// The generation as scripts are told.
    pub(super) text: String,
    prefix: String,
    pub(super) runs: String,
    pub(super) ranking: String,
    pub(super) active: String,
    pub(super) wtt: String,
    pub(super) connections: String,
    pub(super) seen: String,
    pub(super) blocked: String,
    pub(super) slots: String,
    pub(super) dirty: String,
}

/// Names of one run's keys.
#[derive(Debug)]
pub(super) struct RunNames {
    pub(super) run: String,
    pub(super) pending: String,
    pub(super) tasks: String,
    pub(super) live: String,
}

impl Names {
    pub(super) fn new(base: &Base, generation: Generation) -> Self {
        let prefix = format!("{}{generation}:", base.prefix);
        let name = |what: &str| format!("{prefix}{what}");
        Self {
            runs: name("runs"),
            ranking: name("ranking"),
            active: name("active"),
            wtt: name("wtt"),
            connections: name("connections"),
            seen: name("seen"),
            blocked: name("blocked"),
            slots: name("slots"),
            dirty: name("dirty"),
            text: generation.to_string(),
            generation,
            prefix,
        }
    }

    /// The tables, without the runs' own keys.
    pub(super) fn all(&self) -> [&str; 9] {
        [
            &self.runs,
            &self.ranking,
            &self.active,
            &self.wtt,
            &self.connections,
            &self.seen,
            &self.blocked,
            &self.slots,
            &self.dirty,
        ]
    }

    /// The run's identity ends each of its keys: `ack_dirty` reads it there.
    pub(super) fn run(&self, id: RunId) -> RunNames {
        let prefix = &self.prefix;
        RunNames {
            run: format!("{prefix}run:{id}"),
            pending: format!("{prefix}pending:{id}"),
            tasks: format!("{prefix}tasks:{id}"),
            live: format!("{prefix}live:{id}"),
        }
    }
}

/// A task in `active`, `dirty` and the worker map: the number has ten digits, so that their order is the tasks'.
pub(super) fn member(key: TaskKey) -> String {
    format!("{}/{:010}", key.run, key.task.0)
}

/// The task of a member.
pub(super) fn task_of(member: &str) -> Option<TaskKey> {
    let (run, task) = member.split_once('/')?;
    Some(TaskKey { run: RunId::parse(run)?, task: crate::domain::ids::TaskId(task.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::TaskId;
    use crate::sys::random;

    #[test]
    fn a_member_names_its_task_and_keys_their_generation() {
        let key = TaskKey { run: RunId(random::object_id()), task: TaskId(1_234_567) };
        assert_eq!(task_of(&member(key)), Some(key));
        assert_eq!(task_of("nonsense"), None);
        let base = Base::new("far*m");
        let names = Names::new(&base, Generation(7));
        assert_eq!(base.generation_of(&names.run(key.run).tasks), Some(Generation(7)));
        assert_eq!(base.generation_of(&base.lease(LeaseName::Leader)), None);
        assert_eq!(base.generation_of(&format!("{{other}}:{LAYOUT}:7:runs")), None);
        assert!(names.run(key.run).run.ends_with(&key.run.to_string()));
        assert_eq!(base.pattern(), format!("{{far\\*m}}:{LAYOUT}:*"));
    }
}

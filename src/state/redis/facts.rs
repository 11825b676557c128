//! What kind of server it is, and what it lacks.

use super::errors::state_error;
use super::link::{Link, Way};
use crate::state::{StateError, StateResult};

/// The oldest version whose scripts are what ours expect.
const OLDEST: (u32, u32) = (6, 2);

/// What the server said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisFacts {
    /// Its version.
    pub version: String,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: String,
    /// Bits of its words; empty if it doesn't say.
    pub bits: String,
    /// What it does when its memory is full.
    pub maxmemory_policy: String,
    /// How much that is, in bytes; 0 means all of the machine's.
    pub maxmemory: u64,
}

impl RedisFacts {
    pub(super) async fn ask(link: &Link) -> StateResult<Self> {
        // Any key of ours would do to find a node; INFO needs none.
        let (server, memory) = (info(link, "server").await?, info(link, "memory").await?);
        let of = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        let valkey = of(&server, "valkey_version");
        let version = if valkey.is_empty() { of(&server, "redis_version") } else { valkey };
        Ok(Self {
            version,
            mode: of(&server, "redis_mode"),
            bits: of(&server, "arch_bits"),
            maxmemory_policy: of(&memory, "maxmemory_policy"),
            maxmemory: of(&memory, "maxmemory").parse().unwrap_or(0),
        })
    }

    /// # Errors
    /// `Unavailable` for a server that scripts can't run on.
    pub(super) fn supported(&self) -> StateResult<()> {
        let mut parts = self.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if self.mode == "sentinel" {
            return Err(StateError::Unavailable(
                "that is a sentinel: name it as redis+sentinel://HOST/SERVICE".to_owned(),
            ));
        }
        if version < OLDEST {
            return Err(StateError::Unavailable(format!(
                "the server's version is {}: Redis {}.{} or later is needed, or Valkey",
                self.version, OLDEST.0, OLDEST.1
            )));
        }
        // The scripts' integers would be cut off.
        if !matches!(self.bits.as_str(), "" | "64") {
            return Err(StateError::Unavailable(format!(
                "the server is a program of {} bits: one of 64 is needed",
                self.bits
            )));
        }
        Ok(())
    }

    /// What an operator should mend.
    pub fn shortcomings(&self) -> Vec<String> {
        if self.maxmemory_policy == "noeviction" || self.maxmemory_policy.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "its maxmemory-policy is {}: it would throw parts of the schedule away when its memory is full; set it to \
             noeviction",
            self.maxmemory_policy
        )]
    }
}

async fn info(link: &Link, section: &str) -> StateResult<String> {
    let mut command = redis::cmd("INFO");
    command.arg(section);
    let answer = link.send(&command, Way::Shared).await.map_err(|error| state_error(&error))?;
    text(answer).ok_or_else(|| StateError::Bug("INFO answered no text".to_owned()))
}

/// A node's text; of a cluster's answers, the first.
fn text(answer: redis::Value) -> Option<String> {
    match answer {
        redis::Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        redis::Value::SimpleString(text) => Some(text),
        redis::Value::VerbatimString { text, .. } => Some(text),
        redis::Value::Map(nodes) => nodes.into_iter().find_map(|(_, answer)| text(answer)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(version: &str, policy: &str) -> RedisFacts {
        RedisFacts {
            version: version.to_owned(),
            mode: "standalone".to_owned(),
            bits: "64".to_owned(),
            maxmemory_policy: policy.to_owned(),
            maxmemory: 0,
        }
    }

    #[test]
    fn old_servers_are_refused_and_evicting_ones_told() {
        for (version, good) in
            [("6.0.16", false), ("5.0", false), ("6.2.0", true), ("7.0.15", true), ("8.1", true)]
        {
            assert_eq!(facts(version, "noeviction").supported().is_ok(), good, "{version}");
        }
        assert!(facts("7.0", "noeviction").shortcomings().is_empty());
        assert_eq!(facts("7.0", "allkeys-lru").shortcomings().len(), 1);
        let sentinel = RedisFacts { mode: "sentinel".to_owned(), ..facts("7.0", "") };
        assert!(sentinel.supported().is_err());
        for (bits, good) in [("32", false), ("64", true), ("", true)] {
            let server = RedisFacts { bits: bits.to_owned(), ..facts("7.0", "noeviction") };
            assert_eq!(server.supported().is_ok(), good, "{bits}");
        }
    }
}

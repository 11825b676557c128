//! What the server at the other end can do, found out once at the start.

use bson::{Document, doc};
use mongodb::Database;

use super::watch::{Call, timed};

/// What the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Name of the replica set; None for a standalone or a router.
    pub replica_set: Option<String>,
    /// Whether a router of a sharded cluster answered.
    pub router: bool,
    /// Whether it has sessions, and with them retryable writes.
    pub sessions: bool,
    /// Its version, as it says.
    pub version: String,
    /// Highest version of the wire protocol.
    pub wire_version: i32,
}

impl ServerFacts {
    pub(super) async fn ask(database: &Database) -> mongodb::error::Result<Self> {
        let hello = timed(Call::Hello, database.run_command(doc! { "hello": 1 }).into_future()).await?;
        let build = timed(Call::Other, database.run_command(doc! { "buildInfo": 1 }).into_future()).await;
        let build = build.unwrap_or_default();
        Ok(Self::read(&hello, &build))
    }

    fn read(hello: &Document, build: &Document) -> Self {
        let number = |key: &str| hello.get(key).and_then(bson::Bson::as_i32).unwrap_or(0);
        Self {
            replica_set: hello.get_str("setName").ok().map(str::to_owned),
            router: hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid"),
            sessions: hello.contains_key("logicalSessionTimeoutMinutes"),
            version: build.get_str("version").unwrap_or("unknown").to_owned(),
            wire_version: number("maxWireVersion"),
        }
    }

    /// Whether reads can be linearizable: a standalone refuses them.
    pub fn linearizable(&self) -> bool {
        self.replica_set.is_some() || self.router
    }

    /// What is missing, and what that means, one sentence each.
    pub fn shortcomings(&self) -> Vec<&'static str> {
        let mut said = Vec::new();
        if !self.linearizable() {
            said.push(
                "it is a standalone, not a replica set: a majority is this one server's journal, and reads are not \
                 linearizable; what is acknowledged survives its restart, not the loss of its disk",
            );
        }
        if !self.sessions {
            said.push(
                "it has no sessions: the driver repeats no write by itself, Shoal repeats its own conditional ones",
            );
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_set_lacks_nothing_and_a_standalone_is_told() {
        let set = doc! { "setName": "rs0", "logicalSessionTimeoutMinutes": 30, "maxWireVersion": 21 };
        let facts = ServerFacts::read(&set, &doc! { "version": "7.0.1" });
        assert!(facts.linearizable() && facts.shortcomings().is_empty(), "{facts:?}");
        assert_eq!((facts.version.as_str(), facts.wire_version), ("7.0.1", 21));
        let alone = ServerFacts::read(&doc! { "maxWireVersion": 9 }, &Document::new());
        assert!(!alone.linearizable());
        assert_eq!(alone.shortcomings().len(), 2);
        assert!(ServerFacts::read(&doc! { "msg": "isdbgrid" }, &Document::new()).linearizable());
    }
}

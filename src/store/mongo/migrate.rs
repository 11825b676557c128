//! The schema of a database: its indexes. Collections come into being by themselves.
//!
//! Of several processes that start at once, the holder of a lease applies what is missing and the others wait for it.
//! The lease needs no clocks that agree: its holder changes it again and again, and who has not seen it change for a
//! while, by his own clock, takes it.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use bson::{Document, doc};
use serde::Deserialize;

use super::bulk::{Outcome, statement};
use super::watch::{Call, timed};
use super::{MongoStore, collection};
use crate::domain::ids::Millis;
use crate::store::codec::{as_date, date};
use crate::store::migrate::{AppliedStep, Migration, SchemaError, StepState, pending, states};
use crate::store::{StoreError, StoreResult};
use crate::sys::clock::{stopwatch, wall_now};
use crate::sys::random;

/// All steps that this version knows, in order.
pub const MIGRATIONS: &[Migration] =
    &[Migration { name: "0001_initial", text: include_str!("../../../migrations/mongo/0001_initial.json") }];

const LEASE: &str = "migrate";

/// A holder that has not been heard of for so long is dead.
const SILENCE: Duration = Duration::from_secs(15);
/// A holder is heard of so often.
const BEAT: Duration = Duration::from_secs(3);
/// Who waits looks so often.
const LOOK: Duration = Duration::from_millis(200);

/// Why the schema can't be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// This version can't work with it.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The store has no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A step is not understood: a fault of this program.
    #[error("step {name} of the schema: {reason}")]
    Step {
        /// The step.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// A step's text.
#[derive(Debug, Deserialize)]
struct Step {
    #[serde(rename = "about")]
    _about: String,
    indexes: Vec<Index>,
}

/// An index that a step makes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    pub(super) collection: String,
    pub(super) name: String,
    pub(super) keys: Document,
    #[serde(default)]
    unique: bool,
    /// Only documents that match are in it.
    #[serde(rename = "where")]
    pub(super) filter: Option<Document>,
}

impl Index {
    fn specification(&self, with_filter: bool) -> Document {
        let mut index = doc! { "name": self.name.as_str(), "key": self.keys.clone() };
        if self.unique {
            index.insert("unique", true);
        }
        if let (true, Some(filter)) = (with_filter, &self.filter) {
            index.insert("partialFilterExpression", filter.clone());
        }
        index
    }
}

fn parse(step: &Migration) -> Result<Step, MigrateError> {
    serde_json::from_str(step.text)
        .map_err(|error| MigrateError::Step { name: step.name, reason: error.to_string() })
}

impl MongoStore {
    /// All steps and their states. Nothing is changed.
    ///
    /// # Errors
    /// When the schema isn't one that this version can work with, or the store has no answer.
    pub async fn schema(&self) -> Result<Vec<StepState>, MigrateError> {
        Ok(states(MIGRATIONS, &self.applied_steps().await?)?)
    }

    /// Applies what is pending, under a lease; the names of what this process applied.
    ///
    /// # Errors
    /// As [`MongoStore::schema`], and when the server doesn't make an index that uniqueness hangs on.
    pub async fn migrate(&self) -> Result<Vec<&'static str>, MigrateError> {
        if pending(MIGRATIONS, &self.applied_steps().await?)?.is_empty() {
            return Ok(Vec::new());
        }
        let me = random::identity();
        let mut seen = None;
        while !self.take_lease(&me, &mut seen).await? {
            if pending(MIGRATIONS, &self.applied_steps().await?)?.is_empty() {
                return Ok(Vec::new());
            }
            tokio::time::sleep(LOOK).await;
        }
        let applied = self.apply_pending(&me).await;
        // Not given back, it is taken after a while.
        let free = statement(doc! { "_id": LEASE, "holder": me }, doc! { "$set": { "holder": "" } }, false);
        let freed = self.update_many(collection::LEASES, vec![free]).await;
        let applied = applied?;
        freed?;
        Ok(applied)
    }

    async fn apply_pending(&self, me: &str) -> Result<Vec<&'static str>, MigrateError> {
        let mut applied = Vec::new();
        // Under the lease: somebody may just have been here.
        for step in pending(MIGRATIONS, &self.applied_steps().await?)? {
            for index in parse(step)?.indexes {
                self.while_beating(me, self.make_index(&index)).await?;
            }
            let record = doc! {
                "_id": step.name,
                "checksum": step.checksum(),
                "applied_at": date(wall_now()),
            };
            // Whoever was slower finds it done.
            self.insert_absent(collection::MIGRATIONS, vec![record]).await?;
            applied.push(step.name);
        }
        Ok(applied)
    }

    pub(super) async fn applied_steps(&self) -> StoreResult<Vec<AppliedStep>> {
        let steps = self.collection(collection::MIGRATIONS);
        let find = steps.find(doc! {}).sort(doc! { "_id": 1 }).max_time(self.deadline);
        let cursor = self.read(Call::Find, find.into_future()).await?;
        self.drain(cursor, |doc| {
            let text = |key: &str| doc.get_str(key).map(str::to_owned);
            match (text("_id"), text("checksum")) {
                (Ok(name), Ok(checksum)) => {
                    let at = as_date(doc.get("applied_at")).unwrap_or(Millis(0));
                    Ok(AppliedStep { name, checksum, at })
                }
                _ => Err(StoreError::Damaged(format!("the record {doc} of a schema step"))),
            }
        })
        .await
    }

    /// Makes an index; one that is there already is fine. A server without filtered indexes makes a plain one.
    async fn make_index(&self, index: &Index) -> Result<(), MigrateError> {
        let make = |with_filter| {
            let command = doc! {
                "createIndexes": index.collection.as_str(),
                "indexes": [index.specification(with_filter)],
            };
            timed(Call::Other, self.database.run_command(command).into_future())
        };
        // Not within a deadline: on a large collection it takes as long as it takes.
        let Err(error) = make(true).await else { return Ok(()) };
        if index.unique || !matches!(*error.kind, mongodb::error::ErrorKind::Command(_)) {
            return Err(MigrateError::Store(super::failure::of_write(error)));
        }
        tracing::warn!(index = index.name, collection = index.collection, %error,
            "the server does not make this index; trying a plain one");
        if let Err(error) = make(false).await {
            tracing::warn!(index = index.name, collection = index.collection, %error,
                "the server does not make this index at all; its queries will be slow");
        }
        Ok(())
    }

    /// Tries to get the lease: true if it is ours now. `seen` remembers what it looked like, and since when.
    async fn take_lease(
        &self,
        me: &str,
        seen: &mut Option<(Document, Instant)>,
    ) -> Result<bool, MigrateError> {
        let mine = doc! { "$set": { "holder": me, "beat": 0 } };
        let free = statement(doc! { "_id": LEASE, "holder": "" }, mine.clone(), true);
        let answer = self.update_many(collection::LEASES, vec![free]).await?;
        if answer.outcomes.first() != Some(&Outcome::Duplicate) {
            return Ok(answer.matched == 1);
        }
        let Some(lease) = self.by_id(collection::LEASES, LEASE).await? else { return Ok(false) };
        match seen {
            Some((before, since)) if *before == lease => {
                if since.elapsed() < SILENCE {
                    return Ok(false);
                }
            }
            _ => {
                *seen = Some((lease, stopwatch()));
                return Ok(false);
            }
        }
        tracing::warn!("the process that was changing the schema is silent; taking over");
        let exactly = doc! {
            "_id": LEASE,
            "holder": lease.get_str("holder").unwrap_or_default(),
            "beat": lease.get("beat").cloned(),
        };
        let answer = self.update_many(collection::LEASES, vec![statement(exactly, mine, false)]).await?;
        Ok(answer.matched == 1)
    }

    /// Does some work of the lease's holder, and is heard of meanwhile.
    async fn while_beating<T>(
        &self,
        me: &str,
        work: impl Future<Output = Result<T, MigrateError>>,
    ) -> Result<T, MigrateError> {
        let mut work = pin!(work);
        loop {
            if let Ok(result) = tokio::time::timeout(BEAT, &mut work).await {
                return result;
            }
            let beat = statement(doc! { "_id": LEASE, "holder": me }, doc! { "$inc": { "beat": 1 } }, false);
            let answer = self.update_many(collection::LEASES, vec![beat]).await?;
            if answer.matched != 1 {
                let lost = "another process has taken over the change of the schema".to_owned();
                return Err(StoreError::Unavailable(lost).into());
            }
        }
    }

    /// Names of the indexes that a collection has, as the server says.
    ///
    /// # Errors
    /// As every read.
    pub async fn index_names(&self, collection: &str) -> StoreResult<Vec<String>> {
        let command = doc! { "listIndexes": collection };
        let reply = self.read(Call::Other, self.database.run_command(command).into_future()).await?;
        let batch = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let list = batch.map(Vec::as_slice).unwrap_or_default();
        let names = list.iter().filter_map(|index| index.as_document()?.get_str("name").ok());
        Ok(names.map(str::to_owned).collect())
    }
}

/// All indexes that the steps make, for tests.
#[cfg(test)]
pub(super) fn declared() -> Vec<Index> {
    MIGRATIONS.iter().flat_map(|step| parse(step).unwrap().indexes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::codec::as_count;

    #[test]
    fn the_steps_are_in_order_and_understood() {
        let names: Vec<_> = MIGRATIONS.iter().map(|step| step.name).collect();
        assert!(names.is_sorted(), "{names:?}");
        let indexes = declared();
        let mut keys: Vec<_> = indexes.iter().map(|index| (&index.collection, &index.name)).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), indexes.len(), "a name twice");
    }

    #[test]
    fn the_order_of_an_indexs_keys_is_that_of_its_text() {
        let index = declared().into_iter().find(|index| index.name == "finished_user_runs").unwrap();
        let keys: Vec<_> = index.keys.keys().map(String::as_str).collect();
        assert_eq!(keys, ["finished", "deleted", "args.username", "last_updated", "_id"]);
        assert_eq!(as_count(index.keys.get("finished")), Some(1));
    }
}

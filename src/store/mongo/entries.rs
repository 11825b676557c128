//! Log entries within their causes (`durability.md` section 7).
//!
//! A write that causes entries carries them in the document, under `acts`: one write, so either both are durable or
//! neither. Then they are inserted into the log (an entry that is there already is done), and taken out of the
//! document. If the writer dies in between, [`MongoStore::settle`] does the rest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bson::{Bson, Document, doc};

use super::bulk::statement;
use super::layout::META;
use super::watch::Call;
use super::{MongoStore, collection};
use crate::store::{StoreError, StoreResult};
use crate::sys::clock::stopwatch;

/// Entries that another process left behind are looked for so often.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Documents that one look takes from each collection.
const LOOK_LIMIT: i64 = 500;

/// A document and the entries that it caused.
pub(super) struct Logged {
    pub(super) collection: &'static str,
    pub(super) id: Bson,
    pub(super) actions: Vec<Document>,
}

/// Where a collection's documents carry entries.
fn path(collection: &str) -> String {
    if collection == collection::RUNS { format!("{META}.acts") } else { "acts".to_owned() }
}

/// Says that entries wait unless told otherwise: whatever ends its holder's work early, an error or a deadline.
struct Waiting<'a> {
    flag: &'a AtomicBool,
    done: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.flag.store(true, Ordering::Release);
        }
    }
}

impl MongoStore {
    /// Inserts entries into the log and takes them out of the documents, which are durable with them.
    pub(super) async fn log_and_clear(&self, logged: Vec<Logged>) -> StoreResult<()> {
        if logged.is_empty() {
            return Ok(());
        }
        let mut waiting = Waiting { flag: &self.entries_wait, done: false };
        let entries = logged.iter().flat_map(|cause| cause.actions.iter().cloned()).collect();
        self.insert_absent(collection::ACTIONS, entries).await?;
        waiting.done = self.clear(&logged).await;
        Ok(())
    }

    /// Takes entries that are in the log out of their documents; false if some stay.
    async fn clear(&self, logged: &[Logged]) -> bool {
        let mut all = true;
        for name in [collection::TASKS, collection::RUNS, collection::WORKERS] {
            let path = path(name);
            let statements: Vec<_> = logged
                .iter()
                .filter(|cause| cause.collection == name)
                .map(|cause| {
                    // Only as long as nothing was added: that isn't in the log yet.
                    let filter = doc! { "_id": cause.id.clone(), path.as_str(): cause.actions.clone() };
                    statement(filter, doc! { "$unset": { path.as_str(): "" } }, false)
                })
                .collect();
            if statements.is_empty() {
                continue;
            }
            let count = statements.len() as u64;
            // What stays is in the log already: a later look finds it there and clears it.
            all &= matches!(self.update_many(name, statements).await, Ok(answer) if answer.matched == count);
        }
        all
    }

    /// Moves entries that wait in documents to the log. Looks when this process knows of some, and now and then.
    pub(super) async fn settle(&self) -> StoreResult<u64> {
        let due = self.settled_at.lock().is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if !self.entries_wait.swap(false, Ordering::AcqRel) && !due {
            return Ok(0);
        }
        let mut waiting = Waiting { flag: &self.entries_wait, done: false };
        let mut moved = 0;
        let mut complete = true;
        for name in [collection::TASKS, collection::RUNS, collection::WORKERS] {
            let causes = self.waiting_in(name).await?;
            complete &= (causes.len() as i64) < LOOK_LIMIT;
            moved += causes.iter().map(|cause| cause.actions.len() as u64).sum::<u64>();
            self.log_and_clear(causes).await?;
        }
        *self.settled_at.lock() = Some(stopwatch());
        waiting.done = complete;
        Ok(moved)
    }

    async fn waiting_in(&self, name: &'static str) -> StoreResult<Vec<Logged>> {
        let path = path(name);
        let target = self.collection(name);
        let find = target
            .find(doc! { format!("{path}._id"): { "$exists": true } })
            .projection(doc! { path.as_str(): 1 })
            .limit(LOOK_LIMIT)
            .max_time(self.deadline);
        let cursor = self.read(Call::Find, find.into_future()).await?;
        self.drain(cursor, |doc| {
            let id = doc.get("_id").cloned().unwrap_or(Bson::Null);
            let carrier = doc.get_document(META).unwrap_or(&doc);
            let Ok(list) = carrier.get_array("acts") else {
                return Err(StoreError::Damaged(format!("{name} {id}: its log entries are no list")));
            };
            let actions = list.iter().filter_map(Bson::as_document).cloned().collect();
            Ok(Logged { collection: name, id, actions })
        })
        .await
    }
}

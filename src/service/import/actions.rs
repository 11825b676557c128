//! The event log: many small documents, taken as they are, a batch at a time.

use std::collections::HashSet;

use bson::Document;
use bson::oid::ObjectId;

use super::fields::{Check, Fault, object_id};
use super::source::{Input, Item};
use super::{Importer, Outcome};
use crate::store::StoreResult;
use crate::store::codec::as_number;

impl Importer<'_> {
    pub(super) async fn actions(&mut self, source: &str, batch: Vec<Item>) -> StoreResult<()> {
        let mut good = Vec::with_capacity(batch.len());
        for item in batch {
            let name = self.name(source, &item);
            let entry = item.input.and_then(|input| match input {
                Input::Document(entry) => Ok((check(&entry)?, entry)),
                Input::Run(_) => Err(Fault::whole("a run, not a log entry")),
            });
            match entry {
                Ok((id, entry)) => good.push((name, id, entry)),
                Err(fault) => self.report.count(name, Outcome::Rejected(fault)),
            }
        }
        let ids: Vec<ObjectId> = good.iter().map(|(_, id, _)| *id).collect();
        let mut known: HashSet<ObjectId> = self.store.known_actions(&ids).await?;
        let (mut new, mut names) = (Vec::new(), Vec::new());
        for (name, id, entry) in good {
            if known.insert(id) {
                new.push(entry);
                names.push(name);
            } else {
                self.report.count(name, Outcome::AlreadyThere);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        self.store.insert_actions(&new).await?;
        for name in names {
            self.report.count(name, Outcome::Taken(Vec::new()));
        }
        Ok(())
    }
}

/// What the log's order needs; old entries may lack everything else (`spec/storage.md` section 6).
fn check(entry: &Document) -> Check<ObjectId> {
    let id = object_id(entry)?;
    match as_number(entry.get("time")) {
        Some(time) if time.is_finite() => Ok(id),
        _ => Err(Fault::of("time", "`time` is not a number of seconds")),
    }
}

//! The event log: many small documents, taken as they are, a batch at a time.

use std::collections::HashSet;

use bson::Document;
use bson::oid::ObjectId;

use super::fields::{Check, object_id};
use super::lines::Line;
use super::{Importer, Outcome, identity};
use crate::store::StoreResult;
use crate::store::codec::as_number;

impl Importer<'_> {
    pub(super) async fn actions(&mut self, file: &str, batch: Vec<Line>) -> StoreResult<()> {
        let mut good = Vec::with_capacity(batch.len());
        for line in batch {
            let name = line.document.as_ref().ok().and_then(|entry| identity(self.report.collection, entry));
            match line.document.and_then(|entry| Ok((check(&entry)?, entry))) {
                Ok((id, entry)) => good.push((line.number, id, entry)),
                Err(reason) => {
                    let name = name.unwrap_or_else(|| "no identity".to_owned());
                    self.report.count(file, line.number, name, Outcome::Rejected(reason));
                }
            }
        }
        let ids: Vec<ObjectId> = good.iter().map(|(_, id, _)| *id).collect();
        let mut known: HashSet<ObjectId> = self.store.known_actions(&ids).await?;
        let (mut new, mut lines) = (Vec::new(), Vec::new());
        for (line, id, entry) in good {
            if known.insert(id) {
                new.push(entry);
                lines.push((line, id));
            } else {
                self.report.count(file, line, id.to_hex(), Outcome::AlreadyThere);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        self.store.insert_actions(&new).await?;
        for (line, id) in lines {
            self.report.count(file, line, id.to_hex(), Outcome::Taken(Vec::new()));
        }
        Ok(())
    }
}

/// What the log's order needs; old entries may lack everything else (`spec/storage.md` section 6).
fn check(entry: &Document) -> Check<ObjectId> {
    let id = object_id(entry)?;
    match as_number(entry.get("time")) {
        Some(time) if time.is_finite() => Ok(id),
        _ => Err("`time` is not a number of seconds".to_owned()),
    }
}

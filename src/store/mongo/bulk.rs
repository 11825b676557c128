//! Commands with many statements: `update` and `insert`, unordered, acknowledged by a majority and its journals.
//!
//! The driver's own bulk needs MongoDB 8.0; these every version has. What became of each statement is read off the
//! answer (`durability.md` section 2).

use bson::{Bson, Document, doc};

use super::failure::{is_duplicate, is_passing};
use super::watch::Call;
use super::{MongoStore, failure};
use crate::store::codec::as_count;
use crate::store::{StoreError, StoreResult};

/// Bytes of statements in one command at most; a command is one document of at most 16 MiB.
const BYTES: usize = 8 * 1024 * 1024;

/// Statements in one command at most.
const STATEMENTS: usize = 1000;

/// What became of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was carried out; whether it found anything to change is another matter.
    Done,
    /// It inserted a document.
    Inserted,
    /// A document with that key is there already.
    Duplicate,
    /// The server doesn't take it, and never will.
    Refused(String),
}

/// What became of a command's statements.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Of each, in order.
    pub(super) outcomes: Vec<Outcome>,
    /// Documents that updates matched or inserted.
    pub(super) matched: u64,
}

/// An update statement.
pub(super) fn statement(filter: Document, update: Document, upsert: bool) -> Document {
    doc! { "q": filter, "u": update, "upsert": upsert, "multi": false }
}

impl MongoStore {
    /// Sends update statements. An error concerns them all: some may have been carried out.
    pub(super) async fn update_many(
        &self,
        collection: &str,
        statements: Vec<Document>,
    ) -> StoreResult<Answer> {
        self.send(Call::Update, "updates", collection, statements).await
    }

    /// Inserts documents; one whose key is there already is left as it is.
    pub(super) async fn insert_absent(&self, collection: &str, documents: Vec<Document>) -> StoreResult<()> {
        let answer = self.send(Call::Insert, "documents", collection, documents).await?;
        for outcome in answer.outcomes {
            if let Outcome::Refused(reason) = outcome {
                return Err(StoreError::Unavailable(reason));
            }
        }
        Ok(())
    }

    async fn send(
        &self,
        call: Call,
        list: &str,
        collection: &str,
        statements: Vec<Document>,
    ) -> StoreResult<Answer> {
        let mut answer = Answer::default();
        for part in parts(statements) {
            let count = part.len();
            let command = doc! {
                call.name(): collection,
                list: part,
                "ordered": false,
                "writeConcern": self.write_concern(),
            };
            let reply = self.write(call, self.database.run_command(command).into_future()).await?;
            read(&reply, count, &mut answer)?;
        }
        Ok(answer)
    }

    /// A majority, journaled, within the deadline.
    pub(super) fn write_concern(&self) -> Document {
        let milliseconds = i32::try_from(self.deadline.as_millis()).unwrap_or(i32::MAX);
        doc! { "w": "majority", "j": true, "wtimeout": milliseconds }
    }
}

/// Splits statements so that each part fits in a command.
fn parts(statements: Vec<Document>) -> Vec<Vec<Document>> {
    let mut parts = Vec::new();
    let (mut part, mut bytes) = (Vec::new(), 0);
    for statement in statements {
        // What can't be measured can't be sent either; the server says so.
        let size = statement.to_vec().map_or(BYTES, |encoded| encoded.len());
        if !part.is_empty() && (bytes + size > BYTES || part.len() >= STATEMENTS) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += size;
        part.push(statement);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Adds what a reply says of `count` statements.
fn read(reply: &Document, count: usize, answer: &mut Answer) -> StoreResult<()> {
    if let Ok(concern) = reply.get_document("writeConcernError") {
        let reason = concern.get_str("errmsg").unwrap_or("no majority confirmed it");
        return Err(StoreError::Unknown(reason.to_owned()));
    }
    let mut outcomes = vec![Outcome::Done; count];
    for (index, _) in indexed(reply, "upserted") {
        if let Some(outcome) = outcomes.get_mut(index) {
            *outcome = Outcome::Inserted;
        }
    }
    for (index, error) in indexed(reply, "writeErrors") {
        let code = as_count(error.get("code")).and_then(|code| i32::try_from(code).ok()).unwrap_or(0);
        let reason = error.get_str("errmsg").unwrap_or("the server gives no reason");
        if is_passing(code) {
            return Err(StoreError::Unknown(reason.to_owned()));
        }
        let Some(outcome) = outcomes.get_mut(index) else {
            return Err(StoreError::Unknown(format!("an error of statement {index} of {count}: {reason}")));
        };
        *outcome = if is_duplicate(code) { Outcome::Duplicate } else { Outcome::Refused(reason.to_owned()) };
    }
    answer.outcomes.extend(outcomes);
    answer.matched += as_count(reply.get("n")).unwrap_or(0);
    Ok(())
}

/// The entries of a list in a reply, with the statement that each is about.
fn indexed<'a>(reply: &'a Document, key: &str) -> impl Iterator<Item = (usize, &'a Document)> {
    let list = reply.get_array(key).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Bson::as_document).filter_map(|entry| {
        let index = as_count(entry.get("index"))?;
        Some((usize::try_from(index).ok()?, entry))
    })
}

/// Errors of a single statement as a store's.
pub(super) fn only(answer: Answer, what: impl FnOnce() -> String) -> StoreResult<u64> {
    match answer.outcomes.into_iter().next() {
        Some(Outcome::Duplicate) => Err(failure::duplicate(StoreError::Duplicate(String::new()), what)),
        Some(Outcome::Refused(reason)) => Err(StoreError::Unavailable(reason)),
        _ => Ok(answer.matched),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_statement_has_its_outcome() {
        let reply = doc! {
            "ok": 1.0, "n": 2, "nModified": 1,
            "upserted": [{ "index": 1, "_id": "x" }],
            "writeErrors": [
                { "index": 2, "code": 11000, "errmsg": "E11000 duplicate key" },
                { "index": 3, "code": 10334, "errmsg": "too large" },
            ],
        };
        let mut answer = Answer::default();
        read(&reply, 4, &mut answer).unwrap();
        let refused = Outcome::Refused("too large".to_owned());
        assert_eq!(answer.outcomes, [Outcome::Done, Outcome::Inserted, Outcome::Duplicate, refused]);
        assert_eq!(answer.matched, 2);
    }

    #[test]
    fn what_no_majority_confirmed_is_unknown() {
        let late =
            doc! { "ok": 1, "n": 1, "writeConcernError": { "code": 64, "errmsg": "waiting timed out" } };
        assert!(matches!(read(&late, 1, &mut Answer::default()), Err(StoreError::Unknown(_))));
        let down = doc! { "ok": 1, "n": 0, "writeErrors": [{ "index": 0, "code": 11602, "errmsg": "stepped down" }] };
        assert!(matches!(read(&down, 1, &mut Answer::default()), Err(StoreError::Unknown(_))));
    }

    #[test]
    fn a_command_stays_below_the_limit_of_a_document() {
        let large = |n: usize| doc! { "x": "y".repeat(n) };
        let sizes = |statements| parts(statements).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(vec![large(5 << 20), large(5 << 20), large(1)]), [1, 2]);
        assert_eq!(sizes(vec![large(1); STATEMENTS + 1]), [STATEMENTS, 1]);
        assert!(sizes(vec![]).is_empty());
    }
}

//! What became of every document of an import.

use std::fmt;

use serde::Serialize;

use super::Outcome;
use super::fields::Fault;

/// A collection of fishtest's that is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Collection {
    /// Key-value pairs.
    Kvstore,
    /// Accounts.
    Users,
    /// Lifetime contributions.
    UserCache,
    /// Blocks of workers.
    Workers,
    /// Neural networks' metadata.
    Nns,
    /// Runs with their tasks.
    Runs,
    /// The event log.
    Actions,
    /// Games.
    Pgns,
}

impl Collection {
    /// All of them, what others refer to first: the key-value collection says which odd usernames are good.
    pub const IN_ORDER: [Self; 8] = [
        Self::Kvstore,
        Self::Users,
        Self::UserCache,
        Self::Workers,
        Self::Nns,
        Self::Runs,
        Self::Actions,
        Self::Pgns,
    ];

    /// fishtest's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvstore => "kvstore",
            Self::Users => "users",
            Self::UserCache => "user_cache",
            Self::Workers => "workers",
            Self::Nns => "nns",
            Self::Runs => "runs",
            Self::Actions => "actions",
            Self::Pgns => "pgns",
        }
    }
}

/// Something about one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Name of the file, or of the collection.
    pub source: String,
    /// Line of the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The document's `_id`, if it has one: an object id in hex, anything else as extended JSON.
    #[serde(rename = "_id")]
    pub id: Option<String>,
    /// What names the document in its collection.
    pub identity: String,
    /// Path of the field that is at fault, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is to be said.
    pub reason: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.identity)?;
        // Whoever looks for it in a database needs the `_id`; in a file there is the line.
        match &self.id {
            Some(id) if self.line.is_none() && *id != self.identity => write!(f, " (_id {id})")?,
            _ => {}
        }
        write!(f, ": {}", self.reason)
    }
}

/// What became of a collection. `documents` = `taken` + `already_there` + length of `rejected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CollectionReport {
    /// Which one.
    pub collection: Collection,
    /// Documents, or lines that are not blank.
    pub documents: u64,
    /// Those that are in the store now and weren't before.
    pub taken: u64,
    /// Those that were in the store before.
    pub already_there: u64,
    /// Those that can't be taken, with the reason.
    pub rejected: Vec<Remark>,
    /// What is odd about those that were taken or are there.
    pub warnings: Vec<Remark>,
}

impl CollectionReport {
    pub(super) fn new(collection: Collection) -> Self {
        Self {
            collection,
            documents: 0,
            taken: 0,
            already_there: 0,
            rejected: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn count(&mut self, name: Name, outcome: Outcome) {
        self.documents += 1;
        match outcome {
            Outcome::Taken(warnings) => {
                self.taken += 1;
                self.warnings.extend(warnings.into_iter().map(|warning| name.remark(None, warning)));
            }
            Outcome::AlreadyThere => self.already_there += 1,
            Outcome::Differs => {
                self.already_there += 1;
                let reason = "is there already, with other content, which stays";
                self.warnings.push(name.remark(None, reason.to_owned()));
            }
            Outcome::Rejected(Fault { field, reason }) => self.rejected.push(name.remark(field, reason)),
        }
    }
}

/// How a report speaks of a document.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) source: String,
    pub(super) line: Option<u64>,
    pub(super) id: Option<String>,
    pub(super) identity: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.source),
            None => write!(f, "{} {}", self.source, self.id.as_deref().unwrap_or("without _id")),
        }
    }
}

impl Name {
    fn remark(&self, field: Option<String>, reason: String) -> Remark {
        let Self { source, line, id, identity } = self.clone();
        Remark { source, line, id, identity, field, reason }
    }
}

/// A file or a collection that isn't imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// What became of everything in the directory or the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Per collection that is there, in the order of import.
    pub collections: Vec<CollectionReport>,
    /// Files or collections that were passed over.
    pub skipped: Vec<Skipped>,
}

impl ImportReport {
    /// Documents that can't be taken.
    pub fn rejected(&self) -> u64 {
        self.collections.iter().map(|collection| collection.rejected.len() as u64).sum()
    }

    /// Documents that were taken.
    pub fn taken(&self) -> u64 {
        self.collections.iter().map(|collection| collection.taken).sum()
    }

    /// A collection's part, if it was there.
    pub fn collection(&self, collection: Collection) -> Option<&CollectionReport> {
        self.collections.iter().find(|report| report.collection == collection)
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for report in &self.collections {
            writeln!(
                f,
                "{:<10} {:>9} documents: {} taken, {} already there, {} rejected",
                report.collection.name(),
                report.documents,
                report.taken,
                report.already_there,
                report.rejected.len(),
            )?;
        }
        for Skipped { name, reason } in &self.skipped {
            writeln!(f, "skipped {name}: {reason}")?;
        }
        for remark in self.collections.iter().flat_map(|report| &report.rejected) {
            writeln!(f, "rejected {remark}")?;
        }
        for remark in self.collections.iter().flat_map(|report| &report.warnings) {
            writeln!(f, "note {remark}")?;
        }
        Ok(())
    }
}

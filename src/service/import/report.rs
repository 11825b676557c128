//! What became of every document of an import.

use std::fmt;

use serde::Serialize;

use super::Outcome;

/// A collection of fishtest's that is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
    /// Name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// What names the document in its collection.
    pub identity: String,
    /// What is to be said.
    pub reason: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.identity, self.reason)
    }
}

/// What became of a collection. `documents` = `taken` + `already_there` + length of `rejected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CollectionReport {
    /// Which one.
    pub collection: Collection,
    /// Lines that are not blank.
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

    pub(super) fn count(&mut self, file: &str, line: u64, identity: String, outcome: Outcome) {
        let remark = |reason| Remark { file: file.to_owned(), line, identity: identity.clone(), reason };
        self.documents += 1;
        match outcome {
            Outcome::Taken(warnings) => {
                self.taken += 1;
                self.warnings.extend(warnings.into_iter().map(remark));
            }
            Outcome::AlreadyThere => self.already_there += 1,
            Outcome::Differs => {
                self.already_there += 1;
                let reason = "is there already, with other content, which stays";
                self.warnings.push(remark(reason.to_owned()));
            }
            Outcome::Rejected(reason) => self.rejected.push(remark(reason)),
        }
    }
}

/// A file that isn't imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedFile {
    /// Name of the file.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// What became of everything in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Per collection that has a file, in the order of import.
    pub collections: Vec<CollectionReport>,
    /// Files that were passed over.
    pub skipped_files: Vec<SkippedFile>,
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

    /// A collection's part, if it had a file.
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
        for SkippedFile { file, reason } in &self.skipped_files {
            writeln!(f, "skipped {file}: {reason}")?;
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

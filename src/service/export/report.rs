//! What an export wrote, and what it could not take along.

use std::fmt;

use serde::Serialize;

use crate::service::import::Collection;

/// A collection's part of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportedCollection {
    /// Which one.
    pub collection: Collection,
    /// Documents written.
    pub documents: u64,
    /// Documents that the target has no room for.
    pub left_out: u64,
    /// What a person should know: passwords to set anew, runs that were left out.
    pub remarks: Vec<String>,
}

impl ExportedCollection {
    pub(super) fn new(collection: Collection) -> Self {
        Self { collection, documents: 0, left_out: 0, remarks: Vec::new() }
    }
}

impl fmt::Display for ExportedCollection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} documents", self.collection.name(), self.documents)?;
        if self.left_out > 0 {
            write!(f, ", {} left out", self.left_out)?;
        }
        Ok(())
    }
}

/// What an export wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    /// By collection, in the order of writing.
    pub collections: Vec<ExportedCollection>,
}

impl ExportReport {
    /// Documents that the target has no room for.
    pub fn left_out(&self) -> u64 {
        self.collections.iter().map(|part| part.left_out).sum()
    }

    /// A collection's part.
    pub fn collection(&self, collection: Collection) -> Option<&ExportedCollection> {
        self.collections.iter().find(|part| part.collection == collection)
    }
}

impl fmt::Display for ExportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.collections {
            writeln!(f, "{part}")?;
            for remark in &part.remarks {
                writeln!(f, "    {remark}")?;
            }
        }
        Ok(())
    }
}

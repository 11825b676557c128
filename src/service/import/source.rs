//! Where an import's documents come from: files, or a database. What is done with them is the same.

use async_trait::async_trait;
use bson::{Bson, Document};

use super::fields::Check;
use super::run_input::RunInput;
use super::{Collection, ImportError};
use crate::domain::document::value_to_extended_json;

/// Collections of fishtest's that its own statistics job makes from the runs.
pub(super) const DERIVED: [&str; 2] = ["top_month", "deltas"];

/// Why those are passed over.
pub(super) const NOT_NEEDED: &str = "not needed: derived from the runs";

/// A document on its way in.
#[derive(Debug)]
pub(super) enum Input {
    Document(Document),
    /// Of the collection of runs.
    Run(Box<RunInput>),
}

/// A document, or what should be one.
#[derive(Debug)]
pub(super) struct Item {
    /// Of a file: from 1; blank lines count.
    pub(super) line: Option<u64>,
    /// Equal for equal contents.
    pub(super) fingerprint: u64,
    /// The document, or why there is none.
    pub(super) input: Check<Input>,
}

impl Item {
    /// Its fields, as far as they are read; a run's without its lists.
    pub(super) fn fields(&self) -> Option<&Document> {
        match &self.input {
            Ok(Input::Document(document)) => Some(document),
            Ok(Input::Run(run)) => Some(&run.rest),
            Err(_) => None,
        }
    }

    /// How a report names the document: by what is unique in its collection.
    pub(super) fn identity(&self, collection: Collection) -> Option<String> {
        let key = match collection {
            Collection::Users | Collection::UserCache => "username",
            Collection::Workers => "worker_name",
            Collection::Nns => "name",
            Collection::Kvstore | Collection::Runs | Collection::Actions | Collection::Pgns => "_id",
        };
        match self.fields()?.get(key)? {
            Bson::ObjectId(id) => Some(id.to_hex()),
            Bson::String(text) => Some(format!("{text:?}")),
            _ => None,
        }
    }

    /// Its `_id` for people and programs.
    pub(super) fn id(&self) -> Option<String> {
        match self.fields()?.get("_id")? {
            Bson::ObjectId(id) => Some(id.to_hex()),
            other => Some(value_to_extended_json(other)),
        }
    }
}

/// The documents of one file or collection.
#[async_trait]
pub(super) trait Documents: Send {
    /// Its name, for reports.
    fn name(&self) -> &str;

    /// The next documents, at least one until the end.
    async fn batch(&mut self) -> Result<Vec<Item>, ImportError>;
}

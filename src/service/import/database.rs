//! The collections of a database in fishtest's layout.

use std::hash::{DefaultHasher, Hasher};

use async_trait::async_trait;
use bson::raw::RawDocumentBuf;
use bson::{Bson, Document};

use super::fields::{Check, Fault};
use super::run_input::RunInput;
use super::source::{Documents, Input, Item};
use super::{Collection, ImportError};
use crate::store::StoreError;
use crate::store::mongo::{FishtestDatabase, Walk};

/// A batch of small documents ends behind the one that makes it so large, or with its thousandth.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_DOCUMENTS: usize = 1000;

/// The documents of a collection. Runs and games are fetched one by one: each may have megabytes.
pub(super) struct CollectionDocuments {
    database: FishtestDatabase,
    collection: Collection,
    /// None before the first batch, which opens it.
    walk: Option<Walk>,
}

impl CollectionDocuments {
    pub(super) fn new(database: FishtestDatabase, collection: Collection) -> Self {
        Self { database, collection, walk: None }
    }

    async fn read(&mut self) -> Result<Vec<Item>, StoreError> {
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None => open(&self.database, self.collection).await?,
        };
        let (mut items, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES && items.len() < BATCH_DOCUMENTS {
            let Some(mut raw) = walk.next().await? else { break };
            if is_large(self.collection) {
                let Ok(Some(id)) = raw.get("_id").map(|id| id.and_then(|id| Bson::try_from(id).ok())) else {
                    items.push(unread(Fault::of("_id", "`_id` can't be read")));
                    continue;
                };
                // One that is gone meanwhile was never there.
                let Some(whole) = self.database.fetch(self.collection.name(), id).await? else { continue };
                raw = whole;
            }
            bytes += raw.as_bytes().len();
            items.push(item(self.collection, raw));
        }
        self.walk = Some(walk);
        Ok(items)
    }
}

fn is_large(collection: Collection) -> bool {
    matches!(collection, Collection::Runs | Collection::Pgns)
}

async fn open(database: &FishtestDatabase, collection: Collection) -> Result<Walk, StoreError> {
    if is_large(collection) {
        return database.walk_ids(collection.name()).await;
    }
    // Very old documents hold the network itself.
    let without: &[&str] = if collection == Collection::Nns { &["nn"] } else { &[] };
    database.walk(collection.name(), without).await
}

fn item(collection: Collection, raw: RawDocumentBuf) -> Item {
    let mut hasher = DefaultHasher::new();
    hasher.write(raw.as_bytes());
    let input = if collection == Collection::Runs {
        RunInput::from_bson(raw).map(|run| Input::Run(Box::new(run)))
    } else {
        document(&raw).map(Input::Document)
    };
    Item { line: None, fingerprint: hasher.finish(), input }
}

fn document(raw: &RawDocumentBuf) -> Check<Document> {
    Document::try_from(raw).map_err(|error| Fault::whole(format!("can't be read: {error}")))
}

fn unread(fault: Fault) -> Item {
    Item { line: None, fingerprint: 0, input: Err(fault) }
}

#[async_trait]
impl Documents for CollectionDocuments {
    fn name(&self) -> &str {
        self.collection.name()
    }

    async fn batch(&mut self) -> Result<Vec<Item>, ImportError> {
        let read = self.read().await;
        read.map_err(|source| ImportError::Database { collection: self.name().to_owned(), source })
    }
}

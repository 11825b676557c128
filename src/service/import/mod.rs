//! `shoal import --files`: a fishtest database as `mongoexport` writes it, one file a collection, one document a line
//! (`spec/storage.md`).
//!
//! Whatever can be taken is taken, with its types and its unknown fields; the rest is reported line by line. What is
//! there already is left alone, so an import that was interrupted is simply started again. In memory are a document
//! at a time and a fingerprint of each identity.

mod accounts;
mod actions;
mod fields;
mod files;
mod lines;
mod misc;
mod pgns;
mod report;
mod run_parts;
mod runs;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use bson::{Bson, Document};

use self::files::Found;
use self::lines::{Line, Lines};
pub use self::report::{Collection, CollectionReport, ImportReport, Remark, SkippedFile};
use crate::domain::names::LegacyUsernames;
use crate::store::{SharedStore, Store, StoreError, StoreResult};
use crate::sys::spawn;

/// Why an import ended before its last line. It can be started again.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The directory can't be listed.
    #[error("{}: {source}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is nothing to import in the directory.
    #[error("{}: no file of a collection (users.json, runs.json, ...)", .0.display())]
    NothingToImport(PathBuf),
    /// The store refused, or it is unknown whether it took the document.
    #[error("{file}:{line}: {source}")]
    Store {
        /// Name of the file.
        file: String,
        /// The line that was being imported, from 1.
        line: u64,
        /// The store's answer.
        source: StoreError,
    },
    /// The reading thread ended unexpectedly.
    #[error("{file}: reading failed: {reason}")]
    Reader {
        /// Name of the file.
        file: String,
        /// Why.
        reason: String,
    },
}

/// How far an import is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Name of the file that is being read.
    pub file: &'a str,
    /// What has become of its collection's documents so far.
    pub report: &'a CollectionReport,
}

impl std::fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let CollectionReport { documents, taken, already_there, rejected, .. } = self.report;
        let rejected = rejected.len();
        write!(
            f,
            "{}: {documents} documents, {taken} taken, {already_there} already there, {rejected} rejected",
            self.file
        )
    }
}

/// What became of a document.
enum Outcome {
    /// It is in the store now; what a person should know about it.
    Taken(Vec<String>),
    /// It was in the store before.
    AlreadyThere,
    /// It was in the store before, and has another content there, which stays.
    Differs,
    /// It can't be taken, and why.
    Rejected(String),
}

/// Imports the files of a directory into a store, and reports on every document. `progress` is called now and then.
///
/// A server that runs on the store must be started anew afterwards: it doesn't see runs that it didn't make.
///
/// # Errors
/// [`ImportError`]; documents that can't be taken are no error but in the report.
pub async fn import_files(
    store: &SharedStore,
    dir: &Path,
    progress: impl Fn(Progress<'_>) + Send + Sync,
) -> Result<ImportReport, ImportError> {
    let store: &dyn Store = &**store;
    let (found, skipped_files) =
        files::list(dir).map_err(|source| ImportError::Directory { dir: dir.to_owned(), source })?;
    if found.is_empty() {
        return Err(ImportError::NothingToImport(dir.to_owned()));
    }
    let mut report = ImportReport { collections: Vec::new(), skipped_files };
    for collection in Collection::IN_ORDER {
        let files: Vec<Found> = found.iter().filter(|file| file.collection == collection).cloned().collect();
        if files.is_empty() {
            continue;
        }
        let mut importer = Importer {
            store,
            legacy: legacy_usernames(store).await?,
            seen: HashMap::new(),
            report: CollectionReport::new(collection),
        };
        for file in &files {
            importer.file(file, &progress).await?;
        }
        report.collections.push(importer.report);
    }
    Ok(report)
}

/// Account names that the pattern would refuse; known once the key-value collection is imported, which is first.
async fn legacy_usernames(store: &dyn Store) -> Result<LegacyUsernames, ImportError> {
    let names = store.kv("legacy_usernames").await;
    let names = names.map_err(|source| ImportError::Store { file: "kvstore".to_owned(), line: 0, source })?;
    let Some(Bson::Array(names)) = names else { return Ok(LegacyUsernames::default()) };
    Ok(names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
}

/// One collection's import.
struct Importer<'a> {
    store: &'a dyn Store,
    legacy: LegacyUsernames,
    /// Fingerprints of the lines that hold an identity, so that a second document with it is noticed.
    seen: HashMap<String, u64>,
    report: CollectionReport,
}

impl Importer<'_> {
    async fn file(
        &mut self,
        file: &Found,
        progress: &(impl Fn(Progress<'_>) + Send + Sync),
    ) -> Result<(), ImportError> {
        let path = file.path.clone();
        let mut lines = Some(Lines::new(path, file.compressed));
        while let Some(mut reader) = lines.take() {
            // Parsing a run of 16 MiB takes its time: off the event loop.
            let read = spawn::blocking(move || {
                let batch = reader.batch();
                (reader, batch)
            });
            let (reader, batch) = read.await.map_err(|error| ImportError::Reader {
                file: file.name.clone(),
                reason: error.to_string(),
            })?;
            if !batch.is_empty() {
                lines = Some(reader);
            }
            let (first, last) =
                (batch.first().map_or(0, |line| line.number), batch.last().map(|line| line.number));
            tracing::debug!(file = %file.name, first, ?last, "importing");
            if file.collection == Collection::Actions {
                self.actions(&file.name, batch).await.map_err(|source| ImportError::Store {
                    file: file.name.clone(),
                    line: first,
                    source,
                })?;
            } else {
                for line in batch {
                    let number = line.number;
                    self.line(&file.name, line).await.map_err(|source| ImportError::Store {
                        file: file.name.clone(),
                        line: number,
                        source,
                    })?;
                }
            }
            progress(Progress { file: &file.name, report: &self.report });
        }
        Ok(())
    }

    async fn line(&mut self, file: &str, line: Line) -> StoreResult<()> {
        let document = match line.document {
            Ok(document) => document,
            Err(reason) => {
                self.report.count(file, line.number, "no document".to_owned(), Outcome::Rejected(reason));
                return Ok(());
            }
        };
        let identity = identity(self.report.collection, &document);
        if let Some(identity) = &identity {
            match self.seen.entry(identity.clone()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(line.fingerprint);
                }
                Entry::Occupied(first) => {
                    let outcome = if *first.get() == line.fingerprint {
                        Outcome::AlreadyThere
                    } else {
                        Outcome::Rejected(
                            "an earlier line has the same identity and other content".to_owned(),
                        )
                    };
                    self.report.count(file, line.number, identity.clone(), outcome);
                    return Ok(());
                }
            }
        }
        let outcome = self.document(document).await?;
        let identity = identity.unwrap_or_else(|| "no identity".to_owned());
        self.report.count(file, line.number, identity, outcome);
        Ok(())
    }

    async fn document(&self, document: Document) -> StoreResult<Outcome> {
        let store = self.store;
        match self.report.collection {
            Collection::Kvstore => misc::import_kv(store, document).await,
            Collection::Users => accounts::import_user(store, document, &self.legacy).await,
            Collection::UserCache => accounts::import_user_cache(store, document).await,
            Collection::Workers => misc::import_worker(store, document).await,
            Collection::Nns => misc::import_net(store, document).await,
            Collection::Runs => runs::import_run(store, document).await,
            Collection::Pgns => pgns::import_pgn(store, document).await,
            Collection::Actions => {
                Ok(Outcome::Rejected("log entries are imported by the batch, not one by one".to_owned()))
            }
        }
    }
}

/// How a report names a document: by what is unique in its collection.
fn identity(collection: Collection, document: &Document) -> Option<String> {
    let key = match collection {
        Collection::Users | Collection::UserCache => "username",
        Collection::Workers => "worker_name",
        Collection::Nns => "name",
        Collection::Kvstore | Collection::Runs | Collection::Actions | Collection::Pgns => "_id",
    };
    match document.get(key)? {
        Bson::ObjectId(id) => Some(id.to_hex()),
        Bson::String(text) => Some(format!("{:?}", text.chars().take(100).collect::<String>())),
        _ => None,
    }
}

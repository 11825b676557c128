//! `shoal import`: a fishtest database (`spec/storage.md`), read from a server (`--from`), or from files as `mongoexport`
//! writes them, one file a collection, one document a line (`--files`).
//!
//! Whatever can be taken is taken, with its types and its unknown fields; the rest is reported document by document.
//! What is there already is left alone, so an import that was interrupted is simply started again. In memory are a
//! batch of small documents, or one large one as it came, and a fingerprint of each identity.

mod accounts;
mod actions;
mod database;
mod fields;
mod files;
mod lines;
mod misc;
mod pgns;
mod report;
mod run_input;
mod run_parts;
mod runs;
mod source;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use bson::Bson;

use self::database::CollectionDocuments;
use self::fields::Fault;
use self::files::FileDocuments;
use self::report::Name;
pub use self::report::{Collection, CollectionReport, ImportReport, Remark, Skipped};
use self::source::{DERIVED, Documents, Input, Item, NOT_NEEDED};
use crate::domain::names::LegacyUsernames;
use crate::store::mongo::{FishtestDatabase, Layout};
use crate::store::{SharedStore, Store, StoreError, StoreResult};

/// Why an import ended before its last document. It can be started again.
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
    /// There is nothing to import in the directory or the database.
    #[error("{0}: no collection of fishtest's (users, runs, ...)")]
    NothingToImport(String),
    /// The database is one of Shoal's.
    #[error("{0} is a Shoal database, not fishtest's: `shoal copy` moves a farm from it")]
    Shoal(String),
    /// The database that is imported can't be read (further).
    #[error("reading {collection}: {source}")]
    Database {
        /// Name of the collection, or of the database.
        collection: String,
        /// What the server said.
        source: StoreError,
    },
    /// The store refused, or it is unknown whether it took the document.
    #[error("{name}: {source}")]
    Store {
        /// File and line of the document that was being imported, or its collection and `_id`.
        name: String,
        /// The store's answer.
        source: StoreError,
    },
    /// The reading thread ended unexpectedly.
    #[error("{name}: reading failed: {reason}")]
    Reader {
        /// Name of the file.
        name: String,
        /// Why.
        reason: String,
    },
}

/// How far an import is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Name of the file or the collection that is being read.
    pub source: &'a str,
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
            self.source
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
    Rejected(Fault),
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
    let (found, skipped) =
        files::list(dir).map_err(|source| ImportError::Directory { dir: dir.to_owned(), source })?;
    if found.is_empty() {
        return Err(ImportError::NothingToImport(dir.display().to_string()));
    }
    let sources = found
        .into_iter()
        .map(|file| (file.collection, Box::new(FileDocuments::new(file)) as Box<dyn Documents>));
    import(&**store, sources.collect(), skipped, progress).await
}

/// Imports a database in fishtest's layout, as [`import_files`] does files. The database is only read; nothing should
/// write to it meanwhile.
///
/// # Errors
/// [`ImportError`]; documents that can't be taken are no error but in the report.
pub async fn import_database(
    store: &SharedStore,
    from: &FishtestDatabase,
    progress: impl Fn(Progress<'_>) + Send + Sync,
) -> Result<ImportReport, ImportError> {
    let of_database = |source| ImportError::Database { collection: from.place(), source };
    let names = match from.layout().await.map_err(of_database)? {
        Layout::Shoal => return Err(ImportError::Shoal(from.place())),
        Layout::Empty => return Err(ImportError::NothingToImport(from.place())),
        Layout::Other(names) => names,
    };
    let (mut sources, mut skipped) = (Vec::new(), Vec::new());
    for name in names {
        if let Some(collection) = Collection::IN_ORDER.into_iter().find(|known| known.name() == name) {
            let documents = CollectionDocuments::new(from.clone(), collection);
            sources.push((collection, Box::new(documents) as Box<dyn Documents>));
        } else {
            let derived = DERIVED.contains(&name.as_str());
            let reason = if derived { NOT_NEEDED } else { "not a collection of fishtest's" };
            skipped.push(Skipped { name, reason: reason.to_owned() });
        }
    }
    if sources.is_empty() {
        return Err(ImportError::NothingToImport(from.place()));
    }
    import(&**store, sources, skipped, progress).await
}

async fn import(
    store: &dyn Store,
    mut sources: Vec<(Collection, Box<dyn Documents>)>,
    skipped: Vec<Skipped>,
    progress: impl Fn(Progress<'_>) + Send + Sync,
) -> Result<ImportReport, ImportError> {
    let mut report = ImportReport { collections: Vec::new(), skipped };
    for collection in Collection::IN_ORDER {
        let mut sources = sources.iter_mut().filter(|(of, _)| *of == collection).peekable();
        if sources.peek().is_none() {
            continue;
        }
        let mut importer = Importer {
            store,
            legacy: legacy_usernames(store).await?,
            seen: HashMap::new(),
            report: CollectionReport::new(collection),
        };
        for (_, documents) in sources {
            importer.take_all(documents.as_mut(), &progress).await?;
        }
        report.collections.push(importer.report);
    }
    Ok(report)
}

/// Account names that the pattern would refuse; known once the key-value collection is imported, which is first.
async fn legacy_usernames(store: &dyn Store) -> Result<LegacyUsernames, ImportError> {
    let names = store.kv("legacy_usernames").await;
    let names = names.map_err(|source| ImportError::Store { name: "kvstore".to_owned(), source })?;
    let Some(Bson::Array(names)) = names else { return Ok(LegacyUsernames::default()) };
    Ok(names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
}

/// One collection's import.
struct Importer<'a> {
    store: &'a dyn Store,
    legacy: LegacyUsernames,
    /// Fingerprints of the documents that hold an identity, so that a second one with it is noticed.
    seen: HashMap<String, u64>,
    report: CollectionReport,
}

impl Importer<'_> {
    async fn take_all(
        &mut self,
        documents: &mut dyn Documents,
        progress: &(impl Fn(Progress<'_>) + Send + Sync),
    ) -> Result<(), ImportError> {
        let source = documents.name().to_owned();
        loop {
            let batch = documents.batch().await?;
            let Some(first) = batch.first() else { return Ok(()) };
            let at = self.name(&source, first);
            let failed = |at: Name| move |source| ImportError::Store { name: at.to_string(), source };
            tracing::debug!(%at, documents = batch.len(), "importing");
            if self.report.collection == Collection::Actions {
                self.actions(&source, batch).await.map_err(failed(at))?;
            } else {
                for item in batch {
                    let at = self.name(&source, &item);
                    self.item(at.clone(), item).await.map_err(failed(at))?;
                }
            }
            progress(Progress { source: &source, report: &self.report });
        }
    }

    /// How the report speaks of a document.
    fn name(&self, source: &str, item: &Item) -> Name {
        let missing = if item.fields().is_some() { "no identity" } else { "no document" };
        let identity = item.identity(self.report.collection).unwrap_or_else(|| missing.to_owned());
        Name { source: source.to_owned(), line: item.line, id: item.id(), identity }
    }

    async fn item(&mut self, name: Name, item: Item) -> StoreResult<()> {
        let identity = item.identity(self.report.collection);
        let input = match item.input {
            Ok(input) => input,
            Err(fault) => {
                self.report.count(name, Outcome::Rejected(fault));
                return Ok(());
            }
        };
        // No two documents of a database have one `_id`.
        let unique = name.line.is_none() && name.id.as_ref() == identity.as_ref();
        if let Some(identity) = identity.filter(|_| !unique) {
            match self.seen.entry(identity) {
                Entry::Vacant(vacant) => {
                    vacant.insert(item.fingerprint);
                }
                Entry::Occupied(first) if *first.get() == item.fingerprint => {
                    self.report.count(name, Outcome::AlreadyThere);
                    return Ok(());
                }
                Entry::Occupied(_) => {
                    let reason = "an earlier document has the same identity and other content";
                    self.report.count(name, Outcome::Rejected(Fault::whole(reason)));
                    return Ok(());
                }
            }
        }
        let outcome = self.input(input).await?;
        self.report.count(name, outcome);
        Ok(())
    }

    async fn input(&self, input: Input) -> StoreResult<Outcome> {
        let store = self.store;
        let document = match input {
            Input::Run(run) => return runs::import_run(store, *run).await,
            Input::Document(document) => document,
        };
        match self.report.collection {
            Collection::Kvstore => misc::import_kv(store, document).await,
            Collection::Users => accounts::import_user(store, document, &self.legacy).await,
            Collection::UserCache => accounts::import_user_cache(store, document).await,
            Collection::Workers => misc::import_worker(store, document).await,
            Collection::Nns => misc::import_net(store, document).await,
            Collection::Pgns => pgns::import_pgn(store, document).await,
            Collection::Runs | Collection::Actions => {
                Ok(Outcome::Rejected(Fault::whole("read in the wrong way: a fault of this program")))
            }
        }
    }
}

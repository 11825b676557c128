//! An export into an empty MongoDB database in fishtest's layout, one that fishtest can be pointed at.
//!
//! A mark stands in the database until everything was written. Interrupted, the export of the same farm goes on there:
//! what is small is written anew, runs are written over, log entries and games that are there stay.

use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::raw::{RawArrayBuf, RawDocumentBuf, cstr};
use bson::{Bson, Document};

use super::{ExportError, ExportSink, reading};
use crate::service::import::Collection;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::mongo::{ExportMark, FishtestDatabase};

/// Largest document that MongoDB takes.
const LARGEST: usize = 16 << 20;

/// Documents, and bytes of documents, that are gathered before they are written.
const BUFFER_DOCUMENTS: usize = 1000;
const BUFFER_BYTES: usize = 4 << 20;

/// Collections that are written anew when an export goes on: in the farm documents of theirs may be gone meanwhile.
const SMALL: [Collection; 5] =
    [Collection::Kvstore, Collection::Users, Collection::UserCache, Collection::Workers, Collection::Nns];

/// A database that is being filled.
pub struct DatabaseSink {
    database: FishtestDatabase,
    going_on: bool,
    gathered: Vec<RawDocumentBuf>,
    bytes: usize,
    /// Whose documents those are.
    collection: Collection,
    run: Option<RunInParts>,
}

/// A run that is being put together. It is given up when it has become too large.
struct RunInParts {
    id: Bson,
    run: RawDocumentBuf,
    tasks: RawArrayBuf,
    bad_tasks: RawArrayBuf,
    bytes: usize,
    count: usize,
}

impl DatabaseSink {
    /// Begins the export of a farm into an empty database, or goes on with an interrupted one of the same farm.
    ///
    /// # Errors
    /// The database holds something else, or either side has no answer.
    pub async fn begin(database: FishtestDatabase, farm: &dyn Store) -> Result<Self, ExportError> {
        let identity = identity(farm).await?;
        let at = |source: StoreError| target(&database, "", source);
        let going_on = match database.begin_export(&identity).await.map_err(at)? {
            ExportMark::Begun => false,
            ExportMark::Interrupted => true,
            ExportMark::Refused(reason) => {
                return Err(ExportError::Target { target: database.place(), source: reason.into() });
            }
        };
        if going_on {
            tracing::info!(database = database.place(), "an export was interrupted here: going on");
            for collection in SMALL {
                database.clear(collection.name()).await.map_err(at)?;
            }
        }
        Ok(Self {
            database,
            going_on,
            gathered: Vec::new(),
            bytes: 0,
            collection: Collection::Kvstore,
            run: None,
        })
    }

    async fn flush(&mut self) -> Result<(), ExportError> {
        let documents = std::mem::take(&mut self.gathered);
        self.bytes = 0;
        let name = self.collection.name();
        let written = self.database.insert_absent(name, &documents).await;
        written.map_err(|source| target(&self.database, name, source))
    }

    /// Adds a task to one of the lists of the run that is being put together.
    fn element(
        &mut self,
        task: &Document,
        list: impl FnOnce(&mut RunInParts) -> &mut RawArrayBuf,
    ) -> Result<(), ExportError> {
        let raw = self.raw(Collection::Runs, task)?;
        if let Some(run) = &mut self.run
            && run.grow(&raw)
        {
            list(run).push(raw);
        }
        Ok(())
    }

    fn raw(&self, collection: Collection, document: &Document) -> Result<RawDocumentBuf, ExportError> {
        RawDocumentBuf::try_from(document).map_err(|error| {
            target(&self.database, collection.name(), StoreError::Damaged(error.to_string()))
        })
    }
}

/// What a farm is known by: its oldest account and its oldest run.
async fn identity(farm: &dyn Store) -> Result<String, ExportError> {
    let users = farm.users().await.map_err(reading("users"))?;
    let runs = farm.scan_runs(None, 1).await.map_err(reading("runs"))?;
    let user = users.first().map_or_else(|| "none".to_owned(), |user| user.id.to_hex());
    let run = runs.first().map_or_else(|| "none".to_owned(), |run| run.id.to_string());
    Ok(format!("account {user}, run {run}"))
}

fn target(database: &FishtestDatabase, collection: &str, source: StoreError) -> ExportError {
    let place = database.place();
    let target = if collection.is_empty() { place } else { format!("{collection} of {place}") };
    ExportError::Target { target, source: source.into() }
}

fn too_large(bytes: usize) -> Option<String> {
    (bytes > LARGEST).then(|| {
        let least = bytes >> 20;
        format!("it has more than {least} MiB, and MongoDB takes 16 in a document; --files takes it")
    })
}

#[async_trait]
impl ExportSink for DatabaseSink {
    async fn document(
        &mut self,
        collection: Collection,
        document: Document,
    ) -> Result<Option<String>, ExportError> {
        let raw = self.raw(collection, &document)?;
        drop(document);
        let bytes = raw.as_bytes().len();
        if let Some(reason) = too_large(bytes) {
            return Ok(Some(reason));
        }
        let full = self.bytes + bytes > BUFFER_BYTES || self.gathered.len() >= BUFFER_DOCUMENTS;
        if collection != self.collection || full {
            self.flush().await?;
        }
        self.collection = collection;
        self.bytes += bytes;
        self.gathered.push(raw);
        Ok(None)
    }

    async fn holds(&mut self, collection: Collection, id: ObjectId) -> Result<bool, ExportError> {
        if !self.going_on {
            return Ok(false);
        }
        let there = self.database.holds(collection.name(), id.into()).await;
        there.map_err(|source| target(&self.database, collection.name(), source))
    }

    async fn begin_run(&mut self, run: Document) -> Result<(), ExportError> {
        self.flush().await?;
        let id = run.get("_id").cloned().unwrap_or(Bson::Null);
        let run = self.raw(Collection::Runs, &run)?;
        let bytes = run.as_bytes().len();
        let (tasks, bad_tasks) = (RawArrayBuf::new(), RawArrayBuf::new());
        self.run = Some(RunInParts { id, run, tasks, bad_tasks, bytes, count: 0 });
        Ok(())
    }

    async fn task(&mut self, task: Document) -> Result<(), ExportError> {
        self.element(&task, |run| &mut run.tasks)
    }

    async fn bad_task(&mut self, task: Document) -> Result<(), ExportError> {
        self.element(&task, |run| &mut run.bad_tasks)
    }

    async fn end_run(&mut self) -> Result<Option<String>, ExportError> {
        let Some(run) = self.run.take() else { return Ok(None) };
        let RunInParts { id, run: mut whole, tasks, bad_tasks, bytes, .. } = run;
        let mut bytes = bytes;
        if bytes <= LARGEST {
            whole.append(cstr!("tasks"), tasks);
            whole.append(cstr!("bad_tasks"), bad_tasks);
            bytes = whole.as_bytes().len();
        }
        if let Some(reason) = too_large(bytes) {
            return Ok(Some(reason));
        }
        let name = Collection::Runs.name();
        let written = if self.going_on {
            self.database.put(name, id, whole).await
        } else {
            self.database.insert_absent(name, &[whole]).await
        };
        written.map_err(|source| target(&self.database, name, source))?;
        Ok(None)
    }

    async fn finish(&mut self) -> Result<(), ExportError> {
        self.flush().await?;
        let ended = self.database.end_export().await;
        ended.map_err(|source| target(&self.database, "", source))
    }
}

impl RunInParts {
    /// Counts an element; false if the run is too large already, and nothing more of it is kept.
    fn grow(&mut self, element: &RawDocumentBuf) -> bool {
        // Beside its bytes an element has a type and its number in digits.
        self.bytes += element.as_bytes().len() + 2 + self.count.max(1).ilog10() as usize;
        self.count += 1;
        if self.bytes <= LARGEST {
            return true;
        }
        (self.tasks, self.bad_tasks) = (RawArrayBuf::new(), RawArrayBuf::new());
        false
    }
}

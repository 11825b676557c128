//! `shoal export`: a farm's data in fishtest's own layout (`spec/storage.md`), so that a farm that moved over can
//! move back.
//!
//! Documents come out as they came in, unknown fields and old number types included, as far as nobody changed them
//! since. What fishtest's layout has no room for stays behind: argon2id hashes of passwords (an account whose plain
//! password was replaced gets one that nobody knows, and is named in the report), and Shoal's own versions, tails and
//! digests. Runs and games are streamed; in memory is a page of tasks, or one upload, and, where the target wants a run in
//! one piece, a run as far as it has room there.

mod database;
mod files;
mod report;
mod run;

use async_trait::async_trait;
use base64::Engine;
use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, doc};

pub use self::database::DatabaseSink;
pub use self::files::FileSink;
pub use self::report::{ExportReport, ExportedCollection};
use self::run::{ExportedRun, Purged, RunView};
use super::import::Collection;
use crate::domain::ids::{RunId, ShortWorkerName, TaskId, TaskKey};
use crate::store::codec::{bad_task, date, int, public_task};
use crate::store::{PgnEntry, Store, StoreError, StoredRun, User, WorkerBlock};
use crate::sys::random;

/// Documents of a page.
const PAGE: usize = 200;

/// Runs of a page: the history of a tuning run has megabytes.
const RUN_PAGE: usize = 10;

/// Uploads of games of a page; only their names are in it.
const PGN_PAGE: usize = 1000;

/// Why an export ended early. It can be started again: files into another directory, a database into the same one.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The farm's data can't be read.
    #[error("reading {collection}: {source}")]
    Store {
        /// The collection that was being read.
        collection: &'static str,
        /// The store's answer.
        source: StoreError,
    },
    /// The target can't be written.
    #[error("{target}: {source}")]
    Target {
        /// Name of the file or collection.
        target: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where documents in fishtest's layout go.
#[async_trait]
pub trait ExportSink: Send {
    /// Writes a document. The target may have no room for it: the reason.
    async fn document(
        &mut self,
        collection: Collection,
        document: Document,
    ) -> Result<Option<String>, ExportError>;
    /// Whether the target holds a document from before an interruption that never changes.
    async fn holds(&mut self, _collection: Collection, _id: ObjectId) -> Result<bool, ExportError> {
        Ok(false)
    }
    /// Begins a run: all of its document but the tasks, which follow.
    async fn begin_run(&mut self, run: Document) -> Result<(), ExportError>;
    /// Adds a task to the run.
    async fn task(&mut self, task: Document) -> Result<(), ExportError>;
    /// Adds a purged task's copy to the run; all tasks come before.
    async fn bad_task(&mut self, task: Document) -> Result<(), ExportError>;
    /// Ends the run. The target may have no room for it: the reason.
    async fn end_run(&mut self) -> Result<Option<String>, ExportError>;
    /// Everything was written: makes it last.
    async fn finish(&mut self) -> Result<(), ExportError>;
}

/// What is left out of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// Leave out the games, which are most of the bytes.
    pub without_pgns: bool,
}

/// Exports everything. `progress` is called after every page.
///
/// Nothing may write to the store meanwhile, or the export is of no single moment.
///
/// # Errors
/// [`ExportError`]; what the target has no room for is no error but in the report.
pub async fn export(
    store: &dyn Store,
    sink: &mut dyn ExportSink,
    options: ExportOptions,
    progress: impl Fn(&ExportedCollection) + Send + Sync,
) -> Result<ExportReport, ExportError> {
    let mut exporter = Exporter { store, sink, progress, report: ExportReport::default() };
    for collection in Collection::IN_ORDER {
        if collection == Collection::Pgns && options.without_pgns {
            continue;
        }
        exporter.report.collections.push(ExportedCollection::new(collection));
        match collection {
            Collection::Kvstore => exporter.kvstore().await?,
            Collection::Users => exporter.users().await?,
            Collection::UserCache => exporter.user_cache().await?,
            Collection::Workers => exporter.workers().await?,
            Collection::Nns => exporter.nns().await?,
            Collection::Runs => exporter.runs().await?,
            Collection::Actions => exporter.actions().await?,
            Collection::Pgns => exporter.pgns().await?,
        }
    }
    exporter.sink.finish().await?;
    Ok(exporter.report)
}

struct Exporter<'a, P> {
    store: &'a dyn Store,
    sink: &'a mut dyn ExportSink,
    progress: P,
    report: ExportReport,
}

impl<P: Fn(&ExportedCollection) + Send + Sync> Exporter<'_, P> {
    async fn put(&mut self, collection: Collection, document: Document) -> Result<(), ExportError> {
        let name = document.get("_id").map(identity_text).unwrap_or_default();
        match self.sink.document(collection, document).await? {
            None => self.counted(),
            Some(reason) => self.left_out(&name, &reason),
        }
        Ok(())
    }

    fn counted(&mut self) {
        if let Some(part) = self.report.collections.last_mut() {
            part.documents += 1;
        }
    }

    fn left_out(&mut self, name: &str, reason: &str) {
        if let Some(part) = self.report.collections.last_mut() {
            part.left_out += 1;
            part.remarks.push(format!("{name}: left out: {reason}"));
        }
    }

    fn remark(&mut self, text: String) {
        if let Some(part) = self.report.collections.last_mut() {
            part.remarks.push(text);
        }
    }

    fn page_done(&self) {
        if let Some(part) = self.report.collections.last() {
            (self.progress)(part);
        }
    }

    async fn kvstore(&mut self) -> Result<(), ExportError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.store.scan_kv(after.as_deref(), PAGE).await.map_err(reading("kvstore"))?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, value) in page {
                self.put(Collection::Kvstore, doc! { "_id": key, "value": value }).await?;
            }
            self.page_done();
        }
    }

    async fn users(&mut self) -> Result<(), ExportError> {
        for user in self.store.users().await.map_err(reading("users"))? {
            if user.plain_password.is_none() {
                self.remark(format!("{}: the password must be set anew", user.username));
            }
            self.put(Collection::Users, user_document(user)).await?;
        }
        self.page_done();
        Ok(())
    }

    async fn user_cache(&mut self) -> Result<(), ExportError> {
        let mut after: Option<String> = None;
        loop {
            let page =
                self.store.scan_user_cache(after.as_deref(), PAGE).await.map_err(reading("user_cache"))?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.get_str("username").ok().map(str::to_owned);
            for entry in page {
                self.put(Collection::UserCache, entry).await?;
            }
            self.page_done();
        }
    }

    async fn workers(&mut self) -> Result<(), ExportError> {
        let mut after: Option<ShortWorkerName> = None;
        loop {
            let page = self.store.scan_workers(after.as_ref(), PAGE).await.map_err(reading("workers"))?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.name.clone());
            for block in page {
                self.put(Collection::Workers, worker_document(block)).await?;
            }
            self.page_done();
        }
    }

    async fn nns(&mut self) -> Result<(), ExportError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.store.scan_nets(after.as_deref(), PAGE).await.map_err(reading("nns"))?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.get_str("name").ok().map(str::to_owned);
            for net in page {
                self.put(Collection::Nns, net).await?;
            }
            self.page_done();
        }
    }

    async fn runs(&mut self) -> Result<(), ExportError> {
        let mut after: Option<RunId> = None;
        loop {
            let page = self.store.scan_runs(after, RUN_PAGE).await.map_err(reading("runs"))?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for run in page {
                self.run(run).await?;
            }
            self.page_done();
        }
    }

    /// One run: a first pass over its tasks for what follows from them, a second one to write them.
    async fn run(&mut self, stored: StoredRun) -> Result<(), ExportError> {
        let id = stored.id;
        let args = stored.doc.get_document("args");
        let tag = args.ok().and_then(|args| args.get_str("new_tag").ok()).unwrap_or_default().to_owned();
        let mut view = RunView::new(&stored);
        let mut pages = TaskPages::new(self.store, id);
        while let Some(page) = pages.next().await? {
            page.iter().for_each(|task| view.see(task));
        }
        let ExportedRun { run, purged } = view.documents(stored).map_err(reading("runs"))?;
        self.sink.begin_run(run).await?;
        let mut pages = TaskPages::new(self.store, id);
        while let Some(page) = pages.next().await? {
            for task in &page {
                self.sink.task(public_task(task)).await?;
            }
        }
        for purged in purged {
            let copy = match purged {
                Purged::Copy(copy) => Some(copy),
                Purged::Task(task) => {
                    let task = self.store.task(TaskKey { run: id, task }).await.map_err(reading("tasks"))?;
                    task.as_ref().and_then(bad_task)
                }
            };
            if let Some(copy) = copy {
                self.sink.bad_task(copy).await?;
            }
        }
        match self.sink.end_run().await? {
            None => self.counted(),
            Some(reason) => self.left_out(&format!("run {id} ({tag})"), &reason),
        }
        Ok(())
    }

    async fn actions(&mut self) -> Result<(), ExportError> {
        let mut after: Option<ObjectId> = None;
        loop {
            let page = self.store.scan_actions(after, PAGE).await.map_err(reading("actions"))?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.get_object_id("_id").ok();
            for entry in page {
                self.put(Collection::Actions, entry).await?;
            }
            self.page_done();
        }
    }

    async fn pgns(&mut self) -> Result<(), ExportError> {
        let mut after: Option<ObjectId> = None;
        loop {
            let page = self.store.scan_pgns(after, PGN_PAGE).await.map_err(reading("pgns"))?;
            let Some((_, last)) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for (run, entry) in page {
                if self.sink.holds(Collection::Pgns, entry.id).await? {
                    self.counted();
                    continue;
                }
                let games = self.store.pgn_by_id(entry.id).await.map_err(reading("pgns"))?;
                // Retention may have been there since the page was read.
                let Some(games) = games else { continue };
                self.put(Collection::Pgns, pgn_document(run, &entry, games)).await?;
            }
            self.page_done();
        }
    }
}

fn reading(collection: &'static str) -> impl Fn(StoreError) -> ExportError {
    move |source| ExportError::Store { collection, source }
}

/// An `_id` as reports name it.
fn identity_text(id: &Bson) -> String {
    match id {
        Bson::ObjectId(id) => id.to_hex(),
        other => other.to_string(),
    }
}

/// A run's tasks in order, a page at a time.
struct TaskPages<'a> {
    store: &'a dyn Store,
    run: RunId,
    from: Option<TaskId>,
}

impl<'a> TaskPages<'a> {
    fn new(store: &'a dyn Store, run: RunId) -> Self {
        Self { store, run, from: Some(TaskId(0)) }
    }

    async fn next(&mut self) -> Result<Option<Vec<crate::domain::task::TaskRecord>>, ExportError> {
        let Some(from) = self.from else { return Ok(None) };
        let page = self.store.tasks(self.run, from, PAGE).await.map_err(reading("tasks"))?;
        let last = page.last().map(|task| task.key.task.0);
        self.from = last.and_then(|last| last.checked_add(1)).map(TaskId).filter(|_| page.len() == PAGE);
        Ok((!page.is_empty()).then_some(page))
    }
}

/// An account in fishtest's layout (`spec/storage.md` section 4).
fn user_document(user: User) -> Document {
    let mut out = doc! { "_id": user.id, "username": user.username };
    // Without a password fishtest could not even refuse a login; with a random one it refuses every.
    let unknown = || base64::engine::general_purpose::STANDARD_NO_PAD.encode(random::key());
    out.insert("password", user.plain_password.unwrap_or_else(unknown));
    if let Some(at) = user.registration_time {
        out.insert("registration_time", date(at));
    }
    out.insert("pending", user.pending);
    out.insert("blocked", user.blocked);
    out.insert("email", user.email);
    out.insert("groups", user.groups);
    out.insert("tests_repo", user.tests_repo);
    out.insert("machine_limit", int(u64::from(user.machine_limit)));
    out.extend(user.extra);
    out
}

/// A worker's block state (`spec/storage.md` section 7).
fn worker_document(block: WorkerBlock) -> Document {
    doc! {
        "_id": block.id, "worker_name": block.name.0, "blocked": block.blocked, "message": block.message,
        "last_updated": date(block.last_updated),
    }
}

/// A task's games (`spec/storage.md` section 8).
fn pgn_document(run: RunId, entry: &PgnEntry, games: Vec<u8>) -> Document {
    let size = int(u64::try_from(games.len()).unwrap_or(u64::MAX));
    let games = Binary { subtype: BinarySubtype::Generic, bytes: games };
    doc! {
        "_id": entry.id, "run_id": format!("{run}-{}", entry.task), "pgn_zip": Bson::Binary(games), "size": size,
    }
}

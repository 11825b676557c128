//! The public reads (`spec/read-api.md`). An unfinished run is answered from the schedule, so that a read after an
//! acknowledged update shows it.

use bson::{Bson, Document};

use super::Farm;
use super::documents::run_fields;
use super::error::{ServiceError, ServiceResult};
use crate::domain::action_query::ActionQuery;
use crate::domain::document::{date_or_unknown, date_string};
use crate::domain::fold::Record;
use crate::domain::ids::{Millis, RunId, TaskId, TaskKey};
use crate::domain::run::{FinishReason, Phase};
use crate::domain::stats::counts::Counts;
use crate::domain::stats::elo::EloModel;
use crate::domain::stats::sprt_elo::{SprtEstimate, SprtQuestion};
use crate::domain::task::TaskRecord;
use crate::state::{GenerationView, LoadState, RunView, TaskLookup};
use crate::store::codec::{OWN, as_number, bad_task, public_task, read_stats, set_path};
use crate::store::{FinishedQuery, PgnEntry, StoredRun};
use crate::sys::spawn;

/// Rows of a page of finished runs.
pub const PAGE_SIZE: u64 = 50;

/// Deepest page that is looked up; beyond it the answer is empty.
pub const LAST_PAGE: u64 = 20_000;

/// Most entries of the log that one query returns.
const MOST_ACTIONS: usize = 200;

/// Which element of a run's task lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskRef {
    /// Element of `tasks`.
    Task(u32),
    /// Element of `bad_tasks`.
    Bad(u32),
}

impl Farm {
    /// A run's document with its live numbers, without its tasks.
    pub async fn run_document(&self, id: RunId) -> ServiceResult<Option<Document>> {
        if let Some(view) = self.state.read_run(id).await?
            && let Some(run) = self.runs.at_least(id, view.args_version).await?
        {
            return Ok(Some(live_document(&run.doc, &view, &run)?));
        }
        Ok(self.store.run(id).await?.map(|stored| stored.doc))
    }

    /// All unfinished runs, oldest first, live, without histories.
    pub async fn active_runs(&self) -> ServiceResult<Vec<(RunId, Document)>> {
        let mut runs = Vec::new();
        for view in self.state.read_runs().await? {
            if view.phase == Phase::Finished || is_finished_for_readers(&view) {
                continue;
            }
            if let Some(run) = self.runs.at_least(view.id, view.args_version).await? {
                let doc = live_document(&run.doc, &view, &run)?;
                runs.push((view.id, light(doc)));
            }
        }
        Ok(runs)
    }

    /// A sequential test's document with its model named, and the estimate of its strength from the results in the
    /// document; None for a run of another kind.
    pub async fn with_estimate(&self, mut run: Document) -> ServiceResult<Option<(Document, SprtEstimate)>> {
        let results = run.get_document("results").map(read_stats).unwrap_or_default();
        let paired = run.get_document("results").is_ok_and(|results| results.contains_key("pentanomial"));
        let Ok(sprt) = run.get_document_mut("args").and_then(|args| args.get_document_mut("sprt")) else {
            return Ok(None);
        };
        if !sprt.contains_key("elo_model") {
            sprt.insert("elo_model", "BayesElo");
        }
        let damaged = |what: &str| ServiceError::Bug(format!("args.sprt.{what} can't be understood"));
        let number = |key: &str| as_number(sprt.get(key)).ok_or_else(|| damaged(key));
        let question = SprtQuestion {
            alpha: number("alpha")?,
            beta: number("beta")?,
            p: 0.05,
            elo0: number("elo0")?,
            elo1: number("elo1")?,
            elo_model: sprt
                .get_str("elo_model")
                .ok()
                .and_then(EloModel::parse)
                .ok_or_else(|| damaged("elo_model"))?,
        };
        let counts = if paired { Counts::from(&results) } else { Counts::from_games_only(&results) };
        // Looking for roots takes a while: away from the event loop.
        let estimate = spawn::blocking(move || SprtEstimate::new(&question, &counts)).await;
        let estimate = estimate.map_err(|error| ServiceError::Bug(error.to_string()))?;
        let estimate = estimate.map_err(|error| ServiceError::Bug(error.to_string()))?;
        Ok(Some((run, estimate)))
    }

    /// A page of finished runs.
    pub async fn finished_page(&self, query: &FinishedQuery) -> ServiceResult<Vec<(RunId, Document)>> {
        let runs = self.store.finished_runs(query).await?;
        Ok(runs.into_iter().map(|StoredRun { id, doc, .. }| (id, light(doc))).collect())
    }

    /// A task as the public may see it.
    pub async fn public_task(&self, run: RunId, task: TaskRef) -> ServiceResult<Option<Document>> {
        let doc = match task {
            TaskRef::Task(number) => {
                let key = TaskKey { run, task: TaskId(number) };
                self.current_task(key).await?.map(|record| public_task(&record))
            }
            TaskRef::Bad(position) => {
                let record = self.store.bad_task(run, position).await?;
                record.as_ref().and_then(bad_task)
            }
        };
        Ok(doc.map(mask_task))
    }

    /// The task from the schedule if that holds it, else from the store.
    async fn current_task(&self, key: TaskKey) -> ServiceResult<Option<TaskRecord>> {
        if let TaskLookup::Found { task, .. } = self.state.read_task(key).await? {
            return Ok(Some((*task.record).clone()));
        }
        Ok(self.store.task(key).await?)
    }

    /// Entries of the log, newest first.
    pub async fn find_actions(&self, query: &ActionQuery) -> ServiceResult<Vec<Document>> {
        Ok(self.store.find_actions(query, MOST_ACTIONS).await?)
    }

    /// The games of a task: the newest upload, one gzip member.
    pub async fn task_games(&self, key: TaskKey) -> ServiceResult<Option<Vec<u8>>> {
        Ok(self.store.pgn(key).await?)
    }

    /// All uploads of a run in order of task number, without their bytes.
    pub async fn run_games(&self, run: RunId) -> ServiceResult<Vec<PgnEntry>> {
        Ok(self.store.run_pgns(run).await?)
    }

    /// The bytes of one upload; None if it was removed meanwhile.
    pub async fn upload(&self, entry: &PgnEntry) -> ServiceResult<Option<Vec<u8>>> {
        Ok(self.store.pgn_by_id(entry.id).await?)
    }

    /// Whether the schedule that is there is the one that this process works for.
    pub(super) fn is_mine(&self, there: Option<GenerationView>) -> ServiceResult<()> {
        let mine = GenerationView { generation: self.generation(), state: LoadState::Loaded };
        match there {
            Some(there) if there == mine => Ok(()),
            Some(GenerationView { generation, state: LoadState::Loaded }) => Err(ServiceError::Outdated(
                format!("it is of generation {generation}, not of {}", mine.generation),
            )),
            _ => Err(ServiceError::Outdated("it is not loaded".to_owned())),
        }
    }

    /// Where a network can be downloaded; counts the download if asked to. The count never stands in the way.
    pub async fn net_location(&self, name: &str, count: bool) -> ServiceResult<String> {
        if self.store.net(name).await?.is_none() {
            return Err(ServiceError::NotFound(format!("The network {name} does not exist")));
        }
        if count && let Err(error) = self.store.count_downloads(name, 1).await {
            tracing::warn!(net = name, %error, "a download was not counted");
        }
        let base = self.settings.nn_url.as_deref().unwrap_or_default().trim_end_matches('/');
        Ok(format!("{base}/nn/{name}"))
    }
}

/// The stored document with the schedule's half over it.
fn live_document(
    doc: &Document,
    view: &RunView,
    run: &super::run_cache::CachedRun,
) -> ServiceResult<Document> {
    let mut doc = doc.clone();
    for (path, value) in run_fields(view, run, &Record::parse(&view.record)?) {
        set_path(&mut doc, &path, value);
    }
    // The store keeps a purge among the unfinished, so that a restart takes it up; to readers the run is as finished as
    // before.
    if is_finished_for_readers(view) {
        doc.insert("finished", true);
    }
    Ok(doc)
}

/// Whether a person purges a run that had been finished before.
fn is_finished_for_readers(view: &RunView) -> bool {
    let purged = view.operation.as_ref().is_some_and(|operation| operation.reason == FinishReason::Purge);
    purged && view.phase != Phase::Running
}

/// The projection of run lists: no tasks, no tuning history; identity and dates as text.
fn light(mut doc: Document) -> Document {
    doc.remove("tasks");
    doc.remove("bad_tasks");
    if let Ok(args) = doc.get_document_mut("args")
        && let Ok(spsa) = args.get_document_mut("spsa")
    {
        spsa.remove("param_history");
    }
    texts(doc)
}

/// The form of a single run: empty lists in the place of tasks and history; identity and dates as text.
pub fn stripped(mut doc: Document) -> Document {
    doc.insert("tasks", Bson::Array(Vec::new()));
    doc.insert("bad_tasks", Bson::Array(Vec::new()));
    if let Ok(args) = doc.get_document_mut("args")
        && let Ok(spsa) = args.get_document_mut("spsa")
        && spsa.contains_key("param_history")
    {
        spsa.insert("param_history", Bson::Array(Vec::new()));
    }
    texts(doc)
}

fn texts(mut doc: Document) -> Document {
    doc.remove(OWN);
    if let Ok(id) = doc.get_object_id("_id") {
        doc.insert("_id", id.to_hex());
    }
    for key in ["start_time", "last_updated"] {
        let text = date_or_unknown(&doc, key);
        doc.insert(key, text);
    }
    doc
}

/// Hides what identifies a machine, and turns what JSON can't hold into text.
fn mask_task(mut doc: Document) -> Document {
    if let Ok(info) = doc.get_document_mut("worker_info") {
        if let Ok(key) = info.get_str("unique_key") {
            let masked: String = key.chars().take(8).chain("...".chars()).collect();
            info.insert("unique_key", masked);
        }
        if info.contains_key("remote_addr") {
            info.insert("remote_addr", "?.?.?.?");
        }
    }
    if let Some(Bson::DateTime(at)) = doc.get("last_updated") {
        let text = date_string(Millis(at.timestamp_millis()));
        doc.insert("last_updated", text);
    }
    doc
}

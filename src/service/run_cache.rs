//! Runs as services need them: what follows from their arguments, worked out once per version.

use std::collections::HashMap;
use std::sync::Arc;

use bson::Document;
use parking_lot::RwLock;

use super::error::ServiceResult;
use crate::domain::action::RunLabel;
use crate::domain::capacity::worker_cap;
use crate::domain::eligibility::RunArgsFacts;
use crate::domain::fold::Record;
use crate::domain::ids::{Millis, RunId};
use crate::domain::run::RunKind;
use crate::domain::time_control::{estimate_game_duration, tc_ratio};
use crate::store::codec::{as_count, as_date, as_number};
use crate::store::{SharedStore, StoredRun};

/// A run's immutable side.
#[derive(Debug, Clone)]
pub struct CachedRun {
    /// The run.
    pub id: RunId,
    /// Version of the arguments all of this is from.
    pub args_version: u64,
    /// The document as stored; its state-owned fields may be behind.
    pub doc: Arc<Document>,
    /// Whether an approver let it run.
    pub approved: bool,
    /// Submitter.
    pub owner: String,
    /// As the log names it.
    pub label: RunLabel,
    /// For judging workers.
    pub facts: Arc<RunArgsFacts>,
    /// How it decides.
    pub kind: RunKind,
    /// Games wanted.
    pub num_games: u64,
    /// Priority.
    pub priority: i64,
    /// Percentage asked for.
    pub throughput: f64,
    /// Estimated seconds of a game.
    pub game_seconds: f64,
    /// Ratio of the time control.
    pub tc_ratio: f64,
    /// Whether bad workers are purged at the end.
    pub auto_purge: bool,
    /// Submission.
    pub start_time: Option<Millis>,
    /// Document version.
    pub version: u64,
    /// Whether the results count pairs.
    pub has_pentanomial: bool,
}

impl CachedRun {
    /// Works out what follows from a stored run. Missing fields of old documents take the defaults of
    /// `spec/storage.md` section 3.12.
    pub fn new(stored: &StoredRun) -> Self {
        let empty = Document::new();
        let doc = &stored.doc;
        let args = doc.get_document("args").unwrap_or(&empty);
        let text = |key: &str| args.get_str(key).unwrap_or_default();
        let threads = as_count(args.get("threads")).and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1);
        let tc = text("tc");
        let kind = kind_of(args);
        let spsa_parameters = match kind {
            RunKind::Spsa { params } => Some(params as usize),
            RunKind::Games | RunKind::Sprt { .. } => None,
        };
        let facts = RunArgsFacts::new(
            stored.id,
            threads,
            text("new_options"),
            text("base_options"),
            spsa_parameters,
            args.get_str("arch_filter").ok(),
            args.get_str("compiler").ok(),
        );
        Self {
            id: stored.id,
            args_version: stored.meta.args_version,
            approved: doc.get_bool("approved").unwrap_or(false),
            owner: args.get_str("username").unwrap_or("Unknown user").to_owned(),
            label: RunLabel::new(stored.id, text("new_tag")),
            facts: Arc::new(facts),
            kind,
            num_games: as_count(args.get("num_games")).unwrap_or(0),
            priority: as_number(args.get("priority")).unwrap_or(0.0) as i64,
            throughput: as_number(args.get("throughput")).unwrap_or(1000.0),
            // A run whose time control can't be read gets tasks of the smallest size rather than none.
            game_seconds: estimate_game_duration(tc).unwrap_or(1800.0),
            tc_ratio: tc_ratio(tc, Some(f64::from(threads))).unwrap_or(1.0),
            auto_purge: args.get_bool("auto_purge").unwrap_or(false),
            start_time: as_date(doc.get("start_time")),
            version: as_count(doc.get("version")).unwrap_or(0),
            has_pentanomial: doc
                .get_document("results")
                .is_ok_and(|results| results.contains_key("pentanomial")),
            doc: Arc::new(stored.doc.clone()),
        }
    }

    /// Largest task for a machine.
    pub fn task_cap(&self, concurrency: u32) -> u64 {
        let batch_size = match self.kind {
            RunKind::Sprt { batch_size } => Some(batch_size),
            RunKind::Games | RunKind::Spsa { .. } => None,
        };
        worker_cap(self.game_seconds, concurrency, self.facts.threads, batch_size)
    }

    /// The arguments as stored.
    pub fn args(&self) -> Option<&Document> {
        self.doc.get_document("args").ok()
    }

    /// The record as stored, for a run that isn't in the schedule.
    pub fn stored_record(&self, folded: [i64; 8]) -> ServiceResult<Record> {
        let empty = Document::new();
        Ok(Record::from_args(self.args().unwrap_or(&empty), folded)?)
    }
}

/// How a run with these arguments decides.
pub fn kind_of(args: &Document) -> RunKind {
    if let Ok(sprt) = args.get_document("sprt") {
        return RunKind::Sprt { batch_size: as_count(sprt.get("batch_size")).unwrap_or(1).max(1) };
    }
    if let Ok(spsa) = args.get_document("spsa") {
        let params = spsa.get_array("params").map_or(0, Vec::len);
        return RunKind::Spsa { params: u32::try_from(params).unwrap_or(u32::MAX) };
    }
    RunKind::Games
}

/// Runs in the schedule, by id. A run that is finished is dropped, so that memory grows with active work only.
pub struct RunCache {
    store: SharedStore,
    runs: RwLock<HashMap<RunId, Arc<CachedRun>>>,
}

impl RunCache {
    /// An empty cache.
    pub fn new(store: SharedStore) -> Self {
        Self { store, runs: RwLock::new(HashMap::new()) }
    }

    /// The run with arguments of at least this version, from memory or from the store.
    pub async fn at_least(&self, id: RunId, args_version: u64) -> ServiceResult<Option<Arc<CachedRun>>> {
        if let Some(run) = self.peek(id)
            && run.args_version >= args_version
        {
            return Ok(Some(run));
        }
        let Some(stored) = self.store.run(id).await? else { return Ok(None) };
        let run = Arc::new(CachedRun::new(&stored));
        let mut runs = self.runs.write();
        // Whoever read later may have been faster.
        if runs.get(&id).is_none_or(|there| there.args_version <= run.args_version) {
            runs.insert(id, run.clone());
        }
        Ok(Some(run))
    }

    /// The run if it is in memory.
    pub fn peek(&self, id: RunId) -> Option<Arc<CachedRun>> {
        self.runs.read().get(&id).cloned()
    }

    /// Takes over a run that was just read or written.
    pub fn put(&self, stored: &StoredRun) -> Arc<CachedRun> {
        let run = Arc::new(CachedRun::new(stored));
        self.runs.write().insert(stored.id, run.clone());
        run
    }

    /// Forgets all runs: what happened to them may have been missed.
    pub fn forget_all(&self) {
        self.runs.write().clear();
    }

    /// Forgets a run: it changed elsewhere, or is finished.
    pub fn forget(&self, id: RunId) {
        self.runs.write().remove(&id);
    }
}

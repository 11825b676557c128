//! The rebuild: from documents to a schedule (`durability.md` section 9). Starting the single binary is one.

use std::collections::HashMap;
use std::sync::Arc;

use bson::{Bson, Document};

use super::Farm;
use super::documents::closing_ids;
use super::error::{ServiceError, ServiceResult};
use super::finish::Stop;
use super::run_cache::{CachedRun, kind_of};
use crate::domain::action::{CloseCause, CloseKind};
use crate::domain::fold::{Record, growth_of};
use crate::domain::ids::{Generation, Millis, RunId, ShortWorkerName, TaskId, TaskKey, Version};
use crate::domain::names::LegacyUsernames;
use crate::domain::results::Stats;
use crate::domain::run::{Counters, Phase, RunKind};
use crate::domain::task::{Contribution, TailEntry, TaskRecord};
use crate::state::{ArgsFields, LoadState, RunLoad, SeenView};
use crate::store::codec::{as_count, as_date, as_number, read_stats};
use crate::store::{DocumentWrite, NO_VERSION, StoredRun, TaskWrite};
use crate::sys::clock::stopwatch;
use crate::sys::patience::{Patience, Wait};
use crate::sys::random;
use crate::telemetry::catalogue;

/// Void tasks that are stored with one call.
const VOIDS_AT_ONCE: usize = 100;

impl Farm {
    /// Raises the generation, seals out older writers, and loads the schedule. Afterwards the farm is ready, and sagas
    /// that were interrupted go on in the background.
    pub async fn rebuild(&self) -> ServiceResult<Generation> {
        let began = stopwatch();
        let rebuilt = self.carry_out_rebuild().await;
        catalogue::REBUILDS.increment([match &rebuilt {
            Ok(_) => "done",
            Err(ServiceError::Outdated(_) | ServiceError::Superseded(_)) => "overtaken",
            Err(_) => "failed",
        }]);
        if rebuilt.is_ok() {
            catalogue::REBUILD_SECONDS.record([], began.elapsed().as_secs_f64());
        }
        rebuilt
    }

    async fn carry_out_rebuild(&self) -> ServiceResult<Generation> {
        self.set_ready(false);
        let fence = self.store.fence().await?;
        let Some(generation) = self.store.raise_fence(fence).await? else {
            return Err(overtaken());
        };
        if !self.state.set_generation(generation, LoadState::Loading).await? {
            if self.store.fence().await? > generation {
                return Err(overtaken());
            }
            return Err(ServiceError::Unavailable(
                "the schedule is of a newer generation than the store: an old backup?".to_owned(),
            ));
        }
        self.membership.work_for(generation);
        let sealed = self.store.seal(generation).await?;
        let vantage = self.store.vantage().await?;
        self.load_own_tables().await?;
        self.load_shared_tables().await?;
        let runs = self.store.unfinished_runs().await?;
        let mut loads = Vec::with_capacity(runs.len());
        for stored in &runs {
            self.runs.put(stored);
            loads.push(self.load_of(stored, stored.meta.phase).await?);
        }
        self.close_twins(&mut loads).await?;
        if self.store.vantage().await? != vantage {
            return Err(ServiceError::Unavailable(
                "the database has another primary since the reading began: what was read may lack something"
                    .to_owned(),
            ));
        }
        for load in loads {
            self.state.load_run(generation, load).await?;
        }
        // Before anybody can ask for a task.
        self.keep_pause().await?;
        if !self.state.set_generation(generation, LoadState::Loaded).await? {
            return Err(overtaken());
        }
        self.set_ready(true);
        tracing::info!(%generation, runs = runs.len(), sealed, "the schedule is loaded");
        self.resume(&runs).await;
        Ok(generation)
    }

    /// The same for a server that starts: one that finds its store slow, or away for a moment, asks again after a pause,
    /// for so long. What a rebuild has done already may be done twice.
    ///
    /// # Errors
    /// The last one when patience has ended; at once what time doesn't mend.
    pub async fn rebuild_patiently(&self, patience: Patience) -> ServiceResult<Generation> {
        let passes = |error: &ServiceError| {
            matches!(
                error,
                ServiceError::Unavailable(_) | ServiceError::NotDurable(_) | ServiceError::Outdated(_)
            )
        };
        let waits_for =
            |error: &ServiceError| passes(error).then(|| Wait::to_start("the schedule is not loaded yet"));
        patience.ask(waits_for, async || self.rebuild().await).await
    }

    /// Puts a stored run into the schedule as running (created, revived).
    pub async fn load_stored(&self, run: RunId) -> ServiceResult<bool> {
        let stored = self.store.run(run).await?;
        let stored = stored.ok_or_else(|| ServiceError::NotFound("No run with this id".to_owned()))?;
        if stored.doc.get_bool("finished").unwrap_or(false) {
            // It has ended once more since.
            return Ok(false);
        }
        self.runs.put(&stored);
        self.load_into(&stored, Phase::Running).await
    }

    /// Puts a stored run into the schedule in a given phase; false if it is there already.
    pub(super) async fn load_into(&self, stored: &StoredRun, phase: Phase) -> ServiceResult<bool> {
        let load = self.load_of(stored, phase).await?;
        Ok(self.state.load_run(self.generation(), load).await?)
    }

    /// What each process keeps for itself: legacy usernames and books.
    pub(super) async fn load_own_tables(&self) -> ServiceResult<()> {
        if let Some(Bson::Array(names)) = self.store.kv("legacy_usernames").await? {
            let names = names.into_iter().filter_map(|name| name.as_str().map(str::to_owned));
            *self.legacy.write() = Arc::new(LegacyUsernames::from_iter(names));
        }
        if let Some(Bson::Document(books)) = self.store.kv("books").await? {
            *self.books.write() = Arc::new(books);
        }
        Ok(())
    }

    /// What the schedule keeps beside its runs: blocks, and what workers have seen.
    async fn load_shared_tables(&self) -> ServiceResult<()> {
        for block in self.store.blocked_workers().await? {
            self.state.block_worker(&block.name, Some(block.message)).await?;
        }
        if let Some(Bson::Document(seen)) = self.store.kv("worker_runs").await? {
            self.state.load_seen(read_seen(&seen)).await?;
        }
        Ok(())
    }

    /// What the schedule needs of a run: maxima for numbers and openings, sums for counters, tails beyond the record.
    async fn load_of(&self, stored: &StoredRun, phase: Phase) -> ServiceResult<RunLoad> {
        let empty = Document::new();
        let args = stored.doc.get_document("args").unwrap_or(&empty);
        let run = CachedRun::new(stored);
        let kind = kind_of(args);
        let now = self.now();
        let mut scan = Scan::new(stored.id, stored.meta.position, kind, now);
        self.each_task(stored.id, |task| scan.add(task)).await?;
        if !scan.voids.is_empty() {
            tracing::warn!(run = %stored.id, holes = scan.voids.len(), "filling holes in the numbering with void tasks");
            // Each call has a deadline, and many may be missing after a death under load.
            for slice in scan.voids.chunks(VOIDS_AT_ONCE) {
                self.store.insert_tasks(slice).await?;
            }
        }
        self.report_differences(stored, &scan.counters);
        let mut record = Record::from_args(args, stored.meta.folded)?;
        scan.tail.sort_by_key(|entry| entry.seq);
        scan.tail.dedup_by_key(|entry| entry.seq);
        if stored.meta.version == NO_VERSION
            && let Record::Sprt { folded, .. } = &mut record
        {
            // Nobody has written a record here (the seal leaves versions alone): it holds what the tasks hold, without
            // what is still to be folded.
            *folded = folded_before(&scan.counters.results, &scan.tail);
        }
        let sequence = scan.tail.last().map_or(stored.meta.position, |entry| entry.seq);
        let gauge = |key: &str| as_number(stored.doc.get(key)).unwrap_or(0.0);
        Ok(RunLoad {
            id: stored.id,
            args: ArgsFields { version: run.args_version, num_games: run.num_games, priority: run.priority },
            kind,
            start_time: run.start_time.unwrap_or_default(),
            last_updated: as_date(stored.doc.get("last_updated")).unwrap_or_default(),
            phase,
            operation: stored.meta.operation.clone(),
            // Within a new generation versions start anew.
            version: if stored.meta.generation == self.generation() {
                stored.meta.version
            } else {
                Version(0)
            },
            counters: scan.counters,
            itp: as_number(args.get("itp")).unwrap_or(100.0),
            nps: gauge("nps"),
            games_per_minute: gauge("games_per_minute"),
            next_task: scan.next_task,
            next_start: scan.next_start,
            record: Arc::from(record.to_text()?),
            position: stored.meta.position,
            pending: scan.tail,
            sequence,
            tasks: scan.active,
        })
    }

    fn report_differences(&self, stored: &StoredRun, counters: &Counters) {
        let results = stored.doc.get_document("results").map(read_stats).unwrap_or_default();
        if results != counters.results {
            tracing::warn!(run = %stored.id, stored = ?results, tasks = ?counters.results, "the stored results are behind the tasks");
        }
        for (what, computed) in [
            ("workers", u64::from(counters.workers)),
            ("cores", counters.cores),
            ("committed_games", counters.committed_games),
            ("total_games", counters.total_games),
        ] {
            let stored_count = as_count(stored.doc.get(what)).unwrap_or(0);
            if stored_count != computed {
                tracing::warn!(run = %stored.id, what, stored = stored_count, tasks = computed, "a stored counter is behind the tasks");
            }
        }
    }

    /// Of two active tasks of one worker name the later stays; the others are closed with a log entry.
    async fn close_twins(&self, loads: &mut [RunLoad]) -> ServiceResult<()> {
        let mut latest: HashMap<ShortWorkerName, (Millis, TaskKey)> = HashMap::new();
        for task in loads.iter().flat_map(|load| &load.tasks).filter(|task| task.active) {
            let Some(worker) = &task.worker else { continue };
            let mine = (task.last_updated, task.key);
            let entry = latest.entry(worker.short_name.clone()).or_insert(mine);
            *entry = (*entry).max(mine);
        }
        let mut writes = Vec::new();
        for load in loads {
            for task in &mut load.tasks {
                let twin = task.worker.as_ref().is_some_and(|worker| {
                    latest.get(&worker.short_name).is_some_and(|(_, key)| *key != task.key)
                });
                if !task.active || !twin {
                    continue;
                }
                tracing::warn!(run = %task.key.run, task = %task.key.task, "closing the older of two tasks of one worker");
                let cores = task.worker.as_ref().map_or(0, |worker| u64::from(worker.concurrency));
                load.counters.workers = load.counters.workers.saturating_sub(1);
                load.counters.cores = load.counters.cores.saturating_sub(cores);
                load.counters.committed_games =
                    (load.counters.committed_games + task.stats.games()).saturating_sub(task.num_games);
                let time = self.now();
                let cause =
                    CloseCause { kind: CloseKind::Stale, message: String::new(), time, ids: closing_ids() };
                task.active = false;
                task.last_updated = time;
                task.spsa_round = None;
                task.cause = Some(cause);
                task.version = task.version.next();
                task.write_id = random::write_id();
                let label = self.run_label(task.key.run).await?;
                let actions = super::documents::task_actions(task, &label);
                writes.push(DocumentWrite::Task(TaskWrite { record: Arc::new(task.clone()), actions }));
            }
            load.tasks.retain(|task| task.active);
        }
        self.store.commit(self.generation(), &writes).await?;
        Ok(())
    }

    /// Takes up interrupted sagas, and finishes what is decided.
    async fn resume(&self, runs: &[StoredRun]) {
        for stored in runs {
            // Whatever goes wrong here is taken up again by the leader.
            if let Err(error) = self.resume_run(stored).await {
                tracing::error!(run = %stored.id, %error, "what was interrupted could not be taken up");
            }
        }
    }

    async fn resume_run(&self, stored: &StoredRun) -> ServiceResult<()> {
        let run = stored.id;
        if let (Phase::Finishing | Phase::Purging, Some(operation)) =
            (stored.meta.phase, &stored.meta.operation)
        {
            let Some(turn) = self.sagas.begin(run) else { return Ok(()) };
            tracing::info!(%run, "taking up an interrupted finish");
            self.start_saga(turn, run, operation.clone())?;
        } else if self.fold_now(run).await? {
            self.finish(run, Stop::decided()).await?;
        }
        Ok(())
    }
}

fn overtaken() -> ServiceError {
    ServiceError::Outdated("another process loads the schedule".to_owned())
}

/// One pass over a run's tasks.
struct Scan {
    run: RunId,
    position: u64,
    unit: u64,
    now: Millis,
    counters: Counters,
    next_task: TaskId,
    next_start: u64,
    active: Vec<TaskRecord>,
    voids: Vec<TaskRecord>,
    tail: Vec<TailEntry>,
}

impl Scan {
    fn new(run: RunId, position: u64, kind: RunKind, now: Millis) -> Self {
        Self {
            run,
            position,
            unit: kind.batch_games(),
            now,
            counters: Counters::default(),
            next_task: TaskId(0),
            next_start: 0,
            active: Vec::new(),
            voids: Vec::new(),
            tail: Vec::new(),
        }
    }

    fn add(&mut self, task: TaskRecord) {
        self.fill_hole(task.key.task, task.start);
        let counters = &mut self.counters;
        match counters.results.plus(&task.stats) {
            Some(results) => counters.results = results,
            None => tracing::error!(task = %task.key, "the results leave the range of a count"),
        }
        counters.committed_games = counters.committed_games.saturating_add(task.committed());
        counters.total_games = counters.total_games.saturating_add(task.num_games);
        if task.active {
            counters.workers += 1;
            counters.cores += task.worker.as_ref().map_or(0, |worker| u64::from(worker.concurrency));
        }
        let beyond = task.tail.iter().filter(|entry| entry.seq > self.position);
        self.tail.extend(beyond.cloned());
        self.next_task = TaskId(task.key.task.0.saturating_add(1));
        self.next_start = self.next_start.max(task.start.saturating_add(task.num_games));
        if task.active {
            self.active.push(task);
        }
    }

    /// Void tasks for the numbers before `task`, which share the openings before `start`.
    fn fill_hole(&mut self, task: TaskId, start: u64) {
        let missing = task.0.saturating_sub(self.next_task.0);
        for left in (1..=missing).rev() {
            let key = TaskKey { run: self.run, task: self.next_task };
            let gap = start.saturating_sub(self.next_start);
            let size = if left == 1 { gap } else { self.unit.min(gap) };
            let void = TaskRecord::void(key, self.next_start, size, self.now);
            self.next_task = TaskId(self.next_task.0 + 1);
            self.next_start += size;
            self.counters.total_games += size;
            self.voids.push(void);
        }
    }
}

/// Counts that a record has seen if `tail` is what it hasn't.
fn folded_before(results: &Stats, tail: &[TailEntry]) -> [i64; 8] {
    let mut folded = growth_of(results);
    for entry in tail {
        if let Contribution::Sprt(growth) = &entry.what {
            for (count, step) in folded.iter_mut().zip(growth) {
                *count = count.wrapping_sub(*step);
            }
        }
    }
    folded
}

fn read_seen(seen: &Document) -> Vec<SeenView> {
    let mut views = Vec::new();
    for (worker, runs) in seen {
        let Bson::Document(runs) = runs else { continue };
        let last_run = runs.get_str("last_run").ok().and_then(RunId::parse);
        let Some(last_run) = last_run else { continue };
        let runs = runs.keys().filter_map(|key| RunId::parse(key)).collect();
        views.push(SeenView { worker: ShortWorkerName(worker.clone()), runs, last_run });
    }
    views
}

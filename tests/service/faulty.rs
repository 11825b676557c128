//! A store that can be told to fail, and that remembers which contributions it was given.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::{Bson, Document};
use parking_lot::Mutex;
use shoal::domain::action_query::ActionQuery;
use shoal::domain::ids::{Generation, RunId, ShortWorkerName, TaskId, TaskKey};
use shoal::domain::task::{TailEntry, TaskRecord};
use shoal::store::*;

/// What goes wrong.
pub struct Faults {
    /// So many more commits succeed.
    pub commits_left: AtomicI64,
    /// A failing commit is carried out all the same; only its answer is lost.
    pub answers_lost: AtomicBool,
    /// A commit doesn't come back.
    pub stalls: AtomicBool,
    /// Asked whether it is there, it says nothing.
    pub deaf: AtomicBool,
    /// Looking up an account, or listing finished runs, panics: a bug as there should be none.
    pub panics: AtomicBool,
    /// So many times the fence is raised without an answer.
    pub fences_unsure: AtomicI64,
    /// Batches with this task fail.
    pub refused: Mutex<Option<TaskKey>>,
    /// The store doesn't take this task; what else is in the batch, it does.
    pub unfit: Mutex<Option<TaskKey>>,
    /// Every contribution that was ever written, by its place in its run's order.
    pub entries: Mutex<BTreeMap<(RunId, u64), TailEntry>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            commits_left: AtomicI64::new(i64::MAX),
            answers_lost: AtomicBool::new(false),
            stalls: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            panics: AtomicBool::new(false),
            fences_unsure: AtomicI64::new(0),
            refused: Mutex::new(None),
            unfit: Mutex::new(None),
            entries: Mutex::new(BTreeMap::new()),
        }
    }
}

impl Faults {
    pub fn fail_after(&self, commits: i64) {
        self.commits_left.store(commits, Ordering::SeqCst);
    }

    pub fn heal(&self) {
        self.fail_after(i64::MAX);
        self.answers_lost.store(false, Ordering::SeqCst);
        self.stalls.store(false, Ordering::SeqCst);
        self.deaf.store(false, Ordering::SeqCst);
        self.panics.store(false, Ordering::SeqCst);
        *self.refused.lock() = None;
        *self.unfit.lock() = None;
    }

    /// A run's contributions in order.
    pub fn entries_of(&self, run: RunId) -> Vec<TailEntry> {
        let entries = self.entries.lock();
        entries.iter().filter(|((of, _), _)| *of == run).map(|(_, entry)| entry.clone()).collect()
    }
}

pub struct FaultyStore {
    pub inner: SharedStore,
    pub faults: Arc<Faults>,
}

impl FaultyStore {
    fn remember(&self, batch: &[DocumentWrite], outcomes: &[WriteOutcome]) {
        for (write, outcome) in batch.iter().zip(outcomes) {
            let (DocumentWrite::Task(task), WriteOutcome::Applied) = (write, outcome) else { continue };
            let mut entries = self.faults.entries.lock();
            for entry in &task.record.tail {
                let known = entries.insert((task.record.key.run, entry.seq), entry.clone());
                assert!(known.is_none_or(|known| known == *entry), "a place in the order was given twice");
            }
        }
    }
}

fn is_of(write: &DocumentWrite, task: Option<TaskKey>) -> bool {
    matches!(write, DocumentWrite::Task(write) if Some(write.record.key) == task)
}

#[async_trait]
impl CommitStore for FaultyStore {
    async fn fence(&self) -> StoreResult<Generation> {
        if self.faults.deaf.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("away".to_owned()));
        }
        self.inner.fence().await
    }
    async fn raise_fence(&self, from: Generation) -> StoreResult<Option<Generation>> {
        let answer = self.inner.raise_fence(from).await;
        let unsure = &self.faults.fences_unsure;
        if unsure
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| (left > 0).then(|| left - 1))
            .is_ok()
        {
            return Err(StoreError::Unknown("the answer was lost".to_owned()));
        }
        answer
    }
    async fn seal(&self, generation: Generation) -> StoreResult<u64> {
        self.inner.seal(generation).await
    }
    async fn vantage(&self) -> StoreResult<String> {
        self.inner.vantage().await
    }
    async fn commit(
        &self,
        generation: Generation,
        batch: &[DocumentWrite],
    ) -> StoreResult<Vec<WriteOutcome>> {
        if self.faults.stalls.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let refused = *self.faults.refused.lock();
        if batch.iter().any(|write| is_of(write, refused)) {
            return Err(StoreError::Unavailable("refused".to_owned()));
        }
        let unfit = *self.faults.unfit.lock();
        if batch.iter().any(|write| is_of(write, unfit)) {
            let mut outcomes = Vec::new();
            for write in batch {
                outcomes.push(if is_of(write, unfit) {
                    WriteOutcome::Refused
                } else {
                    self.inner.commit(generation, std::slice::from_ref(write)).await?[0]
                });
            }
            return Ok(outcomes);
        }
        let answered = self.faults.commits_left.fetch_sub(1, Ordering::SeqCst) > 0;
        if answered || self.faults.answers_lost.load(Ordering::SeqCst) {
            let outcomes = self.inner.commit(generation, batch).await?;
            self.remember(batch, &outcomes);
            return if answered { Ok(outcomes) } else { Err(StoreError::Unknown("lost".to_owned())) };
        }
        Err(StoreError::Unavailable("away".to_owned()))
    }
}

#[async_trait]
impl RunStore for FaultyStore {
    async fn insert_run(&self, run: &StoredRun, actions: &[Document]) -> StoreResult<()> {
        self.inner.insert_run(run, actions).await
    }
    async fn run(&self, id: RunId) -> StoreResult<Option<StoredRun>> {
        self.inner.run(id).await
    }
    async fn unfinished_runs(&self) -> StoreResult<Vec<StoredRun>> {
        self.inner.unfinished_runs().await
    }
    async fn unfinished_versions(&self) -> StoreResult<Vec<(RunId, u64)>> {
        self.inner.unfinished_versions().await
    }
    async fn finished_runs(&self, query: &FinishedQuery) -> StoreResult<Vec<StoredRun>> {
        assert!(!self.faults.panics.load(Ordering::SeqCst), "a bug in a listing");
        self.inner.finished_runs(query).await
    }
    async fn patch_run(&self, id: RunId, expected: u64, patch: &RunPatch) -> StoreResult<PatchOutcome> {
        self.inner.patch_run(id, expected, patch).await
    }
    async fn task(&self, key: TaskKey) -> StoreResult<Option<TaskRecord>> {
        self.inner.task(key).await
    }
    async fn tasks(&self, run: RunId, from: TaskId, limit: usize) -> StoreResult<Vec<TaskRecord>> {
        self.inner.tasks(run, from, limit).await
    }
    async fn bad_task(&self, run: RunId, position: u32) -> StoreResult<Option<TaskRecord>> {
        self.inner.bad_task(run, position).await
    }
    async fn next_task(&self, run: RunId) -> StoreResult<TaskId> {
        self.inner.next_task(run).await
    }
    async fn insert_tasks(&self, tasks: &[TaskRecord]) -> StoreResult<()> {
        self.inner.insert_tasks(tasks).await
    }
}

#[async_trait]
impl UserStore for FaultyStore {
    async fn user(&self, username: &str) -> StoreResult<Option<User>> {
        assert!(!self.faults.panics.load(Ordering::SeqCst), "a bug in a look-up");
        self.inner.user(username).await
    }
    async fn users(&self) -> StoreResult<Vec<User>> {
        self.inner.users().await
    }
    async fn insert_user(&self, user: &User) -> StoreResult<()> {
        self.inner.insert_user(user).await
    }
    async fn update_user(&self, user: &User) -> StoreResult<bool> {
        self.inner.update_user(user).await
    }
    async fn secret(&self, username: &str) -> StoreResult<Option<String>> {
        self.inner.secret(username).await
    }
    async fn set_secret(&self, username: &str, phc: &str) -> StoreResult<()> {
        self.inner.set_secret(username, phc).await
    }
    async fn cpu_hours(&self, username: &str) -> StoreResult<Option<f64>> {
        self.inner.cpu_hours(username).await
    }
    async fn put_user_cache(&self, entry: &Document) -> StoreResult<()> {
        self.inner.put_user_cache(entry).await
    }
}

#[async_trait]
impl ActionStore for FaultyStore {
    async fn insert_actions(&self, actions: &[Document]) -> StoreResult<()> {
        self.inner.insert_actions(actions).await
    }
    async fn known_actions(&self, ids: &[ObjectId]) -> StoreResult<HashSet<ObjectId>> {
        self.inner.known_actions(ids).await
    }
    async fn find_actions(&self, query: &ActionQuery, limit: usize) -> StoreResult<Vec<Document>> {
        self.inner.find_actions(query, limit).await
    }
}

#[async_trait]
impl WorkerStore for FaultyStore {
    async fn worker(&self, name: &ShortWorkerName) -> StoreResult<Option<WorkerBlock>> {
        self.inner.worker(name).await
    }
    async fn blocked_workers(&self) -> StoreResult<Vec<WorkerBlock>> {
        self.inner.blocked_workers().await
    }
    async fn put_worker(&self, block: &WorkerBlock, actions: &[Document]) -> StoreResult<()> {
        self.inner.put_worker(block, actions).await
    }
    async fn change_worker(
        &self,
        block: &WorkerBlock,
        expected: Option<&WorkerBlock>,
        actions: &[Document],
    ) -> StoreResult<bool> {
        self.inner.change_worker(block, expected, actions).await
    }
}

#[async_trait]
impl PgnStore for FaultyStore {
    async fn insert_pgn(&self, key: TaskKey, id: ObjectId, gzip: &[u8]) -> StoreResult<()> {
        self.inner.insert_pgn(key, id, gzip).await
    }
    async fn pgn(&self, key: TaskKey) -> StoreResult<Option<Vec<u8>>> {
        self.inner.pgn(key).await
    }
    async fn run_pgns(&self, run: RunId) -> StoreResult<Vec<PgnEntry>> {
        self.inner.run_pgns(run).await
    }
    async fn pgn_by_id(&self, id: ObjectId) -> StoreResult<Option<Vec<u8>>> {
        self.inner.pgn_by_id(id).await
    }
    async fn next_run_with_pgns(&self, after: Option<RunId>) -> StoreResult<Option<RunId>> {
        self.inner.next_run_with_pgns(after).await
    }
    async fn delete_pgns(&self, run: RunId, limit: usize) -> StoreResult<u64> {
        self.inner.delete_pgns(run, limit).await
    }
}

#[async_trait]
impl MiscStore for FaultyStore {
    async fn net(&self, name: &str) -> StoreResult<Option<Document>> {
        self.inner.net(name).await
    }
    async fn put_net(&self, net: &Document) -> StoreResult<()> {
        self.inner.put_net(net).await
    }
    async fn count_downloads(&self, name: &str, by: u64) -> StoreResult<()> {
        self.inner.count_downloads(name, by).await
    }
    async fn kv(&self, key: &str) -> StoreResult<Option<Bson>> {
        self.inner.kv(key).await
    }
    async fn put_kv(&self, key: &str, value: &Bson) -> StoreResult<()> {
        self.inner.put_kv(key, value).await
    }
    async fn ping(&self) -> StoreResult<()> {
        if self.faults.deaf.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("away".to_owned()));
        }
        self.inner.ping().await
    }
}

#[async_trait]
impl ScanStore for FaultyStore {
    async fn scan_runs(&self, after: Option<RunId>, limit: usize) -> StoreResult<Vec<StoredRun>> {
        self.inner.scan_runs(after, limit).await
    }
    async fn scan_actions(&self, after: Option<ObjectId>, limit: usize) -> StoreResult<Vec<Document>> {
        self.inner.scan_actions(after, limit).await
    }
    async fn scan_workers(
        &self,
        after: Option<&ShortWorkerName>,
        limit: usize,
    ) -> StoreResult<Vec<WorkerBlock>> {
        self.inner.scan_workers(after, limit).await
    }
    async fn scan_nets(&self, after: Option<&str>, limit: usize) -> StoreResult<Vec<Document>> {
        self.inner.scan_nets(after, limit).await
    }
    async fn scan_kv(&self, after: Option<&str>, limit: usize) -> StoreResult<Vec<(String, Bson)>> {
        self.inner.scan_kv(after, limit).await
    }
    async fn scan_user_cache(&self, after: Option<&str>, limit: usize) -> StoreResult<Vec<Document>> {
        self.inner.scan_user_cache(after, limit).await
    }
    async fn scan_pgns(&self, after: Option<ObjectId>, limit: usize) -> StoreResult<Vec<(RunId, PgnEntry)>> {
        self.inner.scan_pgns(after, limit).await
    }
}

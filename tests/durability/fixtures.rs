//! Things to store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bson::oid::ObjectId;
use bson::{Document, doc};
use shoal::domain::ids::{Generation, Millis, RunId, ShortWorkerName, TaskId, TaskKey, Version};
use shoal::domain::results::Stats;
use shoal::domain::run::Phase;
use shoal::domain::task::{TaskRecord, TaskWorker};
use shoal::store::sqlite::{DATABASE_FILE, Mode, SqliteStore};
use shoal::store::{DocumentWrite, RunMeta, RunWrite, SharedStore, StoredRun, TaskWrite};
use shoal::sys::random;
use tempfile::TempDir;

/// The database in a directory, for a server; with a deadline that a busy machine keeps.
pub fn sqlite_in(directory: &Path) -> SqliteStore {
    let store = SqliteStore::open(directory.join(DATABASE_FILE), Mode::Serve).unwrap();
    store.with_deadline(Duration::from_secs(60))
}

/// A store on a new file, which goes away with this.
pub struct SqliteFixture {
    directory: TempDir,
    store: Arc<SqliteStore>,
}

impl SqliteFixture {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = sqlite_in(directory.path());
        Self { directory, store: Arc::new(store) }
    }

    pub fn store(&self) -> SharedStore {
        self.store.clone()
    }

    pub fn sqlite(&self) -> Arc<SqliteStore> {
        self.store.clone()
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join(DATABASE_FILE)
    }

    /// Closes the file; it goes away with what this returns.
    pub fn close(self) -> TempDir {
        drop(Arc::into_inner(self.store).expect("nobody else holds the store"));
        self.directory
    }

    /// Closes the file and opens it again.
    pub fn reopen(self) -> Self {
        let directory = self.close();
        let store = sqlite_in(directory.path());
        Self { directory, store: Arc::new(store) }
    }
}

pub fn run_id() -> RunId {
    RunId(random::object_id())
}

pub fn run(id: RunId) -> StoredRun {
    let doc = doc! {
        "_id": id.0,
        "version": 24,
        "args": { "username": "alice", "new_tag": "patch", "info": "läuft 🐟\r\n", "priority": -1 },
        "start_time": bson::DateTime::from_millis(1_000),
        "last_updated": bson::DateTime::from_millis(1_000),
        "tc_base": 10.0,
        "finished": false,
        "deleted": false,
        "is_green": false,
        "is_yellow": false,
        "results": { "wins": 0, "losses": 0 },
        "a field nobody knows": { "double": 3.0, "long": 3_i64, "int": 3, "null": null },
    };
    StoredRun { id, doc, meta: RunMeta::new(Phase::Running) }
}

/// A finished run that differs from [`run`] by what listings look at.
pub fn finished_run(username: &str, last_updated: i64) -> StoredRun {
    let mut run = run(run_id());
    run.meta.phase = Phase::Finished;
    run.doc.insert("finished", true);
    run.doc.insert("last_updated", bson::DateTime::from_millis(last_updated));
    run.doc.get_document_mut("args").unwrap().insert("username", username);
    run
}

pub fn key(run: RunId, task: u32) -> TaskKey {
    TaskKey { run, task: TaskId(task) }
}

/// A claimed task: version 1 of the generation.
pub fn claim(key: TaskKey, generation: Generation) -> TaskRecord {
    let unique_key = "1f3c9a07-5a28-4b1c-9d0e-0123456789ab";
    TaskRecord {
        generation,
        version: Version(1),
        write_id: random::write_id(),
        active: true,
        answered: false,
        worker: Some(TaskWorker {
            username: "bob".into(),
            unique_key: unique_key.into(),
            short_name: ShortWorkerName("bob-8cores-1f3c9a07".into()),
            concurrency: 8,
            remote_addr: "10.0.0.7".into(),
        }),
        worker_info: Arc::new(doc! {
            "uname": "Linux 6", "concurrency": 8, "username": "bob", "unique_key": unique_key, "nps": 1.5e6,
            "country_code": "?",
        }),
        ..TaskRecord::void(key, u64::from(key.task.0) * 200, 200, Millis(5_000))
    }
}

/// The next version of a task, with more games.
pub fn update(record: &TaskRecord) -> TaskRecord {
    let mut next = record.clone();
    next.version = record.version.next();
    next.write_id = random::write_id();
    next.answered = true;
    next.stats = Stats {
        draws: record.stats.draws + 2,
        pentanomial: [0, 0, record.stats.pentanomial[2] + 1, 0, 0],
        ..record.stats
    };
    next
}

pub fn task_write(record: &TaskRecord) -> DocumentWrite {
    DocumentWrite::Task(TaskWrite { record: Arc::new(record.clone()), actions: Vec::new() })
}

pub fn run_write(id: RunId, version: u64) -> RunWrite {
    RunWrite {
        id,
        version: Version(version),
        write_id: random::write_id(),
        phase: Phase::Running,
        operation: None,
        position: 0,
        folded: [0; 8],
        set: Vec::new(),
        actions: Vec::new(),
    }
}

pub fn action(name: &str, time: f64) -> Document {
    doc! { "_id": random::object_id(), "action": name, "username": "alice", "time": time }
}

pub fn id_of(action: &Document) -> ObjectId {
    action.get_object_id("_id").unwrap()
}

/// Raises the fence of a new store to 1.
pub async fn first_generation(store: &SharedStore) -> Generation {
    store.raise_fence(Generation(0)).await.unwrap().unwrap()
}

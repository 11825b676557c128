//! What an import promises: every document is taken as it is or reported, nothing is taken twice, and the farm goes on
//! where fishtest stopped.

mod databases;
mod documents;
mod export;
mod farm;
mod farm_runs;
mod going_on;
mod many_tasks;
mod moving;

use std::path::Path;
use std::sync::Arc;

use bson::{Document, doc};
use shoal::domain::ids::{RunId, TaskId};
use shoal::service::import::{Collection, ImportReport, import_files};
use shoal::store::SharedStore;
use shoal::store::codec::{bad_task, public_task};
use tempfile::TempDir;

use crate::durability::fixtures::sqlite_in;

/// A new store, and an empty directory to export into.
struct Fixture {
    store: SharedStore,
    dir: TempDir,
    _data: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = sqlite_in(data.path());
        Self { store: Arc::new(store), dir: tempfile::tempdir().unwrap(), _data: data }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    async fn import(&self) -> ImportReport {
        let report = import_files(&self.store, self.path(), |_| {}).await.unwrap();
        for part in &report.collections {
            let sum = part.taken + part.already_there + part.rejected.len() as u64;
            assert_eq!(part.documents, sum, "every document is accounted for: {part:?}");
        }
        report
    }

    /// A run as fishtest's database would hold it.
    async fn run(&self, id: RunId) -> Document {
        let mut run = self.store.run(id).await.unwrap().unwrap().doc;
        let tasks = self.store.tasks(id, TaskId(0), 1000).await.unwrap();
        let mut bad_tasks = Vec::new();
        while let Some(record) = self.store.bad_task(id, bad_tasks.len() as u32).await.unwrap() {
            bad_tasks.push(bad_task(&record).unwrap());
        }
        if let Some(own) = run.remove("shoal") {
            let own = own.as_document().unwrap();
            let places = own.get_array("bad_task_places").unwrap();
            for (place, entry) in places.iter().zip(own.get_array("bad_tasks").unwrap()) {
                bad_tasks.insert(place.as_i64().unwrap() as usize, entry.as_document().unwrap().clone());
            }
        }
        run.insert("tasks", tasks.iter().map(public_task).collect::<Vec<_>>());
        run.insert("bad_tasks", bad_tasks);
        run
    }
}

fn run_id(run: &Document) -> RunId {
    RunId(run.get_object_id("_id").unwrap())
}

#[tokio::test]
async fn every_run_comes_back_as_it_was_exported() {
    let fixture = Fixture::new();
    let good = export::good_runs();
    let bad = export::bad_runs();
    let mut lines = export::lines(&good);
    lines.extend(bad.iter().map(|(line, _)| line.clone()));
    export::write(fixture.path(), "runs.json", &lines);
    let report = fixture.import().await;
    let runs = report.collection(Collection::Runs).unwrap();
    assert_eq!(runs.taken, good.len() as u64, "{report}");
    assert_eq!(runs.rejected.len(), bad.len(), "{report}");
    for ((n, (line, word)), remark) in bad.iter().enumerate().zip(&runs.rejected) {
        assert_eq!(remark.line, Some((good.len() + n + 1) as u64), "{remark}");
        assert!(remark.reason.contains(word), "{remark}, expected {word:?} for {line:.200}");
    }
    for run in &good {
        let mut expected = run.clone();
        if !expected.contains_key("bad_tasks") {
            expected.insert("bad_tasks", Vec::<Document>::new());
        }
        assert_eq!(fixture.run(run_id(run)).await, expected);
    }
}

#[tokio::test]
async fn a_second_import_takes_nothing_and_changes_nothing() {
    let fixture = Fixture::new();
    let good = export::good_runs();
    export::write(fixture.path(), "runs.json", &export::lines(&good));
    documents::write_all(fixture.path());
    let first = fixture.import().await;
    assert!(first.taken() > good.len() as u64);
    let second = fixture.import().await;
    assert_eq!(second.taken(), 0, "{second}");
    assert_eq!(second.rejected(), first.rejected(), "{second}");
    for (before, after) in first.collections.iter().zip(&second.collections) {
        assert_eq!(after.already_there, before.taken + before.already_there, "{second}");
        assert!(after.warnings.is_empty(), "{second}");
    }
}

#[tokio::test]
async fn an_interrupted_import_goes_on_and_another_run_of_that_id_is_refused() {
    let fixture = Fixture::new();
    let run = export::running_sprt();
    let id = run_id(&run);
    export::write(fixture.path(), "runs.jsonl", &[export::canonical(&run)]);
    fixture.import().await;
    let task = fixture.store.tasks(id, TaskId(0), 1).await.unwrap();

    // The interruption fell between two writes of tasks.
    let interrupted = Fixture::new();
    interrupted.store.insert_tasks(&task).await.unwrap();
    export::write(interrupted.path(), "runs.jsonl", &[export::relaxed(&run)]);
    assert_eq!(interrupted.import().await.taken(), 1);
    assert_eq!(interrupted.run(id).await, run);

    let mut other = run.clone();
    export::tasks(&mut other)[0].insert("num_games", 482);
    export::write(interrupted.path(), "runs.jsonl", &[export::canonical(&other)]);
    let report = interrupted.import().await;
    assert_eq!((report.taken(), report.rejected()), (0, 1), "{report}");
    assert_eq!(interrupted.run(id).await, run);
}

#[tokio::test]
async fn sums_that_are_not_those_of_the_tasks_are_reported_and_kept() {
    let fixture = Fixture::new();
    let mut run = export::running_sprt();
    run.extend(doc! { "cores": 5, "total_games": 706 });
    export::write(fixture.path(), "runs.json", &[export::canonical(&run)]);
    let report = fixture.import().await;
    let reasons: Vec<_> =
        report.collections[0].warnings.iter().map(|remark| remark.reason.as_str()).collect();
    assert_eq!(reasons, ["`cores` is 5, but 4 by the tasks", "`total_games` is 706, but 704 by the tasks"]);
    assert_eq!(fixture.run(run_id(&run)).await, run);
}

//! Promise: a farm can move out again, and into another store, and nothing is lost but what is said.

use std::collections::BTreeMap;
use std::path::Path;

use bson::{Bson, Document};
use shoal::domain::document::from_extended_json;
use shoal::domain::ids::{Generation, Version};
use shoal::service::copy::copy;
use shoal::service::export::{ExportOptions, ExportReport, FileSink, export};
use shoal::service::import::Collection;
use shoal::store::PatchOutcome;
use shoal::store::RunPatch;

use super::export::{self as source, running_sprt};
use super::{Fixture, documents, run_id};

async fn filled() -> Fixture {
    let fixture = Fixture::new();
    source::write(fixture.path(), "runs.json", &source::lines(&source::good_runs()));
    documents::write_all(fixture.path());
    fixture.import().await;
    fixture
}

async fn export_of(fixture: &Fixture, dir: &Path) -> ExportReport {
    let mut sink = FileSink::begin(dir).await.unwrap();
    export(&*fixture.store, &mut sink, ExportOptions::default(), |_| {}).await.unwrap()
}

/// The documents of a file by their identity.
fn documents_in(dir: &Path, collection: Collection) -> BTreeMap<String, Document> {
    let text = std::fs::read_to_string(dir.join(format!("{}.json", collection.name()))).unwrap();
    by_identity(text.lines().map(|line| from_extended_json(line).unwrap()))
}

fn by_identity(documents: impl IntoIterator<Item = Document>) -> BTreeMap<String, Document> {
    let mut found = BTreeMap::new();
    for document in documents {
        let id = match document.get("_id").unwrap() {
            Bson::ObjectId(id) => id.to_hex(),
            other => other.to_string(),
        };
        assert!(found.insert(id, document).is_none());
    }
    found
}

#[tokio::test]
async fn an_export_holds_what_was_imported() {
    let fixture = filled().await;
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    let report = export_of(&fixture, &target).await;
    for collection in Collection::IN_ORDER {
        let mut expected = by_identity(documents::good(collection));
        if collection == Collection::Runs {
            for run in expected.values_mut().filter(|run| !run.contains_key("bad_tasks")) {
                run.insert("bad_tasks", Vec::<Document>::new());
            }
        }
        let found = documents_in(&target, collection);
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{collection:?}");
        for (id, document) in &found {
            assert_eq!(document, &expected[id], "{collection:?}");
        }
        assert_eq!(report.collection(collection).unwrap().documents, expected.len() as u64);
    }
    assert!(!target.join("INCOMPLETE").exists());
    assert!(FileSink::begin(&target).await.is_err(), "never over another export");

    // And it can be taken in again.
    let again = Fixture::new();
    for entry in std::fs::read_dir(&target).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), again.path().join(entry.file_name())).unwrap();
    }
    let back = again.import().await;
    assert_eq!(back.rejected(), 0, "{back}");
    for run in source::good_runs() {
        let id = run_id(&run);
        assert_eq!(again.run(id).await, fixture.run(id).await);
    }
}

#[tokio::test]
async fn a_password_that_was_hashed_must_be_set_anew_and_nobody_knows_the_one_that_is_written() {
    let fixture = filled().await;
    fixture.store.set_secret("bob", "$argon2id$v=19$hash").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let report = export_of(&fixture, dir.path()).await;
    let remarks = &report.collection(Collection::Users).unwrap().remarks;
    assert_eq!(remarks, &["bob: the password must be set anew"]);
    let users = documents_in(dir.path(), Collection::Users);
    let password = |name: &str| {
        let user = users.values().find(|user| user.get_str("username").ok() == Some(name)).unwrap();
        user.get_str("password").unwrap().to_owned()
    };
    assert_eq!(password("alice"), "CorrectHorse99!x");
    assert!(password("bob").len() >= 40 && !password("bob").contains("argon2"), "{}", password("bob"));
    assert!(password("bob").len() <= 72, "fishtest's schema takes no longer one");
}

#[tokio::test]
async fn a_copy_is_the_same_farm_in_a_new_history() {
    let fixture = filled().await;
    fixture.store.set_secret("bob", "$argon2id$v=19$hash").await.unwrap();
    let id = run_id(&running_sprt());
    let patch = RunPatch { set: vec![("args.priority".into(), Bson::Int32(-1))], actions: Vec::new() };
    assert_eq!(fixture.store.patch_run(id, 1, &patch).await, Ok(PatchOutcome::Applied(2)));
    fixture.store.raise_fence(Generation(0)).await.unwrap();
    assert!(fixture.store.seal(Generation(1)).await.unwrap() > 0);

    let target = Fixture::new();
    let first = copy(&*fixture.store, &*target.store, |_| {}).await.unwrap();
    let second = copy(&*fixture.store, &*target.store, |_| {}).await.unwrap();
    for (first, second) in first.iter().zip(&second) {
        assert!(first.copied > 0 && first.already_there == 0, "{first}");
        assert_eq!((second.copied, second.already_there), (0, first.copied), "{second}");
    }
    for run in source::good_runs() {
        let id = run_id(&run);
        assert_eq!(target.run(id).await, fixture.run(id).await);
        let (there, here) = (target.store.run(id).await.unwrap(), fixture.store.run(id).await.unwrap());
        let (there, here) = (there.unwrap().meta, here.unwrap().meta);
        assert_eq!(
            (there.args_version, there.phase, there.position),
            (here.args_version, here.phase, here.position)
        );
        assert_eq!((there.generation, there.folded), (Generation(0), here.folded));
        for task in target.store.tasks(id, shoal::domain::ids::TaskId(0), 1000).await.unwrap() {
            assert_eq!((task.generation, task.version), (Generation(0), Version(1)));
        }
    }
    assert_eq!(target.store.users().await.unwrap(), fixture.store.users().await.unwrap());
    assert_eq!(target.store.secret("bob").await.unwrap().as_deref(), Some("$argon2id$v=19$hash"));
    assert_eq!(target.store.fence().await.unwrap(), Generation(0));
    let (out, back) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    export_of(&fixture, out.path()).await;
    export_of(&target, back.path()).await;
    for collection in Collection::IN_ORDER.into_iter().filter(|c| *c != Collection::Users) {
        assert_eq!(documents_in(out.path(), collection), documents_in(back.path(), collection));
    }
}

//! Promise: a fishtest database moves in and back out through servers of MongoDB's protocol, and every difference
//! between what went in and what came out has a rule.
//!
//! `SHOAL_LONG=1` plays it with 500 runs, `SHOAL_FARM_RUNS` with any number.

use shoal::sys::clock::stopwatch;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bson::raw::RawDocumentBuf;
use bson::{Bson, Document, doc};
use shoal::service::export::{DatabaseSink, ExportError, ExportOptions, ExportReport, export};
use shoal::service::import::{Collection, ImportError, ImportReport, import_database};
use shoal::store::SharedStore;
use shoal::store::mongo::{FishtestDatabase, Layout};
use tokio::sync::Notify;

use super::farm::{Farm, generate, id_text};
use crate::durability::fixtures::sqlite_in;
use crate::durability::mongo_server::{MongoFixture, database, settings, url};

const SEED: u64 = 20_240_229;

/// An empty database, and the way to it.
pub async fn empty_database() -> Option<FishtestDatabase> {
    Some(FishtestDatabase::connect(&settings(url()?, &database())).await.unwrap())
}

/// A database in fishtest's layout.
async fn filled(farm: &Farm) -> Option<FishtestDatabase> {
    let source = empty_database().await?;
    let mut by_collection: BTreeMap<&str, Vec<RawDocumentBuf>> = BTreeMap::new();
    for entry in &farm.entries {
        let raw = RawDocumentBuf::try_from(&entry.document).unwrap();
        by_collection.entry(entry.collection.name()).or_default().push(raw);
    }
    for (name, document) in &farm.derived {
        by_collection.entry(name).or_default().push(RawDocumentBuf::try_from(document).unwrap());
    }
    for (name, documents) in by_collection {
        for part in documents.chunks(50) {
            source.insert_absent(name, part).await.unwrap();
        }
    }
    Some(source)
}

/// Every document of a collection, by `_id`.
async fn documents(database: &FishtestDatabase, collection: &str) -> BTreeMap<String, Document> {
    let mut found = BTreeMap::new();
    let mut walk = database.walk(collection, &[]).await.unwrap();
    while let Some(raw) = walk.next().await.unwrap() {
        let document = Document::try_from(&raw).unwrap();
        assert!(found.insert(id_text(document.get("_id").unwrap()), document).is_none());
    }
    found
}

async fn import(store: &SharedStore, source: &FishtestDatabase) -> ImportReport {
    let report = import_database(store, source, |_| {}).await.unwrap();
    for part in &report.collections {
        let sum = part.taken + part.already_there + part.rejected.len() as u64;
        assert_eq!(part.documents, sum, "every document is accounted for: {:?}", part.collection);
    }
    report
}

async fn export_to(store: &SharedStore, target: &FishtestDatabase) -> ExportReport {
    let mut sink = DatabaseSink::begin(target.clone(), &**store).await.unwrap();
    export(&**store, &mut sink, ExportOptions::default(), |_| {}).await.unwrap()
}

/// A field that differs: its path, what it was and what it is.
struct Difference {
    path: String,
    was: Option<Bson>,
    is: Option<Bson>,
}

/// Where two documents differ, by the bits of numbers; the order of fields doesn't count.
fn differences(path: &str, was: &Bson, is: &Bson, found: &mut Vec<Difference>) {
    match (was, is) {
        (Bson::Document(was), Bson::Document(is)) => {
            let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match (was.get(key), is.get(key)) {
                    (Some(was), Some(is)) => differences(&path, was, is, found),
                    (was, is) => found.push(Difference { path, was: was.cloned(), is: is.cloned() }),
                }
            }
        }
        (Bson::Array(was), Bson::Array(is)) if was.len() == is.len() => {
            for (n, (was, is)) in was.iter().zip(is).enumerate() {
                differences(&format!("{path}[{n}]"), was, is, found);
            }
        }
        (Bson::Double(was), Bson::Double(is)) if was.to_bits() == is.to_bits() => {}
        (was, is) if was == is => {}
        (was, is) => {
            found.push(Difference { path: path.to_owned(), was: Some(was.clone()), is: Some(is.clone()) });
        }
    }
}

/// The rule that explains a difference; None if there is none. `said` tells whether the import said so of the document.
fn rule(
    collection: Collection,
    difference: &Difference,
    said: impl Fn(&str) -> bool,
) -> Option<&'static str> {
    let Difference { path, was, is } = difference;
    let empty = Bson::Array(Vec::new());
    let defaults = doc! {
        "pending": false, "blocked": false, "email": "", "groups": [], "tests_repo": "", "machine_limit": 16,
    };
    let number = |value: &Option<Bson>| match value {
        Some(Bson::Double(number)) => Some(*number),
        Some(Bson::Int32(number)) => Some(f64::from(*number)),
        Some(Bson::Int64(number)) => Some(*number as f64),
        _ => None,
    };
    let same_number = number(was).is_some() && number(was) == number(is);
    match (collection, path.as_str()) {
        (Collection::Users, "password") if was.is_none() && said("has no password") => {
            Some("an account without a password gets one that nobody knows, and the import says so")
        }
        (Collection::Users, field) if was.is_none() && is.as_ref() == defaults.get(field) => {
            Some("a field that fishtest of today wants of every account has its default")
        }
        (Collection::Users, "machine_limit") | (Collection::Pgns, "size") if same_number => {
            Some("an integer that was stored as a double is an integer")
        }
        (Collection::Nns, "nn") if is.is_none() => {
            Some("the network itself is no part of its document any more")
        }
        (Collection::Workers, "message") if was.is_none() && *is == Some(Bson::String(String::new())) => {
            Some("a block without a message has an empty one")
        }
        (Collection::Workers | Collection::Pgns, field)
            if is.is_none() && said(&format!("the field `{field}` is unknown, and not kept")) =>
        {
            Some("a block or an upload has no room for unknown fields, and the import says so")
        }
        (Collection::Pgns, "size") if said("corrected") => {
            Some("a wrong size of an upload is corrected, and the import says so")
        }
        (Collection::Runs, "tasks" | "bad_tasks") if was.is_none() && is.as_ref() == Some(&empty) => {
            Some("a run without a list has an empty one")
        }
        _ => None,
    }
}

/// Compares source and result. What is not refused must be there; every difference must have a rule.
async fn explain(
    source: &FishtestDatabase,
    result: &FishtestDatabase,
    imported: &ImportReport,
) -> BTreeMap<&'static str, usize> {
    let mut kinds: BTreeMap<&'static str, usize> = BTreeMap::new();
    for collection in Collection::IN_ORDER {
        let was = documents(source, collection.name()).await;
        let mut is = documents(result, collection.name()).await;
        let part = imported.collection(collection).unwrap();
        let refused: BTreeSet<&str> =
            part.rejected.iter().filter_map(|remark| remark.id.as_deref()).collect();
        for (id, was) in was {
            let Some(is) = is.remove(&id) else {
                assert!(refused.contains(id.as_str()), "{collection:?} {id} is lost: {was}");
                *kinds
                    .entry("a document that can't be taken is refused, and the import says so")
                    .or_default() += 1;
                continue;
            };
            assert!(!refused.contains(id.as_str()), "{collection:?} {id} was refused and is there");
            let said = |what: &str| {
                let of_document = part.warnings.iter().filter(|remark| remark.id.as_deref() == Some(&id));
                of_document.into_iter().any(|remark| remark.reason.contains(what))
            };
            let mut found = Vec::new();
            differences("", &Bson::Document(was), &Bson::Document(is), &mut found);
            for difference in found {
                let Some(rule) = rule(collection, &difference, said) else {
                    let Difference { path, was, is } = difference;
                    panic!("{collection:?} {id}: `{path}` was {was:?} and is {is:?}, and no rule says why");
                };
                *kinds.entry(rule).or_default() += 1;
            }
        }
        assert!(is.is_empty(), "{collection:?}: {:?} come from nowhere", is.keys());
    }
    kinds
}

fn runs() -> usize {
    let named = std::env::var("SHOAL_FARM_RUNS").ok().map(|number| number.parse().unwrap());
    named.unwrap_or(if std::env::var_os("SHOAL_LONG").is_some() { 500 } else { 40 })
}

/// Moves a generated farm in and out; everything about it is asserted, and the figures are printed.
async fn there_and_back(store: SharedStore, runs: usize) {
    let farm = generate(SEED, runs);
    let Some(source) = filled(&farm).await else { return };
    let began = stopwatch();
    let imported = import(&store, &source).await;
    let import_seconds = began.elapsed().as_secs_f64();

    // What is refused is exactly what was broken, each for its own reason.
    let mut broken = farm.broken();
    let mut fields = 0;
    for part in &imported.collections {
        for remark in &part.rejected {
            let id = remark.id.clone().expect("a document of a database has an `_id`");
            let word = broken.remove(&(part.collection, id)).unwrap_or_else(|| panic!("refused: {remark}"));
            assert!(remark.reason.contains(word), "{remark}, expected {word:?}");
            fields += usize::from(remark.field.is_some());
        }
    }
    assert!(broken.is_empty(), "broken, and taken: {broken:?}");
    let skipped: Vec<_> = imported.skipped.iter().map(|skipped| skipped.name.as_str()).collect();
    assert_eq!(skipped, ["deltas", "top_month"]);

    // A second import takes nothing.
    let again = import(&store, &source).await;
    assert_eq!((again.taken(), again.rejected()), (0, imported.rejected()), "{again}");
    let changed: Vec<_> = again.collections.iter().flat_map(|part| &part.warnings).collect();
    assert!(changed.is_empty(), "{changed:?}");

    let result = empty_database().await.unwrap();
    let began = stopwatch();
    let exported = export_to(&store, &result).await;
    let export_seconds = began.elapsed().as_secs_f64();
    for part in &imported.collections {
        let out = exported.collection(part.collection).unwrap();
        assert_eq!((out.documents, out.left_out), (part.taken, 0), "{:?}", part.collection);
    }
    let kinds = explain(&source, &result, &imported).await;
    println!(
        "{runs} runs: {} documents, {} taken, {} refused ({fields} with the field), {} notes; \
         import {import_seconds:.1} s, export {export_seconds:.1} s",
        imported.collections.iter().map(|part| part.documents).sum::<u64>(),
        imported.taken(),
        imported.rejected(),
        imported.collections.iter().map(|part| part.warnings.len()).sum::<usize>(),
    );
    for (kind, count) in &kinds {
        println!("  {count:>6}  {kind}");
    }
    assert!(kinds.len() >= 9, "a rule that nothing is explained by explains nothing: {kinds:?}");
}

fn sqlite() -> (tempfile::TempDir, SharedStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = sqlite_in(dir.path());
    (dir, Arc::new(store))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farm_moves_into_a_file_and_back_and_every_difference_has_a_rule() {
    let (_dir, store) = sqlite();
    there_and_back(store, runs()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farm_moves_into_mongodb_and_back_and_every_difference_has_a_rule() {
    let Some(fixture) = MongoFixture::new().await else { return };
    there_and_back(fixture.store(), runs()).await;
    fixture.finish().await;
}

#[test]
fn the_same_seed_makes_the_same_farm() {
    let (one, two) = (generate(1, 30), generate(1, 30));
    let bytes = |farm: &Farm| farm.entries.iter().map(|e| e.document.to_vec().unwrap()).collect::<Vec<_>>();
    assert!(bytes(&one) == bytes(&two));
    assert!(bytes(&one) != bytes(&generate(2, 30)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_interrupted_goes_on_and_nothing_is_there_twice() {
    let farm = generate(7, 30);
    let Some(source) = filled(&farm).await else { return };
    let (_whole, undisturbed) = sqlite();
    let expected = import(&undisturbed, &source).await;

    let (_dir, store) = sqlite();
    for stop_after in [1, 5, 7] {
        let stop = Notify::new();
        let seen = std::sync::atomic::AtomicU32::new(0);
        let progress = |_: shoal::service::import::Progress<'_>| {
            if seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 == stop_after {
                stop.notify_one();
            }
        };
        tokio::select! {
            biased;
            () = stop.notified() => {}
            done = import_database(&store, &source, progress) => panic!("it was not interrupted: {done:?}"),
        }
    }
    let last = import(&store, &source).await;
    assert!(last.taken() > 0 && last.taken() < expected.taken(), "{last}");
    for (last, whole) in last.collections.iter().zip(&expected.collections) {
        assert_eq!(last.documents, whole.documents);
        assert_eq!(
            last.taken + last.already_there,
            whole.taken + whole.already_there,
            "{:?}",
            last.collection
        );
    }

    let (there, target) = (empty_database().await.unwrap(), empty_database().await.unwrap());
    export_to(&undisturbed, &there).await;
    for stop_after in [2, 6, 9] {
        let stop = Notify::new();
        let seen = std::sync::atomic::AtomicU32::new(0);
        let mut sink = DatabaseSink::begin(target.clone(), &*store).await.unwrap();
        let work = export(&*store, &mut sink, ExportOptions::default(), |_| {
            if seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 == stop_after {
                stop.notify_one();
            }
        });
        tokio::select! {
            biased;
            () = stop.notified() => {}
            done = work => panic!("it was not interrupted: {done:?}"),
        }
    }
    // Another farm has no business there.
    let (_other, stranger) = sqlite();
    let refused = DatabaseSink::begin(target.clone(), &*stranger).await.err().unwrap();
    assert!(refused.to_string().contains("another farm"), "{refused}");
    export_to(&store, &target).await;
    for collection in Collection::IN_ORDER {
        let (mut a, mut b) =
            (documents(&there, collection.name()).await, documents(&target, collection.name()).await);
        for user in a.values_mut().chain(b.values_mut()).filter(|_| collection == Collection::Users) {
            // One that nobody knows differs each time.
            if user.get_str("password").is_ok_and(|password| password.len() == 43) {
                user.remove("password");
            }
        }
        let bytes =
            |all: &BTreeMap<String, Document>| all.values().map(|d| d.to_vec().unwrap()).collect::<Vec<_>>();
        assert!(bytes(&a) == bytes(&b), "{collection:?}");
    }
    assert!(
        matches!(target.layout().await.unwrap(), Layout::Other(names) if !names.contains(&"shoal_export".to_owned()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_fishtests_is_not_read_and_what_is_not_empty_is_not_written() {
    let Some(fixture) = MongoFixture::new().await else { return };
    let shoals = FishtestDatabase::connect(&fixture.settings).await.unwrap();
    let (_dir, store) = sqlite();
    let refused = import_database(&store, &shoals, |_| {}).await.unwrap_err();
    assert!(
        matches!(refused, ImportError::Shoal(_)) && refused.to_string().contains("shoal copy"),
        "{refused}"
    );
    let refused = DatabaseSink::begin(shoals, &*store).await.err().unwrap();
    assert!(refused.to_string().contains("Shoal database"), "{refused}");

    let empty = empty_database().await.unwrap();
    let refused = import_database(&store, &empty, |_| {}).await.unwrap_err();
    assert!(matches!(refused, ImportError::NothingToImport(_)), "{refused}");
    let strange = [RawDocumentBuf::try_from(&doc! { "_id": 1 }).unwrap()];
    empty.insert_absent("notes", &strange).await.unwrap();
    let refused = import_database(&store, &empty, |_| {}).await.unwrap_err();
    assert!(matches!(refused, ImportError::NothingToImport(_)), "{refused}");
    let refused = DatabaseSink::begin(empty.clone(), &*store).await.err().unwrap();
    assert!(
        matches!(&refused, ExportError::Target { .. }) && refused.to_string().contains("notes"),
        "{refused}"
    );
    assert_eq!(documents(&empty, "notes").await.len(), 1, "and it is as it was");
    fixture.finish().await;
}

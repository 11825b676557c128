//! The small collections.

use std::path::Path;

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Document, doc};
use shoal::domain::action_query::ActionQuery;
use shoal::domain::ids::{Millis, ShortWorkerName, TaskId, TaskKey};
use shoal::service::import::{Collection, import_files};

use super::Fixture;
use super::export::{self, NOW, canonical, id, relaxed};

fn user(number: u32, username: &str) -> Document {
    doc! {
        "_id": id(number), "username": username, "password": "CorrectHorse99!x",
        "registration_time": DateTime::from_millis(NOW), "pending": false, "blocked": false,
        "email": "alice@example.com", "groups": ["group:approvers"], "tests_repo": "", "machine_limit": 16,
    }
}

fn old_user() -> Document {
    doc! { "_id": id(12), "username": "Old Näme", "password": "x", "registration_time": "Unknown", "rank": 3_i64 }
}

fn kv() -> Vec<Document> {
    let name = "bob-8cores-1f3c9a07";
    let run = id(1).to_hex();
    vec![
        doc! { "_id": "legacy_usernames", "value": ["Old Näme"] },
        doc! { "_id": "books", "value": { "UHO_Lichess_4852_v1.epd": { "total": 4, "white": 2, "black": 2, "min_depth": null } } },
        doc! { "_id": "worker_runs", "value": { name: { &run: true, "last_run": &run } } },
        doc! { "_id": "official_master_sha", "value": "a".repeat(40) },
        doc! { "_id": "github_api_cache", "value": { "version": 2, "lru_cache": [[["_is_master", "b"], true]] } },
    ]
}

fn actions() -> Vec<Document> {
    let entry = |number: u32, time: Bson| {
        doc! { "_id": id(number), "action": "failed_task", "username": "bob", "message": "täg\r\n", "time": time, "data": { "x": 1 } }
    };
    vec![entry(20, Bson::Double(1_732_291_082.105329)), entry(21, Bson::Int32(5)), entry(22, Bson::Int64(6))]
}

fn block() -> Document {
    doc! {
        "_id": id(30), "worker_name": "bob-8cores-1f3c9a07", "blocked": true, "message": "many crashes",
        "last_updated": DateTime::from_millis(NOW),
    }
}

fn net() -> Document {
    doc! {
        "_id": id(40), "user": "alice", "name": "nn-0000000000a0.nnue", "downloads": 1234,
        "first_test": { "id": id(1).to_hex(), "date": DateTime::from_millis(NOW) },
    }
}

fn pgn() -> Document {
    let bytes = Binary { subtype: BinarySubtype::Generic, bytes: vec![0x1f, 0x8b, 8, 0, 7] };
    doc! { "_id": id(50), "run_id": format!("{}-3", id(1).to_hex()), "pgn_zip": bytes, "size": 5 }
}

fn contribution() -> Document {
    doc! {
        "_id": id(60), "username": "bob", "cpu_hours": 15234.73, "games": 1_789_233,
        "last_updated": DateTime::from_millis(export::YEAR_ONE),
    }
}

/// The documents of [`write_all`] that can be taken, by collection, as they come out again.
pub fn good(collection: Collection) -> Vec<Document> {
    match collection {
        Collection::Kvstore => kv(),
        Collection::Users => {
            // fishtest of today wants every field.
            let defaults = doc! {
                "pending": false, "blocked": false, "email": "", "groups": [], "tests_repo": "", "machine_limit": 16,
            };
            let mut old = old_user();
            old.extend(defaults);
            vec![user(10, "alice"), user(11, "bob"), old]
        }
        Collection::UserCache => vec![contribution()],
        Collection::Workers => vec![block()],
        Collection::Nns => vec![net()],
        Collection::Runs => export::good_runs(),
        Collection::Actions => actions(),
        Collection::Pgns => vec![pgn()],
    }
}

/// Every collection but the runs, with a document in each that can't be taken.
pub fn write_all(dir: &Path) {
    let mut with_net = net();
    with_net.insert("nn", Binary { subtype: BinarySubtype::Generic, bytes: vec![1; 1000] });
    let mut lines = export::lines(&kv());
    lines.push(canonical(&doc! { "_id": "official_master_sha2" }));
    lines.push(canonical(&doc! { "_id": id(9), "value": 1 }));
    export::write(dir, "kvstore.json", &lines);
    let mut lines = export::lines(&[user(10, "alice"), user(11, "bob"), old_user()]);
    lines.push(canonical(&user(13, "no such näme")));
    lines.push(canonical(&user(14, "alice")));
    lines.push(canonical(&doc! { "_id": id(15), "username": 3 }));
    export::write(dir, "users.jsonl", &lines);
    let mut lines = export::lines(&actions());
    lines.push(relaxed(&actions()[0]));
    lines.push(canonical(&doc! { "_id": id(23), "action": "x", "time": "now" }));
    lines.push("nonsense".to_owned());
    export::write_gzip(dir, "actions.json.gz", &lines);
    let invalid = doc! { "_id": id(31), "worker_name": "bob", "blocked": true };
    export::write(dir, "workers.json", &[relaxed(&block()), canonical(&invalid)]);
    let invalid = doc! { "_id": id(41), "name": "nn-x.nnue" };
    export::write(dir, "nns.json", &[canonical(&with_net), canonical(&invalid)]);
    let invalid = doc! { "_id": id(51), "run_id": "x-03", "pgn_zip": "text", "size": 4 };
    export::write(dir, "pgns.json", &[canonical(&pgn()), canonical(&invalid)]);
    export::write(
        dir,
        "user_cache.json",
        &[relaxed(&contribution()), canonical(&doc! { "username": "carol" })],
    );
    export::write(dir, "deltas.json", &[canonical(&doc! { "_id": id(70) })]);
    export::write(dir, "notes.txt", &["hello".to_owned()]);
}

#[tokio::test]
async fn each_collection_is_stored_as_it_is_and_the_rest_is_reported() {
    let fixture = Fixture::new();
    write_all(fixture.path());
    let report = fixture.import().await;
    let counts = |collection: Collection| {
        let part = report.collection(collection).unwrap();
        (part.taken, part.already_there, part.rejected.len())
    };
    assert_eq!(counts(Collection::Kvstore), (5, 0, 2), "{report}");
    assert_eq!(counts(Collection::Users), (3, 0, 3), "{report}");
    assert_eq!(counts(Collection::Actions), (3, 1, 2), "{report}");
    for small in [Collection::Workers, Collection::Nns, Collection::Pgns, Collection::UserCache] {
        assert_eq!(counts(small), (1, 0, 1), "{report}");
    }
    let skipped: Vec<_> = report.skipped.iter().map(|skipped| skipped.name.as_str()).collect();
    assert_eq!(skipped, ["deltas.json", "notes.txt"]);
    let text = report.to_string();
    assert!(text.contains("users.jsonl:4: \"no such näme\": the username"), "{text}");

    let store = &fixture.store;
    for entry in kv() {
        let stored = store.kv(entry.get_str("_id").unwrap()).await.unwrap();
        assert_eq!(stored.as_ref(), entry.get("value"));
    }
    let mut log = store.find_actions(&ActionQuery::default(), 10).await.unwrap();
    log.sort_by_key(|entry| entry.get_object_id("_id").unwrap());
    assert_eq!(log, actions());
    let worker = store.worker(&ShortWorkerName("bob-8cores-1f3c9a07".into())).await.unwrap().unwrap();
    assert_eq!(
        (worker.blocked, worker.message.as_str(), worker.last_updated),
        (true, "many crashes", Millis(NOW))
    );
    assert_eq!(store.net("nn-0000000000a0.nnue").await.unwrap(), Some(net()), "without the binary");
    let key = TaskKey { run: shoal::domain::ids::RunId(id(1)), task: TaskId(3) };
    assert_eq!(store.pgn(key).await.unwrap(), Some(vec![0x1f, 0x8b, 8, 0, 7]));
    assert_eq!(store.cpu_hours("bob").await.unwrap(), Some(15234.73));
}

#[tokio::test]
async fn accounts_keep_what_they_are() {
    let fixture = Fixture::new();
    write_all(fixture.path());
    fixture.import().await;
    let alice = fixture.store.user("alice").await.unwrap().unwrap();
    assert_eq!((alice.id, alice.machine_limit, alice.is_approver()), (id(10), 16, true));
    assert_eq!(alice.registration_time, Some(Millis(NOW)));
    assert_eq!(alice.plain_password.as_deref(), Some("CorrectHorse99!x"));
    assert_eq!(alice.extra, Document::new());
    let old = fixture.store.user("Old Näme").await.unwrap().unwrap();
    assert_eq!((old.machine_limit, old.registration_time, old.pending), (16, None, false));
    assert_eq!(old.extra, doc! { "registration_time": "Unknown", "rank": 3_i64 });
}

#[tokio::test]
async fn a_directory_without_an_export_is_an_error_and_a_broken_file_is_reported() {
    let fixture = Fixture::new();
    assert!(import_files(&fixture.store, fixture.path(), |_| {}).await.is_err());
    assert!(import_files(&fixture.store, &fixture.path().join("missing"), |_| {}).await.is_err());
    // Cut in the middle of the compressed bytes.
    let many: Vec<String> = (0..5000)
        .map(|_| canonical(&doc! { "_id": shoal::sys::random::object_id(), "action": "x", "time": 1.5 }))
        .collect();
    export::write_gzip(fixture.path(), "actions.json.gz", &many);
    let whole = std::fs::read(fixture.path().join("actions.json.gz")).unwrap();
    std::fs::write(fixture.path().join("actions.json.gz"), &whole[..whole.len() / 2]).unwrap();
    let report = fixture.import().await;
    assert!(report.taken() > 1000, "{report}");
    let last = report.collections[0].rejected.last().unwrap();
    assert!(last.reason.contains("can't be read"), "{last}");
}

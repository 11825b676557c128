//! What is listed, in which order, and what is left out.

use bson::doc;
use shoal::domain::action_query::ActionQuery;
use shoal::domain::ids::Millis;
use shoal::store::{FinishedQuery, SharedStore, StoredRun};

use super::fixtures::*;

on_every_store!(
    finished_runs_are_filtered,
    finished_runs_come_in_pages_newest_first,
    runs_without_a_date_come_last,
    actions_come_newest_first_up_to_the_limit,
    actions_are_found_by_every_indexed_field,
    a_value_that_is_asked_for_twice_is_found_once,
    entries_of_other_types_are_found_too,
);

fn ids(runs: &[StoredRun]) -> Vec<String> {
    runs.iter().map(|run| run.id.to_string()).collect()
}

async fn insert(store: &SharedStore, run: StoredRun) -> StoredRun {
    store.insert_run(&run, &[]).await.unwrap();
    run
}

async fn finished_runs_are_filtered(store: SharedStore) {
    insert(&store, run(run_id())).await;
    let mut deleted = finished_run("alice", 90);
    deleted.doc.insert("deleted", true);
    insert(&store, deleted).await;
    let plain = insert(&store, finished_run("alice", 10)).await;
    let mut green = finished_run("bob", 20);
    green.doc.insert("is_green", true);
    let green = insert(&store, green).await;
    let mut yellow = finished_run("alice", 30);
    yellow.doc.insert("is_yellow", true);
    let yellow = insert(&store, yellow).await;
    let mut long = finished_run("alice", 40);
    long.doc.insert("tc_base", 40);
    let long = insert(&store, long).await;

    let all = FinishedQuery { limit: 100, ..FinishedQuery::default() };
    let expect = |query: FinishedQuery, expected: Vec<StoredRun>| {
        let store = store.clone();
        async move {
            let found = store.finished_runs(&query).await.unwrap();
            assert_eq!(ids(&found), ids(&expected), "{query:?}");
            assert_eq!(found, expected);
        }
    };
    expect(all.clone(), vec![long.clone(), yellow.clone(), green.clone(), plain.clone()]).await;
    expect(FinishedQuery { green: true, ..all.clone() }, vec![green.clone()]).await;
    expect(FinishedQuery { yellow: true, ..all.clone() }, vec![yellow.clone()]).await;
    expect(FinishedQuery { ltc: true, ..all.clone() }, vec![long.clone()]).await;
    let by = |name: &str| FinishedQuery { username: Some(name.into()), ..all.clone() };
    expect(by("alice"), vec![long.clone(), yellow.clone(), plain]).await;
    expect(by("Alice"), vec![]).await;
    expect(FinishedQuery { green: true, ..by("bob") }, vec![green.clone()]).await;
    expect(FinishedQuery { yellow: true, ..by("bob") }, vec![]).await;
    expect(FinishedQuery { since: Some(Millis(20)), ..all.clone() }, vec![long, yellow, green]).await;
    expect(FinishedQuery { limit: 0, ..all }, vec![]).await;
}

async fn finished_runs_come_in_pages_newest_first(store: SharedStore) {
    let mut expected = Vec::new();
    for at in [-62_135_596_800_000, -1, 0, 1, 7, 7, 8] {
        expected.push(insert(&store, finished_run("alice", at)).await);
    }
    // Newest first; of the same age, the smaller identity first.
    expected.sort_by_key(|run| {
        let at = run.doc.get_datetime("last_updated").unwrap().timestamp_millis();
        (std::cmp::Reverse(at), run.id)
    });
    let mut found = Vec::new();
    for skip in [0, 3, 6, 9] {
        let query = FinishedQuery { skip, limit: 3, ..FinishedQuery::default() };
        found.extend(store.finished_runs(&query).await.unwrap());
    }
    assert_eq!(ids(&found), ids(&expected));
}

async fn runs_without_a_date_come_last(store: SharedStore) {
    let mut dateless = run(run_id());
    dateless.doc.remove("last_updated");
    let dateless = insert(&store, dateless).await;
    let mut old = run(run_id());
    old.doc.insert("last_updated", bson::DateTime::from_millis(-5));
    let old = insert(&store, old).await;
    let new = insert(&store, run(run_id())).await;
    assert_eq!(store.unfinished_runs().await.unwrap(), [new, old, dateless]);
}

async fn found(store: &SharedStore, body: serde_json::Value) -> Vec<i32> {
    let query = ActionQuery::parse(body.to_string().as_bytes()).unwrap();
    let entries = store.find_actions(&query, 200).await.unwrap();
    entries.iter().map(|entry| entry.get_i32("n").unwrap()).collect()
}

async fn actions_come_newest_first_up_to_the_limit(store: SharedStore) {
    let entries: Vec<_> = (0..300).map(|n| action("dead_task", f64::from(n / 2))).collect();
    store.insert_actions(&entries).await.unwrap();
    store.insert_actions(&entries[..10]).await.unwrap();
    let mut expected = entries;
    expected.sort_by(|a, b| {
        let order = |entry| (bson::Document::get_f64(entry, "time").unwrap(), id_of(entry));
        order(b).partial_cmp(&order(a)).unwrap()
    });
    let log = store.find_actions(&ActionQuery::default(), 200).await.unwrap();
    assert_eq!(log, &expected[..200]);
    let log = store.find_actions(&ActionQuery::default(), 1000).await.unwrap();
    assert_eq!(log, expected, "an entry that was inserted twice is there once");
    assert!(store.find_actions(&ActionQuery::default(), 0).await.unwrap().is_empty());
}

async fn actions_are_found_by_every_indexed_field(store: SharedStore) {
    let mut entries = Vec::new();
    for n in 0..24_i32 {
        let mut entry = action(["finished_run", "stop_run", "dead_task"][n as usize % 3], f64::from(n) + 0.5);
        entry.insert("username", ["alice", "bob"][n as usize % 2]);
        entry.insert("run_id", format!("{:024x}", n % 4));
        entry.insert("n", n);
        entries.push(entry);
    }
    let first = id_of(&entries[0]).to_hex();
    store.insert_actions(&entries).await.unwrap();
    let runs: Vec<String> = [1, 2].iter().map(|n| format!("{n:024x}")).collect();
    let ending = serde_json::json!(["finished_run", "stop_run"]);
    for (body, expected) in [
        (
            serde_json::json!({"action": {"$in": ending}, "run_id": {"$in": runs}}),
            vec![22, 21, 18, 13, 10, 9, 6, 1],
        ),
        (
            serde_json::json!({"action": {"$in": ending}, "run_id": runs[0], "time": {"$gte": 9.5}}),
            vec![21, 13, 9],
        ),
        (serde_json::json!({"action": "stop_run", "run_id": runs[0]}), vec![13, 1]),
        (serde_json::json!({"username": "bob", "time": {"$gt": 19.5, "$lt": 24}}), vec![23, 21]),
        (serde_json::json!({"time": {"$lte": 1.5}}), vec![1, 0]),
        (serde_json::json!({"time": 3.5}), vec![3]),
        (serde_json::json!({"_id": first}), vec![0]),
        (serde_json::json!({"username": {"$in": []}}), vec![]),
        (serde_json::json!({"action": {"$nin": ending}, "username": "alice"}), vec![20, 14, 8, 2]),
        (serde_json::json!({"username": "alice", "$and": [{"username": "bob"}]}), vec![]),
    ] {
        assert_eq!(found(&store, body.clone()).await, expected, "{body}");
    }
}

async fn a_value_that_is_asked_for_twice_is_found_once(store: SharedStore) {
    let mut entry = action("new_run", 1.0);
    entry.insert("n", 1);
    store.insert_actions(&[entry]).await.unwrap();
    assert_eq!(found(&store, serde_json::json!({"action": {"$in": ["new_run", "new_run"]}})).await, [1]);
    let many: Vec<String> = (0..199).map(|n| format!("{n}")).chain(["new_run".to_owned()]).collect();
    assert_eq!(found(&store, serde_json::json!({"action": {"$in": many}})).await, [1]);
}

async fn entries_of_other_types_are_found_too(store: SharedStore) {
    let odd = [
        doc! { "_id": shoal::sys::random::object_id(), "n": 0 },
        doc! { "_id": shoal::sys::random::object_id(), "n": 1, "time": 5, "action": bson::Bson::Null },
        doc! { "_id": shoal::sys::random::object_id(), "n": 2, "time": 6_i64, "action": 7, "data": { "x": [1.5] } },
    ];
    store.insert_actions(&odd).await.unwrap();
    assert_eq!(found(&store, serde_json::json!({})).await, [2, 1, 0], "without a time: oldest");
    assert_eq!(found(&store, serde_json::json!({"action": null})).await, [1, 0]);
    assert_eq!(found(&store, serde_json::json!({"action": {"$in": [7, "x"]}})).await, [2]);
    assert_eq!(found(&store, serde_json::json!({"time": {"$gte": 5}})).await, [2, 1]);
    assert_eq!(store.find_actions(&ActionQuery::default(), 1).await.unwrap(), &odd[2..]);
}

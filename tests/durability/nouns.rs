//! Runs, users, workers, games, networks and values come back as they were.

use bson::{Bson, doc};
use shoal::domain::action_query::ActionQuery;
use shoal::domain::ids::{Millis, ShortWorkerName, TaskId};
use shoal::domain::results::Stats;
use shoal::domain::task::BadMark;
use shoal::store::{
    DEFAULT_MACHINE_LIMIT, PatchOutcome, PgnEntry, RunPatch, SharedStore, StoreError, User, WorkerBlock,
};
use shoal::sys::random;

use super::fixtures::*;

on_every_store!(
    a_run_is_inserted_once_with_its_entries,
    a_patch_is_a_compare_and_set,
    bad_tasks_are_found_by_position,
    tasks_that_are_there_are_left_alone,
    task_numbers_of_one_run_are_its_own,
    users_keep_every_field,
    a_username_is_taken_once,
    a_secret_replaces_the_plain_password_for_good,
    contributions_are_numbers_of_any_type,
    blocks_come_with_their_entries,
    games_come_in_order_and_byte_for_byte,
    ten_megabytes_of_games_survive,
    networks_count_their_downloads,
    values_of_every_type_survive,
);

async fn a_run_is_inserted_once_with_its_entries(store: SharedStore) {
    let run = run(run_id());
    let (first, second) = (action("new_run", 1.0), action("new_run", 2.0));
    store.insert_run(&run, std::slice::from_ref(&first)).await.unwrap();
    let mut other = run.clone();
    other.doc.insert("version", 1);
    let error = store.insert_run(&other, &[second]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Duplicate(what) if what.contains(&run.id.to_string())), "{error}");
    assert_eq!(store.run(run.id).await.unwrap().unwrap(), run);
    assert_eq!(store.run(run_id()).await.unwrap(), None);
    assert_eq!(store.find_actions(&ActionQuery::default(), 10).await.unwrap(), [first]);
}

async fn a_patch_is_a_compare_and_set(store: SharedStore) {
    let run = run(run_id());
    store.insert_run(&run, &[]).await.unwrap();
    let patch = |approver: &str, entry| RunPatch {
        set: vec![("approver".into(), approver.into()), ("args.priority".into(), Bson::Int32(5))],
        actions: vec![entry],
    };
    let (won, lost) = (action("approve_run", 1.0), action("approve_run", 2.0));
    let outcome = store.patch_run(run.id, 1, &patch("carol", won.clone())).await.unwrap();
    assert_eq!(outcome, PatchOutcome::Applied(2));
    let outcome = store.patch_run(run.id, 1, &patch("dave", lost.clone())).await.unwrap();
    assert_eq!(outcome, PatchOutcome::Conflict(2));
    let outcome = store.patch_run(run_id(), 1, &patch("dave", lost)).await.unwrap();
    assert_eq!(outcome, PatchOutcome::Missing);

    let mut expected = run.clone();
    expected.meta.args_version = 2;
    expected.doc.insert("approver", "carol");
    expected.doc.get_document_mut("args").unwrap().insert("priority", 5);
    assert_eq!(store.run(run.id).await.unwrap().unwrap(), expected, "the state's half is untouched");
    assert_eq!(store.find_actions(&ActionQuery::default(), 10).await.unwrap(), [won]);
}

async fn bad_tasks_are_found_by_position(store: SharedStore) {
    let generation = first_generation(&store).await;
    let run = run_id();
    let mut bad = update(&claim(key(run, 3), generation));
    bad.active = false;
    bad.bad = Some(BadMark {
        position: 1,
        stats: std::mem::take(&mut bad.stats),
        residual: f64::INFINITY,
        residual_color: "#FF6A6A".into(),
        extra: doc! { "worker_info": { "old": true } },
    });
    assert_eq!(bad.stats, Stats::default());
    store.commit(generation, &[task_write(&bad), task_write(&claim(key(run, 4), generation))]).await.unwrap();
    assert_eq!(store.bad_task(run, 1).await.unwrap().unwrap(), bad);
    assert_eq!(store.bad_task(run, 0).await.unwrap(), None);
    assert_eq!(store.bad_task(run_id(), 1).await.unwrap(), None);
}

async fn tasks_that_are_there_are_left_alone(store: SharedStore) {
    let generation = first_generation(&store).await;
    let run = run_id();
    let there = claim(key(run, 1), generation);
    store.commit(generation, &[task_write(&there)]).await.unwrap();
    let void = |n| shoal::domain::task::TaskRecord {
        // Not kept: a void task counts as unanswered when it is read again, which concerns active tasks only.
        answered: false,
        ..shoal::domain::task::TaskRecord::void(key(run, n), 0, 200, Millis(-1))
    };
    store.insert_tasks(&[void(0), void(1), void(2)]).await.unwrap();
    let tasks = store.tasks(run, TaskId(0), 10).await.unwrap();
    assert_eq!(tasks, [void(0), there, void(2)]);
    assert_eq!(store.tasks(run, TaskId(1), 1).await.unwrap().len(), 1);
}

async fn task_numbers_of_one_run_are_its_own(store: SharedStore) {
    let generation = first_generation(&store).await;
    let (first, second) = (run_id(), run_id());
    assert_eq!(store.next_task(first).await.unwrap(), TaskId(0));
    let batch =
        [task_write(&claim(key(first, 7), generation)), task_write(&claim(key(second, 2), generation))];
    store.commit(generation, &batch).await.unwrap();
    assert_eq!(store.next_task(first).await.unwrap(), TaskId(8));
    assert_eq!(store.next_task(second).await.unwrap(), TaskId(3));
    assert_eq!(store.task(key(first, 2)).await.unwrap(), None);
}

fn user(username: &str) -> User {
    User {
        id: random::object_id(),
        username: username.into(),
        plain_password: Some("Schlüssel!🔑".into()),
        registration_time: Some(Millis(-62_135_596_800_000)),
        pending: true,
        blocked: false,
        email: "alice@example.com".into(),
        groups: vec!["group:approvers".into(), "group:\"odd\"".into()],
        tests_repo: "https://github.com/alice/Stockfish".into(),
        machine_limit: DEFAULT_MACHINE_LIMIT,
        extra: doc! { "theme": { "dark": true, "n": 1_i64 } },
    }
}

async fn users_keep_every_field(store: SharedStore) {
    let (alice, mut bob) = (user("alice"), user("Bob"));
    store.insert_user(&alice).await.unwrap();
    store.insert_user(&bob).await.unwrap();
    assert_eq!(store.user("alice").await.unwrap().unwrap(), alice);
    assert_eq!(store.user("bob").await.unwrap(), None, "names are case-sensitive");
    assert_eq!(store.users().await.unwrap(), [alice.clone(), bob.clone()]);

    bob.registration_time = None;
    bob.plain_password = None;
    bob.groups.clear();
    bob.machine_limit = u32::MAX;
    bob.blocked = true;
    assert!(store.update_user(&bob).await.unwrap());
    assert_eq!(store.users().await.unwrap(), [alice, bob]);
    assert!(!store.update_user(&user("nobody")).await.unwrap());
}

async fn a_username_is_taken_once(store: SharedStore) {
    let alice = user("alice");
    store.insert_user(&alice).await.unwrap();
    let error = store.insert_user(&user("alice")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Duplicate(what) if what.contains("alice")), "{error}");
    assert_eq!(store.users().await.unwrap(), [alice]);
}

async fn a_secret_replaces_the_plain_password_for_good(store: SharedStore) {
    let alice = user("alice");
    store.insert_user(&alice).await.unwrap();
    assert_eq!(store.secret("alice").await.unwrap(), None);
    store.set_secret("alice", "$argon2id$1").await.unwrap();
    store.set_secret("alice", "$argon2id$2").await.unwrap();
    assert_eq!(store.secret("alice").await.unwrap().as_deref(), Some("$argon2id$2"));
    assert_eq!(store.user("alice").await.unwrap().unwrap().plain_password, None);
    // Somebody changes the account on the ground of what was read before.
    store.update_user(&alice).await.unwrap();
    assert_eq!(store.user("alice").await.unwrap().unwrap().plain_password, None);
}

async fn contributions_are_numbers_of_any_type(store: SharedStore) {
    assert_eq!(store.cpu_hours("bob").await.unwrap(), None);
    for (hours, expected) in [(Bson::Int32(0), 0.0), (Bson::Double(1000.5), 1000.5), (Bson::Int64(7), 7.0)] {
        store.put_user_cache(&doc! { "username": "bob", "cpu_hours": hours }).await.unwrap();
        assert_eq!(store.cpu_hours("bob").await.unwrap(), Some(expected));
    }
}

async fn blocks_come_with_their_entries(store: SharedStore) {
    let block = |name: &str, blocked| WorkerBlock {
        id: random::object_id(),
        name: ShortWorkerName(name.into()),
        blocked,
        message: "many crashes 💥".into(),
        last_updated: Millis(9),
    };
    let (bob, amy) = (block("bob-8cores-1f3c9a07", true), block("amy-1cores-00", true));
    let entry = action("block_worker", 1.0);
    store.put_worker(&bob, std::slice::from_ref(&entry)).await.unwrap();
    store.put_worker(&amy, &[]).await.unwrap();
    assert_eq!(store.worker(&bob.name).await.unwrap(), Some(bob.clone()));
    assert_eq!(store.worker(&ShortWorkerName("nobody".into())).await.unwrap(), None);
    assert_eq!(store.blocked_workers().await.unwrap(), [amy.clone(), bob.clone()]);
    assert_eq!(store.find_actions(&ActionQuery::default(), 10).await.unwrap(), [entry]);

    let free =
        WorkerBlock { blocked: false, message: String::new(), last_updated: Millis(10), ..bob.clone() };
    store.put_worker(&free, &[]).await.unwrap();
    assert_eq!(store.worker(&bob.name).await.unwrap(), Some(free.clone()));
    assert_eq!(store.blocked_workers().await.unwrap(), std::slice::from_ref(&amy));

    // Under a condition: only over what the changer has seen.
    let later =
        WorkerBlock { last_updated: Millis(11), message: "again".into(), blocked: true, ..free.clone() };
    let second = action("block_worker", 2.0);
    for unseen in [None, Some(&bob), Some(&later)] {
        assert!(!store.change_worker(&later, unseen, std::slice::from_ref(&second)).await.unwrap());
    }
    assert_eq!(store.worker(&bob.name).await.unwrap(), Some(free.clone()));
    assert_eq!(store.find_actions(&ActionQuery::default(), 10).await.unwrap().len(), 1);
    assert!(store.change_worker(&later, Some(&free), std::slice::from_ref(&second)).await.unwrap());
    assert_eq!(store.worker(&bob.name).await.unwrap(), Some(later));
    let new = block("zoe-1cores-02", false);
    let third = action("block_worker", 3.0);
    assert!(!store.change_worker(&new, Some(&amy), &[]).await.unwrap());
    assert!(store.change_worker(&new, None, std::slice::from_ref(&third)).await.unwrap());
    assert!(!store.change_worker(&new, None, &[]).await.unwrap());
    assert_eq!(store.worker(&new.name).await.unwrap(), Some(new));
    assert_eq!(store.find_actions(&ActionQuery::default(), 10).await.unwrap().len(), 3);
}

async fn games_come_in_order_and_byte_for_byte(store: SharedStore) {
    let (run, other) = (run_id(), run_id());
    let mut expected = Vec::new();
    for (task, bytes) in [(10, vec![0, 255, 0]), (2, vec![1]), (10, vec![]), (9, b"games".to_vec())] {
        let id = random::object_id();
        store.insert_pgn(key(run, task), id, &bytes).await.unwrap();
        expected.push((PgnEntry { id, task: TaskId(task), size: bytes.len() as u64 }, bytes));
    }
    store.insert_pgn(key(other, 2), random::object_id(), b"not of this run").await.unwrap();
    expected.sort_by_key(|(entry, _)| (entry.task, entry.id));
    let entries: Vec<_> = expected.iter().map(|(entry, _)| *entry).collect();
    assert_eq!(store.run_pgns(run).await.unwrap(), entries);
    for (entry, bytes) in &expected {
        assert_eq!(store.pgn_by_id(entry.id).await.unwrap().as_ref(), Some(bytes));
    }
    assert_eq!(store.pgn(key(run, 10)).await.unwrap(), Some(vec![]), "the newest upload");
    assert_eq!(store.pgn(key(run, 3)).await.unwrap(), None);
    assert_eq!(store.pgn_by_id(random::object_id()).await.unwrap(), None);
    let again = store.insert_pgn(key(run, 10), entries[0].id, b"x").await.unwrap_err();
    assert!(matches!(again, StoreError::Duplicate(_)), "{again}");
}

async fn ten_megabytes_of_games_survive(store: SharedStore) {
    let games: Vec<u8> = (0..10_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let key = key(run_id(), 0);
    store.insert_pgn(key, random::object_id(), &games).await.unwrap();
    assert!(store.pgn(key).await.unwrap().unwrap() == games);
    assert_eq!(store.run_pgns(key.run).await.unwrap()[0].size, 10_000_000);
}

async fn networks_count_their_downloads(store: SharedStore) {
    let net =
        doc! { "_id": random::object_id(), "name": "nn-0000000000a0.nnue", "user": "alice", "downloads": 0 };
    let name = "nn-0000000000a0.nnue";
    assert_eq!(store.net(name).await.unwrap(), None);
    store.count_downloads(name, 3).await.unwrap();
    assert_eq!(store.net(name).await.unwrap(), None, "counting makes no network");
    store.put_net(&net).await.unwrap();
    store.count_downloads(name, 3).await.unwrap();
    store.count_downloads(name, u64::from(u32::MAX)).await.unwrap();
    let mut expected = net;
    expected.insert("downloads", 3 + i64::from(u32::MAX));
    assert_eq!(store.net(name).await.unwrap(), Some(expected));
}

async fn values_of_every_type_survive(store: SharedStore) {
    assert_eq!(store.kv("books").await.unwrap(), None);
    for value in [
        Bson::Null,
        Bson::Double(f64::INFINITY),
        Bson::Int64(1),
        Bson::Int32(1),
        Bson::Array(vec!["a".into(), Bson::Null]),
        Bson::Document(doc! { "UHO_Lichess_4852_v1.epd": { "total": 2_632_036, "min_depth": Bson::Null } }),
    ] {
        store.put_kv("books", &value).await.unwrap();
        assert_eq!(store.kv("books").await.unwrap(), Some(value));
    }
    store.ping().await.unwrap();
}

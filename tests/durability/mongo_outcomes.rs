//! Each outcome of a batch that only a store behind a network has (`durability.md` section 2), and the log entries that
//! a lost connection leaves in their causes (section 7).

use std::sync::Arc;
use std::time::Duration;

use shoal::domain::action_query::ActionQuery;
use shoal::domain::ids::{Generation, Version};
use shoal::store::WriteOutcome::{Applied, Fenced, Superseded};
use shoal::store::mongo::{ConnectError, MongoStore};
use shoal::store::{
    ActionStore, CommitStore, DocumentWrite, RunPatch, RunStore, SharedStore, StoreError, TaskWrite,
};
use shoal::sys::spawn;

use super::fixtures::*;
use super::mongo_server::{MongoFixture, OwnServer, database, settings};
use super::proxy::{Fault, Proxy};

async fn through(fixture: &MongoFixture, proxy: &Proxy, deadline: Duration) -> Arc<MongoStore> {
    let mut settings = settings(&proxy.url(), &fixture.settings.database);
    settings.deadline = deadline;
    Arc::new(MongoStore::connect(&settings).await.unwrap())
}

const PATIENT: Duration = Duration::from_secs(60);
/// Waited for in vain, but long enough for a busy machine to do what comes before.
const IMPATIENT: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn racing_writers_of_one_task_agree_on_the_newest() {
    let Some(fixture) = MongoFixture::new().await else { return };
    let generation = first_generation(&fixture.store()).await;
    for _ in 0..10 {
        let mut versions = vec![claim(key(run_id(), 0), generation)];
        for _ in 0..7 {
            versions.push(update(versions.last().unwrap()));
        }
        let mut racers = Vec::new();
        for record in versions.clone() {
            let store = fixture.mongo();
            racers.push(spawn::task("racer", async move {
                store.commit(generation, &[task_write(&record)]).await.unwrap()[0]
            }));
        }
        for racer in racers {
            let outcome = racer.await.unwrap();
            assert!(matches!(outcome, Applied | Superseded), "{outcome:?}");
        }
        assert_eq!(fixture.mongo().task(versions[0].key).await.unwrap().as_ref(), versions.last());
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_claim_behind_the_seal_is_not_acknowledged_and_is_overwritten() {
    let Some(fixture) = MongoFixture::new().await else { return };
    let (new, old) = (fixture.store(), fixture.another().await);
    let before = first_generation(&new).await;
    let known = claim(key(run_id(), 0), before);
    assert_eq!(old.commit(before, &[task_write(&known)]).await.unwrap(), [Applied]);

    // The old writer has just seen its own fence, and does not look before it writes.
    let after = new.raise_fence(before).await.unwrap().unwrap();
    new.seal(after).await.unwrap();
    let orphan = claim(key(known.key.run, 1), before);
    let batch = [task_write(&orphan), task_write(&update(&known))];
    assert_eq!(old.commit(before, &batch).await.unwrap(), [Fenced(after), Fenced(after)]);
    assert_eq!(new.task(known.key).await.unwrap().unwrap().version, Version(1), "sealed");

    // The orphan lies there, unacknowledged; whoever may claim the number takes it.
    assert_eq!(new.task(orphan.key).await.unwrap().as_ref(), Some(&orphan));
    let mine = claim(orphan.key, after);
    assert_eq!(new.commit(after, &[task_write(&mine)]).await.unwrap(), [Applied]);
    assert_eq!(new.task(orphan.key).await.unwrap(), Some(mine));
    fixture.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_again_and_counts_once() {
    let Some(fixture) = MongoFixture::new().await else { return };
    let proxy = Proxy::start(&fixture.settings.url).await;
    let store = through(&fixture, &proxy, PATIENT).await;
    let generation = first_generation(&fixture.store()).await;
    let first = claim(key(run_id(), 0), generation);
    let second = update(&first);
    for (fault, record, expected) in [
        // It was inserted, and nobody heard of it: our own repetition.
        (Fault::AnswerLost, &first, Superseded),
        (Fault::AnswerLost, &second, Superseded),
        (Fault::RequestLost, &update(&second), Applied),
    ] {
        proxy.fail_next("update", fault);
        assert_eq!(store.commit(generation, &[task_write(record)]).await.unwrap(), [expected], "{fault:?}");
        assert!(proxy.has_failed(), "the fault was not met");
        assert_eq!(fixture.mongo().task(record.key).await.unwrap().as_ref(), Some(record));
    }
    fixture.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_in_trouble_answers_is_asked_for_again_and_counts_once() {
    let Some(fixture) = MongoFixture::new().await else { return };
    let proxy = Proxy::start(&fixture.settings.url).await;
    let store = through(&fixture, &proxy, PATIENT).await;
    let generation = first_generation(&fixture.store()).await;
    for (number, (fault, expected)) in [
        // Nothing was written, and it is written now.
        (Fault::NotPrimary, Applied),
        // It was written, but that wasn't known: our own repetition.
        (Fault::SteppedDown, Superseded),
        (Fault::NoMajority, Superseded),
    ]
    .into_iter()
    .enumerate()
    {
        let first = claim(key(run_id(), number as u32), generation);
        let second = update(&first);
        for record in [&first, &second] {
            proxy.fail_next("update", fault);
            let outcome = store.commit(generation, &[task_write(record)]).await.unwrap();
            assert_eq!(outcome, [expected], "{fault:?}");
            assert!(proxy.has_failed(), "the fault was not met");
            assert_eq!(fixture.mongo().task(record.key).await.unwrap().as_ref(), Some(record));
        }
    }
    // As long as it is so, nothing is acknowledged.
    let hasty = through(&fixture, &proxy, IMPATIENT).await;
    let record = claim(key(run_id(), 9), generation);
    assert_eq!(hasty.fence().await.unwrap(), generation);
    proxy.fail_always("update", Fault::NoMajority);
    let error = hasty.commit(generation, &[task_write(&record)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unknown(_)), "{error}");
    fixture.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stays_away_is_an_unknown_outcome_within_the_deadline() {
    let Some(fixture) = MongoFixture::new().await else { return };
    let generation = first_generation(&fixture.store()).await;
    let proxy = Proxy::start(&fixture.settings.url).await;
    let store = through(&fixture, &proxy, IMPATIENT).await;
    let record = claim(key(run_id(), 0), generation);
    assert_eq!(store.fence().await.unwrap(), generation);
    proxy.fail_always("update", Fault::AnswerLost);
    let began = shoal::sys::clock::stopwatch();
    let error = store.commit(generation, &[task_write(&record)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unknown(_)), "{error}");
    assert!(began.elapsed() < 3 * IMPATIENT, "{:?}", began.elapsed());
    // Unknown is not lost: the repetition is told so.
    proxy.heal();
    let again = through(&fixture, &proxy, PATIENT).await;
    assert_eq!(again.commit(generation, &[task_write(&record)]).await.unwrap(), [Superseded]);
    fixture.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_whose_answer_was_lost_is_known_by_its_nonce() {
    let Some(fixture) = MongoFixture::new().await else { return };
    let proxy = Proxy::start(&fixture.settings.url).await;
    let store = through(&fixture, &proxy, PATIENT).await;
    proxy.fail_next("update", Fault::AnswerLost);
    assert_eq!(store.raise_fence(Generation(0)).await.unwrap(), Some(Generation(1)));
    assert!(proxy.has_failed());
    assert_eq!(store.raise_fence(Generation(0)).await.unwrap(), None);
    fixture.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_did_not_reach_the_log_are_moved_by_whoever_looks() {
    let Some(fixture) = MongoFixture::new().await else { return };
    let generation = first_generation(&fixture.store()).await;
    let proxy = Proxy::start(&fixture.settings.url).await;
    let store = through(&fixture, &proxy, IMPATIENT).await;
    let run = run(run_id());
    fixture.mongo().insert_run(&run, &[]).await.unwrap();
    assert_eq!(store.fence().await.unwrap(), generation);

    // The causes are durable, the log can't be reached: no acknowledgement.
    proxy.fail_always("documents", Fault::RequestLost);
    let (of_task, of_patch) = (action("dead_task", 1.0), action("modify_run", 2.0));
    let record = claim(key(run.id, 0), generation);
    let write =
        DocumentWrite::Task(TaskWrite { record: record.clone().into(), actions: vec![of_task.clone()] });
    let error = store.commit(generation, &[write]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unknown(_) | StoreError::Unavailable(_)), "{error}");
    let patch = RunPatch { set: vec![("approved".into(), true.into())], actions: vec![of_patch.clone()] };
    store.patch_run(run.id, 1, &patch).await.unwrap_err();
    let everything = ActionQuery::default();
    assert!(fixture.mongo().find_actions(&everything, 10).await.unwrap().is_empty());

    // Another process, later.
    let other = fixture.another().await;
    assert_eq!(other.settle_actions().await.unwrap(), 2);
    assert_eq!(other.find_actions(&everything, 10).await.unwrap(), [of_patch, of_task]);
    assert_eq!(other.task(record.key).await.unwrap(), Some(record));
    let mut patched = run.clone();
    patched.meta.args_version = 2;
    patched.doc.insert("approved", true);
    assert_eq!(other.run(run.id).await.unwrap(), Some(patched));
    // Nothing is left for a third one.
    assert_eq!(fixture.another().await.settle_actions().await.unwrap(), 0);
    fixture.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_of_the_database_server() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("database");
    let port = crate::drills::free_port();
    let Some(mut server) = OwnServer::start(&file, port) else { return };
    let mut settings = settings(&server.url, &database());
    settings.deadline = Duration::from_secs(180);
    let store = Arc::new(MongoStore::connect(&settings).await.unwrap());
    store.migrate().await.unwrap();
    let shared: SharedStore = store.clone();
    let generation = first_generation(&shared).await;
    let run = run_id();
    let mut writers = Vec::new();
    for task in 0..4 {
        let store = store.clone();
        writers.push(spawn::task("writer", async move {
            let mut record = claim(key(run, task), generation);
            // Every write is carried over the kills by repetition; each must be acknowledged in the end.
            for _ in 0..60 {
                let outcome = store.commit(generation, &[task_write(&record)]).await.unwrap()[0];
                assert!(matches!(outcome, Applied | Superseded), "{outcome:?}");
                record = update(&record);
            }
            record.version
        }));
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.kill();
        server = OwnServer::start(&file, port).unwrap();
    }
    for (task, writer) in writers.into_iter().enumerate() {
        let next = writer.await.unwrap();
        let stored = store.task(key(run, task as u32)).await.unwrap().unwrap();
        assert_eq!(stored.version.next(), next, "the last acknowledged version is there");
        assert_eq!(stored.stats.draws, 2 * (stored.version.0 - 1), "and counted once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_or_tls_that_never_works_is_told_apart_from_a_server_that_is_away() {
    let Some(fixture) = MongoFixture::new().await else { return };
    let host = fixture.settings.url.hosts().to_owned();
    let connect = async |url: String| {
        let mut settings = settings(&url, &database());
        settings.deadline = Duration::from_secs(4);
        MongoStore::connect(&settings).await.unwrap_err()
    };
    for wrong in [
        format!("mongodb://nobody:hunter2@{host}/admin?authMechanism=SCRAM-SHA-256"),
        format!("mongodb://{host}/?tls=true&tlsCAFile=/there/is/none"),
        format!("mongodb://{host}/?maxPoolSize=many"),
    ] {
        let error = connect(wrong.clone()).await;
        assert!(matches!(error, ConnectError::Never(_)), "{wrong}: {error:?}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let away = connect(format!("mongodb://127.0.0.1:{}", crate::drills::free_port())).await;
    assert!(matches!(away, ConnectError::Now(_)), "{away:?}");
    fixture.finish().await;
}

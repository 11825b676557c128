//! The file: who may open it, what is refused, and what other processes see.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use bson::doc;
use rusqlite::Connection;
use shoal::store::migrate::SchemaError;
use shoal::store::sqlite::{DATABASE_FILE, LOCK_FILE, Mode, OpenError, SqliteStore};
use shoal::store::{CommitStore, MiscStore, RunStore, StoreError, User, UserStore};
use shoal::sys::random;

use super::fixtures::*;

fn refusal(path: &Path, mode: Mode) -> OpenError {
    SqliteStore::open(path, mode).map(|_| ()).unwrap_err()
}

/// A closed database with one task and one network in it.
async fn closed_database() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(DATABASE_FILE);
    let store = SqliteStore::open(&path, Mode::Serve).unwrap();
    store.put_net(&doc! { "name": "nn-0000000000a0.nnue", "downloads": 1 }).await.unwrap();
    drop(store);
    (directory, path)
}

fn account(username: &str) -> User {
    User {
        id: random::object_id(),
        username: username.into(),
        plain_password: None,
        registration_time: None,
        pending: false,
        blocked: false,
        email: String::new(),
        groups: Vec::new(),
        tests_repo: String::new(),
        machine_limit: 16,
        extra: doc! {},
    }
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let fixture = SqliteFixture::new();
    let store = fixture.store();
    let generation = first_generation(&store).await;
    let run = run(run_id());
    let task = claim(key(run.id, 0), generation);
    let entry = action("new_run", 1.0);
    store.insert_run(&run, std::slice::from_ref(&entry)).await.unwrap();
    store.commit(generation, &[task_write(&task)]).await.unwrap();
    store.insert_pgn(task.key, random::object_id(), b"games").await.unwrap();
    store.insert_user(&account("alice")).await.unwrap();
    store.set_secret("alice", "$argon2id$").await.unwrap();
    store.put_kv("books", &bson::Bson::Int32(1)).await.unwrap();
    drop(store);

    let fixture = fixture.reopen();
    let store = fixture.store();
    assert_eq!(store.fence().await.unwrap(), generation);
    assert_eq!(store.run(run.id).await.unwrap().unwrap(), run);
    assert_eq!(store.task(task.key).await.unwrap().unwrap(), task);
    assert_eq!(store.pgn(task.key).await.unwrap().unwrap(), b"games");
    assert_eq!(store.secret("alice").await.unwrap().unwrap(), "$argon2id$");
    assert_eq!(store.kv("books").await.unwrap(), Some(bson::Bson::Int32(1)));
    let all = shoal::domain::action_query::ActionQuery::default();
    assert_eq!(store.find_actions(&all, 9).await.unwrap(), [entry]);
    assert!(store.blocked_workers().await.unwrap().is_empty());
}

#[test]
fn a_second_server_is_refused_by_file_and_process() {
    let fixture = SqliteFixture::new();
    let message = refusal(&fixture.path(), Mode::Serve).to_string();
    assert!(message.contains(&fixture.path().display().to_string()), "{message}");
    assert!(message.contains(&std::process::id().to_string()), "{message}");
    let path = fixture.path();
    let fixture = fixture.reopen();
    assert_eq!(fixture.path(), path, "the lock went with its holder");
}

#[tokio::test]
async fn a_tool_works_beside_a_server_and_is_noticed() {
    let fixture = SqliteFixture::new();
    let server = fixture.sqlite();
    let tool = SqliteStore::open(fixture.path(), Mode::Tool).unwrap();
    assert_eq!(tool.server_running().unwrap(), Some(std::process::id()));

    server.insert_user(&account("alice")).await.unwrap();
    assert!(!server.poll_foreign_changes().await.unwrap(), "its own change is not foreign");
    assert!(tool.user("alice").await.unwrap().is_some());
    tool.insert_user(&account("bob")).await.unwrap();
    assert!(server.poll_foreign_changes().await.unwrap());
    assert!(!server.poll_foreign_changes().await.unwrap());
    assert!(server.user("bob").await.unwrap().is_some());
    server.insert_user(&account("carol")).await.unwrap();
    assert!(!server.poll_foreign_changes().await.unwrap());
    assert!(tool.poll_foreign_changes().await.unwrap());
}

#[test]
fn a_tool_sees_that_no_server_runs() {
    let fixture = SqliteFixture::new();
    let tool = SqliteStore::open(fixture.path(), Mode::Tool).unwrap();
    let path = fixture.path();
    assert!(tool.server_running().unwrap().is_some());
    let directory = fixture.close();
    assert!(path.with_file_name(LOCK_FILE).exists(), "the lock file stays; the lock is gone");
    assert_eq!(tool.server_running().unwrap(), None);
    drop(directory);
}

#[test]
fn another_programs_database_is_refused_and_untouched() {
    for setup in ["CREATE TABLE a (b)", "PRAGMA application_id = 7", "PRAGMA user_version = 3"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(DATABASE_FILE);
        Connection::open(&path).unwrap().execute_batch(setup).unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = refusal(&path, Mode::Serve);
        assert!(matches!(error, OpenError::Foreign { .. }), "{setup}: {error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before, "{setup}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_by_name() {
    let (_directory, path) = closed_database().await;
    let whole = std::fs::read(&path).unwrap();
    let mut schema_overwritten = whole.clone();
    schema_overwritten[100..3000].fill(0xA5);
    for (what, content) in [
        ("not a database", b"this is a text, long enough to be taken for a header. ".repeat(40)),
        ("header overwritten", [&[0xFF; 100][..], &whole[100..]].concat()),
        ("schema overwritten", schema_overwritten),
    ] {
        std::fs::write(&path, content).unwrap();
        let error = refusal(&path, Mode::Serve);
        assert!(matches!(error, OpenError::Damaged { .. }), "{what}: {error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{what}: {error}");
    }
}

#[tokio::test]
async fn damage_inside_is_reported_when_it_is_met() {
    let (_directory, path) = closed_database().await;
    let root: u64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'nns'", [], |row| row.get(0))
        .unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start((root - 1) * 4096)).unwrap();
    file.write_all(&[0xA5; 4096]).unwrap();
    drop(file);

    let store = SqliteStore::open(&path, Mode::Serve).unwrap();
    let error = store.net("nn-0000000000a0.nnue").await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    let error = store.count_downloads("nn-0000000000a0.nnue", 1).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    assert!(!store.check().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_damaged_document_is_named() {
    let fixture = SqliteFixture::new();
    let store = fixture.store();
    let run = run(run_id());
    store.insert_run(&run, &[]).await.unwrap();
    Connection::open(fixture.path()).unwrap().execute("UPDATE runs SET doc = x'0102'", []).unwrap();
    let error = store.run(run.id).await.unwrap_err();
    assert!(matches!(&error, StoreError::Damaged(what) if what.contains(&run.id.to_string())), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (_directory, path) = closed_database().await;
    Connection::open(&path)
        .unwrap()
        .execute("INSERT INTO schema_migrations VALUES ('9999_future', 'x', 0)", [])
        .unwrap();
    let error = refusal(&path, Mode::Serve);
    assert!(matches!(error, OpenError::Schema(SchemaError::Newer(_))), "{error}");
    assert!(error.to_string().contains("9999_future"), "{error}");
}

#[test]
fn a_tool_does_not_upgrade_under_a_server() {
    let fixture = SqliteFixture::new();
    Connection::open(fixture.path()).unwrap().execute("DELETE FROM schema_migrations", []).unwrap();
    let error = refusal(&fixture.path(), Mode::Tool);
    assert!(
        matches!(error, OpenError::UpgradeUnderServer { pid, .. } if pid == std::process::id()),
        "{error}"
    );
}

#[tokio::test]
async fn a_deadline_tells_what_is_known_of_a_write() {
    let fixture = SqliteFixture::new();
    let tool =
        SqliteStore::open(fixture.path(), Mode::Tool).unwrap().with_deadline(Duration::from_millis(1500));
    let blocker = Connection::open(fixture.path()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (waiting, withdrawn) = (account("waiting"), account("withdrawn"));
    let (first, second) = tokio::join!(tool.insert_user(&waiting), tool.insert_user(&withdrawn));
    assert!(matches!(first, Err(StoreError::Unknown(_))), "{first:?}: it waits for the other process");
    assert!(matches!(second, Err(StoreError::Unavailable(_))), "{second:?}: it was never begun");
    assert_eq!(tool.users().await.unwrap(), [], "readers aren't kept waiting");
    blocker.execute_batch("ROLLBACK").unwrap();
    // Writes are done in their order: when this one is there, the others are decided.
    let tool = tool.with_deadline(Duration::from_secs(5));
    tool.insert_user(&account("last")).await.unwrap();
    let names: Vec<_> = tool.users().await.unwrap().into_iter().map(|user| user.username).collect();
    assert_eq!(names, ["waiting", "last"]);
}

#[tokio::test]
async fn a_backup_is_a_whole_database() {
    let fixture = SqliteFixture::new();
    let store = fixture.sqlite();
    let shared = fixture.store();
    let generation = first_generation(&shared).await;
    let run = run_id();
    let batch: Vec<_> = (0..2000).map(|n| task_write(&claim(key(run, n), generation))).collect();
    store.commit(generation, &batch).await.unwrap();
    let target = fixture.path().with_file_name("copy.db");
    let writer = store.clone();
    let late: Vec<_> = (2000..2050).map(|n| task_write(&claim(key(run, n), generation))).collect();
    let (copied, written) = tokio::join!(store.backup_to(&target), writer.commit(generation, &late));
    copied.unwrap();
    written.unwrap();
    assert!(store.backup_to(&target).await.is_err(), "a backup never overwrites a file");

    let copy = SqliteStore::open(&target, Mode::Tool).unwrap();
    assert_eq!(copy.check().await.unwrap(), Vec::<String>::new());
    let tasks = copy.tasks(run, shoal::domain::ids::TaskId(0), 9999).await.unwrap().len();
    assert!(tasks == 2000 || tasks == 2050, "all of a batch or nothing: {tasks}");
}

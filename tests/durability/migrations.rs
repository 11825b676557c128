//! The schema: applied once, whoever else starts at the same time; and not by a version that doesn't know it.

use std::process::{Command, Output, Stdio};

use shoal::store::mongo::{MIGRATIONS, MongoStore};

use super::mongo_server::{MongoFixture, database, settings, url};
use crate::drills::SHOAL;

fn shoal(data: &std::path::Path, database: &str, args: &[&str]) -> Command {
    let mut command = Command::new(SHOAL);
    command
        .args(args)
        .env("SHOAL_DATA_DIR", data)
        .env("SHOAL_MONGODB_URL", url().unwrap())
        .env("SHOAL_MONGODB_DATABASE", database)
        .env("SHOAL_MONGODB_DEADLINE", "20s")
        .env_remove("SHOAL_CONFIG")
        .current_dir(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn four_processes_that_migrate_at_once_apply_each_step_once() {
    let Some(url) = url() else { return };
    let (data, database) = (tempfile::tempdir().unwrap(), database());
    let status = shoal(data.path(), &database, &["migrate", "status"]).output().unwrap();
    assert_eq!(status.status.code(), Some(2), "{}", said(&status));

    let children: Vec<_> =
        (0..4).map(|_| shoal(data.path(), &database, &["migrate", "up"]).spawn().unwrap()).collect();
    let mut applied = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        applied.extend(text.lines().filter_map(|line| line.strip_prefix("applied ")).map(str::to_owned));
    }
    let known: Vec<_> = MIGRATIONS.iter().map(|step| step.name).collect();
    assert_eq!(applied, known, "each step by one of them");

    let status = shoal(data.path(), &database, &["migrate", "status"]).output().unwrap();
    assert!(status.status.success(), "{}", said(&status));
    assert!(said(&status).contains(&format!("{}  applied 20", known[0])), "{}", said(&status));
    let plan = shoal(data.path(), &database, &["migrate", "plan"]).output().unwrap();
    assert_eq!(said(&plan).trim(), "-- 0 to apply");

    let store = MongoStore::connect(&settings(url, &database)).await.unwrap();
    for (collection, index) in [("users", "username_1"), ("tasks", "active_tasks"), ("runs", "finished_runs")]
    {
        let names = store.index_names(collection).await.unwrap();
        assert!(names.iter().any(|name| name == index), "{collection}: {names:?}");
    }
    store.drop_database().await.unwrap();
}

#[tokio::test]
async fn commands_refuse_a_schema_that_they_do_not_know() {
    let Some(fixture) = MongoFixture::new().await else { return };
    let client = mongodb::Client::with_uri_str(url().unwrap()).await.unwrap();
    let steps = client.database(&fixture.settings.database).collection("schema_migrations");
    steps.insert_one(bson::doc! { "_id": "9999_future", "checksum": "x" }).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let database = fixture.settings.database.clone();
    // A server waits for one that it does: see the cluster's tests of readiness.
    for args in [&["user", "list"][..], &["migrate", "up"], &["migrate", "status"]] {
        let output = shoal(data.path(), &database, args).output().unwrap();
        assert!(!output.status.success());
        assert!(said(&output).contains("newer version of shoal (step 9999_future)"), "{}", said(&output));
    }
    let doctor = shoal(data.path(), &database, &["doctor"]).output().unwrap();
    assert_eq!(doctor.status.code(), Some(2), "{}", said(&doctor));
    assert!(said(&doctor).contains("9999_future"), "{}", said(&doctor));
    fixture.finish().await;
}

#[test]
fn a_server_alone_with_its_file_does_not_wait_for_another_schema() {
    let data = tempfile::tempdir().unwrap();
    let shoal = |args: &[&str]| crate::drills::command(data.path(), args).output().unwrap();
    assert!(shoal(&["migrate", "up"]).status.success());
    let file = rusqlite::Connection::open(data.path().join("shoal.db")).unwrap();
    let step =
        "INSERT INTO schema_migrations (name, checksum, applied_at) VALUES ('9999_contract_future', 'x', 0)";
    file.execute(step, []).unwrap();
    drop(file);
    let output = shoal(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(!output.status.success());
    assert!(
        said(&output).contains("newer version of shoal (step 9999_contract_future)"),
        "{}",
        said(&output)
    );
}

#[test]
fn the_schema_of_a_file_is_shown_without_making_it() {
    let data = tempfile::tempdir().unwrap();
    let shoal = |args: &[&str]| crate::drills::command(data.path(), args).output().unwrap();
    let status = shoal(&["migrate", "status"]);
    assert_eq!(status.status.code(), Some(2));
    assert!(said(&status).contains("0001_initial  pending"), "{}", said(&status));
    assert!(said(&shoal(&["migrate", "plan"])).contains("CREATE TABLE runs"));
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "nothing was made");
    assert!(said(&shoal(&["migrate", "up"])).contains("applied 0001_initial"));
    assert!(!said(&shoal(&["migrate", "up"])).contains("applied"));
    assert!(shoal(&["migrate", "status"]).status.success());
}

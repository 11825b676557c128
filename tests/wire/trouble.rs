//! Trouble of the server's own: no worker loses its task, no reader waits for ever, and the process goes on
//! (architecture, section 7; I18).

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use shoal::http::HttpSettings;
use shoal::http::control::serve_control;
use shoal::service::FarmSettings;
use shoal::service::control::Control;
use shoal::service::degrade::StorePolicy;
use shoal::sys::{clock, spawn};

use super::farm::*;

#[tokio::test]
async fn a_bug_is_something_to_try_again_for_workers_and_a_500_for_readers() {
    let farm = TestFarm::start().await;
    let run = farm.run(fixed_games(400)).await;
    let worker = Worker::new(1);
    worker.take(&farm).await;
    farm.farm.accounts.invalidate();
    farm.faults.panics.store(true, Ordering::SeqCst);
    for path in TASK_PATHS {
        farm.post(path, &worker.about(&run, 0)).await.is_try_again();
    }
    assert_eq!(farm.get("/api/finished_runs?page=1").await.status, 500);
    farm.is_healthy().await;
    farm.faults.heal();
    let alive = farm.post("/api/beat", &worker.about(&run, 0)).await.ok();
    assert_eq!(alive, json!({"task_alive": true}));
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_acknowledged_and_heartbeats_go_on() {
    let farm = TestFarm::start().await;
    let run = farm.run(fixed_games(400)).await;
    let worker = Worker::new(1);
    worker.take(&farm).await;
    let report = worker.report(&run, 0, stats([0, 0, 1, 0, 0]));
    farm.faults.fail_after(0);
    for _ in 0..2 {
        // The repetition isn't answered either: what it repeats is not durable.
        farm.post("/api/update_task", &report).await.is_try_again();
    }
    assert_eq!(farm.post("/api/beat", &worker.about(&run, 0)).await.ok(), json!({"task_alive": true}));
    farm.faults.heal();
    assert_eq!(farm.post("/api/update_task", &report).await.ok(), json!({"task_alive": true}));
    assert_eq!(farm.show(&run).await["results"]["draws"], 2, "counted once");
}

#[tokio::test]
async fn a_farm_that_goes_on_without_its_store_says_so() {
    let policy = FarmSettings { store_policy: StorePolicy::Degrade, ..FarmSettings::default() };
    let farm = TestFarm::start_with(settings(), policy).await;
    let run = farm.run(fixed_games(2000)).await;
    let worker = Worker::new(1);
    worker.take(&farm).await;
    let report = worker.report(&run, 0, stats([0, 0, 1, 0, 0]));
    farm.faults.fail_after(0);
    farm.faults.deaf.store(true, Ordering::SeqCst);
    let answer = farm.post("/api/update_task", &report).await;
    assert_eq!(answer.header("shoal-durable"), Some("no"));
    assert_eq!(answer.ok(), json!({"task_alive": true}));
    let ready = loop {
        let ready = farm.says(200).await;
        if ready["state"] == "degraded" {
            break ready;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(ready["degraded"], true, "{ready}");
    assert_ne!(ready["store"], "ok", "{ready}");
    assert_eq!(ready["culprits"][0]["what"], "store", "{ready}");
    farm.post("/api/request_task", &Worker::new(2).body()).await.is_try_again();
    farm.faults.heal();
    let answer = farm.post("/api/update_task", &report).await;
    assert_eq!(answer.header("shoal-durable"), None);
    assert_eq!(answer.ok(), json!({"task_alive": true}));
    assert_eq!(farm.show(&run).await["results"]["draws"], 2, "counted once");
}

#[tokio::test]
async fn an_answer_that_does_not_come_ends_at_the_deadline() {
    let limits = HttpSettings { request_deadline: Duration::from_secs(4), ..settings() };
    let farm = TestFarm::start_with(limits, FarmSettings::default()).await;
    let run = farm.run(fixed_games(400)).await;
    let worker = Worker::new(1);
    worker.take(&farm).await;
    farm.faults.stalls.store(true, Ordering::SeqCst);
    let began = clock::stopwatch();
    farm.post("/api/update_task", &worker.report(&run, 0, stats([0, 0, 1, 0, 0]))).await.is_try_again();
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(farm.post("/api/beat", &worker.about(&run, 0)).await.ok(), json!({"task_alive": true}));
    assert_eq!(farm.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_purged_task_is_shown_with_what_it_had() {
    let farm = TestFarm::start().await;
    let run = farm.run(fixed_games(2000)).await;
    let (good, bad) = (Worker::new(1), Worker::new(2));
    good.take(&farm).await;
    bad.take(&farm).await;
    farm.post("/api/update_task", &good.report(&run, 0, stats([0, 1, 8, 1, 0]))).await.ok();
    let mut crashed = stats([0, 1, 8, 1, 0]);
    crashed["crashes"] = 7.into();
    farm.post("/api/update_task", &bad.report(&run, 1, crashed)).await.ok();
    farm.farm.control(Control::RunStop { run: run.clone(), actor: "alice".into() }).await.unwrap();
    farm.farm.control(Control::RunPurge { run: run.clone(), actor: "bob".into() }).await.unwrap();

    let shown = farm.get(&format!("/api/get_task/{run}/0bad")).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    let shown = shown.json();
    assert_eq!(
        (&shown["bad"], &shown["task_id"], &shown["active"]),
        (&json!(true), &json!(1), &json!(false))
    );
    assert_eq!((&shown["stats"]["crashes"], &shown["stats"]["draws"]), (&json!(7), &json!(18)));
    let left = farm.get(&format!("/api/get_task/{run}/1")).await.json();
    assert_eq!(left["stats"], stats([0; 5]));
    assert_eq!(farm.get(&format!("/api/get_task/{run}/1bad")).await.status, 404);
    let results = &farm.show(&run).await["results"];
    assert_eq!((&results["draws"], &results["crashes"]), (&json!(18), &json!(0)));
}

#[tokio::test]
async fn the_control_socket_is_its_owners_alone_and_repeats_no_secret() {
    let farm = TestFarm::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let server = serve_control(farm.farm.clone(), &path).unwrap();
    let handle = server.handle();
    drop(spawn::task("control", server));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let client = shoal::sys::web::client().unix_socket(path.clone()).build().unwrap();
    let send = |body: String| client.post("http://shoal/control").body(body).send();

    let list = send(json!({"command": "user_list"}).to_string()).await.unwrap();
    let (status, text) = (list.status().as_u16(), list.text().await.unwrap());
    assert!(status == 200 && text.contains("alice"), "{status} {text}");
    for (body, expected) in [
        (format!(r#"{{"command":"user_add","password":"{PASSWORD}","oops"#), 400),
        (json!({"command": "user_add", "password": [PASSWORD]}).to_string(), 400),
        (json!({"command": PASSWORD}).to_string(), 400),
        (json!({"command": "run_stop", "run": "f".repeat(24), "actor": "alice"}).to_string(), 404),
    ] {
        let answer = send(body).await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(status, expected, "{text}");
        let error: Value = serde_json::from_str(&text).unwrap();
        assert!(error["error"].is_string() && !text.contains(PASSWORD), "{text}");
    }
    // Somebody answers there: no second server takes the socket away.
    let second = serve_control(farm.farm.clone(), &path).err().unwrap();
    assert_eq!(second.kind(), std::io::ErrorKind::AddrInUse);
    handle.stop(true).await;
}

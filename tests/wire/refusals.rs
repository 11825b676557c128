//! What a worker does wrong is told to it, and changes nothing (`worker-api` sections 1.8, 2, 3 and 8).

use reqwest::Method;
use serde_json::{Value, json};
use shoal::service::control::Control;

use super::farm::*;

#[tokio::test]
async fn what_is_not_json_is_refused_before_anything_else() {
    let farm = TestFarm::start().await;
    for path in WORKER_PATHS {
        for body in [&b"{"[..], b"", b"\xff\xfe{}", b"{} {}", b"nonsense", b"{\"password\":NaN}", b"{'a':1}"]
        {
            let reply = farm.send(Method::POST, path, &[], body.to_vec()).await;
            assert_eq!(reply.refusal(400, path), "request is not json encoded", "{body:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_a_request_is_refused_before_the_password_is_looked_at() {
    let farm = TestFarm::start().await;
    let bodies = [
        json!([]),
        json!(null),
        json!("x"),
        json!({}),
        json!({"worker_info": {"username": "alice"}}),
        json!({"password": "wrong"}),
        json!({"password": 1, "worker_info": {"username": "alice"}}),
        json!({"password": "wrong", "worker_info": {}}),
        json!({"password": "wrong", "worker_info": {"username": "a"}}),
        json!({"password": "wrong", "worker_info": {"username": "not valid"}}),
        json!({"password": "wrong", "worker_info": []}),
    ];
    for path in WORKER_PATHS {
        for body in &bodies {
            let text = farm.post(path, body).await.refusal(400, path);
            assert!(text.contains("request"), "{text}");
        }
    }
}

#[tokio::test]
async fn the_state_of_an_account_shows_only_with_its_password() {
    let farm = TestFarm::start().await;
    for name in ["pending", "blocked", "both"] {
        farm.add_user(name, false).await;
    }
    for name in ["blocked", "both"] {
        farm.farm.control(Control::UserBlock { username: name.into(), blocked: true }).await.unwrap();
    }
    for name in ["pending", "both"] {
        let mut user = farm.farm.store.user(name).await.unwrap().unwrap();
        user.pending = true;
        farm.farm.store.update_user(&user).await.unwrap();
    }
    farm.farm.accounts.invalidate();
    let unknown = "Invalid username or password.";
    let blocked = "Your account is blocked.";
    let cases = [
        ("nobody", unknown),
        ("Alice", unknown),
        ("pending", "Your account is pending approval."),
        ("blocked", blocked),
        ("both", blocked),
    ];
    for path in WORKER_PATHS {
        for (name, message) in cases {
            let body = Worker::of(name, 1).body();
            assert_eq!(farm.post(path, &body).await.refusal(401, path), message, "{name}");
        }
        for name in ["alice", "pending", "blocked"] {
            let wrong = Worker { password: "wrong".into(), ..Worker::of(name, 1) };
            assert_eq!(farm.post(path, &wrong.body()).await.refusal(401, path), unknown, "{name}");
        }
        let empty = Worker { password: String::new(), ..Worker::new(1) };
        assert_eq!(farm.post(path, &empty.body()).await.refusal(401, path), unknown);
    }
}

#[tokio::test]
async fn any_release_of_the_worker_learns_the_version() {
    let farm = TestFarm::start().await;
    let body = json!({
        "password": PASSWORD, "future": [1], "worker_info": {"username": "alice", "version": "1000", "more": {}},
    });
    assert_eq!(farm.post("/api/request_version", &body).await.ok(), json!({"version": 325}));
    for path in &WORKER_PATHS[1..] {
        farm.post(path, &body).await.refusal(400, path);
    }
}

#[tokio::test]
async fn a_field_that_is_wrong_is_named_with_its_value() {
    let farm = TestFarm::start().await;
    let path = "/api/request_task";
    let wrong: [(&str, Value, &str); 15] = [
        ("worker_arch", json!("pdp-11"), "pdp-11"),
        ("concurrency", json!(0), "concurrency"),
        ("concurrency", json!(-1), "concurrency"),
        ("concurrency", json!(7.0), "concurrency"),
        ("concurrency", json!(true), "concurrency"),
        ("min_threads", json!(0), "min_threads"),
        ("max_memory", json!(-1), "max_memory"),
        ("architecture", json!(["64bit"]), "architecture"),
        ("python_version", json!([3, 12]), "python_version"),
        ("gcc_version", json!([13, 2, "x"]), "gcc_version"),
        ("compiler", json!("cl"), "cl"),
        ("unique_key", json!("x-5a28-4b7d-b27b-d78d97ecf11a"), "unique_key"),
        ("unique_key", json!("amaya-5a28-4b7d-b27b-d78d97ecf11a\n"), "unique_key"),
        ("nps", json!(-1.5), "nps"),
        ("modified", json!(null), "modified"),
    ];
    for (key, value, named) in wrong {
        let mut body = Worker::new(1).body();
        body["worker_info"][key] = value.clone();
        let text = farm.post(path, &body).await.refusal(400, path);
        assert!(text.contains(named), "{key} {value}: {text}");
    }
    for key in Worker::new(1).info().as_object().unwrap().keys().filter(|key| *key != "username") {
        let mut body = Worker::new(1).body();
        body["worker_info"].as_object_mut().unwrap().remove(key);
        let text = farm.post(path, &body).await.refusal(400, path);
        assert!(text.contains(key.as_str()) && text.contains("missing"), "{text}");
    }
    for (key, value) in [
        ("foo", json!(1)),
        ("run_id", json!("xyz")),
        ("run_id", json!(null)),
        ("task_id", json!(-1)),
        ("message", json!(1)),
        ("pgn", json!(null)),
    ] {
        let mut body = Worker::new(1).body();
        body[key] = value;
        let text = farm.post(path, &body).await.refusal(400, path);
        assert!(text.contains(key), "{text}");
    }
}

#[tokio::test]
async fn inconsistent_results_are_refused_and_count_nothing() {
    let farm = TestFarm::start().await;
    let worker = Worker::new(1);
    let run = farm.run(fixed_games(400)).await;
    worker.take(&farm).await;
    let before = farm.show(&run).await;
    let path = "/api/update_task";
    let good = json!({"wins": 1, "losses": 1, "draws": 0, "crashes": 0, "time_losses": 0, "pentanomial": [0, 0, 1, 0, 0]});
    let changed = |key: &str, value: Value| {
        let mut stats = good.clone();
        stats[key] = value;
        stats
    };
    for stats in [
        changed("wins", json!(-1)),
        changed("crashes", json!(-1)),
        changed("wins", json!(2)),
        changed("wins", json!(1.0)),
        changed("wins", json!(9_223_372_036_854_775_808_u64)),
        changed("pentanomial", json!([0, 0, 1, 0])),
        changed("pentanomial", json!([0, 0, 0, 0, 0])),
        changed("pentanomial", json!([0, 0, -1, 0, 2])),
        changed("more", json!(1)),
        json!({"wins": 100, "losses": 60, "draws": 40, "crashes": 0, "time_losses": 0, "pentanomial": [10, 10, 40, 30, 10]}),
        json!({"wins": 2, "losses": 1, "draws": 0, "crashes": 0, "time_losses": 0, "pentanomial": [0, 0, 1, 0, 0]}),
        json!({}),
        json!([]),
        json!(null),
    ] {
        let text = farm.post(path, &worker.report(&run, 0, stats.clone())).await.refusal(400, path);
        assert!(text.contains("stats"), "{stats}: {text}");
    }
    let raw = worker.report(&run, 0, json!("@")).to_string().replace("\"@\"", "{\"wins\":NaN}");
    let reply = farm.send(Method::POST, path, &[], raw.into_bytes()).await;
    assert_eq!(reply.refusal(400, path), "request is not json encoded");
    assert_eq!(farm.show(&run).await["results"], before["results"]);
    // The task lives: the good report is taken.
    assert_eq!(farm.post(path, &worker.report(&run, 0, good)).await.ok(), json!({"task_alive": true}));
}

#[tokio::test]
async fn a_task_must_be_named_exist_and_be_ones_own() {
    let farm = TestFarm::start().await;
    let worker = Worker::new(1);
    let run = farm.run(json!({})).await;
    let (_, task, _) = worker.take(&farm).await;
    assert_eq!(task, 0);
    farm.add_user("carol", false).await;
    let full = |mut body: Value| {
        body["stats"] = stats([0, 0, 1, 0, 0]);
        body["pgn"] = super::games::encoded(b"games").into();
        body
    };
    for path in TASK_PATHS {
        let refused = async |body: Value| farm.post(path, &full(body)).await.refusal(400, path);
        let mut without_run = worker.body();
        without_run["task_id"] = json!(0);
        assert!(refused(without_run).await.contains("run_id"));
        let mut without_task = worker.body();
        without_task["run_id"] = run.as_str().into();
        let text = refused(without_task).await;
        assert_eq!(text, "Missing task_id", "{path}");
        assert_eq!(refused(worker.body()).await, "Missing run_id", "{path}");
        let unknown = "f".repeat(24);
        assert_eq!(refused(worker.about(&unknown, 0)).await, format!("Invalid run_id: {unknown}"));
        for number in [1, u64::from(u32::MAX) + 1] {
            let text = refused(worker.about(&run, number)).await;
            assert_eq!(text, format!("Invalid task_id {number} for run_id {run}"), "{path}");
        }
        let other = Worker::new(2);
        assert_eq!(
            refused(other.about(&run, 0)).await,
            format!(
                "Invalid unique_key for task {run}/0. From task: {}. From request: {}.",
                worker.unique_key, other.unique_key
            )
        );
        assert_eq!(
            refused(Worker::of("carol", 1).about(&run, 0)).await,
            format!("Invalid username for task {run}/0. From task: alice. From request: carol.")
        );
    }
    // Nothing of that closed the task or counted a game.
    let task = farm.get(&format!("/api/get_task/{run}/0")).await.json();
    assert_eq!((&task["active"], &task["stats"]["draws"]), (&json!(true), &json!(0)));
    assert_eq!(farm.get(&format!("/api/pgn/{run}-0.pgn")).await.status, 404);
    assert!(farm.log(json!({"action": {"$in": ["failed_task", "stop_run"]}})).await.is_empty());
    // Upper case names the same run.
    let upper = worker.about(&run.to_uppercase(), 0);
    assert_eq!(farm.post("/api/beat", &upper).await.ok(), json!({"task_alive": true}));
}

#[tokio::test]
async fn the_line_of_a_worker_is_logged_and_cut() {
    let farm = TestFarm::start().await;
    let worker = Worker::new(1);
    let run = farm.run(json!({})).await;
    let path = "/api/worker_log";
    let mut body = worker.body();
    body["run_id"] = run.as_str().into();
    assert_eq!(farm.post(path, &body).await.refusal(400, path), "Missing task_id for worker_log run context");
    assert!(farm.log(json!({"action": "worker_log"})).await.is_empty());
    let mut body = worker.body();
    body["message"] = "é".repeat(5145).into();
    assert_eq!(farm.post(path, &body).await.ok(), json!({}));
    worker.take(&farm).await;
    let mut body = worker.about(&run, 0);
    body["message"] = "with context".into();
    assert_eq!(farm.post(path, &body).await.ok(), json!({}));
    let log = farm.log(json!({"action": "worker_log"})).await;
    assert_eq!(log.len(), 2);
    assert_eq!(log[0]["message"], "with context");
    assert_eq!(log[0]["run_id"], run.as_str());
    assert_eq!(log[0]["task_id"], 0);
    assert_eq!(
        log[0]["run"],
        shoal::domain::names::run_name(shoal::domain::ids::RunId::parse(&run).unwrap(), "my_patch")
    );
    assert_eq!(log[1]["message"].as_str().unwrap(), "é".repeat(5120));
    assert_eq!(log[1]["worker"], worker.long_name());
    assert_eq!(log[1].get("run_id"), None);
}

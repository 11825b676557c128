//! Tasks from the worker's side: assigned, kept alive, reported, given back (`worker-api` sections 5 and 6).

use serde_json::json;
use shoal::service::control::Control;

use super::farm::*;

#[tokio::test]
async fn without_runs_nobody_waits() {
    let farm = TestFarm::start().await;
    let nothing = json!({"task_waiting": false});
    assert_eq!(farm.post("/api/request_task", &Worker::new(1).body()).await.ok(), nothing);
    farm.pending_run(json!({})).await;
    assert_eq!(farm.post("/api/request_task", &Worker::new(1).body()).await.ok(), nothing);
}

#[tokio::test]
async fn a_task_comes_with_all_that_its_worker_reads() {
    let farm = TestFarm::start().await;
    let sri = "S".repeat(64);
    let table = json!({"UHO_Lichess_4852_v1.epd": {
        "total": 2, "white": 1, "black": 1, "min_depth": 1, "max_depth": 2, "sri": sri}});
    farm.farm.control(Control::Books { table }).await.unwrap();
    let run = farm.run(json!({})).await;
    let answer = farm.post("/api/request_task", &Worker::new(1).body()).await.ok();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&answer), ["run", "task_id"]);
    assert_eq!(keys(&answer["run"]), ["_id", "args", "my_task"]);
    assert_eq!(keys(&answer["run"]["my_task"]), ["num_games", "start", "stats"]);
    assert_eq!(answer["run"]["_id"], run.as_str());
    assert_eq!(answer["run"]["args"]["book_sri"], sri);
    assert_eq!(answer["run"]["args"]["sprt"]["batch_size"], 16);
    assert_eq!(answer["run"]["args"]["resolved_new"], "b".repeat(40));
    let task = &answer["run"]["my_task"];
    assert_eq!((&task["start"], &answer["task_id"]), (&json!(0), &json!(0)));
    assert!(task["num_games"].as_u64().is_some_and(|games| games > 0 && games.is_multiple_of(2)));
    assert_eq!(farm.show(&run).await["args"].get("book_sri"), None, "it is never stored");
    // The next task begins where this one ends.
    let (_, task_id, second) = Worker::new(2).take(&farm).await;
    assert_eq!((task_id, &second["start"]), (1, &task["num_games"]));
}

#[tokio::test]
async fn the_same_worker_asking_twice_gets_tasks_and_the_first_is_over() {
    let farm = TestFarm::start().await;
    let run = farm.run(json!({})).await;
    let worker = Worker::new(1);
    worker.take(&farm).await;
    // The first answer arrived: its task was worked on.
    farm.post("/api/beat", &worker.about(&run, 0)).await.ok();
    let second = farm.post("/api/request_task", &worker.body()).await.ok();
    assert_eq!(second.get("error"), None);
    assert_eq!(second["task_id"], 1);
    assert_eq!(farm.post("/api/beat", &worker.about(&run, 0)).await.ok(), json!({"task_alive": false}));
    assert_eq!(farm.post("/api/beat", &worker.about(&run, 1)).await.ok(), json!({"task_alive": true}));
}

#[tokio::test]
async fn another_machine_of_that_name_is_told_who_is_there() {
    let farm = TestFarm::start().await;
    let run = farm.run(json!({})).await;
    let first = Worker::new(1);
    first.take(&farm).await;
    let second = Worker { unique_key: first.unique_key.replace("5a28", "beef"), ..first.clone() };
    let answer = farm.post("/api/request_task", &second.body()).await.ok();
    assert_eq!(answer["task_waiting"], false);
    let error = answer["error"].as_str().unwrap();
    let start =
        format!("Request_task: There is already a worker running with name \"{}\" which ", first.long_name());
    assert!(error.starts_with(&start), "{error}");
    let end = format!(" seconds ago sent an update for task {run}/0 (my name is \"{}\")", second.long_name());
    assert!(error.ends_with(&end), "{error}");
}

#[tokio::test]
async fn an_account_has_so_many_machines_an_address() {
    let farm = TestFarm::start().await;
    farm.run(json!({})).await;
    farm.farm.control(Control::UserMachineLimit { username: "alice".into(), limit: 2 }).await.unwrap();
    for n in 0..2 {
        Worker::new(n).take(&farm).await;
    }
    let answer = farm.post("/api/request_task", &Worker::new(3).body()).await.ok();
    let refusal =
        json!({"task_waiting": false, "error": "Request_task: Machine limit reached for user alice"});
    assert_eq!(answer, refusal);
    let elsewhere = [("x-forwarded-for", "203.0.113.9")];
    let body = Worker::new(3).body().to_string().into_bytes();
    let answer = farm.send(reqwest::Method::POST, "/api/request_task", &elsewhere, body).await.ok();
    assert_eq!(answer["task_id"], 2);
}

#[tokio::test]
async fn a_blocked_worker_reads_why_and_where_to_turn() {
    let farm = TestFarm::start().await;
    farm.run(json!({})).await;
    let worker = Worker::new(1);
    let block = Control::WorkerBlock {
        worker: worker.short_name(),
        actor: "bob".into(),
        blocked: true,
        reason: "Too many time losses".into(),
    };
    farm.farm.control(block).await.unwrap();
    let headers = [("host", "farm.example"), ("x-forwarded-proto", "https")];
    let body = worker.body().to_string().into_bytes();
    let answer = farm.send(reqwest::Method::POST, "/api/request_task", &headers, body).await.ok();
    let (stars, short) = ("*".repeat(70), worker.short_name());
    let text = format!(
        "\n\n{stars}\nRequest_task: This worker has been blocked!\nMessage: Too many time losses\nYou may possibly \
         find more information at\nhttps://farm.example/actions?text=%22{short}%22.\nIf you require help, feel free \
         to contact the #fishtest-dev channel on\nthe Stockfish Discord server: \
         https://discord.com/invite/awnh2qZfTT.\nAfter fixing the issues you can unblock the worker \
         at\nhttps://farm.example/workers/{short}.\n{stars}\n"
    );
    assert_eq!(answer, json!({"task_waiting": false, "error": text}));
}

#[tokio::test]
async fn an_acknowledged_report_is_seen_by_the_next_read_and_counts_once() {
    let farm = TestFarm::start().await;
    let run = farm.run(fixed_games(4000)).await;
    let worker = Worker::new(1);
    worker.take(&farm).await;
    for pairs in 1..=5 {
        let report = worker.report(&run, 0, stats([0, 0, pairs, 0, 0]));
        for _ in 0..2 {
            let answer = farm.post("/api/update_task", &report).await.ok();
            assert_eq!(answer, json!({"task_alive": true}));
            assert_eq!(farm.show(&run).await["results"], stats([0, 0, pairs, 0, 0]));
            let task = farm.get(&format!("/api/get_task/{run}/0")).await.json();
            assert_eq!(task["stats"], stats([0, 0, pairs, 0, 0]));
        }
    }
}

#[tokio::test]
async fn contradictory_reports_end_their_task() {
    let farm = TestFarm::start().await;
    let run = farm.run(fixed_games(4000)).await;
    let path = "/api/update_task";
    let before = stats([0, 0, 3, 0, 0]);
    let fewer = stats([0, 0, 1, 1, 0]);
    let worker = Worker::new(1);
    worker.take(&farm).await;
    farm.post(path, &worker.report(&run, 0, before.clone())).await.ok();
    let answer = farm.post(path, &worker.report(&run, 0, fewer)).await.ok();
    assert_eq!(answer["task_alive"], false);
    let error = answer["error"].as_str().unwrap();
    let start = format!("Update_task: task {run}/0 has incompatible stats. Before ");
    assert!(error.starts_with(&start) && error.ends_with("SPSA_games 0."), "{error}");
    // It is closed; its games stay.
    let late = farm.post(path, &worker.report(&run, 0, stats([0, 0, 4, 0, 0]))).await.ok();
    let info = format!("Update_task: task {run}/0 is not active");
    assert_eq!(late, json!({"task_alive": false, "info": info}));
    assert_eq!(farm.show(&run).await["results"], before);
    // A contradiction is the worker's affair: the log has nothing of it.
    assert_eq!(farm.log(json!({"action": "failed_task", "run_id": run})).await.len(), 0);
}

#[tokio::test]
async fn a_report_of_half_a_batch_ends_its_task() {
    let farm = TestFarm::start().await;
    let run = farm.run(json!({})).await;
    let worker = Worker::new(1);
    let answer = farm.post("/api/request_task", &worker.body()).await.ok();
    let batch = answer["run"]["args"]["sprt"]["batch_size"].as_u64().unwrap();
    assert!(batch > 1, "this time control has batches of {batch}");
    let report = worker.report(&run, 0, stats([0, 0, batch - 1, 0, 0]));
    let answer = farm.post("/api/update_task", &report).await.ok();
    let error = format!(
        "Update_task: the number of games received for task {run}/0 is incompatible with the SPRT batch size"
    );
    assert_eq!(answer, json!({"task_alive": false, "error": error}));
}

#[tokio::test]
async fn a_report_needs_its_results() {
    let farm = TestFarm::start().await;
    let path = "/api/update_task";
    let run = farm.run(tuning(4000)).await;
    let worker = Worker::new(1);
    worker.take(&farm).await;
    assert_eq!(farm.post(path, &worker.about(&run, 0)).await.refusal(400, path), "Missing stats");
    let report = worker.report(&run, 0, stats([0, 0, 1, 0, 0]));
    assert_eq!(farm.post(path, &report).await.refusal(400, path), "Missing spsa");
    assert_eq!(farm.post("/api/beat", &worker.about(&run, 0)).await.ok(), json!({"task_alive": true}));
}

#[tokio::test]
async fn a_task_that_is_given_back_is_over_and_its_games_stay() {
    let farm = TestFarm::start().await;
    let run = farm.run(fixed_games(4000)).await;
    let worker = Worker::new(1);
    worker.take(&farm).await;
    farm.post("/api/update_task", &worker.report(&run, 0, stats([0, 1, 0, 0, 0]))).await.ok();
    let mut body = worker.about(&run, 0);
    body["message"] = "the engine does not build".into();
    assert_eq!(farm.post("/api/failed_task", &body).await.ok(), json!({}));
    let again = json!({"task_alive": false, "info": format!("Failed_task: task {run}/0 is not active")});
    assert_eq!(farm.post("/api/failed_task", &body).await.ok(), again);
    assert_eq!(farm.post("/api/beat", &worker.about(&run, 0)).await.ok(), json!({"task_alive": false}));
    assert_eq!(farm.show(&run).await["results"], stats([0, 1, 0, 0, 0]));
    let log = farm.log(json!({"action": "failed_task", "run_id": run})).await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0]["message"], "the engine does not build");
    assert_eq!(log[0]["worker"], worker.long_name());
}

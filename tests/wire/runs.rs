//! Runs to their end, as workers bring them there.

use bson::doc;
use serde_json::{Value, json};

use super::farm::*;

#[tokio::test]
async fn a_sequential_test_runs_to_its_verdict_and_is_finished_once() {
    let farm = TestFarm::start().await;
    let run = farm.run(json!({})).await;
    let mut worker = Worker::new(1);
    worker.concurrency = 32;
    let mut updates = 0;
    let mut finished = false;
    'tasks: for _ in 0..40 {
        let answer = farm.post("/api/request_task", &worker.body()).await.ok();
        let Some(task) = answer["task_id"].as_u64() else { break };
        let batch = answer["run"]["args"]["sprt"]["batch_size"].as_u64().unwrap();
        let pairs = answer["run"]["my_task"]["num_games"].as_u64().unwrap() / 2;
        let mut played = [0, 0, 0, 0, 0];
        while played.iter().sum::<u64>() < pairs {
            // Nine of sixteen pairs are won, which is far better than 2 Elo.
            let step = batch.max(pairs / 8 / batch * batch).min(pairs - played.iter().sum::<u64>());
            played[3] += step * 9 / 16;
            played[2] += step - step * 9 / 16;
            let answer = farm.post("/api/update_task", &worker.report(&run, task, stats(played))).await.ok();
            updates += 1;
            assert_eq!(answer.get("error"), None, "{answer}");
            if farm.show(&run).await["finished"] == true {
                assert_eq!(answer, json!({"task_alive": false}));
                finished = true;
                break 'tasks;
            }
        }
    }
    assert!(finished, "after {updates} updates: {}", farm.show(&run).await);
    let shown = farm.show(&run).await;
    assert_eq!(shown["args"]["sprt"]["state"], "accepted");
    assert_eq!((&shown["is_green"], &shown["is_yellow"]), (&json!(true), &json!(false)));
    assert_eq!((&shown["workers"], &shown["cores"]), (&json!(0), &json!(0)));
    let log = farm.log(json!({"action": "finished_run", "run_id": run})).await;
    assert_eq!(log.len(), 1);
    assert!(farm.get("/api/active_runs").await.json().get(&run).is_none());
    let page = farm.get("/api/finished_runs?page=1&success_only=1").await.json();
    assert_eq!(page.as_object().unwrap().keys().collect::<Vec<_>>(), [&run]);
    let elo = farm.get(&format!("/api/get_elo/{run}")).await.json();
    assert!(elo["elo"]["LLR"].as_f64().unwrap() > 2.0, "{elo}");
    assert_eq!(farm.post("/api/request_task", &worker.body()).await.ok(), json!({"task_waiting": false}));
}

#[tokio::test]
async fn a_run_of_so_many_games_ends_with_the_last() {
    let farm = TestFarm::start().await;
    let run = farm.run(fixed_games(40)).await;
    let worker = Worker::new(1);
    let (_, task, my_task) = worker.take(&farm).await;
    assert_eq!(my_task["num_games"], 40);
    // All games are given out, so nobody else gets any.
    let other = Worker::new(2);
    assert_eq!(farm.post("/api/request_task", &other.body()).await.ok()["task_waiting"], false);
    let path = "/api/update_task";
    let half = farm.post(path, &worker.report(&run, task, stats([1, 2, 4, 2, 1]))).await.ok();
    assert_eq!(half, json!({"task_alive": true}));
    let report = worker.report(&run, task, stats([2, 4, 8, 4, 2]));
    assert_eq!(farm.post(path, &report).await.ok(), json!({"task_alive": false}));
    let shown = farm.show(&run).await;
    assert_eq!((&shown["finished"], &shown["failed"]), (&json!(true), &json!(false)));
    assert_eq!(shown["results"], stats([2, 4, 8, 4, 2]));
    // The last report once more, as a worker whose answer got lost sends it.
    let again = farm.post(path, &report).await.ok();
    assert_eq!((&again["task_alive"], again.get("error")), (&json!(false), None));
    assert_eq!(farm.show(&run).await["results"], stats([2, 4, 8, 4, 2]));
    assert_eq!(farm.log(json!({"action": "finished_run", "run_id": run})).await.len(), 1);
}

#[tokio::test]
async fn tuning_goes_in_rounds() {
    let farm = TestFarm::start().await;
    let run = farm.run(tuning(400)).await;
    let worker = Worker::new(1);
    let (_, task, my_task) = worker.take(&farm).await;
    let games = my_task["num_games"].as_u64().unwrap();
    let (mut pairs, mut rounds, mut alive) = (0, 0, true);
    while alive && pairs < games / 2 {
        let reply = farm.post("/api/request_spsa", &worker.about(&run, task)).await;
        let round = reply.ok();
        let keys: Vec<_> = round.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["w_params", "b_params", "sig", "task_alive"]);
        assert_eq!(round["task_alive"], true);
        for (n, name) in ["foo", "bar"].into_iter().enumerate() {
            let (white, black) = (&round["w_params"][n], &round["b_params"][n]);
            let keys: Vec<_> = white.as_object().unwrap().keys().cloned().collect();
            assert_eq!(keys, ["name", "value", "c", "R", "flip"]);
            assert_eq!((&white["name"], &black["name"]), (&json!(name), &json!(name)));
            assert!(
                white["value"].is_f64()
                    && white["c"].is_f64()
                    && white["R"].is_f64()
                    && black["value"].is_f64()
            );
            let flip = white["flip"].as_i64().unwrap();
            assert!(matches!(flip, -1 | 1));
            let spread = white["value"].as_f64().unwrap() - black["value"].as_f64().unwrap();
            assert!(spread * flip as f64 > 0.0, "{round}");
        }
        let step = (games / 2 - pairs).min(20);
        pairs += step;
        let mut report = worker.report(&run, task, stats([0, 0, pairs, 0, 0]));
        report["spsa"] =
            json!({"wins": 0, "losses": 0, "draws": 2 * step, "num_games": 2 * step, "sig": round["sig"]});
        let answer = farm.post("/api/update_task", &report).await.ok();
        assert_eq!(answer.get("error"), None, "{answer}");
        alive = answer["task_alive"] == true;
        rounds += 1;
    }
    assert!(rounds > 1);
    let shown = farm.show(&run).await;
    assert_eq!(shown["results"]["draws"], 2 * pairs);
    assert_eq!(shown["args"]["spsa"]["iter"], pairs);
    let over = farm.post("/api/request_spsa", &worker.about(&run, task)).await.ok();
    let info = format!("request_spsa_data: task {run}/{task} is not active");
    assert_eq!(over, json!({"task_alive": false, "info": info}));
}

#[tokio::test]
async fn only_tuning_has_parameters() {
    let farm = TestFarm::start().await;
    let run = farm.run(json!({})).await;
    let worker = Worker::new(1);
    worker.take(&farm).await;
    let path = "/api/request_spsa";
    let text = farm.post(path, &worker.about(&run, 0)).await.refusal(400, path);
    assert!(text.contains("SPSA"), "{text}");
}

#[tokio::test]
async fn a_worker_with_few_hours_stops_its_task_and_one_with_many_the_run() {
    let farm = TestFarm::start().await;
    let run = farm.run(fixed_games(4000)).await;
    let path = "/api/stop_run";
    let stop = |worker: &Worker, task: u64, message: &str| -> Value {
        let mut body = worker.about(&run, task);
        body["message"] = message.into();
        body
    };
    let novice = Worker::new(1);
    novice.take(&farm).await;
    let refusal = farm.post(path, &stop(&novice, 0, "wrong bench")).await.refusal(401, path);
    assert_eq!(refusal, "User alice has too few games to stop a run");
    assert_eq!(farm.show(&run).await["finished"], false);
    assert_eq!(farm.post("/api/beat", &novice.about(&run, 0)).await.ok(), json!({"task_alive": false}));
    let log = farm.log(json!({"action": "stop_run", "run_id": run})).await;
    assert_eq!(log[0]["message"], "wrong bench (not authorized)");
    assert_eq!(log[0]["worker"], novice.long_name());

    farm.add_user("carol", false).await;
    let entry =
        doc! { "_id": bson::oid::ObjectId::from_bytes([1; 12]), "username": "carol", "cpu_hours": 1000.0 };
    farm.farm.store.put_user_cache(&entry).await.unwrap();
    let veteran = Worker::of("carol", 2);
    let (_, task, _) = veteran.take(&farm).await;
    let bystander = Worker::new(3);
    let (_, other, _) = bystander.take(&farm).await;
    assert_eq!(farm.post(path, &stop(&veteran, task, "engine crashes")).await.ok(), json!({}));
    let shown = farm.show(&run).await;
    assert_eq!(
        (&shown["finished"], &shown["failed"], &shown["failures"]),
        (&json!(true), &json!(true), &json!(1))
    );
    let late =
        farm.post("/api/update_task", &bystander.report(&run, other, stats([0, 0, 1, 0, 0]))).await.ok();
    assert_eq!(late["task_alive"], false);
    assert_eq!(late.get("error"), None);
    let log = farm.log(json!({"action": "stop_run", "run_id": run})).await;
    assert_eq!((log.len(), &log[0]["message"]), (2, &json!("engine crashes")));

    // Whoever comes now is too late, whatever their hours; the task isn't even asked for.
    let finished = format!("Run {run} is already finished");
    for worker in [&novice, &veteran] {
        let mut body = worker.body();
        body["run_id"] = run.as_str().into();
        assert_eq!(farm.post(path, &body).await.refusal(401, path), finished);
    }
}

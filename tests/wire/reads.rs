//! The public reads (`read-api` sections 2 and 5).

use bson::doc;
use reqwest::Method;
use serde_json::{Value, json};
use shoal::service::FarmSettings;
use shoal::service::control::Control;

use super::farm::*;

/// A farm with one finished run that never played: the run's id too.
async fn with_finished_run() -> (TestFarm, String) {
    let farm = TestFarm::start().await;
    let run = farm.run(json!({})).await;
    farm.farm.control(Control::RunStop { run: run.clone(), actor: "alice".into() }).await.unwrap();
    (farm, run)
}

fn is_date(value: &Value) -> bool {
    let text = value.as_str().unwrap();
    let (date, rest) = text.split_at(10);
    date.bytes().filter(|b| *b == b'-').count() == 2 && rest.starts_with(' ') && rest.ends_with("+00:00")
}

#[tokio::test]
async fn unfinished_runs_are_listed_without_what_is_large_or_secret() {
    let farm = TestFarm::start().await;
    let approved = farm.run(tuning(4000)).await;
    let pending = farm.pending_run(json!({})).await;
    let reply = farm.get("/api/active_runs").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.header("access-control-allow-origin"), None);
    let runs = reply.json();
    let mut ids: Vec<_> = runs.as_object().unwrap().keys().cloned().collect();
    ids.sort();
    let mut expected = vec![approved.clone(), pending.clone()];
    expected.sort();
    assert_eq!(ids, expected);
    for id in ids {
        let run = &runs[&id];
        assert_eq!(run["_id"], id.as_str());
        assert!(is_date(&run["start_time"]) && is_date(&run["last_updated"]));
        assert_eq!((run.get("tasks"), run.get("bad_tasks")), (None, None));
        assert_eq!(run["args"]["spsa"].get("param_history"), None);
    }
    assert!(runs[&approved]["args"]["spsa"]["params"][0]["theta"].is_f64());
    // Who asks with the tag of what it has is told that nothing changed.
    let tag = reply.header("etag").unwrap();
    let again = farm.send(Method::GET, "/api/active_runs", &[("if-none-match", tag)], Vec::new()).await;
    assert!(again.status == 304 && again.bytes.is_empty() || again.bytes != reply.bytes);
}

#[tokio::test]
async fn finished_runs_come_in_pages_and_bad_questions_have_their_texts() {
    let (farm, run) = with_finished_run().await;
    let path = "/api/finished_runs";
    for (query, text) in [
        ("", "Please provide a Page number."),
        ("?page=", "Please provide a Page number."),
        ("?page=&timestamp=12", "Please provide a Page number."),
        ("?page=0", "Please provide a valid Page number."),
        ("?page=x", "Please provide a valid Page number."),
        ("?page=-1", "Please provide a valid Page number."),
        ("?page=%D9%A1", "Please provide a valid Page number."),
        ("?page=1&page=x", "Please provide a valid Page number."),
        ("?page=1&timestamp=12", "Please provide a valid UNIX timestamp."),
        ("?page=1&timestamp=1700000000e3", "Please provide a valid UNIX timestamp."),
    ] {
        assert_eq!(farm.get(&format!("{path}{query}")).await.refusal(400, path), text, "{query}");
    }
    for (query, found) in [
        ("page=1", true),
        ("page=01", true),
        ("page=x&page=1", true),
        ("page=1&timestamp=1700000000.5", true),
        ("page=1&timestamp=9999999999", false),
        ("page=1&username=alice", true),
        ("page=1&username=", true),
        ("page=1&username=Alice", false),
        ("page=1&success_only=", true),
        ("page=1&success_only=0", false),
        ("page=1&yellow_only=false", false),
        ("page=1&ltc_only=1", false),
        ("page=1&unknown=1", true),
        ("page=2", false),
        ("page=20001", false),
        ("page=99999999999999999999999", false),
    ] {
        let reply = farm.get(&format!("{path}?{query}")).await;
        assert_eq!(reply.status, 200, "{query}");
        let ids: Vec<_> = reply.json().as_object().unwrap().keys().cloned().collect();
        assert_eq!(ids == [run.clone()], found, "{query}");
        assert_eq!(ids.is_empty(), !found, "{query}");
        assert!(found || reply.text() == "{}");
    }
}

#[tokio::test]
async fn finished_runs_are_newest_first() {
    let farm = TestFarm::start().await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let run = farm.run(json!({})).await;
        farm.farm.control(Control::RunStop { run: run.clone(), actor: "alice".into() }).await.unwrap();
        runs.insert(0, run);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let page = farm.get("/api/finished_runs?page=1").await.json();
    assert_eq!(page.as_object().unwrap().keys().cloned().collect::<Vec<_>>(), runs);
}

#[tokio::test]
async fn a_run_is_shown_stripped_and_to_every_page() {
    let farm = TestFarm::start().await;
    let run = farm.run(tuning(4000)).await;
    Worker::new(1).take(&farm).await;
    let path = format!("/api/get_run/{run}");
    let reply = farm.get(&path).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-allow-headers"), Some("content-type"));
    let shown = reply.json();
    assert_eq!(shown["_id"], run.as_str());
    assert!(is_date(&shown["start_time"]) && is_date(&shown["last_updated"]));
    assert_eq!(shown["workers"], 1);
    assert_eq!(shown["cores"], 7);
    assert_eq!(shown["approver"], "bob");
    assert!(!reply.text().contains("unique_key") && !reply.text().contains("@farm.example"));
    assert!(shown["args"]["spsa"].get("param_history").is_none_or(|history| *history == json!([])));
    assert!(reply.text().contains("\"nps\":0.0"), "doubles keep their point: {}", reply.text());
    let head = farm.send(Method::HEAD, &path, &[], Vec::new()).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    for id in ["zzz", &"f".repeat(24), "%7A"] {
        let path = format!("/api/get_run/{id}");
        let id = if id == "%7A" { "z" } else { id };
        let reply = farm.get(&path).await;
        assert_eq!(reply.refusal(404, &format!("/api/get_run/{id}")), format!("The run {id} does not exist"));
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn a_task_is_shown_without_what_identifies_its_machine() {
    let farm = TestFarm::start().await;
    let run = farm.run(tuning(4000)).await;
    let worker = Worker::new(1);
    worker.take(&farm).await;
    farm.post("/api/request_spsa", &worker.about(&run, 0)).await.ok();
    let reply = farm.get(&format!("/api/get_task/{run}/0")).await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
    let task = reply.json();
    assert_eq!(task["worker_info"]["unique_key"], "00000001...");
    assert_eq!(task["worker_info"]["remote_addr"], "?.?.?.?");
    assert_eq!(task["worker_info"]["nps"], 1_234_567.5);
    assert!(is_date(&task["last_updated"]));
    assert_eq!((&task["active"], &task["start"]), (&json!(true), &json!(0)));
    assert_eq!(task["stats"], stats([0; 5]));
    assert!(task["spsa_params"]["packed_flips"][0].is_u64(), "{task}");
    assert!(!reply.text().contains(&worker.unique_key[9..]));
    assert_eq!(farm.get(&format!("/api/get_task/{run}/00")).await.status, 200);
    let unknown = "f".repeat(24);
    for (id, task, named) in [
        (run.as_str(), "1", "1"),
        (&run, "9", "9"),
        (&run, "0bad", "0"),
        (&run, "007bad", "7"),
        (&run, "-1", "-1"),
        (&run, "+0", "+0"),
        (&run, "1_0", "1_0"),
        (&run, "bad", "bad"),
        (&run, "x", "x"),
        (&run, "99999999999999", "99999999999999"),
        (&unknown, "0", "0"),
        ("zzz", "0", "0"),
    ] {
        let path = format!("/api/get_task/{id}/{task}");
        let text = farm.get(&path).await.refusal(404, &path);
        assert_eq!(text, format!("The task {id}/{named} does not exist"));
    }
}

#[tokio::test]
async fn the_estimate_follows_the_results() {
    let farm = TestFarm::start().await;
    let run = farm.run(json!({})).await;
    let worker = Worker { concurrency: 32, ..Worker::new(1) };
    let path = format!("/api/get_elo/{run}");
    let nothing = farm.get(&path).await.json();
    assert_eq!(nothing["elo"]["LLR"].as_f64().map(|llr| llr.abs() < 1e-6), Some(true), "{nothing}");
    worker.take(&farm).await;
    let answer =
        farm.post("/api/update_task", &worker.report(&run, 0, stats([0, 45, 135, 60, 0]))).await.ok();
    assert_eq!(answer.get("error"), None, "{answer}");
    let reply = farm.get(&path).await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
    let shown = reply.json();
    let last = shown.as_object().unwrap().keys().next_back().unwrap();
    assert_eq!(last, "elo");
    let elo = &shown["elo"];
    assert_eq!(elo.as_object().unwrap().keys().collect::<Vec<_>>(), ["a", "b", "elo", "ci", "LOS", "LLR"]);
    for (value, expected) in [
        (&elo["a"], -2.9444389791664403),
        (&elo["b"], 2.9444389791664403),
        (&elo["elo"], 10.86080785174049),
        (&elo["ci"][0], -3.615285976769268),
        (&elo["ci"][1], 25.37471892666853),
        (&elo["LOS"], 0.9292695756049059),
        (&elo["LLR"], 0.17668009378445979),
    ] {
        let value = value.as_f64().unwrap();
        assert!((value - expected).abs() <= 1e-9 * expected.abs(), "{value} is not {expected}");
    }
    assert_eq!(shown["args"]["sprt"]["elo_model"], "normalized");
    assert_eq!(shown["results"], stats([0, 45, 135, 60, 0]));
    let games = farm.run(fixed_games(400)).await;
    let reply = farm.get(&format!("/api/get_elo/{games}")).await;
    assert_eq!((reply.status, reply.text()), (200, "{}"));
    assert_eq!(
        farm.get("/api/get_elo/zzz").await.refusal(404, "/api/get_elo/zzz"),
        "The run zzz does not exist"
    );
}

#[tokio::test]
async fn calculations_have_their_answers_and_refusals() {
    let farm = TestFarm::start().await;
    let path = "/api/calc_elo";
    let near = |value: &Value, expected: f64| {
        let value = value.as_f64().unwrap();
        assert!((value - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{value} is not {expected}");
    };
    let fixed = farm.get(&format!("{path}?W=1&D=2&L=3")).await;
    assert!(fixed.text().starts_with("{\"elo\":-120.4119"), "{}", fixed.text());
    let fixed = fixed.json();
    near(&fixed["elo"], -120.41199826559247);
    near(&fixed["ci"][0], -454.95833698439696);
    near(&fixed["ci"][1], 214.134340453212);
    near(&fixed["LOS"], 0.13666083914614907);
    let pairs = farm.get(&format!("{path}?LL=1&LD=2&DDWL=3&WD=4&WW=5")).await.json();
    near(&pairs["elo"], 120.41199826559247);
    near(&pairs["ci"][0], -10.862288770747597);
    near(&pairs["ci"][1], 251.68628530193254);
    let sprt = farm.get(&format!("{path}?LL=10&LD=200&DDWL=300&WD=400&WW=5&elo0=0&elo1=2")).await.json();
    near(&sprt["a"], -2.9444389791664403);
    near(&sprt["elo"], 36.20300855957032);
    near(&sprt["ci"][0], 26.85636386577964);
    near(&sprt["LLR"], 1.7497053312891484);
    for (model, llr) in [
        ("", -0.006627317736085381),
        ("&elo_model=logistic", -0.013254452487299062),
        ("&elo_model=BayesElo", -0.007455753043550395),
    ] {
        let answer = farm.get(&format!("{path}?W=100&D=200&L=100&elo0=0&elo1=2{model}")).await.json();
        near(&answer["LLR"], llr);
        near(&answer["elo"], 0.0);
    }
    let won = farm.get(&format!("{path}?W=100&D=0&L=0")).await.json();
    near(&won["elo"], 1199.8261952903777);
    near(&won["ci"][0], 1199.8261952903777);
    let half = farm.get(&format!("{path}?W=100&D=200&L=100&elo0=0")).await.json();
    assert_eq!(half.as_object().unwrap().keys().collect::<Vec<_>>(), ["elo", "ci", "LOS"]);
    let missing = "Invalid or missing parameters. Please provide all values as valid numbers.";
    for (query, text) in [
        ("", missing),
        ("?W=-1&D=1&L=1", missing),
        ("?W=+100&D=1&L=1", missing),
        ("?W=1.5&D=1&L=1", missing),
        ("?W=0&D=0&L=0", "No games to calculate Elo."),
        ("?W=4294967297&D=1&L=1", "Number of games exceeds the limit."),
        ("?W=100&D=200&L=100&elo0=0&elo1=0.4", "Bad elo0, and elo1 values."),
        ("?W=100&D=200&L=100&elo0=a&elo1=b", "Bad elo0, and elo1 values."),
        (
            "?W=1&D=1&L=1&elo0=0&elo1=2&elo_model=x",
            "Valid Elo models are: BayesElo, logistic, and normalized.",
        ),
    ] {
        assert_eq!(farm.get(&format!("{path}{query}")).await.refusal(400, path), text, "{query}");
    }
}

#[tokio::test]
async fn the_log_answers_the_queries_that_clients_send() {
    let (farm, run) = with_finished_run().await;
    let shared = |reply: &Reply| {
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        assert_eq!(reply.header("access-control-allow-headers"), Some("content-type"));
    };
    for body in ["{", "", "[]", "[{}]", "\"x\"", "1", "true"] {
        let reply = farm.send(Method::POST, "/api/actions", &[], body.as_bytes().to_vec()).await;
        assert_eq!((reply.status, reply.text()), (200, "[]"), "{body:?}");
        shared(&reply);
    }
    for body in ["{}", "null"] {
        let reply =
            farm.send(Method::POST, "/api/actions", &[("content-type", "text/plain")], body.into()).await;
        shared(&reply);
        let entries = reply.json();
        let entries = entries.as_array().unwrap();
        assert!(entries.len() >= 3, "{entries:?}");
        let times: Vec<f64> = entries.iter().map(|entry| entry["time"].as_f64().unwrap()).collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "newest first: {times:?}");
        assert!(entries.iter().all(|entry| entry["_id"].as_str().is_some_and(|id| id.len() == 24)));
    }
    let ended = json!({"$in": ["finished_run", "stop_run", "delete_run"]});
    for query in [
        json!({"action": ended, "run_id": {"$in": [run]}}),
        json!({"action": ended, "run_id": run, "time": {"$gte": 0}}),
    ] {
        let found = farm.log(query).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["run_id"], run.as_str());
    }
    let created = farm.log(json!({"action": "new_run", "run_id": run})).await;
    assert_eq!((created.len(), &created[0]["username"]), (1, &json!("alice")));
    assert!(farm.log(json!({"run_id": run, "time": {"$gte": 9e9}})).await.is_empty());
    for query in [
        json!({"$where": "while(true){}"}),
        json!({"message": {"$regex": "(a+)+$"}}),
        json!({"$or": [{}]}),
        json!({"args.x": 1}),
        json!({"action": {"$in": vec!["x"; 201]}}),
    ] {
        let reply = farm.post("/api/actions", &query).await;
        assert_eq!(reply.refusal(400, "/api/actions"), "Unsupported query", "{query}");
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn a_network_is_somewhere_else_and_its_downloads_are_counted() {
    for (base, start) in [(None, ""), (Some("https://nets.example/"), "https://nets.example"), (Some(""), "")]
    {
        let settings_of_farm = FarmSettings { nn_url: base.map(str::to_owned), ..FarmSettings::default() };
        let farm = TestFarm::start_with(settings(), settings_of_farm).await;
        let name = "nn-0123456789ab.nnue";
        let net = doc! {
            "_id": bson::oid::ObjectId::from_bytes([2; 12]), "name": name, "user": "alice", "downloads": 0,
        };
        farm.farm.store.put_net(&net).await.unwrap();
        let path = format!("/api/nn/{name}");
        for method in [Method::GET, Method::HEAD, Method::GET] {
            let reply = farm.send(method, &path, &[], Vec::new()).await;
            assert_eq!((reply.status, reply.bytes.len()), (302, 0));
            assert_eq!(reply.header("location"), Some(format!("{start}/nn/{name}").as_str()));
        }
        let stored = farm.farm.store.net(name).await.unwrap().unwrap();
        assert_eq!(stored.get("downloads").map(ToString::to_string).as_deref(), Some("2"));
        let unknown = "nn-000000000000.nnue";
        let path = format!("/api/nn/{unknown}");
        assert_eq!(
            farm.get(&path).await.refusal(404, &path),
            format!("The network {unknown} does not exist")
        );
    }
}

#[tokio::test]
async fn the_quota_is_unknown() {
    let farm = TestFarm::start().await;
    let quota = farm.get("/api/rate_limit").await.json();
    let keys: Vec<_> = quota.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["limit", "remaining", "reset", "used", "resource", "_uninitialized"]);
    assert!(quota["reset"].as_i64().is_some_and(|reset| reset > 1_700_000_000));
    assert_eq!((&quota["remaining"], &quota["_uninitialized"]), (&json!(5000), &json!(true)));
}

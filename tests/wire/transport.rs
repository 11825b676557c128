//! Paths, methods, statuses and headers (`worker-api` sections 1.2 and 1.6, `read-api` section 1).

use reqwest::Method;
use serde_json::json;
use shoal::http::HttpSettings;
use shoal::service::FarmSettings;
use shoal::sys::spawn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::farm::*;

#[tokio::test]
async fn only_post_is_answered_on_worker_paths() {
    let farm = TestFarm::start().await;
    for path in WORKER_PATHS {
        for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let reply = farm.send(method.parse().unwrap(), path, &[], Vec::new()).await;
            assert_eq!(
                (reply.status, reply.text()),
                (405, r#"{"detail":"Method Not Allowed"}"#),
                "{method} {path}"
            );
            assert_eq!(reply.header("allow"), Some("POST"));
            assert_eq!(reply.header("content-type"), Some("application/json"));
            assert_eq!(reply.header("access-control-allow-origin"), None);
        }
        let reply = farm.send(Method::HEAD, path, &[], Vec::new()).await;
        assert_eq!((reply.status, reply.header("allow"), reply.bytes.len()), (405, Some("POST"), 0));
        assert_eq!(reply.header("content-length"), Some("31"));
    }
}

#[tokio::test]
async fn reads_answer_get_and_head_and_some_answer_a_browsers_question() {
    let farm = TestFarm::start().await;
    for path in ["/api/active_runs", "/api/finished_runs", "/api/calc_elo", "/api/rate_limit", "/api/nn/x"] {
        let reply = farm.send(Method::POST, path, &[], Vec::new()).await;
        assert_eq!((reply.status, reply.text()), (405, r#"{"detail":"Method Not Allowed"}"#), "{path}");
        assert_eq!(reply.header("allow"), Some("GET"));
        let options = farm.send(Method::OPTIONS, path, &[], Vec::new()).await;
        assert_eq!(options.status, 405, "{path}");
        let get = farm.get(path).await;
        let head = farm.send(Method::HEAD, path, &[], Vec::new()).await;
        assert_eq!((head.status, head.bytes.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    assert_eq!(farm.get("/api/actions").await.header("allow"), Some("POST"));
    for path in ["/api/actions", "/api/get_run/zzz"] {
        let reply = farm.send(Method::OPTIONS, path, &[], Vec::new()).await;
        assert_eq!(reply.status, 204);
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        assert_eq!(reply.header("access-control-allow-headers"), Some("content-type"));
    }
}

#[tokio::test]
async fn unknown_paths_are_json_under_api_and_a_page_elsewhere() {
    let farm = TestFarm::start().await;
    for path in [
        "/api",
        "/api/",
        "/apifoo",
        "/api/nothing",
        "/api/Beat",
        "/api/beat/x",
        "/api/get_run",
        "/api/get_run/",
    ] {
        for method in [Method::GET, Method::POST] {
            let reply = farm.send(method, path, &[], Vec::new()).await;
            assert_eq!((reply.status, reply.text()), (404, r#"{"detail":"Not Found"}"#), "{path}");
            assert_eq!(reply.header("content-type"), Some("application/json"));
        }
    }
    for path in ["/", "/tests", "/API/beat"] {
        let reply = farm.get(path).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (404, Some("text/html; charset=utf-8")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_slash_too_much_is_redirected_with_its_query() {
    let farm = TestFarm::start().await;
    for (path, target) in [
        ("/api/beat/", "/api/beat"),
        ("/api/beat//", "/api/beat"),
        ("/api/finished_runs/?page=1", "/api/finished_runs?page=1"),
        ("/api/get_task/a/0/", "/api/get_task/a/0"),
    ] {
        let reply = farm.send(Method::POST, path, &[], b"{}".to_vec()).await;
        assert_eq!((reply.status, reply.bytes.len()), (307, 0), "{path}");
        assert_eq!(reply.header("location"), Some(farm.url(target).as_str()));
    }
    let headers = [("host", "farm.example"), ("x-forwarded-proto", "https")];
    let reply = farm.send(Method::POST, "/api/beat/", &headers, Vec::new()).await;
    assert_eq!(reply.header("location"), Some("https://farm.example/api/beat"));
}

#[tokio::test]
async fn neither_query_strings_nor_content_types_matter() {
    let farm = TestFarm::start().await;
    let body = Worker::new(1).body().to_string().into_bytes();
    for headers in
        [vec![], vec![("content-type", "text/plain")], vec![("content-type", "application/json; charset=x")]]
    {
        let reply = farm.send(Method::POST, "/api/request_version?a=b", &headers, body.clone()).await;
        assert_eq!(reply.ok(), json!({"version": 325}));
    }
}

#[tokio::test]
async fn the_answers_are_compact_and_their_keys_in_order() {
    let farm = TestFarm::start().await;
    let worker = Worker::new(1);
    let reply = farm.post("/api/request_version", &worker.body()).await;
    assert!(reply.text().starts_with(r#"{"version":325,"duration":"#), "{}", reply.text());
    let reply = farm.post("/api/request_task", &worker.body()).await;
    assert!(reply.text().starts_with(r#"{"task_waiting":false,"duration":"#), "{}", reply.text());
    let run = farm.run(fixed_games(400)).await;
    let reply = farm.post("/api/request_task", &worker.body()).await;
    let start = format!(r#"{{"run":{{"_id":"{run}","args":{{"base_tag":"master","#);
    assert!(reply.text().starts_with(&start), "{}", reply.text());
    let end = r#""stats":{"wins":0,"losses":0,"draws":0,"crashes":0,"time_losses":0,"pentanomial":[0,0,0,0,0]}}},"task_id":0,"duration":"#;
    assert!(reply.text().contains(end), "{}", reply.text());
    let reply = farm.post("/api/beat", &worker.about(&run, 0)).await;
    assert!(reply.text().starts_with(r#"{"task_alive":true,"duration":"#), "{}", reply.text());
    let reply = farm.send(Method::POST, "/api/beat", &[], b"{".to_vec()).await;
    assert!(
        reply.text().starts_with(r#"{"error":"/api/beat: request is not json encoded","duration":"#),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn while_closing_everything_is_an_empty_503() {
    let farm = TestFarm::start().await;
    farm.site.begin_shutdown();
    for (method, path) in [
        (Method::POST, "/api/beat"),
        (Method::GET, "/api/beat"),
        (Method::GET, "/api/active_runs"),
        (Method::GET, "/nowhere"),
        (Method::GET, "/api/nowhere"),
        (Method::GET, "/readyz"),
    ] {
        let reply = farm.send(method, path, &[], b"{}".to_vec()).await;
        assert_eq!((reply.status, reply.bytes.len()), (503, 0), "{path}");
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    assert_eq!(farm.get("/livez").await.status, 200);
}

#[tokio::test]
async fn before_the_schedule_is_loaded_workers_are_told_to_try_again() {
    let farm = TestFarm::start().await;
    farm.farm.set_ready(false);
    for path in WORKER_PATHS {
        farm.post(path, &Worker::new(1).body()).await.is_try_again();
    }
    assert_eq!(farm.get("/api/active_runs").await.status, 503);
    let ready = farm.get("/readyz").await;
    assert_eq!((ready.status, ready.json()["loaded"].clone()), (503, json!(false)));
    farm.farm.set_ready(true);
    farm.is_healthy().await;
}

#[tokio::test]
async fn the_country_and_the_forwarded_address_are_the_servers_affair() {
    let farm = TestFarm::start().await;
    let run = farm.run(fixed_games(400)).await;
    let worker = Worker::new(1);
    let headers = [("x-forwarded-for", "198.51.100.1, 203.0.113.9"), ("x-country-code", "NL")];
    let body = worker.body().to_string().into_bytes();
    farm.send(Method::POST, "/api/request_task", &headers, body).await.ok();
    let task = farm.get(&format!("/api/get_task/{run}/0")).await.json();
    assert_eq!(task["worker_info"]["country_code"], "NL");
    assert_eq!(task["worker_info"]["remote_addr"], "?.?.?.?");
    let run_id = shoal::domain::ids::RunId::parse(&run).unwrap();
    let key = shoal::domain::ids::TaskKey { run: run_id, task: shoal::domain::ids::TaskId(0) };
    let stored = farm.farm.store.task(key).await.unwrap().unwrap();
    assert_eq!(stored.worker.unwrap().remote_addr, "203.0.113.9");

    // The next report brings the country it comes from; nonsense becomes a question mark.
    let report = worker.report(&run, 0, stats([0, 0, 1, 0, 0])).to_string().into_bytes();
    farm.send(Method::POST, "/api/update_task", &[("x-country-code", "<script>")], report).await.ok();
    let task = farm.get(&format!("/api/get_task/{run}/0")).await.json();
    assert_eq!(task["worker_info"]["country_code"], "?");
    let stored = farm.farm.store.task(key).await.unwrap().unwrap();
    assert_eq!(stored.worker.unwrap().remote_addr, "203.0.113.9");

    let mut forged = worker.body();
    forged["worker_info"]["remote_addr"] = json!("1.2.3.4");
    let refusal = farm.post("/api/request_task", &forged).await.refusal(400, "/api/request_task");
    assert!(refusal.contains("remote_addr"), "{refusal}");
}

#[tokio::test]
async fn reads_are_limited_per_address_and_workers_never() {
    let limits = HttpSettings { read_rate: 0.001, read_burst: 3.0, ..settings() };
    let farm = TestFarm::start_with(limits, FarmSettings::default()).await;
    for _ in 0..3 {
        assert_eq!(farm.get("/api/rate_limit").await.status, 200);
    }
    let reply = farm.get("/api/rate_limit").await;
    assert_eq!(reply.refusal(429, "/api/rate_limit"), "Too many requests");
    assert_eq!(reply.header("retry-after"), Some("1"));
    let other =
        farm.send(Method::GET, "/api/rate_limit", &[("x-forwarded-for", "203.0.113.9")], Vec::new()).await;
    assert_eq!(other.status, 200);
    for _ in 0..10 {
        farm.post("/api/request_version", &Worker::new(1).body()).await.ok();
    }
    farm.is_healthy().await;
}

#[tokio::test]
async fn a_body_that_stops_arriving_does_not_wait_forever() {
    let limits = HttpSettings { stall_deadline: std::time::Duration::from_millis(200), ..settings() };
    let farm = TestFarm::start_with(limits, FarmSettings::default()).await;
    let mut stream = TcpStream::connect(&farm.address).await.unwrap();
    stream.write_all(b"POST /api/beat HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    farm.is_healthy().await;
}

#[tokio::test]
async fn overload_is_answered_and_request_task_has_words_for_it() {
    let limits = HttpSettings { worker_slots: 1, worker_queue: 0, ..settings() };
    let farm = TestFarm::start_with(limits, FarmSettings::default()).await;
    // Wrong passwords take their time to be found wrong; one of them holds the only slot.
    let bodies: Vec<_> =
        (0..12).map(|n| Worker { password: format!("wrong {n}"), ..Worker::new(n) }.body()).collect();
    let replies =
        futures::future::join_all(bodies.iter().map(|body| farm.post("/api/request_task", body))).await;
    let busy = replies.iter().filter(|reply| reply.status == 200).map(Reply::ok).collect::<Vec<_>>();
    assert!(!busy.is_empty(), "{replies:?}");
    for answer in busy {
        assert_eq!(
            answer,
            json!({"task_waiting": false, "info": "Request_task: the server is currently too busy..."})
        );
    }
    assert!(replies.iter().all(|reply| matches!(reply.status, 200 | 401)));
    let replies = futures::future::join_all(bodies.iter().map(|body| farm.post("/api/beat", body))).await;
    for reply in replies.iter().filter(|reply| reply.status != 401) {
        reply.is_try_again();
    }
    farm.is_healthy().await;
}

/// Sends bytes one by one, and returns what came back until the server had enough.
async fn drip(address: &str, start: &[u8], drop: &[u8]) -> (String, std::time::Duration) {
    let began = shoal::sys::clock::stopwatch();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    to.write_all(start).await.unwrap();
    let bytes = drop.to_vec();
    let dripping = spawn::task("drip", async move {
        for byte in bytes.iter().cycle() {
            if to.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let mut answer = Vec::new();
    let _ = from.read_to_end(&mut answer).await;
    dripping.abort();
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

#[tokio::test]
async fn who_sends_a_byte_now_and_then_is_not_waited_for() {
    let second = std::time::Duration::from_secs(1);
    let limits = HttpSettings { request_deadline: second, head_deadline: second, ..settings() };
    let farm = TestFarm::start_with(limits, FarmSettings::default()).await;
    let body = b"POST /api/beat HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n";
    let (answer, took) = drip(&farm.address, body, b" ").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(took < second * 20, "{took:?}");
    let (answer, took) = drip(&farm.address, b"GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: ", b"a").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(took < second * 20, "{took:?}");
    farm.is_healthy().await;
}

#[tokio::test]
async fn a_head_that_nobody_needs_is_refused() {
    let farm = TestFarm::start().await;
    let long = "a".repeat(40_000);
    let reply = farm.send(Method::GET, "/api/rate_limit", &[("x-long", long.as_str())], Vec::new()).await;
    assert_eq!(reply.status, 431, "{}", reply.text());
    let mut many = String::from("GET /livez HTTP/1.1\r\nhost: x\r\n");
    for number in 0..500 {
        many.push_str(&format!("x-{number}: a\r\n"));
    }
    let mut stream = TcpStream::connect(&farm.address).await.unwrap();
    stream.write_all(format!("{many}\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    farm.is_healthy().await;
}

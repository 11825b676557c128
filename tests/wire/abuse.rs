//! Promise: bad input gets its documented answer, nothing changes, and the process stays healthy.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::json;
use shoal::service::FarmSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::farm::*;

/// Sends a head and so many bytes of a body, and returns the first line of the answer.
async fn raw(farm: &TestFarm, head: &str, body: usize) -> String {
    let mut stream = TcpStream::connect(&farm.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b' '; 64 * 1024];
    let mut sent = 0;
    while sent < body {
        // The server may have heard enough.
        if stream.write_all(&piece).await.is_err() {
            break;
        }
        sent += piece.len();
    }
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_unread() {
    let farm = TestFarm::start().await;
    for (path, size) in [("/api/upload_pgn", 300 << 20), ("/api/beat", (1 << 20) + 1)] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n");
        assert_eq!(raw(&farm, &head, 0).await, "HTTP/1.1 413 Payload Too Large", "{path}");
    }
    farm.is_healthy().await;
}

#[tokio::test]
async fn a_body_without_a_length_is_refused_at_the_limit() {
    let farm = TestFarm::start().await;
    let mut stream = TcpStream::connect(&farm.address).await.unwrap();
    stream
        .write_all(b"POST /api/beat HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let mut chunk = b"40000\r\n".to_vec();
    chunk.extend(vec![b' '; 0x40000]);
    chunk.extend(b"\r\n");
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        for _ in 0..8 {
            if writer.write_all(&chunk).await.is_err() {
                break;
            }
        }
    };
    let mut answer = vec![0; 64];
    let (_, read) = tokio::join!(writing, reader.read(&mut answer));
    let answer = String::from_utf8_lossy(&answer[..read.unwrap()]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    farm.is_healthy().await;
}

#[tokio::test]
async fn deep_nesting_is_not_json() {
    let farm = TestFarm::start().await;
    let mut deep = br#"{"password":"x","worker_info":{"username":"alice"},"a":"#.to_vec();
    deep.extend(vec![b'['; 10_000]);
    deep.extend(vec![b']'; 10_000]);
    deep.push(b'}');
    for path in WORKER_PATHS {
        for body in [&deep[..], &[b'['; 10_000]] {
            let reply = farm.send(Method::POST, path, &[], body.to_vec()).await;
            assert_eq!(reply.refusal(400, path), "request is not json encoded");
        }
    }
    let reply = farm.send(Method::POST, "/api/actions", &[], deep).await;
    assert_eq!((reply.status, reply.text()), (200, "[]"));
    farm.is_healthy().await;
}

#[tokio::test]
async fn a_gzip_bomb_is_refused_at_the_limit() {
    let limit = FarmSettings { max_unpacked_pgn: 1 << 20, ..FarmSettings::default() };
    let farm = TestFarm::start_with(settings(), limit).await;
    let run = farm.run(json!({})).await;
    let worker = Worker::new(1);
    worker.take(&farm).await;
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        bomb.write_all(&[0; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    let mut body = worker.about(&run, 0);
    body["pgn"] = STANDARD.encode(&bomb).into();
    let path = "/api/upload_pgn";
    let text = farm.post(path, &body).await.refusal(400, path);
    assert!(text.contains("pgn") && text.contains("more than"), "{text}");
    assert_eq!(farm.get(&format!("/api/pgn/{run}-0")).await.status, 404);

    // Compressed requests aren't unpacked at all.
    let reply = farm.send(Method::POST, path, &[("content-encoding", "gzip")], bomb).await;
    assert_eq!(reply.refusal(400, path), "request is not json encoded");
    farm.is_healthy().await;
}

#[tokio::test]
async fn damaged_http_ends_a_connection_and_nothing_else() {
    let farm = TestFarm::start().await;
    for head in [
        "NONSENSE\r\n\r\n".to_owned(),
        "POST /api/beat HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_owned(),
        "POST /api/beat HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}".to_owned(),
        format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(200_000)),
        format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000)),
    ] {
        let line = raw(&farm, &head, 0).await;
        assert!(line.is_empty() || line.contains(" 4"), "{line}");
    }
    // A client that hangs up in the middle.
    for _ in 0..20 {
        let mut stream = TcpStream::connect(&farm.address).await.unwrap();
        stream
            .write_all(b"POST /api/beat HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
            .await
            .unwrap();
    }
    farm.is_healthy().await;
}

#[tokio::test]
async fn who_hangs_up_early_has_still_done_what_it_asked_for() {
    let farm = TestFarm::start().await;
    let run = farm.run(fixed_games(400)).await;
    let worker = Worker::new(1);
    worker.take(&farm).await;
    let body = worker.report(&run, 0, stats([0, 0, 2, 0, 0])).to_string();
    let mut stream = TcpStream::connect(&farm.address).await.unwrap();
    let head =
        format!("POST /api/update_task HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    drop(stream);
    // Whether the server saw the request before the end of the connection is up to the network; the repetition
    // settles it, and it counts once.
    let again = farm.post("/api/update_task", &worker.report(&run, 0, stats([0, 0, 2, 0, 0]))).await;
    assert_eq!(again.ok(), json!({"task_alive": true}));
    assert_eq!(farm.show(&run).await["results"]["draws"], 4);
}

#[tokio::test]
async fn absurd_machines_are_refused_or_served_but_never_crash() {
    let farm = TestFarm::start().await;
    farm.run(fixed_games(400)).await;
    for (key, value) in [
        ("concurrency", json!(u64::from(u32::MAX) + 1)),
        ("concurrency", json!(i64::MAX)),
        ("max_memory", json!(i64::MAX)),
        ("min_threads", json!(i64::MAX)),
        ("nps", json!(1e308)),
        ("uname", json!("x".repeat(500_000))),
    ] {
        let mut body = Worker::new(1).body();
        body["worker_info"][key] = value;
        let reply = farm.post("/api/request_task", &body).await;
        assert!(matches!(reply.status, 200 | 400), "{key}: {}", reply.text());
        assert!(reply.json()["duration"].is_f64());
    }
    farm.is_healthy().await;
}

//! Games: from a worker's upload to everybody's download (`worker-api` section 6.8, `read-api` sections 2.8 and 2.9).

use std::io::{Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::json;

use super::farm::*;

pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// As a worker sends it.
pub fn encoded(content: &[u8]) -> String {
    STANDARD.encode(gzip(content))
}

/// Bytes that don't get smaller.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

#[tokio::test]
async fn uploaded_games_come_back_byte_for_byte() {
    let farm = TestFarm::start().await;
    let run = farm.run(json!({})).await;
    // The second is larger than a piece of a download, and than what is parsed on the event loop.
    let games = [b"[Event \"first\"]\n1. e4 *\n".to_vec(), noise(1_300_000), b"third".to_vec()];
    for (n, content) in (0..).zip(&games) {
        let worker = Worker::new(n);
        worker.take(&farm).await;
        let mut body = worker.about(&run, u64::from(n));
        body["pgn"] = encoded(content).into();
        body["message"] = "".into();
        assert_eq!(farm.post("/api/upload_pgn", &body).await.ok(), json!({}));
    }
    for (n, content) in games.iter().enumerate() {
        for suffix in ["", ".pgn", ".pgn.gz"] {
            let id = format!("{run}-{n}{suffix}");
            let reply = farm.get(&format!("/api/pgn/{id}")).await;
            assert_eq!((reply.status, reply.bytes == gzip(content)), (200, true), "{id}");
            assert_eq!(reply.header("content-type"), Some("application/gzip"));
            assert_eq!(reply.header("content-encoding"), Some("gzip"));
            let size = reply.bytes.len().to_string();
            assert_eq!(reply.header("content-length"), Some(size.as_str()));
            let name = format!("attachment; filename=\"{id}\"");
            assert_eq!(reply.header("content-disposition"), Some(name.as_str()));
        }
    }

    let path = format!("/api/run_pgns/{run}.pgn.gz");
    let all = farm.get(&path).await;
    assert_eq!(all.status, 200);
    let mut unpacked = Vec::new();
    MultiGzDecoder::new(&all.bytes[..]).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == games.concat(), "the members in order of their tasks");
    assert_eq!(all.header("content-type"), Some("application/gzip"));
    assert_eq!(all.header("content-encoding"), None);
    let size = all.bytes.len().to_string();
    assert_eq!(all.header("content-length"), Some(size.as_str()));
    let name = format!("attachment; filename=\"{run}.pgn.gz\"");
    assert_eq!(all.header("content-disposition"), Some(name.as_str()));

    let head = farm.send(Method::HEAD, &path, &[], Vec::new()).await;
    assert_eq!((head.status, head.bytes.len(), head.header("content-length")), (200, 0, Some(size.as_str())));
}

#[tokio::test]
async fn games_of_a_closed_task_are_taken_and_the_newest_upload_is_read() {
    let farm = TestFarm::start().await;
    let run = farm.run(json!({})).await;
    let worker = Worker::new(1);
    worker.take(&farm).await;
    farm.post("/api/failed_task", &worker.about(&run, 0)).await.ok();
    for content in [b"old", b"new"] {
        let mut body = worker.about(&run, 0);
        body["pgn"] = encoded(content).into();
        assert_eq!(farm.post("/api/upload_pgn", &body).await.ok(), json!({}));
    }
    assert_eq!(farm.get(&format!("/api/pgn/{run}-0.pgn")).await.bytes, gzip(b"new"));
}

#[tokio::test]
async fn what_are_no_games_is_refused_in_order() {
    let farm = TestFarm::start().await;
    let run = farm.run(json!({})).await;
    let worker = Worker::new(1);
    worker.take(&farm).await;
    let path = "/api/upload_pgn";
    let refused = async |pgn: Option<String>| {
        let mut body = worker.about(&run, 0);
        if let Some(pgn) = pgn {
            body["pgn"] = pgn.into();
        }
        farm.post(path, &body).await.refusal(400, path)
    };
    assert!(refused(None).await.contains("Missing pgn"));
    assert!(refused(Some("A".into())).await.contains("base64"));
    assert!(refused(Some(STANDARD.encode("not gzip, but long enough"))).await.contains("pgn"));
    let whole = gzip(b"games");
    assert!(refused(Some(STANDARD.encode(&whole[..whole.len() - 3]))).await.contains("pgn"));
    // The games are looked at before the task.
    let mut nameless = worker.body();
    nameless["pgn"] = "A".into();
    assert!(farm.post(path, &nameless).await.refusal(400, path).contains("base64"));
    nameless["pgn"] = encoded(b"games").into();
    assert_eq!(farm.post(path, &nameless).await.refusal(400, path), "Missing run_id");
    assert_eq!(farm.get(&format!("/api/pgn/{run}-0.pgn")).await.status, 404);
}

#[tokio::test]
async fn games_that_are_not_there_are_not_found() {
    let farm = TestFarm::start().await;
    let run = farm.run(json!({})).await;
    for id in ["foo".to_owned(), format!("{run}-0.pgn"), format!("{run}.pgn"), format!("{run}-00")] {
        let path = format!("/api/pgn/{id}");
        assert_eq!(farm.get(&path).await.refusal(404, &path), format!("No data found for {id}"));
    }
    for id in [run.clone(), format!("{run}.pgn"), format!("{run}-0.pgn.gz"), ".pgn.gz".into()] {
        let path = format!("/api/run_pgns/{id}");
        assert_eq!(farm.get(&path).await.refusal(400, &path), format!("Invalid filename format for {id}"));
    }
    for id in [format!("{run}.pgn.gz"), "abc.pgn.gz".into()] {
        let path = format!("/api/run_pgns/{id}");
        assert_eq!(farm.get(&path).await.refusal(404, &path), format!("No data found for {id}"));
    }
}

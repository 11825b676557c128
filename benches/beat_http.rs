//! `POST /api/beat` end to end against a bare handler that parses the same JSON and answers a constant: same binary,
//! same runtime, same client, in turn. Prints the ratio of the throughputs: turns are short and many and their order
//! alternates, so that whatever else the machine does meets both, and outliers don't reach the medians.
//!
//! `cargo bench --bench beat_http`; with `SHOAL_BENCH_REDIS_URL=redis://…` the schedule is there.

mod common;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use shoal::http::{HttpSettings, Site, configure};
use shoal::sys::{clock, spawn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A replica has hundreds of them, and more; `SHOAL_BENCH_CONNECTIONS` sets another number.
const CONNECTIONS: usize = 128;
const ROUNDS: usize = 80;
const ROUND: Duration = Duration::from_millis(250);

/// What the yardstick does: the same JSON, read; a constant, written.
async fn bare(body: web::Bytes) -> HttpResponse {
    match serde_json::from_slice::<Value>(&body) {
        Ok(value) if value.get("password").is_some() => {
            HttpResponse::Ok().content_type("application/json").body(r#"{"task_alive":true,"duration":0.0}"#)
        }
        _ => HttpResponse::BadRequest().finish(),
    }
}

/// Sends the request over and over on one connection; returns how many answers came.
async fn hammer(address: SocketAddr, request: Arc<Vec<u8>>, until: Duration) -> u64 {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let began = clock::stopwatch();
    let mut buffer = vec![0; 4096];
    let mut answers = 0;
    while began.elapsed() < until {
        stream.write_all(&request).await.expect("a request sent");
        let mut have = 0;
        loop {
            let read = stream.read(&mut buffer[have..]).await.expect("an answer");
            assert!(read > 0, "the server closed the connection");
            have += read;
            if let Some(total) = answer_length(&buffer[..have])
                && have >= total
            {
                break;
            }
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..have]));
        answers += 1;
    }
    answers
}

fn answer_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?.to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    Some(head + length.trim().parse::<usize>().ok()?)
}

async fn round(address: SocketAddr, request: &Arc<Vec<u8>>, connections: usize) -> f64 {
    let hands: Vec<_> =
        (0..connections).map(|_| spawn::task("hammer", hammer(address, request.clone(), ROUND))).collect();
    let mut answers = 0;
    for hand in hands {
        answers += hand.await.expect("no panic");
    }
    answers as f64 / ROUND.as_secs_f64()
}

fn http_request(path: &str, body: &[u8]) -> Arc<Vec<u8>> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    Arc::new(request)
}

/// Median and quartiles.
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
        Self { low: at(1), median: at(2), high: at(3) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let places = f.precision().unwrap_or(3);
        write!(
            f,
            "median {:.places$}, quartiles {:.places$} to {:.places$}",
            self.median, self.low, self.high
        )
    }
}

#[actix_web::main]
async fn main() {
    let connections =
        std::env::var("SHOAL_BENCH_CONNECTIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(CONNECTIONS);
    let (bench, _) = common::farm(1).await;
    let farm = bench.farm.clone();
    let (run, task) = common::assign(&farm, 0).await;
    let body = common::body(0, json!({ "run_id": run.to_string(), "task_id": task }));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let site = Site::new(farm.clone(), HttpSettings::default(), None);
    let server = HttpServer::new(move || {
        App::new().route("/bare", web::post().to(bare)).configure(|cfg| configure(cfg, site.clone()))
    })
    .workers(2)
    .listen(listener)
    .expect("a listener")
    .run();
    let handle = server.handle();
    spawn::task("server", server);
    let (yardstick, beat) = (http_request("/bare", &body), http_request("/api/beat", &body));
    round(address, &yardstick, connections).await;
    round(address, &beat, connections).await;
    let (mut bare, mut beats, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..ROUNDS {
        let (one, other) = if turn % 2 == 0 {
            let one = round(address, &yardstick, connections).await;
            (one, round(address, &beat, connections).await)
        } else {
            let other = round(address, &beat, connections).await;
            (round(address, &yardstick, connections).await, other)
        };
        bare.push(one);
        beats.push(other);
        ratios.push(other / one);
    }
    let (bare, beats, ratios) = (Spread::of(bare), Spread::of(beats), Spread::of(ratios));
    println!("bare handler, requests/s   {bare:.0}");
    println!("/api/beat, requests/s      {beats:.0}");
    println!("ratio, turn by turn        {ratios:.3}");
    println!("ratio of the medians       {:.3}", beats.median / bare.median);
    handle.stop(false).await;
}

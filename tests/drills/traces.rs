//! Request ids, and traces that a real collector gets.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use parking_lot::Mutex;
use serde_json::Value;
use shoal::sys::clock::stopwatch;
use shoal::sys::spawn;

use super::server::Server;
use super::{free_port, turn};

/// A collector: what it got, what it will answer, and over how many connections.
#[derive(Default)]
struct Collector {
    bodies: Mutex<Vec<Value>>,
    answers: Mutex<VecDeque<u16>>,
    connections: Mutex<usize>,
}

impl Collector {
    fn start(answers: &[u16]) -> (Arc<Self>, u16) {
        let collector =
            Arc::new(Self { answers: Mutex::new(answers.iter().copied().collect()), ..Self::default() });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (shared, counting) = (collector.clone(), collector.clone());
        let server = HttpServer::new(move || {
            let shared = shared.clone();
            let take = move |body: web::Bytes| {
                let status = shared.answers.lock().pop_front().unwrap_or(200);
                let body: Value = serde_json::from_slice(&body).unwrap();
                if status == 200 {
                    shared.bodies.lock().push(body);
                }
                async move { HttpResponse::build(status.try_into().unwrap()).body("{}") }
            };
            App::new().app_data(web::PayloadConfig::new(8 << 20)).route("/v1/traces", web::post().to(take))
        })
        .on_connect(move |_, _| *counting.connections.lock() += 1)
        .workers(1)
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
        drop(spawn::task("collector", server));
        (collector, port)
    }

    fn spans(&self) -> Vec<Value> {
        let bodies = self.bodies.lock();
        let all = bodies
            .iter()
            .flat_map(|body| body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap());
        all.cloned().collect()
    }

    /// Until it got a request's span.
    async fn got(&self, id: &str) -> Value {
        let began = stopwatch();
        loop {
            let found =
                self.spans().into_iter().find(|span| attribute(span, "request_id") == Some(id.into()));
            if let Some(span) = found {
                return span;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "no span of {id}: {:?}", self.spans());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn attribute(span: &Value, key: &str) -> Option<String> {
    let attributes = span["attributes"].as_array()?;
    let value = &attributes.iter().find(|attribute| attribute["key"] == key)?["value"];
    let text = value.as_object()?.values().next()?;
    Some(text.as_str().map_or_else(|| text.to_string(), str::to_owned))
}

async fn ask(server: &Server, path: &str, id: &str) -> reqwest::Response {
    let client = shoal::sys::web::client().build().unwrap();
    client.post(format!("{}{path}", server.url())).header("x-request-id", id).body("{}").send().await.unwrap()
}

async fn count(server: &Server, series: &str) -> f64 {
    let page = server.get("/metrics").await.text().await.unwrap();
    page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap()
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

async fn ask_below(server: &Server, traceparents: &[&str], id: &str) {
    let client = shoal::sys::web::client().build().unwrap();
    let mut request = client.post(format!("{}/api/actions", server.url())).header("x-request-id", id);
    for traceparent in traceparents {
        request = request.header("traceparent", *traceparent);
    }
    request.body("{}").send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_part_of_its_callers_trace() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().unwrap();
    let (collector, port) = Collector::start(&[]);
    let mut server = Server::start_with(dir.path(), free_port(), |serve| {
        serve.env("SHOAL_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"));
    })
    .await;
    let sampled = format!("00-{TRACE}-{SPAN}-01");
    ask_below(&server, &[&sampled], "sampled").await;
    let span = collector.got("sampled").await;
    assert_eq!(
        (span["traceId"].clone(), span["parentSpanId"].clone()),
        (TRACE.into(), SPAN.into()),
        "{span}"
    );
    assert_ne!(span["spanId"], SPAN);
    // What isn't in order begins a trace of its own, as nothing does.
    let (capitals, newer) = (sampled.to_uppercase(), sampled.replacen("00", "01", 1));
    let nobody = format!("00-{TRACE}-{}-01", "0".repeat(16));
    let none_counts: [&[&str]; 6] =
        [&[], &["nonsense"], &[&capitals], &[&newer], &[&nobody], &[&sampled, &sampled]];
    for (number, wrong) in none_counts.iter().enumerate() {
        let id = format!("wrong-{number}");
        ask_below(&server, wrong, &id).await;
        let span = collector.got(&id).await;
        assert_ne!(span["traceId"], TRACE, "{wrong:?}");
        assert!(span.get("parentSpanId").is_none(), "{wrong:?}: {span}");
    }
    // A caller that doesn't keep the trace gets no piece of it kept here, and the next one is as before.
    ask_below(&server, &[&format!("00-{TRACE}-{SPAN}-00")], "unsampled").await;
    ask_below(&server, &[&sampled], "after").await;
    assert!(server.terminate());
    assert_eq!(collector.got("after").await["traceId"], TRACE);
    let ids: Vec<_> = collector.spans().iter().filter_map(|span| attribute(span, "request_id")).collect();
    assert!(!ids.contains(&"unsampled".to_owned()), "{ids:?}");
    let of_the_caller = collector.spans().iter().filter(|span| span["traceId"] == TRACE).count();
    let known: usize = collector.spans().iter().filter(|span| span["parentSpanId"] == SPAN).count();
    assert!(of_the_caller >= known && known == 2, "{of_the_caller} {known}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_spans_also_after_it_was_busy_and_what_it_refuses_is_counted() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().unwrap();
    let (collector, port) = Collector::start(&[503, 429]);
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut server = Server::start_with(dir.path(), free_port(), |serve| {
        serve
            .env("SHOAL_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"))
            .env("SHOAL_LOG", "info,shoal=debug")
            .env("SHOAL_LOG_FORMAT", "json")
            .stderr(Stdio::from(log));
    })
    .await;
    let answer = ask(&server, "/api/actions", "first-request").await;
    assert_eq!(answer.headers()["x-request-id"], "first-request");
    let span = collector.got("first-request").await;
    assert_eq!((span["name"].clone(), span["kind"].clone()), ("request".into(), 2.into()));
    assert_eq!(attribute(&span, "endpoint").as_deref(), Some("actions"));
    assert_eq!(attribute(&span, "status"), Some(answer.status().as_u16().to_string()));
    assert_eq!(span["traceId"].as_str().unwrap().len(), 32);
    let nanos = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    assert!(nanos("endTimeUnixNano") > nanos("startTimeUnixNano"));
    assert!(count(&server, "shoal_otlp_retries_total ").await >= 2.0);
    // What is refused is gone, and counted.
    assert_eq!(count(&server, "shoal_otlp_spans_dropped_total{reason=\"refused\"} ").await, 0.0);
    collector.answers.lock().push_back(400);
    ask(&server, "/api/actions", "refused-request").await;
    let began = stopwatch();
    while count(&server, "shoal_otlp_spans_dropped_total{reason=\"refused\"} ").await == 0.0 {
        assert!(began.elapsed() < Duration::from_secs(30), "what was refused isn't counted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A name that isn't fit for a log is replaced.
    let strange = ask(&server, "/api/beat", "not fit for a log").await;
    let id = strange.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(id.len(), 16);
    collector.got(&id).await;
    assert_eq!(*collector.connections.lock(), 1, "the connection is kept");
    // The last spans are sent before the end.
    ask(&server, "/api/actions", "last-request").await;
    assert!(server.terminate());
    collector.got("last-request").await;
    let jobs = collector.spans().iter().filter(|span| span["name"] == "job").count();
    assert!(jobs > 0, "the leader's jobs are traced, too");
    let all = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(all.lines().any(|line| line.contains("first-request") && line.contains("answered")), "{all}");
    assert!(all.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{all}");
}

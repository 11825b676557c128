//! A server that stands for GitHub: it answers as it was told to, and remembers what it was asked.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;
use shoal::sys::spawn;

/// What a path is answered with.
#[derive(Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    delay: Duration,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "status {}, {} bytes, after {:?}", self.status, self.body.len(), self.delay)
    }
}

impl Answer {
    pub fn text(body: &str) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.to_owned(), delay: Duration::ZERO }
    }

    pub fn json(body: &Value) -> Self {
        Self::text(&body.to_string())
    }

    pub fn status(status: u16) -> Self {
        Self { status, ..Self::text("trouble") }
    }

    pub fn redirect(to: &str) -> Self {
        Self { status: 302, headers: vec![("location", to.to_owned())], ..Self::text("") }
    }

    /// No answer while anybody waits.
    pub fn silence() -> Self {
        Self { delay: Duration::from_secs(60), ..Self::text("{}") }
    }

    /// With the headers of a quota that is reset in a while.
    pub fn quota(mut self, limit: u64, remaining: u64, used: u64) -> Self {
        let reset = shoal::sys::clock::wall_now().0 / 1000 + 1000;
        self.headers.extend([
            ("x-ratelimit-limit", limit.to_string()),
            ("x-ratelimit-remaining", remaining.to_string()),
            ("x-ratelimit-used", used.to_string()),
            ("x-ratelimit-reset", reset.to_string()),
            ("x-ratelimit-resource", "core".to_owned()),
        ]);
        self
    }
}

/// A question, as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub query: String,
    headers: HashMap<String, String>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, Answer>>,
    asked: Mutex<Vec<Asked>>,
}

/// The server; it stops when dropped.
pub struct Host {
    shared: Arc<Shared>,
    address: String,
    server: ServerHandle,
}

impl Host {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let for_app = shared.clone();
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::from(for_app.clone())).default_service(web::to(answer))
        })
        .workers(1)
        .client_request_timeout(Duration::from_secs(60))
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
        let handle = server.handle();
        drop(spawn::task("github", server));
        Self { shared, address, server: handle }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this path is answered so; a path that was never named is not found.
    pub fn on(&self, path: &str, answer: Answer) {
        self.shared.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// All questions so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

async fn answer(request: HttpRequest, shared: web::Data<Shared>) -> HttpResponse {
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let asked = Asked { query: request.query_string().to_owned(), headers };
    shared.asked.lock().unwrap().push(asked);
    let answer = shared.answers.lock().unwrap().get(request.path()).cloned();
    let answer = answer.unwrap_or_else(|| Answer::status(404));
    tokio::time::sleep(answer.delay).await;
    let mut response = HttpResponse::build(StatusCode::from_u16(answer.status).unwrap());
    for (name, value) in answer.headers {
        response.insert_header((name, value));
    }
    response.body(answer.body)
}

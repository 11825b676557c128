//! Promise: what is secret is in no log, no metric and no answer (I19), whatever is wrong with the request.

use std::fs::File;

use super::server::{Server, accounts, free_port, run};

/// A password that can't be there by chance.
const CANARY: &str = "canary-7f3a91";

#[tokio::test(flavor = "multi_thread")]
async fn no_password_and_no_token_is_ever_told() {
    let dir = tempfile::tempdir().unwrap();
    accounts(dir.path());
    run(dir.path(), &["user", "set-password", "volunteer", "--password", CANARY]);
    let (log, errors) = (dir.path().join("log"), dir.path().join("errors"));
    let server = Server::start_with(dir.path(), free_port(), |serve| {
        serve
            .env("SHOAL_LOG", "info,shoal=trace")
            .env("SHOAL_GITHUB_TOKEN", format!("token-{CANARY}"))
            // Nobody is there: trouble with GitHub is logged.
            .env("SHOAL_GITHUB_API_URL", "http://127.0.0.1:1")
            .stdout(File::create(&log).unwrap())
            .stderr(File::create(&errors).unwrap());
    });
    let mut server = server.await;
    let url = server.url();
    let client = shoal::sys::web::client().build().unwrap();

    let good = serde_json::json!({
        "password": CANARY,
        "worker_info": {
            "uname": "Linux 6.8.0", "architecture": ["64bit", "ELF"], "concurrency": 8, "max_memory": 16000,
            "min_threads": 1, "username": "volunteer", "version": 325, "python_version": [3, 12, 1],
            "gcc_version": [13, 2, 0], "compiler": "g++", "unique_key": "1f3c0001-5a28-4b7d-b27b-d78d97ecf11a",
            "modified": false, "worker_arch": "x86-64-avx2", "ARCH": "64bit", "nps": 1_234_567.0,
            "near_github_api_limit": false,
        },
    });
    let mut bodies = vec![good.to_string()];
    // A wrong type, an unknown key, somebody else's password, a password that is none, and what is no JSON.
    let mut changed = |pointer: &str, value: serde_json::Value| {
        let mut body = good.clone();
        match pointer.rsplit_once('/') {
            Some((parent, key)) => body.pointer_mut(parent).unwrap()[key] = value,
            None => unreachable!("a pointer has a slash"),
        }
        bodies.push(body.to_string());
    };
    changed("/worker_info/concurrency", "eight".into());
    changed("/worker_info/secret", CANARY.into());
    changed("/worker_info/username", "author".into());
    changed("/password", serde_json::json!([CANARY]));
    changed("/password", format!("{CANARY}-wrong").into());
    changed("/run_id", "none".into());
    bodies.push(format!("{{\"password\": \"{CANARY}\", \"worker_info\": "));
    let mut told = String::new();
    for path in
        ["request_version", "request_task", "update_task", "beat", "failed_task", "stop_run", "upload_pgn"]
    {
        for body in &bodies {
            let sent = client.post(format!("{url}/api/{path}")).header("content-type", "application/json");
            let answer = sent.body(body.clone()).send().await.unwrap();
            told.push_str(&format!("{path}: {:?}\n", answer.headers()));
            told.push_str(&answer.text().await.unwrap());
        }
    }
    for path in ["metrics", "readyz", "api/rate_limit"] {
        told.push_str(&client.get(format!("{url}/{path}")).send().await.unwrap().text().await.unwrap());
    }
    assert!(server.terminate());

    let logged = std::fs::read_to_string(&log).unwrap() + &std::fs::read_to_string(&errors).unwrap();
    assert!(logged.contains("listening"), "{logged}");
    assert!(told.contains("concurrency"), "a wrong field is named");
    let leaks = |text: &str| {
        let at = text.find(CANARY)?;
        let from = text[..at].rfind('\n').map_or(0, |end| end + 1);
        Some(text[from..].lines().next().unwrap_or_default().chars().take(300).collect::<String>())
    };
    assert_eq!(leaks(&told), None, "told");
    assert_eq!(leaks(&logged), None, "logged");
}

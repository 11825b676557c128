//! What the farm takes over from GitHub, played against a server that stands for it; and what it makes of trouble there.

mod host;

use std::sync::Arc;
use std::time::Duration;

use bson::Bson;
use host::{Answer, Host};
use serde_json::{Value, json};
use shoal::config::Secret;
use shoal::domain::action_query::ActionQuery;
use shoal::domain::new_run::RunForm;
use shoal::github::{GitHub, GitHubError, GitHubSettings};
use shoal::http::{self, HttpSettings, Site};
use shoal::service::{Farm, FarmSettings};
use shoal::state::memory::MemoryState;
use shoal::store::{RunMeta, StoredRun, User};
use shoal::sys::clock::SystemClock;
use shoal::sys::{random, spawn, web};
use tempfile::TempDir;

use crate::durability::fixtures::sqlite_in;

const TOKEN: &str = "ghp_canary77";
const BOOKS: &str = "/repos/official-stockfish/books/contents/books.json";
const RAW_BOOKS: &str = "/official-stockfish/books/master/books.json";
const MASTER: &str = "/repos/official-stockfish/Stockfish/commits/master";

/// A busy machine answers within this.
const PATIENT: Duration = Duration::from_secs(30);

fn settings(api: Option<&Host>, raw: Option<&Host>) -> GitHubSettings {
    GitHubSettings {
        api: api.map(Host::url),
        raw: raw.map(Host::url),
        token: Some(Secret::new(TOKEN)),
        timeout: PATIENT,
    }
}

fn books(name: &str) -> Value {
    json!({ name: {
        "total": 3, "white": 2, "black": 1, "min_depth": 8, "max_depth": null, "sri": "S".repeat(64) } })
}

/// A farm that asks these.
async fn farm(github: GitHubSettings) -> (Arc<Farm>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(sqlite_in(directory.path()));
    let clock = Arc::new(SystemClock::new());
    let state = Arc::new(MemoryState::new(clock.clone()));
    let farm = Farm::new(state, store, clock, FarmSettings { github, ..FarmSettings::default() });
    farm.rebuild().await.unwrap();
    (farm, directory)
}

fn form(book: &str) -> RunForm {
    RunForm::from_json(&json!({
        "base_tag": "master", "new_tag": "my_patch", "base_nets": [], "new_nets": [],
        "tc": "10+0.1", "book": book, "book_depth": "8", "threads": 1,
        "resolved_base": "a".repeat(40), "resolved_new": "b".repeat(40), "msg_base": "x", "msg_new": "y",
        "base_options": "Hash=16", "new_options": "Hash=16", "info": "y",
        "base_signature": "2050811", "new_signature": "2050812", "username": "alice",
        "tests_repo": "https://github.com/alice/Stockfish", "sprt": {"elo0": 0.0, "elo1": 2.0},
    }))
    .unwrap()
}

async fn add_alice(farm: &Farm) {
    farm.control(shoal::service::control::Control::UserAdd {
        username: "alice".into(),
        password: "secret".into(),
        email: "alice@farm.example".into(),
        approver: false,
        pending: false,
        machine_limit: None,
    })
    .await
    .unwrap();
    let user: Option<User> = farm.store.user("alice").await.unwrap();
    assert!(user.is_some());
}

#[tokio::test]
async fn the_table_of_books_is_taken_over_and_new_runs_are_held_to_it() {
    let host = Host::start().await;
    host.on(BOOKS, Answer::json(&books("new.epd")));
    let (farm, _directory) = farm(settings(Some(&host), None)).await;
    add_alice(&farm).await;
    farm.create_run(&form("old.epd")).await.unwrap();
    farm.refresh_books().await.unwrap();
    assert!(farm.books().contains_key("new.epd"));
    let stored = farm.store.kv("books").await.unwrap();
    assert_eq!(stored, Some(Bson::Document((*farm.books()).clone())));
    farm.create_run(&form("new.epd")).await.unwrap();
    let refused = farm.create_run(&form("old.epd")).await.unwrap_err().to_string();
    assert!(refused.contains("old.epd"), "{refused}");
    let asked = &host.asked()[0];
    assert_eq!(asked.query, "ref=master");
    assert_eq!(asked.header("accept"), Some("application/vnd.github.raw"));
    assert!(asked.header("user-agent").is_some_and(|agent| agent.starts_with("shoal/")));
}

#[tokio::test]
async fn the_master_commit_is_stored() {
    let host = Host::start().await;
    let (farm, _directory) = farm(settings(Some(&host), None)).await;
    for (sha, stored) in
        [("c".repeat(40), "c".repeat(40)), ("C".repeat(40), "c".repeat(40)), ("".into(), "c".repeat(40))]
    {
        host.on(MASTER, Answer::json(&json!({ "sha": sha })));
        farm.refresh_official_master().await.unwrap();
        assert_eq!(farm.store.kv("official_master_sha").await.unwrap(), Some(Bson::String(stored)));
    }
}

#[tokio::test]
async fn trouble_keeps_the_old_table() {
    let host = Host::start().await;
    host.on(BOOKS, Answer::json(&books("old.epd")));
    let hasty = GitHubSettings { timeout: Duration::from_secs(5), ..settings(Some(&host), None) };
    let (farm, _directory) = farm(hasty).await;
    farm.refresh_books().await.unwrap();
    let mut wrong = books("new.epd");
    wrong["new.epd"]["sri"] = "short".into();
    let asked = |host: &Host| host.asked().len();
    for (answer, tries) in [
        (Answer::status(500), 1),
        (Answer::status(404), 1),
        (Answer::status(503), 2),
        (Answer::text("<html>not JSON"), 1),
        (Answer::json(&json!({})), 1),
        (Answer::json(&json!([1])), 1),
        (Answer::json(&wrong), 1),
        (Answer::silence(), 2),
    ] {
        let before = asked(&host);
        host.on(BOOKS, answer.clone());
        farm.refresh_books().await.unwrap();
        assert!(farm.books().contains_key("old.epd") && farm.books().len() == 1, "{answer:?}");
        assert_eq!(asked(&host) - before, tries, "{answer:?}");
    }
    host.on(BOOKS, Answer::json(&books("new.epd")));
    farm.refresh_books().await.unwrap();
    assert!(farm.books().contains_key("new.epd"));
}

#[tokio::test]
async fn an_error_names_what_is_wrong_and_never_the_token() {
    let host = Host::start().await;
    let elsewhere = Host::start().await;
    elsewhere.on(MASTER, Answer::json(&json!({ "sha": "c".repeat(40) })));
    let patient = settings(Some(&host), None);
    let hasty = GitHubSettings { timeout: Duration::from_millis(400), ..patient.clone() };
    for (answer, word) in [
        (Answer::status(500), "status 500"),
        (Answer::text("{"), "not understood"),
        (Answer::silence(), "within 0.4 s"),
        (Answer::redirect(&format!("{}{MASTER}", elsewhere.url())), "status 302"),
        (Answer::redirect(&format!("{}{MASTER}", host.url())), "status 302"),
        (Answer::text(&" ".repeat((16 << 20) + 1)), "larger"),
    ] {
        host.on(MASTER, answer.clone());
        let settings = if word.starts_with("within") { &hasty } else { &patient };
        let github = GitHub::new(settings.clone(), Arc::new(SystemClock::new()));
        let error = github.official_master().await.unwrap_err();
        let told = format!("{error} {error:?} {github:?}");
        assert!(told.contains(word), "{answer:?}: {told}");
        assert!(!told.contains("canary"), "{told}");
    }
    assert!(elsewhere.asked().is_empty(), "a redirection led to another server");
    let nobody = GitHubSettings { api: Some("http://127.0.0.1:1".into()), ..settings(None, None) };
    let error = GitHub::new(nobody, Arc::new(SystemClock::new())).official_master().await.unwrap_err();
    assert!(matches!(error, GitHubError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn the_token_goes_to_the_api_only() {
    let api = Host::start().await;
    let raw = Host::start().await;
    api.on(BOOKS, Answer::json(&books("api.epd")));
    raw.on(RAW_BOOKS, Answer::json(&books("raw.epd")));
    let (farm, _directory) = farm(settings(Some(&api), Some(&raw))).await;
    farm.refresh_books().await.unwrap();
    assert_eq!(api.asked()[0].header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert!(farm.books().contains_key("api.epd"));
    // More used than left: the file costs no call.
    api.on(BOOKS, Answer::json(&books("api.epd")).quota(60, 29, 31));
    farm.refresh_books().await.unwrap();
    farm.refresh_books().await.unwrap();
    assert!(farm.books().contains_key("raw.epd"));
    assert_eq!((api.asked().len(), raw.asked().len()), (2, 1));
    assert_eq!(raw.asked()[0].header("authorization"), None);
    // The commit waits for more calls.
    farm.refresh_official_master().await.unwrap();
    assert_eq!(api.asked().len(), 2);
    assert_eq!(farm.github.official_master().await, Err(GitHubError::HalfSpent));
}

/// The farm's answer to the question for the quota.
async fn shown_quota(farm: &Arc<Farm>) -> Value {
    let site = Site::new(farm.clone(), HttpSettings::default(), None);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = http::serve(site, listener, 1).unwrap();
    let handle = server.handle();
    drop(spawn::task("server", server));
    let client = web::client().build().unwrap();
    let answer = client.get(format!("http://{address}/api/rate_limit")).send().await.unwrap();
    let quota = answer.json().await.unwrap();
    handle.stop(false).await;
    quota
}

#[tokio::test]
async fn the_quota_is_asked_for_once_and_then_read_from_headers() {
    let host = Host::start().await;
    let (farm, _directory) = farm(settings(Some(&host), None)).await;
    let reset = farm.now().0 / 1000 + 1000;
    let core = json!({ "limit": 5000, "remaining": 4990, "reset": reset, "used": 10 });
    host.on("/rate_limit", Answer::json(&json!({ "resources": { "core": core } })));
    let quota = shown_quota(&farm).await;
    assert_eq!(
        quota,
        json!({ "limit": 5000, "remaining": 4990, "reset": reset, "used": 10, "resource": "core",
                "_uninitialized": false })
    );
    host.on(MASTER, Answer::json(&json!({ "sha": "c".repeat(40) })).quota(5000, 4989, 11));
    farm.refresh_official_master().await.unwrap();
    let quota = shown_quota(&farm).await;
    assert_eq!((&quota["remaining"], &quota["used"]), (&json!(4989), &json!(11)));
    assert_eq!(host.asked().len(), 2);
}

#[tokio::test]
async fn a_quota_that_can_not_be_asked_for_is_not_asked_for_by_every_reader() {
    let host = Host::start().await;
    host.on("/rate_limit", Answer::status(503));
    let (farm, _directory) = farm(settings(Some(&host), None)).await;
    for _ in 0..3 {
        let quota = shown_quota(&farm).await;
        assert_eq!((&quota["remaining"], &quota["_uninitialized"]), (&json!(5000), &json!(true)));
    }
    assert_eq!(host.asked().len(), 1);
}

#[tokio::test]
async fn switched_off_means_that_nobody_is_asked() {
    let host = Host::start().await;
    let (farm, _directory) = farm(settings(None, None)).await;
    farm.refresh_books().await.unwrap();
    farm.refresh_official_master().await.unwrap();
    assert_eq!(shown_quota(&farm).await["_uninitialized"], true);
    assert_eq!(farm.github.books().await, Err(GitHubError::Off));
    assert_eq!(farm.github.official_master().await, Err(GitHubError::Off));
    assert!(host.asked().is_empty());
    assert_eq!(farm.store.kv("books").await.unwrap(), None);
}

#[tokio::test]
async fn a_run_that_breaks_the_rules_of_documents_is_logged() {
    let (farm, _directory) = farm(GitHubSettings::default()).await;
    add_alice(&farm).await;
    let id = farm.create_run(&form("a.epd")).await.unwrap();
    let messages = || async {
        let query = ActionQuery::parse(br#"{"action": "log_message"}"#).unwrap();
        let found = farm.find_actions(&query).await.unwrap();
        found.iter().map(|entry| entry.get_str("message").unwrap().to_owned()).collect::<Vec<_>>()
    };
    farm.validate_random_run().await.unwrap();
    farm.validate_structures().await.unwrap();
    assert_eq!(messages().await, [""; 0]);
    // As another server could have left it.
    let mut doc = farm.store.run(id).await.unwrap().unwrap().doc;
    let broken = shoal::domain::ids::RunId(random::object_id());
    doc.insert("_id", broken.0);
    doc.get_document_mut("args").unwrap().insert("threads", 1.0);
    let meta = RunMeta::new(shoal::domain::run::Phase::Running);
    farm.store.insert_run(&StoredRun { id: broken, doc, meta }, &[]).await.unwrap();
    farm.load_stored(broken).await.unwrap();
    farm.validate_run(broken).await.unwrap();
    assert_eq!(
        messages().await,
        [format!("The run object {broken} does not validate: args.threads: is no integer")]
    );
}

//! The farm takes up imported runs and accounts.

use std::sync::Arc;

use bson::Bson;
use serde_json::json;
use shoal::domain::fold::{Record, growth_of};
use shoal::domain::ids::{Millis, TaskId, TaskKey};
use shoal::domain::names::LegacyUsernames;
use shoal::domain::validate::{Body, WorkerRequest};
use shoal::service::request_task::{Origin, TaskAnswer};
use shoal::service::{Farm, FarmSettings};
use shoal::state::memory::MemoryState;
use shoal::sys::clock::ManualClock;

use super::export::NOW;
use super::{Fixture, documents, export, run_id};

async fn farm(fixture: &Fixture) -> Arc<Farm> {
    let clock = Arc::new(ManualClock::new(Millis(NOW + 1_000)));
    let state = Arc::new(MemoryState::new(clock.clone()));
    let farm = Farm::new(state, fixture.store.clone(), clock, FarmSettings::default());
    farm.rebuild().await.unwrap();
    farm
}

fn request(username: &str, cores: u64, task: Option<TaskKey>) -> WorkerRequest {
    let mut body = json!({
        "password": "secret",
        "worker_info": {
            "uname": "Linux 6.8.0", "architecture": ["64bit", "ELF"], "concurrency": cores, "max_memory": 16000,
            "min_threads": 1, "username": username, "version": 325, "python_version": [3, 12, 1],
            "gcc_version": [13, 2, 0], "compiler": "g++", "unique_key": "1f3c9a07-5a28-4b7d-b27b-d78d97ecf11a",
            "modified": false, "worker_arch": "x86-64-avx2", "ARCH": "64bit BMI2", "nps": 1_234_567.0,
            "near_github_api_limit": false,
        },
    });
    if let Some(key) = task {
        body["run_id"] = json!(key.run.to_string());
        body["task_id"] = json!(key.task.0);
    }
    let text = body.to_string();
    let none = LegacyUsernames::default();
    let body = Body::parse(text.as_bytes()).unwrap();
    body.access(&none).unwrap();
    body.full(&none).unwrap()
}

fn origin(address: &str) -> Origin {
    Origin {
        remote_addr: address.to_owned(),
        country: "NL".to_owned(),
        host_url: "https://farm.example".to_owned(),
    }
}

#[tokio::test]
async fn an_unfinished_run_goes_on_behind_its_last_task() {
    let fixture = Fixture::new();
    let run = export::running_sprt();
    let id = run_id(&run);
    export::write(fixture.path(), "runs.json", &[export::canonical(&run)]);
    assert_eq!(fixture.import().await.taken(), 1);
    let farm = farm(&fixture).await;

    let view = farm.state.read_run(id).await.unwrap().unwrap();
    let counters = view.counters;
    assert_eq!((counters.workers, counters.cores), (1, 4));
    assert_eq!((counters.committed_games, counters.total_games), (704, 704));
    assert_eq!(view.next_task, TaskId(2));
    // The sequential test goes on from what has been played, not from nothing.
    let record = Record::parse(&view.record).unwrap();
    assert_eq!(record.folded(), growth_of(&counters.results));
    assert_eq!(counters.results.games(), 544);
    let Record::Sprt { sprt, .. } = record else { panic!("not a sequential test") };
    assert_eq!(sprt.llr, -0.019867762751878543);

    // The worker that was playing still holds its task, and counts at its address.
    let held = TaskKey { run: id, task: TaskId(1) };
    assert!(farm.beat(&request("dave", 4, Some(held))).await.unwrap());
    let refused = farm.request_task(&request("carol", 8, None), 1, origin("198.51.100.9")).await.unwrap();
    assert!(matches!(&refused, TaskAnswer::Error(text) if text.contains("Machine limit")), "{refused:?}");

    let answer = farm.request_task(&request("carol", 8, None), 16, origin("198.51.100.9")).await.unwrap();
    let TaskAnswer::Assigned(stripped, task) = answer else { panic!("{answer:?}") };
    assert_eq!(task, TaskId(2));
    assert_eq!(stripped.get_document("my_task").unwrap().get("start"), Some(&Bson::Int32(704)));
    let stored = fixture.store.task(TaskKey { run: id, task }).await.unwrap().unwrap();
    assert_eq!((stored.start, stored.active), (704, true));

    // A run that lives here is left alone by another import.
    let again = fixture.import().await;
    assert_eq!((again.taken(), again.rejected(), again.collections[0].already_there), (0, 0, 1), "{again}");
    assert_eq!(fixture.store.next_task(id).await.unwrap(), TaskId(3));
}

#[tokio::test]
async fn every_unfinished_run_of_an_export_is_loaded() {
    let fixture = Fixture::new();
    export::write(fixture.path(), "runs.json", &export::lines(&export::good_runs()));
    fixture.import().await;
    let farm = farm(&fixture).await;
    let loaded: Vec<_> = farm.state.read_runs().await.unwrap().iter().map(|view| view.id).collect();
    let spsa = run_id(&export::running_spsa());
    assert_eq!(loaded.len(), 2);
    assert!(loaded.contains(&spsa) && loaded.contains(&run_id(&export::running_sprt())));
    let round = fixture.store.task(TaskKey { run: spsa, task: TaskId(1) }).await.unwrap().unwrap().spsa_round;
    assert_eq!(round.map(|round| (round.iter, round.packed_flips)), Some((313, vec![0x80])));
    let census = farm.state.census().await.unwrap();
    assert_eq!((census.active_tasks, census.connections), (2, 2));
}

#[tokio::test]
async fn an_imported_password_logs_in_once_and_is_a_hash_from_then_on() {
    let fixture = Fixture::new();
    documents::write_all(fixture.path());
    fixture.import().await;
    let first = farm(&fixture).await;
    first.accounts.authenticate("alice", "wrong").await.unwrap_err();
    assert!(fixture.store.secret("alice").await.unwrap().is_none());
    first.accounts.authenticate("alice", "CorrectHorse99!x").await.unwrap();
    let alice = fixture.store.user("alice").await.unwrap().unwrap();
    assert_eq!(alice.plain_password, None);
    assert!(fixture.store.secret("alice").await.unwrap().unwrap().starts_with("$argon2id$"));

    // Nothing of the import is needed any more, and another import brings the plain text not back.
    let again = fixture.import().await;
    assert_eq!(again.taken(), 0, "{again}");
    assert_eq!(fixture.store.user("alice").await.unwrap().unwrap().plain_password, None);
    let second = farm(&fixture).await;
    second.accounts.authenticate("alice", "CorrectHorse99!x").await.unwrap();
    second.accounts.authenticate("alice", "wrong").await.unwrap_err();
}

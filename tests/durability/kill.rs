//! A server that is killed in the middle of its work: what it acknowledged is there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use shoal::domain::action_query::ActionQuery;
use shoal::domain::ids::{RunId, WriteId};
use shoal::store::sqlite::{DATABASE_FILE, Mode, SqliteStore};
use shoal::store::{ActionStore, CommitStore, DocumentWrite, RunStore, TaskWrite, WriteOutcome};

use super::fixtures::*;

const ROUNDS: u64 = 6;
/// Tasks that a child plays at once.
const TASKS: u32 = 5;
/// Tells a child which file to write to.
const DATABASE: &str = "SHOAL_TEST_KILLED_DATABASE";

/// What a child said is durable: a task's version, and which write made it.
struct Acknowledged {
    run: RunId,
    versions: BTreeMap<u32, (u64, u64)>,
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(DATABASE_FILE);
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let acknowledged = run_and_kill(&path, Duration::from_millis(60 + 50 * round));
        assert_eq!(acknowledged.versions.len(), TASKS as usize, "the child was killed before it had begun");
        rounds.push(acknowledged);
        let store = sqlite_in(directory.path());
        // The latest after each death, all after the last one.
        let left = if round + 1 == ROUNDS { 0 } else { rounds.len() - 1 };
        for round in &rounds[left..] {
            verify(&store, round).await;
        }
        assert_eq!(store.check().await.unwrap(), Vec::<String>::new());
    }
}

/// Starts a child, lets it work for a while after its first round of writes, kills it; what it had acknowledged.
fn run_and_kill(path: &Path, work: Duration) -> Acknowledged {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["durability::kill::the_child", "--exact", "--ignored", "--nocapture"])
        .env(DATABASE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said: Vec<String> = Vec::new();
    while said.iter().filter(|line| line.starts_with("acknowledged")).count() < TASKS as usize {
        said.push(lines.next().expect("the child ended by itself").unwrap());
    }
    // The pipe holds what it says meanwhile; if it fills up, the child waits, and is killed waiting.
    std::thread::sleep(work);
    child.kill().unwrap();
    child.wait().unwrap();
    said.extend(lines.map_while(Result::ok));
    parse(&said)
}

fn parse(said: &[String]) -> Acknowledged {
    let mut run = None;
    let mut versions = BTreeMap::new();
    for line in said {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["run", id] => run = RunId::parse(id),
            // The end of line is part of the words: half a line isn't an acknowledgement.
            ["acknowledged", task, version, write_id, "."] => {
                let entry = (version.parse().unwrap(), write_id.parse().unwrap());
                versions.insert(task.parse().unwrap(), entry);
            }
            _ => {}
        }
    }
    Acknowledged { run: run.unwrap(), versions }
}

async fn verify(store: &SqliteStore, said: &Acknowledged) {
    let of_run = ActionQuery::parse(format!(r#"{{"run_id": "{}"}}"#, said.run).as_bytes()).unwrap();
    let log = store.find_actions(&of_run, usize::MAX).await.unwrap();
    for (task, (version, write_id)) in &said.versions {
        let stored = store.task(key(said.run, *task)).await.unwrap().expect("an acknowledged task is gone");
        assert!(stored.version.0 >= *version, "task {task}: {} after {version}", stored.version.0);
        if stored.version.0 == *version {
            assert_eq!(stored.write_id, WriteId(*write_id));
        }
        let cause = (Some(said.run.to_string()), Some(i64::from(*task)));
        let of = |entry: &bson::Document| {
            (entry.get_str("run_id").ok().map(str::to_owned), entry.get_i64("task_id").ok())
        };
        let entries = log.iter().filter(|entry| of(entry) == cause);
        assert_eq!(entries.count() as u64, stored.version.0, "one entry a version, with its cause");
    }
}

#[test]
#[ignore = "the child of what_was_acknowledged_survives_a_kill"]
fn the_child() {
    let path = std::env::var(DATABASE).expect("started by its parent only");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work_forever(Path::new(&path)));
}

async fn work_forever(path: &Path) {
    let store = SqliteStore::open(path, Mode::Serve).unwrap();
    let generation = store.raise_fence(store.fence().await.unwrap()).await.unwrap().unwrap();
    store.seal(generation).await.unwrap();
    let run = run_id();
    // The harness has begun a line.
    say(&format!("\nrun {run}"));
    let mut records: Vec<_> = (0..TASKS).map(|task| claim(key(run, task), generation)).collect();
    loop {
        let batch: Vec<_> = records
            .iter()
            .map(|record| {
                let mut entry = action("update", record.version.0 as f64);
                entry.insert("run_id", run.to_string());
                entry.insert("task_id", i64::from(record.key.task.0));
                DocumentWrite::Task(TaskWrite { record: record.clone().into(), actions: vec![entry] })
            })
            .collect();
        let outcomes = store.commit(generation, &batch).await.unwrap();
        assert_eq!(outcomes, vec![WriteOutcome::Applied; batch.len()]);
        for record in &mut records {
            say(&format!("acknowledged {} {} {} .", record.key.task, record.version.0, record.write_id.0));
            *record = update(record);
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("the parent listens until the end");
}

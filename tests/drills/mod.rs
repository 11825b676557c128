//! Real processes: a server, a fleet, and what befalls them.

mod fleet;
mod secrets;
mod server;
mod shared_store;
mod traces;

use fleet::{Sizes, sizes};
pub use fleet::{fleet, judge};
use server::Server;
pub use server::{
    SHOAL, accounts, approved_run, command, command_of, fixed_run, free_port, output, run, turn,
    undecided_run,
};
use shoal::simulate::run as simulate;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_and_restarts() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut server = Server::start(dir.path(), port).await;
    accounts(dir.path());
    let id = approved_run(dir.path(), "killed");
    let Sizes { workers, kills, between, .. } = sizes();
    let playing = shoal::sys::spawn::task("fleet", simulate(fleet(&server.url(), workers, &id)));
    for _ in 0..kills {
        tokio::time::sleep(between).await;
        server.kill();
        server = Server::start(dir.path(), port).await;
    }
    let report = playing.await.unwrap().unwrap();
    judge(dir.path(), &id, &report);
    assert!(server.terminate(), "SIGTERM ends in exit code 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_data_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::start(dir.path(), free_port()).await;
    let second = output(dir.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert!(!second.status.success());
    let why = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(why.contains("shoal.db"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_with_and_without_a_running_server() {
    let dir = tempfile::tempdir().unwrap();
    accounts(dir.path());
    let id = approved_run(dir.path(), "quiet");
    let mut server = Server::start(dir.path(), free_port()).await;
    assert!(run(dir.path(), &["run", "list"]).contains(&id));
    run(dir.path(), &["run", "modify", &id, "--by", "author", "--priority", "-1"]);
    run(dir.path(), &["user", "machine-limit", "volunteer", "3"]);
    run(dir.path(), &["worker", "block", "volunteer-8cores-1a2b3c4d", "--reason", "drill"]);
    assert!(run(dir.path(), &["worker", "list"]).contains("drill"));
    assert!(run(dir.path(), &["net", "add", "nn-0000000000a0.nnue", "--by", "author"]).contains("Added"));
    run(dir.path(), &["run", "stop", &id, "--by", "author"]);
    assert!(run(dir.path(), &["doctor"]).contains("control socket: answers"));
    let exposition = server.get("/metrics").await;
    assert_eq!(exposition.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let exposition = exposition.text().await.unwrap();
    assert!(exposition.contains("# TYPE shoal_http_requests_total counter"), "{exposition}");
    assert!(
        exposition.contains(r#"shoal_http_requests_total{endpoint="readyz",outcome="ok"}"#),
        "{exposition}"
    );
    assert!(server.terminate());
    let shown: serde_json::Value = serde_json::from_str(&run(dir.path(), &["run", "show", &id])).unwrap();
    assert_eq!(shown["finished"], true);
    assert_eq!(shown["args"]["priority"], -1);
    let own = output(dir.path(), &["run", "approve", &id, "--by", "author"]);
    assert!(!own.status.success());
    assert!(run(dir.path(), &["user", "list"]).contains("machine limit 3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_beside_a_server_and_put_back_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), free_port()).await;
    accounts(dir.path());
    let id = approved_run(dir.path(), "kept");
    run(dir.path(), &["backup", "kept.db"]);
    assert!(!output(dir.path(), &["backup", "kept.db"]).status.success(), "never over another file");
    run(dir.path(), &["user", "add", "latecomer"]);
    let refused = output(dir.path(), &["restore", "kept.db", "--replace"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stop it first"), "{refused:?}");
    assert!(server.terminate());
    assert!(!output(dir.path(), &["restore", "kept.db"]).status.success(), "there is a database");
    std::fs::write(dir.path().join("nonsense.db"), "nonsense").unwrap();
    assert!(!output(dir.path(), &["restore", "nonsense.db", "--replace"]).status.success());
    assert!(run(dir.path(), &["user", "list"]).contains("latecomer"), "a refused restore changes nothing");
    run(dir.path(), &["restore", "kept.db", "--replace"]);
    assert!(!run(dir.path(), &["user", "list"]).contains("latecomer"));
    assert!(run(dir.path(), &["run", "list"]).contains(&id));
    assert!(dir.path().join("shoal.db.before-restore").exists());

    // The same farm in another place, and in fishtest's layout.
    run(dir.path(), &["copy", "--from", ".", "--to", "twin"]);
    let twin = dir.path().join("twin");
    assert!(run(&twin, &["run", "list"]).contains(&id));
    run(dir.path(), &["export", "--files", "out"]);
    let runs = std::fs::read_to_string(dir.path().join("out/runs.json")).unwrap();
    assert!(runs.contains(&id) && runs.contains("\"new_tag\":\"kept\""), "{runs}");
}

#[test]
fn the_demonstration_ends_in_a_decision_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let output = server::command(dir.path(), &["demo"]).env("TMPDIR", dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("Result:accepted") || said.contains("Result:rejected"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "files were left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_twice_to_stop_does_not_wait_for_balancers() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().unwrap();
    let long = |serve: &mut std::process::Command| {
        serve.env("SHOAL_DRAIN_PERIOD", "10m");
    };
    let mut server = Server::start_with(dir.path(), free_port(), long).await;
    server.ask_to_end();
    let began = shoal::sys::clock::stopwatch();
    while server.try_get("/readyz").await.status() != 503 {
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "it is ready on its way out");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // It goes on serving.
    assert_eq!(server.try_get("/api/rate_limit").await.status(), 200);
    assert!(!server.terminate(), "what was given up doesn't end well");
    assert!(began.elapsed() < std::time::Duration::from_secs(120));
    // What it left is a farm.
    let mut server = Server::start(dir.path(), free_port()).await;
    assert!(server.terminate());
}

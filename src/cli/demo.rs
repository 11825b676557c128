//! `shoal demo`: a whole farm, from nothing to a decision, in one command that leaves nothing behind.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bson::Document;
use serde_json::json;

use super::serve::{FarmParts, Running};
use super::{CliError, CliResult, FOUND_FAULTS};
use crate::config::{Config, ConfigFlags};
use crate::domain::action_query::ActionQuery;
use crate::service::control::Control;
use crate::service::{Farm, FarmSettings};
use crate::simulate::demo_view::DemoView;
use crate::simulate::options::StopCondition;
use crate::simulate::{Report, SimulateOptions, run_observed};
use crate::sys::random;

/// Workers of the fleet.
const WORKERS: usize = 200;

/// Simulated seconds per real second.
const SPEED_UP: f64 = 60.0;

/// True strength of the patch, Elo: a good one, so that the test is decided in well under a minute.
const ELO: f64 = 7.0;

/// The demonstration gives up after this time.
const LIMIT: f64 = 100.0;

/// A directory that is removed when the demonstration ends, however it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("shoal-demo-{}", random::identity()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("shoal: {} could not be removed: {error}", self.0.display());
        }
    }
}

/// Runs the demonstration.
pub async fn demo() -> CliResult {
    let scratch =
        Scratch::new().map_err(|error| CliError::failed(format!("a temporary directory: {error}")))?;
    let outcome = show(scratch.path()).await;
    drop(scratch);
    outcome
}

async fn show(dir: &Path) -> CliResult {
    let mut config = Config::load_in(&ConfigFlags::default(), |_| None, dir)?;
    config.data_dir = dir.to_owned();
    // Nobody balances here.
    config.drain_period = std::time::Duration::ZERO;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(CliError::failed)?;
    let address = listener.local_addr().map_err(CliError::failed)?;
    let settings = FarmSettings { port: Some(address.port()), ..FarmSettings::default() };
    let farm = super::schedule::open(&config, super::store::Role::Serve, settings).await?;
    let running = Running::start(&config, FarmParts { farm: farm.clone(), listener, metrics: None })?;
    println!(
        "A farm at http://{address}, a patch worth {ELO} Elo, {WORKERS} simulated workers, {SPEED_UP:.0} times real time.\n"
    );

    let password = random::identity();
    let run = prepare(&farm, &password).await?;
    let mut options = SimulateOptions::new(&format!("http://{address}"), WORKERS, "volunteer", &password);
    options.games.elo = ELO;
    options.speed_up = SPEED_UP;
    options.seed = random::write_id().0 >> 12;
    options.forwarded_for = true;
    options.watch_seconds = 0.5;
    options.stop = StopCondition {
        run_finished: Some(run.clone()),
        max_seconds: Some(LIMIT),
        ..StopCondition::default()
    };
    let mut stops = super::serve::Stops::listen();
    let interrupt = async move { stops.next().await };
    let mut view = DemoView::stdout();
    let report = run_observed(options, interrupt, &mut view).await.map_err(CliError::failed)?;
    let (is_decided, lines) = closing(&farm, &run, &report).await?;
    view.finish(&lines).map_err(CliError::failed)?;
    running.stop().await;
    std::io::stdout().flush().map_err(CliError::failed)?;
    match (report.broken().is_empty(), is_decided) {
        (true, true) => Ok(ExitCode::SUCCESS),
        (true, false) => Ok(ExitCode::FAILURE),
        (false, _) => Ok(ExitCode::from(FOUND_FAULTS)),
    }
}

/// Two accounts and an approved run; returns its id.
async fn prepare(farm: &Arc<Farm>, password: &str) -> Result<String, CliError> {
    for (username, approver) in [("author", false), ("maintainer", true), ("volunteer", false)] {
        let command = Control::UserAdd {
            username: username.to_owned(),
            password: password.to_owned(),
            email: String::new(),
            approver,
            pending: false,
            machine_limit: None,
        };
        farm.control(command).await.map_err(CliError::failed)?;
    }
    let form = json!({
        "username": "author",
        "new_tag": "a_good_patch",
        "base_tag": "master",
        "resolved_new": "b".repeat(40),
        "resolved_base": "a".repeat(40),
        "msg_new": "A good patch",
        "msg_base": "Where it started",
        "new_signature": "2050812",
        "base_signature": "2050811",
        "new_nets": [],
        "base_nets": [],
        "tc": "10+0.1",
        "book": "UHO_Lichess_4852_v1.epd",
        "book_depth": "8",
        "threads": 1,
        "new_options": "Hash=16",
        "base_options": "Hash=16",
        "info": "The demonstration's patch",
        "tests_repo": "https://github.com/author/Stockfish",
        "sprt": { "elo0": 0.0, "elo1": 2.0 },
    });
    let reply = farm.control(Control::RunCreate { form }).await.map_err(CliError::failed)?;
    let run = reply.data["run"].as_str().unwrap_or_default().to_owned();
    let approve = Control::RunApprove { run: run.clone(), approver: "maintainer".to_owned() };
    farm.control(approve).await.map_err(CliError::failed)?;
    Ok(run)
}

/// Whether there is a result; as the event log phrases it, and what to do next.
async fn closing(farm: &Farm, run: &str, report: &Report) -> Result<(bool, Vec<String>), CliError> {
    let query = json!({ "action": "finished_run", "run_id": run }).to_string();
    let query = ActionQuery::parse(query.as_bytes()).map_err(CliError::failed)?;
    let entries: Vec<Document> = farm.store.find_actions(&query, 1).await.map_err(CliError::failed)?;
    let message = entries.first().and_then(|entry| entry.get_str("message").ok());
    let mut lines = Vec::new();
    match message {
        Some(message) => lines.push(message.to_owned()),
        None => lines.push("The run was not decided in the time of a demonstration.".to_owned()),
    }
    lines.push(format!(
        "{} games in {:.0} s; {} requests; broken invariants: {}",
        report.games,
        report.seconds,
        report.requests,
        report.broken().len()
    ));
    for breach in &report.broken_details {
        lines.push(format!("{:?} after {:.1} s: {}", breach.invariant, breach.seconds, breach.detail));
    }
    lines.push(String::new());
    lines.push("A real farm:".to_owned());
    lines.push("    shoal serve                          # data in ./shoal-data, port 8080".to_owned());
    lines.push(
        "    shoal user add NAME                  # from another terminal, then again for an approver"
            .to_owned(),
    );
    lines.push(
        "    shoal run create --from-git PATH --username NAME --new-tag BRANCH --elo0 0 --elo1 2".to_owned(),
    );
    lines.push("    shoal run approve RUN --by APPROVER".to_owned());
    lines.push("    python3 worker.py NAME PASSWORD --protocol http --host HOST --port 8080".to_owned());
    Ok((message.is_some(), lines))
}

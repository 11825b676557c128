//! Whole simulations.

use std::time::Duration;

use shoal::simulate::ledger::Invariant;
use shoal::simulate::machine::MachineMix;
use shoal::simulate::options::{AuditDepth, SimulateOptions, StopCondition};
use shoal::simulate::report::{EndedBy, Report};
use shoal::simulate::{audit::AuditOutcome, run};

use super::server::{Fault, Kind, Server};

fn fast(server: &Server, workers: usize) -> SimulateOptions {
    SimulateOptions {
        speed_up: 5000.0,
        ramp_seconds: 0.05,
        watch_seconds: 0.1,
        settle_seconds: 3.0,
        machines: MachineMix::uniform(4),
        stop: StopCondition { max_seconds: Some(600.0), all_runs_finished: true, ..StopCondition::default() },
        ..SimulateOptions::new(&server.url(), workers, "fisher", "secret")
    }
}

fn assert_clean(report: &Report) {
    assert_eq!(report.broken(), [], "{:#?}", report.broken_details);
    assert_eq!(report.ended_by, EndedBy::AllRunsFinished, "{}", report.summary());
    assert!(report.audits.iter().all(|a| a.outcome == AuditOutcome::Agrees), "{:#?}", report.audits);
}

async fn with_fault(fault: Fault) -> Report {
    let server = Server::start(Kind::Sprt, 1000, fault);
    run(fast(&server, 8)).await.unwrap()
}

#[actix_web::test]
async fn an_honest_server_is_found_honest_in_every_kind_of_run() {
    for kind in [Kind::Fixed, Kind::Sprt, Kind::Spsa] {
        let server = Server::start(kind, 1500, Fault::None);
        let options = SimulateOptions {
            upload_pgns: true,
            forwarded_for: true,
            audit: AuditDepth::All,
            ..fast(&server, 12)
        };
        let report = run(options).await.unwrap();
        assert_clean(&report);
        let farm = server.farm.lock();
        assert_eq!(report.games, farm.results.games(), "{kind:?}");
        assert_eq!(report.audits[0].looked_at, farm.tasks.len());
        assert!(farm.addresses.len() > 6, "{:?}", farm.addresses);
        assert_eq!(farm.uploads.is_empty(), kind == Kind::Spsa);
        assert!(report.latency.contains_key("update_task") && report.requests > 100);
    }
}

#[actix_web::test]
async fn vanishing_failing_and_crashing_workers_break_nothing() {
    let server = Server::start(Kind::Fixed, 4000, Fault::None);
    let mut options = fast(&server, 16);
    options.vanish_rate = 0.2;
    options.fail_rate = 0.2;
    options.games.crash_rate = 0.01;
    options.games.time_loss_rate = 0.01;
    options.stop =
        StopCondition { max_games: Some(2000), max_seconds: Some(40.0), ..StopCondition::default() };
    let report = run(options).await.unwrap();
    assert_eq!(report.broken(), [], "{:#?}", report.broken_details);
    assert_eq!(report.ended_by, EndedBy::MaxGames);
    assert!(report.events["vanished"] > 0 && report.events["tasks_failed"] > 0, "{:?}", report.events);
    assert!(server.farm.lock().results.crashes > 0);
}

#[actix_web::test]
async fn overload_and_lost_answers_are_bridged_without_blame() {
    for fault in [Fault::Overloaded, Fault::AnswerLost] {
        let report = with_fault(fault).await;
        assert_clean(&report);
        assert!(report.events["retried_reports"] > 0, "{:?}", report.events);
        assert!(!report.errors.is_empty());
    }
}

#[actix_web::test]
async fn an_audit_waits_where_reads_are_limited() {
    let report = with_fault(Fault::ReadLimit).await;
    assert_clean(&report);
    assert!(report.audits.iter().all(|audit| audit.looked_at > 0), "{}", report.summary());
}

#[actix_web::test]
async fn a_server_that_dies_and_comes_back_is_not_blamed() {
    let server = Server::start(Kind::Sprt, 1600, Fault::None);
    let options = SimulateOptions { speed_up: 1000.0, ..fast(&server, 8) };
    let simulation = shoal::sys::spawn::task("simulation", run(options));
    while server.farm.lock().results.games() < 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let server = server.restart_after(Duration::from_millis(700)).await;
    let report = simulation.await.unwrap().unwrap();
    assert_clean(&report);
    assert!(report.errors.keys().any(|kind| kind.contains("connect")), "{:?}", report.errors);
    assert!(server.farm.lock().finished);
}

#[actix_web::test]
async fn a_task_for_two_is_noticed() {
    assert!(with_fault(Fault::DoubleAssignment).await.broken().contains(&Invariant::I1));
}

#[actix_web::test]
async fn overlapping_openings_are_noticed() {
    assert_eq!(with_fault(Fault::OverlappingOpenings).await.broken(), [Invariant::I20]);
}

#[actix_web::test]
async fn a_lost_report_is_noticed() {
    let server = Server::start(Kind::Fixed, 2000, Fault::LostUpdate);
    let mut options = fast(&server, 8);
    // Reports of whole tasks, so that no later one can make up for a lost one.
    options.machines = MachineMix::uniform(16);
    options.stop =
        StopCondition { max_games: Some(1500), max_seconds: Some(20.0), ..StopCondition::default() };
    let report = run(options).await.unwrap();
    assert!(report.broken().contains(&Invariant::I3), "{}", report.summary());
}

#[actix_web::test]
async fn a_report_counted_twice_is_noticed() {
    assert_eq!(with_fault(Fault::CountedTwice).await.broken(), [Invariant::I4]);
}

#[actix_web::test]
async fn a_json_error_for_the_servers_own_trouble_is_noticed() {
    let report = with_fault(Fault::JsonErrorOnOutage).await;
    assert_eq!(report.broken(), [Invariant::I18]);
    assert!(report.broken_details[0].detail.contains("Internal Server Error"), "{:?}", report.broken_details);
}

#[actix_web::test]
async fn a_misshapen_answer_is_noticed() {
    let server = Server::start(Kind::Sprt, 300, Fault::MisshapenBeat);
    // On one core a batch takes longer than the time between two beats.
    let options = SimulateOptions { machines: MachineMix::uniform(1), ..fast(&server, 8) };
    let report = run(options).await.unwrap();
    assert_eq!(report.broken(), [Invariant::I18], "{}", report.summary());
}

#[actix_web::test]
async fn results_that_shrink_are_noticed() {
    let server = Server::start(Kind::Sprt, 800, Fault::ShrinkingResults);
    let options = SimulateOptions { watch_seconds: 0.01, speed_up: 300.0, ..fast(&server, 2) };
    let report = run(options).await.unwrap();
    assert!(report.broken().contains(&Invariant::I5), "{}", report.summary());
}

#[actix_web::test]
async fn a_purge_excuses_results_that_shrink() {
    let server = Server::start(Kind::Sprt, 1600, Fault::None);
    let options = SimulateOptions { watch_seconds: 0.02, audit: AuditDepth::Sample(0), ..fast(&server, 4) };
    let simulation = shoal::sys::spawn::task("simulation", run(options));
    while server.farm.lock().results.games() < 500 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    {
        let mut farm = server.farm.lock();
        let farm = &mut *farm;
        for task in farm.tasks.iter_mut().filter(|task| !task.active) {
            farm.results = farm.results.replace(&task.stats, &Default::default()).unwrap();
            task.stats = Default::default();
            task.bad = true;
        }
    }
    let report = simulation.await.unwrap().unwrap();
    assert_clean(&report);
    assert!(report.audits[0].purged_tasks > 0, "{:?}", report.audits);
}

#[actix_web::test]
async fn a_wrong_password_ends_the_fleet_without_blaming_the_server() {
    let server = Server::start(Kind::Fixed, 1000, Fault::None);
    let mut options = fast(&server, 5);
    options.accounts[0].password = "wrong".to_owned();
    let report = run(options).await.unwrap();
    assert_eq!(report.ended_by, EndedBy::NoWorkerLeft);
    assert_eq!(report.broken(), []);
    assert_eq!(report.errors["request_version: refused_401"], 5);
}

#[actix_web::test]
async fn the_report_file_holds_what_was_returned() {
    let server = Server::start(Kind::Sprt, 500, Fault::None);
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = SimulateOptions { report_file: Some(file.path().to_owned()), ..fast(&server, 4) };
    let report = run(options).await.unwrap();
    let text = std::fs::read_to_string(file.path()).unwrap();
    let saved: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(saved["games"], report.games);
    assert_eq!(saved["audits"][0]["outcome"], "agrees");
    assert!(!text.contains("secret"), "the password is in the report");
    assert!(report.summary().contains("no invariant was seen broken"), "{}", report.summary());
}

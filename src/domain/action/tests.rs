//! One test per promise of the event log.

use bson::doc;
use bson::oid::ObjectId;

use super::*;
use crate::domain::results::Stats;
use crate::domain::stats::flags::crash_or_time_message;

const LONG_NAME: &str = "bob-8cores-1f3c9a07-5a28";

fn id(n: u8) -> ObjectId {
    ObjectId::from_bytes([n; 12])
}

fn run() -> RunLabel {
    RunLabel::new(RunId::parse("64e74776a170cb1f26fa3930").unwrap(), "master")
}

fn task() -> TaskLabel {
    TaskLabel { worker: LONG_NAME.into(), run: run(), task_id: TaskId(4) }
}

fn stored(event: Event) -> Document {
    Action::by("bob", event).to_document(id(1), Millis(1_732_291_082_434))
}

/// The document of `event` without what all documents share.
fn own_fields(event: Event) -> Document {
    let mut document = stored(event);
    let keys: Vec<&String> = document.keys().collect();
    assert_eq!(keys[..3], ["_id", "action", "username"]);
    assert_eq!(*keys[keys.len() - 1], "time");
    assert_eq!(document.remove("time"), Some(Bson::Double(1_732_291_082.434)));
    assert_eq!(document.remove("_id"), Some(Bson::ObjectId(id(1))));
    assert_eq!(document.remove("username"), Some(Bson::String("bob".into())));
    document
}

#[test]
fn every_kind_has_the_fields_of_its_row_in_order() {
    let m = || "text".to_owned();
    let (run_id, name) = ("64e74776a170cb1f26fa3930", "master-2a5e880");
    let rows = [
        (
            Event::FailedTask { task: task(), message: m() },
            doc! { "action": "failed_task", "worker": LONG_NAME, "run_id": run_id, "run": name, "task_id": 4, "message": "text" },
        ),
        (
            Event::CrashOrTime { task: task(), message: m() },
            doc! { "action": "crash_or_time", "worker": LONG_NAME, "run_id": run_id, "run": name, "task_id": 4, "message": "text" },
        ),
        (
            Event::DeadTask { task: task() },
            doc! { "action": "dead_task", "worker": LONG_NAME, "run_id": run_id, "run": name, "task_id": 4 },
        ),
        (
            Event::StopRun { run: run(), message: m(), task: None },
            doc! { "action": "stop_run", "run_id": run_id, "run": name, "message": "text" },
        ),
        (
            Event::StopRun { run: run(), message: m(), task: Some((LONG_NAME.into(), TaskId(4))) },
            doc! { "action": "stop_run", "run_id": run_id, "run": name, "message": "text", "worker": LONG_NAME, "task_id": 4 },
        ),
        (
            Event::FinishedRun { run: run(), message: m() },
            doc! { "action": "finished_run", "run_id": run_id, "run": name, "message": "text" },
        ),
        (
            Event::PurgeRun { run: run(), message: m() },
            doc! { "action": "purge_run", "run_id": run_id, "run": name, "message": "text" },
        ),
        (
            Event::WorkerLog { worker: LONG_NAME.into(), message: m(), task: None },
            doc! { "action": "worker_log", "worker": LONG_NAME, "message": "text" },
        ),
        (
            Event::WorkerLog { worker: LONG_NAME.into(), message: m(), task: Some((run(), TaskId(4))) },
            doc! { "action": "worker_log", "worker": LONG_NAME, "message": "text", "run_id": run_id, "run": name, "task_id": 4 },
        ),
        (
            Event::LogMessage { message: m(), worker: Some(LONG_NAME.into()) },
            doc! { "action": "log_message", "message": "text", "worker": LONG_NAME },
        ),
        (Event::SystemEvent { message: m() }, doc! { "action": "system_event", "message": "text" }),
        (
            Event::NewRun { run: run(), message: m() },
            doc! { "action": "new_run", "run_id": run_id, "run": name, "message": "text" },
        ),
        (
            Event::ModifyRun { run: run(), message: m() },
            doc! { "action": "modify_run", "run_id": run_id, "run": name, "message": "text" },
        ),
        (Event::DeleteRun { run: run() }, doc! { "action": "delete_run", "run_id": run_id, "run": name }),
        (
            Event::ApproveRun { run: run(), approved: false },
            doc! { "action": "approve_run", "run_id": run_id, "run": name, "message": "unapproved" },
        ),
        (
            Event::BlockUser { user: "eve".into(), blocked: true },
            doc! { "action": "block_user", "user": "eve", "message": "blocked" },
        ),
        (
            Event::AcceptUser { user: "eve".into() },
            doc! { "action": "accept_user", "user": "eve", "message": "accepted" },
        ),
        (
            Event::BlockWorker { worker: ShortWorkerName("bob-8cores-1f3c9a07".into()), blocked: false },
            doc! { "action": "block_worker", "worker": "bob-8cores-1f3c9a07", "message": "unblocked" },
        ),
        (
            Event::UploadNn { nn: "nn-0123456789ab.nnue".into() },
            doc! { "action": "upload_nn", "nn": "nn-0123456789ab.nnue" },
        ),
    ];
    for (event, expected) in rows {
        let json = serde_json::to_string(&Action::by("bob", event.clone())).unwrap();
        assert_eq!(serde_json::from_str::<Action>(&json).unwrap().event, event);
        let fields = own_fields(event);
        assert_eq!(fields.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        assert_eq!(fields, expected);
    }
}

#[test]
fn foreign_messages_are_cut_and_other_long_ones_are_reported() {
    let long = "é".repeat(5145);
    let cut = stored(Event::WorkerLog { worker: LONG_NAME.into(), message: long.clone(), task: None });
    assert_eq!(cut.get_str("message").unwrap(), "é".repeat(5120).as_str());
    let refused = stored(Event::NewRun { run: run(), message: long });
    assert_eq!(refused.get_str("action").unwrap(), "log_message");
    assert_eq!(refused.get_str("username").unwrap(), "fishtest.system");
    let message = refused.get_str("message").unwrap();
    assert!(message.starts_with("Internal Error. Request {\"action\":\"new_run\""));
    assert_eq!(message.chars().count(), 5120);
}

#[test]
fn impossible_names_are_reported_instead_of_logged() {
    let mut bad_task = task();
    bad_task.worker = "bob".into();
    for event in [
        Event::DeadTask { task: bad_task },
        Event::BlockWorker { worker: ShortWorkerName(LONG_NAME.into()), blocked: true },
        Event::UploadNn { nn: "net".into() },
        Event::DeleteRun { run: RunLabel { name: "x".into(), ..run() } },
        Event::AcceptUser { user: String::new() },
    ] {
        let document = stored(event);
        assert_eq!(document.get_str("action").unwrap(), "log_message");
        assert!(document.get_str("message").unwrap().contains(" does not validate: '"), "{document}");
        assert_eq!(document.get_object_id("_id").unwrap(), id(1));
    }
}

fn games(games: u64, crashes: u64, time_losses: u64) -> Stats {
    Stats { draws: games, crashes, time_losses, ..Stats::default() }
}

#[test]
fn crashes_and_time_losses_are_logged_by_the_rule() {
    for (n, crashes, losses, logged) in [
        (20, 0, 20, false),
        (21, 0, 2, false),
        (21, 0, 3, true),
        (30, 0, 3, false),
        (40, 0, 4, false),
        (40, 0, 5, true),
        (100, 3, 10, false),
        (2, 4, 0, true),
        (0, 4, 0, false),
    ] {
        assert_eq!(
            crash_or_time_message(&games(n, crashes, losses)).is_some(),
            logged,
            "{n} {crashes} {losses}"
        );
    }
    let message = |stats| crash_or_time_message(&stats).unwrap();
    assert_eq!(message(games(40, 0, 5)), "Time losses:5(12.5%) Crashes:0(0.0%)");
    assert_eq!(message(games(400, 4, 0)), "Time losses:0(0.0%) Crashes:4(1.0%)");
}

#[test]
fn a_closed_task_expands_to_its_entries_in_order() {
    let closed = |stats| ClosedTask { username: "bob".into(), task: task(), stats };
    let names = |kind, stats| {
        let cause = CloseCause::new(kind, "Engine crashed", Millis(0), [id(1), id(2)]);
        expand(&cause, &closed(stats))
            .into_iter()
            .map(|(id, action)| (id, action.event.name(), action.event.message().map(str::to_owned)))
            .collect::<Vec<_>>()
    };
    let (good, bad) = (games(40, 0, 0), games(40, 0, 5));
    assert_eq!(names(CloseKind::Completed, good), []);
    assert_eq!(names(CloseKind::Completed, bad).len(), 1);
    assert_eq!(names(CloseKind::Failed, good), [(id(2), "failed_task", Some("Engine crashed".into()))]);
    assert_eq!(names(CloseKind::Stale, good), [(id(2), "failed_task", Some("Stale active task".into()))]);
    assert_eq!(names(CloseKind::Dead, good), [(id(2), "dead_task", None)]);
    let both = names(CloseKind::Dead, bad);
    assert_eq!((both[0].0, both[0].1, both[1].0, both[1].1), (id(1), "crash_or_time", id(2), "dead_task"));
    let cause = CloseCause::new(CloseKind::Failed, "x".repeat(6000), Millis(5), [id(1), id(2)]);
    assert_eq!(cause.message.len(), 5120);
    assert_eq!(serde_json::from_str::<CloseCause>(&serde_json::to_string(&cause).unwrap()).unwrap(), cause);
}

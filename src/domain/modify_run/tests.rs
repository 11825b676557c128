//! Every refusal, and every consequence of an accepted change.

use super::*;

const DAY: i64 = 24 * 60 * 60 * 1000;

fn run() -> PresentRun {
    PresentRun {
        owner: "alice".into(),
        start_time: Some(Millis(0)),
        stop: StopKind::Sprt { state: String::new() },
        values: RunValues {
            num_games: 800_000,
            priority: 0,
            throughput: 100,
            auto_purge: false,
            info: "old".into(),
        },
        games_played: 5000,
        approved: true,
        failed: false,
        deleted: false,
        finished: false,
    }
}

fn fixed(num_games: i64) -> PresentRun {
    PresentRun { stop: StopKind::Games, values: RunValues { num_games, ..run().values }, ..run() }
}

fn owner() -> Actor<'static> {
    Actor { username: "alice", is_approver: false }
}

fn games(num_games: i64) -> ModifyRequest {
    ModifyRequest { num_games: Some(num_games), ..ModifyRequest::default() }
}

fn modify(run: &PresentRun, request: &ModifyRequest) -> Result<Modified, ModifyError> {
    modify_run(run, request, owner(), Millis(DAY))
}

#[test]
fn a_run_may_be_modified_for_thirty_whole_days() {
    let at = |now| modify_run(&run(), &games(1000), owner(), Millis(now)).err();
    assert_eq!(at(31 * DAY - 1), None);
    assert_eq!(at(31 * DAY), Some(ModifyError::TooOld));
    let unknown = PresentRun { start_time: None, ..run() };
    assert_eq!(modify(&unknown, &games(1000)).err(), Some(ModifyError::TooOld));
}

#[test]
fn forms_are_read_strictly() {
    let read =
        |games, priority, throughput| ModifyRequest::from_form(games, priority, throughput, true, None);
    assert_eq!(read(None, Some("x"), None), Err(ModifyError::NoNumberOfGames));
    for bad in ["", "1-2", "--1", "1.0", "1e3", "٣", "99999999999999999999"] {
        assert_eq!(read(Some(bad), None, None), Err(ModifyError::BadValues), "{bad:?}");
        assert_eq!(read(Some("1000"), Some(bad), None), Err(ModifyError::BadValues), "{bad:?}");
        assert_eq!(read(Some("1000"), None, Some(bad)), Err(ModifyError::BadValues), "{bad:?}");
    }
    let request = read(Some("1000"), Some("-1"), Some(" 50 ")).unwrap();
    assert_eq!((request.num_games, request.priority, request.throughput), (Some(1000), Some(-1), Some(50)));
    assert_eq!(request.auto_purge, Some(true));
}

#[test]
fn the_number_of_games_has_its_rules() {
    let spsa = PresentRun { stop: StopKind::Spsa, ..fixed(60_000) };
    let cases = [
        (fixed(60_000), 61_000, Some(ModifyError::FixedGames)),
        (fixed(60_000), 60_000, None),
        (fixed(60_000), 59_000, None),
        (spsa.clone(), 59_000, Some(ModifyError::SpsaGames)),
        (spsa, 60_000, None),
        (run(), -1000, Some(ModifyError::NegativeGames)),
        (run(), 1001, Some(ModifyError::UnevenGames)),
        (run(), 3_201_000, Some(ModifyError::TooManyGames)),
        (run(), 3_200_000, None),
    ];
    for (run, num_games, refusal) in cases {
        assert_eq!(modify(&run, &games(num_games)).err(), refusal, "{:?} {num_games}", run.stop);
    }
}

#[test]
fn throughput_must_not_be_negative() {
    let request = ModifyRequest { throughput: Some(-1), ..ModifyRequest::default() };
    assert_eq!(modify(&run(), &request).err(), Some(ModifyError::NegativeThroughput));
}

#[test]
fn only_owner_and_approvers_may_modify() {
    let by =
        |username, is_approver| modify_run(&run(), &games(1000), Actor { username, is_approver }, Millis(0));
    assert_eq!(by("bob", false).err(), Some(ModifyError::NotAllowed));
    assert!(by("bob", true).is_ok());
    assert!(by("alice", false).is_ok());
}

#[test]
fn only_the_owner_may_change_the_description_and_not_to_nothing() {
    let request = |info: &str| ModifyRequest { info: Some(info.into()), ..ModifyRequest::default() };
    assert_eq!(modify(&run(), &request(" new ")).unwrap().values.info, "new");
    assert_eq!(modify(&run(), &request(" \n")).unwrap().values.info, "old");
    let approver = Actor { username: "bob", is_approver: true };
    assert_eq!(modify_run(&run(), &request("new"), approver, Millis(0)).unwrap().values.info, "old");
}

#[test]
fn approval_is_withdrawn_when_a_non_approver_asks_for_more() {
    let request = |priority, throughput| ModifyRequest { priority, throughput, ..ModifyRequest::default() };
    let mut present = run();
    present.values.throughput = 150;
    present.values.priority = -3;
    let withdrawn = |run: &PresentRun, priority, throughput| {
        modify(run, &request(priority, throughput)).unwrap().approval_withdrawn
    };
    assert!(!withdrawn(&present, None, Some(150)));
    assert!(withdrawn(&present, None, Some(151)));
    assert!(!withdrawn(&run(), None, Some(100)));
    assert!(withdrawn(&run(), None, Some(101)));
    assert!(!withdrawn(&present, Some(0), None));
    assert!(withdrawn(&present, Some(1), None));
    let failed = PresentRun { failed: true, finished: true, ..run() };
    assert!(withdrawn(&failed, None, None));

    let unapproved = PresentRun { approved: false, ..run() };
    let modified = modify(&unapproved, &request(Some(5), None)).unwrap();
    assert_eq!((modified.approval_withdrawn, modified.notice), (false, Notice::ApprovalPending));
    let modified = modify(&run(), &request(Some(5), None)).unwrap();
    assert_eq!(modified.notice, Notice::ReapprovalNeeded);
    let approver = Actor { username: "bob", is_approver: true };
    let modified = modify_run(&run(), &request(Some(5), None), approver, Millis(0)).unwrap();
    assert_eq!((modified.approval_withdrawn, modified.notice), (false, Notice::Modified));
}

#[test]
fn an_undecided_run_goes_on_and_a_complete_one_is_finished() {
    let next = |run: &PresentRun, num_games| modify(run, &games(num_games)).unwrap().next;
    assert_eq!(next(&run(), 6000), Next::Activate);
    assert_eq!(next(&run(), 5000), Next::Finish, "lowered to what is played: it must not hang");
    let finished = PresentRun { finished: true, ..run() };
    assert_eq!(next(&finished, 5000), Next::StayFinished);
    assert_eq!(next(&finished, 6000), Next::Activate, "a stopped test is resumed");
    let accepted = PresentRun { stop: StopKind::Sprt { state: "accepted".into() }, ..finished };
    assert_eq!(next(&accepted, 6000), Next::StayFinished);
}

#[test]
fn whoever_resumes_a_run_is_told() {
    let resumed = |run: &PresentRun| modify(run, &games(6000)).unwrap().resumed;
    assert_eq!(resumed(&run()), None);
    assert!(resumed(&PresentRun { finished: true, ..run() }).unwrap().contains("finished"));
    assert!(resumed(&PresentRun { finished: true, failed: true, ..run() }).unwrap().contains("worker"));
    let deleted = PresentRun { finished: true, failed: true, deleted: true, ..run() };
    assert!(resumed(&deleted).unwrap().contains("deleted"));
}

#[test]
fn the_message_lists_what_changed_in_its_order() {
    let request = ModifyRequest {
        num_games: Some(700_000),
        priority: Some(-1),
        throughput: Some(50),
        auto_purge: Some(true),
        info: Some("new".into()),
    };
    assert_eq!(
        modify(&run(), &request).unwrap().message,
        "modify: priority changed from 0 to -1, num-games changed from 800000 to 700000, \
         throughput changed from 100 to 50, auto-purge changed from False to True"
    );
    assert_eq!(modify(&run(), &ModifyRequest::default()).unwrap().message, "modify: ");
}

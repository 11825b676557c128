//! What the ledger notices, and what it lets pass.

use super::*;

fn run() -> RunId {
    RunId::parse("6b00ebd451c6c0a12e72bc58").unwrap()
}

fn given(start: u64, num_games: u64) -> AssignedTask {
    AssignedTask { num_games, start, stats: None }
}

fn stats(pairs: u64) -> Stats {
    Stats { draws: 2 * pairs, pentanomial: [0, 0, pairs, 0, 0], ..Stats::default() }
}

fn view(stats: Stats) -> TaskView {
    TaskView {
        num_games: 100,
        start: Some(0),
        active: false,
        bad: false,
        stats: Some(stats),
        worker_info: None,
    }
}

fn broken(ledger: &Ledger) -> Vec<Invariant> {
    ledger.breaches().0.iter().map(|b| b.invariant).collect()
}

#[test]
fn orderly_assignments_break_nothing() {
    let ledger = Ledger::default();
    ledger.assigned(run(), 0, &given(0, 100), "a", "u");
    ledger.assigned(run(), 2, &given(200, 50), "b", "u");
    ledger.assigned(run(), 1, &given(100, 100), "c", "u");
    // The same worker is given its task again: nothing was heard of it, nor of a report that nobody acknowledged.
    ledger.assigned(run(), 0, &given(0, 100), "a", "u");
    ledger.sent(run(), 0, &stats(1));
    ledger.assigned(run(), 0, &given(0, 100), "a", "u");
    assert_eq!(broken(&ledger), []);
}

#[test]
fn a_task_for_two_workers_breaks_i1() {
    let ledger = Ledger::default();
    ledger.assigned(run(), 0, &given(0, 100), "a", "u");
    ledger.assigned(run(), 0, &given(0, 100), "b", "u");
    assert_eq!(broken(&ledger), [Invariant::I1]);
}

#[test]
fn a_task_given_again_after_an_acknowledged_report_breaks_i1() {
    let ledger = Ledger::default();
    ledger.assigned(run(), 0, &given(0, 100), "a", "u");
    ledger.sent(run(), 0, &stats(1));
    ledger.acknowledged(run(), 0, &stats(1));
    ledger.assigned(run(), 0, &given(0, 100), "a", "u");
    assert_eq!(broken(&ledger), [Invariant::I1]);
}

#[test]
fn overlapping_openings_break_i20() {
    for (start, games) in [(150, 10), (199, 10), (90, 11), (0, 1000), (100, 100)] {
        let ledger = Ledger::default();
        ledger.assigned(run(), 0, &given(100, 100), "a", "u");
        ledger.assigned(run(), 1, &given(start, games), "b", "u");
        assert_eq!(broken(&ledger), [Invariant::I20], "[{start}, +{games})");
    }
    let ledger = Ledger::default();
    ledger.assigned(run(), 0, &given(100, 100), "a", "u");
    ledger.assigned(run(), 1, &given(200, 10), "b", "u");
    ledger.assigned(run(), 2, &given(0, 100), "c", "u");
    assert_eq!(broken(&ledger), []);
}

#[test]
fn a_task_must_show_what_was_acknowledged_or_sent_since() {
    let ledger = Ledger::default();
    ledger.assigned(run(), 0, &given(0, 100), "a", "u");
    ledger.sent(run(), 0, &stats(1));
    assert_eq!(ledger.acknowledged(run(), 0, &stats(1)), 2);
    assert_eq!(ledger.acknowledged(run(), 0, &stats(1)), 0, "a repetition gains nothing");
    ledger.sent(run(), 0, &stats(3));
    let entry = ledger.tasks(run()).remove(&0).unwrap();
    assert!(!entry.is_certain());
    assert_eq!(entry.compare(&view(stats(1))), None);
    assert_eq!(entry.compare(&view(stats(3))), None);
    let verdict = |shown: Stats| entry.compare(&view(shown)).map(|v| v.0);
    assert_eq!(verdict(stats(0)), Some(Invariant::I3));
    assert_eq!(verdict(stats(2)), Some(Invariant::I3));
    assert_eq!(verdict(stats(4)), Some(Invariant::I3));
    let purged = TaskView { bad: true, ..view(stats(0)) };
    assert_eq!(entry.compare(&purged), None);
    let other_size = TaskView { num_games: 98, ..view(stats(1)) };
    assert_eq!(entry.compare(&other_size).map(|v| v.0), Some(Invariant::I20));
}

#[test]
fn results_may_shrink_only_by_what_nobody_acknowledged() {
    let ledger = Ledger::default();
    ledger.assigned(run(), 0, &given(0, 100), "a", "u");
    let before = ledger.flow(run());
    ledger.sent(run(), 0, &stats(5));
    assert_eq!(ledger.observed(run(), &stats(5), before), None);
    assert_eq!(ledger.observed(run(), &stats(0), ledger.flow(run())), None, "ten games were in flight");
    ledger.acknowledged(run(), 0, &stats(5));
    assert_eq!(ledger.observed(run(), &stats(5), ledger.flow(run())), None);
    assert!(ledger.observed(run(), &stats(4), ledger.flow(run())).is_some());
}

#[test]
fn breaches_are_all_counted_but_not_all_kept() {
    let ledger = Ledger::default();
    for i in 0..250 {
        ledger.breach(Invariant::I18, i.to_string());
    }
    let (kept, counts) = ledger.breaches();
    assert_eq!(kept.len(), DETAILS);
    assert_eq!(counts[&Invariant::I18], 250);
}

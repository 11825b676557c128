//! Heartbeats, reports, closing, dead tasks, what is dirty (`spec/scheduling.md` sections 5 to 8).

use shoal::domain::action::CloseKind;
use shoal::domain::ids::{Millis, TaskId, TaskKey, Version};
use shoal::domain::results::Stats;
use shoal::domain::run::RunKind;
use shoal::domain::task::Contribution;
use shoal::state::*;
use shoal::sys::random;

use super::fixture::*;

on_every_state!(
    a_report_counts_once_however_often_it_comes,
    the_rules_of_a_report,
    impossible_numbers_are_refused_and_break_nothing,
    a_complete_task_is_closed_by_its_report,
    a_tuning_round_counts_once,
    sixteen_bodies_are_known_each_by_all_of_its_digest,
    a_task_is_closed_once_and_why_is_kept,
    only_the_leader_closes_the_dead_and_only_the_dead,
    a_foreign_task_is_nobodys_business,
    a_closed_and_durable_task_leaves,
    an_older_acknowledgement_changes_nothing,
    dirty_documents_are_found_by_age,
);

async fn a_report_counts_once_however_often_it_comes(f: Fixture) {
    let run = f.run(RunKind::Sprt { batch_size: 1 }, 100_000).await;
    let mine = worker(1, 0);
    let key = f.claim(run, &mine, 1000).await.task.record.key;
    for games in (2..=40).step_by(2) {
        let outcome = f.update(key, &mine, drawn(games)).await;
        assert!(matches!(outcome, UpdateOutcome::Accepted { alive: true, .. }));
    }
    // Sixteen bodies are remembered: late ones change nothing.
    for games in (10..=40).step_by(2) {
        let UpdateOutcome::Repeated { task, alive, fold } = f.update(key, &mine, drawn(games)).await else {
            panic!("{games}")
        };
        assert_eq!((task.record.stats, alive, fold.pending.len()), (drawn(40), true, 20));
    }
    let view = f.view(run).await;
    assert_eq!((view.counters.results, view.pending), (drawn(40), 20));
    // Older than what is remembered: by the rules.
    assert!(matches!(f.update(key, &mine, drawn(8)).await, UpdateOutcome::Refused { .. }));
    let known = f.update(key, &mine, drawn(40)).await;
    assert!(matches!(known, UpdateOutcome::Repeated { alive: false, .. }), "known, but over");
    assert!(matches!(f.update(key, &mine, drawn(42)).await, UpdateOutcome::Inactive(_)));
    assert_eq!(f.view(run).await.counters.results, drawn(40));
}

async fn the_rules_of_a_report(f: Fixture) {
    let sprt = RunKind::Sprt { batch_size: 2 };
    let incompatible = |before, now| UpdateRefusal::Incompatible { before, now, spsa: 0 };
    let odd = |games: u64| Stats { draws: games, pentanomial: [0, 0, 4, 0, 0], ..Stats::default() };
    let cases = [
        (RunKind::Games, drawn(8), drawn(6), Some(incompatible(8, 6))),
        (RunKind::Games, drawn(8), odd(9), Some(UpdateRefusal::Odd { before: 8, now: 9 })),
        (RunKind::Games, drawn(8), Stats { crashes: 1, ..drawn(8) }, None),
        (sprt, drawn(8), drawn(10), Some(UpdateRefusal::Batch)),
        (sprt, drawn(8), drawn(12), None),
    ];
    for (number, (kind, before, now, refusal)) in cases.into_iter().enumerate() {
        let run = f.run(kind, 100_000).await;
        let mine = worker(number as u32, 0);
        let key = f.claim(run, &mine, 1000).await.task.record.key;
        assert!(matches!(f.update(key, &mine, before).await, UpdateOutcome::Accepted { .. }));
        let outcome = f.update(key, &mine, now).await;
        let view = f.view(run).await;
        match (outcome, refusal) {
            (UpdateOutcome::Refused { error, task }, Some(expected)) => {
                assert_eq!(error, expected);
                assert_eq!((task.record.active, task.record.stats), (false, before));
                assert_eq!((view.counters.workers, view.counters.committed_games), (0, 8));
                assert_eq!(view.counters.results, before);
                assert_eq!(task.record.cause, None, "nothing is logged");
            }
            (UpdateOutcome::Accepted { alive: true, .. }, None) => {
                assert_eq!(view.counters.results, now);
                assert_eq!(view.counters.committed_games, 1000);
            }
            (other, _) => panic!("case {number}: {other:?}"),
        }
    }
}

async fn impossible_numbers_are_refused_and_break_nothing(f: Fixture) {
    let run = f.run(RunKind::Games, 1000).await;
    let (first, second) = (worker(1, 0), worker(2, 0));
    let a = f.claim(run, &first, 100).await.task.record.key;
    let b = f.claim(run, &second, 100).await.task.record.key;
    let huge = i64::MAX as u64;
    let stats = Stats { wins: huge, losses: huge, pentanomial: [0, 0, huge, 0, 0], ..Stats::default() };
    assert!(stats.is_consistent());
    for (key, who) in [(a, &first), (b, &second)] {
        let UpdateOutcome::Refused { task, .. } = f.update(key, who, stats).await else { panic!() };
        assert_eq!((task.record.active, task.record.stats), (false, Stats::default()));
    }
    let view = f.view(run).await;
    assert_eq!((view.counters.results, view.counters.committed_games), (Stats::default(), 0));
    assert_eq!(f.state.audit(run).await.unwrap(), [""; 0]);
}

async fn a_complete_task_is_closed_by_its_report(f: Fixture) {
    let run = f.run(RunKind::Games, 1000).await;
    let mine = worker(1, 0);
    let key = f.claim(run, &mine, 100).await.task.record.key;
    f.clock.advance(5000);
    // One batch more than asked for is counted.
    let UpdateOutcome::Accepted { task, alive, .. } = f.update(key, &mine, drawn(102)).await else {
        panic!()
    };
    assert!(!alive && !task.record.active);
    assert_eq!(task.record.cause.as_ref().unwrap().kind, CloseKind::Completed);
    assert_eq!(task.record.version, Version(2), "the report and the closing are one write");
    let view = f.view(run).await;
    assert_eq!((view.counters.committed_games, view.counters.workers, view.counters.cores), (102, 0, 0));
    assert_eq!(view.last_updated, f.state.now().await.unwrap());
    assert_eq!(f.state.census().await.unwrap().connections, 0);
    assert!(matches!(f.admit(&worker(1, 9)).await, AdmissionOutcome::Open(_)), "the name is free at once");
}

async fn a_tuning_round_counts_once(f: Fixture) {
    let run = f.run(RunKind::Spsa { params: 1 }, 10_000).await;
    let mine = worker(1, 0);
    let key = f.claim(run, &mine, 1000).await.task.record.key;
    let sig = u64::from(shoal::domain::spsa::flips::signature(&round(0).packed_flips));
    let begin =
        |iter| BeginSpsa { who: caller(key, &mine), round: round(iter), write_id: random::write_id() };
    let send = |games, spsa_games, sig, body| {
        let spsa = SpsaReport { wins: 0, losses: 0, draws: spsa_games, num_games: spsa_games, sig };
        let mut report = report(key, &mine, drawn(games), Some(spsa));
        report.digest = digest(body);
        f.state.update_task(G, report)
    };
    let missing = f.update(key, &mine, drawn(2)).await;
    assert!(matches!(missing, UpdateOutcome::MissingSpsa));
    assert!(matches!(f.state.begin_spsa(G, begin(0)).await.unwrap(), CloseOutcome::Done(_)));
    let CloseOutcome::Done(task) = f.state.begin_spsa(G, begin(3)).await.unwrap() else { panic!() };
    assert_eq!(task.record.spsa_round, Some(round(3)), "a second request overwrites the first");
    let UpdateOutcome::Accepted { task, fold, .. } = send(4, 4, sig, 1).await.unwrap() else { panic!() };
    assert_eq!((task.record.spsa_round.clone(), fold.pending.len()), (None, 1));
    let Contribution::Spsa(entry) = &fold.pending[0].what else { panic!() };
    assert_eq!((entry.iter, entry.pairs), (3, 2));
    assert!(matches!(send(4, 4, sig, 1).await.unwrap(), UpdateOutcome::Repeated { .. }));
    // Games without a round, or of another one, count as games only.
    let UpdateOutcome::Accepted { fold, .. } = send(8, 4, sig, 2).await.unwrap() else { panic!() };
    assert_eq!(fold.pending.len(), 1);
    f.state.begin_spsa(G, begin(4)).await.unwrap();
    let UpdateOutcome::Accepted { fold, task, .. } = send(12, 4, sig + 1, 3).await.unwrap() else { panic!() };
    assert_eq!((fold.pending.len(), task.record.spsa_round.clone()), (1, None));
    assert_eq!(f.view(run).await.counters.results, drawn(12));
    // A round's result needs new games.
    let UpdateOutcome::Refused { error, .. } = send(12, 4, sig, 4).await.unwrap() else { panic!() };
    assert_eq!(error, UpdateRefusal::Incompatible { before: 12, now: 12, spsa: 4 });
    assert!(matches!(f.state.begin_spsa(G, begin(5)).await.unwrap(), CloseOutcome::Inactive(_)));
}

async fn sixteen_bodies_are_known_each_by_all_of_its_digest(f: Fixture) {
    let run = f.run(RunKind::Games, 10_000).await;
    let mine = worker(1, 0);
    let key = f.claim(run, &mine, 1000).await.task.record.key;
    let send = |games, body| {
        let mut report = report(key, &mine, drawn(games), None);
        report.digest = digest(body);
        f.state.update_task(G, report)
    };
    for n in 0..17 {
        let outcome = send(2 * n, 0x0102_0304_0506_0700 + n).await.unwrap();
        assert!(matches!(outcome, UpdateOutcome::Accepted { .. }), "{n}: {outcome:?}");
    }
    for n in 1..17 {
        let outcome = send(2 * n, 0x0102_0304_0506_0700 + n).await.unwrap();
        let UpdateOutcome::Repeated { task, .. } = outcome else { panic!("{n}: {outcome:?}") };
        assert_eq!(task.record.stats, drawn(32));
        assert_eq!((task.record.digests.len(), task.record.digests[15]), (16, digest(0x0102_0304_0506_0710)));
    }
    // The end of one and the beginning of the next are nobody's; the first is forgotten.
    for (games, unknown) in
        [(34, 0x0203_0405_0607_0501), (36, 0x0607_0a01_0203_0405), (38, 0x0102_0304_0506_0700)]
    {
        let outcome = send(games, unknown).await.unwrap();
        assert!(matches!(outcome, UpdateOutcome::Accepted { .. }), "{unknown:x}: {outcome:?}");
    }
}

async fn a_task_is_closed_once_and_why_is_kept(f: Fixture) {
    let run = f.run(RunKind::Games, 1000).await;
    let mine = worker(1, 0);
    let key = f.claim(run, &mine, 100).await.task.record.key;
    f.update(key, &mine, drawn(20)).await;
    f.clock.advance(1000);
    let CloseOutcome::Done(task) = f.give_up(key, &mine).await else { panic!() };
    let cause = task.record.cause.clone().unwrap();
    assert_eq!((cause.kind, cause.message.as_str()), (CloseKind::Failed, "because"));
    assert_eq!(cause.time, f.state.now().await.unwrap(), "the state's clock dates it");
    assert_eq!(task.record.last_updated, cause.time);
    let CloseOutcome::Inactive(again) = f.give_up(key, &mine).await else { panic!() };
    assert_eq!(again.record.cause, Some(cause));
    let view = f.view(run).await;
    assert_eq!((view.counters.committed_games, view.counters.workers), (20, 0));
    // Not logged: an unauthorised stop.
    let key = f.claim(run, &mine, 100).await.task.record.key;
    let why = CloseWhy::Given { who: caller(key, &mine), cause: None };
    let close = CloseTask { key, why, write_id: random::write_id() };
    let CloseOutcome::Done(task) = f.state.close_task(G, close).await.unwrap() else { panic!() };
    assert_eq!(task.record.cause, None);
}

async fn only_the_leader_closes_the_dead_and_only_the_dead(f: Fixture) {
    let run = f.run(RunKind::Games, 1000).await;
    let (quiet, lively) = (worker(1, 0), worker(2, 0));
    let a = f.claim(run, &quiet, 100).await.task.record.key;
    let b = f.claim(run, &lively, 100).await.task.record.key;
    let token = f.leader().await;
    f.clock.advance(300_000);
    f.state.beat(G, &caller(b, &lively)).await.unwrap();
    f.clock.advance(100_000);
    let cutoff = Millis(f.state.now().await.unwrap().0 - 360_000);
    assert_eq!(f.state.find_dead(cutoff, 10).await.unwrap(), [a]);
    assert_eq!(f.state.find_dead(f.state.now().await.unwrap(), 1).await.unwrap(), [a], "oldest first");
    let stale = shoal::domain::ids::Token { counter: token.counter + 1, ..token };
    assert_eq!(f.dead(a, cutoff, stale).await.unwrap_err(), StateError::StaleToken);
    assert!(matches!(f.dead(b, cutoff, token).await.unwrap(), CloseOutcome::StillAlive));
    // A sign of life between the search and the closing.
    f.state.beat(G, &caller(a, &quiet)).await.unwrap();
    assert!(matches!(f.dead(a, cutoff, token).await.unwrap(), CloseOutcome::StillAlive));
    f.clock.advance(400_000);
    let cutoff = Millis(f.state.now().await.unwrap().0 - 360_000);
    let CloseOutcome::Done(task) = f.dead(a, cutoff, token).await.unwrap() else { panic!() };
    assert_eq!(task.record.cause.as_ref().unwrap().kind, CloseKind::Dead);
    assert!(f.state.lease_release(LeaseName::Leader, token).await.unwrap());
    assert_eq!(f.dead(b, cutoff, token).await.unwrap_err(), StateError::StaleToken);
    assert_eq!(f.state.find_dead(cutoff, 10).await.unwrap(), [b]);
}

async fn a_foreign_task_is_nobodys_business(f: Fixture) {
    let run = f.run(RunKind::Games, 1000).await;
    let mine = worker(1, 0);
    let key = f.claim(run, &mine, 100).await.task.record.key;
    let mut other = mine.clone();
    other.unique_key = worker(2, 0).unique_key;
    let UpdateOutcome::Absent(Absent::Mismatch { field, stored }) = f.update(key, &other, drawn(2)).await
    else {
        panic!()
    };
    assert_eq!((field, stored), ("unique_key", mine.unique_key.clone()));
    let mut other = mine.clone();
    other.username = "mallory".to_owned();
    let outcome = f.give_up(key, &other).await;
    assert!(matches!(outcome, CloseOutcome::Absent(Absent::Mismatch { field: "username", .. })));
    let next = TaskKey { task: TaskId(1), ..key };
    let outcome = f.update(next, &mine, drawn(2)).await;
    assert!(matches!(outcome, UpdateOutcome::Absent(Absent::NoTask { next: TaskId(1) })));
    let nowhere = TaskKey { run: load(RunKind::Games, 2).id, ..key };
    assert!(matches!(f.update(nowhere, &mine, drawn(2)).await, UpdateOutcome::Absent(Absent::NoRun)));
    let beat = f.state.beat(G, &caller(nowhere, &mine)).await.unwrap();
    assert!(matches!(beat, BeatOutcome::Absent(Absent::NoRun)));
    assert_eq!(f.view(run).await.counters.workers, 1);
}

async fn a_closed_and_durable_task_leaves(f: Fixture) {
    let run = f.run(RunKind::Games, 1000).await;
    let mine = worker(1, 0);
    let key = f.claim(run, &mine, 100).await.task.record.key;
    f.state.ack_dirty(G, &[DurableAck::Task { key, version: Version(1), told: true }]).await.unwrap();
    f.update(key, &mine, drawn(2)).await;
    f.give_up(key, &mine).await;
    f.state.ack_dirty(G, &[DurableAck::Task { key, version: Version(2), told: true }]).await.unwrap();
    let TaskLookup::Found { task, alive } = f.state.read_task(key).await.unwrap() else { panic!() };
    assert_eq!((task.durable, task.record.version, alive), (Version(2), Version(3), false));
    f.state.ack_dirty(G, &[DurableAck::Task { key, version: Version(3), told: true }]).await.unwrap();
    let gone = f.state.read_task(key).await.unwrap();
    assert!(matches!(gone, TaskLookup::NoTask { next: TaskId(1) }));
    // An old acknowledgement, late.
    f.state.ack_dirty(G, &[DurableAck::Task { key, version: Version(2), told: true }]).await.unwrap();
    assert_eq!(f.state.census().await.unwrap().dirty, 0);
    assert_eq!(f.view(run).await.counters.results, drawn(2));
}

async fn dirty_documents_are_found_by_age(f: Fixture) {
    let run = f.run(RunKind::Games, 1000).await;
    let other = f.run(RunKind::Games, 1000).await;
    let (first, second) = (worker(1, 0), worker(2, 0));
    let a = f.claim(run, &first, 100).await.task.record.key;
    let begun = f.state.now().await.unwrap();
    f.clock.advance(1000);
    f.update(a, &first, drawn(2)).await;
    f.claim(other, &second, 100).await;
    let peek = |run, since, limit| f.state.peek_dirty(DirtyFilter { run, since, limit });
    let keys = |view: &DirtyView| view.tasks.iter().map(|task| task.record.key).collect::<Vec<_>>();
    // By the oldest version that isn't durable, and without being taken.
    for _ in 0..2 {
        let old = peek(None, Some(Millis(begun.0 + 1)), 10).await.unwrap();
        assert_eq!((keys(&old), old.tasks[0].record.version), (vec![a], Version(2)));
    }
    assert!(peek(None, Some(begun), 10).await.unwrap().tasks.is_empty());
    assert_eq!(peek(None, None, 10).await.unwrap().tasks.len(), 2);
    assert_eq!(peek(None, None, 1).await.unwrap().tasks.len(), 1);
    let of_other = peek(Some(other), None, 10).await.unwrap();
    assert_eq!((of_other.tasks.len(), of_other.runs.len()), (1, 1));
    f.ack_all().await;
    let clean = peek(None, None, 10).await.unwrap();
    assert_eq!((clean.tasks.len(), clean.runs.len()), (0, 0));
}

async fn an_older_acknowledgement_changes_nothing(f: Fixture) {
    let run = f.run(RunKind::Sprt { batch_size: 1 }, 1000).await;
    let mine = worker(1, 0);
    let key = f.claim(run, &mine, 100).await.task.record.key;
    for games in [2, 4] {
        f.update(key, &mine, drawn(games)).await;
    }
    let view = f.view(run).await;
    let task = |version| DurableAck::Task { key, version: Version(version), told: true };
    f.state.ack_dirty(G, &[task(3), DurableAck::Run(run, view.version, 1)]).await.unwrap();
    f.state.ack_dirty(G, &[task(2), DurableAck::Run(run, Version(1), 0)]).await.unwrap();
    let TaskLookup::Found { task, .. } = f.state.read_task(key).await.unwrap() else { panic!() };
    assert!(task.is_durable());
    assert_eq!(f.view(run).await.durable, view.version);
    // The position, too: what was folded durably doesn't come back into the tail.
    f.update(key, &mine, drawn(6)).await;
    let TaskLookup::Found { task, .. } = f.state.read_task(key).await.unwrap() else { panic!() };
    assert_eq!(task.record.tail.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [2, 3]);
}

//! Phases, slices, folding (`durability.md` sections 4 and 5).

use std::sync::Arc;

use shoal::domain::run::{Phase, RunKind};
use shoal::state::*;
use shoal::sys::random;

use super::fixture::*;

on_every_state!(
    a_phase_is_flipped_once_and_stops_the_run,
    a_run_leaves_when_it_is_finished_and_closed,
    a_run_with_an_active_task_stays,
    a_fold_is_committed_by_compare_and_set,
    the_audit_finds_nothing_in_a_healthy_run,
);

async fn a_phase_is_flipped_once_and_stops_the_run(f: Fixture) {
    let run = f.run(RunKind::Games, 100_000).await;
    let workers: Vec<_> = (0..5).map(|n| worker(n, 0)).collect();
    let mut keys = Vec::new();
    for worker in &workers {
        keys.push(f.claim(run, worker, 100).await.task.record.key);
    }
    f.update(keys[0], &workers[0], drawn(10)).await;
    let (ours, other) = (operation(), operation());
    assert!(f.close_slice(run, &ours, 10).await.is_err(), "a running run is not closed in slices");
    let flipped = f.phase(run, Phase::Running, Phase::Finishing, &ours).await;
    let PhaseOutcome::Changed(view) = flipped else { panic!() };
    assert_eq!((view.phase, view.operation.map(|operation| operation.id)), (Phase::Finishing, Some(ours.id)));
    for (from, operation) in [
        (Phase::Running, &ours),
        (Phase::Running, &other),
        (Phase::Finishing, &other),
        (Phase::Purging, &ours),
    ] {
        assert!(matches!(f.phase(run, from, Phase::Finished, operation).await, PhaseOutcome::Refused(_)));
    }
    // From here on no task of it lives.
    assert!(matches!(f.update(keys[0], &workers[0], drawn(12)).await, UpdateOutcome::Inactive(_)));
    let known = f.update(keys[0], &workers[0], drawn(10)).await;
    assert!(matches!(known, UpdateOutcome::Repeated { alive: false, .. }));
    let beat = f.state.beat(G, &caller(keys[1], &workers[1])).await.unwrap();
    assert!(matches!(beat, BeatOutcome::Alive(false)));
    assert!(matches!(f.give_up(keys[1], &workers[1]).await, CloseOutcome::Inactive(_)));
    assert!(matches!(f.assign(run, &worker(9, 0), 100).await, AssignOutcome::Stale));
    assert!(matches!(f.admit(&worker(0, 7)).await, AdmissionOutcome::Open(open) if open.ranking.is_empty()));
    f.clock.advance(1_000_000);
    assert_eq!(f.state.find_dead(f.state.now().await.unwrap(), 10).await.unwrap(), []);
    assert!(f.close_slice(run, &other, 10).await.is_err(), "another operation closes nothing");
    let slice = f.close_slice(run, &ours, 2).await.unwrap();
    assert_eq!((slice.closed.len(), slice.remaining), (2, 3));
    assert!(slice.closed.iter().all(|task| !task.record.active && task.record.cause.is_none()));
    let slice = f.close_slice(run, &ours, 10).await.unwrap();
    assert_eq!((slice.closed.len(), slice.remaining), (3, 0));
    assert_eq!(f.close_slice(run, &ours, 10).await.unwrap().remaining, 0, "and once more");
    let counters = f.view(run).await.counters;
    assert_eq!((counters.workers, counters.cores, counters.committed_games), (0, 0, 10));
    assert_eq!((counters.total_games, counters.results), (500, drawn(10)));
    assert_eq!(f.state.census().await.unwrap().connections, 0);
}

async fn a_run_leaves_when_it_is_finished_and_closed(f: Fixture) {
    let run = f.run(RunKind::Games, 1000).await;
    let mine = worker(1, 0);
    let key = f.claim(run, &mine, 100).await.task.record.key;
    let speed = SetRunFields { run, args: None, itp: None, speed: Some((1e6, 12.0)), leader: None };
    f.state.set_run_fields(G, speed.clone()).await.unwrap();
    assert_eq!(f.view(run).await.nps, 1e6);
    let ours = operation();
    assert!(!f.state.unload_run(G, run).await.unwrap(), "not while it runs");
    f.phase(run, Phase::Running, Phase::Finishing, &ours).await;
    assert!(!f.state.unload_run(G, run).await.unwrap(), "not before its end");
    f.close_slice(run, &ours, 10).await.unwrap();
    f.phase(run, Phase::Finishing, Phase::Purging, &ours).await;
    let PhaseOutcome::Changed(view) = f.phase(run, Phase::Purging, Phase::Finished, &ours).await else {
        panic!()
    };
    assert_eq!((view.nps, view.games_per_minute), (0.0, 0.0));
    assert!(view.operation.is_some(), "kept until it leaves: its last write may have to be repeated");
    f.state.set_run_fields(G, speed).await.unwrap();
    assert_eq!(f.view(run).await.nps, 0.0, "gauges are of running runs");
    let again = f.phase(run, Phase::Finished, Phase::Finished, &ours).await;
    assert!(matches!(again, PhaseOutcome::Changed(_)));
    f.ack_all().await;
    assert!(f.state.unload_run(G, run).await.unwrap());
    assert!(!f.state.unload_run(G, run).await.unwrap());
    assert!(matches!(f.state.read_task(key).await.unwrap(), TaskLookup::NoRun));
    let phase = f.phase(run, Phase::Running, Phase::Finishing, &ours).await;
    assert!(matches!(phase, PhaseOutcome::NoRun));
    assert_eq!(f.close_slice(run, &ours, 1).await.unwrap().remaining, 0);
    let census = f.state.census().await.unwrap();
    assert_eq!((census.runs, census.active_tasks, census.dirty), (0, 0, 0));
}

async fn a_run_with_an_active_task_stays(f: Fixture) {
    let run = f.run(RunKind::Games, 1000).await;
    f.claim(run, &worker(1, 0), 100).await;
    let ours = operation();
    f.phase(run, Phase::Running, Phase::Finishing, &ours).await;
    f.phase(run, Phase::Finishing, Phase::Finished, &ours).await;
    assert!(!f.state.unload_run(G, run).await.unwrap());
    f.close_slice(run, &ours, 10).await.unwrap();
    assert!(f.state.unload_run(G, run).await.unwrap());
}

async fn a_fold_is_committed_by_compare_and_set(f: Fixture) {
    let run = f.run(RunKind::Sprt { batch_size: 1 }, 1000).await;
    let mine = worker(1, 0);
    let key = f.claim(run, &mine, 100).await.task.record.key;
    for games in [2, 4, 6] {
        f.update(key, &mine, drawn(games)).await;
    }
    let fold = f.state.read_fold(run).await.unwrap().unwrap();
    let places: Vec<u64> = fold.pending.iter().map(|entry| entry.seq).collect();
    assert_eq!((places, fold.position, fold.games), (vec![1, 2, 3], 0, 6));
    let commit = |from, to, record: &str| {
        let record = Arc::from(record);
        f.state.commit_fold(G, CommitFold { run, from, to, record, write_id: random::write_id() })
    };
    assert_eq!(commit(0, 2, "first").await.unwrap(), FoldOutcome::Committed);
    assert_eq!(commit(0, 3, "late").await.unwrap(), FoldOutcome::Moved { position: 2 });
    assert_eq!(commit(2, 9, "beyond").await.unwrap(), FoldOutcome::Moved { position: 2 });
    let fold = f.state.read_fold(run).await.unwrap().unwrap();
    assert_eq!((&*fold.record, fold.pending.len(), fold.pending[0].seq), ("first", 1, 3));
    assert_eq!(commit(2, 3, "second").await.unwrap(), FoldOutcome::Committed);
    let state = &f.state;
    let tail = |places: &'static [u64]| async move {
        let TaskLookup::Found { task, .. } = state.read_task(key).await.unwrap() else { panic!() };
        assert_eq!(task.record.tail.iter().map(|entry| entry.seq).collect::<Vec<_>>(), places);
    };
    tail(&[1, 2, 3]).await;
    // What the durable record holds, the task's next version no longer carries.
    let view = f.view(run).await;
    f.state.ack_dirty(G, &[DurableAck::Run(run, view.version, 2)]).await.unwrap();
    f.update(key, &mine, drawn(8)).await;
    tail(&[3, 4]).await;
    let nowhere = load(RunKind::Games, 2).id;
    let request =
        CommitFold { run: nowhere, from: 0, to: 1, record: "x".into(), write_id: random::write_id() };
    assert_eq!(f.state.commit_fold(G, request).await.unwrap(), FoldOutcome::NoRun);
}

async fn the_audit_finds_nothing_in_a_healthy_run(f: Fixture) {
    let run = f.run(RunKind::Games, 100_000).await;
    for n in 0..6 {
        let mine = worker(n, 0);
        let key = f.claim(run, &mine, 100).await.task.record.key;
        if n % 2 == 0 {
            f.give_up(key, &mine).await;
        }
        if n % 3 == 0 {
            f.ack_all().await;
        }
    }
    assert_eq!(f.state.audit(run).await.unwrap(), [""; 0]);
    assert_eq!(f.state.audit(load(RunKind::Games, 2).id).await.unwrap(), [""; 0]);
    // One whose counters were loaded wrong.
    let mut wrong = load(RunKind::Games, 100);
    wrong.counters.workers = 3;
    wrong.counters.cores = 9;
    f.state.load_run(G, wrong.clone()).await.unwrap();
    let found = f.state.audit(wrong.id).await.unwrap();
    assert!(found.len() == 2 && found.iter().all(|what| what.starts_with("I14")), "{found:?}");
}

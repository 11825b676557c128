//! Admission and the claim (`spec/scheduling.md` sections 3.2, 3.5 and 3.6).

use shoal::domain::action::CloseKind;
use shoal::domain::ids::{TaskId, TaskKey};
use shoal::domain::run::RunKind;
use shoal::state::*;
use shoal::sys::clock::Clock;

use super::fixture::*;

on_every_state!(
    a_name_is_taken_for_120_seconds,
    an_unanswered_claim_is_repeated_and_an_answered_one_replaced,
    a_heartbeat_answers_for_the_claim,
    of_many_heartbeats_at_once_each_has_its_own_answer,
    a_machine_limit_counts_active_tasks_of_the_address,
    tasks_are_as_large_as_the_machine_and_the_run_allow,
    only_the_judged_version_of_a_running_run_gives_tasks,
    what_a_worker_has_seen_is_remembered_and_cleaned,
);

async fn a_name_is_taken_for_120_seconds(f: Fixture) {
    let run = f.run(RunKind::Games, 100_000).await;
    let (first, second) = (worker(1, 1), worker(1, 2));
    let key = f.claim(run, &first, 100).await.task.record.key;
    f.clock.advance(120_999);
    let AdmissionOutcome::Duplicate(there) = f.admit(&second).await else { panic!() };
    assert_eq!((there.seconds, there.task.key), (120, key));
    assert!(matches!(f.assign(run, &second, 100).await, AssignOutcome::Duplicate(_)));
    f.clock.advance(1);
    assert!(matches!(f.admit(&second).await, AdmissionOutcome::Open(_)));
    let claim = f.claim(run, &second, 100).await;
    let stale = claim.stale.unwrap().record;
    assert_eq!((stale.key, stale.active), (key, false));
    assert_eq!(stale.cause.as_ref().unwrap().kind, CloseKind::Stale);
    let view = f.view(run).await;
    assert_eq!((view.counters.workers, view.counters.cores), (1, 8));
    assert_eq!((view.counters.committed_games, view.counters.total_games), (100, 200));
    // A heartbeat keeps the name.
    f.clock.advance(100_000);
    let beat = f.state.beat(G, &caller(claim.task.record.key, &second)).await.unwrap();
    assert!(matches!(beat, BeatOutcome::Alive(true)));
    f.clock.advance(100_000);
    assert!(matches!(f.admit(&first).await, AdmissionOutcome::Duplicate(_)));
}

async fn an_unanswered_claim_is_repeated_and_an_answered_one_replaced(f: Fixture) {
    let run = f.run(RunKind::Games, 100_000).await;
    let mine = worker(1, 1);
    let first = f.claim(run, &mine, 100).await.task.record;
    for _ in 0..3 {
        let AdmissionOutcome::Repeated(task) = f.admit(&mine).await else { panic!() };
        assert_eq!((task.record.key, task.is_durable()), (first.key, false));
    }
    let AssignOutcome::Repeated(task) = f.assign(run, &mine, 100).await else { panic!() };
    assert_eq!(task.record.key, first.key);
    f.ack_all().await;
    assert!(matches!(f.admit(&mine).await, AdmissionOutcome::Open(_)));
    let claim = f.claim(run, &mine, 100).await;
    assert_eq!((claim.task.record.key.task.0, claim.task.record.start), (1, 100));
    assert_eq!(claim.stale.unwrap().record.key, first.key);
    assert_eq!(f.state.audit(run).await.unwrap(), [""; 0]);
}

async fn a_heartbeat_answers_for_the_claim(f: Fixture) {
    let run = f.run(RunKind::Games, 100_000).await;
    let mine = worker(1, 1);
    let first = f.claim(run, &mine, 100).await.task.record;
    f.state.beat(G, &caller(first.key, &mine)).await.unwrap();
    assert!(matches!(f.admit(&mine).await, AdmissionOutcome::Open(_)));
}

async fn of_many_heartbeats_at_once_each_has_its_own_answer(f: Fixture) {
    let runs = [f.run(RunKind::Games, 1_000_000).await, f.run(RunKind::Games, 1_000_000).await];
    let mut callers = Vec::new();
    for number in 0..100 {
        let mine = worker(number, 1);
        let key = f.claim(runs[number as usize % 2], &mine, 100).await.task.record.key;
        // Half of the claims are known to be answered.
        if number % 4 < 2 {
            f.state.beat(G, &caller(key, &mine)).await.unwrap();
        }
        match number % 10 {
            7 => drop(f.give_up(key, &mine).await),
            8 => callers.push((caller(key, &worker(number, 2)), "another's")),
            9 => {
                let key = TaskKey { task: TaskId(5000), ..key };
                callers.push((caller(key, &mine), "none"));
            }
            _ => {}
        }
        callers.push((caller(key, &mine), if number % 10 == 7 { "closed" } else { "alive" }));
    }
    f.clock.advance(60_000);
    let now = f.clock.now();
    let beats = callers.iter().map(|(who, _)| f.state.beat(G, who));
    let answers = futures::future::join_all(beats).await;
    for ((who, what), answer) in callers.iter().zip(answers) {
        let fits = match answer.unwrap() {
            BeatOutcome::Alive(true) => *what == "alive",
            BeatOutcome::Alive(false) => *what == "closed",
            BeatOutcome::Absent(Absent::Mismatch { .. }) => *what == "another's",
            BeatOutcome::Absent(Absent::NoTask { .. }) => *what == "none",
            BeatOutcome::Absent(Absent::NoRun) => false,
        };
        assert!(fits, "{who:?}: {what}");
        if *what == "alive" {
            let TaskLookup::Found { task, .. } = f.state.read_task(who.key).await.unwrap() else { panic!() };
            assert_eq!((task.record.last_updated, task.record.answered), (now, true));
        }
    }
}

async fn a_machine_limit_counts_active_tasks_of_the_address(f: Fixture) {
    let run = f.run(RunKind::Games, 100_000).await;
    let at = |n| {
        let mut worker = worker(n, 0);
        worker.remote_addr = "10.1.1.1".to_owned();
        worker
    };
    let first = f.claim(run, &at(1), 100).await.task.record.key;
    f.claim(run, &at(2), 100).await;
    f.ack_all().await;
    assert!(matches!(f.admit(&at(3)).await, AdmissionOutcome::MachineLimit));
    assert!(matches!(f.assign(run, &at(3), 100).await, AssignOutcome::MachineLimit));
    // Its own stale task counts as well.
    assert!(matches!(f.admit(&at(1)).await, AdmissionOutcome::MachineLimit));
    assert!(matches!(f.give_up(first, &at(1)).await, CloseOutcome::Done(_)));
    assert!(matches!(f.give_up(first, &at(1)).await, CloseOutcome::Inactive(_)), "closed once");
    assert!(matches!(f.admit(&at(3)).await, AdmissionOutcome::Open(_)));
    let census = f.state.census().await.unwrap();
    assert_eq!((census.addresses, census.connections), (1, 1));
}

async fn tasks_are_as_large_as_the_machine_and_the_run_allow(f: Fixture) {
    let fixed = f.run(RunKind::Games, 1200).await;
    let sizes = |task: &TaskView| (task.record.num_games, task.record.start);
    assert_eq!(sizes(&f.claim(fixed, &worker(1, 0), 642).await.task), (642, 0));
    assert_eq!(sizes(&f.claim(fixed, &worker(2, 0), 642).await.task), (558, 642));
    assert!(matches!(f.assign(fixed, &worker(3, 0), 642).await, AssignOutcome::NoGames));
    // The end of a sequential test is rounded up to a whole batch.
    let sprt = f.run(RunKind::Sprt { batch_size: 16 }, 800_000).await;
    assert_eq!(sizes(&f.claim(sprt, &worker(4, 0), 799_990).await.task), (799_990, 0));
    assert_eq!(sizes(&f.claim(sprt, &worker(5, 0), 480).await.task), (32, 799_990));
    assert!(matches!(f.assign(sprt, &worker(6, 0), 480).await, AssignOutcome::NoGames));
    // Games that were not played are handed out again, with new openings.
    f.give_up(f.state.read_tasks(sprt).await.unwrap()[1].record.key, &worker(5, 0)).await;
    assert_eq!(sizes(&f.claim(sprt, &worker(6, 0), 480).await.task), (32, 800_022));
}

async fn only_the_judged_version_of_a_running_run_gives_tasks(f: Fixture) {
    let run = f.run(RunKind::Games, 1000).await;
    let args = |version, num_games| SetRunFields {
        run,
        args: Some(ArgsFields { version, num_games, priority: 3 }),
        itp: Some(55.0),
        speed: None,
        leader: None,
    };
    assert!(f.state.set_run_fields(G, args(2, 500)).await.unwrap());
    assert!(matches!(f.assign(run, &worker(1, 0), 100).await, AssignOutcome::Stale));
    assert!(f.state.set_run_fields(G, args(1, 9000)).await.unwrap());
    let view = f.view(run).await;
    assert_eq!((view.args_version, view.num_games, view.priority, view.itp), (2, 500, 3, 55.0));
    let mut request = assignment(run, &worker(1, 0), 2000);
    request.args_version = 2;
    let AssignOutcome::Claimed(claim) = f.state.assign_task(G, request).await.unwrap() else { panic!() };
    assert_eq!(claim.task.record.num_games, 500);
    let unknown = load(RunKind::Games, 10).id;
    assert!(matches!(f.assign(unknown, &worker(2, 0), 100).await, AssignOutcome::Stale));
    assert!(!f.state.set_run_fields(G, SetRunFields { run: unknown, ..args(3, 1) }).await.unwrap());
}

async fn what_a_worker_has_seen_is_remembered_and_cleaned(f: Fixture) {
    let leader = f.leader().await;
    let gone = load(RunKind::Games, 10).id;
    let mine = worker(1, 0);
    let stranger = worker(2, 0);
    let old = |worker: &shoal::domain::task::TaskWorker| SeenView {
        worker: worker.short_name.clone(),
        runs: vec![gone],
        last_run: gone,
    };
    f.state.load_seen(vec![old(&mine), old(&stranger)]).await.unwrap();
    let run = f.run(RunKind::Games, 1000).await;
    let key = f.claim(run, &mine, 100).await.task.record.key;
    f.state.beat(G, &caller(key, &mine)).await.unwrap();
    let AdmissionOutcome::Open(open) = f.admit(&mine).await else { panic!() };
    assert_eq!((open.last_run, open.seen.len(), open.ranking.len()), (Some(run), 2, 1));
    assert_eq!(open.ranking[0].committed_games, 100);
    assert_eq!(f.state.clean(leader).await.unwrap(), 1, "the stranger");
    let seen = f.state.read_seen().await.unwrap();
    let expected = SeenView { worker: mine.short_name.clone(), runs: vec![run], last_run: run };
    assert_eq!(seen, [expected]);
    f.give_up(key, &mine).await;
    assert_eq!(f.state.clean(leader).await.unwrap(), 1, "the map's entry of the closed task");
    assert_eq!(f.state.census().await.unwrap().worker_map, 0);
}

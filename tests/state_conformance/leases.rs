//! Leases, the semaphore, generations.

use std::time::Duration;

use shoal::domain::ids::Generation;
use shoal::domain::run::RunKind;
use shoal::state::*;

use super::fixture::*;

on_every_state!(
    a_lease_has_one_holder_and_ever_newer_tokens,
    a_slot_comes_back_by_its_holder_or_by_itself,
    a_refusal_keeps_no_slot,
    assignments_are_locked_out_by_the_lease,
    only_a_larger_generation_is_loaded_and_only_the_loaded_one_serves,
    a_stale_leader_changes_nothing,
    notes_reach_everybody_who_listens,
);

const TTL: Duration = Duration::from_secs(15);

async fn a_lease_has_one_holder_and_ever_newer_tokens(f: Fixture) {
    let acquire = |who: &'static str| f.state.lease_acquire(LeaseName::Leader, who, TTL, G);
    let LeaseOutcome::Held(first) = acquire("a").await.unwrap() else { panic!() };
    let LeaseOutcome::Taken(view) = acquire("b").await.unwrap() else { panic!() };
    assert_eq!((view.holder.as_str(), view.token), ("a", first));
    assert_eq!(acquire("a").await.unwrap(), LeaseOutcome::Held(first), "its own stays its own");
    f.clock.advance(14_999);
    assert!(f.state.lease_renew(LeaseName::Leader, first, TTL).await.unwrap());
    f.clock.advance(15_000);
    assert!(!f.state.lease_renew(LeaseName::Leader, first, TTL).await.unwrap(), "expired at its end");
    assert_eq!(f.state.lease_read(LeaseName::Leader).await.unwrap(), None);
    let LeaseOutcome::Held(second) = acquire("b").await.unwrap() else { panic!() };
    assert!(second > first);
    assert!(!f.state.lease_renew(LeaseName::Leader, first, TTL).await.unwrap());
    assert!(
        !f.state.lease_release(LeaseName::Leader, first).await.unwrap(),
        "a stale holder releases nothing"
    );
    assert!(f.state.lease_release(LeaseName::Leader, second).await.unwrap());
    let LeaseOutcome::Held(third) = acquire("a").await.unwrap() else { panic!() };
    assert!(third > second);
    // Another generation keeps the leases and grants newer tokens.
    assert!(f.state.set_generation(Generation(2), LoadState::Loading).await.unwrap());
    let LeaseOutcome::Taken(view) = acquire("b").await.unwrap() else { panic!() };
    assert_eq!(view.token, third);
    f.clock.advance(60_000);
    let LeaseOutcome::Held(fourth) = acquire("b").await.unwrap() else { panic!() };
    assert!(fourth > third);
}

async fn a_slot_comes_back_by_its_holder_or_by_itself(f: Fixture) {
    f.run(RunKind::Games, 1000).await;
    for n in 0..SLOTS {
        assert!(matches!(f.admit(&worker(n, 0)).await, AdmissionOutcome::Open(_)));
    }
    let late = worker(9, 0);
    assert!(matches!(f.admit(&late).await, AdmissionOutcome::Busy));
    assert!(!f.state.semaphore_release("somebody else").await.unwrap());
    assert!(matches!(f.admit(&late).await, AdmissionOutcome::Busy));
    assert!(f.state.semaphore_release(&worker(0, 0).unique_key).await.unwrap());
    assert!(!f.state.semaphore_release(&worker(0, 0).unique_key).await.unwrap());
    assert!(matches!(f.admit(&late).await, AdmissionOutcome::Open(_)));
    f.clock.advance(9_999);
    assert!(matches!(f.admit(&worker(8, 0)).await, AdmissionOutcome::Busy));
    f.clock.advance(1);
    assert!(matches!(f.admit(&worker(8, 0)).await, AdmissionOutcome::Open(_)), "nobody outlives the expiry");
    assert_eq!(f.state.census().await.unwrap().slots, 1);
}

async fn a_refusal_keeps_no_slot(f: Fixture) {
    let run = f.run(RunKind::Games, 100_000).await;
    let slots = || async { f.state.census().await.unwrap().slots };
    let mine = worker(1, 0);
    f.state.block_worker(&mine.short_name, Some("bad".to_owned())).await.unwrap();
    let AdmissionOutcome::Blocked { message } = f.admit(&mine).await else { panic!() };
    assert_eq!((message.as_str(), slots().await), ("bad", 0));
    assert!(matches!(f.assign(run, &mine, 100).await, AssignOutcome::Blocked { .. }));
    f.state.block_worker(&mine.short_name, None).await.unwrap();
    assert!(matches!(f.admit(&mine).await, AdmissionOutcome::Open(_)));
    f.claim(run, &mine, 100).await;
    assert_eq!(slots().await, 0, "the claim frees the slot");
    assert!(matches!(f.admit(&mine).await, AdmissionOutcome::Repeated(_)));
    assert_eq!(slots().await, 0);
    // Admitted before its own first claim was made: the second one gives the slot back, too.
    let twice = worker(2, 0);
    assert!(matches!(f.admit(&twice).await, AdmissionOutcome::Open(_)));
    f.claim(run, &twice, 100).await;
    f.state.semaphore_acquire(admission(&worker(3, 0), "other")).await.unwrap();
    let mut again = assignment(run, &twice, 100);
    again.slot = "other".to_owned();
    let outcome = f.state.assign_task(G, again).await.unwrap();
    assert!(matches!(outcome, AssignOutcome::Repeated(_)));
    assert_eq!(slots().await, 0);
    let other_key = worker(1, 7);
    assert!(matches!(f.admit(&other_key).await, AdmissionOutcome::Duplicate(_)));
    assert_eq!(slots().await, 0);
}

async fn assignments_are_locked_out_by_the_lease(f: Fixture) {
    let run = f.run(RunKind::Games, 1000).await;
    let mine = worker(1, 0);
    assert!(matches!(f.admit(&mine).await, AdmissionOutcome::Open(_)));
    let held = f.state.lease_acquire(LeaseName::RequestTask, "operator", TTL, G).await.unwrap();
    let LeaseOutcome::Held(token) = held else { panic!() };
    assert!(matches!(f.assign(run, &mine, 100).await, AssignOutcome::Locked));
    assert!(matches!(f.admit(&worker(2, 0)).await, AdmissionOutcome::Busy));
    assert!(f.state.lease_release(LeaseName::RequestTask, token).await.unwrap());
    f.claim(run, &mine, 100).await;
}

async fn a_stale_leader_changes_nothing(f: Fixture) {
    let run = f.run(RunKind::Games, 1000).await;
    let mine = worker(1, 0);
    let key = f.claim(run, &mine, 100).await.task.record.key;
    f.ack_all().await;
    let LeaseOutcome::Held(stale) = f.state.lease_acquire(LeaseName::Leader, "a", TTL, G).await.unwrap()
    else {
        panic!()
    };
    f.clock.advance(400_000);
    let LeaseOutcome::Held(token) = f.state.lease_acquire(LeaseName::Leader, "b", TTL, G).await.unwrap()
    else {
        panic!()
    };
    let before = f.view(run).await;
    let fields = |leader, itp| SetRunFields { run, args: None, itp: Some(itp), speed: None, leader };
    assert_eq!(
        f.state.set_run_fields(G, fields(Some(stale), 7.0)).await.unwrap_err(),
        StateError::StaleToken
    );
    assert_eq!(f.state.clean(stale).await.unwrap_err(), StateError::StaleToken);
    let now = f.state.now().await.unwrap();
    assert_eq!(f.dead(key, now, stale).await.unwrap_err(), StateError::StaleToken);
    assert_eq!(f.view(run).await.itp, before.itp);
    assert!(f.state.set_run_fields(G, fields(Some(token), 7.0)).await.unwrap());
    assert_eq!(f.view(run).await.itp, 7.0);
    assert!(matches!(f.dead(key, now, token).await.unwrap(), CloseOutcome::Done(_)));
    assert_eq!(f.state.clean(token).await.unwrap(), 1, "the map's entry of the closed task");
}

async fn notes_reach_everybody_who_listens(f: Fixture) {
    let (mut first, mut second) = (f.state.notes(), f.state.notes());
    let note = Invalidation::User("carol".to_owned());
    // Where they travel, it takes a moment until somebody listens; what was told before isn't repeated.
    for listener in [&mut first, &mut second] {
        let heard = async {
            loop {
                f.state.publish(&note).await.unwrap();
                match tokio::time::timeout(Duration::from_millis(100), listener.recv()).await {
                    Ok(Ok(heard)) if heard == note => return,
                    Ok(Ok(Invalidation::Everything)) | Err(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), heard).await.unwrap();
    }
}

async fn only_a_larger_generation_is_loaded_and_only_the_loaded_one_serves(f: Fixture) {
    let run = f.run(RunKind::Games, 1000).await;
    let mine = worker(1, 0);
    let key = f.claim(run, &mine, 100).await.task.record.key;
    let set = |g, state| f.state.set_generation(Generation(g), state);
    assert!(!set(1, LoadState::Loading).await.unwrap());
    assert!(!set(0, LoadState::Loading).await.unwrap());
    assert!(!set(2, LoadState::Loaded).await.unwrap());
    let who = caller(key, &mine);
    assert_eq!(
        f.state.beat(Generation(2), &who).await.unwrap_err(),
        StateError::WrongGeneration { current: G }
    );
    assert!(set(3, LoadState::Loading).await.unwrap());
    assert!(!set(2, LoadState::Loaded).await.unwrap());
    assert_eq!(f.state.beat(Generation(3), &who).await.unwrap_err(), StateError::NotLoaded);
    assert_eq!(
        f.state.update_task(G, report(key, &mine, drawn(2), None)).await.unwrap_err(),
        StateError::WrongGeneration { current: Generation(3) }
    );
    assert_eq!(f.state.read_run(run).await.unwrap_err(), StateError::NotLoaded);
    let admitted = f.state.semaphore_acquire(admission(&mine, "x")).await;
    assert_eq!(admitted.unwrap_err(), StateError::NotLoaded);
    let late = f.state.load_run(G, load(RunKind::Games, 10)).await;
    assert_eq!(late.unwrap_err(), StateError::WrongGeneration { current: Generation(3) });
    assert!(set(3, LoadState::Loaded).await.unwrap());
    assert!(f.state.read_run(run).await.unwrap().is_none(), "a new generation begins empty");
    assert_eq!(f.state.census().await.unwrap(), Census::default());
}

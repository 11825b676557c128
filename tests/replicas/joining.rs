//! Finding the schedule: joining it, loading it when it is lost, and leaving it alone when the store is older.

use std::sync::Arc;

use serde_json::json;
use shoal::domain::ids::{Generation, TaskKey, WriteId};
use shoal::service::ServiceError;
use shoal::service::membership::Standing;
use shoal::state::{LoadState, SchedulingState, TaskLookup};
use shoal::store::{DocumentWrite, TaskWrite, WriteOutcome};

use super::place::*;
use crate::service::farm::{Worker, drawn};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_replica_joins_and_both_work_on_the_same_runs() {
    over_each_store(async |place| {
        let (first, second) = place.pair().await;
        assert_eq!(place.store.fence().await.unwrap(), Generation(1), "nobody loads what is loaded");
        assert_eq!((first.farm.generation(), second.farm.generation()), (Generation(1), Generation(1)));
        let run = first.approved(json!({ "num_games": 1000 })).await;
        let (a, b) = (Worker::new(1, 7), Worker::new(2, 7));
        let (of_a, of_b) = (second.task(&a).await, first.task(&b).await);
        assert_eq!((of_a.task.0, of_b.task.0), (0, 1));
        assert!(first.update(&a, of_a, drawn(100)).await.alive);
        assert!(
            second.update(&a, of_a, drawn(100)).await.alive,
            "the answer was lost: the same from another"
        );
        assert!(!second.update(&b, of_b, drawn(408)).await.alive);
        assert!(!first.update(&a, of_a, drawn(408)).await.alive);
        place.check(run).await;
        let of_c = second.task(&Worker::new(3, 7)).await;
        assert!(!first.update(&Worker::new(3, 7), of_c, drawn(184)).await.alive);
        place.settle(run).await;
        place.check(run).await;
        let log = place.log().await;
        assert_eq!(log.iter().filter(|entry| entry.starts_with("finished_run")).count(), 1, "{log:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_lost_everything_is_loaded_by_one_and_joined_by_the_others() {
    over_each_store(async |place| {
        let (first, second) = place.pair().await;
        let run = first.approved(json!({ "num_games": 1000 })).await;
        let worker = Worker::new(1, 7);
        let key = first.task(&worker).await;
        assert!(second.update(&worker, key, drawn(100)).await.alive);
        let block = |name, blocked| first.farm.block_worker("bob", name, blocked, "hot");
        block("carol-7cores-00000009", true).await.unwrap();
        place.state.lose_everything();
        for replica in [&first, &second] {
            let lost = worker.update(&replica.farm, key, drawn(200), None).await;
            assert!(matches!(lost, Err(ServiceError::Outdated(_))), "{lost:?}");
        }
        // The leader's lease is gone, too: whoever asks first leads.
        place.pass(&[&first, &second], 11_000);
        second.serves().await;
        assert!(second.farm.leadership().is_some());
        first.serves().await;
        assert_eq!(place.store.fence().await.unwrap(), Generation(2));
        assert!(first.update(&worker, key, drawn(200)).await.alive);
        place.check(run).await;
        let blocked = Worker::new(9, 7).request(&first.farm).await.unwrap();
        assert!(format!("{blocked:?}").contains("hot"), "{blocked:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_is_being_loaded_is_waited_for_unless_its_loader_died() {
    over_a_file(async |place| {
        let (first, second) = place.pair().await;
        // The first one dies in the middle of loading the next generation.
        let generation = place.store.raise_fence(Generation(1)).await.unwrap().unwrap();
        assert!(place.state.set_generation(generation, LoadState::Loading).await.unwrap());
        assert!(matches!(second.looks().await, Standing::Waiting(_)));
        assert!(!second.farm.is_ready());
        place.pass(&[&second], 11_000);
        assert!(matches!(second.looks().await, Standing::Waiting(_)), "its lease has not ended");
        place.pass(&[&second], 1_100);
        second.serves().await;
        assert_eq!(second.farm.generation(), Generation(3));
        // It only slept.
        first.clock.advance(12_100);
        first.serves().await;
        assert_eq!((first.farm.generation(), first.farm.leadership().is_some()), (Generation(3), false));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_loaded_at_most_every_five_seconds() {
    over_a_file(async |place| {
        let first = place.replica();
        first.serves().await;
        place.state.lose_everything();
        place.pass(&[&first], 4_900);
        assert!(matches!(first.looks().await, Standing::Waiting(_)));
        assert_eq!(place.store.fence().await.unwrap(), Generation(1));
        place.pass(&[&first], 200);
        first.serves().await;
        assert_eq!(place.store.fence().await.unwrap(), Generation(2));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_behind_the_schedule_is_left_to_a_person() {
    over_a_file(async |place| {
        let (first, second) = place.pair().await;
        // As if an older backup of the store had been restored.
        assert!(place.state.set_generation(Generation(9), LoadState::Loading).await.unwrap());
        assert!(place.state.set_generation(Generation(9), LoadState::Loaded).await.unwrap());
        let behind = Standing::StoreBehind { schedule: Generation(9), store: Generation(1) };
        for _ in 0..3 {
            for replica in [&first, &second] {
                assert_eq!(replica.looks().await, behind);
                assert!(!replica.farm.is_ready());
            }
            place.pass(&[&first, &second], 20_000);
        }
        assert!(behind.to_string().contains("older backup"), "{behind}");
        assert_eq!(place.store.fence().await.unwrap(), Generation(1), "nothing is healed by guessing");
        // The operator decided that the store counts.
        place.state.lose_everything();
        first.serves().await;
        second.serves().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_the_store_refuses_leaves_and_joins_the_next_schedule() {
    over_each_store(async |place| {
        let (first, second) = place.pair().await;
        let run = first.approved(json!({ "num_games": 1000 })).await;
        let worker = Worker::new(1, 7);
        let key = second.task(&worker).await;
        // A batch of the second one's is under way when another generation begins.
        let task = task(&place, key).await;
        first.farm.rebuild().await.unwrap();
        let newer = shoal::domain::task::TaskRecord { version: task.version.next(), ..task };
        let write = DocumentWrite::Task(TaskWrite { record: Arc::new(newer), actions: Vec::new() });
        let refused = second.farm.committer.write_all(vec![write]).await;
        assert!(matches!(refused, Err(ServiceError::Outdated(_))), "{refused:?}");
        assert!(!second.farm.is_ready(), "at once");
        second.serves().await;
        assert_eq!(second.farm.generation(), Generation(2));
        assert_eq!(place.store.fence().await.unwrap(), Generation(2), "it asks for no further one");
        assert!(second.update(&worker, key, drawn(100)).await.alive);
        place.check(run).await;
    })
    .await;
}

async fn task(place: &Place, key: TaskKey) -> shoal::domain::task::TaskRecord {
    let TaskLookup::Found { task, .. } = place.state.read_task(key).await.unwrap() else { panic!() };
    (*task.record).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_the_store_contradicts_is_loaded_anew_whoever_finds_it() {
    over_each_store(async |place| {
        let (leader, other) = place.pair().await;
        let run = leader.approved(json!({ "num_games": 1000 })).await;
        let worker = Worker::new(1, 7);
        let key = other.task(&worker).await;
        // The store has results that the schedule lost: it was rolled back.
        let mut lost = task(&place, key).await;
        lost.version = lost.version.next();
        lost.write_id = WriteId(77);
        lost.stats = drawn(50);
        let write = DocumentWrite::Task(TaskWrite { record: Arc::new(lost), actions: Vec::new() });
        assert_eq!(place.store.commit(Generation(1), &[write]).await.unwrap(), [WriteOutcome::Applied]);
        let contradicted = worker.update(&other.farm, key, drawn(20), None).await;
        assert!(matches!(contradicted, Err(ServiceError::Outdated(_))), "{contradicted:?}");
        assert!(!other.farm.is_ready());
        // It doesn't lead, so it tells.
        let mut notes = place.state.notes();
        assert!(matches!(other.looks().await, Standing::Waiting(_)));
        let note = notes.recv().await.unwrap();
        assert_eq!(note, shoal::state::Invalidation::Contradicted(Generation(1)));
        leader.farm.take_note(&note).await;
        place.pass(&[&leader, &other], 5_100);
        leader.serves().await;
        other.serves().await;
        assert_eq!(place.store.fence().await.unwrap(), Generation(2));
        assert!(
            leader.update(&worker, key, drawn(60)).await.alive,
            "it goes on from the fifty that are durable"
        );
        place.check(run).await;
    })
    .await;
}

//! Folding by many at once: each sees to what was pending when it reported, once.

use serde_json::json;
use shoal::domain::ids::TaskKey;
use shoal::domain::task::TaskWorker;
use shoal::state::{FoldView, SchedulingState, TaskLookup, UpdateOutcome};

use super::place::*;
use crate::service::farm::{Worker, pairs};
use crate::state_conformance::fixture::report;

/// The task's worker as the schedule knows it.
async fn worker_of(place: &Place, key: TaskKey) -> TaskWorker {
    let TaskLookup::Found { task, .. } = place.state.read_task(key).await.unwrap() else { panic!("no task") };
    task.record.worker.clone().unwrap()
}

/// A report of so many batches as the schedule takes it, with what its reporter is to fold.
async fn reported(place: &Place, replica: &Replica, key: TaskKey, batches: u64) -> FoldView {
    let update = report(key, &worker_of(place, key).await, pairs([0, 0, 16 * batches, 0, 0]), None);
    match place.state.update_task(replica.farm.generation(), update).await.unwrap() {
        UpdateOutcome::Accepted { fold, .. } => *fold,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_finds_its_own_folded_leaves_what_came_since_to_others() {
    over_a_file(async |place| {
        let (first, second) = place.pair().await;
        let run = first.approved(json!({ "sprt": { "elo0": 0.0, "elo1": 2.0 } })).await;
        let key = first.task(&Worker::new(1, 7)).await;
        let position = async || place.state.read_fold(run).await.unwrap().unwrap().position;
        let version = async || place.state.read_run(run).await.unwrap().unwrap().version;

        let one = reported(&place, &first, key, 1).await;
        let two = reported(&place, &second, key, 2).await;
        let three = reported(&place, &first, key, 3).await;
        assert_eq!([&one, &two, &three].map(|view| view.pending.len()), [1, 2, 3]);
        // The second replica folds its own and what was there before it.
        assert!(!second.farm.fold(run, two.clone()).await.unwrap());
        assert_eq!(position().await, 2);
        // The first finds that, and touches nothing: the third report is its reporter's.
        let before = version().await;
        assert!(!first.farm.fold(run, one.clone()).await.unwrap());
        assert!(!second.farm.fold(run, one).await.unwrap());
        assert_eq!((position().await, version().await), (2, before));
        assert!(!first.farm.fold(run, three.clone()).await.unwrap());
        assert_eq!(position().await, 3);
        // Nor is anything committed twice.
        let before = version().await;
        for (replica, view) in [(&first, three.clone()), (&first, two), (&second, three)] {
            assert!(!replica.farm.fold(run, view).await.unwrap());
        }
        assert_eq!(version().await, before);
        place.settle(run).await;
        place.check(run).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_report_at_once_to_one_replica_fold_together() {
    over_a_file(async |place| {
        let (first, _) = place.pair().await;
        let run = first.approved(json!({ "sprt": { "elo0": 0.0, "elo1": 2.0 } })).await;
        let key = first.task(&Worker::new(1, 7)).await;
        let mut views = Vec::new();
        for report in 1..=10 {
            views.push(reported(&place, &first, key, report).await);
        }
        // Whoever comes first here has the view with all; the others wait for it, or come when it is done.
        let before = place.state.read_run(run).await.unwrap().unwrap().version;
        let folders = views.into_iter().rev().map(|view| first.farm.fold(run, view));
        for decided in futures::future::join_all(folders).await {
            assert!(!decided.unwrap());
        }
        let after = place.state.read_run(run).await.unwrap().unwrap();
        assert_eq!(after.version.0, before.0 + 1, "one commit");
        assert_eq!(place.state.read_fold(run).await.unwrap().unwrap().position, 10);
        place.settle(run).await;
        place.check(run).await;
    })
    .await;
}

//! An operator's pause: durable, renewed by whoever leads, and never a lock for ever (L5).

use serde_json::json;
use shoal::service::control::Control;
use shoal::service::request_task::TaskAnswer;

use super::place::*;
use crate::service::farm::{Worker, drawn};

async fn is_busy(replica: &Replica, worker: &Worker) -> bool {
    match worker.request(&replica.farm).await.unwrap() {
        TaskAnswer::Info(info) => info.contains("too busy"),
        TaskAnswer::Assigned(..) => false,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_assignments_up_everywhere_and_nothing_else() {
    over_each_store(async |place| {
        let (first, second) = place.pair().await;
        let run = first.approved(json!({ "num_games": 100_000 })).await;
        let (playing, waiting) = (Worker::new(1, 7), Worker::new(2, 7));
        let key = first.task(&playing).await;
        let pause = Control::Pause { by: "olga".to_owned(), reason: "moving house".to_owned() };
        second.farm.control(pause).await.unwrap();
        for replica in [&first, &second] {
            assert!(is_busy(replica, &waiting).await);
            assert!(playing.beats(&replica.farm, key).await);
        }
        assert!(first.update(&playing, key, drawn(100)).await.alive);
        let status = first.farm.control(Control::Status).await.unwrap();
        assert_eq!(status.data["paused"]["by"], "olga");
        assert_eq!(status.data["paused"]["reason"], "moving house");
        // The leader keeps it up for as long as it takes.
        for _ in 0..30 {
            place.pass(&[&first, &second], 5_000);
            first.farm.keep_pause().await.unwrap();
            assert!(is_busy(&second, &waiting).await);
        }
        // The schedule loses everything: nobody slips in before the pause is there again.
        place.state.lose_everything();
        place.pass(&[&first, &second], 20_000);
        second.serves().await;
        first.serves().await;
        assert!(is_busy(&first, &waiting).await && is_busy(&second, &waiting).await);
        // Every process ends, and another begins.
        drop((first, second));
        place.state.lose_everything();
        let third = place.replica();
        third.serves().await;
        assert!(is_busy(&third, &waiting).await);
        third.farm.control(Control::Resume).await.unwrap();
        assert!(!is_busy(&third, &waiting).await);
        assert_eq!(third.farm.control(Control::Status).await.unwrap().data["paused"], json!(null));
        place.pass(&[&third], 5_000);
        third.farm.keep_pause().await.unwrap();
        assert!(!is_busy(&third, &Worker::new(3, 7)).await, "it stays ended");
        place.check(run).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_leader_a_pause_ends_by_itself_and_a_lost_store_does_not_end_it() {
    over_a_file(async |place| {
        let (first, second) = place.pair().await;
        first.approved(json!({ "num_games": 100_000 })).await;
        second.farm.pause("olga", "").await.unwrap();
        place.pass(&[&first, &second], 59_000);
        assert!(is_busy(&second, &Worker::new(1, 7)).await);
        place.pass(&[&first, &second], 2_000);
        assert!(!is_busy(&second, &Worker::new(1, 7)).await, "nobody renewed it");
        first.farm.keep_pause().await.unwrap();
        assert!(is_busy(&second, &Worker::new(2, 7)).await, "the next leader does");
    })
    .await;
}

//! What one replica changes, the others learn at once, or by themselves in the end.

use serde_json::json;
use shoal::domain::ids::ShortWorkerName;
use shoal::domain::modify_run::ModifyRequest;
use shoal::domain::new_run::RunForm;
use shoal::service::ServiceError;
use shoal::service::request_task::TaskAnswer;
use shoal::service::users::NewUser;
use shoal::state::SchedulingState;
use shoal::store::RunPatch;
use shoal::sys::spawn;
use tokio::sync::watch;

use super::place::*;
use crate::service::farm::{Worker, form};

/// Waits until something is so: notes take a moment.
async fn soon<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    for _ in 0..500 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_an_account_is_heard_by_every_replica() {
    over_a_file(async |place| {
        let (first, second) = place.pair().await;
        let (_stop, stopped) = watch::channel(false);
        let listening = second.farm.take_part(stopped);
        let new = NewUser { username: "dora".to_owned(), password: "one".to_owned(), ..NewUser::default() };
        first.farm.add_user(new).await.unwrap();
        second.farm.accounts.authenticate("dora", "one").await.unwrap();
        let (farm, password) = (&second.farm, "one");
        let enters = async || farm.accounts.authenticate("dora", password).await;
        first.farm.block_user("dora", true).await.unwrap();
        soon(
            "a blocked account is refused",
            async || matches!(enters().await, Err(ServiceError::Refused(why)) if why.contains("blocked")),
        )
        .await;
        first.farm.block_user("dora", false).await.unwrap();
        soon("it is let in again", async || enters().await.is_ok()).await;
        first.farm.set_machine_limit("dora", 3).await.unwrap();
        soon("a new limit counts", async || enters().await.is_ok_and(|user| user.machine_limit == 3)).await;
        first.farm.set_password("dora", "two".to_owned()).await.unwrap();
        soon("an old password is wrong", async || enters().await.is_err()).await;
        let books = json!({ "a.epd": { "sri": "x", "total": 2, "white": 1, "black": 1 } });
        if first.farm.replace_books(&books).await.is_ok() {
            soon("the table of books", async || second.farm.books().contains_key("a.epd")).await;
        }
        listening.abort();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_run_counts_everywhere_even_if_it_died_on_its_way() {
    over_each_store(async |place| {
        let (first, second) = place.pair().await;
        let form = RunForm::from_json(&form(json!({ "num_games": 1000 }))).unwrap();
        let run = first.farm.create_run(&form).await.unwrap();
        let worker = Worker::new(1, 7);
        assert_eq!(worker.request(&second.farm).await.unwrap(), TaskAnswer::Nothing, "not approved");
        first.farm.approve_run(run, "bob").await.unwrap();
        second.task(&worker).await;
        let request = ModifyRequest {
            num_games: None,
            priority: Some(-5),
            throughput: None,
            auto_purge: Some(true),
            info: None,
        };
        second.farm.modify_run(run, &request, "bob").await.unwrap();
        assert_eq!(place.state.read_run(run).await.unwrap().unwrap().priority, -5);
        // This one dies between store and schedule.
        let stored = place.store.run(run).await.unwrap().unwrap();
        let patch =
            RunPatch { set: vec![("args.priority".to_owned(), bson::Bson::Int32(7))], actions: Vec::new() };
        place.store.patch_run(run, stored.meta.args_version, &patch).await.unwrap();
        let mut created = stored.clone();
        created.id = shoal::domain::ids::RunId(shoal::sys::random::object_id());
        created.doc.insert("_id", created.id.0);
        place.store.insert_run(&created, &[]).await.unwrap();
        let mut versions = place.store.unfinished_versions().await.unwrap();
        versions.sort();
        let mut expected = vec![(run, stored.meta.args_version + 1), (created.id, stored.meta.args_version)];
        expected.sort();
        assert_eq!(versions, expected);
        first.farm.reconcile().await.unwrap();
        assert_eq!(place.state.read_run(run).await.unwrap().unwrap().priority, 7);
        assert!(place.state.read_run(created.id).await.unwrap().is_some());
        place.check(run).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_two_replicas_end_as_the_store_says_and_the_log_tells_each_change_once() {
    over_each_store(async |place| {
        let (first, second) = place.pair().await;
        first.approved(json!({ "num_games": 100_000 })).await;
        let name = "carol-7cores-00000001";
        for round in 0..12 {
            let tasks: Vec<_> = [(&first, true), (&second, false), (&second, true), (&first, false)]
                .into_iter()
                .map(|(replica, blocked)| {
                    let farm = replica.farm.clone();
                    spawn::task("block", async move {
                        farm.block_worker("bob", name, blocked, &format!("round {round}")).await
                    })
                })
                .collect();
            for task in tasks {
                // Of many at once one may give up; then it changed nothing.
                drop(task.await.unwrap());
            }
            let stored = place.store.worker(&ShortWorkerName(name.to_owned())).await.unwrap();
            let blocked = stored.is_some_and(|block| block.blocked);
            let worker = Worker::new(1, 7);
            let answer = worker.request(&first.farm).await.unwrap();
            assert_eq!(matches!(&answer, TaskAnswer::Error(_)), blocked, "{answer:?}");
        }
        let log = place.log().await;
        let changes: Vec<_> = log.iter().filter(|entry| entry.starts_with("block_worker")).collect();
        assert!(changes.len() > 4, "{changes:?}");
        for pair in changes.windows(2) {
            assert_ne!(pair[0], pair[1], "{changes:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_died_on_its_way_arrives_in_either_direction() {
    over_a_file(async |place| {
        let (first, second) = place.pair().await;
        first.approved(json!({ "num_games": 100_000 })).await;
        let (worker, name) = (Worker::new(1, 7), ShortWorkerName("carol-7cores-00000001".to_owned()));
        first.farm.block_worker("bob", &name.0, true, "hot").await.unwrap();
        place.state.block_worker(&name, None).await.unwrap();
        first.farm.mirror_blocks().await.unwrap();
        assert!(matches!(worker.request(&second.farm).await.unwrap(), TaskAnswer::Error(_)));
        first.farm.block_worker("bob", &name.0, false, "").await.unwrap();
        place.state.block_worker(&name, Some("hot".to_owned())).await.unwrap();
        assert!(matches!(worker.request(&second.farm).await.unwrap(), TaskAnswer::Error(_)));
        assert!(matches!(worker.request(&second.farm).await.unwrap(), TaskAnswer::Assigned(..)));
    })
    .await;
}

//! Batches: every outcome, the fence, the seal (`durability.md` sections 1 and 2).

use bson::{Bson, doc};
use shoal::domain::action_query::ActionQuery;
use shoal::domain::ids::{Generation, Version};
use shoal::domain::run::{FinishReason, Phase, RunOperation};
use shoal::store::WriteOutcome::{Applied, Fenced, Missing, RolledBack, Superseded};
use shoal::store::{DocumentWrite, SharedStore, TaskWrite};
use shoal::sys::random;

use super::fixtures::*;

on_every_store!(
    a_task_goes_through_its_versions,
    an_older_version_and_a_repetition_are_superseded,
    the_same_version_of_another_history_is_rolled_back,
    only_the_generation_of_the_fence_writes,
    the_fence_goes_up_by_compare_and_set,
    seal_moves_what_is_alive_and_nothing_else,
    a_row_of_an_older_generation_is_overwritten,
    a_sealed_task_fences_the_older_generation,
    a_run_write_sets_paths_and_keeps_the_rest,
    run_writes_have_every_outcome,
    log_entries_come_with_their_cause_and_once,
    a_batch_reports_each_document_in_order,
);

async fn a_task_goes_through_its_versions(store: SharedStore) {
    let generation = first_generation(&store).await;
    let first = claim(key(run_id(), 0), generation);
    let second = update(&first);
    let outcomes = store.commit(generation, &[task_write(&first)]).await.unwrap();
    assert_eq!(outcomes, [Applied]);
    assert_eq!(store.task(first.key).await.unwrap().unwrap(), first);
    let outcomes = store.commit(generation, &[task_write(&second)]).await.unwrap();
    assert_eq!(outcomes, [Applied]);
    assert_eq!(store.task(first.key).await.unwrap().unwrap(), second);
}

async fn an_older_version_and_a_repetition_are_superseded(store: SharedStore) {
    let generation = first_generation(&store).await;
    let first = claim(key(run_id(), 0), generation);
    let second = update(&first);
    let batch = [task_write(&second), task_write(&first), task_write(&second)];
    assert_eq!(store.commit(generation, &batch).await.unwrap(), [Applied, Superseded, Superseded]);
    assert_eq!(store.task(first.key).await.unwrap().unwrap(), second);
}

async fn the_same_version_of_another_history_is_rolled_back(store: SharedStore) {
    let generation = first_generation(&store).await;
    let ours = claim(key(run_id(), 0), generation);
    let mut other = ours.clone();
    other.write_id = random::write_id();
    other.num_games = 100;
    let outcomes = store.commit(generation, &[task_write(&ours), task_write(&other)]).await.unwrap();
    assert_eq!(outcomes, [Applied, RolledBack]);
    assert_eq!(store.task(ours.key).await.unwrap().unwrap(), ours);
}

async fn only_the_generation_of_the_fence_writes(store: SharedStore) {
    let old = first_generation(&store).await;
    let new = store.raise_fence(old).await.unwrap().unwrap();
    let run = run(run_id());
    store.insert_run(&run, &[]).await.unwrap();
    let late = claim(key(run.id, 0), old);
    let batch = [
        DocumentWrite::Task(TaskWrite { record: late.clone().into(), actions: vec![action("a", 1.0)] }),
        DocumentWrite::Run(run_write(run.id, 1).into()),
    ];
    assert_eq!(store.commit(old, &batch).await.unwrap(), [Fenced(new), Fenced(new)]);
    // A record of the old generation in a batch of the new one is late as well.
    assert_eq!(store.commit(new, &batch[..1]).await.unwrap(), [Fenced(new)]);
    // A store behind the schedule (a restored backup) lets nobody write either.
    let ahead = Generation(new.0 + 1);
    let early = claim(key(run.id, 0), ahead);
    assert_eq!(store.commit(ahead, &[task_write(&early)]).await.unwrap(), [Fenced(new)]);
    assert_eq!(store.task(late.key).await.unwrap(), None);
    assert_eq!(store.run(run.id).await.unwrap().unwrap(), run);
    assert!(store.find_actions(&ActionQuery::default(), 10).await.unwrap().is_empty());
}

async fn the_fence_goes_up_by_compare_and_set(store: SharedStore) {
    assert_eq!(store.fence().await.unwrap(), Generation(0));
    assert_eq!(store.raise_fence(Generation(0)).await.unwrap(), Some(Generation(1)));
    assert_eq!(store.raise_fence(Generation(0)).await.unwrap(), None);
    assert_eq!(store.raise_fence(Generation(2)).await.unwrap(), None);
    assert_eq!(store.fence().await.unwrap(), Generation(1));
}

async fn seal_moves_what_is_alive_and_nothing_else(store: SharedStore) {
    let old = first_generation(&store).await;
    let alive = run(run_id());
    let done = finished_run("alice", 5);
    store.insert_run(&alive, &[]).await.unwrap();
    store.insert_run(&done, &[]).await.unwrap();
    let active = claim(key(alive.id, 0), old);
    let mut closed = update(&claim(key(alive.id, 1), old));
    closed.active = false;
    store.commit(old, &[task_write(&active), task_write(&closed)]).await.unwrap();

    let new = store.raise_fence(old).await.unwrap().unwrap();
    assert_eq!(store.seal(new).await.unwrap(), 2, "one active task, one unfinished run");
    assert_eq!(store.seal(new).await.unwrap(), 0, "nothing is left to seal");
    let sealed = store.task(active.key).await.unwrap().unwrap();
    assert_eq!((sealed.generation, sealed.version, sealed.write_id), (new, active.version, active.write_id));
    assert_eq!(store.task(closed.key).await.unwrap().unwrap(), closed);
    assert_eq!(store.run(alive.id).await.unwrap().unwrap().meta.generation, new);
    assert_eq!(store.run(done.id).await.unwrap().unwrap(), done);
}

async fn a_row_of_an_older_generation_is_overwritten(store: SharedStore) {
    let old = first_generation(&store).await;
    let run = run_id();
    let mut orphan = claim(key(run, 0), old);
    orphan.active = false;
    let mut closed = update(&update(&claim(key(run, 1), old)));
    closed.active = false;
    store.commit(old, &[task_write(&orphan), task_write(&closed)]).await.unwrap();
    let new = store.raise_fence(old).await.unwrap().unwrap();
    store.seal(new).await.unwrap();

    let claimed = claim(orphan.key, new);
    let mut purged = update(&closed);
    purged.generation = new;
    let outcomes = store.commit(new, &[task_write(&claimed), task_write(&purged)]).await.unwrap();
    assert_eq!(outcomes, [Applied, Applied]);
    assert_eq!(store.task(claimed.key).await.unwrap().unwrap(), claimed);
    assert_eq!(store.task(purged.key).await.unwrap().unwrap(), purged);
}

async fn a_sealed_task_fences_the_older_generation(store: SharedStore) {
    let old = first_generation(&store).await;
    let first = claim(key(run_id(), 0), old);
    store.commit(old, &[task_write(&first)]).await.unwrap();
    let new = store.raise_fence(old).await.unwrap().unwrap();
    store.seal(new).await.unwrap();
    let late = update(&first);
    assert_eq!(store.commit(old, &[task_write(&late)]).await.unwrap(), [Fenced(new)]);
    assert_eq!(store.task(first.key).await.unwrap().unwrap().version, Version(1));
    let mut next = late.clone();
    next.generation = new;
    assert_eq!(store.commit(new, &[task_write(&next)]).await.unwrap(), [Applied]);
}

async fn a_run_write_sets_paths_and_keeps_the_rest(store: SharedStore) {
    let generation = first_generation(&store).await;
    let run = run(run_id());
    store.insert_run(&run, &[]).await.unwrap();
    let mut write = run_write(run.id, 3);
    write.phase = Phase::Finishing;
    write.position = u64::MAX;
    write.folded = [1, -2, 3, 4, 5, 6, 7, i64::MIN];
    write.operation = Some(RunOperation {
        id: random::object_id(),
        reason: FinishReason::Decided,
        actor: "älice".into(),
        time: shoal::domain::ids::Millis(-1),
        action_ids: [random::object_id(); 4],
        worker_stop: None,
        purge: None,
    });
    write.set = vec![
        ("results.wins".into(), Bson::Int32(7)),
        ("args.sprt.llr".into(), Bson::Double(f64::NEG_INFINITY)),
        ("finished".into(), Bson::Boolean(true)),
    ];
    let outcomes = store.commit(generation, &[DocumentWrite::Run(write.clone().into())]).await.unwrap();
    assert_eq!(outcomes, [Applied]);

    let stored = store.run(run.id).await.unwrap().unwrap();
    let mut expected = run.doc.clone();
    expected.get_document_mut("results").unwrap().insert("wins", 7);
    expected.get_document_mut("args").unwrap().insert("sprt", doc! { "llr": f64::NEG_INFINITY });
    expected.insert("finished", true);
    assert_eq!(stored.doc, expected);
    let meta = stored.meta;
    assert_eq!((meta.generation, meta.version, meta.write_id), (generation, Version(3), write.write_id));
    assert_eq!((meta.phase, meta.operation, meta.position), (write.phase, write.operation, write.position));
    assert_eq!((meta.folded, meta.args_version), (write.folded, run.meta.args_version));
    assert!(store.unfinished_runs().await.unwrap().is_empty(), "the index follows the document");
}

async fn run_writes_have_every_outcome(store: SharedStore) {
    let generation = first_generation(&store).await;
    let run = run(run_id());
    store.insert_run(&run, &[]).await.unwrap();
    let second = run_write(run.id, 2);
    let batch = [
        DocumentWrite::Run(second.clone().into()),
        DocumentWrite::Run(second.into()),
        DocumentWrite::Run(run_write(run.id, 1).into()),
        DocumentWrite::Run(run_write(run.id, 2).into()),
        DocumentWrite::Run(run_write(run_id(), 1).into()),
    ];
    let outcomes = store.commit(generation, &batch).await.unwrap();
    assert_eq!(outcomes, [Applied, Superseded, Superseded, RolledBack, Missing]);
}

async fn log_entries_come_with_their_cause_and_once(store: SharedStore) {
    let generation = first_generation(&store).await;
    let first = claim(key(run_id(), 0), generation);
    let second = update(&first);
    let mut rolled_back = second.clone();
    rolled_back.write_id = random::write_id();
    let (early, late, never) = (action("early", 1.0), action("late", 2.0), action("never", 3.0));
    let write = |record: &shoal::domain::task::TaskRecord, entry: &bson::Document| {
        DocumentWrite::Task(TaskWrite { record: record.clone().into(), actions: vec![entry.clone()] })
    };
    // The newer version arrives first; the older one's entry belongs in the log all the same.
    let batch = [write(&second, &late), write(&first, &early), write(&rolled_back, &never)];
    assert_eq!(store.commit(generation, &batch).await.unwrap(), [Applied, Superseded, RolledBack]);
    assert_eq!(store.commit(generation, &batch[..2]).await.unwrap(), [Superseded, Superseded]);
    let log = store.find_actions(&ActionQuery::default(), 10).await.unwrap();
    assert_eq!(log, [late, early]);
}

async fn a_batch_reports_each_document_in_order(store: SharedStore) {
    let generation = first_generation(&store).await;
    let run = run_id();
    let records: Vec<_> = (0..500).map(|n| claim(key(run, n), generation)).collect();
    let batch: Vec<_> = records.iter().map(task_write).collect();
    assert_eq!(store.commit(generation, &batch).await.unwrap(), vec![Applied; 500]);
    assert_eq!(store.next_task(run).await.unwrap().0, 500);
    assert_eq!(store.commit(generation, &[]).await.unwrap(), []);
    let page = store.tasks(run, shoal::domain::ids::TaskId(498), 10).await.unwrap();
    assert_eq!(page, &records[498..]);
}

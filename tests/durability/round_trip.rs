//! A task comes back from its document, and from the store, as it went in.

use std::sync::Arc;

use bson::{Bson, Document};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use shoal::domain::action::{CloseCause, CloseKind};
use shoal::domain::ids::{Generation, Millis, ShortWorkerName, Version, WriteId};
use shoal::domain::results::Stats;
use shoal::domain::spsa::SpsaEntry;
use shoal::domain::task::{BadMark, BodyDigest, Contribution, SpsaRound, TailEntry, TaskRecord, TaskWorker};
use shoal::store::SharedStore;
use shoal::store::codec::{read_task, task_document};
use shoal::sys::random;

use super::fixtures::*;

on_every_store!(any_task_comes_back_from_the_store);

const MAX: u64 = i64::MAX as u64;

fn scalar() -> impl Strategy<Value = Bson> {
    prop_oneof![
        any::<i32>().prop_map(Bson::Int32),
        any::<i64>().prop_map(Bson::Int64),
        prop_oneof![Just(f64::INFINITY), Just(-0.0), any::<i32>().prop_map(f64::from), -1e300..1e300]
            .prop_map(Bson::Double),
        any::<bool>().prop_map(Bson::Boolean),
        any::<String>().prop_map(Bson::String),
        any::<i64>().prop_map(|ms| Bson::DateTime(bson::DateTime::from_millis(ms))),
        Just(Bson::Null),
    ]
}

/// A document whose keys are no known field's.
fn unknown() -> impl Strategy<Value = Document> {
    vec(("x[a-zé.]{0,6}", scalar()), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

fn stats() -> impl Strategy<Value = Stats> {
    let count = prop_oneof![0..1000_u64, Just(MAX)];
    vec(count, 10).prop_map(|n| Stats {
        wins: n[0],
        losses: n[1],
        draws: n[2],
        crashes: n[3],
        time_losses: n[4],
        pentanomial: [n[5], n[6], n[7], n[8], n[9]],
    })
}

fn worker() -> impl Strategy<Value = (TaskWorker, Document)> {
    ("[a-zA-Z0-9]{2,9}", 1..500_u32, "[0-9a-f]{8}", "[0-9.:a-f]{0,20}", unknown()).prop_map(
        |(username, concurrency, first, remote_addr, extra)| {
            let unique_key = format!("{first}-5a28-4b1c-9d0e-0123456789ab");
            let mut info = Document::new();
            info.insert("username", username.clone());
            info.insert("concurrency", i32::try_from(concurrency).unwrap());
            info.insert("unique_key", unique_key.clone());
            info.extend(extra);
            info.insert("country_code", "?");
            let short_name = ShortWorkerName(format!("{username}-{concurrency}cores-{first}"));
            (TaskWorker { username, unique_key, short_name, concurrency, remote_addr }, info)
        },
    )
}

fn tail() -> impl Strategy<Value = Vec<TailEntry>> {
    let sprt = any::<[i64; 8]>().prop_map(Contribution::Sprt);
    let spsa =
        (0..MAX, any::<Vec<u8>>(), 0..MAX, 0..MAX, 0..MAX).prop_map(|(iter, flips, wins, losses, pairs)| {
            Contribution::Spsa(SpsaEntry { iter, packed_flips: flips, wins, losses, pairs })
        });
    vec((0..MAX, prop_oneof![sprt, spsa]).prop_map(|(seq, what)| TailEntry { seq, what }), 0..4)
}

fn bad_mark() -> impl Strategy<Value = BadMark> {
    let residual = prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(10.0), -9.0..9.0];
    (any::<u32>(), stats(), residual, any::<String>(), unknown()).prop_map(
        |(position, stats, residual, residual_color, extra)| BadMark {
            position,
            stats,
            residual,
            residual_color,
            extra,
        },
    )
}

fn cause() -> impl Strategy<Value = CloseCause> {
    let kind = prop_oneof![
        Just(CloseKind::Completed),
        Just(CloseKind::Failed),
        Just(CloseKind::Stale),
        Just(CloseKind::Dead)
    ];
    (kind, any::<String>(), any::<i64>(), any::<[[u8; 12]; 2]>()).prop_map(|(kind, message, time, ids)| {
        CloseCause { kind, message, time: Millis(time), ids: ids.map(bson::oid::ObjectId::from_bytes) }
    })
}

prop_compose! {
    fn record()(
        numbers in (0..u32::MAX, 1..=MAX, 0..=MAX, 0..=MAX),
        write_id in any::<u64>(),
        active in any::<bool>(),
        last_updated in any::<i64>(),
        stats in stats(),
        worker in option::of(worker()),
        spsa_round in option::of((0..MAX, any::<Vec<u8>>())),
        digests in vec(any::<u64>(), 0..17),
        tail in tail(),
        cause in option::of(cause()),
        bad in option::of(bad_mark()),
        extra in unknown(),
    ) -> TaskRecord {
        let (task, version, num_games, start) = numbers;
        let (worker, worker_info) = match worker {
            Some((worker, info)) => (Some(worker), info),
            None => (None, Document::new()),
        };
        TaskRecord {
            key: key(run_id(), task),
            generation: Generation(1),
            version: Version(version),
            write_id: WriteId(write_id),
            num_games,
            start,
            active,
            last_updated: Millis(last_updated),
            // Derived: not a field of the document.
            answered: version > 1 || stats.games() > 0,
            stats,
            worker,
            worker_info: Arc::new(worker_info),
            spsa_round: spsa_round.map(|(iter, packed_flips)| SpsaRound { iter, packed_flips }),
            digests: digests.into_iter().map(BodyDigest).collect(),
            tail,
            cause,
            bad,
            extra,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_task_comes_back_from_its_document(record in record()) {
        let doc = task_document(&record).unwrap();
        let back = read_task(record.key, record.generation, record.version, record.write_id, doc).unwrap();
        prop_assert_eq!(back, record);
    }
}

async fn any_task_comes_back_from_the_store(store: SharedStore) {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let generation = first_generation(&store).await;
    let mut runner = TestRunner::deterministic();
    let mut records: Vec<TaskRecord> =
        (0..200).map(|_| record().new_tree(&mut runner).unwrap().current()).collect();
    for record in &mut records {
        record.key.run = run_id();
        record.write_id = random::write_id();
    }
    let batch: Vec<_> = records.iter().map(task_write).collect();
    store.commit(generation, &batch).await.unwrap();
    for record in &records {
        assert_eq!(store.task(record.key).await.unwrap().as_ref(), Some(record));
    }
}

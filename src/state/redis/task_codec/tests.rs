use super::*;
use crate::domain::ids::{RunId, TaskId};
use crate::sys::random;

fn full() -> TaskRecord {
    TaskRecord {
        key: TaskKey { run: RunId(random::object_id()), task: TaskId(3) },
        generation: Generation(9),
        version: Version(12),
        write_id: WriteId(u64::MAX),
        num_games: 400,
        start: 1 << 50,
        active: true,
        last_updated: Millis(-5),
        stats: Stats {
            wins: 1,
            losses: 2,
            draws: 3,
            crashes: 4,
            time_losses: 5,
            pentanomial: [1, 0, 2, 0, 9],
        },
        worker: Some(TaskWorker {
            username: "ünï|code".to_owned(),
            unique_key: "k".repeat(40),
            short_name: ShortWorkerName("carol-8cores-00000001".to_owned()),
            concurrency: 8,
            remote_addr: "2001:db8::1".to_owned(),
        }),
        worker_info: Arc::new(doc! { "nps": 1.5e6, "uname": "Linux\n", "version": [1, 2] }),
        spsa_round: Some(SpsaRound { iter: 7, packed_flips: vec![0x80, 1] }),
        answered: true,
        digests: vec![BodyDigest(0), BodyDigest(u64::MAX)],
        tail: vec![
            TailEntry { seq: 4, what: Contribution::Sprt([-1, 2, 0, 0, 1, 0, -3, 0]) },
            TailEntry {
                seq: 5,
                what: Contribution::Spsa(SpsaEntry {
                    iter: 6,
                    packed_flips: vec![255],
                    wins: 1,
                    losses: 0,
                    pairs: 8,
                }),
            },
        ],
        cause: Some(CloseCause {
            kind: CloseKind::Failed,
            message: "a\nb".to_owned(),
            time: Millis(77),
            ids: [random::object_id(), random::object_id()],
        }),
        bad: Some(BadMark {
            position: 2,
            stats: Stats::default(),
            residual: f64::INFINITY,
            residual_color: "red".to_owned(),
            extra: doc! { "x": 1 },
        }),
        extra: doc! { "unknown": { "deep": true } },
    }
}

#[test]
fn a_task_survives_being_packed() {
    let mut record = full();
    for _ in 0..2 {
        let view = unpack(record.key, &pack(&record).unwrap(), "").unwrap();
        assert_eq!(*view.record, record);
        assert_eq!(view.durable, record.version);
        let seen = unpack(record.key, &pack(&record).unwrap(), "99").unwrap();
        assert_eq!(seen.record.last_updated, Millis(99));
        record = TaskRecord::void(record.key, 0, 2, Millis(1));
    }
}

#[test]
fn a_living_task_begins_as_a_heartbeat_expects() {
    let record = full();
    let worker = record.worker.clone().unwrap();
    let head = living_head(&worker.unique_key, &worker.username).unwrap();
    assert!(pack(&record).unwrap().starts_with(&head));
    assert!(!pack(&TaskRecord { active: false, ..record.clone() }).unwrap().starts_with(&head));
    assert!(!pack(&TaskRecord { answered: false, ..record.clone() }).unwrap().starts_with(&head));
    let other = living_head(&worker.unique_key, "mallory").unwrap();
    assert!(!pack(&record).unwrap().starts_with(&other));
}

#[test]
fn damage_is_told_and_breaks_nothing() {
    let record = full();
    let packed = pack(&record).unwrap();
    for length in 0..packed.len() {
        assert!(unpack(record.key, &packed[..length], "").is_err(), "{length}");
    }
    for at in 0..packed.len() {
        let mut wrong = packed.clone();
        wrong[at] ^= 0x55;
        let _ = unpack(record.key, &wrong, "");
    }
}

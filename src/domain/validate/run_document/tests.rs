//! The runs that fishtest would store pass; each broken rule is named.

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Document, doc, oid::ObjectId};

use super::*;

fn stats(wins: i32, losses: i32, draws: i32, pentanomial: [i32; 5]) -> Document {
    doc! {
        "wins": wins, "losses": losses, "draws": draws, "crashes": 0, "time_losses": 0,
        "pentanomial": pentanomial.to_vec(),
    }
}

fn worker_info() -> Document {
    doc! {
        "uname": "Linux 6.8.0", "architecture": ["64bit", "ELF"], "concurrency": 8, "max_memory": 16000,
        "min_threads": 1, "username": "bob", "version": 325, "python_version": [3, 12, 1],
        "gcc_version": [13, 2, 0], "compiler": "g++", "unique_key": "1f3c9a07-5a28-4b7d-b27b-d78d97ecf11a",
        "modified": false, "worker_arch": "x86-64-avx2", "ARCH": "64bit BMI2", "nps": 1_234_567.0,
        "near_github_api_limit": false, "remote_addr": "203.0.113.7", "country_code": "NL",
    }
}

fn task(active: bool) -> Document {
    doc! {
        "num_games": 224, "active": active, "worker_info": worker_info(), "last_updated": DateTime::from_millis(1),
        "start": 480, "stats": stats(11, 21, 32, [1, 12, 15, 4, 0]),
    }
}

fn bad_task() -> Document {
    let mut task = task(false);
    task.extend(doc! { "task_id": 0, "bad": true, "residual": 10.0, "residual_color": "red" });
    task
}

fn sprt() -> Document {
    doc! {
        "alpha": 0.05, "beta": 0.05, "elo0": 0.0, "elo1": 2.0, "elo_model": "normalized", "state": "",
        "llr": -0.01, "batch_size": 16, "lower_bound": -2.94, "upper_bound": 2.94,
        "overshoot": {
            "last_update": 272, "skipped_updates": 0, "ref0": 0, "m0": -0.01, "sq0": 0.0,
            "ref1": 0.15, "m1": 0.15, "sq1": 0,
        },
    }
}

fn args() -> Document {
    let mut args = doc! {
        "base_tag": "master", "new_tag": "my_patch",
        "base_nets": ["nn-0000000000a0.nnue"], "new_nets": [],
        "num_games": 800_000, "tc": "10+0.1", "new_tc": "10+0.1",
        "book": "UHO_Lichess_4852_v1.epd", "book_depth": "8", "threads": 1,
        "resolved_base": "a".repeat(40), "resolved_new": "b".repeat(40),
        "msg_base": "Update net", "msg_new": "Simplify X",
    };
    args.extend(doc! {
        "base_options": "Hash=16", "new_options": "Hash=16",
        "info": "Simplify X", "base_signature": "2050811", "new_signature": "2050812",
        "username": "alice", "tests_repo": "https://github.com/alice/Stockfish",
        "auto_purge": false, "throughput": 100, "itp": 90.2448, "priority": -1, "adjudication": true,
        "sprt": sprt(),
    });
    args
}

fn run() -> Document {
    let mut run = doc! {
        "_id": ObjectId::from_bytes([7; 12]), "version": 24, "args": args(),
        "start_time": DateTime::from_millis(0), "last_updated": DateTime::from_millis(1), "tc_base": 10.0,
        "tasks": [task(false), task(true)], "approved": true, "approver": "carol", "bad_tasks": [bad_task()],
        "results": stats(138, 139, 267, [4, 63, 137, 66, 2]),
    };
    run.extend(doc! {
        "workers": 1, "cores": 4, "committed_games": 704, "total_games": 704, "nps": 3_950_616.0,
        "games_per_minute": 12.2, "finished": false, "deleted": false, "failed": false, "failures": 0,
        "is_green": false, "is_yellow": false,
    });
    run
}

fn spsa_run() -> Document {
    let mut run = run();
    let args = run.get_document_mut("args").unwrap();
    args.remove("sprt");
    args.insert(
        "spsa",
        doc! {
            "algorithm": "classic", "A": 3000, "alpha": 0.602, "gamma": 0.101, "raw_params": "foo,100,0,200,10,0.002",
            "iter": 313, "num_iter": 30000,
            "params": [{
                "name": "foo", "start": 100.0, "min": 0.0, "max": 200.0, "c_end": 10.0, "r_end": 0.002, "c": 28.3,
                "a_end": 0.2, "a": 104.9, "theta": 100.2,
            }],
            "param_history": [[{ "theta": 100.2, "R": 0.003, "c": 15.9 }]],
        },
    );
    let mut playing = task(true);
    let flips = Binary { subtype: BinarySubtype::Generic, bytes: vec![0] };
    playing.insert("spsa_params", doc! { "iter": 313, "packed_flips": flips });
    run.insert("tasks", vec![playing]);
    run
}

/// Where the value at a path of keys and positions is.
fn place<'a>(document: &'a mut Document, path: &[&str]) -> (&'a mut Document, String) {
    let (last, before) = path.split_last().unwrap();
    let mut inner = document;
    for key in before {
        inner = match key.split_once('[') {
            Some((list, at)) => {
                let at: usize = at.trim_end_matches(']').parse().unwrap();
                inner.get_array_mut(list).unwrap()[at].as_document_mut().unwrap()
            }
            None => inner.get_document_mut(key).unwrap(),
        };
    }
    (inner, (*last).to_owned())
}

#[test]
fn good_runs_pass() {
    assert_eq!(check_run(&run()), Ok(()));
    assert_eq!(check_run(&spsa_run()), Ok(()));
    let mut finished = run();
    finished.extend(doc! {
        "finished": true, "is_green": true, "workers": 0, "cores": 0, "nps": 0.0, "games_per_minute": 0.0,
    });
    assert_eq!(check_run(&finished), Ok(()));
    let nobody = doc! {
        "num_games": 0, "active": false, "last_updated": DateTime::from_millis(1), "start": 0,
        "stats": stats(0, 0, 0, [0; 5]),
    };
    assert_eq!(check_task(3, &nobody), Ok(()));
}

#[test]
fn every_field_but_the_optional_ones_is_required() {
    for good in [run(), spsa_run()] {
        for path in ["", "args", "tasks[0]", "tasks[0].worker_info", "tasks[0].stats", "results"] {
            let steps: Vec<&str> = path.split('.').filter(|step| !step.is_empty()).chain(["?"]).collect();
            let mut copy = good.clone();
            let keys: Vec<String> = place(&mut copy, &steps).0.keys().cloned().collect();
            for key in keys.iter().filter(|key| !matches!(key.as_str(), "sprt" | "spsa" | "spsa_params")) {
                let mut broken = good.clone();
                place(&mut broken, &steps).0.remove(key);
                let told = check_run(&broken).expect_err(key);
                assert!(told.contains(key.as_str()), "{path}.{key}: {told}");
            }
        }
    }
}

#[test]
fn broken_rules_are_named_with_their_path() {
    let cases: Vec<(&str, Bson)> = vec![
        ("more", 1.into()),
        ("version", 24.0.into()),
        ("failures", Bson::Int32(-1)),
        ("approver", "".into()),
        ("failed", true.into()),
        ("is_green", true.into()),
        ("tc_base", 9.0.into()),
        ("start_time", "yesterday".into()),
        ("rescheduled_from", "6740".into()),
        ("results.wins", 139.into()),
        ("results.pentanomial", vec![0, 0, 0, 0].into()),
        ("args.threads", 0.into()),
        ("args.num_games", 3.into()),
        ("args.tc", "fast".into()),
        ("args.book", "book.txt".into()),
        ("args.book_depth", 8.into()),
        ("args.resolved_new", "B".repeat(40).into()),
        ("args.base_nets", vec!["a.nnue"].into()),
        ("args.tests_repo", "https://github.com/alice/Stockfish/".into()),
        ("args.arch_filter", "".into()),
        ("args.compiler", "tcc".into()),
        ("args.sprt.elo_model", "BayesElo".into()),
        ("args.sprt.state", "undecided".into()),
        ("args.sprt.illegal_update", "x".into()),
        ("args.sprt.overshoot.sq0", Bson::Double(-1.0)),
        ("args.sprt.overshoot.last_update", 1.0.into()),
        ("tasks[1].num_games", 1.into()),
        ("tasks[1].pending", true.into()),
        ("tasks[0].stats.draws", 33.into()),
        ("tasks[0].worker_info.unique_key", "x".into()),
        ("tasks[0].worker_info.python_version", vec![3, 12].into()),
        ("tasks[0].worker_info.remote_addr", "somewhere".into()),
        ("tasks[0].worker_info.country_code", "nl".into()),
        ("bad_tasks[0].residual_color", "blue".into()),
        ("bad_tasks[0].active", true.into()),
    ];
    for (path, value) in cases {
        let mut broken = run();
        let steps: Vec<&str> = path.split('.').collect();
        let (inner, key) = place(&mut broken, &steps);
        inner.insert(key, value);
        let told = check_run(&broken).expect_err(path);
        let near = path.rsplit_once('.').map_or("", |(before, _)| before);
        assert!(told.starts_with(near), "{path}: {told}");
    }
}

#[test]
fn rules_of_tuning_runs_are_named_too() {
    for (path, value) in [
        ("args.spsa.A", Bson::Int32(-1)),
        ("args.spsa.algorithm", "fancy".into()),
        ("args.spsa.params[0].c", 0.0.into()),
        ("args.spsa.params[0].theta", "x".into()),
        ("args.spsa.param_history", vec![1].into()),
        ("tasks[0].spsa_params.packed_flips", "AA==".into()),
        ("tasks[0].active", false.into()),
    ] {
        let mut broken = spsa_run();
        let steps: Vec<&str> = path.split('.').collect();
        let (inner, key) = place(&mut broken, &steps);
        inner.insert(key, value);
        assert!(check_run(&broken).is_err(), "{path}");
    }
    let mut both = spsa_run();
    both.get_document_mut("args").unwrap().insert("sprt", sprt());
    assert!(check_run(&both).unwrap_err().contains("beside sprt"));
}

//! A run as it is stored, and every refusal.

use std::str::FromStr;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn request() -> Value {
    json!({
        "base_tag": "master", "new_tag": "my_patch",
        "base_nets": ["nn-0000000000a0.nnue"], "new_nets": ["nn-0000000000a0.nnue"],
        "tc": "10+0.1", "book": "UHO_Lichess_4852_v1.epd", "book_depth": "8", "threads": 1,
        "resolved_base": "a".repeat(40), "resolved_new": "b".repeat(40),
        "msg_base": "Update net", "msg_new": "Simplify X",
        "base_options": "Hash=16", "new_options": " Hash=16\tFoo=1 ", "info": "Simplify X",
        "base_signature": "2050811", "new_signature": "2050812", "username": "alice",
        "tests_repo": "https://github.com/alice/Stockfish",
        "sprt": {"elo0": 0.0, "elo1": 2.0},
    })
}

fn with(changes: Value) -> Value {
    let mut request = request();
    for (key, value) in changes.as_object().unwrap() {
        request[key] = value.clone();
    }
    request
}

fn build(request: &Value) -> Result<Document, NewRunError> {
    let id = ObjectId::from_str("6740a2c47f2b1e5d3c9a1f10").unwrap();
    build_run(&RunForm::from_json(request)?, id, DateTime::from_millis(1_732_289_482_059))
}

fn args(request: &Value) -> Document {
    build(request).unwrap().get_document("args").unwrap().clone()
}

fn keys(document: &Document) -> Vec<&str> {
    document.keys().map(String::as_str).collect()
}

#[test]
fn a_sequential_test_is_stored_as_readers_expect_it() {
    let run = build(&request()).unwrap();
    assert_eq!(
        keys(&run),
        [
            "_id",
            "version",
            "args",
            "start_time",
            "last_updated",
            "tc_base",
            "approved",
            "approver",
            "results",
            "workers",
            "cores",
            "committed_games",
            "total_games",
            "nps",
            "games_per_minute",
            "finished",
            "deleted",
            "failed",
            "failures",
            "is_green",
            "is_yellow",
        ]
    );
    let args = run.get_document("args").unwrap();
    assert_eq!(
        keys(args),
        [
            "base_tag",
            "new_tag",
            "base_nets",
            "new_nets",
            "num_games",
            "tc",
            "new_tc",
            "book",
            "book_depth",
            "threads",
            "resolved_base",
            "resolved_new",
            "msg_base",
            "msg_new",
            "base_options",
            "new_options",
            "info",
            "base_signature",
            "new_signature",
            "username",
            "tests_repo",
            "auto_purge",
            "throughput",
            "itp",
            "priority",
            "adjudication",
            "sprt",
        ]
    );
    for (key, value) in [
        ("num_games", Bson::Int32(800_000)),
        ("threads", Bson::Int32(1)),
        ("throughput", Bson::Int32(100)),
        ("itp", Bson::Int32(100)),
        ("priority", Bson::Int32(0)),
        ("auto_purge", Bson::Boolean(false)),
        ("adjudication", Bson::Boolean(true)),
        ("new_tc", Bson::String("10+0.1".into())),
        ("book_depth", Bson::String("8".into())),
        ("new_options", Bson::String("Hash=16 Foo=1".into())),
    ] {
        assert_eq!(args.get(key), Some(&value), "{key}");
    }
    assert_eq!(run.get("version"), Some(&Bson::Int32(24)));
    assert_eq!(run.get("tc_base"), Some(&Bson::Double(10.0)));
    assert_eq!(run.get("nps"), Some(&Bson::Double(0.0)));
    assert_eq!(run.get("start_time"), run.get("last_updated"));

    let sprt = args.get_document("sprt").unwrap();
    let expected = doc! {
        "alpha": 0.05, "beta": 0.05, "elo0": 0.0, "elo1": 2.0, "elo_model": "normalized", "state": "", "llr": 0,
        "batch_size": 16, "lower_bound": -2.9444389791664403, "upper_bound": 2.9444389791664403,
        "overshoot": {
            "last_update": 0, "skipped_updates": 0, "ref0": 0, "m0": 0, "sq0": 0, "ref1": 0, "m1": 0, "sq1": 0,
        },
    };
    assert_eq!(keys(sprt), keys(&expected));
    assert_eq!(*sprt, expected);
}

#[test]
fn a_tuning_run_has_one_signature_and_its_record() {
    let spsa = json!({"A": 0.1, "alpha": "0.602", "gamma": 0.101, "raw_params": "foo,100,0,200,10,0.002\r\nbar,1,0,2,1,0"});
    let mut request = with(json!({"spsa": spsa, "num_games": 60000, "base_signature": "1"}));
    request.as_object_mut().unwrap().remove("sprt");
    let args = args(&request);
    assert_eq!(args.get_str("base_signature").unwrap(), "2050812");
    assert_eq!(args.get("num_games"), Some(&Bson::Int32(60_000)));
    let spsa = args.get_document("spsa").unwrap();
    assert_eq!(spsa.get("A"), Some(&Bson::Int32(3000)));
    assert_eq!(spsa.get_array("params").unwrap().len(), 2);
    assert!(!args.contains_key("sprt"));

    request.as_object_mut().unwrap().remove("base_signature");
    assert!(build(&request).is_ok());
    request["spsa"]["raw_params"] = json!("\n");
    assert_eq!(build(&request).unwrap_err().to_string(), "spsa: Number of params must be > 0");
    request["spsa"]["raw_params"] = json!("a,b,c");
    let refused = build(&request).unwrap_err().to_string();
    assert_eq!(refused, "spsa: the line ['a', 'b', 'c'] does not have 6 entries");
}

#[test]
fn optional_fields_are_stored_only_when_given() {
    let request = with(json!({
        "arch_filter": "avx2", "compiler": "clang++", "master_repo": "https://github.com/bob/Stockfish",
        "rescheduled_from": "6740a2c47f2b1e5d3c9a1f11", "new_tc": "20+0.2", "priority": -1, "throughput": "50",
        "auto_purge": true, "adjudication": false,
    }));
    let run = build(&request).unwrap();
    assert_eq!(run.get_str("rescheduled_from").unwrap(), "6740a2c47f2b1e5d3c9a1f11");
    let args = run.get_document("args").unwrap();
    assert_eq!(args.get_str("arch_filter").unwrap(), "avx2");
    assert_eq!(args.get_str("compiler").unwrap(), "clang++");
    assert_eq!(args.get("throughput"), Some(&Bson::Int32(50)));
    assert_eq!((args.get_bool("auto_purge").unwrap(), args.get_bool("adjudication").unwrap()), (true, false));

    let blank = build(&with(json!({"arch_filter": "", "compiler": "", "rescheduled_from": ""}))).unwrap();
    assert!(!blank.contains_key("rescheduled_from"));
    let args = blank.get_document("args").unwrap();
    assert!(!args.contains_key("arch_filter") && !args.contains_key("compiler"));
}

#[test]
fn long_sequential_tests_are_marked_once() {
    let info = |tc: &str, info: &str| {
        args(&with(json!({"tc": tc, "info": info}))).get_str("info").unwrap().to_owned()
    };
    assert_eq!(info("40+0.4", "x"), "x", "a ratio of exactly 4 is not long");
    assert_eq!(info("60+0.6", "x"), "LTC: x");
    assert_eq!(info("60+0.6", "LTC: x"), "LTC: x");
}

#[test]
fn every_violation_names_its_field() {
    let ascii = "Options must contain only ASCII characters";
    let pair = "Each option must be a 'key=value' pair with no extra spaces and exactly one '='";
    let games = |num_games: i64| json!({"num_games": num_games, "sprt": null});
    let cases = [
        (json!({"base_options": "Hash=ä"}), "base_options", ascii),
        (json!({"new_options": "Hash"}), "new_options", pair),
        (json!({"new_options": "Hash=1=2"}), "new_options", pair),
        (json!({"new_options": "=1"}), "new_options", pair),
        (json!({"new_options": "a="}), "new_options", pair),
        (json!({"base_options": " "}), "base_options", "Missing required option"),
        (json!({"info": ""}), "info", "Missing required option"),
        (json!({"base_tag": null}), "base_tag", "Missing required option"),
        (json!({"tests_repo": "http://github.com/a/b"}), "tests_repo", "https://github.com"),
        (json!({"tests_repo": "https://github.com/a/b/"}), "tests_repo", "trailing slash"),
        (json!({"tests_repo": "https://github.com/a/.."}), "tests_repo", "expected"),
        (json!({"master_repo": "https://evil.example/a/b"}), "master_repo", "expected"),
        (json!({"arch_filter": "(x"}), "arch_filter", "Invalid arch filter"),
        (json!({"arch_filter": "z80"}), "arch_filter", "filter z80 has no compatible arches"),
        (json!({"tc": "abc"}), "tc", "abc"),
        (json!({"tc": "0"}), "tc", "length"),
        (json!({"tc": "0.0001"}), "tc", "too short for a sequential test"),
        (json!({"new_tc": "1:30"}), "new_tc", "1:30"),
        (json!({"rescheduled_from": "6740A2C47F2B1E5D3C9A1F11"}), "rescheduled_from", "24"),
        (json!({"book": "book.txt"}), "book", ".epd"),
        (json!({"book": "../x.epd"}), "book", ".epd"),
        (json!({"book_depth": "08"}), "book_depth", "positive"),
        (json!({"base_signature": "x"}), "base_signature", "positive"),
        (json!({"threads": 0}), "threads", "Threads must be >= 1"),
        (json!({"threads": "x"}), "threads", "\"x\""),
        (json!({"threads": 1.5}), "threads", "1.5"),
        (json!({"throughput": -1}), "throughput", ">= 0"),
        (json!({"priority": "high"}), "priority", "high"),
        (json!({"resolved_new": "B".repeat(40)}), "resolved_new", "lower-case"),
        (json!({"base_nets": ["nn-x.nnue"]}), "base_nets", "nn-0123456789ab.nnue"),
        (json!({"new_nets": ["nn-0000000000a0.nnue", "nn-0000000000a0.nnue"]}), "new_nets", "distinct"),
        (json!({"compiler": "gcc"}), "compiler", "clang++, g++"),
        (json!({"sprt": {"elo0": 0.0}}), "sprt.elo1", "missing"),
        (json!({"sprt": {"elo0": "x", "elo1": 1}}), "sprt.elo0", "x"),
        (json!({"sprt": {"elo0": 2.0, "elo1": 2.0}}), "sprt.elo1", "greater"),
        (
            json!({"sprt": {"elo0": 0, "elo1": 2, "elo_model": "logistic"}}),
            "sprt.elo_model",
            "Unknown Elo model",
        ),
        (json!({"sprt": {"elo0": 0, "elo1": 2, "p": 1}}), "sprt.p", "Unknown option"),
        (json!({"sprt": 3}), "sprt", "object"),
        (json!({"spsa": {}}), "spsa", "combined"),
        (json!({"num_games": 1000}), "num_games", "combined"),
        (json!({"sprt": null}), "num_games", "Missing required option"),
        (games(0), "num_games", "Number of games must be >= 1000"),
        (games(1500), "num_games", "Number of games must be a multiple of 1000"),
        (games(3_201_000), "num_games", "Number of games must be <= 3200000"),
        (json!({"odds": true}), "odds", "Unknown option"),
    ];
    for (change, field, problem) in cases {
        let refused = build(&with(change.clone())).expect_err(&change.to_string()).to_string();
        assert!(refused.contains(field) && refused.contains(problem), "{change}: {refused}");
    }
}

#[test]
fn errors_survive_deserialization() {
    let refused = serde_json::from_value::<RunForm>(with(json!({"colour": "red"}))).unwrap_err();
    assert_eq!(refused.to_string(), "Unknown option: colour");
    assert!(serde_json::from_value::<RunForm>(json!([1])).is_err());
}

#[test]
fn a_run_in_one_line() {
    let line = |changes| run_summary(&build(&with(changes)).unwrap(), None);
    assert_eq!(
        line(json!({})),
        "SPRT<0.00,2.00> TC:10+0.1 Book:UHO_Lichess_4852_v1.epd Threads:1 Hash:16/16"
    );
    let long = json!({
        "tc": "60+0.6", "new_tc": "30+0.3", "threads": 8, "base_options": "Hash=64", "new_options": "Hash=512",
        "num_games": 60000, "sprt": null,
    });
    assert_eq!(
        line(long.clone()),
        "NumGames[60000] TC:60+0.6[30+0.3](LTC) Book:UHO_Lichess_4852_v1.epd Threads:8(SMP) Hash:64/512"
    );
    let reference = ProgressionReference { version: "SF_18".into(), commit: "a".repeat(40) };
    let progression = run_summary(&build(&with(long)).unwrap(), Some(&reference));
    assert!(progression.starts_with("NumGames[60000](PT:SF_18) TC:"), "{progression}");
    let spsa = json!({"A": 0.1, "alpha": 0.602, "gamma": 0.101, "raw_params": "foo,100,0,200,10,0.002"});
    assert!(
        line(json!({"spsa": spsa, "sprt": null, "num_games": 60000})).starts_with("SPSA[60000] TC:10+0.1 ")
    );

    let old = doc! { "args": { "tc": "10", "sprt": { "elo0": -1.5, "elo1": 4.5, "elo_model": "logistic" } } };
    assert_eq!(run_summary(&old, None), "SPRT{-1.50,4.50} TC:10 Book: Threads:1 Hash:0/0");
    assert_eq!(
        run_summary(&doc! { "args": { "sprt": {} } }, None),
        "SPRT[0.00,0.00] TC: Book: Threads:1 Hash:0/0"
    );
}

proptest! {
    #[test]
    fn no_text_in_any_field_makes_it_panic(
        key in prop::sample::select(request().as_object().unwrap().keys().cloned().collect::<Vec<_>>()),
        text in "(\\PC|[0-9=+/. ])*",
    ) {
        let mut request = request();
        request[&key] = json!(text);
        if let Ok(run) = build(&request) {
            run_summary(&run, None);
        }
        request[&key] = json!([text]);
        let _ = build(&request);
    }
}

//! Requests: what is taken, what is refused, and with which words.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::fields::Node;
use super::{BadRequest, Body, WorkerRequest, walk};
use crate::domain::arch::SUPPORTED_ARCHES;
use crate::domain::names::LegacyUsernames;

fn worker_info() -> Value {
    json!({
        "uname": "Linux 6.1", "architecture": ["64bit", "ELF"], "concurrency": 7, "max_memory": 5702,
        "min_threads": 1, "username": "TestWorkerUser", "version": 325, "python_version": [3, 12, 1],
        "gcc_version": [13, 2, 0], "compiler": "g++", "unique_key": "amaya-5a28-4b7d-b27b-d78d97ecf11a",
        "modified": true, "worker_arch": "x86-64-avx2", "ARCH": "?", "nps": 0.0, "near_github_api_limit": false
    })
}

fn full() -> Value {
    json!({
        "password": "secret", "worker_info": worker_info(), "run_id": "64e74776a170cb1f26fa3930", "task_id": 3,
        "pgn": "", "message": "m",
        "stats": { "wins": 1, "losses": 1, "draws": 0, "crashes": 9, "time_losses": 9, "pentanomial": [0, 0, 1, 0, 0] },
        "spsa": { "wins": 1, "losses": 2, "draws": 1, "num_games": 4, "sig": 4294967295_u64 }
    })
}

fn check(bytes: &[u8]) -> Result<WorkerRequest, BadRequest> {
    let none = LegacyUsernames::default();
    let body = Body::parse(bytes)?;
    body.access(&none)?;
    body.full(&none)
}

fn message(value: &Value) -> String {
    check(value.to_string().as_bytes()).expect_err(&value.to_string()).to_string()
}

/// `full()` with the value at a JSON pointer replaced.
fn with(pointer: &str, value: Value) -> Value {
    let mut request = full();
    *request.pointer_mut(pointer).unwrap() = value;
    request
}

/// `full()` without the key at a JSON pointer.
fn without(parent: &str, key: &str) -> Value {
    let mut request = full();
    request.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
    request
}

#[test]
fn a_complete_request_is_read_in_one_pass() {
    let text = full().to_string();
    let body = Body::parse(text.as_bytes()).unwrap();
    assert!(body.typed.is_some());
    let access = body.access(&LegacyUsernames::default()).unwrap();
    assert_eq!((access.username.as_ref(), access.password.as_ref()), ("TestWorkerUser", "secret"));
    assert!(!format!("{access:?}").contains("secret"));
    let request = body.full(&LegacyUsernames::default()).unwrap();
    assert!(!format!("{request:?}").contains("secret"));
    assert_eq!(request.task_id, Some(3));
    assert_eq!(request.run_id.unwrap().to_string(), "64e74776a170cb1f26fa3930");
    assert_eq!(request.worker_info.long_name(), "TestWorkerUser-7cores-amaya-5a28*");
    assert_eq!(serde_json::to_string(&request.worker_info).unwrap(), worker_info().to_string());
}

#[test]
fn the_optional_keys_are_optional() {
    let text = json!({ "password": "", "worker_info": worker_info() }).to_string();
    let request = check(text.as_bytes()).unwrap();
    assert!(request.run_id.is_none() && request.stats.is_none() && request.spsa.is_none());
}

#[test]
fn what_is_not_json_says_so_and_nothing_else() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let deep_key = format!("{{\"password\":\"\",\"x\":{deep}}}");
    for bytes in [
        &b""[..],
        b"{",
        b"nonsense",
        b"{\"a\":NaN}",
        b"{\"a\":Infinity}",
        b"{} {}",
        b"{\"a\":1,}",
        b"\xff\xfe{}",
        b"{\"password\":\"\xff\"}",
        deep.as_bytes(),
        deep_key.as_bytes(),
        b"{\"password\":\"\\ud800\"}",
    ] {
        assert_eq!(check(bytes), Err(BadRequest::NotJson));
    }
    assert_eq!(BadRequest::NotJson.to_string(), "request is not json encoded");
}

#[test]
fn the_access_schema_is_lax() {
    let none = LegacyUsernames::default();
    let text = r#"{"password":"p","worker_info":{"username":"ab","new":1},"other":[1,{}]}"#;
    let body = Body::parse(text.as_bytes()).unwrap();
    assert_eq!(body.access(&none).unwrap().username, "ab");
    assert!(body.full(&none).unwrap_err().to_string().contains("request['other'] is not in the schema"));
    for (text, words) in [
        ("[]", "request is not of type 'dict'"),
        ("7", "request is not of type 'dict'"),
        ("{}", "request['password'] is missing"),
        (r#"{"password":1}"#, "request['password'] is not of type 'str'"),
        (r#"{"password":null}"#, "request['password'] is not of type 'str'"),
        (r#"{"password":""}"#, "request['worker_info'] is missing"),
        (r#"{"password":"","worker_info":[]}"#, "request['worker_info'] (value:[]) is not of type 'dict'"),
        (r#"{"password":"","worker_info":{}}"#, "request['worker_info']['username'] is missing"),
        (
            r#"{"password":"","worker_info":{"username":"a b"}}"#,
            "request['worker_info']['username'] (value:a b) is not a valid username",
        ),
    ] {
        let error = Body::parse(text.as_bytes()).unwrap().access(&none).unwrap_err();
        assert_eq!(error.to_string(), words);
    }
}

#[test]
fn listed_old_usernames_are_valid() {
    let legacy: LegacyUsernames = ["old name"].into_iter().collect();
    let text = with("/worker_info/username", json!("old name")).to_string();
    let body = Body::parse(text.as_bytes()).unwrap();
    assert!(body.access(&LegacyUsernames::default()).is_err());
    assert_eq!(body.access(&legacy).unwrap().username, "old name");
    assert_eq!(body.full(&legacy).unwrap().worker_info.username, "old name");
}

#[test]
fn every_missing_and_every_unknown_key_is_named() {
    for (parent, path) in [
        ("", "request"),
        ("/worker_info", "request['worker_info']"),
        ("/stats", "request['stats']"),
        ("/spsa", "request['spsa']"),
    ] {
        let keys: Vec<String> =
            full().pointer(parent).unwrap().as_object().unwrap().keys().cloned().collect();
        for key in keys {
            let optional = ["task_id", "pgn", "message", "stats", "spsa"].contains(&key.as_str());
            if parent.is_empty() && optional {
                assert!(check(without(parent, &key).to_string().as_bytes()).is_ok(), "{key}");
            } else {
                assert_eq!(message(&without(parent, &key)), format!("{path}['{key}'] is missing"));
            }
            let null = with(&format!("{parent}/{key}"), Value::Null);
            assert!(message(&null).starts_with(&format!("{path}['{key}'] ")), "{}", message(&null));
        }
        let mut extra = full();
        extra.pointer_mut(parent).unwrap()["foo"] = json!(1);
        assert_eq!(message(&extra), format!("{path}['foo'] is not in the schema"));
    }
}

#[test]
fn every_violation_names_its_field_and_the_value() {
    let info = "request['worker_info']";
    for (pointer, value, words) in [
        ("/run_id", json!("zz"), "request['run_id'] (value:zz) is not a run id (24 hex digits)".to_owned()),
        ("/run_id", json!(7), "request['run_id'] (value:7) is not of type 'str'".to_owned()),
        ("/task_id", json!(-1), "request['task_id'] (value:-1) is not greater than or equal to 0".to_owned()),
        ("/task_id", json!(7.0), "request['task_id'] (value:7.0) is not of type 'int'".to_owned()),
        ("/task_id", json!(true), "request['task_id'] (value:true) is not of type 'int'".to_owned()),
        ("/pgn", json!([]), "request['pgn'] (value:[]) is not of type 'str'".to_owned()),
        ("/worker_info/architecture", json!(["x"]), format!("{info}['architecture'][1] is missing")),
        (
            "/worker_info/architecture",
            json!(["x", "y", 3]),
            format!("{info}['architecture'][2] is not in the schema"),
        ),
        (
            "/worker_info/architecture",
            json!(["x", 1]),
            format!("{info}['architecture'][1] (value:1) is not of type 'str'"),
        ),
        (
            "/worker_info/concurrency",
            json!(0),
            format!("{info}['concurrency'] (value:0) is not strictly greater than 0"),
        ),
        (
            "/worker_info/min_threads",
            json!(0),
            format!("{info}['min_threads'] (value:0) is not strictly greater than 0"),
        ),
        (
            "/worker_info/max_memory",
            json!(-5),
            format!("{info}['max_memory'] (value:-5) is not greater than or equal to 0"),
        ),
        (
            "/worker_info/max_memory",
            json!(u64::MAX),
            format!("{info}['max_memory'] (value:18446744073709551615) does not fit 64 bits"),
        ),
        ("/worker_info/python_version", json!([3, 8]), format!("{info}['python_version'][2] is missing")),
        (
            "/worker_info/gcc_version",
            json!([1, 2, -3]),
            format!("{info}['gcc_version'][2] (value:-3) is not greater than or equal to 0"),
        ),
        (
            "/worker_info/compiler",
            json!("icc"),
            format!("{info}['compiler'] (value:icc) is neither 'clang++' nor 'g++'"),
        ),
        (
            "/worker_info/unique_key",
            json!("amaya\n"),
            format!("{info}['unique_key'] (value:amaya ) is not a valid unique key"),
        ),
        ("/worker_info/modified", json!(1), format!("{info}['modified'] (value:1) is not of type 'bool'")),
        (
            "/worker_info/worker_arch",
            json!("z80"),
            format!("{info}['worker_arch'] (value:z80) is not a supported architecture"),
        ),
        ("/worker_info/nps", json!("1"), format!("{info}['nps'] (value:1) is not of type 'float'")),
        ("/worker_info/nps", json!(true), format!("{info}['nps'] (value:true) is not of type 'float'")),
        (
            "/worker_info/nps",
            json!(-0.5),
            format!("{info}['nps'] (value:-0.5) is not greater than or equal to 0"),
        ),
        ("/stats/wins", json!("1"), "request['stats']['wins'] (value:1) is not of type 'int'".to_owned()),
        (
            "/stats",
            json!([1, 1, 0, 9, 9, [0, 0, 1, 0, 0]]),
            "request['stats'] (value:[1,1,0,9,9,[0,0,1,0,0]]) is not of type 'dict'".to_owned(),
        ),
        ("/spsa/num_games", json!(3), "request['spsa']['num_games'] (value:3) is not even".to_owned()),
    ] {
        assert_eq!(message(&with(pointer, value)), words);
    }
    assert!(message(&with("/spsa/num_games", json!(6))).starts_with("request['spsa'] (value:{"));
    assert_eq!(message(&without("", "run_id")), "request['run_id'] is missing");
    let long = message(&with("/worker_info/worker_arch", json!("é".repeat(10_000))));
    assert!(long.contains(&("é".repeat(100) + "...")) && long.chars().count() < 250);
}

#[test]
fn games_must_agree_with_pairs() {
    let stats = |w: u64, l: u64, d: u64, p: [u64; 5]| {
        with(
            "/stats",
            json!({ "wins": w, "losses": l, "draws": d, "crashes": 0, "time_losses": 0, "pentanomial": p }),
        )
    };
    assert!(check(stats(0, 0, 0, [0; 5]).to_string().as_bytes()).is_ok());
    for bad in [
        stats(100, 60, 40, [10, 10, 40, 30, 10]),
        stats(1, 1, 1, [0, 0, 1, 0, 0]),
        stats(2, 0, 0, [0, 0, 1, 0, 0]),
        stats(i64::MAX as u64, 0, 0, [0, 0, 0, 0, i64::MAX as u64]),
    ] {
        assert!(message(&bad).starts_with("request['stats'] (value:{"), "{}", message(&bad));
    }
}

#[test]
fn both_kinds_of_speed_every_arch_and_both_compilers_are_taken() {
    for (nps, is_float) in [(json!(1_000_000), false), (json!(1.5e6), true)] {
        let request = check(with("/worker_info/nps", nps.clone()).to_string().as_bytes()).unwrap();
        assert_eq!(request.worker_info.nps.is_f64(), is_float);
        let stored = request.worker_info.to_document();
        assert_eq!(stored.get_i32("nps").is_err(), is_float);
        assert_eq!(stored.len(), 16);
    }
    for arch in SUPPORTED_ARCHES.into_iter().chain(["unknown"]) {
        assert!(
            check(with("/worker_info/worker_arch", json!(arch)).to_string().as_bytes()).is_ok(),
            "{arch}"
        );
    }
    assert!(check(with("/worker_info/compiler", json!("clang++")).to_string().as_bytes()).is_ok());
}

#[test]
fn odd_but_valid_spellings_are_taken() {
    let upper = check(with("/run_id", json!("64E74776A170CB1F26FA3930")).to_string().as_bytes()).unwrap();
    assert_eq!(upper.run_id.unwrap().to_string(), "64e74776a170cb1f26fa3930");
    assert_eq!(
        check(with("/task_id", json!(5_000_000_000_u64)).to_string().as_bytes()).unwrap().task_id,
        Some(5_000_000_000)
    );
    let info = worker_info();
    let twice =
        format!(r#" {{"password":1,"worker_info":{info},"message":"a","message":"\u0062","password":"p"}} "#);
    let request = check(twice.as_bytes()).unwrap();
    assert_eq!((request.password.as_str(), request.message.as_deref()), ("p", Some("b")));
}

fn mutated() -> impl Strategy<Value = String> {
    let pointers: Vec<&'static str> = vec![
        "/password",
        "/run_id",
        "/task_id",
        "/stats",
        "/stats/wins",
        "/stats/pentanomial",
        "/spsa",
        "/spsa/sig",
        "/spsa/num_games",
        "/worker_info/nps",
        "/worker_info/concurrency",
        "/worker_info/architecture",
        "/worker_info/username",
        "/worker_info/unique_key",
        "/worker_info/gcc_version",
        "/worker_info/modified",
    ];
    let values: Vec<Value> = vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(2),
        json!(7.0),
        json!(u64::MAX),
        json!(i64::MAX),
        json!("ab"),
        json!(""),
        json!([]),
        json!([1, 2, 3]),
        json!(["a", "b"]),
        json!({}),
        json!({ "wins": 1 }),
        json!("64E74776A170CB1F26FA3930"),
    ];
    let change = (proptest::sample::select(pointers), proptest::sample::select(values));
    proptest::collection::vec(change, 0..3).prop_map(|changes| {
        let mut request = full();
        for (pointer, value) in changes {
            if let Some(slot) = request.pointer_mut(pointer) {
                *slot = value;
            }
        }
        request.to_string()
    })
}

proptest! {
    #[test]
    fn the_fast_and_the_thorough_way_agree(text in mutated()) {
        let none = LegacyUsernames::default();
        let fast = Body::parse(text.as_bytes()).unwrap().full(&none);
        prop_assert_eq!(fast, walk::request(&Node::root(&text), &none));
    }

    #[test]
    fn arbitrary_bodies_never_panic(bytes in any::<Vec<u8>>(), text in any::<String>()) {
        let _ = check(&bytes);
        let _ = check(text.as_bytes());
    }

    #[test]
    fn truncated_bodies_are_refused(cut in 0_usize..600) {
        let text = full().to_string();
        prop_assume!(cut < text.len());
        prop_assert_eq!(check(&text.as_bytes()[..cut]), Err(BadRequest::NotJson));
    }
}

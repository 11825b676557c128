//! Queries: what is read, what is refused, what matches.

use bson::oid::ObjectId;
use bson::{Bson, Document, doc};
use proptest::prelude::*;

use super::{ActionQuery, QueryError};

fn query(text: &str) -> ActionQuery {
    ActionQuery::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn matches(text: &str, document: &Document) -> bool {
    query(text).matches(document)
}

#[test]
fn null_and_the_empty_object_ask_for_everything() {
    for text in ["null", "{}", " {} "] {
        assert_eq!(query(text), ActionQuery::default());
        assert!(matches(text, &doc! {}));
        assert_eq!(query(text).to_filter(), doc! {});
    }
}

#[test]
fn what_is_not_an_object_is_not_a_query() {
    for text in ["", "{", "[]", "\"x\"", "1", "true", "[{}]", "{\"a\":NaN}"] {
        assert_eq!(ActionQuery::parse(text.as_bytes()), Err(QueryError::NotAQuery), "{text}");
    }
    assert_eq!(ActionQuery::parse(&[0xff, 0xfe]), Err(QueryError::NotAQuery));
}

#[test]
fn the_shapes_that_pages_send_match_what_they_mean() {
    let finished = doc! { "action": "finished_run", "run_id": "a1", "time": 1000.5 };
    let list = r#"{"action":{"$in":["finished_run","stop_run","delete_run"]},"run_id":{"$in":["a1","a2"]}}"#;
    assert!(matches(list, &finished));
    assert!(!matches(list, &doc! { "action": "finished_run", "run_id": "a3" }));
    assert!(!matches(list, &doc! { "action": "new_run", "run_id": "a1" }));
    let since = r#"{"action":{"$in":["finished_run","stop_run"]},"run_id":"a1","time":{"$gte":1000}}"#;
    assert!(matches(since, &finished));
    assert!(!matches(since, &doc! { "action": "finished_run", "run_id": "a1", "time": 999.9 }));
    assert!(matches(r#"{"action":"new_run","run_id":"a1"}"#, &doc! { "action": "new_run", "run_id": "a1" }));
}

#[test]
fn everything_beyond_the_subset_is_refused() {
    let many_keys = format!("{{{}}}", (0..17).map(|i| format!("\"k{i}\":1")).collect::<Vec<_>>().join(","));
    let long = "x".repeat(501);
    let list = format!("[{}]", vec!["1"; 201].join(","));
    let clauses = format!("[{}]", ["{}"; 9].join(","));
    let mut bad = vec![
        many_keys,
        format!(r#"{{"run":"{long}"}}"#),
        format!(r#"{{"run":{{"$in":["{long}"]}}}}"#),
        format!(r#"{{"time":{{"$in":{list}}}}}"#),
        format!(r#"{{"$and":{clauses}}}"#),
        r#"{"$and":[]}"#.into(),
        r#"{"$and":[1]}"#.into(),
        r#"{"$and":{"run":"x"}}"#.into(),
        r#"{"$and":[{"$and":[{}]}]}"#.into(),
        r#"{"password":"x"}"#.into(),
        r#"{"run.id":"x"}"#.into(),
        r#"{"":"x"}"#.into(),
        r#"{"run":{}}"#.into(),
        r#"{"run":{"x":1}}"#.into(),
        r#"{"run":[1]}"#.into(),
        r#"{"run":{"$eq":[1]}}"#.into(),
        r#"{"run":{"$eq":{"a":1}}}"#.into(),
        r#"{"run":{"$in":"x"}}"#.into(),
        r#"{"run":{"$in":[["x"]]}}"#.into(),
        r#"{"run":{"$exists":1}}"#.into(),
        r#"{"time":18446744073709551615}"#.into(),
    ];
    for operator in [
        "$where",
        "$expr",
        "$function",
        "$regex",
        "$text",
        "$not",
        "$nor",
        "$or",
        "$elemMatch",
        "$jsonSchema",
        "$type",
        "$size",
        "$mod",
        "$comment",
    ] {
        bad.push(format!(r#"{{"{operator}":"x"}}"#));
        bad.push(format!(r#"{{"run":{{"{operator}":"x"}}}}"#));
    }
    for text in bad {
        assert_eq!(ActionQuery::parse(text.as_bytes()), Err(QueryError::Unsupported), "{text}");
    }
    assert_eq!(QueryError::Unsupported.to_string(), "Unsupported query");
    assert_eq!(query(&format!(r#"{{"run":"{}"}}"#, "é".repeat(500))).all.len(), 1);
}

#[test]
fn a_missing_field_equals_null_and_is_unlike_anything_else() {
    let missing = doc! {};
    let null = doc! { "run": Bson::Null };
    let text = doc! { "run": "x" };
    for (test, on_missing, on_null, on_text) in [
        (r#"null"#, true, true, false),
        (r#"{"$eq":null}"#, true, true, false),
        (r#"{"$ne":null}"#, false, false, true),
        (r#"{"$in":[null]}"#, true, true, false),
        (r#"{"$nin":[null]}"#, false, false, true),
        (r#"{"$gte":null}"#, true, true, false),
        (r#"{"$gt":null}"#, false, false, false),
        (r#"{"$lte":null}"#, true, true, false),
        (r#"{"$lt":null}"#, false, false, false),
        (r#"{"$exists":true}"#, false, true, true),
        (r#"{"$exists":false}"#, true, false, false),
        (r#""x""#, false, false, true),
        (r#"{"$ne":"x"}"#, true, true, false),
        (r#"{"$nin":["x","y"]}"#, true, true, false),
        (r#"{"$nin":[]}"#, true, true, true),
        (r#"{"$in":[]}"#, false, false, false),
    ] {
        let text_query = format!(r#"{{"run":{test}}}"#);
        assert_eq!(matches(&text_query, &missing), on_missing, "{test} on a missing field");
        assert_eq!(matches(&text_query, &null), on_null, "{test} on null");
        assert_eq!(matches(&text_query, &text), on_text, "{test} on a string");
    }
}

#[test]
fn numbers_compare_across_their_types_and_types_do_not_mix() {
    for value in [Bson::Int32(7), Bson::Int64(7), Bson::Double(7.0)] {
        let document = doc! { "time": value };
        for (test, holds) in [
            ("7", true),
            ("7.0", true),
            ("7.5", false),
            (r#"{"$gt":6.5}"#, true),
            (r#"{"$gt":7}"#, false),
            (r#"{"$lt":7.5}"#, true),
            (r#"{"$lte":7}"#, true),
            (r#"{"$gt":""}"#, false),
            (r#"{"$lt":"x"}"#, false),
            (r#"{"$lt":true}"#, false),
            (r#"{"$lt":1e300}"#, true),
            (r#"{"$gt":-1e300}"#, true),
        ] {
            assert_eq!(matches(&format!(r#"{{"time":{test}}}"#), &document), holds, "{document} {test}");
        }
    }
    assert!(!matches(r#"{"time":{"$lt":5}}"#, &doc! { "time": f64::NAN }));
    assert!(matches(r#"{"time":{"$ne":5}}"#, &doc! { "time": f64::NAN }));
    // 2^53 + 1 has no double.
    let large = doc! { "time": 9_007_199_254_740_993_i64 };
    assert!(!matches(r#"{"time":9007199254740992.0}"#, &large));
    assert!(matches(r#"{"time":{"$gt":9007199254740992.0}}"#, &large));
    assert!(
        matches(r#"{"run":{"$gt":true}}"#, &doc! { "run": true })
            != matches(r#"{"run":{"$gte":true}}"#, &doc! { "run": true })
    );
    assert!(matches(r#"{"run":{"$gt":"a","$lt":"c"}}"#, &doc! { "run": "b" }));
    assert!(matches(r#"{"run":{"$gt":"Z"}}"#, &doc! { "run": "a" }));
}

#[test]
fn ids_are_identities_in_the_field_id_only() {
    let hex = "64e74776a170cb1f26fa3930";
    let id = ObjectId::parse_str(hex).unwrap();
    assert!(matches(&format!(r#"{{"_id":"{hex}"}}"#), &doc! { "_id": id }));
    assert!(matches(&format!(r#"{{"_id":"{}"}}"#, hex.to_uppercase()), &doc! { "_id": id }));
    assert!(!matches(&format!(r#"{{"_id":{{"$gt":"{hex}"}}}}"#), &doc! { "_id": id }));
    assert!(matches(&format!(r#"{{"run_id":"{hex}"}}"#), &doc! { "run_id": hex }));
    assert!(!matches(r#"{"_id":"zz"}"#, &doc! { "_id": id }));
}

#[test]
fn clauses_and_repeated_operators_must_all_hold() {
    let text = r#"{"run":"x","$and":[{"time":{"$gt":1}},{"time":{"$lt":3}},{}]}"#;
    assert!(matches(text, &doc! { "run": "x", "time": 2 }));
    assert!(!matches(text, &doc! { "run": "x", "time": 3 }));
    assert!(!matches(text, &doc! { "run": "y", "time": 2 }));
    assert_eq!(
        query(r#"{"run":"x","time":{"$gte":1.5}}"#).to_filter(),
        doc! { "$and": [{ "run": { "$eq": "x" } }, { "time": { "$gte": 1.5 } }] }
    );
}

#[test]
fn an_array_matches_through_its_elements() {
    let document = doc! { "run": ["x", 3] };
    assert!(matches(r#"{"run":"x"}"#, &document));
    assert!(matches(r#"{"run":{"$gt":2}}"#, &document));
    assert!(!matches(r#"{"run":{"$ne":"x"}}"#, &document));
    assert!(!matches(r#"{"run":"y"}"#, &document));
}

fn near_valid() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        Just("1.5".to_owned()),
        Just("\"x\"".to_owned()),
        Just("[1,\"x\"]".to_owned()),
    ];
    let key = prop_oneof![Just("run"), Just("_id"), Just("time"), Just("$and"), Just("other")];
    let operator =
        prop_oneof![Just("$eq"), Just("$nin"), Just("$in"), Just("$gt"), Just("$exists"), Just("$or")];
    let field = (key, operator, scalar, any::<bool>()).prop_map(|(key, operator, scalar, plain)| {
        if plain { format!("\"{key}\":{scalar}") } else { format!("\"{key}\":{{\"{operator}\":{scalar}}}") }
    });
    proptest::collection::vec(field, 0..4).prop_map(|fields| format!("{{{}}}", fields.join(",")))
}

proptest! {
    #[test]
    fn arbitrary_bodies_never_panic(bytes in any::<Vec<u8>>(), text in any::<String>()) {
        let _ = ActionQuery::parse(&bytes);
        let _ = ActionQuery::parse(text.as_bytes());
    }

    #[test]
    fn near_valid_queries_read_or_refuse_and_negations_are_opposites(text in near_valid()) {
        if let Ok(query) = ActionQuery::parse(text.as_bytes()) {
            let _ = query.matches(&doc! { "run": "x", "time": 1.5, "_id": 3 });
            prop_assert_eq!(query.all.is_empty(), query.to_filter().is_empty());
        }
    }

    #[test]
    fn integers_and_doubles_are_ordered_exactly(whole in any::<i64>(), double in any::<f64>()) {
        prop_assume!(double.is_finite());
        let document = doc! { "time": whole };
        let below = matches(&format!("{{\"time\":{{\"$lt\":{double:?}}}}}"), &document);
        let equal = matches(&format!("{{\"time\":{double:?}}}"), &document);
        let above = matches(&format!("{{\"time\":{{\"$gt\":{double:?}}}}}"), &document);
        prop_assert_eq!(u8::from(below) + u8::from(equal) + u8::from(above), 1);
    }
}

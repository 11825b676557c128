//! Every form of extended JSON, and the way back.

use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Document, doc};
use proptest::prelude::*;

use super::{ExtendedJsonError, from_extended_json, to_extended_json};

fn value(text: &str) -> Bson {
    let line = format!("{{\"x\":{text}}}");
    from_extended_json(&line).unwrap_or_else(|error| panic!("{line}: {error}")).remove("x").unwrap()
}

#[test]
fn every_form_is_read_as_its_type() {
    let date = Bson::DateTime(DateTime::from_millis(1_732_289_482_059));
    let binary = Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 2, 3] });
    for (text, expected) in [
        ("1", Bson::Int32(1)),
        ("5000000000", Bson::Int64(5_000_000_000)),
        ("10.0", Bson::Double(10.0)),
        ("1e3", Bson::Double(1000.0)),
        ("null", Bson::Null),
        ("true", Bson::Boolean(true)),
        (r#"{"$numberInt":"7"}"#, Bson::Int32(7)),
        (r#"{"$numberLong":"7"}"#, Bson::Int64(7)),
        (r#"{"$numberLong":7}"#, Bson::Int64(7)),
        (r#"{"$numberDouble":"10.0"}"#, Bson::Double(10.0)),
        (r#"{"$numberDouble":"Infinity"}"#, Bson::Double(f64::INFINITY)),
        (r#"{"$numberDouble":"-Infinity"}"#, Bson::Double(f64::NEG_INFINITY)),
        (
            r#"{"$oid":"64e74776a170cb1f26fa3930"}"#,
            Bson::ObjectId(ObjectId::parse_str("64e74776a170cb1f26fa3930").unwrap()),
        ),
        (r#"{"$date":"2024-11-22T15:31:22.059Z"}"#, date.clone()),
        (r#"{"$date":"2024-11-22T15:31:22.059+0000"}"#, date.clone()),
        (r#"{"$date":"2024-11-22T16:31:22.059+01:00"}"#, date.clone()),
        (r#"{"$date":{"$numberLong":"1732289482059"}}"#, date.clone()),
        (r#"{"$date":1732289482059}"#, date),
        (
            r#"{"$date":{"$numberLong":"-62135596800000"}}"#,
            Bson::DateTime(DateTime::from_millis(-62_135_596_800_000)),
        ),
        (r#"{"$binary":{"base64":"AQID","subType":"00"}}"#, binary.clone()),
        (r#"{"$binary":"AQID","$type":"00"}"#, binary.clone()),
        (r#"{"$type":0,"$binary":"AQID"}"#, binary),
        (r#"{"$undefined":true}"#, Bson::Undefined),
        (r#"{"$numberDecimal":"1.5"}"#, Bson::Decimal128("1.5".parse().unwrap())),
        (r#"{"$oid":"x","other":1}"#, Bson::Document(doc! { "$oid": "x", "other": 1 })),
        (r#"{"$ref":"c","$id":1}"#, Bson::Document(doc! { "$ref": "c", "$id": 1 })),
        (r#"[{"$numberInt":"1"},[]]"#, Bson::Array(vec![Bson::Int32(1), Bson::Array(vec![])])),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
    assert!(matches!(value(r#"{"$numberDouble":"NaN"}"#), Bson::Double(d) if d.is_nan()));
}

#[test]
fn impossible_values_are_refused() {
    for text in [
        r#"{"$oid":"zz"}"#,
        r#"{"$oid":1}"#,
        r#"{"$date":"yesterday"}"#,
        r#"{"$date":{}}"#,
        r#"{"$date":"+0000"}"#,
        r#"{"$numberInt":"5000000000"}"#,
        r#"{"$numberLong":"x"}"#,
        r#"{"$numberDouble":"inf"}"#,
        r#"{"$binary":{"base64":"?","subType":"00"}}"#,
        r#"{"$timestamp":{"t":-1,"i":0}}"#,
    ] {
        let error = from_extended_json(&format!("{{\"x\":{text}}}")).unwrap_err();
        assert!(matches!(error, ExtendedJsonError::BadValue { .. }), "{text}: {error}");
    }
    assert!(matches!(
        from_extended_json(r#"{"x":18446744073709551615}"#),
        Err(ExtendedJsonError::BadNumber(_))
    ));
    assert_eq!(from_extended_json("[]"), Err(ExtendedJsonError::NotADocument));
    assert!(matches!(from_extended_json("{"), Err(ExtendedJsonError::NotJson(_))));
}

#[test]
fn canonical_form_keeps_every_type_and_the_order() {
    let line = "{\"z\":{\"$numberInt\":\"1\"},\"a\":{\"$numberLong\":\"1\"},\"d\":{\"$numberDouble\":\"10.0\"},\
                \"t\":{\"$date\":{\"$numberLong\":\"-1\"}},\"b\":{\"$binary\":{\"base64\":\"AQID\",\"subType\":\"00\"}},\
                \"r\":{\"$regularExpression\":{\"pattern\":\"a\",\"options\":\"i\"}},\"m\":{\"$minKey\":1},\
                \"s\":{\"$timestamp\":{\"t\":1,\"i\":2}},\"c\":{\"$code\":\"x\",\"$scope\":{}},\"l\":[true,null,\"é\"]}";
    assert_eq!(to_extended_json(&from_extended_json(line).unwrap()), line);
}

fn any_bson() -> impl Strategy<Value = Bson> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(Bson::Int32),
        any::<i64>().prop_map(Bson::Int64),
        any::<f64>().prop_filter("NaN differs from itself", |d| !d.is_nan()).prop_map(Bson::Double),
        any::<String>().prop_map(Bson::String),
        any::<bool>().prop_map(Bson::Boolean),
        any::<i64>().prop_map(|ms| Bson::DateTime(DateTime::from_millis(ms))),
        any::<[u8; 12]>().prop_map(|bytes| Bson::ObjectId(ObjectId::from_bytes(bytes))),
        any::<Vec<u8>>().prop_map(|bytes| Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes })),
        Just(Bson::Null),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Bson::Array),
            proptest::collection::vec(("[a-z.]{0,5}", inner), 0..4)
                .prop_map(|pairs| Bson::Document(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn documents_make_the_round_trip(value in any_bson()) {
        let document: Document = doc! { "x": value };
        prop_assert_eq!(from_extended_json(&to_extended_json(&document)), Ok(document));
    }

    #[test]
    fn arbitrary_lines_never_panic(text in any::<String>(), marker in "\\$(date|oid|binary|numberDouble)", inner in "\\PC{0,12}") {
        let _ = from_extended_json(&text);
        let line = serde_json::json!({ "x": { marker: inner } }).to_string();
        let _ = from_extended_json(&line);
    }
}

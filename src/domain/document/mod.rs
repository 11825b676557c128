//! Stored documents on their way out and in: the JSON of the public API, and MongoDB's extended JSON for import and
//! export (`spec/read-api.md` sections 1 and 4.2; `spec/storage.md` section 1).

mod extended;

use std::io::Write;

use bson::{Bson, Document};
use time::OffsetDateTime;

pub use extended::{
    ExtendedJsonError, from_extended_json, to_extended_json, value_from_extended_json, value_to_extended_json,
};

use crate::domain::ids::Millis;

/// What stands for a date that a document lacks.
pub const UNKNOWN_DATE: &str = "Unknown";

/// `YYYY-MM-DD HH:MM:SS[.ffffff]+00:00`, without the fraction when it is zero. A date outside the years 1 to 9999
/// has no such text and becomes [`UNKNOWN_DATE`].
pub fn date_string(at: Millis) -> String {
    let date = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000);
    let Some(date) = date.ok().filter(|date| (1..=9999).contains(&date.year())) else {
        return UNKNOWN_DATE.to_owned();
    };
    let fraction = match date.microsecond() {
        0 => String::new(),
        micros => format!(".{micros:06}"),
    };
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}{fraction}+00:00",
        date.year(),
        u8::from(date.month()),
        date.day(),
        date.hour(),
        date.minute(),
        date.second(),
    )
}

/// The text of a run's or task's date field, [`UNKNOWN_DATE`] when very old documents lack it.
pub fn date_or_unknown(document: &Document, key: &str) -> String {
    match document.get(key) {
        Some(Bson::DateTime(date)) => date_string(Millis(date.timestamp_millis())),
        _ => UNKNOWN_DATE.to_owned(),
    }
}

/// The public JSON of a document: compact, keys in stored order, non-ASCII characters as they are.
pub fn to_json(document: &Document) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    write_document(&mut out, document);
    out
}

/// Appends the public JSON of a document to `out`.
pub fn write_document(out: &mut Vec<u8>, document: &Document) {
    out.push(b'{');
    for (i, (key, value)) in document.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_string(out, key);
        out.push(b':');
        write_value(out, value);
    }
    out.push(b'}');
}

/// Appends the public JSON of a value to `out`.
///
/// Integers have no point, doubles always have a point or an exponent and read back as the same double; what JSON
/// cannot hold becomes text: `inf`, `-inf`, `nan`, dates, object ids. Binary becomes an array of bytes.
pub fn write_value(out: &mut Vec<u8>, value: &Bson) {
    match value {
        Bson::Double(double) => write_double(out, *double),
        Bson::Int32(whole) => write_text(out, format_args!("{whole}")),
        Bson::Int64(whole) => write_text(out, format_args!("{whole}")),
        Bson::String(text) | Bson::Symbol(text) | Bson::JavaScriptCode(text) => write_string(out, text),
        Bson::Boolean(true) => out.extend_from_slice(b"true"),
        Bson::Boolean(false) => out.extend_from_slice(b"false"),
        Bson::Null | Bson::Undefined => out.extend_from_slice(b"null"),
        Bson::ObjectId(id) => write_string(out, &id.to_hex()),
        Bson::DateTime(date) => write_string(out, &date_string(Millis(date.timestamp_millis()))),
        Bson::Binary(binary) => write_array(out, &binary.bytes, |out, byte| {
            write_text(out, format_args!("{byte}"));
        }),
        Bson::Array(values) => write_array(out, values, write_value),
        Bson::Document(document) => write_document(out, document),
        Bson::Decimal128(decimal) => write_string(out, &decimal.to_string()),
        // The farm stores nothing else; old documents must not make an answer fail.
        other => write_string(out, &other.to_string()),
    }
}

fn write_array<T>(out: &mut Vec<u8>, values: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, value);
    }
    out.push(b']');
}

fn write_double(out: &mut Vec<u8>, double: f64) {
    if double.is_nan() {
        write_string(out, "nan");
    } else if double.is_infinite() {
        write_string(out, if double > 0.0 { "inf" } else { "-inf" });
    } else {
        out.extend_from_slice(double_text(double).as_bytes());
    }
}

/// The shortest text that reads back as the same finite double, with a point or an exponent.
fn double_text(double: f64) -> String {
    format!("{double:?}")
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

fn write_text(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use bson::oid::ObjectId;
    use bson::spec::BinarySubtype;
    use bson::{Binary, DateTime, doc};
    use proptest::prelude::*;

    use super::*;

    fn json(document: &Document) -> String {
        String::from_utf8(to_json(document)).unwrap()
    }

    #[test]
    fn dates_are_text_and_omit_a_zero_fraction() {
        assert_eq!(date_string(Millis(1_732_289_482_059)), "2024-11-22 15:31:22.059000+00:00");
        assert_eq!(date_string(Millis(1_732_289_482_000)), "2024-11-22 15:31:22+00:00");
        assert_eq!(date_string(Millis(-62_135_596_800_000)), "0001-01-01 00:00:00+00:00");
        assert_eq!(date_string(Millis(253_402_300_799_999)), "9999-12-31 23:59:59.999000+00:00");
        assert_eq!(date_string(Millis(-1)), "1969-12-31 23:59:59.999000+00:00");
    }

    #[test]
    fn dates_without_a_text_are_unknown() {
        assert_eq!(date_string(Millis(-62_135_596_800_001)), "Unknown");
        assert_eq!(date_string(Millis(253_402_300_800_000)), "Unknown");
        assert_eq!(date_string(Millis(i64::MIN)), "Unknown");
        assert_eq!(date_string(Millis(i64::MAX)), "Unknown");
        let document = doc! { "a": DateTime::from_millis(0), "b": 1 };
        assert_eq!(date_or_unknown(&document, "a"), "1970-01-01 00:00:00+00:00");
        assert_eq!(date_or_unknown(&document, "b"), "Unknown");
        assert_eq!(date_or_unknown(&document, "c"), "Unknown");
    }

    #[test]
    fn every_stored_type_has_its_public_form() {
        let id = ObjectId::parse_str("64e74776a170cb1f26fa3930").unwrap();
        let document = doc! {
            "z": 1, "a": 5_000_000_000_i64, "d": 10.0, "e": 0.1, "inf": f64::INFINITY, "minus": f64::NEG_INFINITY,
            "nan": f64::NAN, "s": "a\"\\\n\u{1}é", "t": true, "f": false, "n": Bson::Null, "id": id,
            "date": DateTime::from_millis(1), "list": [1, 2.0, "x", []], "doc": {},
            "bin": Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 127, 255] },
        };
        assert_eq!(
            json(&document),
            "{\"z\":1,\"a\":5000000000,\"d\":10.0,\"e\":0.1,\"inf\":\"inf\",\"minus\":\"-inf\",\"nan\":\"nan\",\
             \"s\":\"a\\\"\\\\\\n\\u0001é\",\"t\":true,\"f\":false,\"n\":null,\"id\":\"64e74776a170cb1f26fa3930\",\
             \"date\":\"1970-01-01 00:00:00.001000+00:00\",\"list\":[1,2.0,\"x\",[]],\"doc\":{},\
             \"bin\":[0,127,255]}"
        );
    }

    proptest! {
        #[test]
        fn dates_never_panic(ms in any::<i64>()) {
            let text = date_string(Millis(ms));
            prop_assert!(text == UNKNOWN_DATE || text.ends_with("+00:00"));
        }

        #[test]
        fn finite_doubles_read_back_as_doubles(double in any::<f64>().prop_filter("finite", |d| d.is_finite())) {
            let text = json(&doc! { "x": double });
            let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert!(parsed["x"].is_f64());
            prop_assert_eq!(parsed["x"].as_f64().unwrap().to_bits(), double.to_bits());
        }

        #[test]
        fn any_string_is_written_as_json(key in any::<String>(), text in any::<String>()) {
            let mut document = Document::new();
            document.insert(key.clone(), text.clone());
            let parsed: serde_json::Value = serde_json::from_slice(&to_json(&document)).unwrap();
            prop_assert_eq!(parsed.get(&key).and_then(|v| v.as_str()), Some(text.as_str()));
        }
    }
}

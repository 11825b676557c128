//! MongoDB's extended JSON, as `mongoexport` writes it: canonical and relaxed, and the older forms of dates, binary
//! and regular expressions. One document per line.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bson::oid::ObjectId;
use bson::raw::CString;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::double_text;
use crate::domain::bson_number::int;

/// Why a line is not a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtendedJsonError {
    /// The line is not JSON, or nested beyond the parser's limit (127).
    #[error("not JSON: {0}")]
    NotJson(String),
    /// The line is JSON, but not an object.
    #[error("not a document")]
    NotADocument,
    /// A type marker such as `$date` with a value that it cannot have.
    #[error("'{marker}' has an impossible value: {value}")]
    BadValue {
        /// The marker.
        marker: &'static str,
        /// Its value, shortened.
        value: String,
    },
    /// An integer beyond 64 bits.
    #[error("the number {0} does not fit 64 bits")]
    BadNumber(String),
    /// A binary or a regular expression that BSON cannot hold.
    #[error("'{0}' cannot be stored")]
    Unstorable(&'static str),
}

/// Reads one document. Plain integers become 32-bit ones when they fit, else 64-bit ones; plain numbers with a point
/// or an exponent become doubles. An object whose keys are not exactly those of a type marker is a document.
pub fn from_extended_json(line: &str) -> Result<Document, ExtendedJsonError> {
    let value: Value =
        serde_json::from_str(line).map_err(|error| ExtendedJsonError::NotJson(error.to_string()))?;
    match value {
        Value::Object(object) => document(object),
        _ => Err(ExtendedJsonError::NotADocument),
    }
}

/// Reads one value of a document, as [`from_extended_json`] would read it there.
pub fn value_from_extended_json(text: &str) -> Result<Bson, ExtendedJsonError> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| ExtendedJsonError::NotJson(error.to_string()))?;
    bson(value)
}

fn document(object: Map<String, Value>) -> Result<Document, ExtendedJsonError> {
    object.into_iter().map(|(key, value)| Ok((key, bson(value)?))).collect()
}

fn bson(value: Value) -> Result<Bson, ExtendedJsonError> {
    match value {
        Value::Null => Ok(Bson::Null),
        Value::Bool(flag) => Ok(Bson::Boolean(flag)),
        Value::Number(number) => plain_number(&number),
        Value::String(text) => Ok(Bson::String(text)),
        Value::Array(values) => Ok(Bson::Array(values.into_iter().map(bson).collect::<Result<_, _>>()?)),
        Value::Object(object) => match typed(&object)? {
            Some(value) => Ok(value),
            None => Ok(Bson::Document(document(object)?)),
        },
    }
}

fn plain_number(number: &serde_json::Number) -> Result<Bson, ExtendedJsonError> {
    if let Some(whole) = number.as_i64() {
        return Ok(int(whole));
    }
    match number.as_f64() {
        Some(double) if number.is_f64() => Ok(Bson::Double(double)),
        _ => Err(ExtendedJsonError::BadNumber(number.to_string())),
    }
}

fn bad(marker: &'static str, value: &Value) -> ExtendedJsonError {
    ExtendedJsonError::BadValue { marker, value: value.to_string().chars().take(100).collect() }
}

/// The value that a type marker stands for; `None` when the object is an ordinary document.
fn typed(object: &Map<String, Value>) -> Result<Option<Bson>, ExtendedJsonError> {
    // Every marker begins with a dollar sign, and none has a third key.
    if object.is_empty() || object.len() > 2 || !object.keys().all(|key| key.starts_with('$')) {
        return Ok(None);
    }
    let alone = |marker: &str| if object.len() == 1 { object.get(marker) } else { None };
    if let Some(value) = alone("$oid") {
        return object_id(value).map(Some);
    }
    if let Some(value) = alone("$date") {
        return date(value).map(Some);
    }
    if let Some(value) = alone("$numberInt") {
        let whole = number_text(value).and_then(|text| text.parse::<i32>().ok());
        return whole.map(|whole| Some(Bson::Int32(whole))).ok_or_else(|| bad("$numberInt", value));
    }
    if let Some(value) = alone("$numberLong") {
        return long(value).map(|whole| Some(Bson::Int64(whole))).ok_or_else(|| bad("$numberLong", value));
    }
    if let Some(value) = alone("$numberDouble") {
        return double(value)
            .map(|double| Some(Bson::Double(double)))
            .ok_or_else(|| bad("$numberDouble", value));
    }
    if let Some(value) = alone("$numberDecimal") {
        let decimal = number_text(value).and_then(|text| text.parse::<Decimal128>().ok());
        return decimal.map(|d| Some(Bson::Decimal128(d))).ok_or_else(|| bad("$numberDecimal", value));
    }
    if let Some(value) = alone("$symbol") {
        let text = value.as_str().ok_or_else(|| bad("$symbol", value))?;
        return Ok(Some(Bson::Symbol(text.to_owned())));
    }
    if alone("$undefined").is_some() {
        return Ok(Some(Bson::Undefined));
    }
    if alone("$minKey").is_some() {
        return Ok(Some(Bson::MinKey));
    }
    if alone("$maxKey").is_some() {
        return Ok(Some(Bson::MaxKey));
    }
    if let Some(value) = alone("$timestamp") {
        return timestamp(value).map(Some);
    }
    if let Some(value) = object.get("$binary") {
        return binary(object, value);
    }
    if let Some(value) = object.get("$code") {
        return code(object, value);
    }
    if let Some(value) = alone("$regularExpression") {
        return regex(value.get("pattern"), value.get("options"), value).map(Some);
    }
    match object.get("$regex") {
        Some(value) if object.contains_key("$options") => {
            regex(Some(value), object.get("$options"), value).map(Some)
        }
        _ => Ok(None),
    }
}

/// Digits in a string, or a bare number, which older tools write.
fn number_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn long(value: &Value) -> Option<i64> {
    number_text(value)?.parse().ok()
}

fn double(value: &Value) -> Option<f64> {
    match number_text(value)?.as_str() {
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        // Rust also reads words such as "inf", which are not of the format.
        text if text.ends_with(|c: char| c.is_ascii_digit() || c == '.') => text.parse().ok(),
        _ => None,
    }
}

fn object_id(value: &Value) -> Result<Bson, ExtendedJsonError> {
    let id = value.as_str().and_then(|text| ObjectId::parse_str(text).ok());
    id.map(Bson::ObjectId).ok_or_else(|| bad("$oid", value))
}

fn date(value: &Value) -> Result<Bson, ExtendedJsonError> {
    let millis = match value {
        Value::String(text) => date_text(text),
        Value::Number(number) => number.as_i64(),
        Value::Object(inner) if inner.len() == 1 => inner.get("$numberLong").and_then(long),
        _ => None,
    };
    millis.map(|ms| Bson::DateTime(DateTime::from_millis(ms))).ok_or_else(|| bad("$date", value))
}

/// Milliseconds of an ISO 8601 date; the offset may lack its colon.
fn date_text(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let sign = bytes.len().checked_sub(5).and_then(|at| bytes.get(at));
    let mut normal = text.to_owned();
    if matches!(sign, Some(b'+' | b'-')) && text.is_ascii() {
        normal.insert(text.len() - 2, ':');
    }
    let date = OffsetDateTime::parse(&normal, &Rfc3339).ok()?;
    i64::try_from(date.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

fn timestamp(value: &Value) -> Result<Bson, ExtendedJsonError> {
    let part = |key: &str| value.get(key).and_then(Value::as_u64).and_then(|part| u32::try_from(part).ok());
    match (part("t"), part("i")) {
        (Some(time), Some(increment)) => Ok(Bson::Timestamp(Timestamp { time, increment })),
        _ => Err(bad("$timestamp", value)),
    }
}

/// `{"$binary": {"base64", "subType"}}`, or the older `{"$binary": base64, "$type": subtype}`.
fn binary(object: &Map<String, Value>, value: &Value) -> Result<Option<Bson>, ExtendedJsonError> {
    let (base64, subtype) = match (object.get("$type"), value) {
        (Some(subtype), Value::String(_)) => (Some(value), Some(subtype)),
        (None, Value::Object(inner)) if object.len() == 1 => (inner.get("base64"), inner.get("subType")),
        _ => return Ok(None),
    };
    let bytes = base64.and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
    let subtype = match subtype {
        Some(Value::String(hex)) => u8::from_str_radix(hex, 16).ok(),
        Some(Value::Number(number)) => number.as_u64().and_then(|n| u8::try_from(n).ok()),
        _ => None,
    };
    match (bytes, subtype) {
        (Some(bytes), Some(subtype)) => {
            Ok(Some(Bson::Binary(Binary { subtype: BinarySubtype::from(subtype), bytes })))
        }
        _ => Err(bad("$binary", value)),
    }
}

fn code(object: &Map<String, Value>, value: &Value) -> Result<Option<Bson>, ExtendedJsonError> {
    let code = value.as_str().ok_or_else(|| bad("$code", value))?.to_owned();
    match object.get("$scope") {
        None if object.len() == 1 => Ok(Some(Bson::JavaScriptCode(code))),
        Some(Value::Object(scope)) => {
            let scope = document(scope.clone())?;
            Ok(Some(Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code, scope })))
        }
        _ => Ok(None),
    }
}

fn regex(pattern: Option<&Value>, options: Option<&Value>, whole: &Value) -> Result<Bson, ExtendedJsonError> {
    match (pattern.and_then(Value::as_str), options.and_then(Value::as_str)) {
        (Some(pattern), Some(options)) => {
            let unstorable = |_| ExtendedJsonError::Unstorable("$regularExpression");
            let pattern = CString::try_from(pattern).map_err(unstorable)?;
            let options = CString::try_from(options).map_err(unstorable)?;
            Ok(Bson::RegularExpression(Regex { pattern, options }))
        }
        _ => Err(bad("$regularExpression", whole)),
    }
}

/// Writes one document in canonical form, which keeps every type, on one line without the line's end.
pub fn to_extended_json(document: &Document) -> String {
    let mut out = String::with_capacity(1024);
    write_document(&mut out, document);
    out
}

/// Writes one value in canonical extended JSON.
pub fn value_to_extended_json(value: &Bson) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    out
}

fn write_document(out: &mut String, document: &Document) {
    out.push('{');
    for (i, (key, value)) in document.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(out, key);
        out.push(':');
        write_value(out, value);
    }
    out.push('}');
}

fn write_value(out: &mut String, value: &Bson) {
    match value {
        Bson::String(text) => write_string(out, text),
        Bson::Boolean(flag) => write_all(out, format_args!("{flag}")),
        Bson::Null => out.push_str("null"),
        Bson::Document(document) => write_document(out, document),
        Bson::Array(values) => {
            out.push('[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(out, value);
            }
            out.push(']');
        }
        Bson::Int32(whole) => write_marked(out, "$numberInt", &whole.to_string()),
        Bson::Int64(whole) => write_marked(out, "$numberLong", &whole.to_string()),
        Bson::Double(double) => write_marked(out, "$numberDouble", &canonical_double(*double)),
        Bson::Decimal128(decimal) => write_marked(out, "$numberDecimal", &decimal.to_string()),
        Bson::ObjectId(id) => write_marked(out, "$oid", &id.to_hex()),
        Bson::Symbol(text) => write_marked(out, "$symbol", text),
        Bson::JavaScriptCode(code) => write_marked(out, "$code", code),
        Bson::DateTime(date) => {
            write_all(out, format_args!("{{\"$date\":{{\"$numberLong\":\"{}\"}}}}", date.timestamp_millis()));
        }
        Bson::Binary(binary) => {
            let base64 = STANDARD.encode(&binary.bytes);
            let subtype = u8::from(binary.subtype);
            write_all(
                out,
                format_args!("{{\"$binary\":{{\"base64\":\"{base64}\",\"subType\":\"{subtype:02x}\"}}}}"),
            );
        }
        Bson::Timestamp(Timestamp { time, increment }) => {
            write_all(out, format_args!("{{\"$timestamp\":{{\"t\":{time},\"i\":{increment}}}}}"));
        }
        Bson::Undefined => out.push_str("{\"$undefined\":true}"),
        Bson::MinKey => out.push_str("{\"$minKey\":1}"),
        Bson::MaxKey => out.push_str("{\"$maxKey\":1}"),
        Bson::RegularExpression(regex) => {
            out.push_str("{\"$regularExpression\":{\"pattern\":");
            write_string(out, regex.pattern.as_str());
            out.push_str(",\"options\":");
            write_string(out, regex.options.as_str());
            out.push_str("}}");
        }
        Bson::JavaScriptCodeWithScope(code) => {
            out.push_str("{\"$code\":");
            write_string(out, &code.code);
            out.push_str(",\"$scope\":");
            write_document(out, &code.scope);
            out.push('}');
        }
        // Deprecated by MongoDB long before the farm existed, and opaque to clients.
        Bson::DbPointer(pointer) => write_string(out, &format!("{pointer:?}")),
    }
}

fn canonical_double(double: f64) -> String {
    if double.is_nan() {
        "NaN".to_owned()
    } else if double.is_infinite() {
        if double > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else {
        double_text(double)
    }
}

fn write_marked(out: &mut String, marker: &str, text: &str) {
    write_all(out, format_args!("{{\"{marker}\":"));
    write_string(out, text);
    out.push('}');
}

fn write_string(out: &mut String, text: &str) {
    // Serialising a string does not fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

fn write_all(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
#[path = "extended_tests.rs"]
mod tests;

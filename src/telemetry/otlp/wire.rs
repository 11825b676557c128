//! Batches as OTLP has them in JSON: ids in hexadecimal, 64-bit numbers as texts.

use serde_json::{Value as Json, json};

use super::layer::{Span, Value};

/// Kinds of spans: what answers somebody, and what is done inside.
const SERVER: u8 = 2;
const INTERNAL: u8 = 1;

/// What spans are called that answer somebody.
const REQUEST: &str = "request";

/// What a span's status says that failed.
const ERROR: u8 = 2;

/// A request with these spans, told by `instance`.
pub(super) fn body(spans: &[Span], instance: &str) -> Json {
    let attribute = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            attribute("service.name", "shoal"),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
            attribute("service.instance.id", instance),
        ] },
        "scopeSpans": [{
            "scope": { "name": "shoal" },
            "spans": spans.iter().map(span).collect::<Vec<_>>(),
        }],
    }] })
}

fn span(span: &Span) -> Json {
    let attributes: Vec<Json> =
        span.attributes.iter().map(|(key, value)| json!({ "key": key, "value": any_value(value) })).collect();
    let mut json = json!({
        "traceId": format!("{:032x}", span.trace),
        "spanId": format!("{:016x}", span.id),
        "name": span.name,
        "kind": if span.name == REQUEST { SERVER } else { INTERNAL },
        "startTimeUnixNano": span.start.to_string(),
        "endTimeUnixNano": span.end.to_string(),
        "attributes": attributes,
        "status": if span.failed { json!({ "code": ERROR }) } else { json!({}) },
    });
    if let (Some(parent), Some(object)) = (span.parent, json.as_object_mut()) {
        object.insert("parentSpanId".to_owned(), format!("{parent:016x}").into());
    }
    json
}

fn any_value(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!({ "stringValue": text }),
        Value::Int(number) => json!({ "intValue": number.to_string() }),
        Value::Float(number) => json!({ "doubleValue": number }),
        Value::Flag(flag) => json!({ "boolValue": flag }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_as_collectors_read_it() {
        let span = Span {
            trace: 0xab,
            id: 0xcd,
            parent: Some(0xef),
            name: "request",
            start: 1_700_000_000_000_000_000,
            end: 1_700_000_000_000_000_001,
            attributes: vec![("status", Value::Int(200)), ("endpoint", Value::Text("beat".to_owned()))],
            failed: true,
        };
        let body = body(&[span], "me");
        let written = &body["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(written["traceId"], "000000000000000000000000000000ab");
        assert_eq!(written["spanId"], "00000000000000cd");
        assert_eq!(written["parentSpanId"], "00000000000000ef");
        assert_eq!(written["endTimeUnixNano"], "1700000000000000001");
        assert_eq!(written["attributes"][0], json!({ "key": "status", "value": { "intValue": "200" } }));
        assert_eq!(written["status"]["code"], 2);
    }
}

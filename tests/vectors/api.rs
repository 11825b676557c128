//! `calc_elo_api.json`: the calculation behind `GET /api/calc_elo`.

use serde_json::{Value, json};
use shoal::domain::stats::calc_elo::calc_elo;

use super::compare::VectorFile;

/// Decodes a query string.
fn decode(query: &str) -> Vec<(String, String)> {
    let text = |raw: &str| -> String {
        let bytes = raw.as_bytes();
        let (mut out, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let escaped = (bytes[at] == b'%').then(|| raw.get(at + 1..at + 3)).flatten();
            match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                Some(byte) => {
                    out.push(byte);
                    at += 3;
                }
                None => {
                    out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                    at += 1;
                }
            }
        }
        String::from_utf8(out).unwrap()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (text(k), text(v))).collect()
}

#[test]
fn calculations_on_request_equal_the_reference() {
    let file = VectorFile::load("calc_elo_api.json");
    file.check_all(|case| {
        assert_eq!(case.input["method"], "GET");
        let query = decode(case.input["query"].as_str().unwrap());
        let (status, body): (u16, Value) = match calc_elo(&query) {
            Ok(answer) => (200, json!(answer)),
            Err(error) => (400, json!({"error": format!("/api/calc_elo: {error}")})),
        };
        if case.port_may_differ {
            let malformed = case.name != "numerical_failure";
            let expected = if malformed { 400 } else { 200 };
            return if status == expected { Ok(()) } else { Err(format!("actual {status} {body}")) };
        }
        let expected = json!({"status": case.expected["status"], "body": case.expected["body"]});
        file.compare(&json!({"status": status, "body": body}), &expected)
    });
}

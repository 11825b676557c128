//! Loads vector files and compares results with them.
//!
//! A vector file is one JSON object with `tolerance` and `cases`. A number matches when
//! `|actual - expected| <= abs + rel * |expected|`, with the pair of the nearest enclosing key that
//! `tolerance.fields` lists, else of `tolerance.default`. Everything else matches exactly. The strings `inf`, `-inf`
//! and `nan` stand for numbers.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::Value;

/// Result of checking one case: what differs, in words.
pub type Check = Result<(), String>;

/// Allowed difference of two numbers.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    abs: f64,
    rel: f64,
}

impl Allowance {
    fn read(value: &Value) -> Self {
        Self { abs: value["abs"].as_f64().unwrap(), rel: value["rel"].as_f64().unwrap() }
    }

    fn permits(self, actual: f64, expected: f64) -> bool {
        if expected.is_nan() || actual.is_nan() {
            return expected.is_nan() && actual.is_nan();
        }
        actual == expected || (actual - expected).abs() <= self.abs + self.rel * expected.abs()
    }
}

/// The tolerances of one file.
#[derive(Debug, Clone)]
pub struct Tolerance {
    default: Allowance,
    fields: BTreeMap<String, Allowance>,
}

/// One case of a vector file.
#[derive(Debug, Clone)]
pub struct Case {
    /// Unique within the file.
    pub name: String,
    /// What goes in.
    pub input: Value,
    /// What must come out.
    pub expected: Value,
    /// The reference itself fails here; `expected` is only one of the acceptable answers.
    pub port_may_differ: bool,
}

impl Case {
    /// `input.function`, or the empty string.
    pub fn function(&self) -> &str {
        self.input["function"].as_str().unwrap_or_default()
    }
}

/// A loaded vector file.
#[derive(Debug, Clone)]
pub struct VectorFile {
    name: String,
    /// How far numbers may differ.
    pub tolerance: Tolerance,
    /// In the order of the file.
    pub cases: Vec<Case>,
}

/// `SHOAL_VECTORS_DIR`, else the copy in the checkout.
fn directory() -> PathBuf {
    match std::env::var_os("SHOAL_VECTORS_DIR") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/data"),
    }
}

impl VectorFile {
    /// Loads `file` (such as `llr.json`); panics with the path when it cannot.
    pub fn load(file: &str) -> Self {
        let path = directory().join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let json: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let tolerance = &json["tolerance"];
        let fields = tolerance["fields"].as_object().into_iter().flatten();
        let fields = fields.map(|(key, value)| (key.clone(), Allowance::read(value))).collect();
        let cases = json["cases"].as_array().unwrap().iter().map(|case| Case {
            name: case["name"].as_str().unwrap().to_owned(),
            input: case["input"].clone(),
            expected: case["expected"].clone(),
            port_may_differ: case.get("port_may_differ").is_some(),
        });
        Self {
            name: file.to_owned(),
            tolerance: Tolerance { default: Allowance::read(&tolerance["default"]), fields },
            cases: cases.collect(),
        }
    }

    /// Checks every case that `select` takes, prints `vectors <file>: <n> cases passed`, and panics with the name,
    /// the input and the difference of each case that fails, or when no case was selected.
    pub fn check_selected(&self, select: impl Fn(&Case) -> bool, check: impl Fn(&Case) -> Check) {
        let mut passed = 0_usize;
        let mut failures = Vec::new();
        for case in self.cases.iter().filter(|case| select(case)) {
            match check(case) {
                Ok(()) => passed += 1,
                Err(why) => failures.push(format!(
                    "{} / {}: {why}\n    input:    {}\n    expected: {}",
                    self.name,
                    case.name,
                    shorten(&case.input),
                    shorten(&case.expected)
                )),
            }
        }
        // Not by `println!`, which the test harness keeps to itself.
        writeln!(std::io::stdout().lock(), "vectors {}: {passed} cases passed", self.name).unwrap();
        assert!(failures.is_empty(), "{} of {} failed\n{}", failures.len(), self.name, failures.join("\n"));
        assert!(passed > 0, "no case of {} was selected", self.name);
    }

    /// Checks every case of the file.
    pub fn check_all(&self, check: impl Fn(&Case) -> Check) {
        self.check_selected(|_| true, check);
    }

    /// Compares a computed answer with `expected` by this file's tolerances.
    pub fn compare(&self, actual: &Value, expected: &Value) -> Check {
        compare_at(&self.tolerance, self.tolerance.default, "", actual, expected)
    }
}

fn shorten(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(1500) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// A float as the vector files write it: the strings `inf`, `-inf` and `nan` for what JSON has no number for.
pub fn number(x: f64) -> Value {
    if x.is_nan() {
        Value::from("nan")
    } else if x.is_infinite() {
        Value::from(if x > 0.0 { "inf" } else { "-inf" })
    } else {
        Value::from(x)
    }
}

/// Floats as the vector files write them.
pub fn numbers(xs: &[f64]) -> Value {
    xs.iter().map(|x| number(*x)).collect()
}

/// The number that a value stands for, `inf`, `-inf` and `nan` included.
pub fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => match text.as_str() {
            "inf" => Some(f64::INFINITY),
            "-inf" => Some(f64::NEG_INFINITY),
            "nan" => Some(f64::NAN),
            _ => None,
        },
        _ => None,
    }
}

/// `input[key]` as a float; panics when it is none.
pub fn float(input: &Value, key: &str) -> f64 {
    as_number(&input[key]).unwrap_or_else(|| panic!("{key} is no number: {}", input[key]))
}

/// `input[key]` as a list of floats; panics when it is none.
pub fn floats(input: &Value, key: &str) -> Vec<f64> {
    let list = input[key].as_array().unwrap_or_else(|| panic!("{key} is no list: {}", input[key]));
    list.iter().map(|x| as_number(x).unwrap()).collect()
}

fn compare_at(
    tolerance: &Tolerance,
    allowance: Allowance,
    path: &str,
    actual: &Value,
    expected: &Value,
) -> Check {
    let differs = || Err(format!("at `{path}`: actual {actual}, expected {expected}"));
    if let (Some(a), Some(e)) = (as_number(actual), as_number(expected)) {
        // Integers are exact; two floats, or a float and an integer, follow the tolerance.
        let integers = is_integer(actual) && is_integer(expected);
        let equal = if integers { actual == expected } else { allowance.permits(a, e) };
        return if equal { Ok(()) } else { differs() };
    }
    match (actual, expected) {
        (Value::Array(a), Value::Array(e)) => {
            if a.len() != e.len() {
                return differs();
            }
            for (i, (a, e)) in a.iter().zip(e).enumerate() {
                compare_at(tolerance, allowance, &format!("{path}[{i}]"), a, e)?;
            }
            Ok(())
        }
        (Value::Object(a), Value::Object(e)) => {
            if let Some(key) = a.keys().find(|key| !e.contains_key(*key)) {
                return Err(format!("at `{path}`: surplus key `{key}` with {}", a[key]));
            }
            for (key, e) in e {
                let Some(a) = a.get(key) else {
                    return Err(format!("at `{path}`: missing key `{key}`, expected {e}"));
                };
                let allowance = tolerance.fields.get(key).copied().unwrap_or(allowance);
                compare_at(tolerance, allowance, &format!("{path}.{key}"), a, e)?;
            }
            Ok(())
        }
        (Value::String(a), Value::String(e)) if unsign_zeros(a) == unsign_zeros(e) => Ok(()),
        _ if actual == expected => Ok(()),
        _ => differs(),
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_u64() || value.is_i64()
}

/// Printed numbers within a text.
fn printed_numbers(text: &str) -> Vec<std::ops::Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let starts = bytes[at].is_ascii_digit()
            || (bytes[at] == b'-'
                && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
                && !(at > 0 && bytes[at - 1].is_ascii_alphanumeric()));
        if !starts {
            at += 1;
            continue;
        }
        let start = at;
        at += 1;
        while at < bytes.len() && bytes[at].is_ascii_digit() {
            at += 1;
        }
        if bytes.get(at) == Some(&b'.') && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
            at += 1;
            while at < bytes.len() && bytes[at].is_ascii_digit() {
                at += 1;
            }
        }
        found.push(start..at);
    }
    found
}

/// A printed `-0.00` is the same as `0.00`: the sign is rounding noise.
fn unsign_zeros(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for range in printed_numbers(text) {
        out.push_str(&text[end..range.start]);
        let printed = &text[range.clone()];
        let is_zero = printed.bytes().all(|b| matches!(b, b'-' | b'.' | b'0'));
        out.push_str(if is_zero { printed.trim_start_matches('-') } else { printed });
        end = range.end;
    }
    out.push_str(&text[end..]);
    out
}

/// Compares two texts whose numbers may differ by one unit in the last printed place; the words between them are
/// exact.
pub fn compare_printed(actual: &str, expected: &str) -> Check {
    let differs = || Err(format!("text: actual {actual:?}, expected {expected:?}"));
    let (a, e) = (printed_numbers(actual), printed_numbers(expected));
    if a.len() != e.len() || words(actual, &a) != words(expected, &e) {
        return differs();
    }
    for (a, e) in a.into_iter().zip(e) {
        let (a, e) = (&actual[a], &expected[e]);
        let decimals = |x: &str| x.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let unit = 10f64.powi(-(decimals(e) as i32));
        let gap = (a.parse::<f64>().unwrap() - e.parse::<f64>().unwrap()).abs();
        if decimals(a) != decimals(e) || gap > 1.0001 * unit {
            return differs();
        }
    }
    Ok(())
}

fn words(text: &str, numbers: &[std::ops::Range<usize>]) -> Vec<String> {
    let mut words = Vec::new();
    let mut end = 0;
    for range in numbers {
        words.push(text[end..range.start].to_owned());
        end = range.end;
    }
    words.push(text[end..].to_owned());
    words
}

#[test]
fn a_comparison_that_should_fail_does_fail() {
    let file = VectorFile::load("llr.json");
    let differs = |a: &str, e: &str| {
        let (a, e) = (serde_json::from_str(a).unwrap(), serde_json::from_str(e).unwrap());
        file.compare(&a, &e).is_err()
    };
    assert!(differs("1", "2") && differs("1.0", "1.001") && differs("\"inf\"", "1e300"));
    assert!(differs("{\"a\":1}", "{}") && differs("{}", "{\"a\":1}") && differs("[1]", "[1,1]"));
    assert!(differs("\"Elo: 1.00\"", "\"Elo: 1.01\"") && differs("true", "1") && differs("null", "0"));
    assert!(!differs("1", "1.0") && !differs("\"nan\"", "\"nan\"") && !differs("\"-0.00\"", "\"0.00\""));
    assert!(!differs("{\"llr\":[1.000000009]}", "{\"llr\":[1]}") && differs("[1.000000009]", "[1]"));
    assert!(compare_printed("a 1.02 [-3.0]", "a 1.01 [-3.1]").is_ok());
    assert!(compare_printed("a 1.03", "a 1.01").is_err() && compare_printed("a 1.0", "b 1.0").is_err());
}

//! From the texts of the form to the record of a new tuning run (`spec/spsa.md` section 2).

use super::{CLASSIC, SpsaParam, SpsaRecord, storage::as_integer};
use crate::domain::number::parse_finite;

/// The texts of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpsaForm<'a> {
    /// Name of the algorithm; absent means the classic one.
    pub algorithm: Option<&'a str>,
    /// Stabilizing constant as a share of the iterations.
    pub a_ratio: &'a str,
    /// Exponent of the step.
    pub alpha: &'a str,
    /// Exponent of the perturbation.
    pub gamma: &'a str,
    /// A line per parameter: name, start, min, max, c_end, r_end.
    pub raw_params: &'a str,
}

/// Why the form is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpsaFormError {
    /// The algorithm isn't known.
    #[error("Unknown SPSA algorithm: {0}")]
    UnknownAlgorithm(String),
    /// A number is malformed or violates its bound. `place` says which number.
    #[error("Invalid SPSA {place}: expected a finite number{bound}")]
    Number {
        /// The field, with the line if it has one.
        place: String,
        /// The bound, with a leading blank, or nothing.
        bound: &'static str,
    },
    /// A line doesn't have its six fields.
    #[error("the line {0} does not have 6 entries")]
    Entries(String),
    /// There is nothing to tune.
    #[error("Number of params must be > 0")]
    NoParams,
    /// Numbers that are fine by themselves lead to gains that doubles can't hold.
    #[error("Invalid SPSA {place}: the gains are too large or too small to compute with")]
    Overflow {
        /// The field or line.
        place: String,
    },
}

#[derive(Clone, Copy)]
enum Bound {
    None,
    NotNegative,
    Positive,
}

fn number(text: &str, bound: Bound, place: impl Fn() -> String) -> Result<f64, SpsaFormError> {
    let refuse = |bound| SpsaFormError::Number { place: place(), bound };
    let number = parse_finite(text).ok_or_else(|| refuse(""))?;
    match bound {
        Bound::NotNegative if number < 0.0 => Err(refuse(" >= 0")),
        Bound::Positive if number <= 0.0 => Err(refuse(" > 0")),
        _ => Ok(number),
    }
}

/// The record of a new run with `num_games` games. A record without parameters is not refused here but by
/// [`SpsaRecord::require_params`].
pub fn create(form: &SpsaForm<'_>, num_games: u64) -> Result<SpsaRecord, SpsaFormError> {
    let algorithm = form.algorithm.unwrap_or(CLASSIC);
    if algorithm != CLASSIC {
        return Err(SpsaFormError::UnknownAlgorithm(algorithm.to_owned()));
    }
    let a_ratio = number(form.a_ratio, Bound::NotNegative, || "A ratio".into())?;
    let alpha = number(form.alpha, Bound::NotNegative, || "alpha".into())?;
    let gamma = number(form.gamma, Bound::NotNegative, || "gamma".into())?;
    let big_a = (a_ratio * num_games as f64 / 2.0).trunc();
    if as_integer(big_a).is_none() {
        return Err(SpsaFormError::Overflow { place: "A ratio".into() });
    }

    let mut record = SpsaRecord {
        algorithm: Some(CLASSIC.to_owned()),
        // Adding zero turns a negative zero into a positive one.
        big_a: big_a + 0.0,
        alpha,
        gamma,
        raw_params: form.raw_params.to_owned(),
        iter: 0,
        num_iter: num_games / 2,
        params: Vec::new(),
        param_history: None,
    };
    for (index, line) in form.raw_params.split('\n').enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let param = parse_line(line, index + 1, &record)?;
        record.params.push(param);
    }
    Ok(record)
}

impl SpsaRecord {
    /// Refuses a record without parameters.
    pub fn require_params(&self) -> Result<(), SpsaFormError> {
        if self.params.is_empty() { Err(SpsaFormError::NoParams) } else { Ok(()) }
    }
}

fn parse_line(line: &str, line_number: usize, record: &SpsaRecord) -> Result<SpsaParam, SpsaFormError> {
    let fields: Vec<&str> = line.split(',').collect();
    let [name, start, min, max, c_end, r_end] = fields.as_slice() else {
        return Err(SpsaFormError::Entries(bracketed(&fields)));
    };
    let field =
        |field: &str, text: &str, bound| number(text, bound, || format!("line {line_number} field {field}"));
    let start = field("start", start, Bound::None)?;
    let min = field("min", min, Bound::None)?;
    let max = field("max", max, Bound::None)?;
    let c_end = field("c_end", c_end, Bound::Positive)?;
    let r_end = field("r_end", r_end, Bound::NotNegative)?;

    let num_iter = record.num_iter as f64;
    let a_end = r_end * (c_end * c_end);
    let param = SpsaParam {
        name: (*name).to_owned(),
        start,
        min,
        max,
        c_end,
        r_end,
        c: c_end * libm::pow(num_iter, record.gamma),
        a_end,
        a: a_end * libm::pow(record.big_a + num_iter, record.alpha),
        theta: start,
    };
    let usable = record.gains(&param, 1).is_some() && record.gains(&param, record.num_iter.max(1)).is_some();
    if usable { Ok(param) } else { Err(SpsaFormError::Overflow { place: format!("line {line_number}") }) }
}

/// The fields as a bracketed list of quoted texts: single quotes, or double ones around a text with a single quote
/// only.
fn bracketed(fields: &[&str]) -> String {
    let quote = |field: &&str| {
        let quote = if field.contains('\'') && !field.contains('"') { '"' } else { '\'' };
        let mut quoted = String::from(quote);
        for character in field.chars() {
            match character {
                '\\' => quoted.push_str("\\\\"),
                '\t' => quoted.push_str("\\t"),
                '\r' => quoted.push_str("\\r"),
                '\'' if quote == '\'' => quoted.push_str("\\'"),
                other if other.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(other))),
                other => quoted.push(other),
            }
        }
        quoted.push(quote);
        quoted
    };
    format!("[{}]", fields.iter().map(quote).collect::<Vec<_>>().join(", "))
}

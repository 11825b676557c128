//! The record of a tuning run as pages show it (`spec/spsa.md` sections 2.6 and 7).

use serde::Serialize;
use serde_json::Value;

use super::chart::{finite, require_classic};
use super::create::SpsaFormError;
use super::storage::as_integer;
use super::{CLASSIC, SpsaRecord};

/// Table on the run page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpsaTable {
    /// The line above the table.
    pub header: String,
    /// Per parameter: name, value, start, min, max, c, c_end, r, r_end.
    pub rows: Vec<[String; 9]>,
}

/// The table on the run page, with the gains of the next round.
pub fn run_page_table(record: &SpsaRecord) -> SpsaTable {
    let k = record.iter.saturating_add(1);
    let big_a = as_integer(record.big_a).map_or_else(|| record.big_a.to_string(), |a| a.to_string());
    let header = format!("iter: {k}, A: {big_a}, alpha: {:.3}, gamma: {:.3}", record.alpha, record.gamma);
    let rows = record.params.iter().map(|param| {
        let (c, r) = match record.gains(param, k) {
            Some(gains) => (format!("{:.3}", gains.c), scientific(gains.r)),
            None => ("nan".into(), "nan".into()),
        };
        [
            param.name.clone(),
            format!("{:.2}", param.theta),
            truncated(param.start),
            truncated(param.min),
            truncated(param.max),
            c,
            format!("{:.3}", param.c_end),
            r,
            scientific(param.r_end),
        ]
    });
    SpsaTable { header, rows: rows.collect() }
}

/// Two decimals and an exponent with sign and at least two digits: `1.95e-03`.
fn scientific(number: f64) -> String {
    let text = format!("{number:.2e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// The integer part; never a negative zero.
fn truncated(number: f64) -> String {
    format!("{:.0}", number.trunc() + 0.0)
}

/// What the form shows when a run is made anew from an existing one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FormValues {
    /// Name of the algorithm.
    pub algorithm: String,
    /// Stabilizing constant as a share of the iterations.
    #[serde(rename = "A")]
    pub a_ratio: f64,
    /// Exponent of the step.
    pub alpha: f64,
    /// Exponent of the perturbation.
    pub gamma: f64,
    /// The parameters.
    pub raw_params: String,
}

/// The values to fill the form with. `spsa` is the stored record, possibly damaged; without one the defaults are
/// shown. `num_games` is the run's limit.
pub fn form_values(spsa: Option<&Value>, num_games: Option<i64>) -> Result<FormValues, SpsaFormError> {
    let mut values = FormValues {
        algorithm: CLASSIC.to_owned(),
        a_ratio: 0.1,
        alpha: 0.602,
        gamma: 0.101,
        raw_params: String::new(),
    };
    let Some(spsa) = spsa.filter(|spsa| !spsa.is_null()) else {
        return Ok(values);
    };
    require_classic(spsa)?;
    if let Some(raw_params) = spsa.get("raw_params").and_then(Value::as_str) {
        raw_params.clone_into(&mut values.raw_params);
    }
    let stored = |key| spsa.get(key).and_then(finite);
    if let Some(big_a) = stored("A") {
        values.a_ratio = match num_games {
            Some(num_games) if num_games > 0 => {
                (1000.0 * 2.0 * big_a / num_games as f64).round_ties_even() / 1000.0
            }
            _ => big_a,
        };
    }
    values.alpha = stored("alpha").unwrap_or(values.alpha);
    values.gamma = stored("gamma").unwrap_or(values.gamma);
    Ok(values)
}

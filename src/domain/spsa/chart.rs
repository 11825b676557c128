//! Data of the chart of a tuning run (`spec/spsa.md` section 8). The record may be damaged, so nothing is assumed.

use serde::Serialize;
use serde_json::Value;

use super::CLASSIC;
use super::create::SpsaFormError;
use crate::domain::number::parse_finite;

/// How far two numbers may differ and still be the same.
const SAME: f64 = 1e-9;

/// The chart's data. Never holds a number that isn't finite.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ChartPayload {
    /// Names of the parameters, in order.
    pub param_names: Vec<String>,
    /// The rows, from the start of the run to now.
    pub chart_rows: Vec<ChartRow>,
}

/// A row of the chart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChartRow {
    /// Share of the planned iterations, from 0 to 1.
    pub iter_ratio: f64,
    /// Value of each parameter.
    pub values: Vec<f64>,
    /// Perturbation of each parameter where it is known; absent in the first row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub c_values: Option<Vec<Option<f64>>>,
}

/// Value and perturbation, either of which may be unknown.
#[derive(Debug, Clone, Copy)]
struct Point {
    theta: Option<f64>,
    c: Option<f64>,
}

struct Param {
    name: String,
    start: f64,
    theta: f64,
    base_c: Option<f64>,
    live_c: Option<f64>,
}

/// A number from what a stored field holds: a number, a boolean or a text; `None` unless finite.
pub fn finite(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64().filter(|number| number.is_finite()),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::String(text) => parse_finite(text),
        _ => None,
    }
}

/// Refuses a record of an algorithm that we don't know.
pub fn require_classic(spsa: &Value) -> Result<(), SpsaFormError> {
    match spsa.get("algorithm") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(name)) if name == CLASSIC => Ok(()),
        Some(Value::String(name)) => Err(SpsaFormError::UnknownAlgorithm(name.clone())),
        Some(other) => Err(SpsaFormError::UnknownAlgorithm(other.to_string())),
    }
}

/// The chart of a stored record; `None` (an empty object on the wire) without one.
pub fn chart_payload(spsa: Option<&Value>) -> Result<Option<ChartPayload>, SpsaFormError> {
    let Some(spsa) = spsa.filter(|spsa| !spsa.is_null()) else {
        return Ok(None);
    };
    require_classic(spsa)?;
    let number = |key| spsa.get(key).and_then(finite).unwrap_or(0.0);
    let (iter, gamma, num_iter) = (number("iter"), number("gamma"), number("num_iter"));
    let ratio = |position: f64| if num_iter > 0.0 { (position / num_iter).clamp(0.0, 1.0) } else { 0.0 };

    let params = read_params(spsa, iter, gamma);
    let history = read_history(spsa);
    let matches_live = history.last().is_some_and(|last| is_live(last, &params));

    let mut rows = vec![ChartRow {
        iter_ratio: 0.0,
        values: params.iter().map(|param| param.start).collect(),
        c_values: None,
    }];
    let mut positions = recovered_positions(&history, &params, iter, gamma)
        .unwrap_or_else(|| evenly_spaced(history.len(), matches_live, ratio(iter) * num_iter.max(0.0)));
    if iter > 0.0
        && matches_live
        && let Some(last) = positions.last_mut()
    {
        *last = iter;
    }

    for (sample, position) in history.iter().zip(positions) {
        let previous = rows.last().map(|row| row.values.as_slice()).unwrap_or_default();
        let point = |i: usize| sample.get(i);
        let value =
            |(i, previous): (usize, &f64)| point(i).and_then(|point| point.theta).unwrap_or(*previous);
        rows.push(ChartRow {
            iter_ratio: ratio(position),
            values: previous.iter().enumerate().map(value).collect(),
            c_values: Some((0..params.len()).map(|i| point(i).and_then(|point| point.c)).collect()),
        });
    }
    if !history.is_empty() && iter > 0.0 && !matches_live {
        rows.push(ChartRow {
            iter_ratio: ratio(iter),
            values: params.iter().map(|param| param.theta).collect(),
            c_values: Some(params.iter().map(|param| param.live_c).collect()),
        });
    }
    let param_names = params.into_iter().map(|param| param.name).collect();
    Ok(Some(ChartPayload { param_names, chart_rows: rows }))
}

fn read_params(spsa: &Value, iter: f64, gamma: f64) -> Vec<Param> {
    let stored = spsa.get("params").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let read = |param: &Value| {
        let number = |key| param.get(key).and_then(finite);
        let theta = number("theta");
        let base_c = number("c");
        Param {
            name: param.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            start: number("start").or(theta).unwrap_or(0.0),
            theta: theta.unwrap_or(0.0),
            base_c,
            live_c: base_c.map(|c| c / libm::pow(iter + 1.0, gamma)).filter(|c| c.is_finite()),
        }
    };
    stored.iter().filter(|param| param.is_object()).map(read).collect()
}

/// The samples that hold anything.
fn read_history(spsa: &Value) -> Vec<Vec<Point>> {
    let stored = spsa.get("param_history").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let read = |entry: &Value| {
        let number = |key| entry.get(key).and_then(finite);
        Point { theta: number("theta"), c: number("c") }
    };
    let samples = stored.iter().filter_map(Value::as_array);
    let samples =
        samples.map(|sample| sample.iter().filter(|entry| entry.is_object()).map(read).collect::<Vec<_>>());
    samples.filter(|sample| !sample.is_empty()).collect()
}

/// Whether a sample is the present state of the run.
fn is_live(sample: &[Point], params: &[Param]) -> bool {
    let same = |a: Option<f64>, b: Option<f64>| matches!((a, b), (Some(a), Some(b)) if (a - b).abs() <= SAME);
    let agree = |(point, param): (&Point, &Param)| {
        same(point.theta, Some(param.theta)) && same(point.c, param.live_c)
    };
    sample.len() == params.len() && sample.iter().zip(params).all(agree)
}

/// The iterations at which the samples were taken, worked out from how far the perturbation had fallen; `None` when
/// that fails for any of them or they would run backwards.
fn recovered_positions(history: &[Vec<Point>], params: &[Param], iter: f64, gamma: f64) -> Option<Vec<f64>> {
    let mut positions: Vec<f64> = Vec::with_capacity(history.len());
    for sample in history {
        let limit = if iter > 0.0 { iter } else { f64::INFINITY };
        let position = recovered_position(sample, params, gamma)?.clamp(0.0, limit);
        if positions.last().is_some_and(|previous| position < previous - SAME) {
            return None;
        }
        positions.push(position);
    }
    Some(positions)
}

/// The median over the parameters.
fn recovered_position(sample: &[Point], params: &[Param], gamma: f64) -> Option<f64> {
    if gamma <= 0.0 {
        return None;
    }
    let mut found: Vec<f64> = Vec::new();
    for (point, param) in sample.iter().zip(params) {
        if let (Some(base), Some(c)) = (param.base_c, point.c)
            && base > 0.0
            && c > 0.0
        {
            let k = libm::pow(base / c, 1.0 / gamma);
            if k.is_finite() && k > 0.0 {
                found.push((k - 1.0).max(0.0));
            }
        }
    }
    found.sort_by(f64::total_cmp);
    let upper = *found.get(found.len() / 2)?;
    if !found.len().is_multiple_of(2) {
        return Some(upper);
    }
    let lower = *found.get((found.len() / 2).checked_sub(1)?)?;
    Some(lower + (upper - lower) / 2.0)
}

/// Positions at equal distances up to `end`, where the present state is.
fn evenly_spaced(samples: usize, matches_live: bool, end: f64) -> Vec<f64> {
    let points = if matches_live { samples } else { samples + 1 };
    (1..=samples).map(|j| j as f64 / points as f64 * end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn no_record_no_chart() {
        assert_eq!(chart_payload(None), Ok(None));
        assert_eq!(chart_payload(Some(&Value::Null)), Ok(None));
    }

    #[test]
    fn an_unknown_algorithm_is_refused() {
        for algorithm in [json!("adam"), json!(3)] {
            assert!(chart_payload(Some(&json!({"algorithm": algorithm}))).is_err());
        }
    }

    fn damaged() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            (-3_i64..200).prop_map(Value::from),
            "(inf|nan|1|x)".prop_map(Value::from),
        ];
        let key = prop::sample::select(vec!["theta", "c", "start", "name", "R"]);
        let entry = prop_oneof![
            leaf.clone(),
            prop::collection::vec((key, leaf.clone()), 0..5)
                .prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Value>()),
        ];
        let list = prop::collection::vec(entry, 0..4).prop_map(Value::from);
        let lists =
            prop::collection::vec(prop_oneof![leaf.clone(), list.clone()], 0..5).prop_map(Value::from);
        (leaf.clone(), leaf.clone(), leaf, list, lists).prop_map(|(iter, gamma, num_iter, params, history)| {
            json!({"iter": iter, "gamma": gamma, "num_iter": num_iter, "params": params, "param_history": history})
        })
    }

    proptest! {
        #[test]
        fn a_damaged_record_still_gives_finite_numbers(spsa in damaged()) {
            let payload = chart_payload(Some(&spsa)).unwrap().unwrap();
            for row in &payload.chart_rows {
                prop_assert!((0.0..=1.0).contains(&row.iter_ratio));
                prop_assert_eq!(row.values.len(), payload.param_names.len());
                prop_assert!(row.values.iter().all(|value| value.is_finite()));
                prop_assert!(row.c_values.iter().flatten().flatten().all(|c| c.is_finite()));
            }
        }
    }
}

//! How the record of a tuning run is stored (`spec/storage.md` section 3.4).

use bson::{Bson, Document, doc};
use serde::{Deserialize, Deserializer, Serializer};

use super::{HistoryPoint, SpsaParam, SpsaRecord};
use crate::domain::bson_number::int;

/// Whole numbers up to here are exact in a double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The value as an integer, if it is one that a double holds exactly.
pub fn as_integer(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

/// Writes a number as an integer where it is one: readers of old format it so.
pub fn integer_if_integral<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match as_integer(*number) {
        Some(integer) => serializer.serialize_i64(integer),
        None => serializer.serialize_f64(*number),
    }
}

/// Reads a count that may have been stored as a double.
pub fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    as_integer(number)
        .and_then(|integer| u64::try_from(integer).ok())
        .ok_or_else(|| serde::de::Error::custom("expected a whole number >= 0"))
}

/// Reads a number and refuses what JSON couldn't hold afterwards.
pub fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if number.is_finite() { Ok(number) } else { Err(serde::de::Error::custom("expected a finite number")) }
}

impl SpsaRecord {
    /// The record as it is stored in a new run.
    pub fn to_document(&self) -> Document {
        let mut document = Document::new();
        if let Some(algorithm) = &self.algorithm {
            document.insert("algorithm", algorithm);
        }
        document.insert("A", as_integer(self.big_a).map_or(Bson::Double(self.big_a), int));
        document.insert("alpha", self.alpha);
        document.insert("gamma", self.gamma);
        document.insert("raw_params", &self.raw_params);
        document.insert("iter", count(self.iter));
        document.insert("num_iter", count(self.num_iter));
        document.insert("params", self.params.iter().map(param).collect::<Vec<_>>());
        if let Some(history) = &self.param_history {
            document.insert("param_history", samples(history));
        }
        document
    }

    /// Writes what changes in the course of a run over a stored record, and leaves everything else as it is, fields
    /// that we don't know included.
    pub fn overlay(&self, stored: &mut Document) {
        stored.insert("iter", count(self.iter));
        match stored.get_array_mut("params") {
            Ok(params) if params.len() == self.params.len() => {
                for (stored, param) in params.iter_mut().zip(&self.params) {
                    if let Bson::Document(stored) = stored {
                        stored.insert("theta", param.theta);
                    }
                }
            }
            _ => {
                stored.insert("params", self.params.iter().map(param).collect::<Vec<_>>());
            }
        }
        if let Some(history) = &self.param_history {
            stored.insert("param_history", samples(history));
        }
    }
}

fn count(number: u64) -> Bson {
    int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn param(param: &SpsaParam) -> Bson {
    Bson::Document(doc! {
        "name": &param.name,
        "start": param.start,
        "min": param.min,
        "max": param.max,
        "c_end": param.c_end,
        "r_end": param.r_end,
        "c": param.c,
        "a_end": param.a_end,
        "a": param.a,
        "theta": param.theta,
    })
}

fn samples(history: &[Vec<HistoryPoint>]) -> Vec<Bson> {
    let point =
        |point: &HistoryPoint| Bson::Document(doc! { "theta": point.theta, "R": point.r, "c": point.c });
    history.iter().map(|sample| Bson::Array(sample.iter().map(point).collect())).collect()
}

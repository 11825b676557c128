//! The request for a run, as JSON. Keys are those of the stored arguments where these exist.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{NewRunError, SPRT_GAMES, parse_integer};
use crate::domain::number::parse_finite;

/// A request for a run, read but not yet validated ([`super::build_run`]).
#[derive(Debug, Clone, PartialEq)]
pub struct RunForm {
    /// Branch or commit of the base engine, as typed.
    pub base_tag: String,
    /// Branch or commit of the new engine, as typed.
    pub new_tag: String,
    /// Commit of the base engine.
    pub resolved_base: String,
    /// Commit of the new engine.
    pub resolved_new: String,
    /// Bench of the base engine; ignored for a tuning run.
    pub base_signature: String,
    /// Bench of the new engine.
    pub new_signature: String,
    /// Time control of the base engine.
    pub tc: String,
    /// Time control of the new engine; absent means the same.
    pub new_tc: Option<String>,
    /// Opening book.
    pub book: String,
    /// Plies of the book that are played.
    pub book_depth: String,
    /// Threads per engine.
    pub threads: u32,
    /// Options of the base engine.
    pub base_options: String,
    /// Options of the new engine.
    pub new_options: String,
    /// Description.
    pub info: String,
    /// First line of the base commit's message.
    pub msg_base: String,
    /// First line of the new commit's message.
    pub msg_new: String,
    /// Networks of the base engine.
    pub base_nets: Vec<String>,
    /// Networks of the new engine.
    pub new_nets: Vec<String>,
    /// Repository of the submitter.
    pub tests_repo: String,
    /// Root of the fork network, when it is not the official one.
    pub master_repo: Option<String>,
    /// Percentage of the usual share of the farm. 100 when absent.
    pub throughput: i64,
    /// Higher goes first. 0 when absent.
    pub priority: i64,
    /// Whether deviating workers are purged at the end. False when absent.
    pub auto_purge: bool,
    /// Whether games are adjudicated. True when absent.
    pub adjudication: bool,
    /// Pattern of admitted architectures; empty means none.
    pub arch_filter: Option<String>,
    /// Compiler that workers must use; empty means any.
    pub compiler: Option<String>,
    /// When the run ends.
    pub stop_rule: StopRule,
    /// The submitter.
    pub username: String,
    /// The run that this one repeats; empty means none.
    pub rescheduled_from: Option<String>,
}

/// When a run ends.
#[derive(Debug, Clone, PartialEq)]
pub enum StopRule {
    /// After a sequential test's decision. Key `sprt`.
    Sprt(SprtForm),
    /// After `num_games` games of tuning. Keys `spsa` and `num_games`.
    Spsa(SpsaFields),
    /// After so many games. Key `num_games` alone.
    Games(i64),
}

/// The bounds of a sequential test.
#[derive(Debug, Clone, PartialEq)]
pub struct SprtForm {
    /// Lower bound in Elo.
    pub elo0: f64,
    /// Upper bound in Elo.
    pub elo1: f64,
    /// Unit of the bounds; `normalized` when absent.
    pub elo_model: String,
}

/// The texts of a tuning run; numbers may be given as numbers too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpsaFields {
    /// Upper limit of games.
    pub num_games: i64,
    /// Algorithm; the classic one when absent.
    pub algorithm: Option<String>,
    /// Ratio of the stabilizing constant. Key `A`.
    pub a_ratio: String,
    /// Exponent of the step.
    pub alpha: String,
    /// Exponent of the perturbation.
    pub gamma: String,
    /// The parameters, a line each.
    pub raw_params: String,
}

impl RunForm {
    /// Reads a request. The first field that is missing, unknown or of the wrong type is named.
    pub fn from_json(json: &Value) -> Result<Self, NewRunError> {
        let mut fields = Fields::new("", json)?;
        let form = Self {
            base_tag: fields.text("base_tag")?,
            new_tag: fields.text("new_tag")?,
            resolved_base: fields.text("resolved_base")?,
            resolved_new: fields.text("resolved_new")?,
            base_signature: fields.optional("base_signature", integer_text)?.unwrap_or_default(),
            new_signature: fields.required("new_signature", integer_text)?,
            tc: fields.text("tc")?,
            new_tc: fields.optional("new_tc", text)?,
            book: fields.text("book")?,
            book_depth: fields.required("book_depth", integer_text)?,
            threads: fields.required("threads", |value| u32::try_from(integer(value)?).ok())?,
            base_options: fields.text("base_options")?,
            new_options: fields.text("new_options")?,
            info: fields.text("info")?,
            msg_base: fields.text("msg_base")?,
            msg_new: fields.text("msg_new")?,
            base_nets: fields.required("base_nets", texts)?,
            new_nets: fields.required("new_nets", texts)?,
            tests_repo: fields.text("tests_repo")?,
            master_repo: fields.optional("master_repo", text)?,
            throughput: fields.optional("throughput", integer)?.unwrap_or(100),
            priority: fields.optional("priority", integer)?.unwrap_or(0),
            auto_purge: fields.optional("auto_purge", Value::as_bool)?.unwrap_or(false),
            adjudication: fields.optional("adjudication", Value::as_bool)?.unwrap_or(true),
            arch_filter: not_empty(fields.optional("arch_filter", text)?),
            compiler: not_empty(fields.optional("compiler", text)?),
            stop_rule: stop_rule(&mut fields)?,
            username: fields.text("username")?,
            rescheduled_from: not_empty(fields.optional("rescheduled_from", text)?),
        };
        fields.end()?;
        Ok(form)
    }
}

impl<'de> Deserialize<'de> for RunForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn stop_rule(fields: &mut Fields) -> Result<StopRule, NewRunError> {
    let num_games = fields.optional("num_games", integer)?;
    let sprt = fields.optional("sprt", |value| Some(value.clone()))?;
    let spsa = fields.optional("spsa", |value| Some(value.clone()))?;
    match (sprt, spsa) {
        (Some(_), Some(_)) => Err(NewRunError::field("spsa", "can't be combined with sprt")),
        (Some(sprt), None) => {
            // A copy of an old run's arguments holds this number.
            if num_games.is_some_and(|games| games != SPRT_GAMES) {
                return Err(NewRunError::field("num_games", "can't be combined with sprt"));
            }
            let mut fields = Fields::new("sprt", &sprt)?;
            let form = SprtForm {
                elo0: fields.required("elo0", number)?,
                elo1: fields.required("elo1", number)?,
                elo_model: fields.optional("elo_model", text)?.unwrap_or_else(|| "normalized".into()),
            };
            fields.end()?;
            Ok(StopRule::Sprt(form))
        }
        (None, Some(spsa)) => {
            let num_games = num_games.ok_or(NewRunError::Missing("num_games"))?;
            let mut fields = Fields::new("spsa", &spsa)?;
            let form = SpsaFields {
                num_games,
                algorithm: fields.optional("algorithm", text)?,
                a_ratio: fields.required("A", number_text)?,
                alpha: fields.required("alpha", number_text)?,
                gamma: fields.required("gamma", number_text)?,
                raw_params: fields.text("raw_params")?,
            };
            fields.end()?;
            Ok(StopRule::Spsa(form))
        }
        (None, None) => num_games.map(StopRule::Games).ok_or(NewRunError::Missing("num_games")),
    }
}

/// The fields of an object that haven't been read yet.
struct Fields {
    place: &'static str,
    rest: Map<String, Value>,
}

impl Fields {
    fn new(place: &'static str, json: &Value) -> Result<Self, NewRunError> {
        match json {
            Value::Object(rest) => Ok(Self { place, rest: rest.clone() }),
            _ => Err(NewRunError::field(if place.is_empty() { "run" } else { place }, "expected an object")),
        }
    }

    fn name(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }

    /// A field that may be absent or null.
    fn optional<T>(
        &mut self,
        key: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, NewRunError> {
        match self.rest.swap_remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match read(&value) {
                Some(value) => Ok(Some(value)),
                None => Err(NewRunError::field(
                    self.name(key),
                    format!("the value {value} is not acceptable here"),
                )),
            },
        }
    }

    fn required<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, NewRunError> {
        let value = self.optional(key, read)?;
        value.ok_or_else(|| match self.place {
            "" => NewRunError::Missing(key),
            _ => NewRunError::field(self.name(key), "is missing"),
        })
    }

    fn text(&mut self, key: &'static str) -> Result<String, NewRunError> {
        self.required(key, text)
    }

    fn end(self) -> Result<(), NewRunError> {
        match self.rest.keys().next() {
            Some(key) => Err(NewRunError::Unknown(self.name(key))),
            None => Ok(()),
        }
    }
}

fn not_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(text).collect()
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => parse_integer(text),
        _ => value.as_i64(),
    }
}

/// A number that is stored as a text.
fn integer_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        _ => value.as_u64().map(|number| number.to_string()),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => parse_finite(text),
        _ => value.as_f64().filter(|number| number.is_finite()),
    }
}

fn number_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

//! The queries that the public may ask of the event log (`spec/read-api.md` sections 2.3 and 4.1).
//!
//! The body looks like a MongoDB filter. It is read into typed conditions, and a store's filter is built from those:
//! nothing of the body reaches a database as it came. [`ActionQuery::matches`] says what a query means, with the
//! comparison rules of MongoDB; every store must agree with it.

mod compare;
#[cfg(test)]
mod tests;

use bson::oid::ObjectId;
use bson::{Bson, Document, doc};
use serde_json::{Map, Value};

/// Most keys in an object of conditions.
const MAX_KEYS: usize = 16;
/// Most clauses of `$and`.
const MAX_CLAUSES: usize = 8;
/// Most values in `$in` and `$nin`.
const MAX_LIST: usize = 200;
/// Longest string to compare with, characters.
const MAX_STRING_CHARS: usize = 500;
/// Longest body, bytes: bounds what parsing may allocate.
const MAX_BODY: usize = 2 * 1024 * 1024;

/// Why a body is not a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Not JSON, or neither an object nor `null`: answered with an empty list.
    #[error("not a query")]
    NotAQuery,
    /// Beyond the supported subset: answered with status 400.
    #[error("Unsupported query")]
    Unsupported,
}

/// Conditions that must all hold; without any, everything matches.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ActionQuery {
    /// The conditions, those of `$and` clauses included.
    pub all: Vec<Condition>,
}

/// One comparison of a field.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The field.
    pub field: Field,
    /// The comparison.
    pub test: Test,
}

/// The fields that may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named as the fields of the log")]
pub enum Field {
    Id,
    Action,
    Username,
    Worker,
    RunId,
    Run,
    TaskId,
    Time,
    User,
    Nn,
    Message,
}

/// A comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Equal; `null` also matches a missing field.
    Eq(Scalar),
    /// Not [`Test::Eq`].
    Ne(Scalar),
    /// Greater, of the same type.
    Gt(Scalar),
    /// Greater or equal, of the same type.
    Gte(Scalar),
    /// Less, of the same type.
    Lt(Scalar),
    /// Less or equal, of the same type.
    Lte(Scalar),
    /// Equal to one of these.
    In(Vec<Scalar>),
    /// Not [`Test::In`].
    NotIn(Vec<Scalar>),
    /// Present (`null` counts) or missing.
    Exists(bool),
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number with a point or an exponent.
    Double(f64),
    /// A string.
    Text(String),
    /// An identity: 24 hex digits, for `_id` only.
    Id(ObjectId),
}

impl Field {
    /// The field's name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "_id",
            Self::Action => "action",
            Self::Username => "username",
            Self::Worker => "worker",
            Self::RunId => "run_id",
            Self::Run => "run",
            Self::TaskId => "task_id",
            Self::Time => "time",
            Self::User => "user",
            Self::Nn => "nn",
            Self::Message => "message",
        }
    }

    /// The field of this name.
    fn named(name: &str) -> Option<Self> {
        const ALL: [Field; 11] = [
            Field::Id,
            Field::Action,
            Field::Username,
            Field::Worker,
            Field::RunId,
            Field::Run,
            Field::TaskId,
            Field::Time,
            Field::User,
            Field::Nn,
            Field::Message,
        ];
        ALL.into_iter().find(|field| field.name() == name)
    }
}

impl ActionQuery {
    /// Reads a request's body.
    pub fn parse(body: &[u8]) -> Result<Self, QueryError> {
        if body.len() > MAX_BODY {
            return Err(QueryError::Unsupported);
        }
        match serde_json::from_slice::<Value>(body) {
            Ok(Value::Null) => Ok(Self::default()),
            Ok(Value::Object(object)) => {
                let mut query = Self::default();
                query.read(&object, true)?;
                Ok(query)
            }
            _ => Err(QueryError::NotAQuery),
        }
    }

    /// Whether a document of the log satisfies every condition.
    pub fn matches(&self, document: &Document) -> bool {
        self.all.iter().all(|condition| condition.test.holds_for(document.get(condition.field.name())))
    }

    /// The conditions as a MongoDB filter.
    pub fn to_filter(&self) -> Document {
        if self.all.is_empty() {
            return Document::new();
        }
        let clauses: Vec<Document> = self
            .all
            .iter()
            .map(|condition| doc! { condition.field.name(): condition.test.to_filter() })
            .collect();
        doc! { "$and": clauses }
    }

    fn read(&mut self, object: &Map<String, Value>, top: bool) -> Result<(), QueryError> {
        if object.len() > MAX_KEYS {
            return Err(QueryError::Unsupported);
        }
        for (key, value) in object {
            match value {
                Value::Array(clauses) if top && key == "$and" => self.read_clauses(clauses)?,
                _ => {
                    let field = Field::named(key).ok_or(QueryError::Unsupported)?;
                    self.read_field(field, value)?;
                }
            }
        }
        Ok(())
    }

    fn read_clauses(&mut self, clauses: &[Value]) -> Result<(), QueryError> {
        if clauses.is_empty() || clauses.len() > MAX_CLAUSES {
            return Err(QueryError::Unsupported);
        }
        for clause in clauses {
            self.read(clause.as_object().ok_or(QueryError::Unsupported)?, false)?;
        }
        Ok(())
    }

    fn read_field(&mut self, field: Field, value: &Value) -> Result<(), QueryError> {
        let Value::Object(operators) = value else {
            let test = Test::Eq(Scalar::read(field, value)?);
            self.all.push(Condition { field, test });
            return Ok(());
        };
        if operators.is_empty() {
            return Err(QueryError::Unsupported);
        }
        for (operator, operand) in operators {
            self.all.push(Condition { field, test: Test::read(field, operator, operand)? });
        }
        Ok(())
    }
}

impl Test {
    fn read(field: Field, operator: &str, operand: &Value) -> Result<Self, QueryError> {
        let scalar = || Scalar::read(field, operand);
        let list = || match operand {
            Value::Array(values) if values.len() <= MAX_LIST => {
                values.iter().map(|value| Scalar::read(field, value)).collect::<Result<Vec<_>, _>>()
            }
            _ => Err(QueryError::Unsupported),
        };
        match operator {
            "$eq" => Ok(Self::Eq(scalar()?)),
            "$ne" => Ok(Self::Ne(scalar()?)),
            "$gt" => Ok(Self::Gt(scalar()?)),
            "$gte" => Ok(Self::Gte(scalar()?)),
            "$lt" => Ok(Self::Lt(scalar()?)),
            "$lte" => Ok(Self::Lte(scalar()?)),
            "$in" => Ok(Self::In(list()?)),
            "$nin" => Ok(Self::NotIn(list()?)),
            "$exists" => operand.as_bool().map(Self::Exists).ok_or(QueryError::Unsupported),
            _ => Err(QueryError::Unsupported),
        }
    }

    fn to_filter(&self) -> Document {
        let list = |values: &[Scalar]| values.iter().map(Scalar::to_bson).collect::<Vec<_>>();
        match self {
            Self::Eq(value) => doc! { "$eq": value.to_bson() },
            Self::Ne(value) => doc! { "$ne": value.to_bson() },
            Self::Gt(value) => doc! { "$gt": value.to_bson() },
            Self::Gte(value) => doc! { "$gte": value.to_bson() },
            Self::Lt(value) => doc! { "$lt": value.to_bson() },
            Self::Lte(value) => doc! { "$lte": value.to_bson() },
            Self::In(values) => doc! { "$in": list(values) },
            Self::NotIn(values) => doc! { "$nin": list(values) },
            Self::Exists(wanted) => doc! { "$exists": *wanted },
        }
    }
}

impl Scalar {
    fn read(field: Field, value: &Value) -> Result<Self, QueryError> {
        match value {
            Value::Null => Ok(Self::Null),
            Value::Bool(flag) => Ok(Self::Bool(*flag)),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Ok(Self::Int(whole)),
                None if number.is_f64() => number.as_f64().map(Self::Double).ok_or(QueryError::Unsupported),
                None => Err(QueryError::Unsupported),
            },
            Value::String(text) if text.chars().nth(MAX_STRING_CHARS).is_some() => {
                Err(QueryError::Unsupported)
            }
            Value::String(text) => match ObjectId::parse_str(text) {
                Ok(id) if field == Field::Id => Ok(Self::Id(id)),
                _ => Ok(Self::Text(text.clone())),
            },
            Value::Array(_) | Value::Object(_) => Err(QueryError::Unsupported),
        }
    }

    /// The value as a store keeps it.
    pub fn to_bson(&self) -> Bson {
        match self {
            Self::Null => Bson::Null,
            Self::Bool(flag) => Bson::Boolean(*flag),
            Self::Int(whole) => crate::domain::bson_number::int(*whole),
            Self::Double(double) => Bson::Double(*double),
            Self::Text(text) => Bson::String(text.clone()),
            Self::Id(id) => Bson::ObjectId(*id),
        }
    }
}

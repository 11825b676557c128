//! The event log.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use bson::oid::ObjectId;
use bson::{Bson, Document};
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::SqliteStore;
use super::failure::Work;
use super::rows::{decode, encode};
use crate::domain::action_query::{ActionQuery, Field, Scalar, Test};
use crate::store::codec::as_number;
use crate::store::{ActionStore, StoreError, StoreResult};
use crate::sys::clock::stopwatch;

/// How long a search may take, and how many rows it may look at (`spec/read-api.md` section 4.1).
const SEARCH_TIME: Duration = Duration::from_secs(2);
const SEARCH_ROWS: u64 = 2_000_000;

/// Up to so many values of a column, their index ranges are merged; beyond, the log is walked by time.
const MERGED: usize = 64;

/// An entry as its columns.
#[derive(Debug)]
pub(super) struct EncodedAction {
    id: [u8; 12],
    time: Option<f64>,
    action: Option<String>,
    username: Option<String>,
    run_id: Option<String>,
    doc: Vec<u8>,
}

/// Encodes entries.
pub(super) fn encode_all(actions: &[Document]) -> StoreResult<Vec<EncodedAction>> {
    actions.iter().map(encode_one).collect()
}

fn encode_one(action: &Document) -> StoreResult<EncodedAction> {
    let id = action
        .get_object_id("_id")
        .map_err(|_| StoreError::Damaged("a log entry without an object id".into()))?;
    let text = |key: &str| match action.get(key) {
        Some(Bson::String(text) | Bson::Symbol(text)) => Some(text.clone()),
        _ => None,
    };
    Ok(EncodedAction {
        id: id.bytes(),
        time: as_number(action.get("time")),
        action: text("action"),
        username: text("username"),
        run_id: text("run_id"),
        doc: encode(action)?,
    })
}

/// Appends entries; those that are there are left alone.
pub(super) fn insert(connection: &Connection, actions: &[EncodedAction]) -> Work<()> {
    if actions.is_empty() {
        return Ok(());
    }
    let mut statement = connection.prepare_cached(
        "INSERT OR IGNORE INTO actions (id, time, action, username, run_id, doc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for entry in actions {
        statement.execute(params![
            entry.id,
            entry.time,
            entry.action,
            entry.username,
            entry.run_id,
            entry.doc
        ])?;
    }
    Ok(())
}

/// What the indexes can do for a query: a superset of its matches.
#[derive(Debug, Clone, Default, PartialEq)]
struct Bounds {
    /// Columns, and the values of which a row must have one.
    lists: Vec<(Column, Vec<Value>)>,
    /// Smallest time.
    from: Option<f64>,
    /// Largest time.
    to: Option<f64>,
}

/// Columns with an index, the most selective first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Id,
    RunId,
    Username,
    Action,
}

impl Column {
    fn of(field: Field) -> Option<Self> {
        match field {
            Field::Id => Some(Self::Id),
            Field::RunId => Some(Self::RunId),
            Field::Username => Some(Self::Username),
            Field::Action => Some(Self::Action),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::RunId => "run_id",
            Self::Username => "username",
            Self::Action => "action",
        }
    }

    /// The value as the column holds it; None when rows with other columns' values might match (`null` also
    /// matches what is missing).
    fn value(self, scalar: &Scalar) -> Option<Value> {
        match (self, scalar) {
            (Self::Id, Scalar::Id(id)) => Some(Value::Blob(id.bytes().to_vec())),
            (Self::RunId | Self::Username | Self::Action, Scalar::Text(text)) => {
                Some(Value::Text(text.clone()))
            }
            _ => None,
        }
    }
}

impl Bounds {
    /// Reads off a query what the indexes can do; the rest is left to [`ActionQuery::matches`].
    fn of(query: &ActionQuery) -> Self {
        let mut bounds = Self::default();
        for condition in &query.all {
            if condition.field == Field::Time {
                bounds.narrow_time(&condition.test);
                continue;
            }
            let Some(column) = Column::of(condition.field) else { continue };
            let values = match &condition.test {
                Test::Eq(scalar) => column.value(scalar).map(|value| vec![value]),
                Test::In(list) => list.iter().map(|scalar| column.value(scalar)).collect(),
                _ => None,
            };
            if let Some(mut values) = values {
                // A range that is walked twice would give its rows twice.
                let mut seen = Vec::new();
                values.retain(|value| {
                    !seen.contains(value) && {
                        seen.push(value.clone());
                        true
                    }
                });
                bounds.lists.push((column, values));
            }
        }
        bounds
    }

    fn narrow_time(&mut self, test: &Test) {
        let (scalar, lower, upper) = match test {
            Test::Eq(scalar) => (scalar, true, true),
            Test::Gt(scalar) | Test::Gte(scalar) => (scalar, true, false),
            Test::Lt(scalar) | Test::Lte(scalar) => (scalar, false, true),
            _ => return,
        };
        let at = match scalar {
            Scalar::Double(at) if !at.is_nan() => *at,
            // Beyond, an integer has no double of its own.
            Scalar::Int(at) if at.unsigned_abs() <= 1 << 53 => *at as f64,
            _ => return,
        };
        if lower {
            self.from = Some(self.from.map_or(at, |from| from.max(at)));
        }
        if upper {
            self.to = Some(self.to.map_or(at, |to| to.min(at)));
        }
    }
}

/// The statement that walks the bounds newest first, and its values.
fn statement(bounds: &Bounds) -> (String, Vec<Value>) {
    let mut lists = bounds.lists.clone();
    lists.sort_by_key(|(column, values)| (values.len() > MERGED, *column));
    let (mut conditions, mut values) = (String::new(), Vec::new());
    let lead = match lists.first() {
        Some((_, list)) if list.len() <= MERGED => Some(lists.remove(0)),
        _ => None,
    };
    for (column, list) in lists {
        let places: Vec<_> = list.into_iter().map(|value| place(&mut values, value)).collect();
        conditions.push_str(&format!(" AND {} IN ({})", column.name(), places.join(", ")));
    }
    for (operator, bound) in [(">=", bounds.from), ("<=", bounds.to)] {
        if let Some(bound) = bound {
            let place = place(&mut values, Value::Real(bound));
            conditions.push_str(&format!(" AND time {operator} {place}"));
        }
    }
    let mut selects = Vec::new();
    match lead {
        None => selects.push(format!("SELECT time, id, doc FROM actions WHERE 1{conditions}")),
        // One range a value: each is in the order already, so they are merged rather than sorted.
        Some((column, list)) => {
            for value in list {
                let place = place(&mut values, value);
                let name = column.name();
                selects.push(format!("SELECT time, id, doc FROM actions WHERE {name} = {place}{conditions}"));
            }
        }
    }
    (format!("{} ORDER BY time DESC, id DESC", selects.join(" UNION ALL ")), values)
}

fn place(values: &mut Vec<Value>, value: Value) -> String {
    values.push(value);
    format!("?{}", values.len())
}

fn find(connection: &Connection, query: &ActionQuery, limit: usize) -> Work<Vec<Document>> {
    let bounds = Bounds::of(query);
    let mut found = Vec::new();
    if limit == 0 || bounds.lists.iter().any(|(_, list)| list.is_empty()) {
        return Ok(found);
    }
    let started = stopwatch();
    let (sql, values) = statement(&bounds);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut seen = 0u64;
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        let entry = decode(bytes, || "log entry".into())?;
        if query.matches(&entry) {
            found.push(entry);
            if found.len() >= limit {
                break;
            }
        }
        seen += 1;
        if seen > SEARCH_ROWS || (seen.is_multiple_of(256) && started.elapsed() > SEARCH_TIME) {
            return Err(StoreError::Timeout.into());
        }
    }
    Ok(found)
}

#[async_trait]
impl ActionStore for SqliteStore {
    async fn insert_actions(&self, actions: &[Document]) -> StoreResult<()> {
        let encoded = encode_all(actions)?;
        self.write(move |transaction| insert(transaction, &encoded)).await
    }

    async fn known_actions(&self, ids: &[ObjectId]) -> StoreResult<HashSet<ObjectId>> {
        let ids = ids.to_vec();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT 1 FROM actions WHERE id = ?1")?;
            let mut known = HashSet::new();
            for id in ids {
                if statement.exists(params![id.bytes()])? {
                    known.insert(id);
                }
            }
            Ok(known)
        })
        .await
    }

    async fn find_actions(&self, query: &ActionQuery, limit: usize) -> StoreResult<Vec<Document>> {
        let query = query.clone();
        let deadline = self.deadline.min(SEARCH_TIME);
        self.readers.read(deadline, move |connection| find(connection, &query, limit)).await
    }
}

//! The event log.

use async_trait::async_trait;
use bson::Document;
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::SqliteStore;
use super::failure::Work;
use super::rows::{decode, encode};
use crate::domain::action_query::ActionQuery;
use crate::store::codec::as_number;
use crate::store::{ActionStore, StoreError, StoreResult};
use crate::sys::clock::stopwatch;

/// How long a search may take, and how many rows it may look at (`spec/read-api.md` section 4.1).
const SEARCH_TIME: std::time::Duration = std::time::Duration::from_secs(2);
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
    let text = |key: &str| action.get_str(key).ok().map(str::to_owned);
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
    /// Columns and the texts that one must have.
    texts: Vec<(Column, Vec<String>)>,
    /// Smallest time.
    from: Option<f64>,
    /// Largest time.
    to: Option<f64>,
}

/// Columns with an index, the most selective first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    RunId,
    Username,
    Action,
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::RunId => "run_id",
            Self::Username => "username",
            Self::Action => "action",
        }
    }
}

/// Reads off a query what the indexes can do.
fn bounds(_query: &ActionQuery) -> Bounds {
    Bounds::default()
}

/// Whether an entry is asked for.
fn matches(_query: &ActionQuery, _entry: &Document) -> bool {
    true
}

/// The statement that walks the bounds newest first, and its values.
fn statement(bounds: &Bounds) -> (String, Vec<Value>) {
    let mut texts = bounds.texts.clone();
    texts.sort_by_key(|(column, values)| (values.len() > MERGED, *column));
    let (mut conditions, mut values) = (String::new(), Vec::new());
    let lead = match texts.first() {
        Some((_, list)) if list.len() <= MERGED => Some(texts.remove(0)),
        _ => None,
    };
    for (column, list) in texts {
        let places: Vec<_> = list.into_iter().map(|text| place(&mut values, Value::Text(text))).collect();
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
            for text in list {
                let place = place(&mut values, Value::Text(text));
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
    let bounds = bounds(query);
    let mut found = Vec::new();
    if limit == 0 || bounds.texts.iter().any(|(_, list)| list.is_empty()) {
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
        if matches(query, &entry) {
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

    async fn find_actions(&self, query: &ActionQuery, limit: usize) -> StoreResult<Vec<Document>> {
        let query = query.clone();
        let deadline = self.deadline.min(SEARCH_TIME);
        self.readers.read(deadline, move |connection| find(connection, &query, limit)).await
    }
}

//! Between values and columns.

use bson::Document;
use bson::oid::ObjectId;

use super::failure::Work;
use crate::store::{StoreError, StoreResult};

/// A document's bytes.
pub(super) fn encode(doc: &Document) -> StoreResult<Vec<u8>> {
    doc.to_vec().map_err(|error| StoreError::Damaged(error.to_string()))
}

/// A document from its bytes; `what` names it in the error.
pub(super) fn decode(bytes: &[u8], what: impl FnOnce() -> String) -> StoreResult<Document> {
    Document::from_reader(bytes).map_err(|error| StoreError::Damaged(format!("{}: {error}", what())))
}

/// A 64-bit count or identity as its bit pattern.
pub(super) fn bits(value: u64) -> i64 {
    value as i64
}

/// The inverse of [`bits`].
pub(super) fn from_bits(value: i64) -> u64 {
    value as u64
}

/// A count that a column holds as a plain number.
pub(super) fn plain(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An identity from its column.
pub(super) fn object_id(row: &rusqlite::Row<'_>, column: &str) -> Work<ObjectId> {
    let bytes: [u8; 12] = row.get(column)?;
    Ok(ObjectId::from_bytes(bytes))
}

/// A number that the schema's users never make negative or too large.
pub(super) fn narrow<T: TryFrom<i64>>(value: i64, what: &str) -> StoreResult<T> {
    T::try_from(value).map_err(|_| StoreError::Damaged(format!("{what} is {value}")))
}

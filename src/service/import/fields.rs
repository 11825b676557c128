//! Fields of imported documents, with the reason why one can't be used.

use bson::oid::ObjectId;
use bson::{Bson, Document};

use crate::store::codec::as_count;

/// A value, or why the document can't be taken.
pub(super) type Check<T> = Result<T, String>;

/// The identity that every collection but the key-value one has.
pub(super) fn object_id(document: &Document) -> Check<ObjectId> {
    match document.get("_id") {
        Some(Bson::ObjectId(id)) => Ok(*id),
        Some(other) => Err(format!("`_id` is {}, not an object id", kind(other))),
        None => Err("no `_id`".to_owned()),
    }
}

/// A text, if it is there.
pub(super) fn text<'a>(document: &'a Document, key: &str) -> Check<Option<&'a str>> {
    match document.get(key) {
        None => Ok(None),
        Some(Bson::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(key, other, "a text")),
    }
}

/// A text that must be there.
pub(super) fn required_text<'a>(document: &'a Document, key: &str) -> Check<&'a str> {
    text(document, key)?.ok_or_else(|| format!("no `{key}`"))
}

/// A truth value, if it is there.
pub(super) fn flag(document: &Document, key: &str) -> Check<Option<bool>> {
    match document.get(key) {
        None => Ok(None),
        Some(Bson::Boolean(flag)) => Ok(Some(*flag)),
        Some(other) => Err(wrong(key, other, "true or false")),
    }
}

/// A whole number of at least 0, of whichever numeric type, if it is there.
pub(super) fn count(document: &Document, key: &str) -> Check<Option<u64>> {
    match document.get(key) {
        None => Ok(None),
        value => {
            let found = as_count(value);
            found
                .map(Some)
                .ok_or_else(|| wrong(key, value.unwrap_or(&Bson::Null), "a whole number of at least 0"))
        }
    }
}

/// A sub-document, if it is there.
pub(super) fn document<'a>(outer: &'a Document, key: &str) -> Check<Option<&'a Document>> {
    match outer.get(key) {
        None => Ok(None),
        Some(Bson::Document(inner)) => Ok(Some(inner)),
        Some(other) => Err(wrong(key, other, "a document")),
    }
}

/// Takes a list out of a document; an absent one is empty.
pub(super) fn take_list(document: &mut Document, key: &str) -> Check<Vec<Bson>> {
    match document.remove(key) {
        None => Ok(Vec::new()),
        Some(Bson::Array(list)) => Ok(list),
        Some(other) => Err(wrong(key, &other, "a list")),
    }
}

fn wrong(key: &str, value: &Bson, expected: &str) -> String {
    format!("`{key}` is {}, not {expected}", kind(value))
}

/// A value's type, and a number's value, in words.
fn kind(value: &Bson) -> String {
    match value {
        Bson::Double(number) => format!("the number {number}"),
        Bson::Int32(number) => format!("the number {number}"),
        Bson::Int64(number) => format!("the number {number}"),
        Bson::String(_) => "a text".to_owned(),
        Bson::Array(_) => "a list".to_owned(),
        Bson::Document(_) => "a document".to_owned(),
        Bson::Boolean(flag) => flag.to_string(),
        Bson::Null => "null".to_owned(),
        Bson::DateTime(_) => "a date".to_owned(),
        Bson::ObjectId(_) => "an object id".to_owned(),
        Bson::Binary(_) => "binary".to_owned(),
        other => format!("of type {:?}", other.element_type()),
    }
}

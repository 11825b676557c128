//! Fields of imported documents, with the reason why one can't be used.

use bson::oid::ObjectId;
use bson::{Bson, Document};

use crate::store::codec::as_count;

/// A value, or why the document can't be taken.
pub(super) type Check<T> = Result<T, Fault>;

/// Why a document can't be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Path of the field that is at fault; None if it is the document as a whole.
    pub(super) field: Option<String>,
    /// A sentence that names the field, too.
    pub(super) reason: String,
}

impl Fault {
    /// A field's fault.
    pub(super) fn of(field: &str, reason: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), reason: reason.into() }
    }

    /// The fault of the document as a whole.
    pub(super) fn whole(reason: impl Into<String>) -> Self {
        Self { field: None, reason: reason.into() }
    }

    /// The same fault, of an element of a list.
    pub(super) fn within(self, list: &str, index: usize) -> Self {
        let element = format!("{list}[{index}]");
        let field = match self.field {
            Some(field) => format!("{element}.{field}"),
            None => element,
        };
        Self { field: Some(field), reason: format!("`{list}`[{index}]: {}", self.reason) }
    }

    /// The same fault, of a field of a sub-document.
    pub(super) fn below(self, outer: &str) -> Self {
        Self { field: self.field.map(|field| format!("{outer}.{field}")), ..self }
    }
}

/// The identity that every collection but the key-value one has.
pub(super) fn object_id(document: &Document) -> Check<ObjectId> {
    match document.get("_id") {
        Some(Bson::ObjectId(id)) => Ok(*id),
        Some(other) => Err(wrong("_id", other, "an object id")),
        None => Err(missing("_id")),
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
    text(document, key)?.ok_or_else(|| missing(key))
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

/// Whether two documents say the same, in whatever order. Numbers are compared by their bits: one that is none equals
/// itself, or an import that is started again would call untouched documents changed.
pub(super) fn same_document(one: &Document, other: &Document) -> bool {
    let same_field = |(key, value)| other.get(key).is_some_and(|there| same_value(value, there));
    one.len() == other.len() && one.iter().all(same_field)
}

/// Whether two values are the same, likewise.
pub(super) fn same_value(one: &Bson, other: &Bson) -> bool {
    match (one, other) {
        (Bson::Double(one), Bson::Double(other)) => one.to_bits() == other.to_bits(),
        (Bson::Document(one), Bson::Document(other)) => same_document(one, other),
        (Bson::Array(one), Bson::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_value(one, other))
        }
        (one, other) => one == other,
    }
}

/// What a person should know of a document whose collection has no room for unknown fields.
pub(super) fn not_kept(document: &Document, known: &[&str]) -> Vec<String> {
    let unknown = document.keys().filter(|key| !known.contains(&key.as_str()));
    unknown.map(|key| format!("the field `{key}` is unknown, and not kept")).collect()
}

/// A field has a value of a kind that it can't have.
pub(super) fn wrong(key: &str, value: &Bson, expected: &str) -> Fault {
    Fault::of(key, format!("`{key}` is {}, not {expected}", kind(value)))
}

/// A field that must be there isn't.
pub(super) fn missing(key: &str) -> Fault {
    Fault::of(key, format!("no `{key}`"))
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

//! A run's document before its lists are read: a run may have hundreds of thousands of tasks, which in memory would
//! take many times their bytes. What is kept is the text or the BSON as it came, and where each element is in it.

use std::ops::Range;
use std::sync::Arc;

use bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};
use bson::{Bson, Document};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{Check, Fault};
use crate::domain::document::{from_extended_json, value_from_extended_json};

/// The lists that are left as they came.
const LISTS: [&str; 2] = ["tasks", "bad_tasks"];

/// A run's document.
#[derive(Debug)]
pub(super) struct RunInput {
    /// Everything but the two lists; one that is no list is here.
    pub(super) rest: Document,
    /// All tasks; none if the field is absent.
    pub(super) tasks: Elements,
    /// Copies of purged tasks; none if the field is absent.
    pub(super) bad_tasks: Elements,
}

/// The elements of a list, each read when it is asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Elements {
    source: Option<Arc<Source>>,
    /// Where each element is; None for what is not a document.
    places: Vec<Option<Range<usize>>>,
}

#[derive(Debug)]
enum Source {
    /// Extended JSON.
    Text(String),
    Bson(Vec<u8>),
}

impl Elements {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// An element.
    pub(super) fn get(&self, index: usize) -> Check<Document> {
        let no_document = || Fault::whole("not a document");
        let place = self.places.get(index).cloned().flatten().ok_or_else(no_document)?;
        match self.source.as_deref() {
            Some(Source::Text(text)) => {
                let text = text.get(place).ok_or_else(no_document)?;
                match value_from_extended_json(text).map_err(|error| Fault::whole(error.to_string()))? {
                    Bson::Document(document) => Ok(document),
                    _ => Err(no_document()),
                }
            }
            Some(Source::Bson(bytes)) => {
                let bytes = bytes.get(place).ok_or_else(no_document)?;
                let raw = RawDocument::from_bytes(bytes).map_err(|error| Fault::whole(error.to_string()))?;
                Document::try_from(raw).map_err(|error| Fault::whole(error.to_string()))
            }
            None => Err(no_document()),
        }
    }
}

impl RunInput {
    /// From a line of extended JSON; an error says what is wrong with the line.
    pub(super) fn from_text(text: String) -> Result<Self, String> {
        let Ok(Fields(fields)) = serde_json::from_str(&text) else {
            // It is no document: this one knows the words for that.
            let refused = from_extended_json(&text).err();
            return Err(refused.map_or_else(|| "not a document".to_owned(), |error| error.to_string()));
        };
        let mut rest = String::from("{");
        let mut places = [Vec::new(), Vec::new()];
        for (key, value) in fields {
            let list = LISTS.iter().position(|name| *name == key);
            let elements: Option<Vec<&RawValue>> = list.and_then(|_| serde_json::from_str(value.get()).ok());
            if let (Some(elements), Some(places)) = (elements, list.and_then(|list| places.get_mut(list))) {
                *places = elements.into_iter().map(|element| place_in(&text, element.get())).collect();
                continue;
            }
            if rest.len() > 1 {
                rest.push(',');
            }
            rest.push_str(&serde_json::Value::String(key).to_string());
            rest.push(':');
            rest.push_str(value.get());
        }
        rest.push('}');
        let rest = from_extended_json(&rest).map_err(|error| error.to_string())?;
        Ok(Self::new(rest, Source::Text(text), places))
    }

    /// From a document as the server sent it.
    pub(super) fn from_bson(raw: RawDocumentBuf) -> Check<Self> {
        let unreadable =
            |key: &str, error: bson::error::Error| Fault::of(key, format!("`{key}` can't be read: {error}"));
        let whole = raw.as_bytes();
        let mut rest = Document::new();
        let mut places = [Vec::new(), Vec::new()];
        for field in &raw {
            let (key, value) = field.map_err(|error| Fault::whole(format!("can't be read: {error}")))?;
            let key = key.as_str();
            let list = LISTS.iter().position(|name| *name == key).and_then(|list| places.get_mut(list));
            match (list, value) {
                (Some(places), RawBsonRef::Array(elements)) => {
                    places.clear();
                    for element in elements {
                        let element = element.map_err(|error| unreadable(key, error))?;
                        places.push(match element {
                            RawBsonRef::Document(inner) => {
                                let start = (inner.as_bytes().as_ptr() as usize)
                                    .saturating_sub(whole.as_ptr() as usize);
                                Some(start..start.saturating_add(inner.as_bytes().len()))
                            }
                            _ => None,
                        });
                    }
                }
                (_, value) => {
                    let value = Bson::try_from(value).map_err(|error| unreadable(key, error))?;
                    rest.insert(key, value);
                }
            }
        }
        Ok(Self::new(rest, Source::Bson(raw.into_bytes()), places))
    }

    fn new(rest: Document, source: Source, places: [Vec<Option<Range<usize>>>; 2]) -> Self {
        let source = Arc::new(source);
        let [tasks, bad_tasks] = places.map(|places| Elements { source: Some(Arc::clone(&source)), places });
        Self { rest, tasks, bad_tasks }
    }
}

/// Where a part of a text is.
fn place_in(text: &str, part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    Some(start..start.saturating_add(part.len()))
}

/// An object's fields in order, their values unread.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a document")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry::<String, &'de RawValue>()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Reader).map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use bson::{doc, oid::ObjectId};

    use super::*;
    use crate::domain::document::to_extended_json;

    fn both(document: &Document) -> [RunInput; 2] {
        let raw = RawDocumentBuf::try_from(document).unwrap();
        [RunInput::from_text(to_extended_json(document)).unwrap(), RunInput::from_bson(raw).unwrap()]
    }

    #[test]
    fn the_lists_stay_outside_and_their_elements_are_read_one_by_one() {
        let task = doc! { "num_games": 2_i64, "ü\"": "{\"tasks\":[1]}", "tasks": [1] };
        let document = doc! {
            "_id": ObjectId::from_bytes([7; 12]), "tasks": [task.clone(), 3, {}], "args": { "tasks": [1, 2] },
            "bad_tasks": [], "x": 1.5,
        };
        for input in both(&document) {
            let mut rest = document.clone();
            rest.remove("tasks");
            rest.remove("bad_tasks");
            assert_eq!(input.rest, rest);
            assert_eq!((input.tasks.len(), input.bad_tasks.len()), (3, 0));
            assert_eq!(input.tasks.get(0).unwrap(), task);
            assert_eq!(input.tasks.get(1).unwrap_err().reason, "not a document");
            assert_eq!(input.tasks.get(2).unwrap(), doc! {});
            assert!(input.tasks.get(3).is_err());
        }
    }

    #[test]
    fn what_is_no_list_stays_where_it_is() {
        for input in both(&doc! { "tasks": "none", "bad_tasks": { "a": 1 } }) {
            assert_eq!(input.rest, doc! { "tasks": "none", "bad_tasks": { "a": 1 } });
            assert_eq!(input.tasks.len(), 0);
        }
    }

    #[test]
    fn a_line_that_is_no_document_says_why() {
        for (line, word) in
            [("42", "not a document"), ("{ \"a\": ", "not JSON"), ("{\"tasks\":[}", "not JSON")]
        {
            let reason = RunInput::from_text(line.to_owned()).unwrap_err();
            assert!(reason.contains(word), "{reason}");
        }
    }
}

//! Documents in a form that today's layout can't express: fields that are absent, of another numeric type, or with
//! keys of their own (`spec/storage.md` section 3.12). They come out again as they came in, as long as nobody changes
//! what they say.
//!
//! A form is a document: per field, `was` holds the imported value (absent if the field was) and `now` what the codec
//! writes for it (absent likewise). It stands in a record's `extra` under [`OWN`].

use bson::{Bson, Document};

use super::codec::OWN;

const WAS: &str = "was";
const NOW: &str = "now";

/// Notes in `extra` where `written`, the codec's document, differs from the `original`. Without differences nothing is
/// noted.
pub fn note(extra: &mut Document, written: &Document, original: &Document) {
    let mut form = Document::new();
    for (key, was) in original {
        let now = written.get(key);
        if now == Some(was) {
            continue;
        }
        let mut entry = Document::new();
        entry.insert(WAS, was.clone());
        if let Some(now) = now {
            entry.insert(NOW, now.clone());
        }
        form.insert(key, entry);
    }
    for (key, now) in written {
        if !original.contains_key(key) {
            form.insert(key, bson::doc! { NOW: now.clone() });
        }
    }
    if !form.is_empty() {
        extra.insert(OWN, form);
    }
}

/// Gives the fields of `written` their imported form where they still say what they said then.
pub fn restore(written: &mut Document, extra: &Document) {
    let Some(Bson::Document(form)) = extra.get(OWN) else { return };
    for (key, entry) in form {
        let Bson::Document(entry) = entry else { continue };
        if written.get(key) != entry.get(NOW) {
            continue;
        }
        match entry.get(WAS) {
            Some(was) => written.insert(key, was.clone()),
            None => written.remove(key),
        };
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn what_did_not_change_comes_out_as_it_came_in() {
        let original = doc! { "a": 1.0, "only": "x", "same": 3 };
        let written = doc! { "a": 1, "added": false, "same": 3 };
        let mut extra = Document::new();
        note(&mut extra, &written, &original);
        let mut out = written.clone();
        restore(&mut out, &extra);
        assert_eq!(out, original);
    }

    #[test]
    fn what_changed_is_in_the_form_of_today() {
        let mut extra = Document::new();
        note(&mut extra, &doc! { "a": 1, "b": 0 }, &doc! { "a": 1.0 });
        let mut out = doc! { "a": 2, "b": 5 };
        restore(&mut out, &extra);
        assert_eq!(out, doc! { "a": 2, "b": 5 });
    }

    #[test]
    fn a_document_of_today_needs_no_note() {
        let mut extra = Document::new();
        note(&mut extra, &doc! { "a": 1 }, &doc! { "a": 1 });
        assert!(extra.is_empty());
    }
}

//! The book table: what workers check an opening book against (`spec/worker-api.md` section 6.2).

use bson::{Bson, Document};
use serde_json::Value;

use super::bson_number::int;

/// Checks a table of books as `books.json` holds it, and brings it into the stored form.
///
/// # Errors
/// A text that names the book and the field.
pub fn check(table: &Value) -> Result<Document, String> {
    let Value::Object(table) = table else {
        return Err("books: expected an object of books by file name".to_owned());
    };
    let mut books = Document::new();
    for (name, book) in table {
        if !(name.ends_with(".epd") || name.ends_with(".pgn")) {
            return Err(format!("books: {name:?} is neither an .epd nor a .pgn file"));
        }
        let mut stored = Document::new();
        for field in ["total", "white", "black"] {
            let count = book.get(field).and_then(Value::as_u64).and_then(|count| i64::try_from(count).ok());
            let count = count.ok_or_else(|| format!("books: {name}: {field} must be a whole number >= 0"))?;
            stored.insert(field, int(count));
        }
        let count = |field: &str| {
            stored.get(field).and_then(|count| count.as_i64().or(count.as_i32().map(i64::from)))
        };
        let sum = count("white").zip(count("black")).and_then(|(white, black)| white.checked_add(black));
        if sum != count("total") {
            return Err(format!("books: {name}: total must be white + black"));
        }
        for field in ["min_depth", "max_depth"] {
            let depth = match book.get(field) {
                None | Some(Value::Null) => Bson::Null,
                Some(depth) => depth
                    .as_i64()
                    .map(int)
                    .ok_or_else(|| format!("books: {name}: {field} must be a whole number or null"))?,
            };
            stored.insert(field, depth);
        }
        let sri = book.get("sri").and_then(Value::as_str).unwrap_or_default();
        if !is_sri(sri) {
            return Err(format!("books: {name}: sri must be 64 characters of base64"));
        }
        stored.insert("sri", sri);
        books.insert(name, stored);
    }
    Ok(books)
}

/// `(sha384-)?[0-9A-Za-z+/]{64}`.
fn is_sri(text: &str) -> bool {
    let digest = text.strip_prefix("sha384-").unwrap_or(text);
    digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn book(sri: &str) -> Value {
        json!({ "a.epd": { "total": 3, "white": 2, "black": 1, "min_depth": 8, "max_depth": null, "sri": sri } })
    }

    #[test]
    fn a_table_keeps_its_types() {
        let books = check(&book(&"A".repeat(64))).unwrap();
        let stored = books.get_document("a.epd").unwrap();
        assert_eq!(stored.get("total"), Some(&Bson::Int32(3)));
        assert_eq!(stored.get("max_depth"), Some(&Bson::Null));
    }

    #[test]
    fn a_bad_digest_is_named() {
        assert!(check(&book("short")).unwrap_err().contains("sri"));
        let mut sum = book(&"A".repeat(64));
        sum["a.epd"]["total"] = 4.into();
        assert!(check(&sum).unwrap_err().contains("total"));
        assert!(check(&json!({ "a.txt": {} })).unwrap_err().contains("a.txt"));
        assert!(check(&json!([1])).is_err());
    }
}

//! Reading a stored document field by field, so that the first wrong one is named with its path.

use bson::spec::BinarySubtype;
use bson::{Bson, Document};

/// The result of a check; the text begins with the path of the field.
pub(super) type Checked<T = ()> = Result<T, String>;

/// The fields of a document, and where it stands.
pub(super) struct Stored<'a> {
    fields: &'a Document,
    path: String,
}

impl<'a> Stored<'a> {
    /// `path` is empty for a document that stands by itself.
    pub(super) fn new(fields: &'a Document, path: impl Into<String>) -> Self {
        Self { fields, path: path.into() }
    }

    /// The violation that a field breaks a rule.
    pub(super) fn wrong(&self, key: &str, rule: &str) -> String {
        format!("{}: {rule}", self.path_of(key))
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// That a rule about a field holds.
    pub(super) fn require(&self, holds: bool, key: &str, rule: &str) -> Checked {
        if holds { Ok(()) } else { Err(self.wrong(key, rule)) }
    }

    /// That there is no field but these.
    pub(super) fn only(&self, known: &[&str]) -> Checked {
        match self.fields.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(self.wrong(key, "is not in the schema")),
            None => Ok(()),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    fn get(&self, key: &str) -> Checked<&'a Bson> {
        self.fields.get(key).ok_or_else(|| self.wrong(key, "is missing"))
    }

    pub(super) fn text(&self, key: &str) -> Checked<&'a str> {
        self.get(key)?.as_str().ok_or_else(|| self.wrong(key, "is no string"))
    }

    /// A string that a rule allows.
    pub(super) fn text_if(&self, key: &str, rule: &str, allowed: impl Fn(&str) -> bool) -> Checked {
        self.require(allowed(self.text(key)?), key, rule)
    }

    pub(super) fn flag(&self, key: &str) -> Checked<bool> {
        self.get(key)?.as_bool().ok_or_else(|| self.wrong(key, "is no boolean"))
    }

    /// An integer; a double is none, even a whole one (`spec/storage.md` section 1).
    pub(super) fn integer(&self, key: &str) -> Checked<i64> {
        integer(self.get(key)?).ok_or_else(|| self.wrong(key, "is no integer"))
    }

    pub(super) fn count(&self, key: &str) -> Checked<u64> {
        u64::try_from(self.integer(key)?).map_err(|_| self.wrong(key, "is negative"))
    }

    pub(super) fn positive(&self, key: &str) -> Checked<u64> {
        match self.count(key)? {
            0 => Err(self.wrong(key, "is not above zero")),
            count => Ok(count),
        }
    }

    /// A number of any type.
    pub(super) fn number(&self, key: &str) -> Checked<f64> {
        match self.get(key)? {
            Bson::Int32(whole) => Ok(f64::from(*whole)),
            Bson::Int64(whole) => Ok(*whole as f64),
            Bson::Double(number) => Ok(*number),
            _ => Err(self.wrong(key, "is no number")),
        }
    }

    /// A number that is not negative.
    pub(super) fn amount(&self, key: &str) -> Checked<f64> {
        let number = self.number(key)?;
        self.require(number >= 0.0, key, "is negative")?;
        Ok(number)
    }

    pub(super) fn date(&self, key: &str) -> Checked {
        let is_date = matches!(self.get(key)?, Bson::DateTime(_));
        self.require(is_date, key, "is no date")
    }

    pub(super) fn object_id(&self, key: &str) -> Checked {
        let is_id = matches!(self.get(key)?, Bson::ObjectId(_));
        self.require(is_id, key, "is no object id")
    }

    pub(super) fn binary(&self, key: &str) -> Checked {
        let is_binary =
            matches!(self.get(key)?, Bson::Binary(data) if data.subtype == BinarySubtype::Generic);
        self.require(is_binary, key, "is no binary of subtype 0")
    }

    pub(super) fn document(&self, key: &str) -> Checked<Stored<'a>> {
        let fields = self.get(key)?.as_document().ok_or_else(|| self.wrong(key, "is no document"))?;
        Ok(Stored::new(fields, self.path_of(key)))
    }

    pub(super) fn array(&self, key: &str) -> Checked<&'a [Bson]> {
        let array = self.get(key)?.as_array().ok_or_else(|| self.wrong(key, "is no array"))?;
        Ok(array)
    }

    /// An array of documents.
    pub(super) fn documents(&self, key: &str) -> Checked<Vec<Stored<'a>>> {
        let path = self.path_of(key);
        documents(self.array(key)?, &path)
    }

    /// An array of strings.
    pub(super) fn texts(&self, key: &str) -> Checked<Vec<&'a str>> {
        let texts = self.array(key)?.iter().map(Bson::as_str).collect::<Option<Vec<_>>>();
        texts.ok_or_else(|| self.wrong(key, "has an element that is no string"))
    }

    /// An array of integers that are not negative.
    pub(super) fn counts(&self, key: &str) -> Checked<Vec<u64>> {
        let count = |value: &Bson| integer(value).and_then(|whole| u64::try_from(whole).ok());
        let counts = self.array(key)?.iter().map(count).collect::<Option<Vec<_>>>();
        counts.ok_or_else(|| self.wrong(key, "has an element that is no integer >= 0"))
    }
}

/// The elements of an array at `path`, each a document.
pub(super) fn documents<'a>(array: &'a [Bson], path: &str) -> Checked<Vec<Stored<'a>>> {
    let element = |(i, value): (usize, &'a Bson)| match value.as_document() {
        Some(fields) => Ok(Stored::new(fields, format!("{path}[{i}]"))),
        None => Err(format!("{path}[{i}]: is no document")),
    };
    array.iter().enumerate().map(element).collect()
}

fn integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(whole) => Some(i64::from(*whole)),
        Bson::Int64(whole) => Some(*whole),
        _ => None,
    }
}

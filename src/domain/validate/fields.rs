//! Reading JSON one level at a time, as slices of the text: what a value is, and what stands in it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::BadRequest;

/// How many characters of an offending value or key a message repeats.
const SHOWN_CHARS: usize = 100;

/// Whether `text` is one JSON value, nested at most as deep as the parser's own limit (127).
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<Skimmed>(text).is_ok()
}

/// Any value, read for its syntax and its depth. (`IgnoredAny` would do, but it has no depth limit.)
struct Skimmed;

impl<'de> Deserialize<'de> for Skimmed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Skim;

        impl<'de> Visitor<'de> for Skim {
            type Value = Skimmed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Skimmed, E> {
                Ok(Skimmed)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Skimmed, E> {
                Ok(Skimmed)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Skimmed, E> {
                Ok(Skimmed)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Skimmed, E> {
                Ok(Skimmed)
            }

            fn visit_str<E>(self, _: &str) -> Result<Skimmed, E> {
                Ok(Skimmed)
            }

            fn visit_unit<E>(self) -> Result<Skimmed, E> {
                Ok(Skimmed)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Skimmed, A::Error> {
                while seq.next_element::<Skimmed>()?.is_some() {}
                Ok(Skimmed)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Skimmed, A::Error> {
                while map.next_entry::<Skimmed, Skimmed>()?.is_some() {}
                Ok(Skimmed)
            }
        }

        deserializer.deserialize_any(Skim)
    }
}

/// One value of a body that is known to be JSON, and the expression that names it in messages.
#[derive(Debug)]
pub(super) struct Node<'a> {
    text: &'a str,
    path: String,
    /// Whether messages must not repeat the value: it is, or holds, a password.
    secret: bool,
}

impl<'a> Node<'a> {
    /// The body itself.
    pub(super) fn root(text: &'a str) -> Self {
        Self { text: text.trim_matches([' ', '\t', '\r', '\n']), path: "request".to_owned(), secret: true }
    }

    /// The violation that this value is not of type `wanted`.
    fn not_a(&self, wanted: &str) -> BadRequest {
        self.violation(&format!("is not of type '{wanted}'"))
    }

    /// A violation of this value: `{path} (value:{value}) {complaint}`.
    pub(super) fn violation(&self, complaint: &str) -> BadRequest {
        if self.secret {
            return BadRequest::Schema(format!("{} {complaint}", self.path));
        }
        BadRequest::Schema(format!("{} (value:{}) {complaint}", self.path, self.shown()))
    }

    /// This value as messages repeat it: strings without quotes, everything cut and on one line.
    fn shown(&self) -> String {
        match self.text_value() {
            Some(content) => shorten(&content),
            None => shorten(self.text),
        }
    }

    /// The content of a string.
    fn text_value(&self) -> Option<String> {
        if !self.text.starts_with('"') {
            return None;
        }
        serde_json::from_str(self.text).ok()
    }

    /// A string.
    pub(super) fn string(&self) -> Result<String, BadRequest> {
        self.text_value().ok_or_else(|| self.not_a("str"))
    }

    /// The same value, not to be repeated in messages.
    pub(super) fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, BadRequest> {
        match self.text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.not_a("bool")),
        }
    }

    /// An integer without fraction or exponent, from 0 to the largest 64-bit one.
    pub(super) fn count(&self) -> Result<u64, BadRequest> {
        let digits = self.text.strip_prefix('-').unwrap_or(self.text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(self.not_a("int"));
        }
        let value = self.text.parse::<i64>().map_err(|_| self.violation("does not fit 64 bits"))?;
        u64::try_from(value).map_err(|_| self.violation("is not greater than or equal to 0"))
    }

    /// An integer from 1.
    pub(super) fn positive(&self) -> Result<u64, BadRequest> {
        match self.count() {
            Ok(0) => Err(self.violation("is not strictly greater than 0")),
            other => other,
        }
    }

    /// A number of either kind.
    pub(super) fn number(&self) -> Result<serde_json::Number, BadRequest> {
        serde_json::from_str(self.text).map_err(|_| self.not_a("float"))
    }

    /// An array of exactly `N` values.
    pub(super) fn array<const N: usize>(&self) -> Result<[Node<'a>; N], BadRequest> {
        if !self.text.starts_with('[') {
            return Err(self.not_a("list"));
        }
        let mut deserializer = serde_json::Deserializer::from_str(self.text);
        let elements = FirstElements(N + 1).deserialize(&mut deserializer).unwrap_or_default();
        let nodes: Vec<Node<'a>> = elements
            .iter()
            .enumerate()
            .map(|(i, text)| Node { text, path: format!("{}[{i}]", self.path), secret: self.secret })
            .collect();
        nodes.try_into().map_err(|nodes: Vec<Node<'a>>| {
            let complaint = if nodes.len() < N { "is missing" } else { "is not in the schema" };
            BadRequest::Schema(format!("{}[{}] {complaint}", self.path, nodes.len().min(N)))
        })
    }

    /// An object; of repeated keys the last one counts. With `strict`, keys other than `known` are refused.
    pub(super) fn object(
        &self,
        known: &'static [&'static str],
        strict: bool,
    ) -> Result<Fields<'a>, BadRequest> {
        if !self.text.starts_with('{') {
            return Err(self.not_a("dict"));
        }
        let mut deserializer = serde_json::Deserializer::from_str(self.text);
        let found = KnownFields(known).deserialize(&mut deserializer);
        let (values, unknown) = found.map_err(|_| BadRequest::NotJson)?;
        match unknown {
            Some(key) if strict => {
                Err(BadRequest::Schema(format!("{}['{}'] is not in the schema", self.path, shorten(&key))))
            }
            _ => Ok(Fields { known, values, path: self.path.clone() }),
        }
    }
}

/// At most [`SHOWN_CHARS`] characters, on one line.
fn shorten(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = chars.by_ref().take(SHOWN_CHARS).collect();
    if chars.next().is_some() {
        short.push_str("...");
    }
    short
}

/// The values of an object's known keys.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    known: &'static [&'static str],
    values: Vec<Option<&'a str>>,
    path: String,
}

impl<'a> Fields<'a> {
    /// The value of `key`, if it was sent.
    pub(super) fn optional(&self, key: &str) -> Option<Node<'a>> {
        let at = self.known.iter().position(|known| *known == key)?;
        let text = self.values.get(at).copied().flatten()?;
        Some(Node { text, path: format!("{}['{key}']", self.path), secret: false })
    }

    /// The value of `key`, which must have been sent.
    pub(super) fn required(&self, key: &str) -> Result<Node<'a>, BadRequest> {
        self.optional(key).ok_or_else(|| BadRequest::Schema(format!("{}['{key}'] is missing", self.path)))
    }
}

/// Collects the values of the known keys, and the first unknown key.
struct KnownFields(&'static [&'static str]);

type Found<'a> = (Vec<Option<&'a str>>, Option<String>);

impl<'de> DeserializeSeed<'de> for KnownFields {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for KnownFields {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = vec![None; self.0.len()];
        let mut unknown = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let slot = self.0.iter().position(|known| *known == key).and_then(|at| values.get_mut(at));
            let Some(slot) = slot else {
                map.next_value::<IgnoredAny>()?;
                unknown.get_or_insert_with(|| key.into_owned());
                continue;
            };
            *slot = Some(map.next_value::<&'de RawValue>()?.get());
        }
        Ok((values, unknown))
    }
}

/// Collects an array's elements, at most this many; the rest is skipped.
struct FirstElements(usize);

impl<'de> DeserializeSeed<'de> for FirstElements {
    type Value = Vec<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for FirstElements {
    type Value = Vec<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < self.0 {
            let Some(element) = seq.next_element::<&'de RawValue>()? else {
                return Ok(elements);
            };
            elements.push(element.get());
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(elements)
    }
}

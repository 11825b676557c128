//! Answers of scripts: a word, then texts.

use std::collections::VecDeque;

use bytes::Bytes;
use redis::Value;

use crate::domain::ids::{Generation, Token};
use crate::state::{StateError, StateResult};

/// An answer that is read from its beginning.
#[derive(Debug)]
pub(super) struct Reply {
    script: &'static str,
    word: String,
    rest: VecDeque<Value>,
}

impl Reply {
    /// Takes an answer apart; those that refuse the caller's generation or token are errors.
    pub(super) fn new(script: &'static str, value: Value) -> StateResult<Self> {
        let Value::Array(values) = value else { return Err(odd(script, "no list")) };
        let mut reply = Self { script, word: String::new(), rest: values.into() };
        reply.word = reply.text()?;
        match reply.word.as_str() {
            "NOTLOADED" => Err(StateError::NotLoaded),
            "WRONGGEN" => Err(StateError::WrongGeneration { current: Generation(reply.number()?) }),
            "FOREIGN" => Err(StateError::Foreign),
            "STALE" => Err(StateError::StaleToken),
            _ => Ok(reply),
        }
    }

    /// What came of it.
    pub(super) fn word(&self) -> &str {
        &self.word
    }

    /// An answer that this caller doesn't expect.
    pub(super) fn unexpected(&self) -> StateError {
        odd(self.script, &format!("the word {}", self.word))
    }

    /// Whether there is more.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn bytes(&mut self) -> StateResult<Bytes> {
        match self.rest.pop_front() {
            Some(Value::BulkString(bytes)) => Ok(bytes.into()),
            Some(Value::SimpleString(text)) => Ok(text.into_bytes().into()),
            Some(Value::Int(number)) => Ok(number.to_string().into_bytes().into()),
            Some(Value::Nil) => Err(odd(self.script, "a missing field")),
            Some(_) => Err(odd(self.script, "a field of another shape")),
            None => Err(odd(self.script, "too few fields")),
        }
    }

    pub(super) fn text(&mut self) -> StateResult<String> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.into()).map_err(|_| odd(self.script, "a text that is none"))
    }

    /// The next text if it isn't empty.
    pub(super) fn optional(&mut self) -> StateResult<Option<String>> {
        Ok(Some(self.text()?).filter(|text| !text.is_empty()))
    }

    pub(super) fn number<T: std::str::FromStr>(&mut self) -> StateResult<T> {
        let text = self.text()?;
        text.parse().map_err(|_| odd(self.script, &format!("{text:?} for a number")))
    }

    /// 1 or 0.
    pub(super) fn flag(&mut self) -> StateResult<bool> {
        Ok(self.text()? == "1")
    }

    pub(super) fn token(&mut self) -> StateResult<Token> {
        Ok(Token { generation: Generation(self.number()?), counter: self.number()? })
    }
}

pub(super) fn odd(script: &str, what: &str) -> StateError {
    StateError::Bug(format!("the script {script} answered {what}"))
}

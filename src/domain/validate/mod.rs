//! Checking the body of a worker's request (`spec/worker-api.md` sections 1.4 and 2).
//!
//! The checks come in a fixed order, with authentication between the second and the third:
//!
//! 1. [`Body::parse`]: is it JSON at all?
//! 2. [`Body::access`]: a password and a username; anything else may be there, so that any release of the worker can
//!    learn which release is wanted.
//! 3. [`Body::full`]: exactly the known keys, each of the right kind.
//!
//! A good body is parsed once, straight into [`WorkerRequest`]. Only what that refuses is read a second time, field
//! by field, to name the offending field (`walk.rs`). The second reading decides: whatever it accepts (a repeated
//! key, say, where the last one wins) is accepted. It holds slices of the body, never a tree, so that a hostile body
//! cannot make the server use a multiple of its own size.

mod fields;
mod request;
pub mod run_document;
mod stored;
#[cfg(test)]
mod tests;
mod typed;
mod walk;
mod worker_info;

use std::borrow::Cow;

pub use request::{SpsaResult, WorkerRequest};
pub use worker_info::{StoredWorkerInfo, WorkerInfo};

use crate::domain::names::LegacyUsernames;
use fields::Node;

/// Why a request is refused with status 400; the text follows `{path}: ` in the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not UTF-8, not JSON, or nested beyond reason.
    #[error("request is not json encoded")]
    NotJson,
    /// The first violation that was found, naming the field.
    #[error("{0}")]
    Schema(String),
}

/// Who asks: all that the access schema looks at.
#[derive(Clone, PartialEq, Eq)]
pub struct Access<'a> {
    /// A valid account name; whether the account exists is for the caller to find out.
    pub username: Cow<'a, str>,
    /// The password as sent; may be empty.
    pub password: Cow<'a, str>,
}

impl std::fmt::Debug for Access<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A body that is JSON.
#[derive(Debug)]
pub struct Body<'a> {
    text: &'a str,
    /// Present when the body has the right keys and types; values are still to be checked.
    typed: Option<Box<WorkerRequest>>,
}

impl<'a> Body<'a> {
    /// Step 1. Strict UTF-8 JSON of any kind, nested at most 127 deep.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BadRequest> {
        let text = std::str::from_utf8(bytes).map_err(|_| BadRequest::NotJson)?;
        if let Some(request) = typed::parse(text) {
            return Ok(Self { text, typed: Some(Box::new(request)) });
        }
        if !fields::is_json(text) {
            return Err(BadRequest::NotJson);
        }
        Ok(Self { text, typed: None })
    }

    /// Step 2: the access schema. Unknown keys are allowed everywhere.
    pub fn access(&self, legacy: &LegacyUsernames) -> Result<Access<'_>, BadRequest> {
        if let Some(request) = &self.typed
            && legacy.allows(&request.worker_info.username)
        {
            return Ok(Access {
                username: Cow::Borrowed(&request.worker_info.username),
                password: Cow::Borrowed(&request.password),
            });
        }
        let (password, username) = walk::access(&Node::root(self.text), legacy)?;
        Ok(Access { username: Cow::Owned(username), password: Cow::Owned(password) })
    }

    /// Step 3, after authentication: the full schema. Unknown keys are forbidden everywhere.
    pub fn full(self, legacy: &LegacyUsernames) -> Result<WorkerRequest, BadRequest> {
        match self.typed {
            Some(request) if request.has_valid_values(legacy) => Ok(*request),
            _ => walk::request(&Node::root(self.text), legacy),
        }
    }
}

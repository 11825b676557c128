//! Why a use case has no answer; one table (`http::error`) maps the classes to the wire.

use crate::state::StateError;
use crate::store::StoreError;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// What was asked is wrong: status 400, nothing changed.
    #[error("{0}")]
    Invalid(String),
    /// Who asked may not: status 401, nothing changed but what the text says.
    #[error("{0}")]
    Refused(String),
    /// There is no such thing: status 404.
    #[error("{0}")]
    NotFound(String),
    /// No room; nothing was begun.
    #[error("too busy: {0}")]
    Busy(String),
    /// A dependency is away or an outcome unknown: a plain-text 503, which the worker repeats.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The schedule is not loaded, or is another one than this process works for: 503 as above. Why is looked into at
    /// once ([`super::membership`]).
    #[error("outdated: {0}")]
    Outdated(String),
    /// What a leader may do, this process may not any more.
    #[error("superseded: {0}")]
    Superseded(String),
    /// The store did not confirm what the schedule has noted: the same for whoever asked, unless the policy is to go on
    /// without the store ([`super::degrade`]).
    #[error("not durable: {0}")]
    NotDurable(String),
    /// The server contradicts itself. Also a 503 on a worker path: no worker loses its task for our bugs.
    #[error("internal error: {0}")]
    Bug(String),
}

/// Result of a use case.
pub type ServiceResult<T> = Result<T, ServiceError>;

impl From<StateError> for ServiceError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Bug(what) => Self::Bug(what),
            StateError::NotLoaded | StateError::WrongGeneration { .. } | StateError::Foreign => {
                Self::Outdated(error.to_string())
            }
            StateError::StaleToken => Self::Superseded(error.to_string()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged(what) => Self::Bug(what),
            StoreError::Duplicate(what) => Self::Invalid(format!("there is already a {what}")),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<crate::domain::fold::RecordError> for ServiceError {
    fn from(error: crate::domain::fold::RecordError) -> Self {
        Self::Bug(error.to_string())
    }
}

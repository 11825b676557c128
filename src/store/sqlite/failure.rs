//! From SQLite's errors to the store's.

use rusqlite::{Error, ErrorCode};

use crate::store::StoreError;

/// What went wrong inside a transaction or a query. Nothing of the transaction is kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// SQLite's own.
    #[error(transparent)]
    Sqlite(#[from] Error),
    /// Found by this module.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Result of a piece of work on a connection.
pub(super) type Work<T> = Result<T, Failure>;

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let error = match failure {
            Failure::Store(error) => return error,
            Failure::Sqlite(error) => error,
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Self::Timeout,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            Some(_) => Self::Unavailable(error.to_string()),
            // A column of another type than the schema says, or text that isn't UTF-8.
            None => Self::Damaged(error.to_string()),
        }
    }
}

impl Failure {
    /// The same, but a broken uniqueness rule says what there is already.
    pub(super) fn duplicate(self, what: impl FnOnce() -> String) -> Self {
        match &self {
            Self::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Self::Store(StoreError::Duplicate(what()))
            }
            _ => self,
        }
    }
}

//! From the driver's errors to the store's.

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::store::StoreError;

/// A document with that key is there already.
pub(super) fn is_duplicate(code: i32) -> bool {
    matches!(code, 11000 | 11001 | 12582)
}

/// The server was about to change its role, to stop, or did not hear enough of its peers: whether it wrote is not known.
pub(super) fn is_passing(code: i32) -> bool {
    matches!(
        code,
        6 | 7
            | 50
            | 64
            | 89
            | 91
            | 100
            | 112
            | 133
            | 189
            | 262
            | 9001
            | 10058
            | 10107
            | 11600
            | 11602
            | 13435
            | 13436
    )
}

/// What an error means for what was asked.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// It never reached the server, or was refused as a whole.
    Nothing,
    /// It may have been carried out.
    Unknown,
    Duplicate,
    TooSlow,
    Damaged,
}

fn meaning(error: &Error) -> Meaning {
    match error.kind.as_ref() {
        ErrorKind::Io(_) => Meaning::Unknown,
        ErrorKind::Command(command) if is_duplicate(command.code) => Meaning::Duplicate,
        ErrorKind::Command(command) if command.code == 50 => Meaning::TooSlow,
        ErrorKind::Command(command) if is_passing(command.code) => Meaning::Unknown,
        ErrorKind::Write(WriteFailure::WriteError(write)) if is_duplicate(write.code) => Meaning::Duplicate,
        ErrorKind::Write(WriteFailure::WriteError(write)) if is_passing(write.code) => Meaning::Unknown,
        ErrorKind::Write(WriteFailure::WriteConcernError(_)) => Meaning::Unknown,
        ErrorKind::BsonDeserialization(_) | ErrorKind::Bson(_) | ErrorKind::InvalidResponse { .. } => {
            Meaning::Damaged
        }
        _ => Meaning::Nothing,
    }
}

/// An error of a read: nothing was written in any case.
pub(super) fn of_read(error: Error) -> StoreError {
    match meaning(&error) {
        Meaning::TooSlow => StoreError::Timeout,
        Meaning::Damaged => StoreError::Damaged(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// An error of a write.
pub(super) fn of_write(error: Error) -> StoreError {
    match meaning(&error) {
        Meaning::Nothing => StoreError::Unavailable(error.to_string()),
        Meaning::Duplicate => StoreError::Duplicate(error.to_string()),
        _ => StoreError::Unknown(error.to_string()),
    }
}

/// The same, but a broken uniqueness rule says what there is already.
pub(super) fn duplicate(error: StoreError, what: impl FnOnce() -> String) -> StoreError {
    match error {
        StoreError::Duplicate(_) => StoreError::Duplicate(what()),
        other => other,
    }
}

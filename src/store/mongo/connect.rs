//! Why there is no connection: whether it is worth trying again.

use std::error::Error as _;

use bson::{Document, doc};
use mongodb::Database;
use mongodb::error::{Error, ErrorKind};

use super::collection;
use super::failure::is_passing;
use super::watch::{Call, timed};
use crate::store::StoreError;

/// What the TLS library says of a certificate that isn't to be trusted, and of a server that speaks no TLS. The driver
/// hands on its words only.
const TLS: [&str; 2] = ["invalid peer certificate", "received corrupt message of type InvalidContentType"];

/// The server's code for what the account, or one without an account, may not do.
const UNAUTHORIZED: i32 = 13;

/// Why there is no store to work with.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// With these settings there never will be: they make no sense, or the server refuses the account in them.
    #[error("{0}")]
    Never(String),
    /// There may be one in a moment.
    #[error(transparent)]
    Now(#[from] StoreError),
}

impl From<ConnectError> for StoreError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Never(text) => Self::Unavailable(text),
            ConnectError::Now(error) => error,
        }
    }
}

/// Asks what any account of the farm may ask: what a server is, it tells everybody.
pub(super) async fn is_allowed(database: &Database) -> mongodb::error::Result<()> {
    let leases = database.collection::<Document>(collection::LEASES);
    let find = leases.find_one(doc! { "_id": "" });
    match timed(Call::Find, find.into_future()).await {
        Err(error) if matches!(error.kind.as_ref(), ErrorKind::Command(command) if command.code == UNAUTHORIZED) => {
            Err(error)
        }
        // Anything else meets whoever asks for more.
        _ => Ok(()),
    }
}

/// What an error of the first calls means.
pub(super) fn error(error: Error) -> ConnectError {
    let why = match error.kind.as_ref() {
        ErrorKind::Authentication { .. } if !passes(&error) => "the server refuses the account",
        ErrorKind::Command(command) if command.code == UNAUTHORIZED => "the server wants another account",
        ErrorKind::InvalidTlsConfig { .. } => "the settings of TLS can't be used",
        ErrorKind::InvalidArgument { .. } => "the settings can't be used",
        ErrorKind::IncompatibleServer { .. } => "the server is of no version that can be worked with",
        ErrorKind::ServerSelection { message, .. } if TLS.iter().any(|tls| message.contains(tls)) => {
            "the server and the settings of TLS don't fit"
        }
        _ => return StoreError::Unavailable(format!("MongoDB: {error}")).into(),
    };
    ConnectError::Never(format!("MongoDB: {why}: {}", error.kind))
}

/// Whether a login failed only because the server was about to change its role, or to stop.
fn passes(error: &Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<Error>());
    source.is_some_and(
        |source| matches!(source.kind.as_ref(), ErrorKind::Command(command) if is_passing(command.code)),
    )
}

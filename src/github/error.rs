//! Why GitHub has no answer. No text holds the token, or more of an answer than its status.

use std::time::Duration;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitHubError {
    /// The setting says to ask nobody.
    #[error("GitHub is switched off")]
    Off,
    /// Fewer calls are left than were used, until the next reset.
    #[error("Rate limit more than 50% consumed.")]
    HalfSpent,
    /// The HTTP client can't be set up.
    #[error("the HTTP client can't start: {0}")]
    Client(String),
    /// No connection, or one that broke.
    #[error("{url}: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// No whole answer in time.
    #[error("{url}: no answer within {}", seconds(timeout))]
    Timeout {
        /// What was asked.
        url: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// An answer, but not a good one. A redirection to elsewhere is one of these.
    #[error("{url}: status {status}")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
    },
    /// More than could be right.
    #[error("{url}: the answer is larger than {limit} bytes")]
    TooLarge {
        /// What was asked.
        url: String,
        /// Largest size.
        limit: usize,
    },
    /// An answer of the wrong form.
    #[error("{what} is not understood: {reason}")]
    NotUnderstood {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl GitHubError {
    /// An answer of the wrong form.
    pub fn not_understood(what: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::NotUnderstood { what, reason: reason.to_string() }
    }

    /// Whether the same question may have an answer a moment later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Status { status, .. } => matches!(status, 502..=504),
            _ => false,
        }
    }
}

fn seconds(timeout: &Duration) -> String {
    format!("{} s", timeout.as_secs_f64())
}

//! Asking again what is not there yet: a server is often started together with what it needs.

use std::fmt::Display;
use std::time::Duration;

use super::clock::stopwatch;

/// For how long to ask again, and the pause between two questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// No question is asked later than this after the first; the first is asked in any case.
    pub patience: Duration,
    /// Between an answer and the next question.
    pub pause: Duration,
}

impl Patience {
    /// One question, and what it answers.
    pub const NONE: Self = Self { patience: Duration::ZERO, pause: Duration::ZERO };

    /// Asks until there is an answer, or an error that doesn't pass with time. `waiting` is what the log says meanwhile.
    ///
    /// # Errors
    /// The last one.
    pub async fn ask<T, E: Display>(
        self,
        waiting: &str,
        passes: impl Fn(&E) -> bool,
        mut question: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let began = stopwatch();
        loop {
            match question().await {
                Err(error) if passes(&error) && began.elapsed() < self.patience => {
                    tracing::warn!(%error, "{waiting}; asking again");
                    tokio::time::sleep(self.pause).await;
                }
                answer => return answer,
            }
        }
    }
}

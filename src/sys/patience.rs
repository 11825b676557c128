//! Asking again what is not there yet: a server is often started together with what it needs.

use std::fmt::Display;
use std::time::Duration;

use parking_lot::Mutex;

use super::clock::stopwatch;

/// No pause is so many times longer than the first.
const LONGER: u32 = 8;

/// What this process waits for.
static WAITING: Mutex<Option<String>> = Mutex::new(None);

/// What this process waits for, and what the last answer was; None while it waits for nothing.
pub fn waiting_for() -> Option<String> {
    WAITING.lock().clone()
}

/// For how long to ask again, and the pause between two questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// No question is asked later than this after the first; the first is asked in any case.
    pub patience: Duration,
    /// Between the first answer and the next question; it doubles each time, up to eight times that.
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
        let mut pause = self.pause;
        loop {
            match question().await {
                Err(error) if passes(&error) && began.elapsed() < self.patience => {
                    tracing::warn!(%error, "{waiting}; asking again");
                    *WAITING.lock() = Some(format!("{waiting}: {error}"));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(self.pause * LONGER);
                }
                answer => {
                    *WAITING.lock() = None;
                    return answer;
                }
            }
        }
    }
}

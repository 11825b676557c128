//! Asking again what is not there yet: a server is often started together with what it needs.

use std::fmt::Display;
use std::time::Duration;

use parking_lot::Mutex;

use super::clock::stopwatch;

/// No pause is so many times longer than the first.
const LONGER: u32 = 8;

/// What somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Who is to blame, as `/readyz` names it.
    pub culprit: &'static str,
    /// What is missing.
    pub text: String,
}

impl Wait {
    /// For something without which nothing can begin: the usual reason.
    pub fn to_start(text: impl Into<String>) -> Self {
        Self { culprit: "starting", text: text.into() }
    }
}

/// What this process waits for.
static WAITING: Mutex<Option<Wait>> = Mutex::new(None);

/// What this process waits for, and what the last answer was; None while it waits for nothing.
pub fn waiting_for() -> Option<Wait> {
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

    /// Asks until there is an answer, or an error that doesn't pass with time. `waits_for` says what the one that passes means;
    /// the log and the probes say it meanwhile.
    ///
    /// # Errors
    /// The last one.
    pub async fn ask<T, E: Display>(
        self,
        waits_for: impl Fn(&E) -> Option<Wait>,
        mut question: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let began = stopwatch();
        let mut pause = self.pause;
        loop {
            let answer = question().await;
            let wait = answer.as_ref().err().and_then(&waits_for);
            match (answer, wait) {
                (Err(error), Some(Wait { culprit, text })) if began.elapsed() < self.patience => {
                    tracing::warn!(%error, "{text}; asking again");
                    *WAITING.lock() = Some(Wait { culprit, text: format!("{text}: {error}") });
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(self.pause * LONGER);
                }
                (answer, _) => {
                    *WAITING.lock() = None;
                    return answer;
                }
            }
        }
    }
}

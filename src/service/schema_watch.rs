//! Whether the schema is still one that this version can work with.
//!
//! It was when the store was opened. But while this process runs, others that share the store may change it: a release
//! that was meant for later, or a step that takes away what this one needs, applied before the last replica of this version was
//! gone. Then this replica says so, asks to be left alone and gives leadership away: its jobs write, and what they know of the
//! store is no longer true. It comes back by itself, and stands for leadership, when the schema fits again.

use std::sync::Arc;
use std::time::Duration;

use super::Farm;
use super::readiness::SCHEMA;
use crate::sys::spawn;
use crate::telemetry::catalogue::{DEPENDENCY_SECONDS, DEPENDENCY_UP};

/// It is looked at once in so many periods of the readiness checks: it changes once a release, if ever.
const PERIODS: u32 = 5;

/// What is known of it: what is wrong, and since when, by the monotonic clock.
pub(super) type Misfit = Option<(String, Duration)>;

impl Farm {
    /// Whether the schema is one that this version can't work with, as far as is known.
    pub(super) fn misfit(&self) -> bool {
        self.readiness.schema.lock().is_some()
    }

    /// Looks again and again, for as long as the farm lives.
    pub(super) fn watch_schema(self: &Arc<Self>) {
        let farm = Arc::downgrade(self);
        let period = self.settings.readiness.period * PERIODS;
        spawn::task("schema", async move {
            while let Some(farm) = farm.upgrade() {
                farm.look_at_schema().await;
                drop(farm);
                tokio::time::sleep(period).await;
            }
        });
    }

    /// One answer decides: what is written there is no hiccup. None, or a late one, says nothing: the store is asked elsewhere.
    async fn look_at_schema(&self) {
        let began = self.clock.monotonic();
        let answer = tokio::time::timeout(self.settings.readiness.deadline, self.store.misfit()).await;
        let Ok(Ok(misfit)) = answer else { return };
        let now = self.clock.monotonic();
        DEPENDENCY_SECONDS.record([SCHEMA], now.saturating_sub(began).as_secs_f64());
        DEPENDENCY_UP.set([SCHEMA], f64::from(u8::from(misfit.is_none())));
        let mut known = self.readiness.schema.lock();
        match (misfit, known.as_ref()) {
            (Some(error), before) => {
                if before.is_none() {
                    tracing::error!(%error, "the schema doesn't fit this version any more; not ready until it does");
                    self.election.reconsider();
                }
                let since = before.map_or(now, |(_, since)| *since);
                *known = Some((error.to_string(), since));
            }
            (None, Some(_)) => {
                tracing::info!("the schema fits again");
                *known = None;
                self.election.reconsider();
            }
            (None, None) => {}
        }
    }
}

//! What replicas tell one another: what one changed, the others may have cached.

use std::time::Duration;

use tokio::sync::broadcast;

use super::Farm;
use crate::state::Invalidation;
use crate::telemetry::catalogue;

/// Before asking for notes again, when their source has ended.
const PAUSE: Duration = Duration::from_secs(1);

impl Farm {
    /// Forgets everything that can be read again.
    pub(super) fn forget_all(&self) {
        self.accounts.invalidate();
        self.runs.forget_all();
    }

    /// Tells every replica, this one included, what changed behind what they may have cached. Best effort: caches end by
    /// themselves.
    pub(super) async fn tell(&self, note: Invalidation) {
        self.take_note(&note).await;
        if self.membership.is_shared()
            && let Err(error) = self.state.publish(&note).await
        {
            tracing::warn!(%error, ?note, "other replicas could not be told of a change; they learn of it later");
        }
    }

    /// Heeds what is told, for ever.
    pub(super) async fn heed(&self, mut notes: broadcast::Receiver<Invalidation>) {
        loop {
            match notes.recv().await {
                Ok(note) => self.take_note(&note).await,
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::info!(
                        missed,
                        "notes of other replicas were missed; whatever is cached is dropped"
                    );
                    catalogue::NOTES_MISSED.add([], missed);
                    self.forget_all();
                    self.reload_tables().await;
                    self.membership.doubt();
                }
                Err(broadcast::error::RecvError::Closed) => {
                    tokio::time::sleep(PAUSE).await;
                    notes = self.state.notes();
                    self.forget_all();
                }
            }
        }
    }

    /// Acts on what a replica told.
    pub async fn take_note(&self, note: &Invalidation) {
        match note {
            Invalidation::User(username) => self.accounts.forget(username),
            Invalidation::Run(run) => self.runs.forget(*run),
            Invalidation::Tables => self.reload_tables().await,
            Invalidation::Everything => {
                self.forget_all();
                self.reload_tables().await;
            }
            Invalidation::Contradicted(generation) => {
                if *generation == self.generation() && self.membership.contradict(*generation) {
                    self.membership.doubt();
                }
            }
        }
    }

    async fn reload_tables(&self) {
        if let Err(error) = self.load_own_tables().await {
            tracing::warn!(%error, "the tables could not be read again; the old ones stay");
        }
    }
}

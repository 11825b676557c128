//! A store that is away: noticed by a batch that waited in vain, over when the store answers again (architecture,
//! section 7). In between nobody is kept waiting for it.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::store::SharedStore;
use crate::telemetry::catalogue;

/// A failure that took less than this hindered nobody: the next batch may try its luck.
const LONG: Duration = Duration::from_secs(1);

/// Between two questions whether the store is back, and how long an answer may take.
const PAUSE: Duration = Duration::from_millis(250);
const DEADLINE: Duration = Duration::from_secs(5);

/// Whether the store is away, and the questions to it meanwhile.
#[derive(Default)]
pub(super) struct Absence {
    return_of_the_store: Option<BoxFuture<'static, ()>>,
}

impl Absence {
    /// Whether the store is believed to be away.
    pub(super) fn is_noticed(&self) -> bool {
        self.return_of_the_store.is_some()
    }

    /// A batch was not confirmed, which took so long. Whether that is taken for an absence.
    pub(super) fn notice(&mut self, took: Duration, store: &SharedStore) -> bool {
        if took < LONG || self.is_noticed() {
            return false;
        }
        catalogue::CIRCUIT_OPEN.set(["store"], 1.0);
        tracing::error!("the store is away; until it answers again, nothing waits for it");
        self.return_of_the_store = Some(Box::pin(returned(store.clone())));
        true
    }

    /// Completes when the store has come back; never while it isn't away. Can be dropped and called again.
    pub(super) async fn ended(&mut self) {
        match &mut self.return_of_the_store {
            Some(returned) => returned.await,
            None => std::future::pending().await,
        }
        self.return_of_the_store = None;
        catalogue::CIRCUIT_OPEN.set(["store"], 0.0);
        tracing::info!("the store is back");
    }
}

async fn returned(store: SharedStore) {
    loop {
        if let Ok(Ok(())) = tokio::time::timeout(DEADLINE, store.ping()).await {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::sqlite::{Mode, SqliteStore};

    #[tokio::test]
    async fn only_a_long_failure_is_an_absence_and_it_ends_with_an_answer() {
        let directory = tempfile::tempdir().unwrap();
        let store: SharedStore =
            Arc::new(SqliteStore::open(directory.path().join("farm.db"), Mode::Tool).unwrap());
        let mut absence = Absence::default();
        assert!(!absence.notice(LONG / 2, &store));
        assert!(!absence.is_noticed());
        assert!(absence.notice(LONG, &store));
        assert!(absence.is_noticed());
        absence.ended().await;
        assert!(!absence.is_noticed());
    }
}

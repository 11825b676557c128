//! Games that have outlived their time leave the store (`spec/storage.md` section 13), a slice at a time.

use super::Farm;
use super::error::ServiceResult;
use crate::domain::ids::RunId;
use crate::domain::retention::{GamesOf, games_expired};
use crate::store::codec::as_date;
use crate::telemetry::catalogue;

/// Uploads deleted in one step: the writer's other work must not wait for long.
const SLICE: usize = 50;

impl Farm {
    /// Deletes expired games; how many uploads.
    pub async fn expire_games(&self) -> ServiceResult<u64> {
        let mut deleted = 0;
        let mut after: Option<RunId> = None;
        while let Some(run) = self.store.next_run_with_pgns(after).await? {
            after = Some(run);
            if !self.games_expired(run).await? {
                continue;
            }
            loop {
                let gone = self.store.delete_pgns(run, SLICE).await?;
                deleted += gone;
                if gone < SLICE as u64 {
                    break;
                }
            }
        }
        if deleted > 0 {
            catalogue::PGNS_EXPIRED.add([], deleted);
            tracing::info!(uploads = deleted, "games have outlived their time");
        }
        Ok(deleted)
    }

    /// Games of a run that nobody knows are nobody's to delete.
    async fn games_expired(&self, run: RunId) -> ServiceResult<bool> {
        let Some(doc) = self.run_document(run).await? else { return Ok(false) };
        let flag = |key: &str| doc.get_bool(key).unwrap_or(false);
        let Some(last_updated) = as_date(doc.get("last_updated")) else { return Ok(false) };
        let tc = doc.get_document("args").and_then(|args| args.get_str("tc")).unwrap_or_default();
        let games = GamesOf { finished: flag("finished"), deleted: flag("deleted"), tc, last_updated };
        Ok(games_expired(&games, self.now()))
    }
}

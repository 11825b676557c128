//! Blocking workers.

use super::Farm;
use super::documents::log_entry;
use super::error::{ServiceError, ServiceResult};
use crate::domain::action::{Action, Event};
use crate::domain::ids::{Millis, ShortWorkerName};
use crate::domain::names::is_short_worker_name;
use crate::store::WorkerBlock;
use crate::sys::random;

/// Longest reason, in characters.
const MAX_REASON_CHARS: usize = 500;

/// How often a change is tried again when somebody else changes the same block.
const TRIES: usize = 8;

impl Farm {
    /// Blocks or unblocks a worker by its short name. A longer reason is cut. Running tasks go on.
    pub async fn block_worker(
        &self,
        actor: &str,
        name: &str,
        blocked: bool,
        reason: &str,
    ) -> ServiceResult<WorkerBlock> {
        if !is_short_worker_name(name) {
            return Err(ServiceError::Invalid(format!(
                "worker: {name:?} is not a short worker name (username-8cores-1a2b3c4d)"
            )));
        }
        let name = ShortWorkerName(name.to_owned());
        let reason = reason.replace("\r\n", "\n");
        let message: String = reason.trim_end().chars().take(MAX_REASON_CHARS).collect();
        for _ in 0..TRIES {
            let before = self.store.worker(&name).await?;
            // Later than the change before, so that the log has them in their order, whoever's clock is ahead.
            let earliest =
                before.as_ref().map_or(Millis(0), |before| Millis(before.last_updated.0.saturating_add(1)));
            let time = self.now().max(earliest);
            let block = WorkerBlock {
                id: before.as_ref().map_or_else(random::object_id, |block| block.id),
                name: name.clone(),
                blocked,
                message: message.clone(),
                last_updated: time,
            };
            let changed = before.as_ref().is_some_and(|block| block.blocked) != blocked;
            let entries = if changed {
                let event = Event::BlockWorker { worker: name.clone(), blocked };
                vec![log_entry(&Action::by(actor.to_owned(), event), time)]
            } else {
                Vec::new()
            };
            if self.store.change_worker(&block, before.as_ref(), &entries).await? {
                self.mirror_block(&name).await?;
                return Ok(block);
            }
        }
        Err(ServiceError::Unavailable(format!("the block of {name} is being changed by others")))
    }

    /// Brings what the store says of a worker into the schedule. Whoever writes there last has seen the store after that, so
    /// of several changes at once the schedule ends with the store's.
    async fn mirror_block(&self, name: &ShortWorkerName) -> ServiceResult<()> {
        let message =
            |block: Option<WorkerBlock>| block.filter(|block| block.blocked).map(|block| block.message);
        let mut stored = message(self.store.worker(name).await?);
        for _ in 0..TRIES {
            self.state.block_worker(name, stored.clone()).await?;
            let now = message(self.store.worker(name).await?);
            if now == stored {
                return Ok(());
            }
            stored = now;
        }
        Err(ServiceError::Unavailable(format!("the block of {name} is being changed by others")))
    }

    /// Brings blocks that died between store and schedule into the schedule. One that was lifted so is found when its
    /// worker asks next.
    pub async fn mirror_blocks(&self) -> ServiceResult<()> {
        for block in self.store.blocked_workers().await? {
            self.mirror_block(&block.name).await?;
        }
        Ok(())
    }

    /// Notes that a blocked worker asked for a task.
    pub(super) async fn note_blocked_request(&self, name: &ShortWorkerName) -> ServiceResult<()> {
        match self.store.worker(name).await? {
            Some(before) if before.blocked => {
                // Never back: the next change is dated after it.
                let last_updated = self.now().max(before.last_updated);
                let block = WorkerBlock { last_updated, ..before.clone() };
                // A block that is changed meanwhile must not come back by this.
                self.store.change_worker(&block, Some(&before), &[]).await?;
            }
            _ => self.mirror_block(name).await?,
        }
        Ok(())
    }
}

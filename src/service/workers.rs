//! Blocking workers.

use super::Farm;
use super::documents::log_entry;
use super::error::{ServiceError, ServiceResult};
use crate::domain::action::{Action, Event};
use crate::domain::ids::ShortWorkerName;
use crate::domain::names::is_short_worker_name;
use crate::store::WorkerBlock;
use crate::sys::random;

/// Longest reason, in characters.
const MAX_REASON_CHARS: usize = 500;

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
        let _alone = self.blocks.lock().await;
        let before = self.store.worker(&name).await?;
        let reason = reason.replace("\r\n", "\n");
        let message: String = reason.trim_end().chars().take(MAX_REASON_CHARS).collect();
        let block = WorkerBlock {
            id: before.as_ref().map_or_else(random::object_id, |block| block.id),
            name: name.clone(),
            blocked,
            message: message.clone(),
            last_updated: self.now(),
        };
        let changed = before.is_some_and(|block| block.blocked) != blocked;
        let entries = if changed {
            let event = Event::BlockWorker { worker: name.clone(), blocked };
            vec![log_entry(&Action::by(actor.to_owned(), event), self.now())]
        } else {
            Vec::new()
        };
        self.store.put_worker(&block, &entries).await?;
        self.state.block_worker(&name, blocked.then_some(message)).await?;
        Ok(block)
    }

    /// Notes that a blocked worker asked for a task.
    pub(super) async fn note_blocked_request(&self, name: &ShortWorkerName) -> ServiceResult<()> {
        // A block that is lifted meanwhile must not come back by this.
        let _alone = self.blocks.lock().await;
        if let Some(mut block) = self.store.worker(name).await?
            && block.blocked
        {
            block.last_updated = self.now();
            self.store.put_worker(&block, &[]).await?;
        }
        Ok(())
    }
}

//! What is answered while the store is away (`durability.md` section 10).
//!
//! `refuse` answers nothing that isn't durable: workers bridge about a minute of that by themselves. `degrade` goes
//! on counting the results of tasks that are in the store already: such an answer survives the loss of the store or
//! the loss of the schedule, not of both. Whatever hands out work or ends something is never answered so.

use super::Farm;
use super::error::{ServiceError, ServiceResult};
use crate::domain::ids::Version;
use crate::state::TaskView;
use crate::telemetry::catalogue;

/// See the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StorePolicy {
    /// Nothing is acknowledged that isn't durable.
    #[default]
    Refuse,
    /// Results of tasks that the store knows are acknowledged from the schedule, up to a bound.
    Degrade,
}

impl Farm {
    /// Whether a report that the schedule has counted may be acknowledged although it isn't durable: passes `error`
    /// on if not.
    pub(super) async fn acknowledge_undurable(
        &self,
        error: ServiceError,
        task: &TaskView,
    ) -> ServiceResult<()> {
        let is_absence = matches!(error, ServiceError::NotDurable(_));
        let is_known = task.durable > Version(0);
        if self.settings.store_policy == StorePolicy::Refuse || !is_absence || !is_known {
            return Err(error);
        }
        let waiting = self.state.count_dirty().await?;
        if waiting > self.settings.degrade_limit {
            catalogue::DEGRADED_UPDATES.increment(["refused"]);
            return Err(ServiceError::Unavailable(format!(
                "{waiting} tasks wait for the store, more than may be answered without it"
            )));
        }
        catalogue::DEGRADED_UPDATES.increment(["acknowledged"]);
        let key = task.record.key;
        tracing::debug!(run = %key.run, task = %key.task, "a report is acknowledged that the store has not confirmed");
        Ok(())
    }
}

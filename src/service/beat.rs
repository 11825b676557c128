//! `beat`: a worker's sign of life.

use super::Farm;
use super::error::ServiceResult;
use super::lookup::{Named, caller};
use crate::domain::validate::WorkerRequest;
use crate::state::BeatOutcome;

impl Farm {
    /// Whether the task is alive; if it is, its clock starts anew. Nothing durable depends on it.
    pub async fn beat(&self, request: &WorkerRequest) -> ServiceResult<bool> {
        let named = Named::of(request);
        let key = match named.required() {
            Ok(key) => key,
            Err(error) => {
                // What is named is checked before what is missing.
                self.check_named(request).await?;
                return Err(error);
            }
        };
        let who = caller(request, key);
        match self.state.beat(self.generation(), &who).await? {
            BeatOutcome::Alive(alive) => Ok(alive),
            BeatOutcome::Absent(absent) => {
                self.closed_task(&who, absent).await?;
                Ok(false)
            }
        }
    }
}

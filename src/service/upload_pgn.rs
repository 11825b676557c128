//! `upload_pgn`: a task's games.

use super::Farm;
use super::error::{ServiceError, ServiceResult};
use super::lookup::Named;
use crate::domain::pgn::check_upload;
use crate::domain::validate::WorkerRequest;
use crate::sys::{random, spawn};

impl Farm {
    /// Checks and stores the games. Whether task and run are still active doesn't matter.
    pub async fn upload_pgn(&self, mut request: WorkerRequest) -> ServiceResult<()> {
        self.check_named(&request).await?;
        let pgn = request.pgn.take();
        let limit = self.settings.max_unpacked_pgn;
        // Decoding takes time in proportion to the games: away from the event loop.
        let checked = spawn::blocking(move || check_upload(pgn.as_deref(), limit)).await;
        let gzip = checked
            .map_err(|error| ServiceError::Bug(format!("checking an upload: {error}")))?
            .map_err(|error| ServiceError::Invalid(error.to_string()))?;
        let key = Named::of(&request).required()?;
        self.store.insert_pgn(key, random::object_id(), &gzip).await?;
        Ok(())
    }
}

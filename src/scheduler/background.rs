//! Jobs that wait for others' servers run beside the schedule, so that a slow one never holds it up.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::carry_out;
use super::jobs::Job;
use crate::service::Farm;
use crate::service::election::Leadership;
use crate::sys::spawn;

/// The jobs that are under way, each once at most. Those that are when it is dropped are given up.
#[derive(Debug, Default)]
pub struct Background {
    running: HashMap<Job, JoinHandle<()>>,
}

impl Background {
    /// Starts a job, unless it is still running since last time. Returns whether it was started.
    pub fn start(&mut self, job: Job, farm: &Arc<Farm>, leadership: &Leadership) -> bool {
        if self.running.get(&job).is_some_and(|handle| !handle.is_finished()) {
            return false;
        }
        let (farm, leadership) = (farm.clone(), leadership.clone());
        let handle = spawn::task(job.name(), async move { carry_out(job, &farm, &leadership).await });
        self.running.insert(job, handle);
        true
    }

    /// Gives up what is under way, and waits until nothing is.
    pub async fn give_up(&mut self) {
        for (_, handle) in self.running.drain() {
            handle.abort();
            drop(handle.await);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for handle in self.running.values() {
            handle.abort();
        }
    }
}

//! Who carries out a saga: at most one task of a process per run, and somebody in the end.
//!
//! A saga whose process died, or whose task died, or met a store that was away, leaves its operation in the schedule. [`Farm::take_up_sagas`]
//! goes on with it, as a rebuild does with what it finds in the store.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Farm;
use super::error::{ServiceError, ServiceResult};
use crate::domain::ids::RunId;
use crate::domain::run::{Phase, RunOperation};
use crate::sys::spawn;
use crate::telemetry::catalogue;
use crate::telemetry::metric::Held;

/// An operation younger than this is left to whoever began it, ms.
const GRACE: i64 = 5000;

/// Runs that are in the hands of a task of this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashSet<RunId>>>);

/// The right to change a run's phase; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    run: RunId,
    _shown: Held<0>,
}

/// A saga under way.
pub(super) struct Saga {
    /// Learns when phase and operation are durable, or why not.
    pub(super) durable: oneshot::Receiver<ServiceResult<()>>,
    /// Ends with all of it.
    pub(super) rest: tokio::task::JoinHandle<ServiceResult<()>>,
}

impl Turns {
    /// The turn for a run; None while another task has it.
    pub(super) fn begin(&self, run: RunId) -> Option<Turn> {
        self.0.lock().insert(run).then(|| Turn {
            turns: self.clone(),
            run,
            _shown: catalogue::SAGAS.hold([]),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.0.lock().remove(&self.run);
    }
}

impl Farm {
    /// Carries out the saga of a run whose phase was flipped, in a task of its own, so that a caller who goes away
    /// interrupts nothing.
    pub(super) fn start_saga(&self, turn: Turn, run: RunId, operation: RunOperation) -> ServiceResult<Saga> {
        let Some(farm) = self.handle() else {
            return Err(ServiceError::Unavailable("the farm is shutting down".to_owned()));
        };
        let (durable, wait) = oneshot::channel();
        let rest = spawn::task("finish", async move {
            let _turn = turn;
            let begun = farm.make_saga_durable(run).await;
            let failed = begun.clone().err();
            let _ = durable.send(begun);
            let outcome = match failed {
                Some(error) => Err(error),
                None => farm.close_down(run, operation.id).await,
            };
            if let Err(error) = &outcome {
                tracing::error!(%run, %error, "finishing is interrupted; it will be taken up again");
            }
            outcome
        });
        Ok(Saga { durable: wait, rest })
    }

    /// The run document with phase and operation, behind all its tasks. A saga at its last step has that behind it.
    async fn make_saga_durable(&self, run: RunId) -> ServiceResult<()> {
        let Some(view) = self.state.read_run(run).await?.filter(|view| view.phase != Phase::Finished) else {
            return Ok(());
        };
        let cached = self.runs.at_least(run, view.args_version).await?;
        let cached = cached.ok_or_else(|| ServiceError::Bug(format!("run {run} is not in the store")))?;
        self.flush_run(run, &cached).await
    }

    /// Goes on with sagas that nobody carries out, but for those that began a moment ago. Returns how many.
    pub async fn take_up_sagas(&self) -> ServiceResult<usize> {
        let latest = self.state.now().await?.0 - GRACE;
        let mut taken_up = 0;
        for view in self.state.read_runs().await? {
            // The turn of a running run is not taken, not even for a moment: it would refuse whoever stops it.
            if view.phase == Phase::Running || view.operation.is_none() {
                continue;
            }
            let run = view.id;
            let Some(turn) = self.sagas.begin(run) else { continue };
            // Looked at under the turn: what was true before may be over.
            let Some(view) = self.state.read_run(run).await? else { continue };
            let Some(operation) = view.operation.filter(|_| view.phase != Phase::Running) else { continue };
            if operation.time.0 > latest {
                continue;
            }
            tracing::info!(%run, reason = ?operation.reason, "taking up an interrupted saga");
            self.start_saga(turn, run, operation)?;
            taken_up += 1;
        }
        Ok(taken_up)
    }
}

//! A run and its tasks, into the store.

use bson::Document;

use super::Outcome;
use super::fields::{Check, Fault};
use super::run_input::RunInput;
use super::run_parts::{RunParts, TaskReader, split};
use crate::domain::ids::{Generation, RunId, TaskId};
use crate::store::{NO_VERSION, RunMeta, Store, StoreError, StoreResult, codec};
use crate::sys::spawn;

/// Tasks in one write.
const CHUNK: usize = 200;

/// Imports a run. Its tasks go first: a run that is there is there completely, so that an interrupted import can be
/// started again, and no server finds half a run.
pub(super) async fn import_run(store: &dyn Store, input: RunInput) -> StoreResult<Outcome> {
    // Looking through hundreds of thousands of tasks takes its time: off the event loop.
    let parts = match spawn::blocking(move || split(input)).await {
        Ok(Ok(parts)) => parts,
        Ok(Err(fault)) => return Ok(Outcome::Rejected(fault)),
        Err(error) => return Ok(Outcome::Rejected(Fault::whole(format!("reading it failed: {error}")))),
    };
    let RunParts { run, mut tasks, warnings } = parts;
    let another = || Outcome::Rejected(Fault::of("_id", "there is another run with that `_id`"));
    let stored = match stored_tasks_agree(store, run.id, &mut tasks).await? {
        Ok(stored) => stored,
        Err(fault) => return Ok(Outcome::Rejected(fault)),
    };
    if let Some(there) = store.run(run.id).await? {
        if !untouched(&there.meta) {
            // It lives here now, and has gone on.
            return Ok(Outcome::AlreadyThere);
        }
        let same = stored && tasks.is_done() && encoded(&there.doc)? == encoded(&run.doc)?;
        return Ok(if same { Outcome::AlreadyThere } else { another() });
    }
    if !stored {
        let reason = "an interrupted import of another export has left other tasks of this run";
        return Ok(Outcome::Rejected(Fault::of("tasks", reason)));
    }
    while !tasks.is_done() {
        match tasks.page(CHUNK) {
            Ok(page) => store.insert_tasks(&page).await?,
            Err(fault) => return Ok(Outcome::Rejected(fault)),
        }
    }
    match store.insert_run(&run, &[]).await {
        Ok(()) => Ok(Outcome::Taken(warnings)),
        Err(StoreError::Duplicate(_)) => Ok(another()),
        Err(error) => Err(error),
    }
}

/// Whether nobody has changed a run since it was imported.
fn untouched(meta: &RunMeta) -> bool {
    meta.generation == Generation(0) && meta.version == NO_VERSION && meta.args_version == 1
}

/// Whether what is in the store of the run's tasks are the first of these. The reader then stands behind them.
async fn stored_tasks_agree(
    store: &dyn Store,
    run: RunId,
    tasks: &mut TaskReader,
) -> StoreResult<Check<bool>> {
    let mut from = TaskId(0);
    loop {
        let stored = store.tasks(run, from, CHUNK).await?;
        let ours = match tasks.page(stored.len()) {
            Ok(ours) => ours,
            Err(fault) => return Ok(Err(fault)),
        };
        if ours.len() < stored.len() {
            return Ok(Ok(false));
        }
        for (there, ours) in stored.iter().zip(&ours) {
            let same = there.key == ours.key
                && encoded(&codec::task_document(there)?)? == encoded(&codec::task_document(ours)?)?;
            if !same {
                return Ok(Ok(false));
            }
        }
        let Some(last) = stored.last().filter(|_| stored.len() == CHUNK) else { return Ok(Ok(true)) };
        from = TaskId(last.key.task.0.saturating_add(1));
    }
}

/// Bytes compare by value where documents don't: a number that is none equals itself.
fn encoded(document: &Document) -> StoreResult<Vec<u8>> {
    document.to_vec().map_err(|error| StoreError::Damaged(error.to_string()))
}

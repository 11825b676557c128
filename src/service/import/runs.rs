//! A run and its tasks, into the store.

use bson::Document;

use super::Outcome;
use super::run_parts::{RunParts, split};
use crate::domain::ids::{Generation, RunId, TaskId};
use crate::domain::task::TaskRecord;
use crate::store::{NO_VERSION, RunMeta, Store, StoreError, StoreResult, codec};

/// Tasks in one write.
const CHUNK: usize = 200;

/// Imports a run. Its tasks go first: a run that is there is there completely, so that an interrupted import can be
/// started again, and no server finds half a run.
pub(super) async fn import_run(store: &dyn Store, document: Document) -> StoreResult<Outcome> {
    let RunParts { run, tasks, warnings } = match split(document) {
        Ok(parts) => parts,
        Err(reason) => return Ok(Outcome::Rejected(reason)),
    };
    let another = || Outcome::Rejected("there is another run with that `_id`".to_owned());
    let stored = stored_tasks_agree(store, run.id, &tasks).await?;
    if let Some(there) = store.run(run.id).await? {
        if !untouched(&there.meta) {
            // It lives here now, and has gone on.
            return Ok(Outcome::AlreadyThere);
        }
        let same = stored == Some(tasks.len()) && encoded(&there.doc)? == encoded(&run.doc)?;
        return Ok(if same { Outcome::AlreadyThere } else { another() });
    }
    let Some(stored) = stored else {
        let reason = "an interrupted import of another export has left other tasks of this run";
        return Ok(Outcome::Rejected(reason.to_owned()));
    };
    for chunk in tasks.get(stored..).unwrap_or_default().chunks(CHUNK) {
        store.insert_tasks(chunk).await?;
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

/// How many tasks of the run are in the store, if they are the first of these.
async fn stored_tasks_agree(
    store: &dyn Store,
    run: RunId,
    tasks: &[TaskRecord],
) -> StoreResult<Option<usize>> {
    let mut stored = 0;
    loop {
        let from = TaskId(u32::try_from(stored).unwrap_or(u32::MAX));
        let page = store.tasks(run, from, CHUNK).await?;
        for there in &page {
            let Some(ours) = tasks.get(stored) else { return Ok(None) };
            let same = there.key == ours.key
                && encoded(&codec::task_document(there)?)? == encoded(&codec::task_document(ours)?)?;
            if !same {
                return Ok(None);
            }
            stored += 1;
        }
        if page.len() < CHUNK {
            return Ok(Some(stored));
        }
    }
}

/// Bytes compare by value where documents don't: a number that is none equals itself.
fn encoded(document: &Document) -> StoreResult<Vec<u8>> {
    document.to_vec().map_err(|error| StoreError::Damaged(error.to_string()))
}

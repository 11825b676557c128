//! Games of tasks (`spec/storage.md` section 8).

use bson::oid::ObjectId;
use bson::{Bson, Document};

use super::Outcome;
use super::fields::{Check, Fault, count, not_kept, object_id, required_text};
use crate::domain::ids::{RunId, TaskId, TaskKey};
use crate::store::{Store, StoreError, StoreResult};

/// First bytes of a gzip member.
const GZIP: [u8; 2] = [0x1f, 0x8b];

struct Upload {
    id: ObjectId,
    key: TaskKey,
    bytes: Vec<u8>,
    warnings: Vec<String>,
}

/// An upload of games.
pub(super) async fn import_pgn(store: &dyn Store, document: Document) -> StoreResult<Outcome> {
    let upload = match read_upload(document) {
        Ok(upload) => upload,
        Err(fault) => return Ok(Outcome::Rejected(fault)),
    };
    if let Some(there) = store.pgn_by_id(upload.id).await? {
        if there == upload.bytes {
            return Ok(Outcome::AlreadyThere);
        }
        return Ok(Outcome::Rejected(Fault::of("_id", "there are other games with that `_id`")));
    }
    match store.insert_pgn(upload.key, upload.id, &upload.bytes).await {
        Ok(()) => Ok(Outcome::Taken(upload.warnings)),
        Err(StoreError::Duplicate(what)) => {
            Ok(Outcome::Rejected(Fault::of("_id", format!("there is already a {what}"))))
        }
        Err(error) => Err(error),
    }
}

fn read_upload(mut document: Document) -> Check<Upload> {
    let id = object_id(&document)?;
    let key = task_key(required_text(&document, "run_id")?)
        .ok_or_else(|| Fault::of("run_id", "`run_id` is not <24 hex digits>-<task number>"))?;
    let size = count(&document, "size")?;
    let Some(Bson::Binary(binary)) = document.remove("pgn_zip") else {
        return Err(Fault::of("pgn_zip", "`pgn_zip` is not binary"));
    };
    if !binary.bytes.starts_with(&GZIP) {
        return Err(Fault::of("pgn_zip", "`pgn_zip` is not gzip"));
    }
    let mut warnings = not_kept(&document, &["_id", "run_id", "size"]);
    let bytes = u64::try_from(binary.bytes.len()).unwrap_or(u64::MAX);
    if size != Some(bytes) {
        warnings.push(format!("`size` is not the {bytes} bytes of `pgn_zip`; corrected"));
    }
    Ok(Upload { id, key, bytes: binary.bytes, warnings })
}

fn task_key(text: &str) -> Option<TaskKey> {
    let (run, task) = text.split_once('-')?;
    let plain = !task.is_empty()
        && task.bytes().all(|b| b.is_ascii_digit())
        && (task == "0" || !task.starts_with('0'));
    let task = plain.then(|| task.parse().ok()).flatten()?;
    Some(TaskKey { run: RunId::parse(run)?, task: TaskId(task) })
}

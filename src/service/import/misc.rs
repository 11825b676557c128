//! Blocks of workers, networks, and the key-value collection (`spec/storage.md` sections 7, 9 and 10).

use bson::{Bson, Document};

use super::Outcome;
use super::fields::{
    Check, Fault, count, flag, missing, not_kept, object_id, required_text, same_document, same_value, text,
};
use crate::domain::ids::ShortWorkerName;
use crate::domain::names::{is_net_name, is_short_worker_name};
use crate::store::codec::as_date;
use crate::store::{Store, StoreResult, WorkerBlock};

/// A worker's block state.
pub(super) async fn import_worker(store: &dyn Store, document: Document) -> StoreResult<Outcome> {
    let block = match read_block(&document) {
        Ok(block) => block,
        Err(fault) => return Ok(Outcome::Rejected(fault)),
    };
    match store.worker(&block.name).await? {
        Some(there) if there == block => Ok(Outcome::AlreadyThere),
        Some(_) => Ok(Outcome::Differs),
        None => {
            store.put_worker(&block, &[]).await?;
            let known = ["_id", "worker_name", "blocked", "message", "last_updated"];
            Ok(Outcome::Taken(not_kept(&document, &known)))
        }
    }
}

fn read_block(document: &Document) -> Check<WorkerBlock> {
    let name = required_text(document, "worker_name")?;
    if !is_short_worker_name(name) {
        let reason = "`worker_name` is not <username>-<number>cores-<2 to 8 letters and digits>";
        return Err(Fault::of("worker_name", reason));
    }
    Ok(WorkerBlock {
        id: object_id(document)?,
        name: ShortWorkerName(name.to_owned()),
        blocked: flag(document, "blocked")?.ok_or_else(|| missing("blocked"))?,
        message: text(document, "message")?.unwrap_or_default().to_owned(),
        last_updated: as_date(document.get("last_updated"))
            .ok_or_else(|| Fault::of("last_updated", "`last_updated` is not a date"))?,
    })
}

/// A network's document, without the network itself, which very old ones hold.
pub(super) async fn import_net(store: &dyn Store, mut document: Document) -> StoreResult<Outcome> {
    document.remove("nn");
    let name = match net_name(&document) {
        Ok(name) => name,
        Err(fault) => return Ok(Outcome::Rejected(fault)),
    };
    match store.net(&name).await? {
        Some(there) if same_document(&there, &document) => Ok(Outcome::AlreadyThere),
        Some(_) => Ok(Outcome::Differs),
        None => {
            store.put_net(&document).await?;
            Ok(Outcome::Taken(Vec::new()))
        }
    }
}

fn net_name(document: &Document) -> Check<String> {
    object_id(document)?;
    text(document, "user")?;
    count(document, "downloads")?;
    let name = required_text(document, "name")?;
    if !is_net_name(name) {
        return Err(Fault::of("name", "`name` is not nn-<12 hex digits>.nnue"));
    }
    Ok(name.to_owned())
}

/// A value of the key-value collection, verbatim. One that is there is newer.
pub(super) async fn import_kv(store: &dyn Store, mut document: Document) -> StoreResult<Outcome> {
    let (key, value) = match (document.remove("_id"), document.remove("value")) {
        (Some(Bson::String(key)), Some(value)) => (key, value),
        (Some(Bson::String(_)), None) => return Ok(Outcome::Rejected(missing("value"))),
        _ => return Ok(Outcome::Rejected(Fault::of("_id", "`_id` is not a text"))),
    };
    if let Err(fault) = check_value(&key, &value) {
        return Ok(Outcome::Rejected(fault));
    }
    if let Some(field) = document.keys().next() {
        return Ok(Outcome::Rejected(Fault::of(field, format!("`{field}` beside `_id` and `value`"))));
    }
    match store.kv(&key).await? {
        Some(there) if same_value(&there, &value) => Ok(Outcome::AlreadyThere),
        Some(_) => Ok(Outcome::Differs),
        None => {
            store.put_kv(&key, &value).await?;
            Ok(Outcome::Taken(Vec::new()))
        }
    }
}

/// Values that the server itself reads must have its form; others are merely kept.
fn check_value(key: &str, value: &Bson) -> Check<()> {
    let good = match key {
        "books" | "worker_runs" | "github_api_cache" => matches!(value, Bson::Document(_)),
        "official_master_sha" => matches!(value, Bson::String(_)),
        "legacy_usernames" => {
            matches!(value, Bson::Array(names) if names.iter().all(|name| matches!(name, Bson::String(_))))
        }
        _ => true,
    };
    if good { Ok(()) } else { Err(Fault::of("value", "`value` is not what this key holds")) }
}

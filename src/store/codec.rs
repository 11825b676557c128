//! Between records and documents: the one place that knows the layout of both.
//!
//! A task's document has fishtest's fields (`spec/storage.md` section 3.5) first, in its order, and Shoal's own under
//! the key [`OWN`]. The public form and the exported form leave that key out.

use std::sync::Arc;

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Document, doc};

use super::{StoreError, StoreResult, legacy_form};
use crate::domain::action::CloseCause;
use crate::domain::ids::{Generation, Millis, ShortWorkerName, TaskKey, Version, WriteId};
use crate::domain::results::Stats;
use crate::domain::run::Phase;
use crate::domain::task::{BadMark, BodyDigest, SpsaRound, TailEntry, TaskRecord, TaskWorker};

/// Key of what Shoal keeps in a document beside fishtest's fields.
pub const OWN: &str = "shoal";

/// Key, within [`OWN`], of the form that a task was imported in. In a record it stands in `extra`, under [`OWN`].
const LEGACY_FORM: &str = "legacy_form";

/// An integer as fishtest stores it: 32 bits when it fits, else 64 (`spec/storage.md` section 1).
pub fn int(value: u64) -> Bson {
    crate::domain::bson_number::int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// A number of any numeric type as a count; negative and fractional ones are none.
pub fn as_count(value: Option<&Bson>) -> Option<u64> {
    match value? {
        Bson::Int32(n) => u64::try_from(*n).ok(),
        Bson::Int64(n) => u64::try_from(*n).ok(),
        Bson::Double(x) if *x >= 0.0 && x.fract() == 0.0 && *x < 9.0e15 => Some(*x as u64),
        _ => None,
    }
}

/// A number of any numeric type.
pub fn as_number(value: Option<&Bson>) -> Option<f64> {
    match value? {
        Bson::Int32(n) => Some(f64::from(*n)),
        Bson::Int64(n) => Some(*n as f64),
        Bson::Double(x) => Some(*x),
        _ => None,
    }
}

/// A date.
pub fn date(at: Millis) -> Bson {
    Bson::DateTime(DateTime::from_millis(at.0))
}

/// A date, if it is one.
pub fn as_date(value: Option<&Bson>) -> Option<Millis> {
    match value? {
        Bson::DateTime(at) => Some(Millis(at.timestamp_millis())),
        _ => None,
    }
}

/// The name of a phase in the store.
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Running => "running",
        Phase::Finishing => "finishing",
        Phase::Purging => "purging",
        Phase::Finished => "finished",
    }
}

/// The phase of a name.
pub fn phase_named(name: &str) -> Option<Phase> {
    [Phase::Running, Phase::Finishing, Phase::Purging, Phase::Finished]
        .into_iter()
        .find(|phase| phase_name(*phase) == name)
}

/// Statistics as a document of six keys.
pub fn stats_document(stats: &Stats) -> Document {
    doc! {
        "wins": int(stats.wins),
        "losses": int(stats.losses),
        "draws": int(stats.draws),
        "crashes": int(stats.crashes),
        "time_losses": int(stats.time_losses),
        "pentanomial": stats.pentanomial.iter().map(|p| int(*p)).collect::<Vec<_>>(),
    }
}

/// Statistics from a document; whatever is missing counts as zero (`spec/storage.md` section 3.12).
pub fn read_stats(doc: &Document) -> Stats {
    let count = |key: &str| as_count(doc.get(key)).unwrap_or(0);
    let mut pentanomial = [0; 5];
    if let Ok(stored) = doc.get_array("pentanomial") {
        for (slot, value) in pentanomial.iter_mut().zip(stored) {
            *slot = as_count(Some(value)).unwrap_or(0);
        }
    }
    Stats {
        wins: count("wins"),
        losses: count("losses"),
        draws: count("draws"),
        crashes: count("crashes"),
        time_losses: count("time_losses"),
        pentanomial,
    }
}

/// Sets a value at a path; dots lead into sub-documents, which are made where they are missing.
pub fn set_path(doc: &mut Document, path: &str, value: Bson) {
    match path.split_once('.') {
        None => {
            doc.insert(path, value);
        }
        Some((head, rest)) => {
            if !matches!(doc.get(head), Some(Bson::Document(_))) {
                doc.insert(head, Document::new());
            }
            if let Some(Bson::Document(inner)) = doc.get_mut(head) {
                set_path(inner, rest, value);
            }
        }
    }
}

/// A task in fishtest's layout: what `tasks[n]` holds, in the form that it was imported in as far as it has not changed.
pub fn public_task(record: &TaskRecord) -> Document {
    let mut out = plain_task(record);
    legacy_form::restore(&mut out, &record.extra);
    out
}

/// A task in the layout of today, whatever form it was imported in.
pub fn plain_task(record: &TaskRecord) -> Document {
    let mut out = doc! { "num_games": int(record.num_games), "active": record.active };
    if record.worker.is_some() || !record.worker_info.is_empty() {
        out.insert("worker_info", worker_info(record));
    }
    out.insert("last_updated", date(record.last_updated));
    out.insert("start", int(record.start));
    out.insert("stats", stats_document(&record.stats));
    if record.bad.is_some() {
        out.insert("bad", true);
    }
    if let Some(round) = &record.spsa_round {
        out.insert("spsa_params", spsa_round_document(round));
    }
    out.extend(record.extra.clone());
    out.remove(OWN);
    out
}

/// A purged task as `bad_tasks[n]` holds it; None if the task isn't bad.
pub fn bad_task(record: &TaskRecord) -> Option<Document> {
    let mark = record.bad.as_ref()?;
    let mut out = doc! { "num_games": int(record.num_games), "active": false };
    if record.worker.is_some() || !record.worker_info.is_empty() {
        out.insert("worker_info", worker_info(record));
    }
    out.insert("last_updated", date(record.last_updated));
    out.insert("start", int(record.start));
    out.insert("stats", stats_document(&mark.stats));
    out.insert("task_id", int(u64::from(record.key.task.0)));
    out.insert("bad", true);
    out.insert("residual", mark.residual);
    out.insert("residual_color", mark.residual_color.clone());
    out.extend(mark.extra.clone());
    out.remove(OWN);
    legacy_form::restore(&mut out, &mark.extra);
    Some(out)
}

/// The worker information with the address in its place: after the worker's own keys, before the country.
fn worker_info(record: &TaskRecord) -> Document {
    let mut out = (*record.worker_info).clone();
    let Some(worker) = &record.worker else { return out };
    let country = out.remove("country_code");
    // Very old documents have no address.
    if !worker.remote_addr.is_empty() {
        out.insert("remote_addr", worker.remote_addr.clone());
    }
    if let Some(country) = country {
        out.insert("country_code", country);
    }
    out
}

fn spsa_round_document(round: &SpsaRound) -> Document {
    let bytes = Binary { subtype: BinarySubtype::Generic, bytes: round.packed_flips.clone() };
    doc! { "iter": int(round.iter), "packed_flips": bytes }
}

/// A task as Shoal stores it.
pub fn task_document(record: &TaskRecord) -> StoreResult<Document> {
    let mut out = plain_task(record);
    let mut own = doc! {
        "digests": record.digests.iter().map(|digest| Bson::Int64(digest.0 as i64)).collect::<Vec<_>>(),
        "tail": to_bson(&record.tail)?,
    };
    if let Some(cause) = &record.cause {
        own.insert("cause", to_bson(cause)?);
    }
    if let Some(form) = record.extra.get(OWN) {
        own.insert(LEGACY_FORM, form.clone());
    }
    if let Some(mark) = &record.bad {
        own.insert(
            "bad",
            doc! {
                "position": int(u64::from(mark.position)),
                "stats": stats_document(&mark.stats),
                "residual": mark.residual,
                "residual_color": mark.residual_color.clone(),
                "extra": mark.extra.clone(),
            },
        );
    }
    out.insert(OWN, own);
    Ok(out)
}

/// A task from its document; the versions come from beside it. Also reads fishtest's own tasks, which have no [`OWN`] part.
pub fn read_task(
    key: TaskKey,
    generation: Generation,
    version: Version,
    write_id: WriteId,
    mut doc: Document,
) -> StoreResult<TaskRecord> {
    let own = match doc.remove(OWN) {
        Some(Bson::Document(own)) => own,
        _ => Document::new(),
    };
    let num_games = as_count(doc.remove("num_games").as_ref()).unwrap_or(0);
    let active = matches!(doc.remove("active"), Some(Bson::Boolean(true)));
    let last_updated = as_date(doc.get("last_updated")).unwrap_or_default();
    if matches!(doc.get("last_updated"), Some(Bson::DateTime(_))) {
        doc.remove("last_updated");
    }
    let start = as_count(doc.remove("start").as_ref()).unwrap_or(0);
    let stats = match doc.remove("stats") {
        Some(Bson::Document(stats)) => read_stats(&stats),
        _ => Stats::default(),
    };
    let (worker, worker_info) = match doc.remove("worker_info") {
        Some(Bson::Document(info)) => read_worker(info),
        _ => (None, Document::new()),
    };
    let spsa_round = match doc.remove("spsa_params") {
        Some(Bson::Document(round)) => read_round(&round),
        _ => None,
    };
    doc.remove("bad");
    let digests = own
        .get_array("digests")
        .map(|list| list.iter().filter_map(Bson::as_i64).map(|digest| BodyDigest(digest as u64)).collect())
        .unwrap_or_default();
    let tail: Vec<TailEntry> = match own.get("tail") {
        Some(tail) => from_bson(tail.clone(), &key)?,
        None => Vec::new(),
    };
    let cause: Option<CloseCause> = match own.get("cause") {
        Some(cause) => Some(from_bson(cause.clone(), &key)?),
        None => None,
    };
    let bad = own.get_document("bad").ok().map(read_mark);
    if let Some(form) = own.get(LEGACY_FORM) {
        doc.insert(OWN, form.clone());
    }
    Ok(TaskRecord {
        key,
        generation,
        version,
        write_id,
        num_games,
        start,
        active,
        last_updated,
        answered: version > Version(1) || stats.games() > 0,
        stats,
        worker,
        worker_info: Arc::new(worker_info),
        spsa_round,
        digests,
        tail,
        cause,
        bad,
        extra: doc,
    })
}

fn read_mark(own: &Document) -> BadMark {
    BadMark {
        position: as_count(own.get("position")).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        stats: own.get_document("stats").map(read_stats).unwrap_or_default(),
        residual: as_number(own.get("residual")).unwrap_or(0.0),
        residual_color: own.get_str("residual_color").unwrap_or_default().to_owned(),
        extra: own.get_document("extra").cloned().unwrap_or_default(),
    }
}

fn read_round(doc: &Document) -> Option<SpsaRound> {
    let iter = as_count(doc.get("iter"))?;
    match doc.get("packed_flips")? {
        Bson::Binary(binary) => Some(SpsaRound { iter, packed_flips: binary.bytes.clone() }),
        _ => None,
    }
}

/// Splits stored worker information into who plays, and the rest. Old documents may lack nearly everything.
fn read_worker(mut info: Document) -> (Option<TaskWorker>, Document) {
    let text = |key: &str| info.get_str(key).map(str::to_owned).ok();
    let (username, unique_key) = (text("username"), text("unique_key"));
    let concurrency = as_count(info.get("concurrency")).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let remote_addr = text("remote_addr").unwrap_or_default();
    let (Some(username), Some(unique_key)) = (username, unique_key) else { return (None, info) };
    info.remove("remote_addr");
    let first = unique_key.split('-').next().unwrap_or_default();
    let short_name = ShortWorkerName(format!("{username}-{concurrency}cores-{first}"));
    (Some(TaskWorker { username, unique_key, short_name, concurrency, remote_addr }), info)
}

fn to_bson<T: serde::Serialize>(value: &T) -> StoreResult<Bson> {
    bson::serialize_to_bson(value).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn from_bson<T: serde::de::DeserializeOwned>(value: Bson, key: &TaskKey) -> StoreResult<T> {
    bson::deserialize_from_bson(value).map_err(|error| StoreError::Damaged(format!("task {key}: {error}")))
}

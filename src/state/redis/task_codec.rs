//! A task as the scripts keep it: a packed list of texts, in the order of `lua/lib/task.lua`.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bson::oid::ObjectId;
use bson::{Bson, Document, doc};

use crate::domain::action::{CloseCause, CloseKind};
use crate::domain::ids::{Generation, Millis, ShortWorkerName, TaskKey, Version, WriteId};
use crate::domain::results::Stats;
use crate::domain::spsa::SpsaEntry;
use crate::domain::task::{BadMark, BodyDigest, Contribution, SpsaRound, TailEntry, TaskRecord, TaskWorker};
use crate::state::{StateError, StateResult, TaskView};

/// Fields of a packed task.
const FIELDS: u32 = 27;

fn damaged(what: &str) -> StateError {
    StateError::Bug(format!("a task in the schedule has a damaged {what}"))
}

/// Ten counts, comma-separated.
pub(super) fn stats_text(stats: &Stats) -> String {
    let Stats { wins, losses, draws, crashes, time_losses, pentanomial: p } = stats;
    let mut text = format!("{wins},{losses},{draws},{crashes},{time_losses}");
    for pairs in p {
        let _ = write!(text, ",{pairs}");
    }
    text
}

/// The inverse of [`stats_text`].
pub(super) fn read_stats(text: &str) -> StateResult<Stats> {
    let mut counts = [0; 10];
    let mut parts = text.split(',');
    for count in &mut counts {
        let part = parts.next().and_then(|part| part.parse().ok());
        *count = part.ok_or_else(|| damaged("statistics"))?;
    }
    let [wins, losses, draws, crashes, time_losses, p @ ..] = counts;
    Ok(Stats { wins, losses, draws, crashes, time_losses, pentanomial: p })
}

/// An entry of the pending list and of a tail: `seq|s|eight growths` or `seq|p|iter|flips|wins|losses|pairs`.
pub(super) fn entry_text(entry: &TailEntry) -> String {
    match &entry.what {
        Contribution::Sprt(growth) => {
            let growth: Vec<String> = growth.iter().map(i64::to_string).collect();
            format!("{}|s|{}", entry.seq, growth.join(","))
        }
        Contribution::Spsa(SpsaEntry { iter, packed_flips, wins, losses, pairs }) => {
            format!("{}|p|{iter}|{}|{wins}|{losses}|{pairs}", entry.seq, STANDARD.encode(packed_flips))
        }
    }
}

/// The inverse of [`entry_text`].
pub(super) fn read_entry(text: &str) -> StateResult<TailEntry> {
    parse_entry(text).ok_or_else(|| damaged("entry of a record"))
}

fn parse_entry(text: &str) -> Option<TailEntry> {
    let mut parts = text.split('|');
    let seq = parts.next()?.parse().ok()?;
    let what = match parts.next()? {
        "s" => {
            let mut growth = [0; 8];
            let mut each = parts.next()?.split(',');
            for slot in &mut growth {
                *slot = each.next()?.parse().ok()?;
            }
            Contribution::Sprt(growth)
        }
        "p" => Contribution::Spsa(SpsaEntry {
            iter: parts.next()?.parse().ok()?,
            packed_flips: STANDARD.decode(parts.next()?).ok()?,
            wins: parts.next()?.parse().ok()?,
            losses: parts.next()?.parse().ok()?,
            pairs: parts.next()?.parse().ok()?,
        }),
        _ => return None,
    };
    Some(TailEntry { seq, what })
}

/// `iter|flips`: the beginning of the entry that its result will make.
pub(super) fn round_text(round: &SpsaRound) -> String {
    format!("{}|{}", round.iter, STANDARD.encode(&round.packed_flips))
}

fn read_round(text: &str) -> StateResult<Option<SpsaRound>> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.split_once('|').and_then(|(iter, flips)| {
        Some(SpsaRound { iter: iter.parse().ok()?, packed_flips: STANDARD.decode(flips).ok()? })
    });
    parsed.map(Some).ok_or_else(|| damaged("tuning round"))
}

pub(super) fn kind_text(kind: CloseKind) -> &'static str {
    match kind {
        CloseKind::Completed => "completed",
        CloseKind::Failed => "failed",
        CloseKind::Stale => "stale",
        CloseKind::Dead => "dead",
    }
}

pub(super) fn ids_text(ids: &[ObjectId; 2]) -> String {
    format!("{},{}", ids[0].to_hex(), ids[1].to_hex())
}

fn read_ids(text: &str) -> Option<[ObjectId; 2]> {
    let (first, second) = text.split_once(',')?;
    Some([ObjectId::parse_str(first).ok()?, ObjectId::parse_str(second).ok()?])
}

fn read_cause(kind: &str, message: String, time: &str, ids: &str) -> StateResult<Option<CloseCause>> {
    let kind = match kind {
        "" => return Ok(None),
        "completed" => CloseKind::Completed,
        "failed" => CloseKind::Failed,
        "stale" => CloseKind::Stale,
        "dead" => CloseKind::Dead,
        _ => return Err(damaged("kind of closing")),
    };
    let time = time.parse().map_err(|_| damaged("time of closing"))?;
    let ids = read_ids(ids).ok_or_else(|| damaged("identities of log entries"))?;
    Ok(Some(CloseCause { kind, message, time: Millis(time), ids }))
}

/// A document as bytes.
pub(super) fn document_bytes(document: &Document) -> StateResult<Vec<u8>> {
    document.to_vec().map_err(|error| StateError::Bug(error.to_string()))
}

fn read_document(bytes: &[u8]) -> StateResult<Document> {
    if bytes.is_empty() {
        return Ok(Document::new());
    }
    Document::from_reader(bytes).map_err(|_| damaged("document"))
}

/// What scripts don't look into: a purge's mark, and what an import didn't know.
fn rest_bytes(record: &TaskRecord) -> StateResult<Vec<u8>> {
    if record.bad.is_none() && record.extra.is_empty() {
        return Ok(Vec::new());
    }
    let mut rest = doc! { "extra": record.extra.clone() };
    if let Some(bad) = &record.bad {
        rest.insert(
            "bad",
            doc! {
                "position": i64::from(bad.position),
                "stats": stats_text(&bad.stats),
                "residual": bad.residual,
                "color": &bad.residual_color,
                "extra": bad.extra.clone(),
            },
        );
    }
    document_bytes(&rest)
}

fn read_rest(bytes: &[u8]) -> StateResult<(Option<BadMark>, Document)> {
    let mut rest = read_document(bytes)?;
    let extra = match rest.remove("extra") {
        Some(Bson::Document(extra)) => extra,
        _ => Document::new(),
    };
    let Some(Bson::Document(mut mark)) = rest.remove("bad") else { return Ok((None, extra)) };
    let lost = |_| damaged("mark of a purge");
    let bad = BadMark {
        position: u32::try_from(mark.get_i64("position").map_err(lost)?)
            .map_err(|_| damaged("mark of a purge"))?,
        stats: read_stats(mark.get_str("stats").map_err(lost)?)?,
        residual: mark.get_f64("residual").map_err(lost)?,
        residual_color: mark.get_str("color").map_err(lost)?.to_owned(),
        extra: match mark.remove("extra") {
            Some(Bson::Document(extra)) => extra,
            _ => Document::new(),
        },
    };
    Ok((Some(bad), extra))
}

/// Packs a task whose stored version is durable, as a rebuild loads it.
pub(super) fn pack(record: &TaskRecord) -> StateResult<Vec<u8>> {
    let mut packed = Vec::with_capacity(512);
    rmp::encode::write_array_len(&mut packed, FIELDS).map_err(writing)?;
    let flag = |on: bool| if on { "1" } else { "0" };
    let tail: Vec<String> = record.tail.iter().map(entry_text).collect();
    let worker = record.worker.as_ref();
    let of_worker = |text: fn(&TaskWorker) -> &str| worker.map_or("", text).to_owned();
    let round = record.spsa_round.as_ref();
    let signature = round.map(|round| crate::domain::spsa::flips::signature(&round.packed_flips).to_string());
    let cause = record.cause.as_ref();
    let version = record.version.0.to_string();
    let texts = [
        of_worker(|worker| &worker.unique_key),
        of_worker(|worker| &worker.username),
        flag(record.active).to_owned(),
        flag(record.answered).to_owned(),
        version.clone(),
        version,
        String::new(),
        record.generation.to_string(),
        record.write_id.0.to_string(),
        record.num_games.to_string(),
        record.start.to_string(),
        record.last_updated.0.to_string(),
        stats_text(&record.stats),
        flag(worker.is_some()).to_owned(),
        of_worker(|worker| &worker.short_name.0),
        worker.map_or(0, |worker| worker.concurrency).to_string(),
        of_worker(|worker| &worker.remote_addr),
    ];
    let behind_digests = [
        tail.join("\n"),
        round.map(round_text).unwrap_or_default(),
        signature.unwrap_or_default(),
        cause.map_or("", |cause| kind_text(cause.kind)).to_owned(),
        cause.map_or_else(String::new, |cause| cause.message.clone()),
        cause.map_or_else(String::new, |cause| cause.time.0.to_string()),
        cause.map_or_else(String::new, |cause| ids_text(&cause.ids)),
    ];
    let digests: Vec<u8> = record.digests.iter().flat_map(|digest| digest.0.to_be_bytes()).collect();
    let texts = texts.iter().map(String::as_bytes);
    let behind_digests = behind_digests.iter().map(String::as_bytes);
    for field in texts.chain([digests.as_slice()]).chain(behind_digests) {
        put(&mut packed, field)?;
    }
    put(&mut packed, &document_bytes(&record.worker_info)?)?;
    put(&mut packed, &rest_bytes(record)?)?;
    Ok(packed)
}

fn put(packed: &mut Vec<u8>, field: &[u8]) -> StateResult<()> {
    let length = u32::try_from(field.len()).map_err(|_| StateError::Bug("a task is too large".to_owned()))?;
    rmp::encode::write_str_len(packed, length).map_err(writing)?;
    packed.extend_from_slice(field);
    Ok(())
}

fn writing<E>(_: E) -> StateError {
    StateError::Bug("a task can't be packed".to_owned())
}

/// What a packed task begins with that is this caller's, active, and known to its worker: what a heartbeat compares. One
/// that begins otherwise is unpacked and looked at.
pub(super) fn living_head(unique_key: &str, username: &str) -> StateResult<Vec<u8>> {
    let mut head = Vec::with_capacity(16 + unique_key.len() + username.len());
    rmp::encode::write_array_len(&mut head, FIELDS).map_err(writing)?;
    for field in [unique_key, username, "1", "1"] {
        put(&mut head, field.as_bytes())?;
    }
    Ok(head)
}

/// The fields of a packed task, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self) -> StateResult<&'a [u8]> {
        let length = rmp::decode::read_str_len(&mut self.0).map_err(|_| damaged("field"))? as usize;
        let (field, rest) = self.0.split_at_checked(length).ok_or_else(|| damaged("end"))?;
        self.0 = rest;
        Ok(field)
    }

    fn text(&mut self) -> StateResult<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| damaged("text"))
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> StateResult<T> {
        self.text()?.parse().map_err(|_| damaged(what))
    }

    fn flag(&mut self) -> StateResult<bool> {
        Ok(self.text()? == "1")
    }
}

/// Unpacks a task; `seen` is the last sign of life of an active one, empty if it is in the record.
pub(super) fn unpack(key: TaskKey, packed: &[u8], seen: &str) -> StateResult<TaskView> {
    let mut fields = Fields(packed);
    if rmp::decode::read_array_len(&mut fields.0).map_err(|_| damaged("form"))? != FIELDS {
        return Err(damaged("number of fields"));
    }
    let (unique_key, username) = (fields.text()?.to_owned(), fields.text()?.to_owned());
    let (active, answered) = (fields.flag()?, fields.flag()?);
    let version = Version(fields.number("version")?);
    let durable = Version(fields.number("durable version")?);
    // Since when it is dirty is the scripts' own.
    fields.bytes()?;
    let generation = Generation(fields.number("generation")?);
    let write_id = WriteId(fields.number("write id")?);
    let num_games = fields.number("size")?;
    let start = fields.number("opening")?;
    let noted: i64 = fields.number("last sign of life")?;
    let last_updated = match seen {
        "" => noted,
        seen => seen.parse().map_err(|_| damaged("last sign of life"))?,
    };
    let stats = read_stats(fields.text()?)?;
    let has_worker = fields.flag()?;
    let worker = TaskWorker {
        username,
        unique_key,
        short_name: ShortWorkerName(fields.text()?.to_owned()),
        concurrency: fields.number("concurrency")?,
        remote_addr: fields.text()?.to_owned(),
    };
    let (digests, rest) = fields.bytes()?.as_chunks();
    if !rest.is_empty() {
        return Err(damaged("digest"));
    }
    let digests = digests.iter().map(|digest| BodyDigest(u64::from_be_bytes(*digest))).collect();
    let tail = fields.text()?.lines().map(read_entry).collect::<StateResult<Vec<_>>>()?;
    let spsa_round = read_round(fields.text()?)?;
    fields.bytes()?;
    let (kind, message, time, ids) = (fields.text()?, fields.text()?, fields.text()?, fields.text()?);
    let cause = read_cause(kind, message.to_owned(), time, ids)?;
    let worker_info = Arc::new(read_document(fields.bytes()?)?);
    let (bad, extra) = read_rest(fields.bytes()?)?;
    let record = TaskRecord {
        key,
        generation,
        version,
        write_id,
        num_games,
        start,
        active,
        last_updated: Millis(last_updated),
        stats,
        worker: has_worker.then_some(worker),
        worker_info,
        spsa_round,
        answered,
        digests,
        tail,
        cause,
        bad,
        extra,
    };
    Ok(TaskView { record: Arc::new(record), durable })
}

#[cfg(test)]
mod tests;

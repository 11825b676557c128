//! The order-sensitive record of a run, and folding contributions into it (`durability.md` section 4).
//!
//! Whoever folds the same entries in the same order arrives at the same record, bit for bit: the record travels as
//! JSON with shortest round-trip numbers, and nothing here depends on time or place.

use bson::{Bson, Document};
use serde::{Deserialize, Serialize};

use super::bson_number::int;
use super::results::Stats;
use super::spsa::{SpsaRecord, apply};
use super::stats::counts::Counts;
use super::stats::sprt::{Overshoot, SprtRecord, SprtState};
use super::task::{Contribution, TailEntry};

/// What is folded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "a record is on the stack for a moment; a box would cost more")]
pub enum Record {
    /// A fixed number of games has no order-sensitive state.
    Games,
    /// A sequential test.
    Sprt {
        /// `args.sprt`.
        sprt: SprtRecord,
        /// Counts that it has seen: wins, losses, draws, then the five pair counts.
        folded: [i64; 8],
    },
    /// A tuning run: `args.spsa`.
    Spsa(Box<SpsaRecord>),
}

/// A record that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable record: {0}")]
pub struct RecordError(pub String);

impl Record {
    /// The record of a run's stored arguments, with the counts it has seen.
    ///
    /// # Errors
    /// [`RecordError`] when `sprt` or `spsa` isn't what it should be.
    pub fn from_args(args: &Document, folded: [i64; 8]) -> Result<Self, RecordError> {
        let read = |error: bson::error::Error| RecordError(error.to_string());
        if let Ok(sprt) = args.get_document("sprt") {
            let sprt = bson::deserialize_from_document(sprt.clone()).map_err(read)?;
            return Ok(Self::Sprt { sprt, folded });
        }
        if let Ok(spsa) = args.get_document("spsa") {
            let spsa = bson::deserialize_from_document(spsa.clone()).map_err(read)?;
            return Ok(Self::Spsa(Box::new(spsa)));
        }
        Ok(Self::Games)
    }

    /// Reads the travelling form.
    ///
    /// # Errors
    /// [`RecordError`] when it isn't one.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        serde_json::from_str(text).map_err(|error| RecordError(error.to_string()))
    }

    /// The travelling form.
    ///
    /// # Errors
    /// [`RecordError`] when it holds a number that JSON can't.
    pub fn to_text(&self) -> Result<String, RecordError> {
        serde_json::to_string(self).map_err(|error| RecordError(error.to_string()))
    }

    /// Folds entries in order. Entries behind the one that decides a sequential test count in the results only.
    /// Returns what could not be applied, in words; such an entry changes nothing.
    pub fn fold(&mut self, entries: &[TailEntry], num_games: u64) -> Vec<String> {
        let mut problems = Vec::new();
        for entry in entries {
            match (&mut *self, &entry.what) {
                (Self::Sprt { sprt, folded }, Contribution::Sprt(growth)) => {
                    if is_decided(sprt, folded, num_games) {
                        break;
                    }
                    for (count, step) in folded.iter_mut().zip(growth) {
                        *count = count.wrapping_add(*step);
                    }
                    if let Err(error) = sprt.update(&Counts::from(&counts_of(folded))) {
                        problems.push(format!("entry {}: {error}", entry.seq));
                    }
                }
                (Self::Spsa(spsa), Contribution::Spsa(result)) => {
                    if let Err(error) = apply(spsa, result, num_games) {
                        problems.push(format!("entry {}: {error}", entry.seq));
                    }
                }
                _ => problems.push(format!("entry {} is of another kind of run", entry.seq)),
            }
        }
        problems
    }

    /// The verdict of a sequential test; None while undecided and for other runs.
    pub fn verdict(&self) -> Option<SprtState> {
        match self {
            Self::Sprt { sprt, .. } if sprt.state != SprtState::Undecided => Some(sprt.state),
            _ => None,
        }
    }

    /// Counts that a sequential test has seen; zeros for other runs.
    pub fn folded(&self) -> [i64; 8] {
        match self {
            Self::Sprt { folded, .. } => *folded,
            Self::Games | Self::Spsa(_) => [0; 8],
        }
    }

    /// Looks at a run's totals anew, after a purge (`spec/statistics.md` section 9.2) or when a run is taken up again.
    pub fn restart(&mut self, results: &Stats, update: bool) -> Result<(), RecordError> {
        if let Self::Sprt { sprt, folded } = self {
            *folded = growth_of(results);
            if update {
                sprt.update(&Counts::from(results)).map_err(|error| RecordError(error.to_string()))?;
            }
        }
        Ok(())
    }

    /// Writes the record over a run's stored arguments; fields that Shoal doesn't know are left alone.
    pub fn overlay(&self, args: &mut Document) {
        match self {
            Self::Games => {}
            Self::Sprt { sprt, .. } => {
                if let Ok(stored) = args.get_document_mut("sprt") {
                    overlay_sprt(sprt, stored);
                }
            }
            Self::Spsa(spsa) => {
                if let Ok(stored) = args.get_document_mut("spsa") {
                    spsa.overlay(stored);
                }
            }
        }
    }
}

/// A run is no longer undecided (`spec/scheduling.md` section 5).
pub fn run_is_decided(record: &Record, games: u64, num_games: u64) -> bool {
    games >= num_games || record.verdict().is_some()
}

/// Totals as the fold keeps them.
pub fn growth_of(results: &Stats) -> [i64; 8] {
    let [p0, p1, p2, p3, p4] = results.pentanomial;
    [results.wins, results.losses, results.draws, p0, p1, p2, p3, p4].map(|count| count as i64)
}

fn is_decided(sprt: &SprtRecord, folded: &[i64; 8], num_games: u64) -> bool {
    sprt.state != SprtState::Undecided || counts_of(folded).games() >= num_games
}

fn counts_of(folded: &[i64; 8]) -> Stats {
    let [wins, losses, draws, p0, p1, p2, p3, p4] = folded.map(|count| u64::try_from(count).unwrap_or(0));
    Stats { wins, losses, draws, crashes: 0, time_losses: 0, pentanomial: [p0, p1, p2, p3, p4] }
}

fn count(value: u64) -> Bson {
    int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn overlay_sprt(sprt: &SprtRecord, stored: &mut Document) {
    stored.insert("state", sprt.state.as_str());
    stored.insert("llr", sprt.llr);
    match &sprt.overshoot {
        Some(Overshoot { last_update, skipped_updates, ref0, m0, sq0, ref1, m1, sq1 }) => {
            stored.insert(
                "overshoot",
                bson::doc! {
                    "last_update": count(*last_update),
                    "skipped_updates": count(*skipped_updates),
                    "ref0": *ref0, "m0": *m0, "sq0": *sq0,
                    "ref1": *ref1, "m1": *m1, "sq1": *sq1,
                },
            );
        }
        None => {
            stored.remove("overshoot");
        }
    }
    if let Some(lost) = sprt.lost_samples {
        stored.insert("lost_samples", count(lost));
    }
    if let Some(illegal) = sprt.illegal_update {
        stored.insert("illegal_update", count(illegal));
    }
}

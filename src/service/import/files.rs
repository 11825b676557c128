//! What is in the directory of an import.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::ImportError;
use super::lines::Lines;
use super::report::{Collection, Skipped};
use super::source::{DERIVED, Documents, Item, NOT_NEEDED};
use crate::sys::spawn;

/// A collection's file.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) collection: Collection,
    pub(super) path: PathBuf,
    /// As reports name it.
    pub(super) name: String,
    /// Whether it is gzip.
    pub(super) compressed: bool,
}

/// The documents of a file.
pub(super) struct FileDocuments {
    name: String,
    /// None behind the last batch.
    lines: Option<Lines>,
}

impl FileDocuments {
    pub(super) fn new(file: Found) -> Self {
        let lines = Lines::new(file.path, file.compressed, file.collection == Collection::Runs);
        Self { name: file.name, lines: Some(lines) }
    }
}

#[async_trait]
impl Documents for FileDocuments {
    fn name(&self) -> &str {
        &self.name
    }

    async fn batch(&mut self) -> Result<Vec<Item>, ImportError> {
        let Some(mut lines) = self.lines.take() else { return Ok(Vec::new()) };
        // Parsing a run of 16 MiB takes its time: off the event loop.
        let read = spawn::blocking(move || {
            let batch = lines.batch();
            (lines, batch)
        });
        let (lines, batch) = read
            .await
            .map_err(|error| ImportError::Reader { name: self.name.clone(), reason: error.to_string() })?;
        if !batch.is_empty() {
            self.lines = Some(lines);
        }
        Ok(batch)
    }
}

/// The collections' files in the order of their names, and everything else with the reason why it is passed over.
pub(super) fn list(dir: &Path) -> std::io::Result<(Vec<Found>, Vec<Skipped>)> {
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match classify(&name, path.is_file()) {
            Ok((collection, compressed)) => found.push(Found { collection, path, name, compressed }),
            Err(reason) => skipped.push(Skipped { name, reason: reason.to_owned() }),
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    skipped.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((found, skipped))
}

fn classify(name: &str, is_file: bool) -> Result<(Collection, bool), &'static str> {
    const UNKNOWN: &str = "not a collection's file (COLLECTION.json, .jsonl, .json.gz or .jsonl.gz)";
    if !is_file {
        return Err("not a file");
    }
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    let stem = plain.strip_suffix(".json").or_else(|| plain.strip_suffix(".jsonl")).ok_or(UNKNOWN)?;
    if DERIVED.contains(&stem) {
        return Err(NOT_NEEDED);
    }
    let collection = Collection::IN_ORDER.into_iter().find(|collection| collection.name() == stem);
    Ok((collection.ok_or(UNKNOWN)?, plain.len() != name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_collection_and_its_extension() {
        assert_eq!(classify("users.json", true), Ok((Collection::Users, false)));
        assert_eq!(classify("user_cache.jsonl.gz", true), Ok((Collection::UserCache, true)));
        assert_eq!(classify("runs.json.gz", true), Ok((Collection::Runs, true)));
        for name in [
            "users",
            "users.csv",
            "users.bson.json",
            "users.metadata.json",
            "Users.json",
            ".json",
            "users.gz",
        ] {
            assert!(classify(name, true).is_err(), "{name}");
        }
        assert!(classify("users.json", false).is_err());
        assert_eq!(classify("deltas.json", true), Err("not needed: derived from the runs"));
    }
}

//! A file as documents, a line each, whatever is in it.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;

use super::fields::Fault;
use super::run_input::RunInput;
use super::source::{Input, Item};
use crate::domain::document::from_extended_json;

/// Longest line that is read. A document has at most 16 MiB in MongoDB, and rarely four times that as text; a run that
/// Shoal exported may have hundreds of thousands of tasks.
const LONGEST_LINE: usize = 512 << 20;

/// A batch ends behind the line that makes it so long, or with its thousandth line.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_LINES: usize = 1000;

/// The lines of a file, read when they are asked for.
pub(super) struct Lines {
    path: PathBuf,
    compressed: bool,
    /// Whether each is a run.
    runs: bool,
    reader: Option<Box<dyn BufRead + Send>>,
    number: u64,
    ended: bool,
}

impl Lines {
    /// Nothing is opened yet.
    pub(super) fn new(path: PathBuf, compressed: bool, runs: bool) -> Self {
        Self { path, compressed, runs, reader: None, number: 0, ended: false }
    }

    /// The next lines, at least one until the file ends. A file that can't be read (further) ends with a line that
    /// says so. Blocks.
    pub(super) fn batch(&mut self) -> Vec<Item> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while !self.ended && (lines.is_empty() || bytes < BATCH_BYTES) && lines.len() < BATCH_LINES {
            self.number += 1;
            match self.line() {
                Ok(Some(text)) => {
                    bytes += text.as_ref().map_or(0, Vec::len);
                    lines.extend(parse(self.number, text, self.runs));
                }
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    let reason = format!("the file can't be read from here on: {error}");
                    lines.push(unread(self.number, reason));
                }
            }
        }
        lines
    }

    /// The next line without its end, or why it isn't read; None behind the last.
    fn line(&mut self) -> std::io::Result<Option<Result<Vec<u8>, String>>> {
        if self.reader.is_none() {
            let file = File::open(&self.path)?;
            self.reader = Some(if self.compressed {
                Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file)))
            } else {
                Box::new(BufReader::with_capacity(1 << 16, file))
            });
        }
        match &mut self.reader {
            Some(reader) => read_line(reader.as_mut(), LONGEST_LINE),
            None => Ok(None),
        }
    }
}

fn read_line(reader: &mut dyn BufRead, longest: usize) -> std::io::Result<Option<Result<Vec<u8>, String>>> {
    let mut text = Vec::new();
    let limit = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_until(b'\n', &mut text)?;
    if text.is_empty() {
        return Ok(None);
    }
    if text.last() == Some(&b'\n') || text.len() <= longest {
        return Ok(Some(Ok(text)));
    }
    drop(text);
    skip_line(reader)?;
    Ok(Some(Err(format!("the line is longer than {} MiB", longest >> 20))))
}

fn skip_line(reader: &mut dyn BufRead) -> std::io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

fn unread(number: u64, reason: impl Into<String>) -> Item {
    Item { line: Some(number), fingerprint: 0, input: Err(Fault::whole(reason)) }
}

/// None for a blank line.
fn parse(number: u64, text: Result<Vec<u8>, String>, run: bool) -> Option<Item> {
    let mut text = match text {
        Ok(text) => text,
        Err(reason) => return Some(unread(number, reason)),
    };
    while text.last().is_some_and(u8::is_ascii_whitespace) {
        text.pop();
    }
    let Ok(text) = String::from_utf8(text) else { return Some(unread(number, "the line is not UTF-8")) };
    // Some editors begin a file with a byte order mark.
    let trimmed = if number == 1 { text.trim_start_matches('\u{feff}').trim() } else { text.trim() };
    if trimmed.is_empty() {
        return None;
    }
    if trimmed.starts_with('[') {
        return Some(unread(number, "a list, not a document: export without --jsonArray"));
    }
    let mut hasher = DefaultHasher::new();
    trimmed.hash(&mut hasher);
    let fingerprint = hasher.finish();
    let input = if run {
        let whole = trimmed.len() == text.len();
        let text = if whole { text } else { trimmed.to_owned() };
        RunInput::from_text(text).map(|run| Input::Run(Box::new(run)))
    } else {
        from_extended_json(trimmed).map(Input::Document).map_err(|error| error.to_string())
    };
    Some(Item { line: Some(number), fingerprint, input: input.map_err(Fault::whole) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(mut text: &[u8], longest: usize) -> Vec<Result<Vec<u8>, String>> {
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut text, longest).unwrap() {
            lines.push(line);
        }
        lines
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_the_next_one_read() {
        let lines = read_all(b"12345678\n123456789\n1234\n123456789", 8);
        assert_eq!(lines[0].as_deref(), Ok(&b"12345678\n"[..]));
        assert!(lines[1].is_err());
        assert_eq!(lines[2].as_deref(), Ok(&b"1234\n"[..]));
        assert!(lines[3].is_err());
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn blank_lines_and_line_ends_are_no_documents() {
        assert!(parse(2, Ok(b" \r\n".to_vec()), false).is_none());
        let line = parse(1, Ok("\u{feff}{\"a\":\"\\r\\n\"}\r\n".into()), false).unwrap();
        assert!(matches!(line.input, Ok(Input::Document(found)) if found == bson::doc! { "a": "\r\n" }));
        for bad in [&b"\xff"[..], b"[{}]", b"{", b"3", b"{} {}"] {
            for run in [false, true] {
                assert!(parse(1, Ok(bad.to_vec()), run).unwrap().input.is_err(), "{bad:?}");
            }
        }
    }
}

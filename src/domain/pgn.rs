//! Checking uploaded games (`spec/worker-api.md` section 6.8).
//!
//! The original looks at the gzip signature only. Readers join the stored members byte by byte, so a broken one would
//! spoil a whole run's download, and one that unpacks to terabytes would harm whoever reads it. Both are refused.

use std::io::Read;

use base64::alphabet::STANDARD as STANDARD_ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine as _};
use flate2::bufread::GzDecoder;

use crate::domain::ids::TaskKey;

/// Standard alphabet, padding required. Bits left over in the last character are ignored, as by the original.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD_ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

const GZIP_SIGNATURE: [u8; 2] = [0x1f, 0x8b];

/// Fewer bytes cannot be a gzip member: a header of ten and a trailer of eight.
const SMALLEST_MEMBER: usize = 18;

/// Why an upload is refused with status 400; the text follows `{path}: ` in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PgnError {
    /// The request has no `pgn`.
    #[error("Missing pgn content")]
    Missing,
    /// `pgn` is not base64 with its padding.
    #[error("The pgn content is not base64 encoded")]
    NotBase64,
    /// The decoded bytes do not begin like a gzip member.
    #[error("The pgn content is not gzip compressed")]
    NotGzip,
    /// The gzip member is cut off or damaged.
    #[error("The pgn content is not one complete gzip member")]
    Damaged,
    /// Something follows the gzip member.
    #[error("The pgn content has data behind its gzip member")]
    TrailingData,
    /// The games would unpack to more than the limit.
    #[error("The pgn content unpacks to more than {limit} bytes")]
    TooLarge {
        /// The limit, bytes.
        limit: u64,
    },
}

/// The bytes to store for an upload. `max_unpacked` is the largest acceptable size of the games, bytes.
///
/// Takes time in proportion to the smaller of the limit and the unpacked size: run it away from the event loop.
pub fn check_upload(pgn: Option<&str>, max_unpacked: u64) -> Result<Vec<u8>, PgnError> {
    let bytes = decode_base64(pgn.ok_or(PgnError::Missing)?)?;
    check_gzip(&bytes, max_unpacked)?;
    Ok(bytes)
}

/// The key under which a task's games are stored: `{run}-{task}`.
pub fn storage_key(task: TaskKey) -> String {
    format!("{}-{}", task.run, task.task)
}

/// Decodes base64. Characters outside the alphabet are skipped, and so is whatever follows the padding.
pub fn decode_base64(text: &str) -> Result<Vec<u8>, PgnError> {
    if let Ok(bytes) = BASE64.decode(text) {
        return Ok(bytes);
    }
    BASE64.decode(significant(text)).map_err(|_| PgnError::NotBase64)
}

/// The characters of `text` that carry data, up to the padding that completes a group of four.
fn significant(text: &str) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    let mut padding = 0;
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {
                padding = 0;
                kept.push(byte);
            }
            b'=' => {
                let in_group = kept.len() % 4;
                if in_group < 2 {
                    continue;
                }
                padding += 1;
                if in_group + padding >= 4 {
                    kept.resize(kept.len() + padding, b'=');
                    return kept;
                }
            }
            _ => {}
        }
    }
    kept
}

/// Checks that `bytes` are exactly one gzip member that unpacks, with the right checksum, to at most `max_unpacked`
/// bytes. Returns how many. The unpacked games are counted, never held.
pub fn check_gzip(bytes: &[u8], max_unpacked: u64) -> Result<u64, PgnError> {
    if !bytes.starts_with(&GZIP_SIGNATURE) || bytes.len() < SMALLEST_MEMBER {
        return Err(PgnError::NotGzip);
    }
    let mut decoder = GzDecoder::new(bytes);
    let mut buffer = vec![0; 32 * 1024];
    let mut unpacked: u64 = 0;
    loop {
        let read = decoder.read(&mut buffer).map_err(|_| PgnError::Damaged)?;
        if read == 0 {
            break;
        }
        unpacked = unpacked.saturating_add(read as u64);
        if unpacked > max_unpacked {
            return Err(PgnError::TooLarge { limit: max_unpacked });
        }
    }
    if decoder.into_inner().is_empty() { Ok(unpacked) } else { Err(PgnError::TrailingData) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::ids::{RunId, TaskId};

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_gzip_member_in_base64_is_taken_as_it_is() {
        let member = gzip(b"[Event \"x\"]\n1. e4 *\n");
        let text = BASE64.encode(&member);
        assert_eq!(check_upload(Some(&text), 1000), Ok(member.clone()));
        let broken_lines: String = text.chars().flat_map(|c| [c, '\r', '\n', ' ', '-']).collect();
        assert_eq!(check_upload(Some(&broken_lines), 1000), Ok(member));
    }

    #[test]
    fn every_refusal_has_its_reason_and_names_the_field() {
        let member = gzip(b"games");
        let mut trailing = member.clone();
        trailing.extend_from_slice(&member);
        let mut damaged = member.clone();
        let last = damaged.len() - 6;
        damaged[last] ^= 1;
        let cases = [
            (None, PgnError::Missing),
            (Some("A".to_owned()), PgnError::NotBase64),
            (Some("H4sIA".to_owned()), PgnError::NotBase64),
            (Some(String::new()), PgnError::NotGzip),
            (Some(BASE64.encode(b"not gzip at all, but long enough")), PgnError::NotGzip),
            (Some(BASE64.encode(&member[..10])), PgnError::NotGzip),
            (Some(BASE64.encode(&member[..member.len() - 1])), PgnError::Damaged),
            (Some(BASE64.encode(&damaged)), PgnError::Damaged),
            (Some(BASE64.encode(&trailing)), PgnError::TrailingData),
        ];
        for (pgn, reason) in cases {
            assert_eq!(check_upload(pgn.as_deref(), 1000), Err(reason), "{pgn:?}");
            assert!(reason.to_string().contains("pgn"));
        }
        assert!(PgnError::Missing.to_string().contains("Missing pgn"));
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let bomb = gzip(&vec![b'a'; 4_000_000]);
        assert!(bomb.len() < 10_000);
        assert_eq!(check_gzip(&bomb, 4_000_000), Ok(4_000_000));
        assert_eq!(check_gzip(&bomb, 3_999_999), Err(PgnError::TooLarge { limit: 3_999_999 }));
    }

    #[test]
    fn padding_is_required_and_ends_the_data() {
        assert_eq!(decode_base64("YQ=="), Ok(b"a".to_vec()));
        assert_eq!(decode_base64("YQ"), Err(PgnError::NotBase64));
        assert_eq!(decode_base64("YQ="), Err(PgnError::NotBase64));
        assert_eq!(decode_base64("YQ=\n="), Ok(b"a".to_vec()));
        assert_eq!(decode_base64("YQ==YQ=="), Ok(b"a".to_vec()));
        assert_eq!(decode_base64("=YWJj"), Ok(b"abc".to_vec()));
        assert_eq!(decode_base64("YWJ_j"), Ok(b"abc".to_vec()));
        assert_eq!(decode_base64(""), Ok(Vec::new()));
    }

    #[test]
    fn games_are_stored_by_run_and_task() {
        let run = RunId::parse("6740a2c47f2b1e5d3c9a1f10").unwrap();
        assert_eq!(storage_key(TaskKey { run, task: TaskId(7) }), "6740a2c47f2b1e5d3c9a1f10-7");
    }

    proptest! {
        #[test]
        fn any_content_makes_the_round_trip(content in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let member = gzip(&content);
            prop_assert_eq!(check_gzip(&member, 2000), Ok(content.len() as u64));
            prop_assert_eq!(decode_base64(&BASE64.encode(&member)), Ok(member));
        }

        #[test]
        fn arbitrary_uploads_never_panic(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            let _ = check_upload(Some(&text), 1000);
            let mut member = GZIP_SIGNATURE.to_vec();
            member.extend(bytes);
            let _ = check_gzip(&member, 1000);
        }
    }
}

//! Any upload, as text and as the bytes of a gzip member.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal::domain::pgn::{check_gzip, check_upload};

const LIMIT: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = check_upload(Some(text), LIMIT);
    }
    if let Ok(unpacked) = check_gzip(bytes, LIMIT) {
        assert!(unpacked <= LIMIT);
    }
});

//! Any line of an import: what is read is written canonically and read back to the same text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal::domain::document::{from_extended_json, to_extended_json, to_json};

fuzz_target!(|line: &str| {
    if let Ok(document) = from_extended_json(line) {
        let canonical = to_extended_json(&document);
        let _ = to_json(&document);
        if let Ok(again) = from_extended_json(&canonical) {
            assert_eq!(to_extended_json(&again), canonical);
        }
    }
});

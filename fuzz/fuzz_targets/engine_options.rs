//! Any text as an engine's options: those of a run that is submitted, and those of a run that is stored.
#![no_main]

use bson::DateTime;
use bson::oid::ObjectId;
use libfuzzer_sys::fuzz_target;
use shoal::domain::capacity::hash_of_options;
use shoal::domain::new_run::{RunForm, build_run};

/// A request for a run with these options.
fn request(options: &str) -> serde_json::Value {
    serde_json::json!({
        "base_tag": "master", "new_tag": "patch", "base_nets": [], "new_nets": [],
        "tc": "10+0.1", "book": "book.epd", "book_depth": "8", "threads": 1,
        "resolved_base": "a".repeat(40), "resolved_new": "b".repeat(40), "msg_base": "base", "msg_new": "new",
        "base_options": "Hash=16", "new_options": options, "info": "info",
        "base_signature": "2050811", "new_signature": "2050812", "username": "alice",
        "tests_repo": "https://github.com/alice/Stockfish", "num_games": 1000,
    })
}

fuzz_target!(|options: &str| {
    let _ = hash_of_options(options);
    if let Ok(form) = RunForm::from_json(&request(options)) {
        let _ = build_run(&form, ObjectId::from_bytes([1; 12]), DateTime::from_millis(0));
    }
});

//! Any text as an engine's options.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal::domain::capacity::hash_of_options;

fuzz_target!(|options: &str| {
    let _ = hash_of_options(options);
});

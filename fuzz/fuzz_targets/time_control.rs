//! Any text as a time control: a value or an error, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal::domain::time_control::{check_form, estimate_game_duration, tc_base, tc_ratio};

fuzz_target!(|text: &str| {
    let _ = (check_form(text), estimate_game_duration(text), tc_base(text), tc_ratio(text, Some(2.0)));
});

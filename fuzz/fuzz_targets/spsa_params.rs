//! Any text as the parameters of a tuning run.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal::domain::spsa::create::{SpsaForm, create};

fuzz_target!(|raw_params: &str| {
    let form = SpsaForm { algorithm: None, a_ratio: "0.1", alpha: "0.602", gamma: "0.101", raw_params };
    let _ = create(&form, 1000);
});

//! `formulas.json`: which file answers for which function.

use super::compare::VectorFile;

/// Functions checked in `schedule_formulas.rs`: time control, capacity, throughput, aggregation.
pub const SCHEDULE: &[&str] = &[
    "estimate_game_duration",
    "get_tc_ratio",
    "sprt_batch_size",
    "worker_cap",
    "task_size",
    "calc_itp",
    "remaining_hours",
    "reasonable_hash",
    "aggregate",
];

/// Functions checked in `display_formulas.rs`: flags, texts and pages.
pub const DISPLAY: &[&str] = &[
    "crash_or_time",
    "flags",
    "valid_results",
    "result_text",
    "nelo_summary",
    "finished_run_message",
    "live_elo_page",
    "statistics_page",
];

#[test]
fn every_function_of_the_formulas_is_claimed() {
    for case in &VectorFile::load("formulas.json").cases {
        let function = case.function();
        assert!(SCHEDULE.contains(&function) || DISPLAY.contains(&function), "nobody checks {function}");
    }
}

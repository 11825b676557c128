//! The rules of the farm. No I/O, no async, no clock, and no randomness that is not passed in.

pub mod action;
pub mod action_query;
pub mod arch;
pub mod arch_filter;
pub mod books;
pub mod bson_number;
pub mod capacity;
pub mod document;
pub mod eligibility;
pub mod fold;
pub mod ids;
pub mod modify_run;
pub mod names;
pub mod new_run;
pub mod number;
pub mod pgn;
pub mod results;
pub mod retention;
pub mod run;
pub mod spsa;
pub mod stats;
pub mod task;
pub mod time_control;
pub mod validate;

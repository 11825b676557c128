//! Promise: the numbers and texts equal those of the reference, case by case.
//!
//! The vectors are read from `SHOAL_VECTORS_DIR`, or from `data/` beside this file.

mod api;
pub mod compare;
mod display_formulas;
mod formulas;
mod llr;
mod schedule_formulas;
mod sprt;
mod spsa;
mod workers;

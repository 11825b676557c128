//! Promise: the numbers and texts equal those of the reference, case by case.
//!
//! The vectors are read from `SHOAL_VECTORS_DIR`, or from `data/` beside this file.

pub mod compare;
mod formulas;
mod schedule_formulas;
mod spsa;

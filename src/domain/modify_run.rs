//! Changing a run.

//! Capacity rules.

//! Arch filter.

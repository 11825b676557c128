//! Placeholder until its branch lands.

/// Conditions on the log.
#[derive(Debug, Clone, Default)]
pub struct ActionQuery {}

//! What the allocator of this process says of itself.
//!
//! Which one that is, is the executable's choice; the library asks whatever it was given, and shows zeros without.

use super::catalogue::{
    ALLOCATOR_ACTIVE, ALLOCATOR_ALLOCATED, ALLOCATOR_MAPPED, ALLOCATOR_METADATA, ALLOCATOR_RESIDENT,
    ALLOCATOR_RETAINED,
};

/// Figures of one moment, in bytes, as jemalloc defines them (`stats.*`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// What the program asked for and hasn't freed.
    pub allocated: f64,
    /// Pages in which some of that lies.
    pub active: f64,
    /// What the allocator holds in RAM at most: active pages, its own data, and free pages that it hasn't given back yet.
    pub resident: f64,
    /// Pages that the allocator has got from the system and that may be in use.
    pub mapped: f64,
    /// Address space that it keeps without memory behind it.
    pub retained: f64,
    /// What it needs to know where things are.
    pub metadata: f64,
}

/// Asks the allocator. It is asked at each scrape: it has to be cheap, and never to wait. None if it has nothing to tell.
pub type Probe = fn() -> Option<Figures>;

/// Shows what an allocator says.
pub(super) fn observe(probe: Option<Probe>) {
    let Some(figures) = probe.and_then(|ask| ask()) else { return };
    ALLOCATOR_ALLOCATED.set([], figures.allocated);
    ALLOCATOR_ACTIVE.set([], figures.active);
    ALLOCATOR_RESIDENT.set([], figures.resident);
    ALLOCATOR_MAPPED.set([], figures.mapped);
    ALLOCATOR_RETAINED.set([], figures.retained);
    ALLOCATOR_METADATA.set([], figures.metadata);
}

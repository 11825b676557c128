//! The executable's allocator: jemalloc.
//!
//! A server lives for months, and allocates on all its threads what other threads free: documents, bodies of requests, games.
//! jemalloc packs that by size, tells what it holds, and gives back what is free. For the latter it is built with threads
//! of its own (`background_threads`): by itself an arena returns free pages only while somebody allocates in it, so a
//! thread that falls idle behind an upload would keep the upload's memory for good. Pages that have been free for ten
//! seconds (its default, `dirty_decay_ms`) go back to the system; `_RJEM_MALLOC_CONF` in the environment changes that.

use shoal::telemetry::allocator::Figures;
use tikv_jemalloc_ctl::{epoch, stats};

#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What it says of itself now; nothing if it was built without figures.
pub fn figures() -> Option<Figures> {
    // They are those of the last epoch.
    epoch::advance().ok()?;
    let bytes = |figure: tikv_jemalloc_ctl::Result<usize>| figure.ok().map(|bytes| bytes as f64);
    Some(Figures {
        allocated: bytes(stats::allocated::read())?,
        active: bytes(stats::active::read())?,
        resident: bytes(stats::resident::read())?,
        mapped: bytes(stats::mapped::read())?,
        retained: bytes(stats::retained::read())?,
        metadata: bytes(stats::metadata::read())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_is_told_and_so_is_its_end() {
        const SIZE: usize = 64 << 20;
        let before = figures().unwrap();
        let held = vec![1_u8; SIZE];
        let during = figures().unwrap();
        assert_eq!(held.iter().map(|byte| usize::from(*byte)).sum::<usize>(), SIZE);
        drop(held);
        let after = figures().unwrap();
        // Other tests of this executable allocate, too, but nothing of that size.
        let half = (SIZE / 2) as f64;
        assert!(during.allocated > before.allocated + half, "{before:?} {during:?}");
        assert!(after.allocated < during.allocated - half, "{during:?} {after:?}");
        assert!(during.resident >= during.active && during.active >= during.allocated, "{during:?}");
        assert!(during.metadata > 0.0 && during.mapped >= during.active, "{during:?}");
    }

    #[test]
    fn its_threads_give_back_what_others_have_freed() {
        assert!(tikv_jemalloc_ctl::background_thread::read().unwrap());
    }
}

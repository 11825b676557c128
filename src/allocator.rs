//! The executable's allocator: jemalloc.
//!
//! A server lives for months, and allocates on all its threads what other threads free: documents, bodies of requests, games.
//! jemalloc packs that by size, tells what it holds, and gives back what is free. For the latter it is built with threads
//! of its own (`background_threads`): by itself an arena returns free pages only while somebody allocates in it, so a
//! thread that falls idle behind an upload would keep the upload's memory for good. Pages that have been free for ten
//! seconds (its default, `dirty_decay_ms`) go back to the system; `_RJEM_MALLOC_CONF` in the environment changes that.

use std::ffi::CStr;
use std::ptr;

use shoal::telemetry::allocator::Figures;
use tikv_jemalloc_sys::mallctl;

#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The values of jemalloc that are known here; what it calls them, and of which type they are, is in the section "MALLCTL
/// NAMESPACE" of its manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// How often the figures were taken, `uint64_t`; asking for it takes them anew. All others are `size_t`.
    Epoch,
    Allocated,
    Active,
    Resident,
    Mapped,
    Retained,
    Metadata,
    #[cfg(test)]
    Threads,
}

impl Value {
    fn name(self) -> &'static CStr {
        match self {
            Self::Epoch => c"epoch",
            Self::Allocated => c"stats.allocated",
            Self::Active => c"stats.active",
            Self::Resident => c"stats.resident",
            Self::Mapped => c"stats.mapped",
            Self::Retained => c"stats.retained",
            Self::Metadata => c"stats.metadata",
            #[cfg(test)]
            Self::Threads => c"stats.background_thread.num_threads",
        }
    }

    /// None if jemalloc doesn't know it, or not as a number of 64 bits.
    #[expect(unsafe_code, reason = "jemalloc tells by a function of C only; the one place, and proved below")]
    fn ask(self) -> Option<u64> {
        let (mut told, mut size) = (0_u64, size_of::<u64>());
        // Whatever is written there: the figures are taken anew.
        let mut anew = 1_u64;
        let (write, write_size) = match self {
            Self::Epoch => (ptr::from_mut(&mut anew), size_of::<u64>()),
            _ => (ptr::null_mut(), 0),
        };
        // SAFETY: The name is a static text that ends with a zero, and one of the list above: each is a plain number that may
        // be read, and the only one that is written, the epoch, may be written, as an `uint64_t`, and changes nothing that
        // anybody's memory hangs on. `told`, `size` and `anew` are three variables of this function, aligned for their types,
        // initialised, and borrowed by nobody else; jemalloc uses them during the call only. It writes at most `size` bytes to
        // `told`, and only reads as many as its own type has from `write`: where a size isn't that of the type (a `size_t` of 32
        // bits), it says so by its code. Every pattern of bits is an `u64`. It may be called by any thread at any time.
        let code = unsafe {
            mallctl(
                self.name().as_ptr(),
                ptr::from_mut(&mut told).cast(),
                &raw mut size,
                write.cast(),
                write_size,
            )
        };
        (code == 0 && size == size_of::<u64>()).then_some(told)
    }
}

/// What it says of itself now; nothing if it was built without figures.
pub fn figures() -> Option<Figures> {
    // They are those of the last epoch.
    Value::Epoch.ask()?;
    let bytes = |value: Value| value.ask().map(|bytes| bytes as f64);
    Some(Figures {
        allocated: bytes(Value::Allocated)?,
        active: bytes(Value::Active)?,
        resident: bytes(Value::Resident)?,
        mapped: bytes(Value::Mapped)?,
        retained: bytes(Value::Retained)?,
        metadata: bytes(Value::Metadata)?,
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
    fn figures_are_taken_anew_by_asking_for_the_epoch() {
        let before = Value::Epoch.ask().unwrap();
        assert!(Value::Epoch.ask().unwrap() > before);
    }

    #[test]
    fn its_threads_give_back_what_others_have_freed() {
        Value::Epoch.ask().unwrap();
        assert!(Value::Threads.ask().unwrap() > 0, "none runs");
    }
}

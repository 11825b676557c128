//! The outside world that rules must not reach by themselves: clocks, randomness, tasks and threads.
//! `clippy.toml` forbids the raw functions everywhere else.

pub mod clock;
pub mod random;
pub mod spawn;

//! The outside world that rules must not reach by themselves: clocks, randomness, tasks and threads, web clients.
//! `clippy.toml` forbids the raw functions everywhere else.

pub mod clock;
pub mod patience;
pub mod random;
pub mod spawn;
pub mod web;

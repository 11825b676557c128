//! What the services promise, over a schedule in memory and a real file: runs from their creation to their end, every
//! operation's log entries, repetitions, restarts, a store that is away.

mod dumps;
pub mod farm;
pub mod faulty;
mod lives;
mod operations;
mod outages;
mod restarts;
mod without_store;

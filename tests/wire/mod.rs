//! Promise: on the wire, nobody can tell this server from the original, but where the original hurts.
//!
//! Every test talks HTTP to a real server. Every answer that passes through [`farm::TestFarm`] is searched for the
//! password that all accounts of these tests have.

mod abuse;
pub mod farm;
mod games;
mod reads;
mod refusals;
mod runs;
mod tasks;
mod transport;
mod trouble;

//! The simulated fleet against a small server that keeps the protocol honestly in memory, and against the same
//! server with one promise broken at a time: each check must fire, and only when it should.

mod protocol;
mod runs;
mod server;

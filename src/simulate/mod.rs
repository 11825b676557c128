//! `shoal simulate`: a fleet of workers that speak the real protocol over HTTP, from one process.
//!
//! An operator sizes a farm with it, the benchmarks run on it, and the chaos tests let it judge: its [`ledger`] holds
//! everything that the server acknowledged, and what the server shows must agree with it. It is built as a client,
//! with nothing of the server's rules in it but the plain counts of games, so that one mistake can't hide another.
//!
//! [`simulation::run`] is the entrance; [`options`] says what can be asked for, [`report`] what comes back.

pub mod answer;
pub mod args;
pub mod audit;
pub mod cadence;
pub mod client;
pub mod demo_view;
pub mod endpoint;
pub mod judge;
pub mod latency;
pub mod ledger;
pub mod machine;
pub mod model;
pub mod options;
pub mod pace;
pub mod pgn;
pub mod play;
pub mod progress;
pub mod protocol;
pub mod report;
pub mod simulation;
pub mod tally;
pub mod watch;
pub mod worker;

pub use args::SimulateArgs;
pub use options::SimulateOptions;
pub use report::{Observer, Report, Snapshot};
pub use simulation::{SimulateError, run, run_observed};

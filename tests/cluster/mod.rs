//! Many replicas over one schedule: real servers, a real Redis, a real balancer, and what befalls them.
//!
//! The short forms are part of the suite. `SHOAL_LONG=1` makes four replicas and 5,000 workers of them, and has the runs
//! end by themselves; give them the machine alone (`--test-threads=1`). `SHOAL_TEST_KEEP=1` keeps the replicas' logs.

mod balancer;
mod drill;
mod farm;
mod histories;
mod history;
mod kinds;
mod leaders;
mod lives;
mod memories;
mod metrics;
mod overload;
mod prober;
pub mod process;
mod readiness;
pub mod redis;
mod releases;
mod schema;
mod scrapes;
mod sentinel;
mod slow;

//! Many replicas, one schedule: whoever joins, leads, dies, sleeps or is told too late, the farm is one (P4, P5).
//!
//! Several farms over one state in this process and one store. What belongs to a state on a server of its own, and to real
//! processes, is tried elsewhere.

mod caches;
mod folding;
mod joining;
mod leading;
mod living;
mod pauses;
mod place;
mod sagas;

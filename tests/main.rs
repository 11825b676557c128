//! The tests of the whole product: one binary, one module per promise.

mod documents;
mod drills;
mod durability;
mod import;
mod simulate;
mod vectors;
mod wire;

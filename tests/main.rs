//! The tests of the whole product: one binary, one module per promise.

mod durability;
mod import;
mod simulate;
mod vectors;

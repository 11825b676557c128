//! The tests of the whole product: one binary, one module per promise.

mod durability;
mod service;
mod state_conformance;
mod vectors;

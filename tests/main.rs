//! The tests of the whole product: one binary, one module per promise.

#![forbid(unsafe_code)]

mod cluster;
mod documents;
mod drills;
mod durability;
mod github;
mod import;
mod replicas;
mod service;
mod simulate;
mod state_conformance;
mod vectors;
mod wire;

//! Promise: what the documents say about the configuration is what the program does.

mod configuration;
mod flags;
mod metrics;
mod references;

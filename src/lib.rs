//! Shoal: the fishtest server as a horizontally scaled tier.
//!
//! Dependencies point one way: [`http`] and [`scheduler`] call [`service`], which joins the pure rules of
//! [`domain`] with the shared scheduling [`state`] and the durable [`store`]. `ARCHITECTURE.md` tells the whole story.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod domain;
pub mod github;
pub mod http;
pub mod scheduler;
pub mod service;
pub mod simulate;
pub mod state;
pub mod store;
pub mod sys;
pub mod telemetry;

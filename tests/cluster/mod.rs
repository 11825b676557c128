//! Many replicas over one schedule: real servers, a real Redis, a real balancer, and what befalls them.

pub mod process;
pub mod redis;

//! How often addresses ask, counted for all replicas together.

use super::link::Way;
use super::{RedisState, scripts};
use crate::state::{Rate, StateResult};

/// Counts don't belong to a generation.
const NO_GENERATION: &str = "0";

/// Microseconds of a second.
const MICROS: f64 = 1e6;

impl RedisState {
    /// Counts one request, if the address may make it. The caller's patience is short, so connecting is left to others.
    pub(super) async fn count_address(&self, address: &str, rate: Rate) -> StateResult<bool> {
        let step = (MICROS / rate.per_second).round().max(1.0);
        let key = self.base.rate(address);
        let mut command = self.command(&scripts::RATE_LIMIT, NO_GENERATION, &[&key]);
        command.arg(format!("{step:.0}")).arg(format!("{:.0}", step * rate.burst.max(1.0)));
        let reply = self.run(&scripts::RATE_LIMIT, &command, Way::Spare).await?;
        match reply.word() {
            "YES" => Ok(true),
            "NO" => Ok(false),
            _ => Err(reply.unexpected()),
        }
    }
}

//! Leases, the generation, the server's clock.

use std::time::Duration;

use redis::Value;

use super::link::Way;
use super::{RedisState, errors, scripts};
use crate::domain::ids::{Generation, Millis, Token};
use crate::state::{GenerationView, LeaseName, LeaseOutcome, LeaseView, LoadState, StateError, StateResult};

/// Leases are asked for by their names, whatever the generation.
const NO_GENERATION: &str = "0";

impl RedisState {
    pub(super) async fn read_now(&self) -> StateResult<Millis> {
        if let Some(clock) = &self.clock {
            return Ok(clock.now());
        }
        let answer = self.link.send(&redis::cmd("TIME"), Way::Shared).await;
        let answer = answer.map_err(|error| errors::state_error(&error))?;
        let (seconds, micros): (i64, i64) =
            redis::from_redis_value(answer).map_err(|error| StateError::Bug(error.to_string()))?;
        Ok(Millis(seconds.saturating_mul(1000).saturating_add(micros / 1000)))
    }

    pub(super) async fn read_generation(&self) -> StateResult<Option<GenerationView>> {
        let command = self.command(&scripts::READ_GENERATION, NO_GENERATION, &[]);
        let mut reply = self.run(&scripts::READ_GENERATION, &command, Way::Shared).await?;
        match reply.word() {
            "NONE" => Ok(None),
            "HERE" => {
                let generation = Generation(reply.number()?);
                self.learn(generation);
                let state = match reply.text()?.as_str() {
                    "loaded" => LoadState::Loaded,
                    _ => LoadState::Loading,
                };
                Ok(Some(GenerationView { generation, state }))
            }
            _ => Err(reply.unexpected()),
        }
    }

    pub(super) async fn change_generation(
        &self,
        generation: Generation,
        state: LoadState,
    ) -> StateResult<bool> {
        let mut command = self.command(&scripts::SET_GENERATION, &generation.to_string(), &[]);
        command.arg(match state {
            LoadState::Loading => "loading",
            LoadState::Loaded => "loaded",
        });
        let reply = self.run(&scripts::SET_GENERATION, &command, Way::Shared).await?;
        yes(&reply)
    }

    pub(super) async fn acquire_lease(
        &self,
        name: LeaseName,
        holder: &str,
        ttl: Duration,
        known: Generation,
    ) -> StateResult<LeaseOutcome> {
        let keys = [self.base.lease(name), self.base.lease_counter.clone()];
        let mut command = self.command(&scripts::LEASE_ACQUIRE, &known.to_string(), &[&keys[0], &keys[1]]);
        command.arg(holder).arg(millis(ttl));
        let mut reply = self.run(&scripts::LEASE_ACQUIRE, &command, Way::Shared).await?;
        match reply.word() {
            "HELD" => Ok(LeaseOutcome::Held(reply.token()?)),
            "TAKEN" => {
                let holder = reply.text()?;
                let token = reply.token()?;
                Ok(LeaseOutcome::Taken(LeaseView { holder, token, expires: Millis(reply.number()?) }))
            }
            _ => Err(reply.unexpected()),
        }
    }

    pub(super) async fn renew_lease(
        &self,
        name: LeaseName,
        token: Token,
        ttl: Duration,
    ) -> StateResult<bool> {
        let mut command = self.command(&scripts::LEASE_RENEW, NO_GENERATION, &[&self.base.lease(name)]);
        command.arg(token.generation.0).arg(token.counter).arg(millis(ttl));
        yes(&self.run(&scripts::LEASE_RENEW, &command, Way::Shared).await?)
    }

    pub(super) async fn release_lease(&self, name: LeaseName, token: Token) -> StateResult<bool> {
        let mut command = self.command(&scripts::LEASE_RELEASE, NO_GENERATION, &[&self.base.lease(name)]);
        command.arg(token.generation.0).arg(token.counter);
        yes(&self.run(&scripts::LEASE_RELEASE, &command, Way::Shared).await?)
    }

    pub(super) async fn read_lease(&self, name: LeaseName) -> StateResult<Option<LeaseView>> {
        let command = self.command(&scripts::LEASE_READ, NO_GENERATION, &[&self.base.lease(name)]);
        let mut reply = self.run(&scripts::LEASE_READ, &command, Way::Shared).await?;
        match reply.word() {
            "FREE" => Ok(None),
            "HELD" => {
                let holder = reply.text()?;
                let token = reply.token()?;
                Ok(Some(LeaseView { holder, token, expires: Millis(reply.number()?) }))
            }
            _ => Err(reply.unexpected()),
        }
    }

    /// Only its holder can free a slot: its name is its own.
    pub(super) async fn free_slot(&self, holder: &str) -> StateResult<bool> {
        let mut command = redis::cmd("ZREM");
        command.arg(&self.known().slots).arg(holder);
        let answer = self.link.send(&command, Way::Shared).await;
        let answer = answer.map_err(|error| errors::state_error(&error))?;
        Ok(answer == Value::Int(1))
    }
}

/// A time to live in ms, at least one: the server refuses none.
pub(super) fn millis(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX / 4).clamp(1, i64::MAX / 4)
}

/// YES or NO.
pub(super) fn yes(reply: &super::reply::Reply) -> StateResult<bool> {
    match reply.word() {
        "YES" => Ok(true),
        "NO" => Ok(false),
        _ => Err(reply.unexpected()),
    }
}

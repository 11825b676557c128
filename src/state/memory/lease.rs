//! Leases: the leader's, the request-task lock.

use std::time::Duration;

use super::tables::Tables;
use crate::domain::ids::{Generation, Millis, Token};
use crate::state::{LeaseName, LeaseOutcome, LeaseView};

impl Tables {
    /// The lease if it is held and hasn't expired.
    pub(super) fn lease(&self, name: LeaseName, now: Millis) -> Option<&LeaseView> {
        self.leases.get(&name).filter(|lease| lease.expires > now)
    }

    pub(super) fn lease_acquire(
        &mut self,
        name: LeaseName,
        holder: &str,
        ttl: Duration,
        known: Generation,
        now: Millis,
    ) -> LeaseOutcome {
        let expires = after(now, ttl);
        if let Some(lease) = self.lease(name, now) {
            if lease.holder != holder {
                return LeaseOutcome::Taken(lease.clone());
            }
            let token = lease.token;
            self.leases.insert(name, LeaseView { holder: holder.to_owned(), token, expires });
            return LeaseOutcome::Held(token);
        }
        self.lease_counter += 1;
        let generation = self.generation.map_or(known, |there| there.generation.max(known));
        let token = Token { generation, counter: self.lease_counter };
        self.leases.insert(name, LeaseView { holder: holder.to_owned(), token, expires });
        LeaseOutcome::Held(token)
    }

    pub(super) fn lease_renew(&mut self, name: LeaseName, token: Token, ttl: Duration, now: Millis) -> bool {
        match self.leases.get_mut(&name) {
            Some(lease) if lease.token == token && lease.expires > now => {
                lease.expires = after(now, ttl);
                true
            }
            _ => false,
        }
    }

    pub(super) fn lease_release(&mut self, name: LeaseName, token: Token, now: Millis) -> bool {
        if self.lease(name, now).is_some_and(|lease| lease.token == token) {
            self.leases.remove(&name);
            return true;
        }
        false
    }

    /// Whether `token` is the current holder's.
    pub(super) fn holds(&self, name: LeaseName, token: Token, now: Millis) -> bool {
        self.lease(name, now).is_some_and(|lease| lease.token == token)
    }
}

pub(super) fn after(now: Millis, ttl: Duration) -> Millis {
    Millis(now.0.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)))
}

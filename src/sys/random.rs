//! Randomness: identifiers, secrets, jitter.

#![allow(clippy::disallowed_methods)]

use bson::oid::ObjectId;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use crate::domain::ids::WriteId;

/// A fresh time-prefixed object id (the embedded second serves as a creation time, `spec/storage.md` section 1).
pub fn object_id() -> ObjectId {
    ObjectId::new()
}

/// A fresh 64-bit write id.
pub fn write_id() -> WriteId {
    WriteId(rand::rng().next_u64())
}

/// A fresh identity of a trace; never 0, which means none.
pub fn trace_id() -> u128 {
    let mut rng = rand::rng();
    (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).max(1)
}

/// A random identity for a process or a holder; never derived from the host name.
pub fn identity() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// 32 bytes fit for a key.
pub fn key() -> [u8; 32] {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// A generator seeded from the system.
pub fn rng() -> StdRng {
    StdRng::from_rng(&mut rand::rng())
}

/// A generator with a given seed, so that what it drives can be repeated.
pub fn seeded(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

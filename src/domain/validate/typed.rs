//! The fast way: a good body becomes a [`WorkerRequest`] in one pass. Says only "not like this"; the words for a
//! refusal come from `walk.rs`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::request::{SpsaResult, WorkerRequest};
use super::worker_info::{self, WorkerInfo};
use crate::domain::ids::RunId;
use crate::domain::results::Stats;

/// `None` when `text` is not JSON, or has other keys or types than a request, or repeats a key.
pub(super) fn parse(text: &str) -> Option<WorkerRequest> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let raw: RawRequest = object(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(WorkerRequest {
        password: raw.password,
        worker_info: raw.worker_info.0,
        run_id: raw.run_id,
        task_id: raw.task_id,
        pgn: raw.pgn,
        message: raw.message,
        stats: raw.stats.map(|stats| stats.0),
        spsa: raw.spsa,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    password: String,
    #[serde(deserialize_with = "object")]
    worker_info: RawWorkerInfo,
    #[serde(default, deserialize_with = "present")]
    run_id: Option<RunId>,
    #[serde(default, deserialize_with = "present")]
    task_id: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    pgn: Option<String>,
    #[serde(default, deserialize_with = "present")]
    message: Option<String>,
    #[serde(default, deserialize_with = "present_object")]
    stats: Option<RawStats>,
    #[serde(default, deserialize_with = "present_object")]
    spsa: Option<SpsaResult>,
}

struct RawWorkerInfo(WorkerInfo);

impl<'de> Deserialize<'de> for RawWorkerInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        worker_info::strict(deserializer).map(Self)
    }
}

#[derive(Deserialize)]
#[serde(remote = "Stats", deny_unknown_fields)]
struct StrictStats {
    wins: u64,
    losses: u64,
    draws: u64,
    crashes: u64,
    time_losses: u64,
    pentanomial: [u64; 5],
}

struct RawStats(Stats);

impl<'de> Deserialize<'de> for RawStats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StrictStats::deserialize(deserializer).map(Self)
    }
}

/// A key that is there has a value: `null` is not "absent".
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Both of the above.
fn present_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    object(deserializer).map(Some)
}

/// Reads `T` from an object only: derived implementations would also take an array of the fields' values.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct OnlyObject<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyObject<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(OnlyObject(PhantomData))
}

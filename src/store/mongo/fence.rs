//! The fence: the generation that may write (`durability.md` section 1), and the seal of a rebuild (section 9).

use std::time::Duration;

use bson::{Document, doc};
use mongodb::options::{ReadConcern, SelectionCriteria};

use super::bulk::{Outcome, statement};
use super::layout::{META, bits, from_bits};
use super::watch::Call;
use super::{MongoStore, TRANSFER, collection};
use crate::domain::ids::Generation;
use crate::store::{StoreError, StoreResult};
use crate::sys::clock::stopwatch;
use crate::sys::random;

const SCHEDULE: &str = "schedule";

/// A fence that was seen so long ago is looked at again before a batch. This only spares a stale writer useless
/// insertions: what protects from them is the look afterwards.
const FRESH: Duration = Duration::from_secs(1);

impl MongoStore {
    /// The fence, linearizable where the server can.
    pub(super) async fn read_fence(&self) -> StoreResult<Generation> {
        let document = self.fence_document().await?;
        let generation = Generation(document.map_or(0, |doc| from_bits(&doc, "g")));
        *self.fence_seen.lock() = Some((generation, stopwatch()));
        Ok(generation)
    }

    async fn fence_document(&self) -> StoreResult<Option<Document>> {
        let concern =
            if self.facts.linearizable() { ReadConcern::linearizable() } else { ReadConcern::majority() };
        let fences = self.collection(collection::FENCE);
        let find = fences
            .find_one(doc! { "_id": SCHEDULE })
            .read_concern(concern)
            .selection_criteria(SelectionCriteria::ReadPreference(mongodb::options::ReadPreference::Primary))
            // A linearizable read waits for a majority: without a limit, for ever.
            .max_time(self.deadline);
        self.read(Call::Find, find.into_future()).await
    }

    /// The fence, as it was a moment ago if that was `expected`.
    pub(super) async fn recent_fence(&self, expected: Generation) -> StoreResult<Generation> {
        let seen = *self.fence_seen.lock();
        match seen {
            Some((generation, at)) if generation == expected && at.elapsed() < FRESH => Ok(generation),
            _ => self.read_fence().await,
        }
    }

    /// Raises the fence by compare-and-set. The nonce tells whose a raised fence is when the answer was lost.
    pub(super) async fn raise(&self, from: Generation) -> StoreResult<Option<Generation>> {
        let Some(next) = from.0.checked_add(1).map(Generation) else { return Ok(None) };
        let nonce = random::identity();
        let raise = || {
            let filter = doc! { "_id": SCHEDULE, "g": bits(from.0) };
            let update = doc! { "$set": { "g": bits(next.0), "by": nonce.as_str() } };
            // Before the first generation there is no document.
            vec![statement(filter, update, from == Generation(0))]
        };
        let mut error = None;
        for _ in 0..3 {
            match self.update_many(collection::FENCE, raise()).await {
                Ok(answer) => {
                    let won = answer.matched > 0 && answer.outcomes.first() != Some(&Outcome::Duplicate);
                    if won {
                        *self.fence_seen.lock() = Some((next, stopwatch()));
                        return Ok(Some(next));
                    }
                    if error.is_none() {
                        return Ok(None);
                    }
                }
                Err(unknown @ StoreError::Unknown(_)) => error = Some(unknown),
                // An earlier try may have won.
                Err(other) => return Err(error.unwrap_or(other)),
            }
            // An earlier try may have been the one that won.
            let Ok(stored) = self.fence_document().await else { continue };
            let stored = stored.unwrap_or_default();
            if from_bits(&stored, "g") == next.0 && stored.get_str("by").is_ok_and(|by| by == nonce) {
                return Ok(Some(next));
            }
            if from_bits(&stored, "g") != from.0 {
                return Ok(None);
            }
        }
        Err(error.unwrap_or_else(|| StoreError::Unknown("the fence".to_owned())))
    }

    /// The primary and its election, once it has proved that it is the primary: a linearizable read waits until a write of
    /// its own term is a majority's, and from then on its majority reads lack nothing that was acknowledged before. A
    /// primary that was elected a moment ago may lack that. (Sessions would promise the same, but not every server that
    /// speaks this protocol has them. A router names no election, and is believed.)
    pub(super) async fn primary_in_its_term(&self) -> StoreResult<String> {
        self.read_fence().await?;
        let hello =
            self.read(Call::Hello, self.database.run_command(doc! { "hello": 1 }).into_future()).await?;
        Ok(format!("{:?} {:?}", hello.get("me"), hello.get("electionId")))
    }

    /// Gives what is alive the new generation, until nothing of an older one is left.
    pub(super) async fn seal_older(&self, generation: Generation) -> StoreResult<u64> {
        // A generation that isn't the fence's any more has nothing to seal.
        if self.read_fence().await? != generation {
            return Ok(0);
        }
        let (older, new) = (doc! { "$lt": bits(generation.0) }, bits(generation.0));
        let meta = format!("{META}.g");
        let tasks =
            (collection::TASKS, doc! { "active": true, "g": older.clone() }, doc! { "g": new.clone() });
        let runs =
            (collection::RUNS, doc! { "finished": false, meta.as_str(): older }, doc! { meta.as_str(): new });
        let mut sealed = 0;
        for (name, filter, set) in [tasks, runs] {
            loop {
                let collection = self.collection(name);
                let update = collection.update_many(filter.clone(), doc! { "$set": set.clone() });
                let changed =
                    self.write_within(Call::Update, TRANSFER, update.into_future()).await?.modified_count;
                sealed += changed;
                if changed == 0 {
                    break;
                }
            }
        }
        Ok(sealed)
    }
}

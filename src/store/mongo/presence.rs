//! Which server works on the database. A server whose schedule lives in its own process is the only one; a command on
//! another machine must not take the schedule from it by mistake. Only advice: what protects is the fence.

use bson::doc;

use super::bulk::statement;
use super::{MongoStore, collection};
use crate::domain::ids::Millis;
use crate::store::StoreResult;
use crate::store::codec::as_date;

const SERVER: &str = "serve";

/// A server that has not been heard of for so long is gone, ms. By the database server's clock alone.
const GONE: i64 = 30_000;

impl MongoStore {
    /// Says that this process serves; to be repeated every ten seconds or so.
    ///
    /// # Errors
    /// As every write.
    pub async fn announce(&self, who: &str) -> StoreResult<()> {
        let update = doc! { "$set": { "holder": who }, "$currentDate": { "at": true } };
        self.upsert(collection::LEASES, || statement(doc! { "_id": SERVER }, update.clone(), true)).await
    }

    /// Takes the announcement back, at the end.
    ///
    /// # Errors
    /// As every write.
    pub async fn withdraw(&self, who: &str) -> StoreResult<()> {
        let mine = doc! { "_id": SERVER, "holder": who };
        let gone = statement(mine, doc! { "$unset": { "holder": "" } }, false);
        self.update_many(collection::LEASES, vec![gone]).await.map(|_| ())
    }

    /// The server that serves now, if one does.
    ///
    /// # Errors
    /// As every read.
    pub async fn announced(&self) -> StoreResult<Option<String>> {
        let Some(stored) = self.by_id(collection::LEASES, SERVER).await? else { return Ok(None) };
        let hello = self.read(self.database.run_command(doc! { "hello": 1 }).into_future()).await?;
        let (at, now) = (as_date(stored.get("at")), as_date(hello.get("localTime")));
        let heard = matches!((at, now), (Some(Millis(at)), Some(Millis(now))) if now - at < GONE);
        Ok(stored.get_str("holder").ok().filter(|_| heard).map(str::to_owned))
    }
}

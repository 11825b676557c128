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
    pub(super) async fn announce_server(&self, who: Option<&str>) -> StoreResult<()> {
        let update = match who {
            Some(who) => doc! { "$set": { "holder": who }, "$currentDate": { "at": true } },
            None => doc! { "$unset": { "holder": "" } },
        };
        self.upsert(collection::LEASES, || statement(doc! { "_id": SERVER }, update.clone(), true)).await
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

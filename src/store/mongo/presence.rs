//! Which servers work on the database: a command that wants to be alone, or a server whose schedule lives in its own
//! process, must not take the schedule from others by mistake. Only advice: what protects is the fence.

use bson::{Document, doc};

use super::bulk::statement;
use super::watch::Call;
use super::{MongoStore, collection};
use crate::domain::ids::Millis;
use crate::store::StoreResult;
use crate::store::codec::{as_date, date};

/// Each server has a document of its own: this, and its identity.
const SERVER: &str = "serve:";

/// The first `_id` that is no server's any more: `;` follows `:`.
const SERVERS_END: &str = "serve;";

/// A server that has not been heard of for so long is gone, ms. By the database server's clock alone.
const GONE: i64 = 30_000;

/// What servers that are gone for so long left is removed, ms.
const FORGOTTEN: i64 = 3_600_000;

impl MongoStore {
    fn presence_id(&self) -> String {
        format!("{SERVER}{}", self.identity)
    }

    pub(super) async fn announce_server(&self, who: Option<&str>) -> StoreResult<()> {
        let leases = self.collection(collection::LEASES);
        let Some(who) = who else {
            self.write(Call::Delete, leases.delete_one(doc! { "_id": self.presence_id() }).into_future())
                .await?;
            return Ok(());
        };
        let update = doc! { "$set": { "holder": who }, "$currentDate": { "at": true } };
        let id = self.presence_id();
        self.upsert(collection::LEASES, || statement(doc! { "_id": id.as_str() }, update.clone(), true))
            .await?;
        if let Some(Millis(now)) = self.server_time().await? {
            let mut forgotten = servers();
            forgotten.insert("at", doc! { "$lt": date(Millis(now - FORGOTTEN)) });
            self.write(Call::Delete, leases.delete_many(forgotten).into_future()).await?;
        }
        Ok(())
    }

    /// A server that serves now, other than this process.
    pub(super) async fn announced_server(&self) -> StoreResult<Option<String>> {
        let leases = self.collection(collection::LEASES);
        let cursor =
            self.read(Call::Find, leases.find(servers()).max_time(self.deadline).into_future()).await?;
        let found = self.drain(cursor, Ok).await?;
        let Some(Millis(now)) = self.server_time().await? else { return Ok(None) };
        let lives = |server: &Document| {
            let other = server.get_str("_id").is_ok_and(|id| id != self.presence_id());
            other && as_date(server.get("at")).is_some_and(|Millis(at)| now - at < GONE)
        };
        Ok(found
            .iter()
            .find(|server| lives(server))
            .map(|server| server.get_str("holder").unwrap_or("of no name").to_owned()))
    }

    async fn server_time(&self) -> StoreResult<Option<Millis>> {
        let hello =
            self.read(Call::Hello, self.database.run_command(doc! { "hello": 1 }).into_future()).await?;
        Ok(as_date(hello.get("localTime")))
    }
}

fn servers() -> Document {
    doc! { "_id": { "$gte": SERVER, "$lt": SERVERS_END } }
}

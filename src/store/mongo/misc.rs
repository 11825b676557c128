//! Neural networks' metadata, and the key-value collection.

use async_trait::async_trait;
use bson::{Bson, Document, doc};

use super::bulk::{Outcome, only, statement};
use super::watch::Call;
use super::{MIGRATIONS, MongoStore, collection};
use crate::store::codec::int;
use crate::store::migrate::{SchemaError, pending};
use crate::store::{MiscStore, StoreError, StoreResult};

impl MongoStore {
    /// An upsert. Of two that insert one key at once, one breaks the key's uniqueness: it finds the other's document
    /// when it is sent again.
    pub(super) async fn upsert(&self, collection: &str, put: impl Fn() -> Document) -> StoreResult<()> {
        let mut answer = self.update_many(collection, vec![put()]).await?;
        if answer.outcomes.first() == Some(&Outcome::Duplicate) {
            answer = self.update_many(collection, vec![put()]).await?;
        }
        only(answer, || format!("document in {collection}")).map(|_| ())
    }

    /// Inserts a document, or replaces the one whose `key` has the same value; that one keeps its `_id`, which nobody
    /// can change.
    pub(super) async fn replace(
        &self,
        collection: &str,
        key: &str,
        value: &str,
        document: &Document,
    ) -> StoreResult<()> {
        let find = self.collection(collection);
        let find = find.find_one(doc! { key: value }).projection(doc! { "_id": 1 }).max_time(self.deadline);
        let mut document = document.clone();
        if let Some(id) =
            self.read(Call::Find, find.into_future()).await?.and_then(|mut stored| stored.remove("_id"))
        {
            document.insert("_id", id);
        }
        self.upsert(collection, || statement(doc! { key: value }, document.clone(), true)).await
    }
}

#[async_trait]
impl MiscStore for MongoStore {
    async fn net(&self, name: &str) -> StoreResult<Option<Document>> {
        let nets = self.collection(collection::NNS);
        let find = nets.find_one(doc! { "name": name }).max_time(self.deadline);
        self.read(Call::Find, find.into_future()).await
    }

    async fn put_net(&self, net: &Document) -> StoreResult<()> {
        let name = net
            .get_str("name")
            .map_err(|_| StoreError::Damaged("a network's document without a name".into()))?;
        self.replace(collection::NNS, "name", name, net).await
    }

    async fn count_downloads(&self, name: &str, by: u64) -> StoreResult<()> {
        let count = statement(doc! { "name": name }, doc! { "$inc": { "downloads": int(by) } }, false);
        let answer = self.update_many(collection::NNS, vec![count]).await?;
        only(answer, || format!("network {name}")).map(|_| ())
    }

    async fn kv(&self, key: &str) -> StoreResult<Option<Bson>> {
        Ok(self.by_id(collection::KVSTORE, key).await?.and_then(|mut doc| doc.remove("value")))
    }

    async fn put_kv(&self, key: &str, value: &Bson) -> StoreResult<()> {
        // Replaced whole: names within the value may hold dots.
        let document = doc! { "_id": key, "value": value.clone() };
        self.upsert(collection::KVSTORE, || statement(doc! { "_id": key }, document.clone(), true)).await
    }

    async fn ping(&self) -> StoreResult<()> {
        // A command that a server without a primary refuses, unlike `ping`.
        self.read_fence().await.map(|_| ())
    }

    async fn misfit(&self) -> StoreResult<Option<SchemaError>> {
        // Steps that are missing are no misfit: whoever works here applied them once, so somebody has taken back the record.
        Ok(pending(MIGRATIONS, &self.applied_steps().await?).err())
    }

    async fn announce(&self, who: Option<&str>) -> StoreResult<()> {
        self.announce_server(who).await
    }

    async fn announced(&self) -> StoreResult<Option<String>> {
        self.announced_server().await
    }
}

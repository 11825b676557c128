//! Accounts, their secrets, and their lifetime contributions. An account's document is fishtest's
//! (`spec/storage.md` section 4); hashes have a collection of their own.

use async_trait::async_trait;
use bson::{Bson, Document, doc};

use super::bulk::{only, statement};
use super::watch::Call;
use super::{MongoStore, collection, failure};
use crate::store::codec::{as_count, as_date, as_number, date, int};
use crate::store::{DEFAULT_MACHINE_LIMIT, StoreError, StoreResult, User, UserStore};

fn document(user: &User) -> Document {
    let mut doc = doc! { "_id": user.id, "username": user.username.as_str() };
    if let Some(password) = &user.plain_password {
        doc.insert("password", password);
    }
    if let Some(at) = user.registration_time {
        doc.insert("registration_time", date(at));
    }
    doc.insert("pending", user.pending);
    doc.insert("blocked", user.blocked);
    doc.insert("email", user.email.as_str());
    doc.insert("groups", user.groups.clone());
    doc.insert("tests_repo", user.tests_repo.as_str());
    doc.insert("machine_limit", int(u64::from(user.machine_limit)));
    doc.extend(user.extra.clone());
    doc
}

fn read(mut doc: Document) -> StoreResult<User> {
    let Some(Bson::String(username)) = doc.remove("username") else {
        return Err(StoreError::Damaged(format!("user {:?}: it has no username", doc.get("_id"))));
    };
    let damaged = |field: &str| StoreError::Damaged(format!("user {username}: {field} is not understood"));
    let Some(Bson::ObjectId(id)) = doc.remove("_id") else { return Err(damaged("_id")) };
    let mut text = |key: &str| match doc.remove(key) {
        Some(Bson::String(text)) => Some(text),
        _ => None,
    };
    let (plain_password, email, tests_repo) = (text("password"), text("email"), text("tests_repo"));
    let machine_limit = match doc.remove("machine_limit") {
        None => DEFAULT_MACHINE_LIMIT,
        limit => as_count(limit.as_ref())
            .and_then(|limit| u32::try_from(limit).ok())
            .ok_or_else(|| damaged("machine_limit"))?,
    };
    let mut flag = |key: &str| matches!(doc.remove(key), Some(Bson::Boolean(true)));
    let (pending, blocked) = (flag("pending"), flag("blocked"));
    let registration_time = as_date(doc.get("registration_time"));
    if registration_time.is_some() {
        doc.remove("registration_time");
    }
    let groups = match doc.remove("groups") {
        Some(Bson::Array(groups)) => groups,
        _ => Vec::new(),
    };
    Ok(User {
        id,
        plain_password,
        registration_time,
        pending,
        blocked,
        email: email.unwrap_or_default(),
        groups: groups.iter().filter_map(Bson::as_str).map(str::to_owned).collect(),
        tests_repo: tests_repo.unwrap_or_default(),
        machine_limit,
        extra: doc,
        username,
    })
}

impl MongoStore {
    /// Erases a plain password, of an account that has a hash.
    async fn erase_password(&self, username: &str) -> StoreResult<()> {
        let erase = statement(doc! { "username": username }, doc! { "$unset": { "password": "" } }, false);
        self.update_many(collection::USERS, vec![erase]).await?;
        Ok(())
    }
}

#[async_trait]
impl UserStore for MongoStore {
    async fn user(&self, username: &str) -> StoreResult<Option<User>> {
        let users = self.collection(collection::USERS);
        let find = users.find_one(doc! { "username": username }).max_time(self.deadline);
        self.read(Call::Find, find.into_future()).await?.map(read).transpose()
    }

    async fn users(&self) -> StoreResult<Vec<User>> {
        let users = self.collection(collection::USERS);
        let find = users.find(doc! {}).sort(doc! { "_id": 1 }).max_time(self.deadline);
        let cursor = self.read(Call::Find, find.into_future()).await?;
        self.drain(cursor, read).await
    }

    async fn insert_user(&self, user: &User) -> StoreResult<()> {
        let users = self.collection(collection::USERS);
        self.write(Call::Insert, users.insert_one(document(user)).into_future())
            .await
            .map_err(|error| failure::duplicate(error, || format!("user {}", user.username)))?;
        Ok(())
    }

    async fn update_user(&self, user: &User) -> StoreResult<bool> {
        let mut document = document(user);
        let plain = user.plain_password.is_some();
        // Who read the account before its password was hashed must not bring the plain one back.
        if plain && self.secret(&user.username).await?.is_some() {
            document.remove("password");
        }
        let replace = statement(doc! { "_id": user.id }, document, false);
        let answer = self.update_many(collection::USERS, vec![replace]).await?;
        let found = only(answer, || format!("user {}", user.username))? == 1;
        // The hash may have come in between: its writer erases before, this one after.
        if found && plain && self.secret(&user.username).await?.is_some() {
            self.erase_password(&user.username).await?;
        }
        Ok(found)
    }

    async fn secret(&self, username: &str) -> StoreResult<Option<String>> {
        let stored = self.by_id(collection::USER_SECRETS, username).await?;
        stored
            .map(|doc| {
                let phc = doc.get_str("phc").map(str::to_owned);
                phc.map_err(|_| StoreError::Damaged(format!("the secret of {username}")))
            })
            .transpose()
    }

    async fn set_secret(&self, username: &str, phc: &str) -> StoreResult<()> {
        let put = || statement(doc! { "_id": username }, doc! { "$set": { "phc": phc } }, true);
        self.upsert(collection::USER_SECRETS, put).await?;
        // Without both nothing is lost: the hash counts, and the next use erases again.
        self.erase_password(username).await
    }

    async fn cpu_hours(&self, username: &str) -> StoreResult<Option<f64>> {
        let entries = self.collection(collection::USER_CACHE);
        let find = entries.find_one(doc! { "username": username }).max_time(self.deadline);
        let entry = self.read(Call::Find, find.into_future()).await?;
        Ok(entry.and_then(|entry| as_number(entry.get("cpu_hours"))))
    }

    async fn put_user_cache(&self, entry: &Document) -> StoreResult<()> {
        let username = entry
            .get_str("username")
            .map_err(|_| StoreError::Damaged("an entry of contributions without a username".into()))?;
        self.replace(collection::USER_CACHE, "username", username, entry).await
    }
}

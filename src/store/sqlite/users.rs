//! Accounts, their secrets, and their lifetime contributions.

use async_trait::async_trait;
use bson::Document;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::SqliteStore;
use super::failure::Work;
use super::rows::{decode, encode, narrow, object_id};
use crate::domain::ids::Millis;
use crate::store::codec::as_number;
use crate::store::{StoreError, StoreResult, User, UserStore};

const COLUMNS: &str =
    "id, username, password, registration_time, pending, blocked, email, groups, tests_repo,
    machine_limit, extra";

fn read(row: &Row<'_>) -> Work<User> {
    let username: String = row.get("username")?;
    let damaged = |error: String| StoreError::Damaged(format!("user {username}: {error}"));
    let groups: String = row.get("groups")?;
    let extra = row.get_ref("extra")?.as_blob().map_err(rusqlite::Error::from)?;
    Ok(User {
        id: object_id(row, "id")?,
        plain_password: row.get("password")?,
        registration_time: row.get::<_, Option<i64>>("registration_time")?.map(Millis),
        pending: row.get("pending")?,
        blocked: row.get("blocked")?,
        email: row.get("email")?,
        groups: serde_json::from_str(&groups).map_err(|error| damaged(error.to_string()))?,
        tests_repo: row.get("tests_repo")?,
        machine_limit: narrow(row.get("machine_limit")?, "machine_limit")?,
        extra: decode(extra, || format!("user {username}"))?,
        username,
    })
}

fn put(connection: &Connection, sql: &str, user: &User) -> Work<bool> {
    let groups =
        serde_json::to_string(&user.groups).map_err(|error| StoreError::Damaged(error.to_string()))?;
    let changed = connection
        .prepare_cached(sql)?
        .execute(named_params! {
            ":id": user.id.bytes(),
            ":username": user.username,
            ":password": user.plain_password,
            ":registration_time": user.registration_time.map(|at| at.0),
            ":pending": user.pending,
            ":blocked": user.blocked,
            ":email": user.email,
            ":groups": groups,
            ":tests_repo": user.tests_repo,
            ":machine_limit": user.machine_limit,
            ":extra": encode(&user.extra)?,
        })
        .map_err(super::failure::Failure::from)
        .map_err(|failure| failure.duplicate(|| format!("user {}", user.username)))?;
    Ok(changed == 1)
}

#[async_trait]
impl UserStore for SqliteStore {
    async fn user(&self, username: &str) -> StoreResult<Option<User>> {
        let username = username.to_owned();
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM users WHERE username = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![username])?;
            rows.next()?.map(read).transpose()
        })
        .await
    }

    async fn users(&self) -> StoreResult<Vec<User>> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM users ORDER BY id"))?;
            let mut rows = statement.query([])?;
            let mut users = Vec::new();
            while let Some(row) = rows.next()? {
                users.push(read(row)?);
            }
            Ok(users)
        })
        .await
    }

    async fn insert_user(&self, user: &User) -> StoreResult<()> {
        let user = user.clone();
        self.write(move |transaction| {
            let sql = "INSERT INTO users (id, username, password, registration_time, pending, blocked, email, groups,
                           tests_repo, machine_limit, extra)
                       VALUES (:id, :username, :password, :registration_time, :pending, :blocked, :email, :groups,
                           :tests_repo, :machine_limit, :extra)";
            put(transaction, sql, &user).map(|_| ())
        })
        .await
    }

    async fn update_user(&self, user: &User) -> StoreResult<bool> {
        let user = user.clone();
        self.write(move |transaction| {
            // Who read the account before its password was hashed must not bring the plain one back.
            let sql = "UPDATE users SET username = :username,
                           password = CASE WHEN EXISTS (SELECT 1 FROM user_secrets WHERE username = :username)
                               THEN NULL ELSE :password END,
                           registration_time = :registration_time, pending = :pending, blocked = :blocked,
                           email = :email, groups = :groups, tests_repo = :tests_repo,
                           machine_limit = :machine_limit, extra = :extra
                       WHERE id = :id";
            put(transaction, sql, &user)
        })
        .await
    }

    async fn secret(&self, username: &str) -> StoreResult<Option<String>> {
        let username = username.to_owned();
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT phc FROM user_secrets WHERE username = ?1")?;
            Ok(statement.query_row(params![username], |row| row.get(0)).optional()?)
        })
        .await
    }

    async fn set_secret(&self, username: &str, phc: &str) -> StoreResult<()> {
        let (username, phc) = (username.to_owned(), phc.to_owned());
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO user_secrets (username, phc) VALUES (?1, ?2)
                 ON CONFLICT (username) DO UPDATE SET phc = excluded.phc",
                params![username, phc],
            )?;
            transaction.execute("UPDATE users SET password = NULL WHERE username = ?1", params![username])?;
            Ok(())
        })
        .await
    }

    async fn cpu_hours(&self, username: &str) -> StoreResult<Option<f64>> {
        let username = username.to_owned();
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT doc FROM user_cache WHERE username = ?1")?;
            let bytes: Option<Vec<u8>> =
                statement.query_row(params![username], |row| row.get(0)).optional()?;
            let Some(bytes) = bytes else { return Ok(None) };
            let entry = decode(&bytes, || format!("contributions of {username}"))?;
            Ok(as_number(entry.get("cpu_hours")))
        })
        .await
    }

    async fn put_user_cache(&self, entry: &Document) -> StoreResult<()> {
        let username = entry
            .get_str("username")
            .map_err(|_| StoreError::Damaged("an entry of contributions without a username".into()))?
            .to_owned();
        let doc = encode(entry)?;
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO user_cache (username, doc) VALUES (?1, ?2)
                 ON CONFLICT (username) DO UPDATE SET doc = excluded.doc",
                params![username, doc],
            )?;
            Ok(())
        })
        .await
    }
}

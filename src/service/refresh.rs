//! What the farm takes over from GitHub from time to time (`spec/scheduling.md` section 10). Whatever goes wrong there,
//! the farm keeps what it had; the log tells when that begins and when it ends, not how often it was tried.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bson::Bson;
use serde_json::Value;

use super::{Farm, ServiceError, ServiceResult};
use crate::domain::books;
use crate::github::GitHubError;
use crate::state::Invalidation;

/// Key of the commit id, which the web pages of fishtest read, too.
const MASTER_KEY: &str = "official_master_sha";

/// Which refreshes failed when they were last tried.
#[derive(Debug, Default)]
pub struct Failing {
    books: AtomicBool,
    master: AtomicBool,
}

impl Farm {
    /// Takes over the table of books. Without GitHub nothing happens.
    ///
    /// # Errors
    /// The store's; GitHub's are logged.
    pub async fn refresh_books(&self) -> ServiceResult<()> {
        if !self.github.has_books() {
            return Ok(());
        }
        let what = "the table of opening books";
        let table = match self.github.books().await {
            Ok(table) => table,
            Err(error) => {
                fails(&self.failing.books, what, &error);
                return Ok(());
            }
        };
        if table.as_object().is_some_and(serde_json::Map::is_empty) {
            fails(&self.failing.books, what, &GitHubError::not_understood("books.json", "it has no books"));
            return Ok(());
        }
        match self.replace_books(&table).await {
            Err(ServiceError::Invalid(reason)) => {
                fails(&self.failing.books, what, &GitHubError::not_understood("books.json", reason));
            }
            Err(other) => return Err(other),
            Ok(count) => succeeds(&self.failing.books, what, count),
        }
        Ok(())
    }

    /// Takes over the commit id of the official master branch. Without GitHub's API nothing happens.
    ///
    /// # Errors
    /// The store's; GitHub's are logged.
    pub async fn refresh_official_master(&self) -> ServiceResult<()> {
        if !self.github.has_commits() {
            return Ok(());
        }
        let what = "the official master commit";
        match self.github.official_master().await {
            Ok(sha) => {
                self.store.put_kv(MASTER_KEY, &Bson::String(sha.clone())).await?;
                succeeds(&self.failing.master, what, sha);
            }
            Err(error) => fails(&self.failing.master, what, &error),
        }
        Ok(())
    }

    /// Replaces the book table (`spec/worker-api.md` section 6.2), if it is a good one. Returns how many books it has.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub async fn replace_books(&self, table: &Value) -> ServiceResult<usize> {
        let books = books::check(table).map_err(ServiceError::Invalid)?;
        let count = books.len();
        self.store.put_kv("books", &Bson::Document(books.clone())).await?;
        *self.books.write() = Arc::new(books);
        self.tell(Invalidation::Tables).await;
        Ok(count)
    }
}

fn fails(failing: &AtomicBool, what: &str, error: &GitHubError) {
    // Waiting for the quota is a choice, not a failure.
    if *error == GitHubError::HalfSpent || failing.swap(true, Ordering::AcqRel) {
        tracing::debug!(%error, "{what} was not refreshed");
        return;
    }
    tracing::warn!(%error, "{what} can't be refreshed; the old one stays until it can");
}

fn succeeds(failing: &AtomicBool, what: &str, now: impl Display) {
    if failing.swap(false, Ordering::AcqRel) {
        tracing::info!(%now, "{what} is refreshed again");
    } else {
        tracing::debug!(%now, "{what} is refreshed");
    }
}

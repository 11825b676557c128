//! An operator's pause: nobody gets a task, everybody goes on with what they have.
//!
//! What lasts is a document in the store. What holds assignments up is the request-task lock, which the leader takes again
//! and again while the document says so, and a rebuild before it lets anybody in: the lock itself is never permanent.

use std::time::Duration;

use bson::{Bson, DateTime, doc};

use super::Farm;
use super::election::outcome_name;
use super::error::ServiceResult;
use crate::domain::ids::{Millis, Token};
use crate::state::{LeaseName, LeaseOutcome};
use crate::store::codec::as_date;
use crate::telemetry::catalogue;

/// Key of the document.
pub const KEY: &str = "paused";

/// Under which name the lock is held.
const HOLDER: &str = "pause";

/// Without a leader that renews it, the lock ends after this time.
const LOCK: Duration = Duration::from_secs(60);

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Who asked for it.
    pub by: String,
    /// When.
    pub since: Millis,
    /// Why, if they said so.
    pub reason: String,
}

impl Pause {
    /// What a value under [`KEY`] says; None for anything but a pause.
    pub fn of(value: &Bson) -> Option<Self> {
        let doc = value.as_document()?;
        let text = |key: &str| doc.get_str(key).unwrap_or_default().to_owned();
        let since = as_date(doc.get("since")).unwrap_or_default();
        Some(Self { by: text("by"), since, reason: text("reason") })
    }
}

impl Farm {
    /// The pause, if there is one.
    pub async fn paused(&self) -> ServiceResult<Option<Pause>> {
        Ok(self.store.kv(KEY).await?.as_ref().and_then(Pause::of))
    }

    /// From now on nobody gets a task. A pause that there is already only gets its new reason.
    pub async fn pause(&self, by: &str, reason: &str) -> ServiceResult<Pause> {
        let since = self.paused().await?.map_or_else(|| self.now(), |pause| pause.since);
        let value = doc! { "by": by, "since": DateTime::from_millis(since.0), "reason": reason };
        self.store.put_kv(KEY, &Bson::Document(value)).await?;
        self.lock_out().await?;
        Ok(Pause { by: by.to_owned(), since, reason: reason.to_owned() })
    }

    /// Tasks are handed out again. Returns whether there was a pause.
    pub async fn resume_assignments(&self) -> ServiceResult<bool> {
        let was = self.paused().await?.is_some();
        self.store.put_kv(KEY, &Bson::Null).await?;
        self.let_in().await?;
        Ok(was)
    }

    /// Makes the lock agree with what the store says: the leader's, every few seconds, and a rebuild's.
    pub async fn keep_pause(&self) -> ServiceResult<()> {
        match self.paused().await {
            Ok(Some(_)) => self.lock_out().await,
            Ok(None) => self.let_in().await,
            Err(error) => {
                // While the store is away nobody knows: what was locked stays so.
                if self.holds_lock().await?.is_some() {
                    self.lock_out().await?;
                }
                Err(error)
            }
        }
    }

    async fn lock_out(&self) -> ServiceResult<()> {
        let lock = LeaseName::RequestTask;
        let granted = self.state.lease_acquire(lock, HOLDER, LOCK, self.generation()).await;
        catalogue::LEASE_REQUESTS.increment(["request_task", outcome_name(&granted)]);
        if let LeaseOutcome::Taken(by) = granted? {
            // Nobody gets a task either way; the leader asks again.
            tracing::info!(holder = by.holder, "assignments are locked out by somebody else");
        }
        Ok(())
    }

    async fn let_in(&self) -> ServiceResult<()> {
        if let Some(token) = self.holds_lock().await? {
            self.state.lease_release(LeaseName::RequestTask, token).await?;
        }
        Ok(())
    }

    async fn holds_lock(&self) -> ServiceResult<Option<Token>> {
        let lock = self.state.lease_read(LeaseName::RequestTask).await?;
        Ok(lock.filter(|lock| lock.holder == HOLDER).map(|lock| lock.token))
    }
}

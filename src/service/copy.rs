//! `shoal copy`: a farm from one store into another, so that a private farm can grow up, or a large one be taken home.
//!
//! Everything durable comes along: documents with their unknown fields, hashes of passwords, tails and digests of
//! tasks, operations under way. Only the fence and the versions below it begin anew: the copy is the first generation
//! of a new history. What is there already is left alone, so a copy that was interrupted is simply started again.

use std::fmt;

use serde::Serialize;

use super::import::Collection;
use crate::domain::ids::{Generation, RunId, ShortWorkerName, TaskId, TaskKey, Version, WriteId};
use crate::domain::task::TaskRecord;
use crate::store::{NO_VERSION, Store, StoreError, StoreResult, StoredRun};

/// Documents of a page.
const PAGE: usize = 200;

/// Runs of a page: the history of a tuning run has megabytes.
const RUN_PAGE: usize = 10;

/// What became of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CopiedCollection {
    /// Which one.
    pub collection: Collection,
    /// Documents that were not there before.
    pub copied: u64,
    /// Documents that were there.
    pub already_there: u64,
}

impl fmt::Display for CopiedCollection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} copied, {} already there", self.collection.name(), self.copied, self.already_there)
    }
}

/// Copies everything, collection by collection. `progress` is called after each.
///
/// No server may run on either store.
///
/// # Errors
/// Of either store; it can be started again.
pub async fn copy(
    from: &dyn Store,
    to: &dyn Store,
    progress: impl Fn(&CopiedCollection) + Send + Sync,
) -> StoreResult<Vec<CopiedCollection>> {
    let mut report = Vec::new();
    for collection in Collection::IN_ORDER {
        let mut copier = Copier { from, to, copied: 0, already_there: 0 };
        match collection {
            Collection::Kvstore => copier.kvstore().await?,
            Collection::Users => copier.users().await?,
            Collection::UserCache => copier.user_cache().await?,
            Collection::Workers => copier.workers().await?,
            Collection::Nns => copier.nns().await?,
            Collection::Runs => copier.runs().await?,
            Collection::Actions => copier.actions().await?,
            Collection::Pgns => copier.pgns().await?,
        }
        let part =
            CopiedCollection { collection, copied: copier.copied, already_there: copier.already_there };
        progress(&part);
        report.push(part);
    }
    Ok(report)
}

struct Copier<'a> {
    from: &'a dyn Store,
    to: &'a dyn Store,
    copied: u64,
    already_there: u64,
}

impl Copier<'_> {
    /// Counts a document; returns whether it has to be written.
    fn is_new(&mut self, there: bool) -> bool {
        if there {
            self.already_there += 1;
        } else {
            self.copied += 1;
        }
        !there
    }

    async fn kvstore(&mut self) -> StoreResult<()> {
        let mut after: Option<String> = None;
        loop {
            let page = self.from.scan_kv(after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, value) in page {
                let there = self.to.kv(&key).await?.is_some();
                if self.is_new(there) {
                    self.to.put_kv(&key, &value).await?;
                }
            }
        }
    }

    async fn users(&mut self) -> StoreResult<()> {
        for user in self.from.users().await? {
            let there = self.to.user(&user.username).await?.is_some();
            if self.is_new(there) {
                self.to.insert_user(&user).await?;
            }
            // The interruption may have fallen between an account and its secret.
            if let Some(secret) = self.from.secret(&user.username).await?
                && self.to.secret(&user.username).await?.is_none()
            {
                self.to.set_secret(&user.username, &secret).await?;
            }
        }
        Ok(())
    }

    async fn user_cache(&mut self) -> StoreResult<()> {
        let mut after: Option<String> = None;
        loop {
            let page = self.from.scan_user_cache(after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.get_str("username").ok().map(str::to_owned);
            for entry in page {
                let there = match entry.get_str("username") {
                    Ok(username) => self.to.cpu_hours(username).await?.is_some(),
                    Err(_) => false,
                };
                if self.is_new(there) {
                    self.to.put_user_cache(&entry).await?;
                }
            }
        }
    }

    async fn workers(&mut self) -> StoreResult<()> {
        let mut after: Option<ShortWorkerName> = None;
        loop {
            let page = self.from.scan_workers(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.name.clone());
            for block in page {
                let there = self.to.worker(&block.name).await?.is_some();
                if self.is_new(there) {
                    self.to.put_worker(&block, &[]).await?;
                }
            }
        }
    }

    async fn nns(&mut self) -> StoreResult<()> {
        let mut after: Option<String> = None;
        loop {
            let page = self.from.scan_nets(after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.get_str("name").ok().map(str::to_owned);
            for net in page {
                let there = match net.get_str("name") {
                    Ok(name) => self.to.net(name).await?.is_some(),
                    Err(_) => false,
                };
                if self.is_new(there) {
                    self.to.put_net(&net).await?;
                }
            }
        }
    }

    async fn runs(&mut self) -> StoreResult<()> {
        let mut after: Option<RunId> = None;
        loop {
            let page = self.from.scan_runs(after, RUN_PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for run in page {
                let there = self.to.run(run.id).await?.is_some();
                if self.is_new(there) {
                    self.run(run).await?;
                }
            }
        }
    }

    /// Tasks first: a run that is there is there completely.
    async fn run(&mut self, mut run: StoredRun) -> StoreResult<()> {
        let mut from = TaskId(0);
        loop {
            let page = self.from.tasks(run.id, from, PAGE).await?;
            let Some(last) = page.last() else { break };
            from = TaskId(last.key.task.0.saturating_add(1));
            let full = page.len() == PAGE;
            let page: Vec<TaskRecord> = page.into_iter().map(first_of_its_history).collect();
            self.to.insert_tasks(&page).await?;
            if !full {
                break;
            }
        }
        run.meta.generation = Generation(0);
        // "Never written here" stays that, and so does its contrary.
        if run.meta.version != NO_VERSION {
            run.meta.version = Version(1);
        }
        run.meta.write_id = WriteId(0);
        self.to.insert_run(&run, &[]).await
    }

    async fn actions(&mut self) -> StoreResult<()> {
        let mut after = None;
        loop {
            let page = self.from.scan_actions(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.get_object_id("_id").ok();
            let ids: Vec<_> = page.iter().filter_map(|entry| entry.get_object_id("_id").ok()).collect();
            let known = self.to.known_actions(&ids).await?.len() as u64;
            self.already_there += known;
            self.copied += (page.len() as u64).saturating_sub(known);
            self.to.insert_actions(&page).await?;
        }
    }

    async fn pgns(&mut self) -> StoreResult<()> {
        let mut after = None;
        loop {
            let page = self.from.scan_pgns(after, PAGE).await?;
            let Some((_, last)) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for (run, entry) in page {
                let key = TaskKey { run, task: entry.task };
                let Some(games) = self.from.pgn_by_id(entry.id).await? else { continue };
                match self.to.insert_pgn(key, entry.id, &games).await {
                    Ok(()) => self.copied += 1,
                    Err(StoreError::Duplicate(_)) => self.already_there += 1,
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// A task as the first version of a new history.
fn first_of_its_history(mut task: TaskRecord) -> TaskRecord {
    task.generation = Generation(0);
    task.version = Version(1);
    task.write_id = WriteId(0);
    task
}

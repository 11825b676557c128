//! Periodic checks of what the farm holds (`spec/scheduling.md` section 10). A violation is counted and logged for people
//! to read; nothing is repaired.

use std::collections::BTreeSet;

use bson::{Bson, Document};
use rand::Rng;

use super::{Farm, ServiceResult};
use crate::domain::action::Action;
use crate::domain::ids::{RunId, TaskId};
use crate::domain::run::Phase;
use crate::domain::validate::run_document::{STRICT_VERSION, check_bad_task, check_run_fields, check_task};
use crate::store::codec::{OWN, as_count, bad_task, public_task};
use crate::sys::random;
use crate::telemetry::{catalogue, labels};

/// Tasks that are read from the store at once.
const PAGE: usize = 200;

/// Counts a broken invariant, whose id begins the text.
pub fn note_violation(what: &str) {
    let id = what.split(':').next().unwrap_or_default();
    catalogue::INVARIANTS.increment([labels::one_of(labels::INVARIANT.values, id)]);
}

impl Farm {
    /// Checks a random running run, as its document would be with all its tasks.
    pub async fn validate_random_run(&self) -> ServiceResult<()> {
        let mut runs = self.state.read_runs().await?;
        runs.retain(|view| view.phase == Phase::Running);
        if runs.is_empty() {
            return Ok(());
        }
        let chosen = random::rng().random_range(0..runs.len());
        match runs.get(chosen) {
            Some(view) => self.validate_run(view.id).await,
            None => Ok(()),
        }
    }

    /// Checks a run with all its tasks. Documents older than the rules are only mentioned.
    pub async fn validate_run(&self, id: RunId) -> ServiceResult<()> {
        let Some(run) = self.run_document(id).await? else { return Ok(()) };
        let version = as_count(run.get("version")).unwrap_or(0);
        let Err(reason) = self.check_document(id, run).await? else { return Ok(()) };
        if version < STRICT_VERSION {
            tracing::debug!(run = %id, reason, "a run older than the rules does not keep them");
            return Ok(());
        }
        catalogue::INVALID_DOCUMENTS.increment([]);
        tracing::error!(run = %id, reason, "a run does not validate");
        self.log(&[Action::log_message(format!("The run object {id} does not validate: {reason}"))]).await
    }

    async fn check_document(&self, id: RunId, mut run: Document) -> ServiceResult<Result<(), String>> {
        run.remove(OWN);
        // They stand elsewhere, and are checked one by one: all of them at once may be many.
        run.insert("tasks", Bson::Array(Vec::new()));
        run.insert("bad_tasks", Bson::Array(Vec::new()));
        if let Err(reason) = check_run_fields(&run) {
            return Ok(Err(reason));
        }
        let mut seen = BTreeSet::new();
        for task in self.state.read_tasks(id).await? {
            let number = task.record.key.task;
            seen.insert(number);
            if let Err(reason) = check_task(number.0, &public_task(&task.record)) {
                return Ok(Err(reason));
            }
        }
        let mut from = TaskId(0);
        loop {
            let page = self.store.tasks(id, from, PAGE).await?;
            let Some(last) = page.last() else { break };
            from = TaskId(last.key.task.0.saturating_add(1));
            for record in page.iter().filter(|record| !seen.contains(&record.key.task)) {
                if let Err(reason) = check_task(record.key.task.0, &public_task(record)) {
                    return Ok(Err(reason));
                }
            }
        }
        let mut position = 0;
        while let Some(record) = self.store.bad_task(id, position).await? {
            if let Some(document) = bad_task(&record)
                && let Err(reason) = check_bad_task(position, &document)
            {
                return Ok(Err(reason));
            }
            position += 1;
        }
        Ok(Ok(()))
    }

    /// Checks the schedule's tables against one another.
    pub async fn validate_structures(&self) -> ServiceResult<()> {
        let mut entries = Vec::new();
        for reason in self.state.audit_structures().await? {
            note_violation(&reason);
            tracing::error!(reason, "the schedule contradicts itself");
            entries.push(Action::log_message(format!(
                "Validation of internal data structures failed: {reason}"
            )));
        }
        self.log(&entries).await
    }
}

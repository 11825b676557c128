//! The event log's entries, one kind per row of `spec/scheduling.md` section 14 and `spec/storage.md` section 6.

mod closing;
#[cfg(test)]
mod tests;

use bson::oid::ObjectId;
use bson::{Bson, Document, doc};
use serde::{Deserialize, Serialize};

pub use closing::{CloseCause, CloseKind, ClosedTask, expand};

use crate::domain::bson_number::int;
use crate::domain::document::to_json;
use crate::domain::ids::{Millis, RunId, ShortWorkerName, TaskId};
use crate::domain::names::{
    SYSTEM_USER, is_long_worker_name, is_net_name, is_run_name, is_short_worker_name, run_name,
};

/// Longest message of the log, in characters (code points).
pub const MAX_MESSAGE_CHARS: usize = 5120;

/// A run as the log names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLabel {
    /// The run.
    pub id: RunId,
    /// The run name that people see, see [`run_name`].
    pub name: String,
}

impl RunLabel {
    /// The label of a run whose new version is `new_tag`.
    pub fn new(id: RunId, new_tag: &str) -> Self {
        Self { id, name: run_name(id, new_tag) }
    }
}

/// A worker and the task that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLabel {
    /// Long name of the worker.
    pub worker: String,
    /// The run.
    pub run: RunLabel,
    /// The task of the run.
    pub task_id: TaskId,
}

/// What happened. `username` stands beside it in [`Action`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are those of the specification's table")]
pub enum Event {
    /// A worker gave a task back, or was found with a stale one.
    FailedTask { task: TaskLabel, message: String },
    /// A task ended with many crashes or time losses.
    CrashOrTime { task: TaskLabel, message: String },
    /// A worker was not heard of for too long.
    DeadTask { task: TaskLabel },
    /// A worker or a person stopped a run. From a worker with its long name and its task.
    StopRun { run: RunLabel, message: String, task: Option<(String, TaskId)> },
    /// A run reached its end.
    FinishedRun { run: RunLabel, message: String },
    /// A purge was attempted.
    PurgeRun { run: RunLabel, message: String },
    /// A line that a worker sent, possibly about a task.
    WorkerLog { worker: String, message: String, task: Option<(RunLabel, TaskId)> },
    /// An internal problem, possibly about a worker (long name).
    LogMessage { message: String, worker: Option<String> },
    /// The server started, stopped, or finished a job.
    SystemEvent { message: String },
    /// A run was submitted; the message sums it up.
    NewRun { run: RunLabel, message: String },
    /// A run's settings were changed.
    ModifyRun { run: RunLabel, message: String },
    /// A run was deleted.
    DeleteRun { run: RunLabel },
    /// A run was approved, or lost its approval.
    ApproveRun { run: RunLabel, approved: bool },
    /// An account was blocked or unblocked.
    BlockUser { user: String, blocked: bool },
    /// An account was accepted.
    AcceptUser { user: String },
    /// A worker was blocked or unblocked.
    BlockWorker { worker: ShortWorkerName, blocked: bool },
    /// A network was uploaded.
    UploadNn { nn: String },
}

/// Who did what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// An account, or [`SYSTEM_USER`].
    pub username: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Action {
    /// `event`, done by an account. Messages of the kinds that carry foreign text are cut to the log's limit.
    pub fn by(username: impl Into<String>, event: Event) -> Self {
        Self { username: username.into(), event: event.cut() }
    }

    /// `event`, done by the server itself.
    pub fn by_system(event: Event) -> Self {
        Self::by(SYSTEM_USER, event)
    }

    /// A report of an internal problem.
    pub fn log_message(message: impl Into<String>) -> Self {
        Self::by_system(Event::LogMessage { message: message.into(), worker: None })
    }

    /// The document to insert. One that would break the log's rules is replaced by a `log_message` that says so,
    /// under the same identity and time.
    pub fn to_document(&self, id: ObjectId, time: Millis) -> Document {
        let document = self.unchecked_document(id, time);
        let Err(reason) = self.validate() else {
            return document;
        };
        let mut shown = document;
        shown.remove("_id");
        let request = String::from_utf8_lossy(&to_json(&shown)).into_owned();
        let message = format!("Internal Error. Request {request} does not validate: {reason}");
        Self::log_message(message).unchecked_document(id, time)
    }

    /// Whether the log would take this action; the reason if not.
    pub fn validate(&self) -> Result<(), String> {
        if self.username.is_empty() {
            return Err("'username' is empty".to_owned());
        }
        self.event.validate()
    }

    fn unchecked_document(&self, id: ObjectId, time: Millis) -> Document {
        let mut document =
            doc! { "_id": id, "action": self.event.name(), "username": self.username.as_str() };
        self.event.insert_fields(&mut document);
        document.insert("time", time.as_unix_seconds());
        document
    }
}

impl Event {
    /// The value of the field `action`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FailedTask { .. } => "failed_task",
            Self::CrashOrTime { .. } => "crash_or_time",
            Self::DeadTask { .. } => "dead_task",
            Self::StopRun { .. } => "stop_run",
            Self::FinishedRun { .. } => "finished_run",
            Self::PurgeRun { .. } => "purge_run",
            Self::WorkerLog { .. } => "worker_log",
            Self::LogMessage { .. } => "log_message",
            Self::SystemEvent { .. } => "system_event",
            Self::NewRun { .. } => "new_run",
            Self::ModifyRun { .. } => "modify_run",
            Self::DeleteRun { .. } => "delete_run",
            Self::ApproveRun { .. } => "approve_run",
            Self::BlockUser { .. } => "block_user",
            Self::AcceptUser { .. } => "accept_user",
            Self::BlockWorker { .. } => "block_worker",
            Self::UploadNn { .. } => "upload_nn",
        }
    }

    /// The value of the field `message`, for the kinds that have one.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::FailedTask { message, .. }
            | Self::CrashOrTime { message, .. }
            | Self::StopRun { message, .. }
            | Self::FinishedRun { message, .. }
            | Self::PurgeRun { message, .. }
            | Self::WorkerLog { message, .. }
            | Self::LogMessage { message, .. }
            | Self::SystemEvent { message }
            | Self::NewRun { message, .. }
            | Self::ModifyRun { message, .. } => Some(message),
            Self::ApproveRun { approved, .. } => Some(if *approved { "approved" } else { "unapproved" }),
            Self::BlockUser { blocked, .. } | Self::BlockWorker { blocked, .. } => {
                Some(if *blocked { "blocked" } else { "unblocked" })
            }
            Self::AcceptUser { .. } => Some("accepted"),
            Self::DeadTask { .. } | Self::DeleteRun { .. } | Self::UploadNn { .. } => None,
        }
    }

    fn run(&self) -> Option<&RunLabel> {
        match self {
            Self::FailedTask { task, .. } | Self::CrashOrTime { task, .. } | Self::DeadTask { task } => {
                Some(&task.run)
            }
            Self::StopRun { run, .. }
            | Self::FinishedRun { run, .. }
            | Self::PurgeRun { run, .. }
            | Self::NewRun { run, .. }
            | Self::ModifyRun { run, .. }
            | Self::DeleteRun { run }
            | Self::ApproveRun { run, .. } => Some(run),
            Self::WorkerLog { task, .. } => task.as_ref().map(|(run, _)| run),
            _ => None,
        }
    }

    /// The long worker name.
    fn worker(&self) -> Option<&str> {
        match self {
            Self::FailedTask { task, .. } | Self::CrashOrTime { task, .. } | Self::DeadTask { task } => {
                Some(&task.worker)
            }
            Self::StopRun { task, .. } => task.as_ref().map(|(worker, _)| worker.as_str()),
            Self::WorkerLog { worker, .. } => Some(worker),
            Self::LogMessage { worker, .. } => worker.as_deref(),
            _ => None,
        }
    }

    /// Cuts the messages that carry foreign text.
    fn cut(mut self) -> Self {
        if let Self::FailedTask { message, .. }
        | Self::CrashOrTime { message, .. }
        | Self::StopRun { message, .. }
        | Self::LogMessage { message, .. }
        | Self::WorkerLog { message, .. } = &mut self
        {
            cut_message(message);
        }
        self
    }

    fn validate(&self) -> Result<(), String> {
        if let Some(message) = self.message()
            && message.chars().nth(MAX_MESSAGE_CHARS).is_some()
        {
            return Err(format!("'message' is longer than {MAX_MESSAGE_CHARS} characters"));
        }
        if let Some(run) = self.run()
            && !is_run_name(&run.name)
        {
            return Err(format!("'run' is not a run name: {}", run.name));
        }
        if let Some(worker) = self.worker()
            && !is_long_worker_name(worker)
        {
            return Err(format!("'worker' is not a long worker name: {worker}"));
        }
        match self {
            Self::BlockWorker { worker, .. } if !is_short_worker_name(&worker.0) => {
                Err(format!("'worker' is not a short worker name: {worker}"))
            }
            Self::BlockUser { user, .. } | Self::AcceptUser { user } if user.is_empty() => {
                Err("'user' is empty".to_owned())
            }
            Self::UploadNn { nn } if !is_net_name(nn) => Err(format!("'nn' is not a network's name: {nn}")),
            _ => Ok(()),
        }
    }

    /// Appends the fields between `username` and `time`, in the order of the specification's rows.
    fn insert_fields(&self, document: &mut Document) {
        let message = self.message();
        match self {
            Self::FailedTask { task, .. } | Self::CrashOrTime { task, .. } | Self::DeadTask { task } => {
                document.insert("worker", task.worker.as_str());
                insert_run(document, &task.run);
                document.insert("task_id", stored_task(task.task_id));
                insert_message(document, message);
            }
            Self::StopRun { run, task, .. } => {
                insert_run(document, run);
                insert_message(document, message);
                if let Some((worker, task_id)) = task {
                    document.insert("worker", worker.as_str());
                    document.insert("task_id", stored_task(*task_id));
                }
            }
            Self::WorkerLog { worker, task, .. } => {
                document.insert("worker", worker.as_str());
                insert_message(document, message);
                if let Some((run, task_id)) = task {
                    insert_run(document, run);
                    document.insert("task_id", stored_task(*task_id));
                }
            }
            Self::LogMessage { worker, .. } => {
                insert_message(document, message);
                if let Some(worker) = worker {
                    document.insert("worker", worker.as_str());
                }
            }
            Self::FinishedRun { run, .. }
            | Self::PurgeRun { run, .. }
            | Self::NewRun { run, .. }
            | Self::ModifyRun { run, .. }
            | Self::DeleteRun { run }
            | Self::ApproveRun { run, .. } => {
                insert_run(document, run);
                insert_message(document, message);
            }
            Self::BlockUser { user, .. } | Self::AcceptUser { user } => {
                document.insert("user", user.as_str());
                insert_message(document, message);
            }
            Self::BlockWorker { worker, .. } => {
                document.insert("worker", worker.0.as_str());
                insert_message(document, message);
            }
            Self::SystemEvent { .. } => insert_message(document, message),
            Self::UploadNn { nn } => {
                document.insert("nn", nn.as_str());
            }
        }
    }
}

/// Cuts a message to the log's limit.
fn cut_message(message: &mut String) {
    if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE_CHARS) {
        message.truncate(end);
    }
}

fn insert_run(document: &mut Document, run: &RunLabel) {
    document.insert("run_id", run.id.to_string());
    document.insert("run", run.name.as_str());
}

fn insert_message(document: &mut Document, message: Option<&str>) {
    if let Some(message) = message {
        document.insert("message", message);
    }
}

fn stored_task(task: TaskId) -> Bson {
    int(i64::from(task.0))
}

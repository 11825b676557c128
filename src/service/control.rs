//! What the command line asks of a farm: the same commands whether a server runs (over its control socket) or not
//! (on the file itself).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Farm;
use super::error::{ServiceError, ServiceResult};
use super::users::NewUser;
use crate::domain::document::{date_string, to_json};
use crate::domain::ids::RunId;
use crate::domain::modify_run::ModifyRequest;
use crate::domain::new_run::RunForm;
use crate::state::LeaseName;
use crate::store::{FinishedQuery, User};

/// A command.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are the arguments of the command line, documented there")]
pub enum Control {
    UserAdd {
        username: String,
        password: String,
        email: String,
        approver: bool,
        pending: bool,
        machine_limit: Option<u32>,
    },
    UserList,
    UserApprove {
        username: String,
    },
    UserBlock {
        username: String,
        blocked: bool,
    },
    UserSetPassword {
        username: String,
        password: String,
    },
    UserMachineLimit {
        username: String,
        limit: u32,
    },
    UserApprover {
        username: String,
        approver: bool,
    },
    RunCreate {
        form: Value,
    },
    RunApprove {
        run: String,
        approver: String,
    },
    RunList {
        finished: bool,
        limit: u64,
    },
    RunShow {
        run: String,
    },
    RunStop {
        run: String,
        actor: String,
    },
    RunPurge {
        run: String,
        actor: String,
    },
    RunDelete {
        run: String,
        actor: String,
    },
    RunModify {
        run: String,
        actor: String,
        num_games: Option<i64>,
        priority: Option<i64>,
        throughput: Option<i64>,
        auto_purge: Option<bool>,
        info: Option<String>,
    },
    WorkerBlock {
        worker: String,
        actor: String,
        blocked: bool,
        reason: String,
    },
    WorkerList,
    NetAdd {
        name: String,
        user: String,
    },
    Books {
        table: Value,
    },
    Status,
    Pause {
        by: String,
        reason: String,
    },
    Resume,
}

/// What came of it: a line for people, and the data behind it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reply {
    /// For people.
    pub text: String,
    /// For programs.
    pub data: Value,
}

impl Reply {
    fn new(text: impl Into<String>, data: Value) -> Self {
        Self { text: text.into(), data }
    }

    fn text(text: impl Into<String>) -> Self {
        Self::new(text, Value::Null)
    }
}

fn run_id(text: &str) -> ServiceResult<RunId> {
    RunId::parse(text).ok_or_else(|| ServiceError::Invalid(format!("run: {text:?} is not 24 hex digits")))
}

impl Farm {
    /// Carries out a command.
    pub async fn control(&self, command: Control) -> ServiceResult<Reply> {
        match command {
            Control::UserAdd { username, password, email, approver, pending, machine_limit } => {
                let new = NewUser { username, password, email, approver, pending, machine_limit };
                let user = self.add_user(new).await?;
                Ok(Reply::new(format!("Added user {}", user.username), user_json(&user)))
            }
            Control::UserList => {
                let users = self.store.users().await?;
                let lines: Vec<String> = users.iter().map(user_line).collect();
                Ok(Reply::new(lines.join("\n"), users.iter().map(user_json).collect()))
            }
            Control::UserApprove { username } => {
                let user = self.approve_user(&username).await?;
                Ok(Reply::new(format!("User {username} may take part"), user_json(&user)))
            }
            Control::UserBlock { username, blocked } => {
                let user = self.block_user(&username, blocked).await?;
                let verb = if blocked { "Blocked" } else { "Unblocked" };
                Ok(Reply::new(format!("{verb} user {username}"), user_json(&user)))
            }
            Control::UserSetPassword { username, password } => {
                self.set_password(&username, password).await?;
                Ok(Reply::text(format!("User {username} has a new password")))
            }
            Control::UserMachineLimit { username, limit } => {
                let user = self.set_machine_limit(&username, limit).await?;
                let text = format!("User {username} may have {limit} active tasks per address");
                Ok(Reply::new(text, user_json(&user)))
            }
            Control::UserApprover { username, approver } => {
                let user = self.set_approver(&username, approver).await?;
                let may = if approver { "may" } else { "may not" };
                Ok(Reply::new(format!("User {username} {may} approve runs"), user_json(&user)))
            }
            Control::RunCreate { form } => {
                let form =
                    RunForm::from_json(&form).map_err(|error| ServiceError::Invalid(error.to_string()))?;
                let run = self.create_run(&form).await?;
                let text = format!("{run}\nThe test was submitted to the queue. Please wait for approval.");
                Ok(Reply::new(text, json!({ "run": run.to_string() })))
            }
            Control::RunApprove { run, approver } => {
                Ok(Reply::text(self.approve_run(run_id(&run)?, &approver).await?))
            }
            Control::RunStop { run, actor } => Ok(Reply::text(self.user_stop(run_id(&run)?, &actor).await?)),
            Control::RunPurge { run, actor } => {
                Ok(Reply::text(self.manual_purge(run_id(&run)?, &actor).await?))
            }
            Control::RunDelete { run, actor } => {
                Ok(Reply::text(self.delete_run(run_id(&run)?, &actor).await?))
            }
            Control::RunModify { run, actor, num_games, priority, throughput, auto_purge, info } => {
                let request = ModifyRequest { num_games, priority, throughput, auto_purge, info };
                Ok(Reply::text(self.modify_run(run_id(&run)?, &request, &actor).await?))
            }
            Control::RunList { finished, limit } => self.list_runs(finished, limit).await,
            Control::RunShow { run } => {
                let id = run_id(&run)?;
                let doc = self.run_document(id).await?;
                let doc =
                    doc.ok_or_else(|| ServiceError::NotFound(format!("The run {id} does not exist")))?;
                let json: Value = serde_json::from_slice(&to_json(&super::read::stripped(doc)))
                    .map_err(|error| ServiceError::Bug(error.to_string()))?;
                let text = serde_json::to_string_pretty(&json).unwrap_or_default();
                Ok(Reply::new(text, json))
            }
            Control::WorkerBlock { worker, actor, blocked, reason } => {
                self.block_worker(&actor, &worker, blocked, &reason).await?;
                let verb = if blocked { "blocked" } else { "unblocked" };
                Ok(Reply::text(format!("Worker {worker} {verb}!")))
            }
            Control::WorkerList => {
                let blocks = self.store.blocked_workers().await?;
                let lines: Vec<String> = blocks
                    .iter()
                    .map(|block| {
                        format!(
                            "{}  blocked {}  {}",
                            block.name,
                            date_string(block.last_updated),
                            block.message
                        )
                    })
                    .collect();
                let data =
                    blocks.iter().map(|block| json!({ "worker": block.name, "message": block.message }));
                Ok(Reply::new(lines.join("\n"), data.collect()))
            }
            Control::NetAdd { name, user } => {
                let is_new = self.add_net(&name, &user).await?;
                let verb = if is_new { "Added" } else { "There was already a" };
                Ok(Reply::text(format!("{verb} network {name}")))
            }
            Control::Books { table } => {
                let count = self.replace_books(&table).await?;
                Ok(Reply::text(format!("The book table has {count} books")))
            }
            Control::Status => self.status().await,
            Control::Pause { by, reason } => {
                let pause = self.pause(&by, &reason).await?;
                let since = date_string(pause.since);
                Ok(Reply::text(format!("Paused since {since}: nobody gets a task until `shoal resume`")))
            }
            Control::Resume => {
                let was = self.resume_assignments().await?;
                Ok(Reply::text(if was { "Tasks are handed out again" } else { "There was no pause" }))
            }
        }
    }

    /// Where this replica stands, and the farm.
    async fn status(&self) -> ServiceResult<Reply> {
        let census = self.state.census().await.unwrap_or_default();
        // What doesn't answer is left out: somebody may be looking for just that.
        let leader = self.state.lease_read(LeaseName::Leader).await.ok().flatten();
        let pause = self.paused().await.ok().flatten();
        let data = json!({
            "replica": self.identity,
            "shared": self.membership.is_shared(),
            "generation": self.generation().0,
            "ready": self.is_ready(),
            "standing": self.membership.standing().to_string(),
            "leader": leader.as_ref().map(|lease| lease.holder.clone()),
            "leader_token": leader.as_ref().map(|lease| lease.token.counter),
            "leads": self.leadership().is_some(),
            "paused": pause.map(|pause| json!({
                "by": pause.by, "since": date_string(pause.since), "reason": pause.reason,
            })),
            "runs": census.runs,
            "active_tasks": census.active_tasks,
            "queued": self.committer.queued(),
        });
        Ok(Reply::new(data.to_string(), data))
    }

    async fn list_runs(&self, finished: bool, limit: u64) -> ServiceResult<Reply> {
        let runs = if finished {
            self.finished_page(&FinishedQuery { limit, ..FinishedQuery::default() }).await?
        } else {
            self.active_runs().await?
        };
        let mut lines = Vec::new();
        let mut data = Vec::new();
        for (id, doc) in runs {
            let args = doc.get_document("args").cloned().unwrap_or_default();
            let results =
                doc.get_document("results").map(crate::store::codec::read_stats).unwrap_or_default();
            let text = |key: &str| args.get_str(key).unwrap_or_default().to_owned();
            let approved = doc.get_bool("approved").unwrap_or(false);
            let state = match (finished, approved) {
                (true, _) => "finished",
                (false, true) => "approved",
                (false, false) => "waiting for approval",
            };
            lines.push(format!(
                "{id}  {}  {} by {}  W {} L {} D {}  {state}",
                text("tc"),
                text("new_tag"),
                text("username"),
                results.wins,
                results.losses,
                results.draws,
            ));
            data.push(json!({ "run": id.to_string(), "new_tag": text("new_tag"), "state": state, "results": results }));
        }
        Ok(Reply::new(lines.join("\n"), Value::Array(data)))
    }
}

fn user_json(user: &User) -> Value {
    json!({
        "username": user.username,
        "email": user.email,
        "pending": user.pending,
        "blocked": user.blocked,
        "groups": user.groups,
        "machine_limit": user.machine_limit,
    })
}

fn user_line(user: &User) -> String {
    let mut line = format!("{}  machine limit {}", user.username, user.machine_limit);
    for (holds, word) in
        [(user.is_approver(), "approver"), (user.pending, "pending"), (user.blocked, "blocked")]
    {
        if holds {
            line.push_str("  ");
            line.push_str(word);
        }
    }
    line
}

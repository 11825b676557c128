//! `shoal user`.

use std::io::{BufRead, IsTerminal};

use clap::Subcommand;

use super::{CliError, CliResult, control};
use crate::config::Config;
use crate::service::control::Control;

/// Commands about accounts.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add an account. It may take part at once, unless --pending.
    Add {
        /// Name: at least two letters or digits.
        username: String,
        /// Password; read from standard input if absent, which keeps it out of the shell's history.
        #[arg(long, env = "SHOAL_USER_PASSWORD", hide_env_values = true)]
        password: Option<String>,
        /// E-mail address.
        #[arg(long, default_value = "")]
        email: String,
        /// May approve other people's runs.
        #[arg(long)]
        approver: bool,
        /// Somebody must approve the account first.
        #[arg(long)]
        pending: bool,
        /// Active tasks per address (16 unless given).
        #[arg(long)]
        machine_limit: Option<u32>,
    },
    /// List all accounts.
    List,
    /// Accept a pending account, or (--approver yes|no) let it approve runs, or not.
    Approve {
        /// Name.
        username: String,
        /// Also grant or withdraw the right to approve runs.
        #[arg(long, value_parser = yes_or_no)]
        approver: Option<bool>,
    },
    /// Block an account, or unblock it (--undo).
    Block {
        /// Name.
        username: String,
        /// Unblock.
        #[arg(long)]
        undo: bool,
    },
    /// Set a new password.
    SetPassword {
        /// Name.
        username: String,
        /// Password; read from standard input if absent.
        #[arg(long, env = "SHOAL_USER_PASSWORD", hide_env_values = true)]
        password: Option<String>,
    },
    /// Set how many active tasks the account's workers may have per address.
    MachineLimit {
        /// Name.
        username: String,
        /// Active tasks.
        limit: u32,
    },
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        other => Err(format!("{other:?} is neither yes nor no")),
    }
}

/// Carries out a command about accounts.
pub async fn execute(config: &Config, command: UserCommand) -> CliResult {
    match command {
        UserCommand::Add { username, password, email, approver, pending, machine_limit } => {
            let password = password_or_ask(password)?;
            let command = Control::UserAdd { username, password, email, approver, pending, machine_limit };
            control::execute(config, command).await
        }
        UserCommand::List => control::execute(config, Control::UserList).await,
        UserCommand::Approve { username, approver } => {
            if let Some(approver) = approver {
                let command = Control::UserApprover { username: username.clone(), approver };
                control::execute(config, command).await?;
            }
            control::execute(config, Control::UserApprove { username }).await
        }
        UserCommand::Block { username, undo } => {
            control::execute(config, Control::UserBlock { username, blocked: !undo }).await
        }
        UserCommand::SetPassword { username, password } => {
            let password = password_or_ask(password)?;
            control::execute(config, Control::UserSetPassword { username, password }).await
        }
        UserCommand::MachineLimit { username, limit } => {
            control::execute(config, Control::UserMachineLimit { username, limit }).await
        }
    }
}

fn password_or_ask(given: Option<String>) -> Result<String, CliError> {
    if let Some(password) = given {
        return Ok(password);
    }
    let input = std::io::stdin();
    if input.is_terminal() {
        eprint!("Password: ");
    }
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(|error| CliError::failed(format!("the password: {error}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(CliError::failed("password: give one with --password or on standard input"));
    }
    Ok(password.to_owned())
}

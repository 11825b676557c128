//! `shoal worker`.

use clap::Subcommand;

use super::{CliResult, control};
use crate::config::Config;
use crate::service::control::Control;

/// Commands about workers.
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// Block a worker by its short name (username-8cores-1a2b3c4d). What it is playing goes on.
    Block {
        /// Short name.
        worker: String,
        /// What its owner is told; at most 500 characters.
        #[arg(long, default_value = "")]
        reason: String,
        /// Who blocks it, for the log.
        #[arg(long, default_value = "fishtest.system")]
        actor: String,
    },
    /// Let a blocked worker take part again.
    Unblock {
        /// Short name.
        worker: String,
        /// Who unblocks it, for the log.
        #[arg(long, default_value = "fishtest.system")]
        actor: String,
    },
    /// List blocked workers.
    List,
}

/// Carries out a command about workers.
pub async fn execute(config: &Config, command: WorkerCommand) -> CliResult {
    let command = match command {
        WorkerCommand::Block { worker, reason, actor } => {
            Control::WorkerBlock { worker, actor, blocked: true, reason }
        }
        WorkerCommand::Unblock { worker, actor } => {
            Control::WorkerBlock { worker, actor, blocked: false, reason: String::new() }
        }
        WorkerCommand::List => Control::WorkerList,
    };
    control::execute(config, command).await
}

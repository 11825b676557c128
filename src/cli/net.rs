//! `shoal net`.

use clap::Subcommand;

use super::{CliResult, control};
use crate::config::Config;
use crate::service::control::Control;

/// Commands about networks.
#[derive(Debug, Subcommand)]
pub enum NetCommand {
    /// Make a network known, so that runs may name it. Its file has to lie where `nn_url` says: URL/nn/NAME.
    Add {
        /// Name: nn-, the first 12 hex digits of the file's SHA-256, .nnue.
        name: String,
        /// Who brings it, for the log.
        #[arg(long = "by", value_name = "USERNAME")]
        user: String,
    },
}

/// Carries out a command about networks.
pub async fn execute(config: &Config, command: NetCommand) -> CliResult {
    let NetCommand::Add { name, user } = command;
    control::execute(config, Control::NetAdd { name, user }).await
}

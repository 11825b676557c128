//! `shoal migrate`: the schema of the store.

use std::process::ExitCode;

use clap::Subcommand;

use super::{CliError, CliResult, FOUND_FAULTS, control, store};
use crate::config::Config;
use crate::store::migrate::StepState;
use crate::store::sqlite::{self, Mode, SqliteStore};

/// Commands about the schema.
#[derive(Debug, Subcommand)]
pub enum MigrateCommand {
    /// List all steps and when each was applied; the exit code is 2 if some are pending.
    Status,
    /// Print what the pending steps would do.
    Plan,
    /// Apply the pending steps. Several processes may do so at once: each step is applied once.
    Up,
}

/// Carries out a command about the schema.
pub async fn execute(config: &Config, command: MigrateCommand) -> CliResult {
    if let MigrateCommand::Up = command {
        for name in up(config).await? {
            println!("applied {name}");
        }
        println!("the schema is up to date");
        return Ok(ExitCode::SUCCESS);
    }
    let states = states(config).await?;
    let pending: Vec<_> = states.iter().filter(|state| state.applied_at.is_none()).collect();
    if let MigrateCommand::Plan = command {
        for state in &pending {
            println!("-- {}\n{}", state.step.name, state.step.text.trim_end());
        }
        println!("-- {} to apply", pending.len());
        return Ok(ExitCode::SUCCESS);
    }
    for state in &states {
        println!("{}  {}", state.step.name, applied(state));
    }
    Ok(if pending.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FOUND_FAULTS) })
}

fn applied(state: &StepState) -> String {
    let Some(at) = state.applied_at else { return "pending".to_owned() };
    let date = bson::DateTime::from_millis(at.0).try_to_rfc3339_string();
    format!("applied {}", date.unwrap_or_else(|_| format!("{} ms", at.0)))
}

async fn states(config: &Config) -> Result<Vec<StepState>, CliError> {
    match store::mongo_settings(config) {
        Some(settings) => {
            let store = store::connect(&settings).await?;
            store.schema().await.map_err(CliError::failed)
        }
        None => sqlite::schema_of(&control::database(config)).map_err(CliError::failed),
    }
}

async fn up(config: &Config) -> Result<Vec<&'static str>, CliError> {
    if let Some(settings) = store::mongo_settings(config) {
        let store = store::connect(&settings).await?;
        return store.migrate().await.map_err(CliError::failed);
    }
    std::fs::create_dir_all(&config.data_dir)
        .map_err(|error| CliError::failed(format!("{}: {error}", config.data_dir.display())))?;
    let path = control::database(config);
    let before = sqlite::schema_of(&path).map_err(CliError::failed)?;
    SqliteStore::open(&path, Mode::Tool).map_err(CliError::failed)?;
    let missing = before.iter().filter(|state| state.applied_at.is_none());
    Ok(missing.map(|state| state.step.name).collect())
}

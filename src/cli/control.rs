//! How commands reach the farm: through the running server's control socket, or, when none runs, on the file itself. Where
//! servers share a schedule, a command without a server on its data directory is one more replica for the moment.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::store::Role;
use super::{CliError, CliResult, schedule};
use crate::config::Config;
use crate::service::FarmSettings;
use crate::service::control::{Control, Reply};
use crate::sys::web;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The database of a data directory.
pub fn database(config: &Config) -> PathBuf {
    config.data_dir.join("shoal.db")
}

/// The control socket of a data directory.
pub fn socket(config: &Config) -> PathBuf {
    config.data_dir.join("control.sock")
}

/// Carries out a command and prints what came of it.
pub async fn execute(config: &Config, command: Control) -> CliResult {
    let reply = send(config, command).await?;
    super::say(&reply.text)?;
    Ok(ExitCode::SUCCESS)
}

/// Carries out a command.
pub async fn send(config: &Config, command: Control) -> Result<Reply, CliError> {
    if server_pid(config)?.is_some() {
        return over_socket(config, &command).await;
    }
    let farm = schedule::open(config, Role::Command, FarmSettings::default()).await?;
    let reply = farm.control(command).await.map_err(CliError::failed);
    // Where it had to load the schedule, it led.
    farm.step_down().await;
    reply
}

/// The process id of the server that runs on the data directory, if one does.
pub fn server_pid(config: &Config) -> Result<Option<u32>, CliError> {
    crate::store::sqlite::running(&database(config)).map_err(CliError::failed)
}

async fn over_socket(config: &Config, command: &Control) -> Result<Reply, CliError> {
    let client = web::client()
        .unix_socket(socket(config))
        .timeout(PATIENCE)
        .build()
        .map_err(|error| CliError::failed(format!("the control socket: {error}")))?;
    let answer = client.post("http://shoal/control").json(command).send().await;
    let answer = answer.map_err(|error| {
        CliError::failed(format!(
            "a server runs on {}, but its control socket does not answer: {error}",
            config.data_dir.display()
        ))
    })?;
    let body: Value = answer
        .json()
        .await
        .map_err(|error| CliError::failed(format!("the server's answer is not understood: {error}")))?;
    if let Some(error) = body.get("error").and_then(Value::as_str) {
        return Err(CliError::failed(error));
    }
    serde_json::from_value(body)
        .map_err(|error| CliError::failed(format!("the server's answer is not understood: {error}")))
}

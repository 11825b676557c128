//! The command line: every role of the one executable is a subcommand.

pub mod backup;
pub mod control;
pub mod copy;
pub mod demo;
pub mod doctor;
pub mod export;
pub mod from_git;
pub mod import;
pub mod migrate;
pub mod net;
pub mod run;
pub mod schedule;
pub mod serve;
pub mod simulate;
pub mod store;
pub mod user;
pub mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError, ConfigFlags};
use crate::service::control::Control;
use crate::telemetry::allocator;

/// The fishtest server as a horizontally scaled tier. With no configuration, one binary is a whole farm.
#[derive(Debug, Parser)]
#[command(name = "shoal", version, about, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    config: ConfigFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the farm: answer workers and readers, schedule, decide.
    Serve,
    /// Accounts: add, list, approve, block, set a password, set a machine limit.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Runs: create, approve, list, show, stop, purge, modify, delete.
    #[command(subcommand)]
    Run(Box<run::RunCommand>),
    /// Workers: block, unblock, list the blocked ones.
    #[command(subcommand)]
    Worker(worker::WorkerCommand),
    /// Networks: make them known.
    #[command(subcommand)]
    Net(net::NetCommand),
    /// Opening books: what workers check a book against.
    #[command(subcommand)]
    Books(run::BooksCommand),
    /// The schema of the store: status, plan, up.
    #[command(subcommand)]
    Migrate(migrate::MigrateCommand),
    /// Take over a fishtest database.
    Import(import::ImportArgs),
    /// Write the farm's data in fishtest's own layout, so that it can move back.
    Export(export::ExportArgs),
    /// Copy a farm from one place into another.
    Copy(copy::CopyArgs),
    /// Copy the embedded database into a file, while it is in use.
    Backup(backup::BackupArgs),
    /// Put a backup in the place of the embedded database.
    Restore(backup::RestoreArgs),
    /// Simulate a fleet of workers against a running farm, and judge the farm.
    Simulate(Box<crate::simulate::SimulateArgs>),
    /// Show it all: a temporary farm, a run, 200 simulated workers, and the run's decision.
    Demo,
    /// Print the commented default configuration file.
    Config,
    /// Hand out no tasks until `resume`: heartbeats and results go on. Survives restarts.
    Pause {
        /// Why, for whoever looks later.
        #[arg(long, default_value = "")]
        reason: String,
        /// Who pauses.
        #[arg(long, env = "USER", default_value = "operator")]
        by: String,
    },
    /// Hand out tasks again.
    Resume,
    /// Where the server and the farm stand, as JSON.
    Status,
    /// Check configuration and dependencies, and say what to mend.
    Doctor,
}

/// What a command ends with.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration can't be used.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// What was asked can't be done; the text says why.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    /// A failure in words.
    pub fn failed(text: impl std::fmt::Display) -> Self {
        Self::Failed(text.to_string())
    }
}

/// Result of a command; success carries the exit code.
pub type CliResult = Result<ExitCode, CliError>;

/// Prints an answer. Who reads only its beginning (`| head -1`) has had what they wanted.
///
/// # Errors
/// When it can't be written for another reason.
pub fn say(text: &str) -> Result<(), CliError> {
    use std::io::{ErrorKind, Write};
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::failed(error)),
        _ => Ok(()),
    }
}

/// Exit code of a command that did its work and found something wrong: a broken invariant, a rejected document.
pub const FOUND_FAULTS: u8 = 2;

/// The entrance. The executable chose the allocator, and says how it is asked.
pub fn main(allocator: Option<allocator::Probe>) -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("shoal: the runtime does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(dispatch(cli, allocator)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("shoal: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli, allocator: Option<allocator::Probe>) -> CliResult {
    let load = || Config::load(&cli.config, |name| std::env::var(name).ok());
    match cli.command {
        Command::Serve => serve::serve(load()?, allocator).await,
        Command::User(command) => user::execute(&load()?, command).await,
        Command::Run(command) => run::execute(&load()?, *command).await,
        Command::Worker(command) => worker::execute(&load()?, command).await,
        Command::Net(command) => net::execute(&load()?, command).await,
        Command::Books(command) => run::books(&load()?, command).await,
        Command::Migrate(command) => migrate::execute(&load()?, command).await,
        Command::Import(args) => import::execute(&load()?, args).await,
        Command::Export(args) => export::execute(&load()?, args).await,
        Command::Copy(args) => copy::execute(&load()?, args).await,
        Command::Backup(args) => backup::backup(&load()?, args).await,
        Command::Restore(args) => backup::restore(&load()?, args).await,
        Command::Simulate(args) => simulate::execute(&args).await,
        Command::Pause { reason, by } => control::execute(&load()?, Control::Pause { by, reason }).await,
        Command::Resume => control::execute(&load()?, Control::Resume).await,
        Command::Status => control::execute(&load()?, Control::Status).await,
        Command::Demo => demo::demo().await,
        Command::Config => {
            print!("{}", Config::default_file());
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor => doctor::doctor(load()).await,
    }
}

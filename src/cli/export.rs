//! `shoal export`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{CliError, CliResult, FOUND_FAULTS, store};
use crate::config::Config;
use crate::service::export::{ExportOptions, FileSink, export};
use crate::service::import::Collection;

/// Where the data goes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// An empty directory for one file a collection, as mongoexport writes them (`users.json`, `runs.json`, ...).
    #[arg(long, value_name = "DIR")]
    files: PathBuf,
    /// Leave out the games, which are most of the bytes.
    #[arg(long)]
    without_pgns: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Exports; the exit code says whether runs were left out.
pub async fn execute(config: &Config, args: ExportArgs) -> CliResult {
    let farm = store::alone(config).await?;
    let mut sink = FileSink::begin(&args.files).await.map_err(CliError::failed)?;
    let options = ExportOptions { without_pgns: args.without_pgns };
    let report = export(&*farm, &mut sink, options, |part| eprintln!("{part}")).await;
    let report = report.map_err(CliError::failed)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(CliError::failed)?);
    } else {
        print!("{report}");
    }
    let left_out = report.collection(Collection::Runs).is_some_and(|part| !part.remarks.is_empty());
    if left_out { Ok(ExitCode::from(FOUND_FAULTS)) } else { Ok(ExitCode::SUCCESS) }
}

//! `shoal import`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{CliError, CliResult, FOUND_FAULTS, store};
use crate::config::Config;
use crate::service::import::import_files;

/// Where the data comes from.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Directory with one file a collection, as mongoexport writes them (`users.json`, `runs.json`, ...).
    #[arg(long, value_name = "DIR")]
    files: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Imports; the exit code says whether documents were rejected.
pub async fn execute(config: &Config, args: ImportArgs) -> CliResult {
    let store = store::alone(config).await?;
    let report =
        import_files(&store, &args.files, |line| eprintln!("{line}")).await.map_err(CliError::failed)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(CliError::failed)?);
    } else {
        println!("{report}");
    }
    if report.rejected() == 0 { Ok(ExitCode::SUCCESS) } else { Ok(ExitCode::from(FOUND_FAULTS)) }
}

//! `shoal copy`.

use std::process::ExitCode;

use clap::Args;

use super::{CliError, CliResult, stores};
use crate::service::copy::copy;

/// From where, to where.
#[derive(Debug, Args)]
pub struct CopyArgs {
    /// Data directory to copy from.
    #[arg(long, value_name = "PLACE")]
    from: String,
    /// Data directory to copy to; what is there already is left alone.
    #[arg(long, value_name = "PLACE")]
    to: String,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Copies; can be started again when it was interrupted.
pub async fn execute(args: CopyArgs) -> CliResult {
    if args.from == args.to {
        return Err(CliError::failed("--from and --to name the same place"));
    }
    let from = stores::named(&args.from).await?;
    let to = stores::named(&args.to).await?;
    let report = copy(&*from, &*to, |part| eprintln!("{part}")).await.map_err(CliError::failed)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(CliError::failed)?);
    } else {
        let copied: u64 = report.iter().map(|part| part.copied).sum();
        println!("Copied {copied} documents");
    }
    Ok(ExitCode::SUCCESS)
}

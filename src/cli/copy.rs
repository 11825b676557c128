//! `shoal copy`.

use std::process::ExitCode;

use clap::Args;

use super::{CliError, CliResult, store};
use crate::config::Config;
use crate::service::copy::copy;

/// From where, to where.
#[derive(Debug, Args)]
pub struct CopyArgs {
    /// Where to copy from: a data directory, or `mongodb://HOSTS/DATABASE`.
    #[arg(long, value_name = "PLACE")]
    from: String,
    /// Where to copy to, likewise; what is there already is left alone.
    #[arg(long, value_name = "PLACE")]
    to: String,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Copies; can be started again when it was interrupted.
pub async fn execute(config: &Config, args: CopyArgs) -> CliResult {
    if args.from == args.to {
        return Err(CliError::failed("--from and --to name the same place"));
    }
    let from = store::named(config, &args.from).await?;
    let to = store::named(config, &args.to).await?;
    let report = copy(&*from, &*to, |part| eprintln!("{part}")).await.map_err(CliError::failed)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(CliError::failed)?);
    } else {
        let copied: u64 = report.iter().map(|part| part.copied).sum();
        println!("Copied {copied} documents");
    }
    Ok(ExitCode::SUCCESS)
}

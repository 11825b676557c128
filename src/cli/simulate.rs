//! `shoal simulate`.

use std::process::ExitCode;

use super::{CliError, CliResult, FOUND_FAULTS};
use crate::simulate::progress::Progress;
use crate::simulate::{SimulateArgs, run_observed};

/// Runs the fleet until its stop condition, or Ctrl-C; the exit code says whether an invariant was seen broken.
pub async fn execute(args: &SimulateArgs) -> CliResult {
    let options = args.options().map_err(CliError::failed)?;
    let interrupt = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    let mut progress = Progress::stderr();
    let report = run_observed(options, interrupt, &mut progress).await.map_err(CliError::failed)?;
    println!("{}", report.summary());
    if report.broken().is_empty() { Ok(ExitCode::SUCCESS) } else { Ok(ExitCode::from(FOUND_FAULTS)) }
}

//! `shoal export`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args};

use super::{CliError, CliResult, FOUND_FAULTS, store};
use crate::config::Config;
use crate::service::export::{DatabaseSink, ExportOptions, ExportSink, FileSink, export};
use crate::store::mongo::FishtestDatabase;

/// Writes the farm's data in fishtest's own layout, so that it can move back.
///
/// The server must be stopped. Documents come out as they came in, as far as nobody changed them since. An argon2id hash
/// of a password has no place in that layout: such an account gets a password that nobody knows and is named in the
/// report; it must be set anew. Documents that the target has no room for are left out and named; then the exit code
/// is 2.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("target").required(true).args(["files", "to"])))]
pub struct ExportArgs {
    /// An empty directory for one file a collection, as mongoexport writes them (`users.json`, `runs.json`, ...).
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    /// An empty database: `mongodb://HOSTS/DATABASE`. An export of this farm that was interrupted there goes on. A run
    /// that has no room in MongoDB's 16 MiB is left out.
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Leave out the games, which are most of the bytes.
    #[arg(long)]
    without_pgns: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Exports; the exit code says whether documents were left out.
pub async fn execute(config: &Config, args: ExportArgs) -> CliResult {
    let farm = store::alone(config).await?;
    let mut sink: Box<dyn ExportSink> = match (&args.files, &args.to) {
        (Some(dir), _) => Box::new(FileSink::begin(dir).await.map_err(CliError::failed)?),
        // One of the two is there, clap sees to that; what is no address is refused in words.
        (None, to) => {
            let settings = store::address(config, to.as_deref().unwrap_or_default())?;
            let target = FishtestDatabase::connect(&settings).await.map_err(CliError::failed)?;
            Box::new(DatabaseSink::begin(target, &*farm).await.map_err(CliError::failed)?)
        }
    };
    let options = ExportOptions { without_pgns: args.without_pgns };
    let report = export(&*farm, sink.as_mut(), options, |part| eprintln!("{part}")).await;
    let report = report.map_err(CliError::failed)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(CliError::failed)?);
    } else {
        print!("{report}");
    }
    if report.left_out() == 0 { Ok(ExitCode::SUCCESS) } else { Ok(ExitCode::from(FOUND_FAULTS)) }
}

//! `shoal import`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args};

use super::{CliError, CliResult, FOUND_FAULTS, store};
use crate::config::Config;
use crate::service::import::{Progress, import_database, import_files};
use crate::store::mongo::{FishtestDatabase, Layout};

/// Takes over a fishtest database: accounts, runs with their tasks, the event log, games and the rest.
///
/// fishtest and this farm's server must be stopped. The source is only read. What is there already is left alone, so
/// an import that was interrupted is simply started again. Every document that can't be taken is reported, with the
/// reason, and the rest is taken; then the exit code is 2. Plain passwords come along and are replaced by hashes when
/// they are first used.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("source").required(true).args(["files", "from"])))]
pub struct ImportArgs {
    /// Directory with one file a collection, as mongoexport writes them (`users.json`, `runs.json`, ...).
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    /// Database in fishtest's own layout: `mongodb://HOSTS/DATABASE`.
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Imports; the exit code says whether documents were rejected.
pub async fn execute(config: &Config, args: ImportArgs) -> CliResult {
    let progress = |line: Progress<'_>| eprintln!("{line}");
    let report = match (args.files, args.from) {
        (Some(dir), _) => import_files(&store::alone(config).await?, &dir, progress).await,
        // One of the two is there, clap sees to that; what is no address is refused in words.
        (None, from) => {
            let from = source(config, &from.unwrap_or_default()).await?;
            import_database(&store::alone(config).await?, &from, progress).await
        }
    };
    let report = report.map_err(CliError::failed)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(CliError::failed)?);
    } else {
        println!("{report}");
    }
    if report.rejected() == 0 { Ok(ExitCode::SUCCESS) } else { Ok(ExitCode::from(FOUND_FAULTS)) }
}

/// The database that is read. Before anything is opened for writing, it is made sure that it is another one than the
/// farm's, whatever the two are called: the farm's is Shoal's or empty, this one neither.
async fn source(config: &Config, from: &str) -> Result<FishtestDatabase, CliError> {
    let settings = store::address(config, from)?;
    let source = FishtestDatabase::connect(&settings).await.map_err(CliError::failed)?;
    if let Some(farm) = store::mongo_settings(config) {
        if farm.database == settings.database && farm.url.hosts() == settings.url.hosts() {
            return Err(CliError::failed(
                "--from names the farm's own database (mongodb_url, mongodb_database): let the farm have another one",
            ));
        }
        let target = FishtestDatabase::connect(&farm).await.map_err(CliError::failed)?;
        if let Layout::Other(names) = target.layout().await.map_err(CliError::failed)? {
            return Err(CliError::failed(format!(
                "the farm's {} is not Shoal's, nor empty: it holds {}; is it the source by another name?",
                target.place(),
                names.join(", ")
            )));
        }
    }
    Ok(source)
}

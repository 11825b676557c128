//! `shoal backup` and `shoal restore`: the embedded database, while it is in use, and back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{CliError, CliResult, control};
use crate::config::Config;
use crate::store::sqlite::{Mode, SqliteStore};

/// Where the backup goes.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// File to write; it must not exist yet.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What is restored.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// File that `shoal backup` wrote.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Put it in the place of a database that is there; that one is kept beside it as `shoal.db.before-restore`.
    #[arg(long)]
    replace: bool,
}

/// Copies the database as it is at one moment; a server may be running on it.
pub async fn backup(config: &Config, args: BackupArgs) -> CliResult {
    let database = embedded(config)?;
    if !database.exists() {
        return Err(CliError::failed(format!("{}: there is no database", database.display())));
    }
    let store = SqliteStore::open(&database, Mode::Tool).map_err(CliError::failed)?;
    store.backup_to(&args.file).await.map_err(CliError::failed)?;
    let bytes = sync(&args.file).map_err(at(&args.file))?;
    println!("Backed up {} to {} ({bytes} bytes)", database.display(), args.file.display());
    Ok(ExitCode::SUCCESS)
}

/// Puts a backup in the database's place, after it was checked.
pub async fn restore(config: &Config, args: RestoreArgs) -> CliResult {
    let database = embedded(config)?;
    if let Some(pid) = control::server_pid(config)? {
        return Err(CliError::failed(format!(
            "a server (process {pid}) runs on {}: stop it first",
            database.display()
        )));
    }
    if database.exists() && !args.replace {
        return Err(CliError::failed(format!(
            "{} is there already; --replace puts the backup in its place and keeps it beside",
            database.display()
        )));
    }
    fs::create_dir_all(&config.data_dir).map_err(at(&config.data_dir))?;
    // A copy beside the target, so that the backup stays as it is and the last step is one rename.
    let arriving = with_suffix(&database, ".arriving");
    let leftover = fs::remove_file(&arriving);
    if let Err(error) = leftover
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(at(&arriving)(error));
    }
    fs::copy(&args.file, &arriving).map_err(at(&args.file))?;
    let problems = check(&arriving).await;
    let problems = problems.inspect_err(|_| remove_with_companions(&arriving))?;
    if let Some(problem) = problems.first() {
        remove_with_companions(&arriving);
        return Err(CliError::failed(format!("{}: {problem}", args.file.display())));
    }
    sync(&arriving).map_err(at(&arriving))?;
    if database.exists() {
        // Opening it brings what stands in its log into the file, and closing it removes the log.
        drop(SqliteStore::open(&database, Mode::Serve).map_err(CliError::failed)?);
        let before = with_suffix(&database, ".before-restore");
        fs::rename(&database, &before).map_err(at(&before))?;
        println!("The database that was there is {}", before.display());
    }
    for companion in companions(&database) {
        if companion.exists() {
            return Err(CliError::failed(format!(
                "{} is left over from another database",
                companion.display()
            )));
        }
    }
    fs::rename(&arriving, &database).map_err(at(&database))?;
    sync_directory(&config.data_dir).map_err(at(&config.data_dir))?;
    println!("Restored {}", database.display());
    Ok(ExitCode::SUCCESS)
}

/// The embedded database, if that is where the farm's data is.
fn embedded(config: &Config) -> Result<PathBuf, CliError> {
    if config.mongodb_url.is_some() {
        return Err(CliError::failed(
            "the farm's data is in MongoDB: mongodump and mongorestore back it up (docs/durability.md)",
        ));
    }
    Ok(control::database(config))
}

/// Opens the copy as a server would, which brings an older schema up to date, and looks at all of it.
async fn check(file: &Path) -> Result<Vec<String>, CliError> {
    let store = SqliteStore::open(file, Mode::Tool).map_err(CliError::failed)?;
    store.check().await.map_err(CliError::failed)
}

fn companions(database: &Path) -> [PathBuf; 2] {
    [with_suffix(database, "-wal"), with_suffix(database, "-shm")]
}

fn remove_with_companions(file: &Path) {
    // Best effort: the error that led here is the one to report.
    drop(fs::remove_file(file));
    for companion in companions(file) {
        drop(fs::remove_file(companion));
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes a file last; its size.
fn sync(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn at(path: &Path) -> impl Fn(io::Error) -> CliError {
    move |error| CliError::failed(format!("{}: {error}", path.display()))
}

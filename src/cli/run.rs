//! `shoal run` and `shoal books`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{CliError, CliResult, control, from_git};
use crate::config::Config;
use crate::service::control::Control;

/// Commands about runs.
#[derive(Debug, Subcommand)]
pub enum RunCommand {
    /// Create a run from a JSON file, from flags, or both (flags win). Prints its id. A tuning run, a filter of
    /// architectures, a compiler and adjudication are for the file.
    Create(Box<CreateArgs>),
    /// Approve a run; nobody approves their own.
    Approve {
        /// Run id.
        run: String,
        /// The approving account; must be an approver.
        #[arg(long = "by")]
        approver: String,
    },
    /// List unfinished runs, or finished ones, newest first.
    List {
        /// Finished runs instead.
        #[arg(long)]
        finished: bool,
        /// At most so many finished runs.
        #[arg(long, default_value_t = 50)]
        limit: u64,
    },
    /// Show a run as JSON.
    Show {
        /// Run id.
        run: String,
    },
    /// Stop a run.
    Stop(Target),
    /// Purge bad workers from a finished run.
    Purge(Target),
    /// Hide a run from the lists, stopping it first. No data is removed.
    Delete(Target),
    /// Modify a run. A finished run that has games left goes on.
    Modify {
        /// Which run, and who asks.
        #[command(flatten)]
        target: Target,
        /// Games wanted.
        #[arg(long)]
        num_games: Option<i64>,
        /// Priority.
        #[arg(long, allow_negative_numbers = true)]
        priority: Option<i64>,
        /// Throughput in percent.
        #[arg(long)]
        throughput: Option<i64>,
        /// Whether bad workers are purged at the end.
        #[arg(long)]
        auto_purge: Option<bool>,
        /// Description; only the owner's counts.
        #[arg(long)]
        info: Option<String>,
    },
}

/// A run, and who asks.
#[derive(Debug, Args)]
pub struct Target {
    /// Run id.
    run: String,
    /// The acting account: the run's owner or an approver.
    #[arg(long = "by")]
    actor: String,
}

/// What a run is made from.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// JSON file with the keys of the stored arguments.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Local clone of the engine: commits, messages, signatures and nets are read from it.
    #[arg(long, value_name = "PATH")]
    from_git: Option<PathBuf>,
    /// Submitter.
    #[arg(long)]
    username: Option<String>,
    /// Branch, tag or commit of the new engine.
    #[arg(long)]
    new_tag: Option<String>,
    /// Branch, tag or commit of the base engine.
    #[arg(long)]
    base_tag: Option<String>,
    /// Commit of the new engine, 40 hex digits.
    #[arg(long)]
    resolved_new: Option<String>,
    /// Commit of the base engine, 40 hex digits.
    #[arg(long)]
    resolved_base: Option<String>,
    /// First line of the new commit's message.
    #[arg(long)]
    msg_new: Option<String>,
    /// First line of the base commit's message.
    #[arg(long)]
    msg_base: Option<String>,
    /// Bench of the new engine.
    #[arg(long)]
    new_signature: Option<String>,
    /// Bench of the base engine.
    #[arg(long)]
    base_signature: Option<String>,
    /// Networks of the new engine.
    #[arg(long, value_delimiter = ',')]
    new_nets: Option<Vec<String>>,
    /// Networks of the base engine.
    #[arg(long, value_delimiter = ',')]
    base_nets: Option<Vec<String>>,
    /// Engine options of the new engine [default: Hash=16].
    #[arg(long)]
    new_options: Option<String>,
    /// Engine options of the base engine [default: Hash=16].
    #[arg(long)]
    base_options: Option<String>,
    /// Time control [default: 10+0.1].
    #[arg(long)]
    tc: Option<String>,
    /// Time control of the new engine, if another.
    #[arg(long)]
    new_tc: Option<String>,
    /// Threads per engine [default: 1].
    #[arg(long)]
    threads: Option<u32>,
    /// Opening book [default: UHO_Lichess_4852_v1.epd].
    #[arg(long)]
    book: Option<String>,
    /// Plies of the book [default: 8].
    #[arg(long)]
    book_depth: Option<String>,
    /// Lower bound of a sequential test, normalized Elo.
    #[arg(long, allow_negative_numbers = true, requires = "elo1")]
    elo0: Option<f64>,
    /// Upper bound of a sequential test, normalized Elo.
    #[arg(long, allow_negative_numbers = true, requires = "elo0")]
    elo1: Option<f64>,
    /// Games of a test of fixed length.
    #[arg(long, conflicts_with = "elo0")]
    num_games: Option<i64>,
    /// Repository of the engine, a GitHub address.
    #[arg(long)]
    tests_repo: Option<String>,
    /// Description.
    #[arg(long)]
    info: Option<String>,
    /// Priority.
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i64>,
    /// Throughput in percent.
    #[arg(long)]
    throughput: Option<i64>,
    /// Purge bad workers at the end.
    #[arg(long)]
    auto_purge: bool,
}

/// Commands about opening books.
#[derive(Debug, Subcommand)]
pub enum BooksCommand {
    /// Replace the book table by a `books.json` as the books repository has it.
    Import {
        /// The file.
        file: PathBuf,
    },
}

/// Carries out a command about runs.
pub async fn execute(config: &Config, command: RunCommand) -> CliResult {
    let command = match command {
        RunCommand::Create(args) => Control::RunCreate { form: form(&args)? },
        RunCommand::Approve { run, approver } => Control::RunApprove { run, approver },
        RunCommand::List { finished, limit } => Control::RunList { finished, limit },
        RunCommand::Show { run } => Control::RunShow { run },
        RunCommand::Stop(Target { run, actor }) => Control::RunStop { run, actor },
        RunCommand::Purge(Target { run, actor }) => Control::RunPurge { run, actor },
        RunCommand::Delete(Target { run, actor }) => Control::RunDelete { run, actor },
        RunCommand::Modify {
            target: Target { run, actor },
            num_games,
            priority,
            throughput,
            auto_purge,
            info,
        } => Control::RunModify { run, actor, num_games, priority, throughput, auto_purge, info },
    };
    control::execute(config, command).await
}

/// Carries out a command about books.
pub async fn books(config: &Config, command: BooksCommand) -> CliResult {
    let BooksCommand::Import { file } = command;
    control::execute(config, Control::Books { table: read_json(&file)? }).await
}

fn read_json(path: &Path) -> Result<Value, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| CliError::failed(format!("{}: {error}", path.display())))
}

/// The request for a run: defaults, then the file, then the clone, then flags.
fn form(args: &CreateArgs) -> Result<Value, CliError> {
    let mut form = Map::new();
    if let Some(file) = &args.file {
        match read_json(file)? {
            Value::Object(fields) => form = fields,
            _ => return Err(CliError::failed(format!("{}: expected a JSON object", file.display()))),
        }
    }
    let flags: [(&str, Option<Value>); 21] = [
        ("username", args.username.clone().map(Value::from)),
        ("new_tag", args.new_tag.clone().map(Value::from)),
        ("base_tag", args.base_tag.clone().map(Value::from)),
        ("resolved_new", args.resolved_new.clone().map(Value::from)),
        ("resolved_base", args.resolved_base.clone().map(Value::from)),
        ("msg_new", args.msg_new.clone().map(Value::from)),
        ("msg_base", args.msg_base.clone().map(Value::from)),
        ("new_signature", args.new_signature.clone().map(Value::from)),
        ("base_signature", args.base_signature.clone().map(Value::from)),
        ("new_nets", args.new_nets.clone().map(Value::from)),
        ("base_nets", args.base_nets.clone().map(Value::from)),
        ("new_options", args.new_options.clone().map(Value::from)),
        ("base_options", args.base_options.clone().map(Value::from)),
        ("tc", args.tc.clone().map(Value::from)),
        ("new_tc", args.new_tc.clone().map(Value::from)),
        ("threads", args.threads.map(Value::from)),
        ("book", args.book.clone().map(Value::from)),
        ("book_depth", args.book_depth.clone().map(Value::from)),
        ("num_games", args.num_games.map(Value::from)),
        ("tests_repo", args.tests_repo.clone().map(Value::from)),
        ("info", args.info.clone().map(Value::from)),
    ];
    let numbers = [("priority", args.priority), ("throughput", args.throughput)];
    for (key, value) in flags.into_iter().chain(numbers.map(|(key, value)| (key, value.map(Value::from)))) {
        if let Some(value) = value {
            form.insert(key.to_owned(), value);
        }
    }
    if let (Some(elo0), Some(elo1)) = (args.elo0, args.elo1) {
        form.insert("sprt".to_owned(), json!({ "elo0": elo0, "elo1": elo1 }));
    }
    if args.auto_purge {
        form.insert("auto_purge".to_owned(), Value::Bool(true));
    }
    for (key, default) in [
        ("base_tag", "master"),
        ("tc", "10+0.1"),
        ("book", "UHO_Lichess_4852_v1.epd"),
        ("book_depth", "8"),
        ("new_options", "Hash=16"),
        ("base_options", "Hash=16"),
    ] {
        form.entry(key).or_insert_with(|| default.into());
    }
    form.entry("threads").or_insert_with(|| 1.into());
    if let Some(clone) = &args.from_git {
        from_git::fill(clone, &mut form)?;
    }
    for key in ["new_nets", "base_nets"] {
        form.entry(key).or_insert_with(|| json!([]));
    }
    Ok(Value::Object(form))
}

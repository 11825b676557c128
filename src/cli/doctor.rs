//! `shoal doctor`: checks configuration and dependencies, and says what to mend.

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

mod redis;

use super::{CliResult, FOUND_FAULTS, control, schedule, serve, store};
use crate::config::{Config, ConfigError};
use crate::github::{GitHub, GitHubError};
use crate::service::control::Control;
use crate::store::mongo::{MongoSettings, MongoStore};
use crate::store::sqlite::{Mode, SqliteStore};
use crate::sys::clock::SystemClock;

/// What a check found.
enum Finding {
    Good(String),
    Bad { what: String, mend: String },
}

/// Checks everything that can be checked; the exit code says whether something is to be mended.
pub async fn doctor(config: Result<Config, ConfigError>) -> CliResult {
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            println!(
                "BAD   configuration: {error}\n      mend: correct that setting; `shoal config` prints all of them"
            );
            return Ok(ExitCode::from(FOUND_FAULTS));
        }
    };
    let mut findings = vec![Finding::Good("configuration: understood".to_owned())];
    findings.push(data_dir(&config));
    match control::server_pid(&config) {
        Ok(Some(pid)) => {
            findings.push(Finding::Good(format!("server: process {pid} runs on the data directory")));
            findings.push(server(&config).await);
        }
        Ok(None) => {
            findings.push(Finding::Good("server: none runs on the data directory".to_owned()));
            findings.push(listen(&config));
        }
        Err(error) => findings.push(Finding::Bad {
            what: format!("server: {error}"),
            mend: "check who owns the data directory".to_owned(),
        }),
    }
    findings.extend(database(&config).await);
    if let Some(settings) = schedule::redis_settings(&config) {
        findings.extend(redis::check(&config, &settings).await);
    }
    findings.push(github(&config).await);
    let mut code = ExitCode::SUCCESS;
    for finding in findings {
        match finding {
            Finding::Good(what) => println!("good  {what}"),
            Finding::Bad { what, mend } => {
                println!("BAD   {what}\n      mend: {mend}");
                code = ExitCode::from(FOUND_FAULTS);
            }
        }
    }
    Ok(code)
}

fn data_dir(config: &Config) -> Finding {
    let dir = config.data_dir.display();
    if !config.data_dir.exists() {
        return Finding::Good(format!("data directory: {dir} will be made at the first start"));
    }
    match tempfile_in(&config.data_dir) {
        Ok(()) => Finding::Good(format!("data directory: {dir} can be written")),
        Err(error) => Finding::Bad {
            what: format!("data directory: {dir}: {error}"),
            mend: "give the server's account the right to write there, or set SHOAL_DATA_DIR".to_owned(),
        },
    }
}

fn tempfile_in(dir: &std::path::Path) -> std::io::Result<()> {
    let probe = dir.join(format!(".probe-{}", crate::sys::random::identity()));
    std::fs::write(&probe, b"probe")?;
    std::fs::remove_file(probe)
}

fn listen(config: &Config) -> Finding {
    match TcpListener::bind(config.listen) {
        Ok(_) => Finding::Good(format!("listen: {} is free", config.listen)),
        Err(error) => Finding::Bad {
            what: format!("listen: {}: {error}", config.listen),
            mend: "free that port, or set SHOAL_LISTEN".to_owned(),
        },
    }
}

async fn server(config: &Config) -> Finding {
    match control::send(config, Control::Status).await {
        Ok(reply) => Finding::Good(format!("control socket: answers {}", reply.text)),
        Err(error) => Finding::Bad {
            what: format!("control socket: {error}"),
            mend: "see the server's log; restart it if it hangs".to_owned(),
        },
    }
}

async fn database(config: &Config) -> Vec<Finding> {
    match store::mongo_settings(config) {
        Some(settings) => mongodb(&settings).await,
        None => vec![file(config).await],
    }
}

/// A server: reachable, a replica set, with a schema of this version.
async fn mongodb(settings: &MongoSettings) -> Vec<Finding> {
    let hosts = settings.url.hosts();
    let store = match MongoStore::connect(settings).await {
        Ok(store) => store,
        Err(error) => {
            return vec![Finding::Bad {
                what: format!("MongoDB at {hosts}: {error}"),
                mend: "check SHOAL_MONGODB_URL, the account in it, and the way there".to_owned(),
            }];
        }
    };
    let facts = store.facts();
    let name = facts.replica_set.as_deref().unwrap_or(if facts.router { "a router" } else { "none" });
    let mut findings = vec![Finding::Good(format!(
        "MongoDB: {hosts} answers, version {}, replica set: {name}; up to {} connections from each process",
        facts.version, settings.pool
    ))];
    if !facts.linearizable() {
        findings.push(Finding::Bad {
            what: "MongoDB: it is a standalone server, not a replica set".to_owned(),
            mend: "start it with --replSet and call rs.initiate(); one member is enough".to_owned(),
        });
    }
    findings.push(match store.schema().await {
        Ok(states) => {
            let pending = states.iter().filter(|state| state.applied_at.is_none()).count();
            let database = store.database_name();
            Finding::Good(format!(
                "MongoDB: the schema of {database} is known; {pending} of {} steps are applied at the next start",
                states.len()
            ))
        }
        Err(error) => Finding::Bad {
            what: format!("MongoDB: {error}"),
            mend: "run the version of shoal that made it, or name another database".to_owned(),
        },
    });
    findings
}

async fn file(config: &Config) -> Finding {
    let path = control::database(config);
    if !path.exists() {
        return Finding::Good(format!("database: {} will be made at the first start", path.display()));
    }
    let store = match SqliteStore::open(&path, Mode::Tool) {
        Ok(store) => store,
        Err(error) => {
            return Finding::Bad {
                what: format!("database: {error}"),
                mend: "restore a backup, or point SHOAL_DATA_DIR elsewhere".to_owned(),
            };
        }
    };
    match store.check().await {
        Ok(faults) if faults.is_empty() => Finding::Good(format!("database: {} is sound", path.display())),
        Ok(faults) => Finding::Bad {
            what: format!("database: {}", faults.join("; ")),
            mend: "stop the server and restore a backup".to_owned(),
        },
        Err(error) => Finding::Bad {
            what: format!("database: {error}"),
            mend: "try again; if it stays so, stop the server and restore a backup".to_owned(),
        },
    }
}

/// Asks for the quota, which costs no call.
async fn github(config: &Config) -> Finding {
    let Some(api) = &config.github_api_url else {
        return Finding::Good("github: its API is switched off".to_owned());
    };
    let github = GitHub::new(serve::github_settings(config), Arc::new(SystemClock::new()));
    match github.ask_quota().await {
        Ok(quota) => Finding::Good(format!(
            "github: {api} answers; {} of {} calls are left",
            quota.remaining, quota.limit
        )),
        Err(GitHubError::Status { status: 401, .. }) => Finding::Bad {
            what: format!("github: {api} refuses the token"),
            mend: "correct SHOAL_GITHUB_TOKEN, or leave it away".to_owned(),
        },
        Err(error) => Finding::Bad {
            what: format!("github: {error}; the table of opening books stays as it is"),
            mend: "let the server reach that address, or set SHOAL_GITHUB_API_URL to a mirror or to none"
                .to_owned(),
        },
    }
}

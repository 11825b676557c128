//! The command line of `shoal simulate`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::machine::MachineMix;
use super::model::GameParameters;
use super::options::{Account, AuditDepth, OptionsError, SimulateOptions, StopCondition};

/// Simulates a fleet of workers against a running server and reports what it saw.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// Base address of the server; several are used in turn.
    #[arg(long = "url", default_value = "http://127.0.0.1:8080", num_args = 1..)]
    pub urls: Vec<String>,
    /// Number of workers.
    #[arg(long, short = 'n', default_value_t = 100)]
    pub workers: usize,
    /// Account of the workers.
    #[arg(long, required_unless_present = "users_file")]
    pub username: Option<String>,
    /// Password of the account.
    #[arg(
        long,
        env = "SHOAL_SIMULATE_PASSWORD",
        hide_env_values = true,
        required_unless_present = "users_file"
    )]
    pub password: Option<String>,
    /// File of accounts, one "username password" a line, dealt to the workers in turn.
    #[arg(long, conflicts_with = "username")]
    pub users_file: Option<PathBuf>,
    /// Elo difference, new engine minus base.
    #[arg(long, default_value_t = 2.0, allow_negative_numbers = true)]
    pub elo: f64,
    /// Share of drawn games, 0 to 1.
    #[arg(long, default_value_t = 0.5)]
    pub draw_rate: f64,
    /// Root mean square of the openings' bias, in Elo.
    #[arg(long, default_value_t = 90.0)]
    pub bias: f64,
    /// Probability per game that an engine crashes.
    #[arg(long, default_value_t = 0.0)]
    pub crash_rate: f64,
    /// Probability per game that it is lost on time.
    #[arg(long, default_value_t = 0.0)]
    pub time_loss_rate: f64,
    /// Probability per task that the worker vanishes in the middle of it.
    #[arg(long, default_value_t = 0.0)]
    pub vanish_rate: f64,
    /// Probability per task that the worker gives it back in the middle of it.
    #[arg(long, default_value_t = 0.0)]
    pub fail_rate: f64,
    /// Mean simulated seconds until a vanished worker is back.
    #[arg(long, default_value_t = 300.0)]
    pub return_seconds: f64,
    /// Simulated seconds per real second.
    #[arg(long, default_value_t = 1.0)]
    pub speed_up: f64,
    /// Upload a small game file after each task.
    #[arg(long)]
    pub upload_pgns: bool,
    /// Send X-Forwarded-For with an address per machine; the server must trust this host.
    #[arg(long)]
    pub forwarded_for: bool,
    /// Cores of the machines, as "cores:weight,cores:weight"; a mix of 1 to 64 if absent.
    #[arg(long)]
    pub cores: Option<String>,
    /// Seed of games, machines and mishaps; drawn if absent.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Real seconds over which the workers start.
    #[arg(long, default_value_t = 1.0)]
    pub ramp_seconds: f64,
    /// End after so many real seconds.
    #[arg(long)]
    pub max_seconds: Option<f64>,
    /// End after so many acknowledged games.
    #[arg(long)]
    pub max_games: Option<u64>,
    /// End when this run is finished.
    #[arg(long)]
    pub until_run_finished: Option<String>,
    /// End when all approved runs are finished.
    #[arg(long)]
    pub until_all_finished: bool,
    /// Requests in flight at once.
    #[arg(long, default_value_t = 512)]
    pub max_connections: usize,
    /// Cap on requests per real second.
    #[arg(long)]
    pub requests_per_second: Option<f64>,
    /// Real seconds that a request may take.
    #[arg(long, default_value_t = 30.0)]
    pub timeout_seconds: f64,
    /// Repeat an unanswered report at least so many real seconds.
    #[arg(long, default_value_t = 60.0)]
    pub min_bridge_seconds: f64,
    /// Leave unfinished tasks as they are at the end, as if all workers had lost power.
    #[arg(long)]
    pub abandon: bool,
    /// Tasks per run to compare with the server in the end: "all", "none", or a number.
    #[arg(long, default_value = "500")]
    pub audit: String,
    /// Real seconds that the server's books may take to come to rest.
    #[arg(long, default_value_t = 15.0)]
    pub settle_seconds: f64,
    /// Write the report there, as JSON.
    #[arg(long)]
    pub report: Option<PathBuf>,
}

impl SimulateArgs {
    /// Reads the accounts and puts the options together; [`super::run`] checks the values.
    ///
    /// # Errors
    /// When the users file, the machine mix or the audit depth is unreadable.
    pub fn options(&self) -> Result<SimulateOptions, OptionsError> {
        let accounts = match (&self.users_file, &self.username, &self.password) {
            (Some(path), ..) => read_accounts(path)?,
            (None, Some(username), Some(password)) => {
                vec![Account { username: username.clone(), password: password.clone() }]
            }
            _ => return Err(OptionsError::new("a username with a password, or a users file, is needed")),
        };
        let machines = match &self.cores {
            Some(text) => MachineMix::parse(text)?,
            None => MachineMix::default(),
        };
        let audit = match self.audit.as_str() {
            "all" => AuditDepth::All,
            "none" => AuditDepth::None,
            number => AuditDepth::Sample(number.parse().map_err(|_| {
                OptionsError::new(format!("the audit is {number:?}: not \"all\", \"none\" or a number"))
            })?),
        };
        Ok(SimulateOptions {
            urls: self.urls.clone(),
            workers: self.workers,
            accounts,
            games: GameParameters {
                elo: self.elo,
                draw_rate: self.draw_rate,
                bias: self.bias,
                crash_rate: self.crash_rate,
                time_loss_rate: self.time_loss_rate,
            },
            speed_up: self.speed_up,
            vanish_rate: self.vanish_rate,
            fail_rate: self.fail_rate,
            return_seconds: self.return_seconds,
            upload_pgns: self.upload_pgns,
            forwarded_for: self.forwarded_for,
            machines,
            seed: self.seed.unwrap_or_else(|| crate::sys::random::write_id().0 >> 12),
            ramp_seconds: self.ramp_seconds,
            stop: StopCondition {
                max_seconds: self.max_seconds,
                max_games: self.max_games,
                run_finished: self.until_run_finished.clone(),
                all_runs_finished: self.until_all_finished,
            },
            max_connections: self.max_connections,
            requests_per_second: self.requests_per_second,
            timeout_seconds: self.timeout_seconds,
            min_bridge_seconds: self.min_bridge_seconds,
            watch_seconds: 2.0,
            give_back: !self.abandon,
            audit,
            settle_seconds: self.settle_seconds,
            report_file: self.report.clone(),
        })
    }
}

fn read_accounts(path: &Path) -> Result<Vec<Account>, OptionsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|reason| OptionsError::new(format!("the users file {}: {reason}", path.display())))?;
    let mut accounts = Vec::new();
    for (i, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((username, password)) = line.split_once(char::is_whitespace) else {
            return Err(OptionsError::new(format!(
                "line {} of {} is not \"username password\"",
                i + 1,
                path.display()
            )));
        };
        accounts.push(Account { username: username.to_owned(), password: password.trim().to_owned() });
    }
    Ok(accounts)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn parse(words: &[&str]) -> Result<SimulateOptions, String> {
        let cli = Cli::try_parse_from(std::iter::once("simulate").chain(words.iter().copied()))
            .map_err(|reason| reason.to_string())?;
        cli.args.options().map_err(|reason| reason.to_string())
    }

    #[test]
    fn an_account_is_enough_and_gives_the_same_defaults_as_the_options_have() {
        let given = parse(&["--username", "ab", "--password", "x", "--seed", "1", "-n", "5"]).unwrap();
        assert_eq!(given, SimulateOptions::new("http://127.0.0.1:8080", 5, "ab", "x"));
    }

    #[test]
    fn values_arrive() {
        let words =
            "--username ab --password x --elo -3.5 --cores 1:2,8 --audit all --max-games 100 --abandon";
        let words: Vec<&str> = words.split(' ').collect();
        let given = parse(&words).unwrap();
        assert_eq!(given.games.elo, -3.5);
        assert_eq!(given.machines.cores, [(1, 2), (8, 1)]);
        assert_eq!(given.audit, AuditDepth::All);
        assert_eq!(given.stop.max_games, Some(100));
        assert!(!given.give_back);
    }

    #[test]
    fn accounts_come_from_a_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "# fleet\nanna one\n\nbert  two words").unwrap();
        let given = parse(&["--users-file", file.path().to_str().unwrap()]).unwrap();
        let names: Vec<_> =
            given.accounts.iter().map(|a| (a.username.as_str(), a.password.as_str())).collect();
        assert_eq!(names, [("anna", "one"), ("bert", "two words")]);
        writeln!(file, "nopassword").unwrap();
        assert!(parse(&["--users-file", file.path().to_str().unwrap()]).unwrap_err().contains("line 5"));
    }

    #[test]
    fn without_an_account_nothing_starts() {
        assert!(parse(&["--username", "ab"]).is_err());
    }
}

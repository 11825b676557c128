//! What a simulation is asked to do.

use std::path::PathBuf;

use super::machine::MachineMix;
use super::model::{GameModel, GameParameters, ModelError};

/// Options that can't be obeyed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// A value is missing or out of range; the text says which.
    #[error("{0}")]
    Invalid(String),
    /// The games can't be modelled.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl OptionsError {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}

/// An account that workers log in with.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("username", &self.username).finish_non_exhaustive()
    }
}

/// When a simulation ends; the first condition that holds ends it. All of them absent: until interrupted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StopCondition {
    /// Real seconds.
    pub max_seconds: Option<f64>,
    /// Acknowledged games of this fleet.
    pub max_games: Option<u64>,
    /// This run (24 hex digits) is finished.
    pub run_finished: Option<String>,
    /// No approved run is unfinished, and every run that the fleet played is finished.
    pub all_runs_finished: bool,
}

/// How much of the server's books is looked at one by one in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditDepth {
    /// Don't compare at all.
    None,
    /// Every task whose fate is uncertain, every gap, and this many others per run; all when that doesn't add up.
    Sample(usize),
    /// Every task.
    All,
}

/// What a simulation is asked to do. Times are seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulateOptions {
    /// Base addresses, used in turn.
    pub urls: Vec<String>,
    /// Number of workers.
    pub workers: usize,
    /// Accounts, dealt to the workers in turn.
    pub accounts: Vec<Account>,
    /// Elo, draws, bias, crashes and time losses.
    pub games: GameParameters,
    /// Simulated seconds per real second. Game durations, back-off, beats and retry pauses are divided by it.
    pub speed_up: f64,
    /// Probability per task that the worker vanishes in the middle of it.
    pub vanish_rate: f64,
    /// Probability per task that the worker gives the task back in the middle of it.
    pub fail_rate: f64,
    /// Mean simulated seconds until a vanished worker is back, under a new key.
    pub return_seconds: f64,
    /// Upload a small game file after each task that isn't part of a tuning.
    pub upload_pgns: bool,
    /// Send `X-Forwarded-For`, one address per machine. The server must trust this host's address.
    pub forwarded_for: bool,
    /// What the machines are like.
    pub machines: MachineMix,
    /// Seed of games, machines and fates; keys are always fresh.
    pub seed: u64,
    /// Workers start spread over this many real seconds.
    pub ramp_seconds: f64,
    /// When to end.
    pub stop: StopCondition,
    /// Requests in flight at once, and connections kept.
    pub max_connections: usize,
    /// Cap on requests per real second.
    pub requests_per_second: Option<f64>,
    /// Time-out of one request, real seconds (a worker's is 30).
    pub timeout_seconds: f64,
    /// A report that meets no server is repeated at least this long in real time, so that an accelerated worker
    /// bridges a restart that a real one would bridge.
    pub min_bridge_seconds: f64,
    /// Real seconds between two looks at the runs.
    pub watch_seconds: f64,
    /// Give unfinished tasks back at the end, as an interrupted worker does.
    pub give_back: bool,
    /// Comparison of the books at the end.
    pub audit: AuditDepth,
    /// Real seconds that the books may take to come to rest.
    pub settle_seconds: f64,
    /// Where the JSON report goes.
    pub report_file: Option<PathBuf>,
}

impl SimulateOptions {
    /// A fleet of `workers` for one address and one account, in real time, without mishaps; everything else at its
    /// default.
    pub fn new(url: &str, workers: usize, username: &str, password: &str) -> Self {
        Self {
            urls: vec![url.to_owned()],
            workers,
            accounts: vec![Account { username: username.to_owned(), password: password.to_owned() }],
            games: GameParameters {
                elo: 2.0,
                draw_rate: 0.5,
                bias: 90.0,
                crash_rate: 0.0,
                time_loss_rate: 0.0,
            },
            speed_up: 1.0,
            vanish_rate: 0.0,
            fail_rate: 0.0,
            return_seconds: 300.0,
            upload_pgns: false,
            forwarded_for: false,
            machines: MachineMix::default(),
            seed: 1,
            ramp_seconds: 1.0,
            stop: StopCondition::default(),
            max_connections: 512,
            requests_per_second: None,
            timeout_seconds: 30.0,
            min_bridge_seconds: 60.0,
            watch_seconds: 2.0,
            give_back: true,
            audit: AuditDepth::Sample(500),
            settle_seconds: 15.0,
            report_file: None,
        }
    }

    /// Checks all values and builds the game model.
    ///
    /// # Errors
    /// Names the first value that can't be used.
    pub fn check(&self) -> Result<GameModel, OptionsError> {
        let invalid = |text: String| Err(OptionsError::Invalid(text));
        if self.urls.is_empty() {
            return invalid("no server address".to_owned());
        }
        for url in &self.urls {
            let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            if host.is_none_or(str::is_empty) {
                return invalid(format!("server address {url:?} is no http:// or https:// address"));
            }
        }
        if self.workers == 0 || self.workers > 1_000_000 {
            return invalid(format!("{} workers: 1 to 1000000 are possible", self.workers));
        }
        if self.accounts.is_empty() {
            return invalid("no account".to_owned());
        }
        if self.max_connections == 0 {
            return invalid("no connections allowed".to_owned());
        }
        for (name, value) in [("vanish rate", self.vanish_rate), ("fail rate", self.fail_rate)] {
            if !(0.0..=1.0).contains(&value) {
                return invalid(format!("the {name} is {value}, not a probability"));
            }
        }
        if self.vanish_rate + self.fail_rate > 1.0 {
            return invalid("vanish rate and fail rate add up to more than 1".to_owned());
        }
        let mut positive = vec![
            ("speed-up", self.speed_up),
            ("time-out", self.timeout_seconds),
            ("watch interval", self.watch_seconds),
        ];
        positive.extend(self.requests_per_second.map(|rate| ("request rate", rate)));
        for (name, value) in positive {
            if !(value > 0.0 && value <= 1e9) {
                return invalid(format!("the {name} is {value}, which must be positive"));
            }
        }
        let mut waits = vec![
            ("return time", self.return_seconds),
            ("ramp", self.ramp_seconds),
            ("bridge time", self.min_bridge_seconds),
            ("settle time", self.settle_seconds),
        ];
        waits.extend(self.stop.max_seconds.map(|seconds| ("duration", seconds)));
        for (name, value) in waits {
            if !(0.0..=1e9).contains(&value) {
                return invalid(format!("the {name} is {value} seconds, which is out of range"));
            }
        }
        self.machines.check()?;
        Ok(GameModel::new(self.games)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> SimulateOptions {
        SimulateOptions::new("http://localhost:6543", 3, "fisher", "secret")
    }

    #[test]
    fn defaults_are_usable_and_hide_the_password() {
        options().check().unwrap();
        SimulateOptions::new("https://farm.example", 3, "fisher", "secret").check().unwrap();
        assert!(!format!("{:?}", options()).contains("secret"));
    }

    #[test]
    fn unusable_values_are_named() {
        let message = |change: fn(&mut SimulateOptions)| {
            let mut changed = options();
            change(&mut changed);
            changed.check().unwrap_err().to_string()
        };
        for wrong in ["localhost", "ftp://localhost", "https://", "http://"] {
            let mut changed = options();
            changed.urls = vec![wrong.to_owned()];
            assert!(changed.check().unwrap_err().to_string().contains(wrong), "{wrong}");
        }
        assert!(message(|o| o.workers = 0).contains("workers"));
        assert!(message(|o| o.accounts.clear()).contains("account"));
        assert!(message(|o| o.speed_up = 0.0).contains("speed-up"));
        assert!(message(|o| o.speed_up = f64::NAN).contains("speed-up"));
        assert!(message(|o| o.vanish_rate = 1.5).contains("vanish rate"));
        assert!(message(|o| o.games.draw_rate = 2.0).contains("draw rate"));
        assert!(message(|o| o.stop.max_seconds = Some(-1.0)).contains("duration"));
    }
}

//! The fleet of a drill: how large, how fast, and what has to be true of it in the end.

use std::path::Path;
use std::time::Duration;

use shoal::simulate::SimulateOptions;
use shoal::simulate::options::{AuditDepth, StopCondition};
use shoal::simulate::report::{EndedBy, Report};

use super::server::run;

/// What `SHOAL_LONG=1` makes larger.
pub struct Sizes {
    /// Workers of a farm on a file.
    pub workers: usize,
    /// Workers of a farm on MongoDB's protocol.
    pub workers_on_mongodb: usize,
    /// Kills of a server on a file.
    pub kills: usize,
    /// Kills of a server on MongoDB's protocol.
    pub kills_on_mongodb: usize,
    /// Kills of its database server meanwhile.
    pub kills_of_store: usize,
    /// For so long a database server is away.
    pub absence: Duration,
    /// Between two kills, and before the first.
    pub between: Duration,
    /// Nearer to the middle of the bounds, a decision takes more games.
    elo: f64,
    speed_up: f64,
}

/// See [`Sizes`].
pub fn sizes() -> Sizes {
    if std::env::var_os("SHOAL_LONG").is_none() {
        return Sizes {
            workers: 60,
            workers_on_mongodb: 40,
            kills: 3,
            kills_on_mongodb: 2,
            kills_of_store: 1,
            absence: Duration::from_secs(4),
            between: Duration::from_millis(1500),
            elo: 20.0,
            speed_up: 60.0,
        };
    }
    Sizes {
        workers: 1000,
        workers_on_mongodb: 2000,
        kills: 10,
        kills_on_mongodb: 20,
        kills_of_store: 5,
        absence: Duration::from_secs(60),
        between: Duration::from_secs(4),
        elo: 1.5,
        speed_up: 20.0,
    }
}

/// A fleet on a run that takes its time, until the run is decided.
pub fn fleet(url: &str, workers: usize, run: &str) -> SimulateOptions {
    let Sizes { elo, speed_up, .. } = sizes();
    let mut options = SimulateOptions::new(url, workers, "volunteer", "secret");
    options.games.elo = elo;
    options.speed_up = speed_up;
    options.forwarded_for = true;
    options.vanish_rate = 0.01;
    options.fail_rate = 0.01;
    options.audit = AuditDepth::All;
    options.stop =
        StopCondition { run_finished: Some(run.to_owned()), max_seconds: Some(900.0), ..Default::default() };
    options
}

/// The fleet saw nothing wrong, what it was acknowledged is what the store has, and the run is over.
pub fn judge(data: &Path, id: &str, report: &Report) {
    eprintln!("{}", report.summary());
    assert!(report.broken().is_empty(), "{:#?}", report.broken_details);
    assert_eq!(report.ended_by, EndedBy::RunFinished, "{}", report.summary());
    assert!(report.audits.iter().all(|audit| audit.looked_at > 0), "not audited: {}", report.summary());
    let shown: serde_json::Value = serde_json::from_str(&run(data, &["run", "show", id])).unwrap();
    assert_eq!(shown["finished"], true);
    assert_eq!(shown["workers"], 0);
}

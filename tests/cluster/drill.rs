//! What all drills have in common: a fleet at work on a run, and the judgement in the end.

use std::time::Duration;

use shoal::simulate::audit::AuditOutcome;
use shoal::simulate::report::{EndedBy, Report, Silent};
use shoal::simulate::{SimulateError, SimulateOptions, run_observed};
use shoal::sys::spawn;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::farm::Farm;
use super::prober::Prober;
use crate::drills::{self, accounts, approved_run, run, undecided_run};

/// What `SHOAL_LONG=1` makes larger.
pub struct Scale {
    pub replicas: usize,
    workers: usize,
    speed_up: f64,
    /// A difference between the engines that is found soon enough.
    clear: f64,
    /// Random kills between two of the leader, leaders killed, and the pause between two kills.
    pub kills: usize,
    pub leaders_killed: usize,
    pub between: Duration,
    /// How often Redis loses everything under load.
    pub flushes: usize,
}

/// In the long form, the workers begin within so many seconds.
const RAMP_SECONDS: f64 = 20.0;

pub fn long() -> bool {
    std::env::var_os("SHOAL_LONG").is_some()
}

/// See [`Scale`].
pub fn scale() -> Scale {
    if long() {
        return Scale {
            replicas: 4,
            workers: 5000,
            speed_up: 2.0,
            clear: 4.0,
            kills: 3,
            leaders_killed: 5,
            between: Duration::from_secs(4),
            flushes: 50,
        };
    }
    Scale {
        replicas: 2,
        workers: 100,
        speed_up: 60.0,
        clear: 20.0,
        kills: 1,
        leaders_killed: 1,
        between: Duration::from_millis(2500),
        flushes: 3,
    }
}

/// A farm with a fleet at work.
pub struct Drill {
    pub farm: Farm,
    /// The run that is played.
    pub id: String,
    pub prober: Prober,
    interrupt: Option<oneshot::Sender<()>>,
    playing: JoinHandle<Result<Report, SimulateError>>,
}

/// Whether the run comes to its end by itself, soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engines {
    /// It does.
    Differ,
    /// Nothing decides it: it takes all its games, unless somebody stops it.
    AreClose,
}

impl Drill {
    /// Starts replicas over a Redis, and a fleet that keeps its tasks when it is told to end. None where something that
    /// it takes is left out.
    pub async fn start(name: &str, redis_url: &str, replicas: usize, engines: Engines) -> Option<Self> {
        let mut farm = Farm::start(replicas, redis_url).await?;
        farm.keep_if_asked();
        let desk = farm.desk();
        accounts(&desk);
        run(&desk, &["user", "add", "prober"]);
        let id = match engines {
            Engines::Differ => approved_run(&desk, name),
            Engines::AreClose => undecided_run(&desk, name),
        };
        let (interrupt, interrupted) = oneshot::channel();
        let options = fleet(&farm.url(), &id, engines);
        let playing = spawn::task("fleet", async move {
            let interrupted = async { drop(interrupted.await) };
            run_observed(options, interrupted, &mut Silent).await
        });
        let prober = Prober::start(&farm.url(), "prober", "secret");
        prober.served_at_all().await;
        if long() {
            // Trouble meets a fleet that is whole, and reports that are under way.
            tokio::time::sleep(Duration::from_secs_f64(RAMP_SECONDS) + Duration::from_secs(20)).await;
        }
        Some(Self { farm, id, prober, interrupt: Some(interrupt), playing })
    }

    /// Brings the end of the run about, and judges everything.
    pub async fn finish(mut self) -> Report {
        run(&self.farm.desk(), &["run", "stop", &self.id, "--by", "author"]);
        self.finish_by_itself().await.1
    }

    /// The same, for a run that ends by itself.
    pub async fn finish_by_itself(mut self) -> (Farm, Report) {
        let report = self.playing.await.unwrap().unwrap();
        self.prober.finish();
        drills::judge(&self.farm.desk(), &self.id, &report);
        self.farm.assert_openings_disjoint(0, &self.id).await;
        self.farm.assert_unbroken().await;
        (self.farm, report)
    }

    /// Tells the fleet to end, which leaves everything as it is: tasks are active and the run goes on.
    pub fn interrupt(&mut self) {
        self.prober.finish();
        drop(self.interrupt.take());
    }

    /// After that: nothing that the fleet was told may be broken.
    pub async fn frozen(self) -> (Farm, String) {
        let report = self.playing.await.unwrap().unwrap();
        eprintln!("{}", report.summary());
        assert!(report.broken().is_empty(), "{:#?}", report.broken_details);
        assert_eq!(report.ended_by, EndedBy::Interrupt);
        assert!(!report.audits.is_empty(), "not audited: {}", report.summary());
        assert!(
            report.audits.iter().all(|audit| audit.outcome == AuditOutcome::Agrees),
            "{:?}",
            report.audits
        );
        self.farm.assert_openings_disjoint(0, &self.id).await;
        self.farm.assert_unbroken().await;
        (self.farm, self.id)
    }
}

fn fleet(url: &str, id: &str, engines: Engines) -> SimulateOptions {
    let Scale { workers, speed_up, clear, .. } = scale();
    let mut options = drills::fleet(url, workers, id);
    options.speed_up = speed_up;
    options.games.elo = if engines == Engines::Differ { clear } else { 1.0 };
    options.give_back = false;
    options.settle_seconds = 30.0;
    options.ramp_seconds = if long() { RAMP_SECONDS } else { 1.0 };
    options.max_connections = if long() { 2048 } else { 256 };
    options.stop.max_seconds = Some(if long() { 1800.0 } else { 300.0 });
    options
}

/// Everybody's turn, one after the other, for as long as the value lives.
pub async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    drills::turn().await
}

//! Periodic work, done by the leader alone (`spec/scheduling.md` section 10).
//!
//! One task runs the jobs one after the other. Every due time gets a uniform offset of up to 5 % of the period; a job
//! that was late doesn't catch up in a burst. A job that fails is logged and tried again at its next time. Jobs that
//! wait for servers of others run in the [`background`].

pub mod background;
pub mod jobs;
pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::background::Background;
use self::jobs::Job;
use self::plan::Plan;
use crate::domain::ids::Token;
use crate::service::Farm;
use crate::state::{LeaseName, LeaseOutcome};
use crate::sys::{random, spawn};

/// A leader that doesn't renew for this long is replaced.
const LEASE: Duration = Duration::from_secs(15);

/// How often leadership is asked for or renewed.
const RENEW: Duration = Duration::from_secs(4);

/// How finely due times are looked at.
const TICK: Duration = Duration::from_millis(200);

/// A gap between ticks beyond this means that the process, or the machine, was asleep.
const SLEPT: Duration = Duration::from_secs(30);

/// For so long after leadership began, or a sleep ended, no task is declared dead (`durability.md` section 11).
const MERCY: Duration = Duration::from_secs(150);

/// The state of being leader, as jobs see it.
#[derive(Debug, Clone, Copy)]
pub struct Leadership {
    /// What scripts check.
    pub token: Token,
    /// Until when, by the monotonic clock, nobody is declared dead.
    pub mercy_until: Duration,
}

/// Starts the scheduler; it stops, and hands over, when `stop` turns true.
pub fn start(farm: Arc<Farm>, stop: watch::Receiver<bool>) -> tokio::task::JoinHandle<()> {
    spawn::task("scheduler", run(farm, stop))
}

async fn run(farm: Arc<Farm>, mut stop: watch::Receiver<bool>) {
    let mut plan = Plan::new(&Job::ALL, farm.clock.monotonic(), random::rng());
    let mut leadership: Option<Leadership> = None;
    let mut renew_at = Duration::ZERO;
    let mut last_tick = farm.clock.monotonic();
    let mut background = Background::default();
    while !*stop.borrow() {
        let now = farm.clock.monotonic();
        let slept = now.saturating_sub(last_tick) > SLEPT;
        last_tick = now;
        if now >= renew_at {
            leadership = lead(&farm, leadership, now).await;
            renew_at = now + RENEW;
        }
        if slept && let Some(leadership) = &mut leadership {
            tracing::warn!("the scheduler was asleep; nobody is declared dead for a while");
            leadership.mercy_until = now + MERCY;
        }
        if let Some(leadership) = &leadership {
            while let Some(job) = plan.next_due(farm.clock.monotonic()) {
                if !job.in_background() {
                    carry_out(job, &farm, leadership).await;
                } else if !background.start(job, &farm, *leadership) {
                    tracing::debug!(job = job.name(), "a periodic job is still running");
                }
                plan.done(job, farm.clock.monotonic());
                if *stop.borrow() || farm.clock.monotonic() >= renew_at {
                    break;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            changed = stop.changed() => if changed.is_err() { break },
        }
    }
    if let Some(leadership) = leadership {
        let released = farm.state.lease_release(LeaseName::Leader, leadership.token).await;
        tracing::info!(released = ?released, "leadership handed over");
    }
}

/// Does a job once, and notes how that went.
async fn carry_out(job: Job, farm: &Farm, leadership: &Leadership) {
    let began = crate::sys::clock::stopwatch();
    if let Err(error) = job.run(farm, leadership).await {
        metrics::counter!("shoal_job_failures_total", "job" => job.name()).increment(1);
        tracing::error!(job = job.name(), %error, "a periodic job failed");
    }
    metrics::histogram!("shoal_job_seconds", "job" => job.name()).record(began.elapsed().as_secs_f64());
}

/// Asks for, or renews, leadership.
async fn lead(farm: &Farm, held: Option<Leadership>, now: Duration) -> Option<Leadership> {
    if let Some(leadership) = held
        && matches!(farm.state.lease_renew(LeaseName::Leader, leadership.token, LEASE).await, Ok(true))
    {
        return held;
    }
    match farm.state.lease_acquire(LeaseName::Leader, &farm.identity, LEASE, farm.generation()).await {
        Ok(LeaseOutcome::Held(token)) => {
            tracing::info!(counter = token.counter, "this process leads");
            Some(Leadership { token, mercy_until: now + MERCY })
        }
        Ok(LeaseOutcome::Taken(_)) => None,
        Err(error) => {
            tracing::warn!(%error, "leadership could not be asked for");
            None
        }
    }
}

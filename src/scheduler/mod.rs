//! Periodic work, done by the leader alone (`spec/scheduling.md` section 10).
//!
//! One task runs the jobs one after the other. Every due time gets a uniform offset of up to 5 % of the period; a job
//! that was late doesn't catch up in a burst. A job that fails is logged and tried again at its next time. Jobs that
//! wait for servers of others run in the [`background`]. Every job stops where it stands when leadership ends
//! ([`election`](crate::service::election)).

pub mod background;
pub mod jobs;
pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::Instrument;

use self::background::Background;
use self::jobs::Job;
use self::plan::Plan;
use crate::service::election::Leadership;
use crate::service::{Farm, ServiceError};
use crate::sys::{random, spawn};
use crate::telemetry::catalogue;
use crate::telemetry::otlp::TARGET;

/// How finely due times are looked at.
const TICK: Duration = Duration::from_millis(200);

/// A gap between ticks beyond this means that the process, or the machine, was asleep.
const SLEPT: Duration = Duration::from_secs(30);

/// Starts the scheduler, and standing for leadership; it stops, and hands over, when `stop` turns true.
pub fn start(farm: Arc<Farm>, stop: watch::Receiver<bool>) -> tokio::task::JoinHandle<()> {
    spawn::task("scheduler", run(farm, stop))
}

async fn run(farm: Arc<Farm>, mut stop: watch::Receiver<bool>) {
    let standing = {
        let (farm, stop) = (farm.clone(), stop.clone());
        // Beside the jobs: a long one must not keep the lease from being renewed.
        spawn::task("election", async move { farm.keep_standing(stop).await })
    };
    let mut plan = Plan::new(&Job::ALL, farm.clock.monotonic(), random::rng());
    let mut last_tick = farm.clock.monotonic();
    let mut background = Background::default();
    while !*stop.borrow() {
        let now = farm.clock.monotonic();
        let slept = now.saturating_sub(last_tick) > SLEPT;
        last_tick = now;
        if let Some(leadership) = farm.leadership() {
            if slept {
                tracing::warn!("the scheduler was asleep; nobody is declared dead for a while");
                leadership.have_mercy();
            }
            while let Some(job) = plan.next_due(farm.clock.monotonic()) {
                if *stop.borrow() || !leadership.holds() {
                    break;
                }
                if !job.in_background() {
                    carry_out(job, &farm, &leadership).await;
                } else if !background.start(job, &farm, &leadership) {
                    tracing::debug!(job = job.name(), "a periodic job is still running");
                }
                plan.done(job, farm.clock.monotonic());
                // However long the jobs take together, they are not a sleep.
                last_tick = farm.clock.monotonic();
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            changed = stop.changed() => if changed.is_err() { break },
        }
    }
    // Nothing of a leader's may go on once another can lead.
    background.give_up().await;
    farm.step_down().await;
    drop(standing.await);
}

/// Does a job once, and notes how that went.
async fn carry_out(job: Job, farm: &Farm, leadership: &Leadership) {
    let began = crate::sys::clock::stopwatch();
    let span = tracing::trace_span!(target: TARGET, "job", job = job.name());
    let done = leadership.during(job.run(farm, leadership)).instrument(span).await;
    catalogue::JOB_SECONDS.record([job.name()], began.elapsed().as_secs_f64());
    if done.is_ok() {
        catalogue::JOB_SUCCESS.set([job.name()], farm.now().0 as f64 / 1000.0);
    }
    if let Err(error) = done {
        catalogue::JOB_FAILURES.increment([job.name()]);
        match &error {
            ServiceError::Superseded(_) => {
                tracing::warn!(job = job.name(), %error, "a periodic job stopped");
                farm.note_end(leadership);
            }
            ServiceError::Outdated(_) => {
                tracing::info!(job = job.name(), %error, "a periodic job waits for the schedule");
                farm.note_trouble(&error);
            }
            _ => tracing::error!(job = job.name(), %error, "a periodic job failed"),
        }
    }
}

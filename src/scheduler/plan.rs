//! When which job is due: pure, driven by readings that are passed in.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use super::jobs::Job;

/// Offset of a due time, as a share of the period, in either direction.
const JITTER: f64 = 0.05;

/// Due times of all jobs.
#[derive(Debug)]
pub struct Plan {
    entries: Vec<(Job, Duration)>,
    rng: StdRng,
}

impl Plan {
    /// First due times: the start, the initial delay, and an offset.
    pub fn new(jobs: &[Job], now: Duration, mut rng: StdRng) -> Self {
        let entries =
            jobs.iter().map(|job| (*job, offset(now + job.initial_delay(), *job, &mut rng))).collect();
        Self { entries, rng }
    }

    /// The job that has been due for longest, if any is.
    pub fn next_due(&self, now: Duration) -> Option<Job> {
        let due = self.entries.iter().filter(|(_, due)| *due <= now);
        due.min_by_key(|(_, due)| *due).map(|(job, _)| *job)
    }

    /// Plans a job's next time after a run: a period after the last one was due, at least its minimal delay from now.
    pub fn done(&mut self, job: Job, now: Duration) {
        for (entry, due) in &mut self.entries {
            if *entry == job {
                let next = (*due + job.period()).max(now + job.min_delay());
                *due = offset(next, job, &mut self.rng);
            }
        }
    }
}

fn offset(due: Duration, job: Job, rng: &mut StdRng) -> Duration {
    let share = rng.random_range(-JITTER..=JITTER);
    let shifted = due.as_secs_f64() + share * job.period().as_secs_f64();
    Duration::from_secs_f64(shifted.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::random::seeded;

    #[test]
    fn a_job_comes_once_a_period_within_the_jitter() {
        let mut plan = Plan::new(&[Job::Scavenge], Duration::ZERO, seeded(1));
        let mut runs = Vec::new();
        for second in 0..3600 {
            let now = Duration::from_secs(second);
            if let Some(job) = plan.next_due(now) {
                runs.push(second);
                plan.done(job, now);
            }
        }
        assert!((56..=62).contains(&runs.len()), "{} runs in an hour", runs.len());
        for pair in runs.windows(2) {
            assert!((52..=68).contains(&(pair[1] - pair[0])), "{pair:?}");
        }
    }

    #[test]
    fn a_late_job_does_not_catch_up_in_a_burst() {
        let mut plan = Plan::new(&[Job::Scavenge], Duration::ZERO, seeded(2));
        let late = Duration::from_secs(3600);
        assert_eq!(plan.next_due(late), Some(Job::Scavenge));
        plan.done(Job::Scavenge, late);
        // One run is made up for at most.
        let soon = late + Duration::from_secs(4);
        if plan.next_due(soon).is_some() {
            plan.done(Job::Scavenge, soon);
        }
        assert_eq!(plan.next_due(soon + Duration::from_secs(1)), None);
    }
}

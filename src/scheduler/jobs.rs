//! The periodic jobs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bson::{Bson, Document};
use rand::Rng;

use crate::domain::action::{Action, CloseCause, CloseKind};
use crate::domain::capacity::{Throughput, calc_itp, games_per_minute_summand, nps_summand};
use crate::domain::fold::Record;
use crate::domain::ids::Millis;
use crate::domain::run::Phase;
use crate::service::documents::closing_ids;
use crate::service::election::Leadership;
use crate::service::run_cache::CachedRun;
use crate::service::validation::note_violation;
use crate::service::{Farm, ServiceResult};
use crate::state::{CloseOutcome, CloseTask, CloseWhy, RunView, SeenView, SetRunFields};
use crate::store::codec::as_number;
use crate::sys::random;
use crate::telemetry::catalogue;

/// A task without a sign of life for longer than this is dead, ms.
const DEAD_AFTER: i64 = 360_000;

/// Dead tasks closed in one go.
const DEAD_LIMIT: usize = 1000;

/// The jobs, with the periods of `spec/scheduling.md` section 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Job {
    /// Counters and records of running runs to the store; what the committer left, too.
    Flush,
    /// What is in the store but did not arrive in the schedule.
    Reconcile,
    /// An operator's pause is kept up.
    Pause,
    /// Close dead tasks.
    Scavenge,
    /// Tell how the farm is, for metrics.
    Gauges,
    /// Internal throughput of unfinished runs.
    Itp,
    /// Nodes per second and games per minute.
    Speed,
    /// Recompute a random run (I14), count differences.
    Audit,
    /// Drop dead entries of the worker map; bring in blocks that did not arrive.
    Clean,
    /// Keep a copy of what workers have seen.
    Seen,
    /// Check a random run's document against the rules of stored documents.
    Validate,
    /// Check the schedule's tables against one another.
    Structures,
    /// Take over the table of opening books.
    Books,
    /// Take over the commit of the official master branch.
    Master,
    /// Delete games that have outlived their time.
    Retention,
}

impl Job {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Flush,
        Self::Reconcile,
        Self::Pause,
        Self::Scavenge,
        Self::Gauges,
        Self::Itp,
        Self::Speed,
        Self::Audit,
        Self::Clean,
        Self::Seen,
        Self::Validate,
        Self::Structures,
        Self::Books,
        Self::Master,
        Self::Retention,
    ];

    /// For logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Reconcile => "reconcile",
            Self::Pause => "pause",
            Self::Scavenge => "scavenge",
            Self::Gauges => "gauges",
            Self::Itp => "itp",
            Self::Speed => "speed",
            Self::Audit => "audit",
            Self::Clean => "clean",
            Self::Seen => "seen",
            Self::Validate => "validate",
            Self::Structures => "structures",
            Self::Books => "books",
            Self::Master => "master",
            Self::Retention => "retention",
        }
    }

    /// Time between runs.
    pub fn period(self) -> Duration {
        Duration::from_secs(match self {
            Self::Flush => 1,
            Self::Reconcile => 2,
            Self::Pause | Self::Gauges => 5,
            Self::Scavenge | Self::Itp | Self::Speed | Self::Audit => 60,
            Self::Clean | Self::Validate => 180,
            Self::Seen => 300,
            Self::Structures | Self::Books | Self::Master => 900,
            Self::Retention => 86_400,
        })
    }

    /// Time before the first run.
    pub fn initial_delay(self) -> Duration {
        match self {
            // New weights and speeds at once: they are derived, and a restart forgot nothing else.
            // A pause may have to be renewed at once, too.
            Self::Itp | Self::Speed | Self::Pause | Self::Gauges => Duration::ZERO,
            Self::Flush => Duration::from_secs(1),
            Self::Reconcile => Duration::from_secs(2),
            Self::Scavenge
            | Self::Audit
            | Self::Clean
            | Self::Seen
            | Self::Validate
            | Self::Structures
            | Self::Books
            | Self::Master => Duration::from_secs(60),
            // Not among the first things after a start.
            Self::Retention => Duration::from_secs(600),
        }
    }

    /// Time between the end of a run and the next one, at least.
    pub fn min_delay(self) -> Duration {
        match self {
            Self::Flush => Duration::from_secs(1),
            _ => Duration::ZERO,
        }
    }

    /// Whether it waits for servers of others, or takes long, and so must not keep the other jobs.
    pub fn in_background(self) -> bool {
        matches!(self, Self::Books | Self::Master | Self::Retention)
    }

    /// Does the job once.
    pub async fn run(self, farm: &Farm, leadership: &Leadership) -> ServiceResult<()> {
        if !farm.is_ready() {
            return Ok(());
        }
        match self {
            Self::Flush => {
                farm.sweep().await?;
                farm.take_up_sagas().await?;
                farm.flush_runs().await?;
            }
            Self::Reconcile => farm.reconcile().await?,
            Self::Pause => farm.keep_pause().await?,
            Self::Scavenge => farm.scavenge(leadership).await?,
            Self::Gauges => farm.tell_gauges(leadership).await?,
            Self::Itp => farm.update_itp(leadership).await?,
            Self::Speed => farm.update_speed(leadership).await?,
            Self::Audit => farm.audit_random_run().await?,
            Self::Clean => {
                farm.mirror_blocks().await?;
                farm.state.clean(leadership.token).await?;
            }
            Self::Seen => farm.keep_seen().await?,
            Self::Validate => farm.validate_random_run().await?,
            Self::Structures => farm.validate_structures().await?,
            Self::Books => farm.refresh_books().await?,
            Self::Master => farm.refresh_official_master().await?,
            Self::Retention => {
                farm.expire_games().await?;
            }
        }
        Ok(())
    }
}

impl Farm {
    /// Closes tasks without a sign of life (`dead_task`), unless nobody could have given one.
    pub async fn scavenge(&self, leadership: &Leadership) -> ServiceResult<()> {
        let now = self.state.now().await?;
        leadership.compare_clocks(now);
        if !leadership.may_bury() {
            return Ok(());
        }
        // Dead is who was silent for longer than that, not for as long.
        let cutoff = Millis(now.0 - DEAD_AFTER - 1);
        for key in self.state.find_dead(cutoff, DEAD_LIMIT).await? {
            leadership.check()?;
            let cause =
                CloseCause { kind: CloseKind::Dead, message: String::new(), time: now, ids: closing_ids() };
            let why = CloseWhy::Dead { cutoff, token: leadership.token, cause };
            let close = CloseTask { key, why, write_id: random::write_id() };
            if let CloseOutcome::Done(task) = self.state.close_task(self.generation(), close).await? {
                catalogue::TASKS_ENDED.increment(["dead"]);
                tracing::info!(run = %key.run, task = %key.task, "dead task");
                self.committer.write_all(self.barrier(&[&task]).await?).await?;
            }
        }
        Ok(())
    }

    async fn live_runs(&self) -> ServiceResult<Vec<(RunView, Arc<CachedRun>)>> {
        let mut runs = Vec::new();
        for view in self.state.read_runs().await? {
            if view.phase != Phase::Running {
                continue;
            }
            if let Some(run) = self.runs.at_least(view.id, view.args_version).await? {
                runs.push((view, run));
            }
        }
        Ok(runs)
    }

    /// Recomputes the internal throughput of every unfinished run.
    pub async fn update_itp(&self, leadership: &Leadership) -> ServiceResult<()> {
        let runs = self.live_runs().await?;
        let mut active: HashMap<&str, u64> = HashMap::new();
        for (view, run) in &runs {
            if view.counters.workers > 0 {
                *active.entry(&run.owner).or_default() += 1;
            }
        }
        for (view, run) in &runs {
            let sprt = match Record::parse(&view.record)? {
                Record::Sprt { sprt, .. } => Some((sprt.llr, sprt.elo0)),
                Record::Games | Record::Spsa(_) => None,
            };
            let itp = calc_itp(&Throughput {
                throughput: run.throughput,
                tc_ratio: run.tc_ratio,
                games: view.counters.results.games(),
                active_runs_of_user: active.get(run.owner.as_str()).copied().unwrap_or(0),
                sprt,
            });
            leadership.check()?;
            let leader = Some(leadership.token);
            let fields = SetRunFields { run: view.id, args: None, itp: Some(itp), speed: None, leader };
            self.state.set_run_fields(self.generation(), fields).await?;
        }
        Ok(())
    }

    /// Recomputes nodes per second and games per minute of every unfinished run.
    pub async fn update_speed(&self, leadership: &Leadership) -> ServiceResult<()> {
        for (view, run) in self.live_runs().await? {
            leadership.check()?;
            let (mut nps, mut games_per_minute) = (0.0, 0.0);
            for task in self.state.read_tasks(view.id).await? {
                let Some(worker) = task.record.worker.as_ref().filter(|_| task.record.active) else {
                    continue;
                };
                let speed = as_number(task.record.worker_info.get("nps")).unwrap_or(0.0);
                nps += nps_summand(speed, worker.concurrency);
                games_per_minute +=
                    games_per_minute_summand(speed, run.game_seconds, worker.concurrency, run.facts.threads);
            }
            let speed = Some((nps, games_per_minute));
            let leader = Some(leadership.token);
            let fields = SetRunFields { run: view.id, args: None, itp: None, speed, leader };
            self.state.set_run_fields(self.generation(), fields).await?;
        }
        Ok(())
    }

    /// Recomputes one random run and counts what differs; never repairs silently.
    pub async fn audit_random_run(&self) -> ServiceResult<()> {
        let runs = self.state.read_runs().await?;
        if runs.is_empty() {
            return Ok(());
        }
        let chosen = random::rng().random_range(0..runs.len());
        let Some(view) = runs.get(chosen) else { return Ok(()) };
        let wrong = self.state.audit(view.id).await?;
        let mut entries = Vec::new();
        for what in wrong {
            note_violation(&what);
            tracing::error!(run = %view.id, what, "an invariant is broken");
            entries
                .push(Action::log_message(format!("The run object {} does not validate: {what}", view.id)));
        }
        self.log(&entries).await
    }

    /// Copies what workers have seen to the store (`spec/storage.md` section 10, `worker_runs`).
    pub async fn keep_seen(&self) -> ServiceResult<()> {
        let seen = self.state.read_seen().await?;
        let table: Document = seen.into_iter().map(seen_entry).collect();
        Ok(self.store.put_kv("worker_runs", &Bson::Document(table)).await?)
    }
}

fn seen_entry(seen: SeenView) -> (String, Bson) {
    let mut runs: Document = seen.runs.iter().map(|run| (run.to_string(), Bson::Boolean(true))).collect();
    runs.insert("last_run", seen.last_run.to_string());
    (seen.worker.0, Bson::Document(runs))
}

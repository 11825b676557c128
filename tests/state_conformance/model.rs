//! A model that knows only the answers: after every step all aggregates are recomputed from the tasks that were answered with
//! (I1, I2, I4, I5, I12, I13, I14, I20, `spec/scheduling.md` section 13).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use shoal::domain::ids::*;
use shoal::domain::results::Stats;
use shoal::domain::run::{Counters, Phase, RunKind, RunOperation};
use shoal::domain::task::{TaskRecord, TaskWorker};
use shoal::state::*;
use shoal::sys::random;

use super::fixture::*;
use super::random_histories::{Report, Step};

const LIMIT: u32 = 2;
const KINDS: [RunKind; 3] = [RunKind::Games, RunKind::Sprt { batch_size: 2 }, RunKind::Spsa { params: 1 }];

/// What the answers have told so far.
pub struct Model {
    f: Fixture,
    runs: Vec<RunId>,
    kinds: HashMap<RunId, RunKind>,
    num_games: HashMap<RunId, u64>,
    args_version: u64,
    operations: HashMap<RunId, RunOperation>,
    /// The latest of every task that was answered with.
    tasks: BTreeMap<TaskKey, Arc<TaskRecord>>,
    bodies: HashMap<TaskKey, Vec<Stats>>,
    /// Who asked last with which task.
    mine: HashMap<usize, TaskKey>,
    games_seen: HashMap<RunId, u64>,
    token: Token,
}

/// Eight machines at three addresses; two and two of them have the same name with different keys.
fn machine(n: usize) -> TaskWorker {
    let mut worker = worker((n % 6) as u32, n as u32);
    worker.remote_addr = format!("10.0.0.{}", n % 3);
    worker
}

impl Model {
    /// Over a schedule with a run of each kind.
    pub async fn new(f: Fixture) -> Self {
        let mut runs = Vec::new();
        let (mut kinds, mut num_games) = (HashMap::new(), HashMap::new());
        for kind in KINDS {
            let run = f.run(kind, 600).await;
            runs.push(run);
            kinds.insert(run, kind);
            num_games.insert(run, 600);
        }
        let token = f.leader().await;
        Self {
            f,
            runs,
            kinds,
            num_games,
            args_version: 1,
            operations: HashMap::new(),
            tasks: BTreeMap::new(),
            bodies: HashMap::new(),
            mine: HashMap::new(),
            games_seen: HashMap::new(),
            token,
        }
    }

    /// Takes note of a task as it was answered with.
    fn learn(&mut self, view: &TaskView) {
        let record = &view.record;
        if let Some(before) = self.tasks.get(&record.key) {
            assert!(record.version >= before.version, "versions only increase");
            assert!(record.stats.games() >= before.stats.games(), "I5");
            assert!(before.active || !record.active, "a closed task stays closed");
            assert_eq!((record.num_games, record.start), (before.num_games, before.start));
        }
        self.tasks.insert(record.key, record.clone());
    }

    fn live(&self, key: TaskKey, phases: &HashMap<RunId, Phase>) -> bool {
        self.tasks[&key].active && phases.get(&key.run) == Some(&Phase::Running)
    }

    async fn phases(&self) -> HashMap<RunId, Phase> {
        let views = self.f.state.read_runs().await.unwrap();
        views.into_iter().map(|view| (view.id, view.phase)).collect()
    }

    /// Does a step; the answer must be one that what is known allows.
    pub async fn step(&mut self, step: Step) {
        let phases = self.phases().await;
        match step {
            Step::Admit { who } => {
                let worker = machine(who);
                let request = Admission { machine_limit: LIMIT, ..admission(&worker, &worker.unique_key) };
                self.f.state.semaphore_acquire(request).await.unwrap();
            }
            Step::Claim { who, run, cap } => self.claim(who, self.runs[run], cap, &phases).await,
            Step::Report { who, what } => self.report(who, what, &phases).await,
            Step::Beat { who } => {
                let Some(key) = self.mine.get(&who).copied() else { return };
                match self.f.state.beat(G, &caller(key, &machine(who))).await.unwrap() {
                    BeatOutcome::Alive(alive) => assert_eq!(alive, self.live(key, &phases)),
                    BeatOutcome::Absent(absent) => self.absent(key, &absent),
                }
            }
            Step::GiveUp { who } => {
                let Some(key) = self.mine.get(&who).copied() else { return };
                let alive = self.live(key, &phases);
                match self.f.give_up(key, &machine(who)).await {
                    CloseOutcome::Done(task) => {
                        assert!(alive && !task.record.active);
                        self.learn(&task);
                    }
                    CloseOutcome::Inactive(task) => {
                        assert!(!alive);
                        self.learn(&task);
                    }
                    CloseOutcome::Absent(absent) => self.absent(key, &absent),
                    CloseOutcome::StillAlive => panic!("nobody asked for the dead"),
                }
            }
            Step::Round { who } => {
                let Some(key) = self.mine.get(&who).copied() else { return };
                if !matches!(self.kinds[&key.run], RunKind::Spsa { .. }) {
                    return;
                }
                let who = caller(key, &machine(who));
                let begin = BeginSpsa { who, round: round(1), write_id: random::write_id() };
                match self.f.state.begin_spsa(G, begin).await.unwrap() {
                    CloseOutcome::Done(task) => {
                        assert!(self.live(key, &phases));
                        self.learn(&task);
                    }
                    CloseOutcome::Inactive(_) => assert!(!self.live(key, &phases)),
                    CloseOutcome::Absent(absent) => self.absent(key, &absent),
                    CloseOutcome::StillAlive => panic!("nobody asked for the dead"),
                }
            }
            Step::Advance { ms } => self.f.clock.advance(ms),
            Step::Scavenge { leader } => self.scavenge(leader).await,
            Step::Ack { which } => self.ack(which).await,
            Step::Fold { run } => self.fold(self.runs[run]).await,
            Step::Resize { run, num_games } => {
                self.args_version += 1;
                let run = self.runs[run];
                let args = ArgsFields { version: self.args_version, num_games, priority: 0 };
                let fields = SetRunFields { run, args: Some(args), itp: None, speed: None, leader: None };
                if self.f.state.set_run_fields(G, fields).await.unwrap() {
                    self.num_games.insert(run, num_games);
                }
            }
            Step::Finish { run } => {
                let run = self.runs[run];
                let operation = operation();
                match self.f.phase(run, Phase::Running, Phase::Finishing, &operation).await {
                    PhaseOutcome::Changed(_) => {
                        assert_eq!(phases[&run], Phase::Running);
                        self.operations.insert(run, operation);
                    }
                    PhaseOutcome::Refused(_) => assert_ne!(phases[&run], Phase::Running, "I8"),
                    PhaseOutcome::NoRun => assert!(!phases.contains_key(&run)),
                }
            }
            Step::Slice { run, limit } => {
                let run = self.runs[run];
                let Some(operation) = self.operations.get(&run).cloned() else { return };
                let slice = self.f.close_slice(run, &operation, limit).await.unwrap();
                slice.closed.iter().for_each(|task| self.learn(task));
                let active = self.tasks.values().filter(|task| task.key.run == run && task.active).count();
                assert_eq!(slice.remaining, active);
            }
            Step::Conclude { run } => {
                let run = self.runs[run];
                let Some(operation) = self.operations.get(&run).cloned() else { return };
                if self.tasks.values().any(|task| task.key.run == run && task.active) {
                    return;
                }
                self.f.phase(run, Phase::Finishing, Phase::Finished, &operation).await;
                self.f.ack_all().await;
                self.f.state.unload_run(G, run).await.unwrap();
                assert!(self.f.state.read_run(run).await.unwrap().is_none());
            }
            Step::Clean => {
                self.f.state.clean(self.token).await.unwrap();
            }
        }
    }

    /// The schedule doesn't know the task: it must be closed, or its run gone.
    fn absent(&self, key: TaskKey, absent: &Absent) {
        match absent {
            Absent::NoRun => assert!(self.operations.contains_key(&key.run), "only a finished run leaves"),
            Absent::NoTask { next } => assert!(key.task < *next && !self.tasks[&key].active),
            Absent::Mismatch { field, .. } => panic!("{key}: {field}"),
        }
    }

    async fn claim(&mut self, who: usize, run: RunId, cap: u64, phases: &HashMap<RunId, Phase>) {
        let worker = machine(who);
        let unit = self.kinds[&run].batch_games();
        let cap = cap.next_multiple_of(unit);
        let view = self.f.state.read_run(run).await.unwrap();
        let mut request = assignment(run, &worker, cap);
        request.machine_limit = LIMIT;
        request.args_version = view.as_ref().map_or(1, |view| view.args_version);
        match self.f.state.assign_task(G, request).await.unwrap() {
            AssignOutcome::Claimed(claim) => {
                let before = view.unwrap();
                assert_eq!(phases[&run], Phase::Running, "I8");
                let record = claim.task.record.clone();
                assert_eq!((record.key.task, record.version), (before.next_task, Version(1)), "I2");
                assert_eq!(record.start, before.counters.total_games, "I20");
                let left = self.num_games[&run] - before.counters.committed_games;
                assert_eq!(record.num_games, cap.min(left.next_multiple_of(unit)));
                if let Some(stale) = &claim.stale {
                    let there = self.tasks[&stale.record.key].worker.clone().unwrap();
                    assert_eq!(there.short_name, worker.short_name);
                    self.learn(stale);
                }
                self.learn(&claim.task);
                self.mine.insert(who, record.key);
                let there = self.tasks.values().filter(|task| {
                    task.active
                        && task.worker.as_ref().is_some_and(|there| there.remote_addr == worker.remote_addr)
                });
                assert!(there.count() <= LIMIT as usize, "I13");
            }
            AssignOutcome::Repeated(task) => {
                let there = task.record.worker.clone().unwrap();
                assert_eq!(there.unique_key, worker.unique_key);
                assert!(self.live(task.record.key, phases));
                self.mine.insert(who, task.record.key);
            }
            AssignOutcome::Duplicate(there) => {
                assert!(there.seconds <= 120);
                assert_ne!(there.task.worker.as_ref().unwrap().unique_key, worker.unique_key);
            }
            AssignOutcome::MachineLimit => {
                let there = self.tasks.values().filter(|task| {
                    task.active
                        && task.worker.as_ref().is_some_and(|there| there.remote_addr == worker.remote_addr)
                });
                assert!(there.count() >= LIMIT as usize);
            }
            AssignOutcome::NoGames => {
                assert!(view.unwrap().counters.committed_games >= self.num_games[&run]);
            }
            AssignOutcome::Stale => assert_ne!(phases.get(&run), Some(&Phase::Running)),
            other => panic!("{other:?}"),
        }
    }

    async fn report(&mut self, who: usize, what: Report, phases: &HashMap<RunId, Phase>) {
        let Some(key) = self.mine.get(&who).copied() else { return };
        let (kind, before) = (self.kinds[&key.run], self.tasks[&key].stats);
        let unit = kind.batch_games();
        let sent = self.bodies.entry(key).or_default().clone();
        let stats = match what {
            Report::More(batches) => drawn(before.games() + batches * unit),
            Report::Again(back) => match sent.iter().rev().nth(back) {
                Some(stats) => *stats,
                None => return,
            },
            Report::Odd => Stats { wins: before.wins + 1, ..before },
            Report::Less => drawn(before.games().saturating_sub(unit)),
            Report::Huge => Stats { wins: u64::MAX / 3, ..drawn(2) },
        };
        let spsa = matches!(kind, RunKind::Spsa { .. }).then(|| SpsaReport {
            wins: 0,
            losses: 0,
            draws: unit,
            num_games: unit,
            sig: u64::from(shoal::domain::spsa::flips::signature(&round(1).packed_flips)),
        });
        let report = report(key, &machine(who), stats, spsa);
        let alive = self.live(key, phases);
        let known = self.tasks[&key].knows(report.digest);
        match self.f.state.update_task(G, report).await.unwrap() {
            UpdateOutcome::Accepted { task, alive: on, .. } => {
                assert!(alive && !known && stats.games() >= before.games());
                assert_eq!(task.record.stats, stats);
                assert_eq!(on, stats.games() < task.record.num_games);
                assert_eq!(on, task.record.active);
                self.bodies.entry(key).or_default().push(stats);
                self.learn(&task);
            }
            UpdateOutcome::Repeated { task, alive: on, .. } => {
                assert!(known);
                assert_eq!((on, task.record.stats), (alive, before), "nothing changed");
            }
            UpdateOutcome::Refused { task, .. } => {
                assert!(alive && !known);
                assert_eq!((task.record.stats, task.record.active), (before, false));
                self.learn(&task);
            }
            UpdateOutcome::Inactive(_) => assert!(!alive && !known),
            UpdateOutcome::Absent(absent) => self.absent(key, &absent),
            UpdateOutcome::MissingSpsa => panic!("it was there"),
        }
    }

    async fn scavenge(&mut self, leader: bool) {
        let cutoff = Millis(self.f.state.now().await.unwrap().0 - 360_000);
        let token = if leader { self.token } else { Token { counter: 999, ..self.token } };
        for key in self.f.state.find_dead(cutoff, 3).await.unwrap() {
            match self.f.dead(key, cutoff, token).await {
                Ok(CloseOutcome::Done(task)) => {
                    assert!(leader);
                    self.learn(&task);
                }
                Ok(other) => panic!("{other:?}"),
                Err(StateError::StaleToken) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Some of what is dirty becomes durable, and some of that is acknowledged late or twice.
    async fn ack(&mut self, which: u8) {
        let filter = DirtyFilter { limit: usize::MAX, ..Default::default() };
        let dirty = self.f.state.peek_dirty(filter).await.unwrap();
        let mut acks = Vec::new();
        for (number, task) in dirty.tasks.iter().enumerate() {
            self.learn(task);
            if which & (1 << (number % 8)) != 0 {
                let version = if which & 1 == 0 { task.record.version } else { Version(1) };
                acks.push(DurableAck::Task { key: task.record.key, version, told: which & 2 == 0 });
            }
        }
        for run in &dirty.runs {
            acks.push(DurableAck::Run(run.id, run.version, run.position));
        }
        acks.extend(acks.clone());
        self.f.state.ack_dirty(G, &acks).await.unwrap();
    }

    async fn fold(&mut self, run: RunId) {
        let Some(fold) = self.f.state.read_fold(run).await.unwrap() else { return };
        let places: Vec<u64> = fold.pending.iter().map(|entry| entry.seq).collect();
        let expected: Vec<u64> = (fold.position + 1..).take(places.len()).collect();
        assert_eq!(places, expected, "in order and without holes");
        let Some(to) = places.last().copied() else { return };
        let write_id = random::write_id();
        let commit = CommitFold { run, from: fold.position, to, record: fold.record, write_id };
        assert_eq!(self.f.state.commit_fold(G, commit.clone()).await.unwrap(), FoldOutcome::Committed);
        let again = self.f.state.commit_fold(G, commit).await.unwrap();
        assert_eq!(again, FoldOutcome::Moved { position: to });
    }

    /// Recomputes everything.
    pub async fn check(&mut self) {
        let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
        let mut connections: HashMap<String, usize> = HashMap::new();
        for task in self.tasks.values().filter(|task| task.active) {
            let worker = task.worker.as_ref().unwrap();
            if !self.operations.contains_key(&task.key.run) {
                assert!(names.insert(worker.short_name.clone()), "one live task a name");
                assert!(keys.insert(worker.unique_key.clone()), "I1");
            }
            *connections.entry(worker.remote_addr.clone()).or_default() += 1;
        }
        let census = self.f.state.census().await.unwrap();
        assert_eq!(census.active_tasks, connections.values().sum::<usize>());
        assert_eq!((census.addresses, census.connections), (connections.len(), census.active_tasks));
        assert!(census.slots <= SLOTS as usize, "I12");
        assert!(census.live_names.iter().all(|(_, key)| self.tasks[key].active));
        for view in self.f.state.read_runs().await.unwrap() {
            let tasks: Vec<_> = self.tasks.values().filter(|task| task.key.run == view.id).collect();
            let mut counters = Counters::default();
            for (number, task) in tasks.iter().enumerate() {
                assert_eq!(task.key.task.0 as usize, number, "I2");
                assert_eq!(task.start, counters.total_games, "I20");
                counters.results = counters.results.plus(&task.stats).unwrap();
                counters.total_games += task.num_games;
                counters.committed_games += task.committed();
                if task.active {
                    counters.workers += 1;
                    counters.cores += 8;
                }
                assert!(task.spsa_round.is_none() || task.active);
            }
            assert_eq!(view.counters, counters, "I4, I14");
            assert_eq!(view.next_task.0 as usize, tasks.len());
            let games = self.games_seen.insert(view.id, counters.results.games()).unwrap_or(0);
            assert!(counters.results.games() >= games, "I5");
            assert_eq!(self.f.state.audit(view.id).await.unwrap(), [""; 0]);
        }
        assert_eq!(self.f.state.audit_structures().await.unwrap(), [""; 0]);
    }
}

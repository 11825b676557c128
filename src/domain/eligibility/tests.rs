//! Every filter and the order, with the numbers of the specification.

use bson::oid::ObjectId;

use super::*;

fn run(number: u8) -> RunId {
    RunId(ObjectId::from_bytes([number; 12]))
}

fn args(number: u8) -> RunArgsFacts {
    RunArgsFacts::new(run(number), 1, "Hash=16", "Hash=16", None, None, None)
}

fn ranking() -> Ranking {
    Ranking {
        finished: false,
        approved: true,
        priority: 0,
        num_games: 60_000,
        committed_games: 0,
        cores: 0,
        itp: 100.0,
    }
}

fn worker() -> WorkerFacts {
    WorkerFacts {
        concurrency: 8,
        min_threads: 1,
        max_memory: 3612,
        near_github_api_limit: false,
        seen: HashSet::new(),
        last_run: None,
        worker_arch: "x86-64-avx2".into(),
        compiler: "g++".into(),
    }
}

fn judge(args: &RunArgsFacts, ranking: &Ranking, worker: &WorkerFacts) -> Result<(), Ineligible> {
    let mut log = Vec::new();
    let verdict = eligible(args, ranking, worker, &mut log);
    assert!(log.is_empty(), "{log:?}");
    verdict
}

#[test]
fn a_run_that_passes_all_filters_is_eligible() {
    assert_eq!(judge(&args(1), &ranking(), &worker()), Ok(()));
}

#[test]
fn finished_and_unapproved_runs_are_skipped() {
    let finished = Ranking { finished: true, approved: false, ..ranking() };
    assert_eq!(judge(&args(1), &finished, &worker()), Err(Ineligible::Finished));
    let waiting = Ranking { approved: false, ..ranking() };
    assert_eq!(judge(&args(1), &waiting, &worker()), Err(Ineligible::NotApproved));
}

#[test]
fn threads_must_fit_and_suit() {
    let smp = |threads| RunArgsFacts { threads, ..args(1) };
    let worker = WorkerFacts { min_threads: 4, max_memory: u64::MAX, ..worker() };
    assert_eq!(judge(&smp(9), &ranking(), &worker), Err(Ineligible::TooManyThreads));
    assert_eq!(judge(&smp(8), &ranking(), &worker), Ok(()));
    assert_eq!(judge(&smp(4), &ranking(), &worker), Ok(()));
    assert_eq!(judge(&smp(3), &ranking(), &worker), Err(Ineligible::TooFewThreads));
}

#[test]
fn games_must_be_left() {
    let left = |committed_games| Ranking { committed_games, ..ranking() };
    assert_eq!(judge(&args(1), &left(59_998), &worker()), Ok(()));
    assert_eq!(judge(&args(1), &left(60_000), &worker()), Err(Ineligible::NoGamesLeft));
    assert_eq!(judge(&args(1), &left(60_030), &worker()), Err(Ineligible::NoGamesLeft));
}

#[test]
fn memory_must_suffice_exactly() {
    let less = WorkerFacts { max_memory: 3611, ..worker() };
    assert_eq!(judge(&args(1), &ranking(), &less), Err(Ineligible::TooLittleMemory));
    let prefixed = RunArgsFacts::new(run(1), 1, "FooHash=12 Hash=64", "Hash=20", None, None, None);
    assert_eq!(judge(&prefixed, &ranking(), &worker()), Ok(()), "12 + 20 is 16 + 16");
}

#[test]
fn near_the_github_limit_only_known_runs_are_taken() {
    let mut worker = WorkerFacts { near_github_api_limit: true, last_run: Some(run(1)), ..worker() };
    assert_eq!(judge(&args(1), &ranking(), &worker), Err(Ineligible::GithubLimit));
    worker.seen.insert(run(1));
    assert_eq!(judge(&args(1), &ranking(), &worker), Ok(()));
}

#[test]
fn cores_are_limited_strictly_before_the_worker_joins() {
    for (parameters, limit) in
        [(1, 200_000.0), (4, 100_000.0), (10, 63245.55), (100, 20_000.0), (1000, 6324.56)]
    {
        assert!((core_limit(Some(parameters)) - limit).abs() < 0.01, "{parameters}");
    }
    assert_eq!(core_limit(None), 1_000_000.0);
    assert_eq!(core_limit(Some(0)), 200_000.0);

    let tuning = RunArgsFacts::new(run(1), 1, "Hash=16", "Hash=16", Some(100), None, None);
    let busy = |cores| Ranking { cores, ..ranking() };
    assert_eq!(judge(&tuning, &busy(20_000), &worker()), Ok(()));
    assert_eq!(judge(&tuning, &busy(20_001), &worker()), Err(Ineligible::TooManyCores));
    assert_eq!(judge(&args(1), &busy(1_000_000), &worker()), Ok(()));
    assert_eq!(judge(&args(1), &busy(1_000_001), &worker()), Err(Ineligible::TooManyCores));
}

#[test]
fn arch_and_compiler_must_suit() {
    let pinned =
        |filter, compiler| RunArgsFacts::new(run(1), 1, "Hash=16", "Hash=16", None, filter, compiler);
    assert_eq!(judge(&pinned(Some("avx2$"), Some("g++")), &ranking(), &worker()), Ok(()));
    assert_eq!(
        judge(&pinned(Some("arm"), Some("clang++")), &ranking(), &worker()),
        Err(Ineligible::WrongArch)
    );
    assert_eq!(judge(&pinned(Some(""), Some("")), &ranking(), &worker()), Ok(()));
    assert_eq!(judge(&pinned(None, Some("clang++")), &ranking(), &worker()), Err(Ineligible::WrongCompiler));
    let unknown = WorkerFacts { worker_arch: "unknown".into(), ..worker() };
    assert_eq!(judge(&pinned(Some("know"), None), &ranking(), &unknown), Ok(()));
}

#[test]
fn a_filter_that_fails_admits_the_worker_and_is_reported() {
    let broken = RunArgsFacts::new(run(1), 1, "Hash=16", "Hash=16", None, Some("(x"), None);
    let mut log = Vec::new();
    assert_eq!(eligible(&broken, &ranking(), &worker(), &mut log), Ok(()));
    assert_eq!(log.len(), 1);
    assert!(log[0].starts_with("Matching x86-64-avx2 against (x failed: "), "{log:?}");
}

#[test]
fn order_keys_of_the_specification() {
    let cases = [
        (0, 0, 100.0, false, (0, false, 0.04)),
        (0, 0, 100.0, true, (0, true, 0.12)),
        (0, 40, 100.0, false, (0, true, 0.44)),
        (0, 40, 400.0, false, (0, true, 0.11)),
        (0, 36, 100.0, true, (0, true, 0.48)),
        (1, 400, 100.0, false, (-1, true, 4.04)),
        (-1, 0, 100.0, false, (1, false, 0.04)),
    ];
    for (priority, cores, itp, is_last_run, expected) in cases {
        let key = OrderKey::new(&Ranking { priority, cores, itp, ..ranking() }, 8, is_last_run);
        assert_eq!((key.priority, key.started), (expected.0, expected.1), "{key:?}");
        assert!((key.load - expected.2).abs() < 1e-12, "{key:?}");
    }
    let odd = OrderKey::new(&ranking(), 1, false);
    assert_eq!(odd.load, 0.005, "half a core counts as half a core");
}

#[test]
fn runs_are_tried_by_priority_then_unstarted_then_load_then_age() {
    let candidate = |number, priority, cores, itp| Candidate {
        args: Arc::new(args(number)),
        ranking: Ranking { priority, cores, itp, ..ranking() },
    };
    let mut candidates = [
        candidate(1, -1, 0, 100.0),
        candidate(2, 0, 40, 100.0),
        candidate(3, 0, 40, 400.0),
        candidate(6, 0, 0, 100.0),
        candidate(5, 0, 0, 100.0),
        candidate(4, 1, 400, 100.0),
        candidate(7, 0, 40, 0.0),
    ];
    order(&mut candidates, &worker());
    let runs: Vec<RunId> = candidates.iter().map(|candidate| candidate.args.run).collect();
    assert_eq!(runs, [4, 5, 6, 3, 2, 7, 1].map(run));

    let returning = WorkerFacts { last_run: Some(run(5)), ..worker() };
    order(&mut candidates, &returning);
    let runs: Vec<RunId> = candidates.iter().map(|candidate| candidate.args.run).collect();
    assert_eq!(runs, [4, 6, 3, 5, 2, 7, 1].map(run), "0.12 lies between 0.11 and 0.44");
}

#[test]
fn only_runs_up_to_the_one_taken_are_judged() {
    let broken = |number, priority| Candidate {
        args: Arc::new(RunArgsFacts::new(run(number), 1, "", "", None, Some("(x"), Some("clang++"))),
        ranking: Ranking { priority, ..ranking() },
    };
    let good = Candidate { args: Arc::new(args(2)), ranking: Ranking { priority: 5, ..ranking() } };
    let mut candidates = [broken(1, 1), broken(3, 9), good];
    let mut log = Vec::new();
    let worker = worker();
    let best = eligible_in_order(&mut candidates, &worker, &mut log).next().map(|best| best.args.run);
    assert_eq!(best, Some(run(2)));
    assert_eq!(log.len(), 1, "the filter of priority 1 was not run: {log:?}");
}

//! Random histories, followed by the [`Model`].
//!
//! `PROPTEST_CASES` sets the number of histories; with `SHOAL_LONG=1` each has 200 steps.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::faults::Faults;
use super::fixture::*;
use super::model::Model;

/// What happens next; workers and runs by their numbers.
#[derive(Debug, Clone)]
pub enum Step {
    Admit { who: usize },
    Claim { who: usize, run: usize, cap: u64 },
    Report { who: usize, what: Report },
    Beat { who: usize },
    GiveUp { who: usize },
    Round { who: usize },
    Advance { ms: i64 },
    Scavenge { leader: bool },
    Ack { which: u8 },
    Fold { run: usize },
    Resize { run: usize, num_games: u64 },
    Finish { run: usize },
    Slice { run: usize, limit: usize },
    Conclude { run: usize },
    Clean,
}

/// What a worker reports: more games, an earlier report once more, or what must be refused.
#[derive(Debug, Clone, Copy)]
pub enum Report {
    More(u64),
    Again(usize),
    Odd,
    Less,
    Huge,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..8_usize;
    let run = 0..3_usize;
    let report = prop_oneof![
        6 => (1..60_u64).prop_map(Report::More),
        3 => (0..20_usize).prop_map(Report::Again),
        1 => Just(Report::Odd),
        1 => Just(Report::Less),
        1 => Just(Report::Huge),
    ];
    let step = prop_oneof![
        4 => who.clone().prop_map(|who| Step::Admit { who }),
        8 => (who.clone(), run.clone(), 1..120_u64)
            .prop_map(|(who, run, half)| Step::Claim { who, run, cap: 4 * half }),
        12 => (who.clone(), report).prop_map(|(who, what)| Step::Report { who, what }),
        3 => who.clone().prop_map(|who| Step::Beat { who }),
        2 => who.clone().prop_map(|who| Step::GiveUp { who }),
        3 => who.prop_map(|who| Step::Round { who }),
        4 => prop_oneof![0..3000_i64, 100_000..130_000_i64, Just(360_000_i64)].prop_map(|ms| Step::Advance { ms }),
        2 => any::<bool>().prop_map(|leader| Step::Scavenge { leader }),
        6 => any::<u8>().prop_map(|which| Step::Ack { which }),
        3 => run.clone().prop_map(|run| Step::Fold { run }),
        1 => (run.clone(), 0..2000_u64).prop_map(|(run, half)| Step::Resize { run, num_games: 2 * half }),
        1 => run.clone().prop_map(|run| Step::Finish { run }),
        3 => (run.clone(), 1..4_usize).prop_map(|(run, limit)| Step::Slice { run, limit }),
        2 => run.prop_map(|run| Step::Conclude { run }),
        1 => Just(Step::Clean),
    ];
    let length = if std::env::var_os("SHOAL_LONG").is_some() { 200..=200 } else { 1..=119 };
    prop::collection::vec(step, length)
}

/// Histories that are the same each time, with a fault at every call of every script.
pub async fn some_histories(faults: &Faults, number: usize) {
    let mut runner = TestRunner::deterministic();
    for _ in 0..number {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        follow(faults.fixture().await, steps).await;
    }
}

fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    ProptestConfig { cases, ..ProptestConfig::default() }
}

async fn follow(f: Fixture, steps: Vec<Step>) {
    let mut model = Model::new(f).await;
    for step in steps {
        model.step(step).await;
        model.check().await;
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn every_history_keeps_the_invariants(steps in steps()) {
        futures::executor::block_on(async { follow(Fixture::memory().await, steps).await });
    }
}

proptest! {
    #![proptest_config(cases(20))]

    /// And each answer on Redis is that of the executable specification.
    #[test]
    fn every_history_is_the_same_on_redis(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            if let Some(twin) = Fixture::twin().await {
                follow(twin, steps).await;
            }
        });
    }
}

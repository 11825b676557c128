//! The examples of the specification.

use proptest::prelude::*;

use super::*;
use crate::domain::time_control::{estimate_game_duration, tc_ratio};

fn close(actual: f64, expected: f64) -> bool {
    (actual - expected).abs() <= 1e-9 + 1e-9 * expected.abs()
}

#[test]
fn caps_of_the_specification() {
    let cases = [
        ("10+0.1", 1, 1, None, 58),
        ("10+0.1", 7, 1, None, 408),
        ("10+0.1", 7, 1, Some(16), 416),
        ("10+0.1", 8, 1, Some(16), 480),
        ("10+0.1", 200, 1, Some(16), 11648),
        ("10+0.1", 64, 1, None, 3726),
        ("10+0.01", 7, 1, None, 642),
        ("60+0.6", 1, 1, Some(3), 12),
        ("60+0.6", 8, 1, Some(3), 78),
        ("60+0.6", 3, 1, None, 30),
        ("5+0.05", 16, 8, Some(4), 232),
        ("20+0.2", 8, 8, Some(1), 30),
        ("180+1.8", 4, 1, None, 12),
        ("180+1.8", 1, 1, Some(1), 4),
    ];
    for (tc, concurrency, threads, batch, cap) in cases {
        let duration = estimate_game_duration(tc).unwrap();
        let actual = worker_cap(duration, concurrency, threads, batch);
        assert_eq!(actual, cap, "{tc}, {concurrency} cores, {threads} threads, batch {batch:?}");
    }
}

#[test]
fn caps_stay_even_and_positive_at_the_extremes() {
    for duration in [1e-300, 1e300, f64::NAN] {
        for batch in [None, Some(0), Some(16), Some(u64::MAX)] {
            let cap = worker_cap(duration, u32::MAX, 0, batch);
            assert!(cap >= 2 && cap.is_multiple_of(2), "{duration} {batch:?}: {cap}");
        }
    }
}

#[test]
fn a_sequential_test_commits_whole_batches() {
    assert_eq!(task_size(480, 800_000, 799_990, Some(16)), Some(32));
    assert_eq!(task_size(480, 800_000, 800_000, Some(16)), None);
    assert_eq!(task_size(480, 800_000, 800_022, Some(16)), None);
}

#[test]
fn a_fixed_run_is_handed_out_to_the_last_game() {
    assert_eq!(task_size(642, 1200, 0, None), Some(642));
    assert_eq!(task_size(642, 1200, 642, None), Some(558));
    assert_eq!(task_size(642, 1200, 1200, None), None);
}

#[test]
fn internal_throughput_of_the_specification() {
    let cases = [
        (100, "10+0.1", 1.0, 0, 0, None, 100.0),
        (100, "10+0.1", 1.0, 1, 0, None, 97.2972972972973),
        (100, "60+0.6", 1.0, 1, 0, None, 389.39452820693117),
        (100, "60+0.6", 1.0, 3, 50_000, None, 400.2110428793459),
        (100, "5+0.05", 8.0, 2, 0, None, 263.170340712006),
        (100, "5+0.05", 1.0, 1, 0, None, 97.2972972972973),
        (600, "10+0.1", 1.0, 1, 400_000, None, 972.972972972973),
        (0, "10+0.1", 1.0, 1, 0, None, 0.972972972972973),
        (100, "10+0.1", 1.0, 1, 100_000, Some((2.5, 0.0)), 155.6756756756757),
        (100, "10+0.1", 1.0, 1, 100_000, Some((2.5, 0.5)), 165.40540540540542),
        (100, "10+0.1", 1.0, 1, 0, Some((2.0, 0.5)), 97.2972972972973),
        (50, "60+0.6", 1.0, 6, 200_000, Some((2.94, 0.5)), 220.11607358364026),
    ];
    for (throughput, tc, threads, active_runs_of_user, games, sprt, itp) in cases {
        let throughput = f64::from(throughput);
        let tc_ratio = tc_ratio(tc, Some(threads)).unwrap();
        let actual = calc_itp(&Throughput { throughput, tc_ratio, games, active_runs_of_user, sprt });
        assert!(close(actual, itp), "{tc} {throughput} {games}: {actual} instead of {itp}");
    }
}

#[test]
fn remaining_hours_of_the_specification() {
    let stc = estimate_game_duration("10+0.1").unwrap();
    let ltc = estimate_game_duration("60+0.6").unwrap();
    assert!(close(core_hours(stc, remaining_games(20_000, 5_000), 1.0), 128.8));

    let fresh = SprtProgress { llr: 0.0, alpha: 0.05, beta: 0.05, o0: 0.0, o1: 0.0, pairs: 0 };
    let o0 = 0.02 / 1.6 / 2.0;
    let o1 = 0.01 / 0.4 / 2.0;
    let cases = [
        (stc, fresh, 815.7333333333),
        (ltc, SprtProgress { llr: 1.0, pairs: 20_000, ..fresh }, 2960.44224),
        (stc, SprtProgress { llr: -1.5, pairs: 40_200, o0, o1, ..fresh }, 235.9701866667),
        (stc, SprtProgress { llr: 2.95, pairs: 40_200, ..fresh }, 0.0),
        (stc, SprtProgress { llr: 0.01, pairs: 40_200, ..fresh }, 4147.8150933333),
    ];
    for (duration, sprt, hours) in cases {
        let actual = core_hours(duration, remaining_sprt_games(800_000, &sprt), 1.0);
        assert!(close(actual, hours), "{sprt:?}: {actual} instead of {hours}");
    }
}

#[test]
fn speeds_of_the_specification() {
    let gpm = |nps, tc, concurrency, threads| {
        games_per_minute_summand(nps, estimate_game_duration(tc).unwrap(), concurrency, threads)
    };
    assert!(close(gpm(628_000.0, "10+0.1", 8, 1), 15.527950310559005));
    assert!(close(gpm(1e6, "60+0.6", 16, 1), 8.242011842122615));
    assert!(close(gpm(5e5, "5+0.05", 9, 8), 3.0907544407959806));
    assert_eq!(gpm(0.0, "5+0.05", 9, 8), 0.0);
    assert_eq!(nps_summand(1_234_567.0, 4), 4_938_268.0);
}

#[test]
fn hash_is_the_first_that_digits_follow() {
    let cases = [
        ("Hash=16", 16),
        ("FooHash=12 Hash=64", 12),
        ("Hash=x Hash=64", 64),
        ("Hash=Hash=7", 7),
        ("Threads=2", 0),
        ("", 0),
        ("Hash=", 0),
        ("hash=16", 0),
        ("Hash=99999999999999999999999", u64::MAX),
    ];
    for (options, hash) in cases {
        assert_eq!(hash_of_options(options), hash, "{options:?}");
    }
}

#[test]
fn hash_must_suit_long_time_controls() {
    assert!(hash_is_reasonable(Some(4.9), 0));
    assert!(hash_is_reasonable(Some(6.0), 64));
    assert!(!hash_is_reasonable(Some(6.0), 38));
    assert!(!hash_is_reasonable(Some(6.0), 97));
    assert!(!hash_is_reasonable(None, 64));
    assert!(!hash_is_reasonable(Some(f64::NAN), 64));
}

#[test]
fn memory_of_the_specification() {
    let cases = [
        (16, 1, 1, 840),
        (16, 7, 1, 3216),
        (16, 8, 1, 3612),
        (16, 16, 1, 6780),
        (16, 64, 1, 25788),
        (64, 8, 1, 4380),
        (256, 16, 8, 3064),
        (32, 3, 2, 934),
    ];
    for (hash, concurrency, threads, need) in cases {
        assert_eq!(memory_need(concurrency, threads, hash, hash), need, "{hash} {concurrency} {threads}");
    }
    assert_eq!(memory_need(u32::MAX, 1, u64::MAX, u64::MAX), u64::MAX);
}

#[test]
fn totals_count_promises_of_active_tasks_and_games_of_the_others() {
    let stats =
        Stats { wins: 3, losses: 1, draws: 4, crashes: 1, time_losses: 2, pentanomial: [0, 0, 2, 2, 0] };
    let task = TaskTotals { active: true, num_games: 20, stats, concurrency: 4, nps: 628_000.0 };
    let idle = TaskTotals { active: false, ..task };
    let totals = aggregate([task, idle], 30.912, 1).unwrap();
    assert_eq!(totals.results, stats.plus(&stats).unwrap());
    assert_eq!((totals.workers, totals.cores), (1, 4));
    assert_eq!((totals.committed_games, totals.total_games), (28, 40));
    assert_eq!(totals.nps, 2_512_000.0);
    assert!(close(totals.games_per_minute, 7.763975155279502));

    let huge = TaskTotals { num_games: u64::MAX, ..task };
    assert_eq!(aggregate([huge, huge], 30.912, 1), None);
}

proptest! {
    #[test]
    fn no_option_text_makes_it_panic(options in "(Hash=|[0-9]|\\PC)*") {
        let _ = hash_of_options(&options);
    }

    #[test]
    fn a_task_never_exceeds_what_is_left_by_a_batch(
        cap in 2_u64..100_000, num_games in 0_u64..4_000_000, committed in 0_u64..4_000_000, batch in 1_u64..400,
    ) {
        let cap = cap.div_ceil(2 * batch) * 2 * batch;
        match task_size(cap, num_games, committed, Some(batch)) {
            Some(size) => {
                prop_assert!(size.is_multiple_of(2 * batch) && size > 0);
                prop_assert!(committed + size < num_games + 2 * batch);
            }
            None => prop_assert!(committed >= num_games),
        }
    }
}

//! What must hold of the statistics whatever the results are.

use proptest::prelude::*;

use super::StatsError;
use super::counts::Counts;
use super::elo::EloModel;
use super::llr::{Bounds, llr_logistic, llr_normalized};
use super::sprt::{Overshoot, SprtRecord, SprtState};
use super::sprt_elo::{SprtEstimate, SprtQuestion};

/// A count of any order of magnitude up to 10^12; often zero.
fn count() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        (0i32..41).prop_map(|bits| 2f64.powi(bits)),
        (0u32..1000).prop_map(f64::from),
        (0u64..1_000_000_000_000).prop_map(|count| count as f64),
    ]
}

fn pairs() -> impl Strategy<Value = [f64; 5]> {
    [count(), count(), count(), count(), count()]
}

fn games() -> impl Strategy<Value = [f64; 3]> {
    [count(), count(), count()]
}

fn counts() -> impl Strategy<Value = Counts> {
    (games(), prop::option::of(pairs()))
        .prop_map(|(trinomial, pentanomial)| Counts { trinomial, pentanomial })
}

fn model() -> impl Strategy<Value = EloModel> {
    prop_oneof![Just(EloModel::Normalized), Just(EloModel::Logistic), Just(EloModel::BayesElo)]
}

/// Any finite float, with the troublesome ones more often than chance would have them.
fn any_float() -> impl Strategy<Value = f64> {
    let special = [0.0, -0.0, 5e-324, -5e-324, f64::MIN_POSITIVE, f64::MAX, f64::MIN, 0.1, 1e16, 1e-7];
    prop_oneof![
        prop::sample::select(special.to_vec()),
        any::<u64>().prop_map(f64::from_bits).prop_filter("JSON has finite numbers", |x| x.is_finite()),
    ]
}

fn any_record() -> impl Strategy<Value = SprtRecord> {
    let overshoot = (any::<[u64; 2]>(), prop::array::uniform6(any_float())).prop_map(|(n, x)| Overshoot {
        last_update: n[0],
        skipped_updates: n[1],
        ref0: x[0],
        m0: x[1],
        sq0: x[2],
        ref1: x[3],
        m1: x[4],
        sq1: x[5],
    });
    let state = prop::sample::select(vec![SprtState::Undecided, SprtState::Accepted, SprtState::Rejected]);
    let marks = (any::<u64>(), prop::option::of(any::<u64>()), prop::option::of(any::<u64>()));
    (prop::array::uniform7(any_float()), model(), state, prop::option::of(overshoot), marks).prop_map(
        |(x, elo_model, state, overshoot, (batch_size, lost_samples, illegal_update))| SprtRecord {
            alpha: x[0],
            beta: x[1],
            elo0: x[2],
            elo1: x[3],
            elo_model,
            state,
            llr: x[4],
            batch_size,
            lower_bound: x[5],
            upper_bound: x[6],
            overshoot,
            lost_samples,
            illegal_update,
        },
    )
}

/// Every number of a record, bit for bit.
fn bits(record: &SprtRecord) -> Vec<u64> {
    let SprtRecord { alpha, beta, elo0, elo1, llr, lower_bound, upper_bound, overshoot, .. } = *record;
    let o = overshoot.unwrap_or_default();
    let floats = [alpha, beta, elo0, elo1, llr, lower_bound, upper_bound];
    let ladder = [o.ref0, o.m0, o.sq0, o.ref1, o.m1, o.sq1];
    floats.into_iter().chain(ladder).map(f64::to_bits).collect()
}

proptest! {
    #[test]
    fn a_record_survives_json_bit_for_bit(record in any_record()) {
        let text = serde_json::to_string(&record).unwrap();
        let back: SprtRecord = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(bits(&back), bits(&record), "{}", text);
        prop_assert_eq!(back, record);
        let value = serde_json::to_value(record).unwrap();
        prop_assert_eq!(bits(&serde_json::from_value(value).unwrap()), bits(&record));
    }

    #[test]
    fn exchanging_the_bounds_changes_the_sign_of_the_llr(
        counts in counts(), elo0 in -10.0..10.0f64, elo1 in -10.0..10.0f64,
    ) {
        for llr in [llr_logistic, llr_normalized] {
            let (forward, backward) =
                (llr(elo0, elo1, counts.samples()).unwrap(), llr(elo1, elo0, counts.samples()).unwrap());
            prop_assert!(forward.is_finite());
            prop_assert_eq!(forward, -backward);
            prop_assert_eq!(llr(elo0, elo0, counts.samples()).unwrap(), 0.0);
        }
    }

    #[test]
    fn mirrored_results_and_bounds_have_the_opposite_llr(
        pairs in pairs(), elo0 in -10.0..10.0f64, width in 0.1..5.0f64,
    ) {
        let mut mirrored = pairs;
        mirrored.reverse();
        let n: f64 = pairs.iter().sum();
        for llr in [llr_logistic, llr_normalized] {
            let here = llr(elo0, elo0 + width, &pairs).unwrap();
            let there = llr(-elo0 - width, -elo0, &mirrored).unwrap();
            // `here` prefers the upper bound as much as `there` prefers the (mirrored) lower one.
            let tolerance = 1e-7 + 1e-8 * here.abs() + 1e-13 * n;
            prop_assert!((here + there).abs() <= tolerance, "{} {}", here, there);
        }
    }

    #[test]
    fn more_wins_never_lower_the_logistic_llr(
        pairs in prop::array::uniform5(1u32..1_000_000), elo0 in -10.0..9.0f64, more in 1u32..1000,
    ) {
        let before = pairs.map(f64::from);
        let mut after = before;
        after[0] = (after[0] - f64::from(more)).max(1.0);
        after[4] += before[0] - after[0];
        let (a, b) =
            (llr_logistic(elo0, elo0 + 1.0, &before).unwrap(), llr_logistic(elo0, elo0 + 1.0, &after).unwrap());
        prop_assert!(b >= a - 1e-7, "{} then {}", a, b);
    }

    #[test]
    fn the_same_totals_again_change_nothing(
        counts in counts(), model in model(), batch_size in 1u64..20, elo0 in -5.0..5.0f64,
    ) {
        let mut record = SprtRecord::new(0.05, 0.05, elo0, elo0 + 2.0, model, batch_size);
        record.update(&counts).unwrap();
        let once = record;
        record.update(&counts).unwrap();
        prop_assert_eq!(bits(&record), bits(&once));
        prop_assert_eq!(record, once);
    }

    #[test]
    fn sequences_keep_the_overshoot_statistics_in_their_signs(
        steps in prop::collection::vec((pairs(), prop::bool::ANY), 1..12), batch_size in 1u64..4,
    ) {
        let mut record = SprtRecord::new(0.05, 0.05, 0.0, 2.0, EloModel::Normalized, batch_size);
        let mut total = [0.0; 5];
        for (step, shrink) in steps {
            total = if shrink { step } else { std::array::from_fn(|i| total[i] + step[i]) };
            record.update(&Counts { trinomial: [0.0; 3], pentanomial: Some(total) }).unwrap();
            prop_assert!(record.llr.is_finite());
            let [o0, o1] = record.expected_overshoot();
            prop_assert!(o0 >= 0.0 && o1 >= 0.0);
            if let Some(o) = record.overshoot {
                prop_assert!(o.m0 <= 0.0 && o.m1 >= 0.0 && o.sq0 >= 0.0 && o.sq1 >= 0.0);
                prop_assert!(record.lost_samples.is_none() && record.illegal_update.is_none());
            }
        }
    }

    #[test]
    fn an_impossible_update_changes_nothing(record in any_record(), bad in prop_oneof![Just(-1.0), Just(f64::NAN)]) {
        let mut after = record;
        let counts = Counts { trinomial: [bad; 3], pentanomial: Some([bad; 5]) };
        prop_assert!(after.update(&counts).is_err());
        prop_assert_eq!(bits(&after), bits(&record));
        prop_assert_eq!(after, record);
    }

    #[test]
    fn no_record_and_no_results_make_an_update_panic(record in any_record(), counts in counts()) {
        let mut after = record;
        if after.update(&counts).is_err() {
            prop_assert_eq!(bits(&after), bits(&record));
        } else {
            prop_assert!(after.llr.is_finite());
        }
    }

    #[test]
    fn estimates_are_finite_and_in_order(
        counts in counts(), model in model(), elo0 in -10.0..9.5f64, width in 0.5..10.0f64,
    ) {
        let question =
            SprtQuestion { alpha: 0.05, beta: 0.05, p: 0.05, elo0, elo1: elo0 + width, elo_model: model };
        let estimate = match SprtEstimate::new(&question, &counts) {
            // With next to nothing but draws the draw Elo is so large that the converted bounds coincide in doubles.
            Err(StatsError::EqualBounds) if model == EloModel::BayesElo => return Ok(()),
            estimate => estimate.unwrap(),
        };
        let [low, high] = estimate.ci;
        prop_assert!(estimate.llr.is_finite() && (-0.001..=1.001).contains(&estimate.los));
        prop_assert!(low <= estimate.elo + 1e-3 && estimate.elo <= high + 1e-3, "{:?}", estimate);
        prop_assert!(low >= -1000.0 && high <= 1000.0);
    }

    #[test]
    fn bounds_never_panic(model in model(), elo0 in any_float(), elo1 in any_float(), counts in counts()) {
        if let Ok(bounds) = Bounds::new(model, elo0, elo1, &counts)
            && let Ok(llr) = bounds.llr(counts.samples())
        {
            prop_assert!(llr.is_finite());
        }
    }
}

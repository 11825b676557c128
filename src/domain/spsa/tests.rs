//! The numbers of the specification, and what replicas rely on.

use proptest::prelude::*;

use super::create::{SpsaForm, SpsaFormError, create};
use super::flips::{draw, pack, signature, unpack};
use super::*;
use crate::sys::random::seeded;

fn close(actual: f64, expected: f64) -> bool {
    (actual - expected).abs() <= 1e-9 + 1e-10 * expected.abs()
}

fn form(raw_params: &str) -> SpsaForm<'_> {
    SpsaForm { algorithm: None, a_ratio: "0.1", alpha: "0.602", gamma: "0.101", raw_params }
}

fn example() -> SpsaRecord {
    create(&form("p,100,0,200,10,0.002"), 40_000).unwrap()
}

#[test]
fn the_example_of_the_scheduling_specification() {
    let mut record = example();
    let param = &record.params[0];
    assert_eq!((record.big_a, record.num_iter), (2000.0, 20_000));
    assert!(close(param.c, 27.1896758197992), "{}", param.c);
    assert!(close(param.a_end, 0.2) && close(param.a, 82.25616345284523), "{param:?}");

    let round = record.round(pack(&[-1]));
    let values = record.worker_values(&round).unwrap();
    assert!(close(values.w_params[0].c, 27.1896758197992));
    assert!(close(values.w_params[0].r, 0.001145538376594793));
    assert!(close(values.w_params[0].value, 72.81032418020081));
    assert!(close(values.b_params[0].value, 127.18967581979919));

    let round = record.round(pack(&[1]));
    let entry = round.entry(signature(&[0x80]), 12, 4, 28).unwrap();
    apply(&mut record, &entry, 40_000).unwrap();
    assert!(close(record.params[0].theta, 100.24917453679001), "{}", record.params[0].theta);
    assert_eq!(record.iter, 14);
    assert_eq!(record.param_history, Some(vec![]), "14 iterations are less than a period of 200");
}

#[test]
fn signs_and_signatures_of_the_specification() {
    let cases: [(&[i8], &[u8], u32); 5] = [
        (&[1, -1, 1], &[0xa0], 81022053),
        (&[-1, -1, 1], &[0x20], 3916222277),
        (&[1; 9], &[0xff, 0x80], 1061514413),
        (&[-1], &[0x00], 3523407757),
        (&[], &[], 0),
    ];
    for (signs, packed, sig) in cases {
        assert_eq!(pack(signs), packed);
        assert_eq!(signature(packed), sig);
        assert_eq!(unpack(packed, signs.len()).unwrap(), signs);
    }
    assert_eq!(unpack(&[0xff], 9), None);
}

#[test]
fn signs_are_drawn_evenly_and_padded_with_zeros() {
    let mut rng = seeded(1);
    let mut plus = [0_u32; 11];
    for _ in 0..4000 {
        let packed = draw(11, &mut rng);
        assert_eq!((packed.len(), packed[1] & 0x1f), (2, 0));
        for (count, sign) in plus.iter_mut().zip(unpack(&packed, 11).unwrap()) {
            *count += u32::from(sign == 1);
        }
    }
    // Six standard deviations around one half.
    assert!(plus.iter().all(|count| count.abs_diff(2000) < 190), "{plus:?}");
    assert_eq!(draw(0, &mut rng), Vec::<u8>::new());
}

#[test]
fn sampling_periods_of_the_specification() {
    for (parameters, period) in [(3, 200.0), (100, 200.0), (500, 1000.0), (1000, 20_000.0)] {
        assert_eq!(history_period(20_000.0, parameters), period);
    }
}

#[test]
fn a_result_of_another_round_makes_no_entry() {
    let round = example().round(vec![0x80]);
    assert_eq!(round.entry(0, 3, 1, 8), None);
    assert_eq!(round.entry(signature(&[0]), 3, 1, 8), None);
}

#[test]
fn one_update_appends_one_sample_and_the_next_ones_catch_up() {
    let mut record = create(&form("p,100,0,200,10,0.002"), 2000).unwrap();
    let entry = SpsaEntry { iter: 0, packed_flips: vec![0x80], wins: 1, losses: 0, pairs: 35 };
    apply(&mut record, &entry, 2000).unwrap();
    assert_eq!(record.param_history.as_ref().unwrap().len(), 1, "35 iterations are three periods of 10");
    for expected in [2, 3, 3] {
        apply(&mut record, &SpsaEntry { pairs: 0, ..entry.clone() }, 2000).unwrap();
        assert_eq!(record.param_history.as_ref().unwrap().len(), expected);
    }
}

#[test]
fn signs_that_do_not_fit_change_nothing() {
    let mut record = example();
    let entry = SpsaEntry { iter: 0, packed_flips: vec![], wins: 1, losses: 0, pairs: 2 };
    assert_eq!(apply(&mut record, &entry, 40_000), Err(SpsaError::TooFewFlips { have: 0, need: 1 }));
    assert_eq!(record, example());
}

#[test]
fn gains_that_doubles_cannot_hold_are_refused_and_change_nothing() {
    for (alpha, gamma, line) in [
        ("0.602", "400", "a,1,0,2,1,0.1"),
        ("400", "0.101", "a,1,0,2,1,0.1"),
        ("0.602", "0.101", "a,1,0,2,1e-200,0.1"),
        ("0.602", "0.101", "a,1,0,2,1e200,1"),
    ] {
        let refused = create(&SpsaForm { alpha, gamma, ..form(line) }, 40_000).unwrap_err();
        assert_eq!(refused, SpsaFormError::Overflow { place: "line 1".into() }, "{alpha} {gamma} {line}");
    }
    let refused = create(&SpsaForm { a_ratio: "1e300", ..form("a,1,0,2,1,1") }, 40_000).unwrap_err();
    assert_eq!(refused, SpsaFormError::Overflow { place: "A ratio".into() });

    let mut record = example();
    record.params[0].c = 0.0;
    let before = record.clone();
    let entry = SpsaEntry { iter: 0, packed_flips: vec![0], wins: 1, losses: 0, pairs: 2 };
    assert!(matches!(apply(&mut record, &entry, 40_000), Err(SpsaError::Gains { k: 1, .. })));
    assert_eq!(record, before);
    assert_eq!(display::run_page_table(&record).rows[0][5], "nan");
}

#[test]
fn a_form_without_parameters_is_told_so() {
    let record = create(&form(" \n"), 2000).unwrap();
    assert_eq!(record.require_params(), Err(SpsaFormError::NoParams));
    assert_eq!(example().require_params(), Ok(()));
}

#[test]
fn the_record_is_stored_with_integers_where_readers_expect_them() {
    use bson::Bson;
    let mut record = create(&form("p,100,0,200,10,0.002"), 3_200_000).unwrap();
    let document = record.to_document();
    let keys: Vec<&str> = document.keys().map(String::as_str).collect();
    assert_eq!(keys, ["algorithm", "A", "alpha", "gamma", "raw_params", "iter", "num_iter", "params"]);
    assert_eq!(document.get("A"), Some(&Bson::Int32(160_000)));
    assert_eq!(document.get("iter"), Some(&Bson::Int32(0)));
    assert_eq!(document.get("num_iter"), Some(&Bson::Int32(1_600_000)));
    let param = document.get_array("params").unwrap()[0].as_document().unwrap();
    assert_eq!(param.get("start"), Some(&Bson::Double(100.0)));
    assert_eq!(serde_json::to_value(&record).unwrap()["A"], serde_json::json!(160_000));

    let read: SpsaRecord = bson::deserialize_from_document(document.clone()).unwrap();
    assert_eq!(read, record);

    let mut stored = document;
    stored.insert("iter", 0.0);
    stored.insert("later_field", "kept");
    let read: SpsaRecord = bson::deserialize_from_document(stored.clone()).unwrap();
    assert_eq!(read, record, "a count stored as a double is read");

    let entry = SpsaEntry { iter: 0, packed_flips: vec![0x80], wins: 5, losses: 1, pairs: 20_000 };
    apply(&mut record, &entry, 3_200_000).unwrap();
    record.overlay(&mut stored);
    assert_eq!(stored.get("iter"), Some(&Bson::Int32(20_000)));
    assert_eq!(stored.get_str("later_field").unwrap(), "kept");
    let read: SpsaRecord = bson::deserialize_from_document(stored).unwrap();
    assert_eq!(read, record);
    assert_eq!(read.param_history.unwrap().len(), 1);
}

#[test]
fn a_stored_number_that_is_not_finite_is_refused() {
    let stored = |key: &str, number: f64| {
        let mut document = example().to_document();
        document.insert(key, number);
        bson::deserialize_from_document::<SpsaRecord>(document).is_ok()
    };
    for key in ["A", "alpha", "gamma"] {
        assert!(stored(key, 0.5) && !stored(key, f64::NAN) && !stored(key, f64::INFINITY), "{key}");
    }
    assert!(stored("iter", 3.0) && !stored("iter", 3.5) && !stored("iter", -1.0));
}

proptest! {
    #[test]
    fn no_form_text_makes_it_panic(
        raw in "(\\PC|[a-z0-9,.\n\r\te_+-])*", number in "(\\PC*|[0-9]{1,4}(\\.[0-9]{1,4})?(e[0-9]{1,3})?)",
    ) {
        let _ = create(&form(&raw), 2000);
        let _ = create(&SpsaForm { gamma: &number, alpha: &number, a_ratio: &number, ..form("a,1,0,2,1,1") }, 2000);
    }

    #[test]
    fn packing_is_undone_by_unpacking(signs in prop::collection::vec(prop::sample::select(vec![-1_i8, 1]), 0..70)) {
        let packed = pack(&signs);
        prop_assert_eq!(packed.len(), signs.len().div_ceil(8));
        prop_assert_eq!(unpack(&packed, signs.len()).unwrap(), signs);
    }

    #[test]
    fn the_record_survives_json_bit_for_bit_and_theta_stays_in_range(
        start in -1e3..1e3_f64, width in 0.0..1e3_f64, c_end in 1e-3..1e2_f64, r_end in 0.0..1.0_f64,
        entries in prop::collection::vec((0_u64..3000, any::<u8>(), 0_u64..200, 0_u64..200, 0_u64..300), 0..40),
    ) {
        let raw = format!("a,{start},{},{},{c_end},{r_end}\nb,1,0,2,1,0.1", start - width, start + width / 3.0);
        let mut whole = create(&form(&raw), 2000).unwrap();
        let mut reloaded = whole.clone();
        for (iter, flips, wins, losses, pairs) in entries {
            let entry = SpsaEntry { iter, packed_flips: vec![flips], wins, losses, pairs };
            let sent = serde_json::to_string(&entry).unwrap();
            apply(&mut whole, &entry, 2000).unwrap();
            apply(&mut reloaded, &serde_json::from_str(&sent).unwrap(), 2000).unwrap();
            reloaded = serde_json::from_str(&serde_json::to_string(&reloaded).unwrap()).unwrap();
        }
        for (param, other) in whole.params.iter().zip(&reloaded.params) {
            prop_assert_eq!(param.theta.to_bits(), other.theta.to_bits());
            prop_assert!(param.min <= param.theta && param.theta <= param.max);
        }
        prop_assert_eq!(whole, reloaded);
    }
}

//! `formulas.json`, the functions about verdicts, texts and pages.

use serde_json::{Value, json};
use shoal::domain::stats::counts::Counts;
use shoal::domain::stats::flags::{TestKind, compute_flags, crash_or_time, is_undecided};
use shoal::domain::stats::live_elo::{LiveElo, run_status_label};
use shoal::domain::stats::raw_statistics::RawStatistics;
use shoal::domain::stats::sprt::{SprtRecord, SprtState};
use shoal::domain::stats::text::{NeloSummary, ResultBox, Test, finished_run_message};

use super::compare::{Case, Check, VectorFile, compare_printed, number};
use super::formulas::DISPLAY;
use super::sprt::{counts, stats};

fn flag(run: &Value, key: &str) -> bool {
    run[key].as_bool().unwrap_or(false)
}

fn record(run: &Value) -> Option<SprtRecord> {
    run["args"].get("sprt").map(|sprt| serde_json::from_value(sprt.clone()).unwrap())
}

/// Calls `f` with the test of a run.
fn with_test<T>(run: &Value, f: impl FnOnce(Test<'_>) -> T) -> T {
    if let Some(spsa) = run["args"].get("spsa") {
        let count = |key: &str| spsa[key].as_u64().unwrap();
        return f(Test::Spsa { iter: count("iter"), num_iter: count("num_iter") });
    }
    match record(run) {
        Some(record) => f(Test::Sprt(&record)),
        None => f(Test::FixedGames),
    }
}

fn kind(run: &Value) -> TestKind {
    if run["args"].get("spsa").is_some() {
        return TestKind::Spsa;
    }
    match run["args"].get("sprt") {
        Some(sprt) => TestKind::Sprt(match sprt["state"].as_str() {
            Some("accepted") => SprtState::Accepted,
            Some("rejected") => SprtState::Rejected,
            _ => SprtState::Undecided,
        }),
        None => TestKind::FixedGames,
    }
}

fn answer(case: &Case) -> Value {
    let input = &case.input;
    let run = &input["run"];
    let results = || counts(&run["results"]);
    let num_games = || run["args"]["num_games"].as_u64().unwrap();
    match case.function() {
        "crash_or_time" => json!({"value": crash_or_time(&stats(&input["stats"]))}),
        "valid_results" => json!({"valid": stats(&input["stats"]).is_consistent()}),
        "flags" => {
            let flags = compute_flags(flag(run, "finished"), kind(run), &results());
            json!({
                "is_green": flags.is_green,
                "is_yellow": flags.is_yellow,
                "is_undecided": is_undecided(kind(run), stats(&run["results"]).games(), num_games()),
            })
        }
        "result_text" => {
            let shown = with_test(run, |test| ResultBox::new(&test, &results(), num_games()));
            let nelo_line = shown.nelo.map(|nelo| nelo.line("+/-"));
            json!({"style": shown.style, "info": shown.info, "nelo_line": nelo_line})
        }
        "nelo_summary" => {
            let counts = Counts::from(&stats(input));
            let nelo = NeloSummary::new(&counts.pentanomial.unwrap()).unwrap();
            json!({
                "nelo": nelo.nelo,
                "nelo_half_width_95": nelo.half_width_95,
                "pairs_ratio": number(nelo.pairs_ratio),
            })
        }
        "finished_run_message" => {
            let message =
                with_test(run, |test| finished_run_message(&test, &results(), flag(run, "is_green")));
            json!({ "message": message })
        }
        "live_elo_page" => {
            let page = LiveElo::new(&record(run).unwrap(), &results()).unwrap();
            let mut page = json!(page);
            let workers = run["workers"].as_u64().unwrap();
            let label =
                run_status_label(flag(run, "finished"), flag(run, "failed"), workers, flag(run, "approved"));
            page["run_status_label"] = json!(label);
            page
        }
        "statistics_page" => json!(RawStatistics::new(record(run).as_ref(), &results()).unwrap()),
        unknown => panic!("unknown function {unknown}"),
    }
}

/// Compares pages whose printed numbers may differ by one unit in the last place.
fn compare_pages(actual: &Value, expected: &Value) -> Check {
    match (actual, expected) {
        (Value::String(a), Value::String(e)) => compare_printed(a, e),
        (Value::Array(a), Value::Array(e)) if a.len() == e.len() => {
            a.iter().zip(e).try_for_each(|(a, e)| compare_pages(a, e))
        }
        (Value::Object(a), Value::Object(e)) if a.len() == e.len() => {
            e.iter().try_for_each(|(key, e)| compare_pages(&a[key], e).map_err(|why| format!("{key}: {why}")))
        }
        _ if actual == expected => Ok(()),
        _ => Err(format!("actual {actual}, expected {expected}")),
    }
}

#[test]
fn verdicts_texts_and_pages_equal_the_reference() {
    let file = VectorFile::load("formulas.json");
    file.check_selected(
        |case| DISPLAY.contains(&case.function()),
        |case| match case.function() {
            "statistics_page" => compare_pages(&answer(case), &case.expected),
            _ => file.compare(&answer(case), &case.expected),
        },
    );
}

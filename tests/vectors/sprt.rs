//! `sprt_elo.json` and `update_sprt_sequences.json`: the state of sequential tests and the Elo behind them.

use serde_json::{Value, json};
use shoal::domain::results::Stats;
use shoal::domain::stats::counts::Counts;
use shoal::domain::stats::elo::EloModel;
use shoal::domain::stats::llr::Bounds;
use shoal::domain::stats::sprt::SprtRecord;
use shoal::domain::stats::sprt_elo::{SprtEstimate, SprtQuestion, Walk, outcome_cdf};

use super::compare::{Check, VectorFile, float};

/// Reads results in which keys may be missing.
pub fn stats(results: &Value) -> Stats {
    let count = |key: &str| results[key].as_u64().unwrap_or(0);
    let mut pentanomial = [0; 5];
    for (slot, value) in pentanomial.iter_mut().zip(results["pentanomial"].as_array().into_iter().flatten()) {
        *slot = value.as_u64().unwrap();
    }
    Stats {
        wins: count("wins"),
        losses: count("losses"),
        draws: count("draws"),
        crashes: count("crashes"),
        time_losses: count("time_losses"),
        pentanomial,
    }
}

/// Reads results, with pairs only if they are there.
pub fn counts(results: &Value) -> Counts {
    match results.get("pentanomial") {
        Some(_) => Counts::from(&stats(results)),
        None => Counts::from_games_only(&stats(results)),
    }
}

fn model(input: &Value) -> EloModel {
    EloModel::parse(input["elo_model"].as_str().unwrap()).unwrap()
}

fn estimate(input: &Value) -> Result<Value, String> {
    let question = SprtQuestion {
        alpha: float(input, "alpha"),
        beta: float(input, "beta"),
        p: float(input, "p"),
        elo0: float(input, "elo0"),
        elo1: float(input, "elo1"),
        elo_model: model(input),
    };
    let counts = counts(&input["results"]);
    let estimate = SprtEstimate::new(&question, &counts).map_err(|e| e.to_string())?;
    let bounds = Bounds::new(question.elo_model, question.elo0, question.elo1, &counts).unwrap();
    let walk = Walk::new(&question, &bounds, counts.samples()).unwrap();
    let mut actual = serde_json::to_value(estimate).unwrap();
    actual["intermediate"] = json!({
        "score0": walk.scores[0],
        "score1": walk.scores[1],
        "brownian_llr": walk.position,
        "brownian_T": walk.time,
        "clamped": walk.clamped,
    });
    Ok(actual)
}

#[test]
fn estimates_of_sequential_tests_equal_the_reference() {
    let file = VectorFile::load("sprt_elo.json");
    file.check_all(|case| -> Check {
        let input = &case.input;
        if case.function() == "outcome_cdf" {
            let [a, b, mu, sigma, time, y] = ["a", "b", "mu", "sigma", "T", "y"].map(|key| float(input, key));
            let actual = json!({"probability": outcome_cdf(a, b, mu, sigma, time, y)});
            return file.compare(&actual, &json!({"probability": case.expected["probability"]}));
        }
        assert_eq!(case.function(), "SPRT_elo");
        if case.expected.get("upstream_error").is_some() {
            // The reference gives up; whatever the answer is, it must be made of numbers.
            let actual = estimate(input)?;
            let finite = ["elo", "LOS", "LLR"].iter().all(|key| actual[key].is_number());
            return if finite { Ok(()) } else { Err(format!("actual {actual}")) };
        }
        file.compare(&estimate(input)?, &case.expected)
    });
}

#[test]
fn sequences_of_updates_equal_the_reference() {
    let file = VectorFile::load("update_sprt_sequences.json");
    file.check_all(|case| -> Check {
        let input = &case.input;
        if case.function() == "constructor" {
            let record = SprtRecord::new(
                float(input, "alpha"),
                float(input, "beta"),
                float(input, "elo0"),
                float(input, "elo1"),
                model(input),
                input["batch_size"].as_u64().unwrap(),
            );
            return file.compare(&json!({"sprt": record}), &case.expected);
        }
        assert_eq!(case.function(), "sequence");
        let mut record: SprtRecord = serde_json::from_value(input["sprt"].clone()).unwrap();
        let states = case.expected["states"].as_array().unwrap();
        let steps = input["steps"].as_array().unwrap();
        assert!(steps.len() >= states.len());
        for (i, expected) in states.iter().enumerate() {
            record.update(&counts(&steps[i])).map_err(|error| format!("step {i}: {error}"))?;
            file.compare(&json!(record), expected).map_err(|why| format!("step {i}: {why}"))?;
        }
        Ok(())
    });
}

//! `formulas.json`: time control, capacity, throughput, remaining work, aggregation.

use serde_json::{Value, json};
use shoal::domain::capacity::{
    SprtProgress, TaskTotals, Throughput, aggregate, calc_itp, core_hours, hash_is_reasonable,
    hash_of_options, remaining_games, remaining_sprt_games, task_size, worker_cap,
};
use shoal::domain::number::parse_finite;
use shoal::domain::results::Stats;
use shoal::domain::time_control::{estimate_game_duration, is_ltc, sprt_batch_size, tc_ratio};

use super::compare::{Case, VectorFile, number};
use super::formulas::SCHEDULE;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

/// Threads as stored runs may hold them: a number, a text, or nothing.
fn threads(value: &Value) -> Option<f64> {
    match &value["threads"] {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => parse_finite(text),
        _ => None,
    }
}

fn count(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_default()
}

fn stats(value: &Value) -> Stats {
    let mut pentanomial = [0; 5];
    for (slot, pairs) in pentanomial.iter_mut().zip(value["pentanomial"].as_array().into_iter().flatten()) {
        *slot = pairs.as_u64().unwrap();
    }
    Stats {
        wins: count(value, "wins"),
        losses: count(value, "losses"),
        draws: count(value, "draws"),
        crashes: count(value, "crashes"),
        time_losses: count(value, "time_losses"),
        pentanomial,
    }
}

/// Pairs of a batch of a sequential test; one when a test does not say.
fn batch(args: &Value) -> Option<u64> {
    args.get("sprt").map(|sprt| sprt["batch_size"].as_u64().unwrap_or(1))
}

fn remaining_hours(input: &Value) -> f64 {
    let args = &input["args"];
    let results = stats(&input["results"]);
    let num_games = count(args, "num_games");
    let games = match args.get("sprt") {
        None => remaining_games(num_games, results.games()),
        Some(sprt) => {
            let overshoot = |squares: &str, sum: &str| {
                let of = |key: &str| sprt["overshoot"][key].as_f64().unwrap_or_default();
                if of(sum) == 0.0 { 0.0 } else { of(squares) / of(sum) / 2.0 }
            };
            let progress = SprtProgress {
                llr: sprt["llr"].as_f64().unwrap(),
                alpha: sprt["alpha"].as_f64().unwrap(),
                beta: sprt["beta"].as_f64().unwrap(),
                o0: -overshoot("sq0", "m0"),
                o1: overshoot("sq1", "m1"),
                pairs: results.pairs(),
            };
            remaining_sprt_games(num_games, &progress)
        }
    };
    let duration = estimate_game_duration(text(args, "tc")).unwrap();
    core_hours(duration, games, threads(args).unwrap_or(1.0))
}

fn throughput(input: &Value) -> Throughput {
    let args = &input["args"];
    let zero_if_missing = |key: &str| args["sprt"][key].as_f64().unwrap_or_default();
    Throughput {
        throughput: args["throughput"].as_f64().unwrap(),
        tc_ratio: tc_ratio(text(args, "tc"), threads(args)).unwrap(),
        games: stats(&input["results"]).games(),
        active_runs_of_user: count(input, "active_runs_of_user"),
        sprt: args.get("sprt").map(|_| (zero_if_missing("llr"), zero_if_missing("elo0"))),
    }
}

fn totals(input: &Value) -> Value {
    let args = &input["args"];
    let tasks = input["tasks"].as_array().unwrap().iter().map(|task| TaskTotals {
        active: task["active"].as_bool().unwrap(),
        num_games: count(task, "num_games"),
        stats: stats(&task["stats"]),
        concurrency: u32::try_from(count(&task["worker_info"], "concurrency")).unwrap(),
        nps: task["worker_info"]["nps"].as_f64().unwrap(),
    });
    let duration = estimate_game_duration(text(args, "tc")).unwrap();
    let sum = aggregate(tasks, duration, threads(args).unwrap() as u32).unwrap();
    json!({
        "results": sum.results,
        "cores": sum.cores,
        "workers": sum.workers,
        "committed_games": sum.committed_games,
        "total_games": sum.total_games,
        "nps": sum.nps,
        "games_per_minute": sum.games_per_minute,
    })
}

fn answer(case: &Case) -> Value {
    let input = &case.input;
    let ratio = || tc_ratio(text(input, "tc"), threads(input));
    match case.function() {
        "estimate_game_duration" => match estimate_game_duration(text(input, "tc")) {
            Ok(seconds) => json!({ "seconds": seconds }),
            Err(_) => json!({ "error": true }),
        },
        "get_tc_ratio" => json!({ "ratio": number(ratio().unwrap()) }),
        "sprt_batch_size" => {
            let ratio = ratio().unwrap();
            json!({ "batch_size_pairs": sprt_batch_size(ratio), "is_sprt_ltc": is_ltc(ratio) })
        }
        "worker_cap" => {
            let args = &input["args"];
            let duration = estimate_game_duration(text(args, "tc")).unwrap();
            let concurrency = count(input, "concurrency") as u32;
            json!({ "games": worker_cap(duration, concurrency, threads(args).unwrap() as u32, batch(args)) })
        }
        "task_size" => {
            let pairs = input["sprt_batch_size_pairs"].as_u64();
            let (num_games, committed) = (count(input, "num_games"), count(input, "committed_games"));
            json!({ "games": task_size(count(input, "worker_cap"), num_games, committed, pairs) })
        }
        "calc_itp" => json!({ "itp": calc_itp(&throughput(input)) }),
        "remaining_hours" => json!({ "hours": remaining_hours(input) }),
        "reasonable_hash" => {
            let hash = hash_of_options(text(input, "options"));
            json!({ "hash": hash, "ok": hash_is_reasonable(ratio().ok(), hash) })
        }
        "aggregate" => totals(input),
        other => panic!("{other} is not a schedule formula"),
    }
}

#[test]
fn schedule_formulas_equal_the_reference() {
    let file = VectorFile::load("formulas.json");
    file.check_selected(
        |case| SCHEDULE.contains(&case.function()),
        |case| file.compare(&answer(case), &case.expected),
    );
}

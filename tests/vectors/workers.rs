//! `chi2_bad_workers.json`: comparison of workers, and the purge of a run.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use shoal::domain::ids::{Millis, TaskId};
use shoal::domain::stats::chi2::{
    Chi2, PurgeRule, ResidualColor, ShownResidual, WorkerTask, bad_workers, display_color,
};
use shoal::domain::stats::counts::Counts;
use shoal::domain::stats::flags::{TestKind, compute_flags, crash_or_time, is_undecided};
use shoal::domain::stats::purge::{PurgeSubject, PurgeTask, plan_purge};
use shoal::domain::stats::sprt::SprtRecord;

use super::compare::{Case, VectorFile, float, number};
use super::sprt::{counts, stats};

const DAY: i64 = 24 * 3600 * 1000;

fn key(task: &Value) -> Option<&str> {
    task["worker_info"]["unique_key"].as_str()
}

fn tasks(input: &Value) -> Vec<WorkerTask<'_>> {
    let tasks = input["tasks"].as_array().unwrap().iter();
    tasks
        .map(|task| WorkerTask {
            unique_key: key(task),
            counts: counts(&task["stats"]),
            bad: task["bad"].as_bool().unwrap_or(false),
        })
        .collect()
}

fn rule(input: &Value) -> PurgeRule {
    let iters = input["iters"].as_u64().unwrap() as usize;
    PurgeRule { p: float(input, "p"), res: float(input, "res"), iters }
}

fn answer(case: &Case) -> Value {
    let input = &case.input;
    match case.function() {
        "get_chi2" => {
            let exclude = input["exclude_workers"].as_array().unwrap().iter();
            let exclude = exclude.map(|key| key.as_str().unwrap().to_owned()).collect();
            let chi2 = Chi2::new(&tasks(input), &exclude);
            let residual: Map<String, Value> =
                chi2.residuals.iter().map(|(key, residual)| (key.clone(), number(*residual))).collect();
            json!({
                "chi2": number(chi2.chi2),
                "dof": chi2.dof,
                "p": number(chi2.p),
                "residual": residual,
                "z_95": number(chi2.z_95),
                "z_99": number(chi2.z_99),
            })
        }
        "get_bad_workers" => {
            let tasks = tasks(input);
            let mut bad = bad_workers(&tasks, &Chi2::new(&tasks, &BTreeSet::new()), &rule(input));
            bad.sort();
            json!({ "bad_workers": bad })
        }
        "residual_to_color" => {
            let [residual, z_95, z_99] = ["residual", "z_95", "z_99"].map(|key| float(input, key));
            json!({"color": ResidualColor::of(residual, z_95, z_99).as_str()})
        }
        "display_residual" => display_residual(input),
        "purge_run" => purge_run(input),
        unknown => panic!("unknown function {unknown}"),
    }
}

fn display_residual(input: &Value) -> Value {
    let (task, chi2) = (&input["task"], &input["chi2"]);
    let residuals = chi2["residual"].as_object().unwrap().iter();
    let chi2 = Chi2 {
        chi2: 0.0,
        dof: 0,
        p: 1.0,
        residuals: residuals.map(|(key, x)| (key.clone(), x.as_f64().unwrap())).collect(),
        z_95: float(chi2, "z_95"),
        z_99: float(chi2, "z_99"),
    };
    let is_bad = task["bad"].as_bool().unwrap_or(false);
    let stored = is_bad.then(|| (float(task, "residual"), task["residual_color"].as_str().unwrap()));
    let shown = ShownResidual::new(stored, key(task), crash_or_time(&stats(&task["stats"])), &chi2);
    json!({
        "residual": number(shown.residual),
        "residual_color": shown.color,
        "display_color": display_color(&shown.color),
    })
}

/// Carries out a plan as the service does: totals, sequential test, then back to work or new flags.
fn purge_run(input: &Value) -> Value {
    let run = &input["run"];
    let list = run["tasks"].as_array().unwrap();
    let now = Millis(1_700_000_000_000);
    let mut finished = run["finished"].as_bool().unwrap();
    let subject = PurgeSubject {
        finished,
        failed: run["failed"].as_bool().unwrap(),
        start_time: Some(Millis(now.0 - run["age_days"].as_i64().unwrap() * DAY)),
        now,
    };
    let tasks: Vec<PurgeTask<'_>> = list
        .iter()
        .enumerate()
        .map(|(id, task)| PurgeTask {
            id: TaskId(id as u32),
            unique_key: key(task),
            stats: stats(&task["stats"]),
            bad: task["bad"].as_bool().unwrap_or(false),
        })
        .collect();
    let mut sprt: Option<SprtRecord> =
        run.get("sprt").map(|sprt| serde_json::from_value(sprt.clone()).unwrap());
    let mut results = stats(&run["results"]);
    let mut committed: u64 = tasks.iter().map(|task| task.stats.games()).sum();
    let (mut message, mut bad_tasks) = (String::new(), Vec::new());
    let (mut green, mut yellow) = (false, false);
    match plan_purge(&subject, &tasks, &rule(input)) {
        Err(refusal) => message = refusal.to_string(),
        Ok(plan) => {
            results = plan.results;
            for victim in plan.victims {
                committed -= tasks[victim.task.0 as usize].stats.games();
                bad_tasks.push(json!({
                    "task_id": victim.task.0,
                    "residual": number(victim.residual),
                    "residual_color": victim.color.as_str(),
                }));
            }
            let counts = Counts::from(&results);
            if let Some(record) = &mut sprt {
                record.update(&counts).unwrap();
            }
            let kind = sprt.map_or(TestKind::FixedGames, |record| TestKind::Sprt(record.state));
            if is_undecided(kind, results.games(), run["num_games"].as_u64().unwrap()) {
                finished = false;
            } else {
                let flags = compute_flags(finished, kind, &counts);
                (green, yellow) = (flags.is_green, flags.is_yellow);
            }
        }
    }
    let mut answer = json!({
        "message": message,
        "finished": finished,
        "committed_games": committed,
        "results": results,
        "is_green": green,
        "is_yellow": yellow,
        "bad_tasks": bad_tasks,
    });
    if let Some(record) = sprt {
        answer["sprt"] = json!(record);
    }
    answer
}

#[test]
fn comparisons_of_workers_equal_the_reference() {
    let file = VectorFile::load("chi2_bad_workers.json");
    file.check_all(|case| file.compare(&answer(case), &case.expected));
}

//! `spsa.json`: creation, rounds, updates and displays of tuning runs.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shoal::domain::spsa::chart::chart_payload;
use shoal::domain::spsa::create::{SpsaForm, create};
use shoal::domain::spsa::display::{form_values, run_page_table};
use shoal::domain::spsa::flips::{pack, signature, unpack};
use shoal::domain::spsa::{SpsaParam, SpsaRecord, SpsaRound, apply, history_period};

use super::compare::{Case, Check, VectorFile};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn record(value: &Value) -> SpsaRecord {
    serde_json::from_value(value.clone()).unwrap()
}

fn flips(value: &Value) -> Vec<i8> {
    serde_json::from_value(value.clone()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn created(input: &Value) -> Value {
    let form = SpsaForm {
        algorithm: input["algorithm"].as_str(),
        a_ratio: text(input, "A"),
        alpha: text(input, "alpha"),
        gamma: text(input, "gamma"),
        raw_params: text(input, "raw_params"),
    };
    match create(&form, input["num_games"].as_u64().unwrap()) {
        Ok(record) => json!({ "spsa": record }),
        Err(error) => json!({ "error": error.to_string(), "error_type": "ValueError" }),
    }
}

fn values(input: &Value) -> Value {
    let mut record = record(&input["spsa"]);
    record.iter = input["iter"].as_u64().unwrap();
    let round = record.round(pack(&flips(&input["flips"])));
    let mut answer = serde_json::to_value(record.worker_values(&round).unwrap()).unwrap();
    answer["packed_flips_hex"] = hex(&round.packed_flips).into();
    answer
}

fn packed(input: &Value) -> Value {
    let flips = flips(&input["flips"]);
    let packed = pack(&flips);
    json!({
        "packed_flips_hex": hex(&packed),
        "sig": signature(&packed),
        "unpacked": unpack(&packed, flips.len()),
        "unpacked_full": unpack(&packed, packed.len() * 8),
    })
}

fn clipped(input: &Value) -> Value {
    let of = |key: &str| input["param"][key].as_f64().unwrap();
    let param = SpsaParam {
        name: String::new(),
        start: 0.0,
        min: of("min"),
        max: of("max"),
        c_end: 1.0,
        r_end: 1.0,
        c: 1.0,
        a_end: 1.0,
        a: 1.0,
        theta: of("theta"),
    };
    json!({ "value": param.clip(param.theta + input["increment"].as_f64().unwrap()) })
}

/// A run with its tasks, driven step by step.
struct Lifecycle {
    record: SpsaRecord,
    num_games: u64,
    rounds: BTreeMap<u64, SpsaRound>,
    inactive: Vec<u64>,
}

impl Lifecycle {
    fn step(&mut self, step: &Value) -> Value {
        let task = step["task_id"].as_u64().unwrap();
        match text(step, "op") {
            "request" if self.inactive.contains(&task) => json!({ "reply": { "task_alive": false } }),
            "request" => {
                let round = self.record.round(pack(&flips(&step["flips"])));
                let mut reply = serde_json::to_value(self.record.worker_values(&round).unwrap()).unwrap();
                reply["task_alive"] = true.into();
                let kept = json!({ "iter": round.iter, "packed_flips_hex": hex(&round.packed_flips) });
                self.rounds.insert(task, round);
                json!({ "reply": reply, "task_spsa_params": kept })
            }
            "update" => {
                let results = &step["results"];
                let of = |key: &str| results[key].as_u64().unwrap_or_default();
                let before = self.record.iter;
                let entry = self.rounds.remove(&task).and_then(|round| {
                    round.entry(of("sig") as u32, of("wins"), of("losses"), of("num_games"))
                });
                if let Some(entry) = entry {
                    apply(&mut self.record, &entry, self.num_games).unwrap();
                }
                json!({
                    "applied": self.record.iter != before,
                    "iter": self.record.iter,
                    "theta": self.record.params.iter().map(|param| param.theta).collect::<Vec<_>>(),
                    "history_length": self.record.param_history.as_ref().map(Vec::len),
                    "task_has_spsa_params": self.rounds.contains_key(&task),
                })
            }
            "lose_task_spsa_params" => {
                self.rounds.remove(&task);
                json!({})
            }
            "deactivate" => {
                self.rounds.remove(&task);
                self.inactive.push(task);
                json!({})
            }
            other => panic!("unknown step {other}"),
        }
    }
}

fn lifecycle(input: &Value) -> Value {
    let mut run = Lifecycle {
        record: record(&input["spsa"]),
        num_games: input["num_games"].as_u64().unwrap(),
        rounds: BTreeMap::new(),
        inactive: Vec::new(),
    };
    let steps: Vec<Value> = input["steps"].as_array().unwrap().iter().map(|step| run.step(step)).collect();
    json!({ "steps": steps, "final_spsa": run.record })
}

fn table(input: &Value) -> Value {
    let table = run_page_table(&record(&input["spsa"]));
    let header = std::iter::once(Value::from(table.header));
    json!({ "rows": header.chain(table.rows.iter().map(|row| json!(row))).collect::<Vec<_>>() })
}

fn answer(case: &Case) -> Value {
    let input = &case.input;
    match case.function() {
        "create" => created(input),
        "worker_values" => values(input),
        "pack_flips" => packed(input),
        "history_period" => {
            let parameters = input["param_count"].as_u64().unwrap() as usize;
            json!({ "period": history_period(input["num_iter"].as_f64().unwrap(), parameters) })
        }
        "clip" => clipped(input),
        "lifecycle" => lifecycle(input),
        "run_page_table" => table(input),
        "form_values" => match form_values(Some(&input["spsa"]), input["num_games"].as_i64()) {
            Ok(values) => json!({ "values": values }),
            Err(_) => json!({ "error": true }),
        },
        "chart" => match chart_payload(Some(&input["spsa"])) {
            Ok(Some(payload)) => json!({ "payload": payload }),
            Ok(None) => json!({ "payload": {} }),
            Err(_) => json!({ "error": true }),
        },
        other => panic!("unknown function {other}"),
    }
}

#[test]
fn tuning_runs_equal_the_reference() {
    let file = VectorFile::load("spsa.json");
    file.check_all(|case| -> Check { file.compare(&answer(case), &case.expected) });
}

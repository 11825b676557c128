//! The runs of a generated farm.

use bson::{Bson, DateTime, Document, doc};
use rand::Rng;

use super::export::{NOW, YEAR_ONE, args, old_sprt, sprt, spsa};
use super::farm::{Maker, info};

/// Every so many runs one is broken.
const BROKEN_EVERY: usize = 9;

/// A run, and a word of the reason why it can't be taken.
pub fn run(maker: &mut Maker, number: usize) -> (Document, Option<&'static str>) {
    let mut run = good(maker, number);
    if number % BROKEN_EVERY != BROKEN_EVERY - 1 {
        return (run, None);
    }
    let word = break_it(&mut run, number / BROKEN_EVERY);
    (run, Some(word))
}

fn random_stats(maker: &mut Maker, pairs: i32) -> Document {
    let mut p = [0; 5];
    for _ in 0..pairs {
        p[maker.rng.random_range(0..5_usize)] += 1;
    }
    let both = maker.rng.random_range(0..=p[2]);
    doc! {
        "wins": 2 * p[4] + p[3] + both, "losses": 2 * p[0] + p[1] + both, "draws": p[1] + p[3] + 2 * (p[2] - both),
        "crashes": i32::from(maker.one_in(30)), "time_losses": 0, "pentanomial": p.to_vec(),
    }
}

fn zero_stats() -> Document {
    doc! { "wins": 0, "losses": 0, "draws": 0, "crashes": 0, "time_losses": 0, "pentanomial": [0, 0, 0, 0, 0] }
}

fn sum(tasks: &[Document]) -> Document {
    let mut total = zero_stats();
    for task in tasks {
        let stats = task.get_document("stats").unwrap();
        for key in ["wins", "losses", "draws", "crashes", "time_losses"] {
            total.insert(key, total.get_i32(key).unwrap() + stats.get_i32(key).unwrap());
        }
        let both =
            total.get_array("pentanomial").unwrap().iter().zip(stats.get_array("pentanomial").unwrap());
        let pairs: Vec<i32> = both.map(|(a, b)| a.as_i32().unwrap() + b.as_i32().unwrap()).collect();
        total.insert("pentanomial", pairs);
    }
    total
}

fn size(maker: &mut Maker, number: usize) -> usize {
    match number % 250 {
        // A run of megabytes.
        3 => 4000,
        5 => 600,
        _ => maker.rng.random_range(0..60),
    }
}

/// A run that can be taken.
fn good(maker: &mut Maker, number: usize) -> Document {
    let unfinished = number.is_multiple_of(8);
    let pending = unfinished && number.is_multiple_of(3);
    let count = if pending { 0 } else { size(maker, number) };
    let mut tasks = Vec::new();
    let mut start = 0;
    for _ in 0..count {
        let pairs = maker.rng.random_range(1..100);
        let active = unfinished && maker.one_in(4);
        let games = 2 * pairs + 2 * i32::from(active || maker.one_in(3));
        tasks.push(doc! {
            "num_games": games, "active": active, "worker_info": info(maker), "last_updated": maker.date(),
            "start": start, "stats": random_stats(maker, pairs),
        });
        start += games;
    }
    let mut run = super::export::run(1);
    run.insert("_id", maker.id());
    run.extend(doc! { "start_time": maker.date(), "last_updated": maker.date(), "finished": !unfinished });
    args(&mut run).extend(doc! { "info": maker.text(), "priority": maker.rng.random_range(-3..4) });
    args(&mut run).insert("username", format!("user{}", number % 40));
    let kind = number % 5;
    match kind {
        0 | 1 => _ = args(&mut run).insert("sprt", sprt()),
        2 => _ = args(&mut run).insert("spsa", spsa()),
        _ => {}
    }
    let bad_tasks = if !unfinished && number % 4 == 1 { purge(maker, &mut tasks) } else { Vec::new() };
    end(&mut run, number, unfinished);
    let active: Vec<&Document> = tasks.iter().filter(|task| task.get_bool("active").unwrap()).collect();
    let cores: i32 =
        active.iter().map(|t| t.get_document("worker_info").unwrap().get_i32("concurrency").unwrap()).sum();
    let committed: i32 = tasks.iter().map(committed).sum();
    run.extend(doc! {
        "workers": active.len() as i32, "cores": cores, "committed_games": committed, "total_games": start,
        "results": sum(&tasks), "approved": !pending, "approver": if pending { "" } else { "carol" },
    });
    run.extend(doc! { "tasks": tasks, "bad_tasks": bad_tasks });
    age(maker, &mut run, number);
    run
}

fn committed(task: &Document) -> i32 {
    if task.get_bool("active").unwrap() {
        return task.get_i32("num_games").unwrap();
    }
    let stats = task.get_document("stats").unwrap();
    ["wins", "losses", "draws"].iter().map(|key| stats.get_i32(key).unwrap()).sum()
}

/// Throws some tasks out, as fishtest of today does.
fn purge(maker: &mut Maker, tasks: &mut [Document]) -> Vec<Document> {
    let mut copies = Vec::new();
    for (number, task) in tasks.iter_mut().enumerate() {
        if !maker.one_in(6) {
            continue;
        }
        let mut copy = task.clone();
        let residual = *maker.pick(&[f64::INFINITY, 10.0, 4.7, -0.0]);
        copy.extend(
            doc! { "task_id": number as i32, "bad": true, "residual": residual, "residual_color": "red" },
        );
        task.extend(doc! { "bad": true, "stats": zero_stats() });
        copies.push(copy);
    }
    copies
}

fn end(run: &mut Document, number: usize, unfinished: bool) {
    run.extend(doc! { "nps": if unfinished { 1e6 } else { 0.0 }, "games_per_minute": 0.0 });
    if unfinished {
        return;
    }
    run.extend(match number % 6 {
        0 => doc! { "is_green": true },
        1 => doc! { "is_yellow": true },
        2 => doc! { "failed": true, "failures": 2 },
        3 => doc! { "deleted": true },
        _ => doc! {},
    });
}

fn lists(run: &mut Document, list: &str, mut change: impl FnMut(&mut Document)) {
    if let Ok(list) = run.get_array_mut(list) {
        list.iter_mut().for_each(|entry| change(entry.as_document_mut().unwrap()));
    }
}

/// Makes it as old, or as odd, as readers must tolerate (`spec/storage.md` section 3.12).
fn age(maker: &mut Maker, run: &mut Document, number: usize) {
    let finished = run.get_bool("finished").unwrap();
    if number.is_multiple_of(3) {
        run.insert("version", maker.rng.random_range(1..24));
    }
    if number % 7 == 2 {
        run.extend(maker.unknown());
        args(run).extend(maker.unknown());
        lists(run, "tasks", |task| task.extend(maker.unknown()));
        lists(run, "bad_tasks", |copy| copy.extend(maker.unknown()));
    }
    if !finished {
        return;
    }
    match number % 11 {
        1 => {
            // Before pairs were counted.
            if args(run).contains_key("sprt") {
                args(run).remove("sprt");
                old_sprt(run);
            }
            run.get_document_mut("results").unwrap().remove("pentanomial");
            for list in ["tasks", "bad_tasks"] {
                lists(run, list, |task| _ = task.get_document_mut("stats").unwrap().remove("pentanomial"));
            }
        }
        2 => {
            for key in
                ["version", "failures", "nps", "approver", "total_games", "bad_tasks", "games_per_minute"]
            {
                run.remove(key);
            }
            let never = DateTime::from_millis(YEAR_ONE);
            run.extend(doc! { "start_time": never, "last_updated": "Unknown" });
            run.insert("results_info", doc! { "style": "#44EB44", "info": ["LLR: 3.01"] });
        }
        3 => {
            // Every number in another form.
            lists(run, "tasks", |task| {
                for key in ["num_games", "start"] {
                    let value = task.get_i32(key).unwrap();
                    task.insert(key, maker.number(value));
                }
            });
            args(run).insert("threads", 1.0);
        }
        4 => {
            // Purged before copies had numbers.
            lists(run, "bad_tasks", |copy| {
                copy.remove("task_id");
                copy.remove("last_updated");
                copy.extend(doc! { "residual": 0, "residual_color": "#44EB44" });
            });
        }
        5 => {
            let bare = doc! { "num_games": 1000.0, "pending": false };
            let half = doc! {
                "num_games": 1000_i64, "active": false, "worker_key": "x", "last_updated": "Unknown", "start": 0.0,
                "worker_info": { "rate": { "limit": 60 } }, "stats": { "wins": 1_i64, "losses": 2.0, "draws": 3 },
            };
            let placeholder = doc! {
                "num_games": 2, "active": false, "spsa_params": {}, "bad": true,
                "worker_info": { "unique_key": "xxxxxxxx", "username": "Unknown_worker" },
            };
            run.insert("tasks", vec![bare, half, placeholder]);
        }
        6 => {
            // Results that contradict each other, and the tasks.
            lists(run, "tasks", |task| _ = task.get_document_mut("stats").unwrap().insert("wins", 1_000_003));
            run.get_document_mut("results").unwrap().insert("losses", 7);
        }
        7 => _ = run.remove("tasks"),
        8 => {
            args(run).extend(doc! { "base_net": "nn-0000000000a0.nnue", "regression_test": true });
            run.insert("start_time", DateTime::from_millis(NOW));
        }
        _ => {}
    }
}

fn first_task(run: &mut Document) -> &mut Document {
    let list = run.entry("tasks".to_owned()).or_insert(Bson::Array(Vec::new()));
    let list = list.as_array_mut().unwrap();
    if list.is_empty() {
        list.push(Bson::Document(doc! { "num_games": 2 }));
    }
    list[0].as_document_mut().unwrap()
}

/// Breaks a run in one of many ways.
fn break_it(run: &mut Document, way: usize) -> &'static str {
    match way % 20 {
        0 => {
            run.remove("finished");
            "no `finished`"
        }
        1 => {
            run.insert("tasks", "none");
            "`tasks` is a text"
        }
        2 => {
            run.remove("args");
            "no `args`"
        }
        3 => {
            run.insert("version", 25);
            "newer"
        }
        4 => {
            first_task(run).insert("num_games", -2);
            "`tasks`[0]: `num_games` is the number -2"
        }
        5 => {
            first_task(run).insert("stats", doc! { "pentanomial": [1, 2, 3, 4] });
            "five"
        }
        6 => {
            let id = run.get_object_id("_id").unwrap().to_hex();
            run.insert("_id", id);
            "`_id` is a text"
        }
        7 => {
            run.insert("bad_tasks", vec![3]);
            "`bad_tasks`[0]: not a document"
        }
        8 => {
            args(run).insert("username", 7);
            "`username` is the number 7"
        }
        9 => {
            run.insert("finished", "yes");
            "`finished` is a text"
        }
        10 => {
            run.insert("shoal", 1);
            "reserved"
        }
        11 => {
            run.insert("finished", false);
            args(run).remove("num_games");
            "no `num_games`"
        }
        12 => {
            run.insert("finished", false);
            args(run).insert("sprt", doc! { "elo0": "x" });
            "unfinished, and"
        }
        13 => {
            first_task(run).insert("stats", doc! { "wins": -3 });
            "`wins` is the number -3"
        }
        14 => {
            run.insert("is_green", 1);
            "`is_green` is the number 1"
        }
        15 => {
            args(run).insert("spsa", "none");
            "`spsa` is a text"
        }
        16 => {
            run.insert("tasks", vec![Bson::Null]);
            "`tasks`[0]: not a document"
        }
        17 => {
            run.insert("results", vec![1]);
            "`results` is a list"
        }
        18 => {
            let huge = doc! { "num_games": i64::MAX, "start": i64::MAX, "stats": { "wins": i64::MAX } };
            run.insert("tasks", vec![huge.clone(), huge]);
            "range of a count"
        }
        _ => {
            run.insert("args", vec!["args"]);
            "`args` is a list"
        }
    }
}

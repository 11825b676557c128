//! An export in the layout of fishtest's database: runs of all kinds and ages, in both forms of extended JSON.

use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Document, doc};
use serde_json::{Value, json};
use shoal::domain::document::to_extended_json;

pub const NOW: i64 = 1_732_291_082_139;
/// "Never".
pub const YEAR_ONE: i64 = -62_135_596_800_000;

pub fn id(number: u32) -> ObjectId {
    ObjectId::parse_str(format!("6740a2c47f2b1e5d{number:08x}")).unwrap()
}

pub fn info(username: &str, cores: i32, address: &str) -> Document {
    doc! {
        "uname": "Linux 6.8.0", "architecture": ["64bit", "ELF"], "concurrency": cores, "max_memory": 16000,
        "min_threads": 1, "username": username, "version": 325, "python_version": [3, 12, 1],
        "gcc_version": [13, 2, 0], "compiler": "g++", "unique_key": "1f3c9a07-5a28-4b7d-b27b-d78d97ecf11a",
        "modified": false, "worker_arch": "x86-64-avx2", "ARCH": "64bit BMI2", "nps": 1_234_567.0,
        "near_github_api_limit": false, "remote_addr": address, "country_code": "NL",
    }
}

pub fn stats(wins: i32, losses: i32, draws: i32, pairs: [i32; 5]) -> Document {
    doc! {
        "wins": wins, "losses": losses, "draws": draws, "crashes": 0, "time_losses": 0, "pentanomial": pairs.to_vec(),
    }
}

pub fn task(start: i32, games: i32, active: bool, info: Document, stats: Document) -> Document {
    doc! {
        "num_games": games, "active": active, "worker_info": info, "last_updated": DateTime::from_millis(NOW),
        "start": start, "stats": stats,
    }
}

/// A run of two tasks with 704 games, as version 24 stores it; unfinished, and its second task is being played.
pub fn run(number: u32) -> Document {
    let tasks = vec![
        task(0, 480, false, info("bob", 8, "203.0.113.7"), stats(127, 118, 235, [3, 51, 122, 62, 2])),
        task(480, 224, true, info("dave", 4, "198.51.100.9"), stats(11, 21, 32, [1, 12, 15, 4, 0])),
    ];
    doc! {
        "_id": id(number), "version": 24,
        "args": {
            "base_tag": "master", "new_tag": "my_pätch", "base_nets": ["nn-0000000000a0.nnue"],
            "new_nets": ["nn-0000000000a0.nnue"], "num_games": 800_000, "tc": "10+0.1", "new_tc": "10+0.1",
            "book": "UHO_Lichess_4852_v1.epd", "book_depth": "8", "threads": 1, "resolved_base": "a".repeat(40),
            "resolved_new": "b".repeat(40), "msg_base": "Update net", "msg_new": "Simplify 🐟",
            "base_options": "Hash=16", "new_options": "Hash=16", "info": "line one\r\nline two \u{2028} ü",
            "base_signature": "2050811", "new_signature": "2050812", "username": "alice",
            "tests_repo": "https://github.com/alice/Stockfish", "auto_purge": false, "throughput": 100,
            "itp": 90.2448, "priority": 0, "adjudication": true,
        },
        "start_time": DateTime::from_millis(NOW - 2_000_000), "last_updated": DateTime::from_millis(NOW),
        "tc_base": 10.0, "tasks": tasks, "approved": true, "approver": "carol", "bad_tasks": [],
        "results": stats(138, 139, 267, [4, 63, 137, 66, 2]),
        "workers": 1, "cores": 4, "committed_games": 704, "total_games": 704, "nps": 3_950_616.0,
        "games_per_minute": 12.210383945879652, "finished": false, "deleted": false, "failed": false,
        "failures": 0, "is_green": false, "is_yellow": false,
    }
}

pub fn args(run: &mut Document) -> &mut Document {
    run.get_document_mut("args").unwrap()
}

pub fn tasks(run: &mut Document) -> Vec<&mut Document> {
    let list = run.get_array_mut("tasks").unwrap();
    list.iter_mut().map(|task| task.as_document_mut().unwrap()).collect()
}

pub fn sprt() -> Document {
    doc! {
        "alpha": 0.05, "beta": 0.05, "elo0": 0.0, "elo1": 2.0, "elo_model": "normalized", "state": "",
        "llr": -0.019867762751878543, "batch_size": 16, "lower_bound": -2.9444389791664403,
        "upper_bound": 2.9444389791664403,
        "overshoot": {
            "last_update": 272, "skipped_updates": 0, "ref0": -0.019867762751878543, "m0": -0.019867762751878543,
            "sq0": 0.00037422088572370876, "ref1": 0.15983605245793123, "m1": 0.15983605245793123,
            "sq1": 0.006168105728122542,
        },
    }
}

pub fn spsa() -> Document {
    doc! {
        "algorithm": "classic", "A": 3000, "alpha": 0.602, "gamma": 0.101, "raw_params": "foo,100,0,200,10,0.002\r\n",
        "iter": 313, "num_iter": 30000,
        "params": [{
            "name": "foo", "start": 100.0, "min": 0.0, "max": 200.0, "c_end": 10.0, "r_end": 0.002,
            "c": 28.326260626654786, "a_end": 0.2, "a": 104.99663662650573, "theta": 100.21560282805646,
        }],
        "param_history": [[{ "theta": 100.21560282805646, "R": 0.0031521123407329764, "c": 15.932847672862655 }]],
    }
}

/// The unfinished sequential test that the schedule goes on with.
pub fn running_sprt() -> Document {
    let mut run = run(1);
    args(&mut run).insert("sprt", sprt());
    run
}

/// An unfinished tuning run with a round under way.
pub fn running_spsa() -> Document {
    let mut run = run(2);
    args(&mut run).insert("spsa", spsa());
    let flips = Binary { subtype: BinarySubtype::Generic, bytes: vec![0x80] };
    tasks(&mut run)[1].insert("spsa_params", doc! { "iter": 313, "packed_flips": flips });
    let worker = tasks(&mut run).remove(1).get_document_mut("worker_info").unwrap();
    worker.insert("username", "erin");
    run
}

pub fn finish(run: &mut Document) {
    tasks(run)[1].insert("active", false);
    run.extend(doc! {
        "finished": true, "workers": 0, "cores": 0, "committed_games": 544, "nps": 0.0, "games_per_minute": 0.0,
    });
}

/// Finished runs of every kind, version and end.
fn finished_runs() -> Vec<Document> {
    let mut runs = Vec::new();
    let ends = [
        doc! { "is_green": true },
        doc! { "is_yellow": true },
        doc! { "failed": true, "failures": 2 },
        doc! { "deleted": true },
    ];
    for kind in 0..4 {
        for version in [Some(24), Some(22), None] {
            for end in &ends {
                let mut run = run(100 + runs.len() as u32);
                finish(&mut run);
                run.extend(end.clone());
                match version {
                    Some(version) => run.insert("version", version),
                    None => run.remove("version"),
                };
                match kind {
                    0 => _ = args(&mut run).insert("sprt", sprt()),
                    1 => old_sprt(&mut run),
                    2 => _ = args(&mut run).insert("spsa", spsa()),
                    _ => {}
                }
                runs.push(run);
            }
        }
    }
    runs
}

/// A test from before pairs were counted, on the BayesElo scale.
pub fn old_sprt(run: &mut Document) {
    let test = doc! {
        "alpha": 0.05, "beta": 0.05, "elo0": -3, "elo1": 1, "llr": 3.01, "lower_bound": -2.944, "upper_bound": 2.944,
        "state": "accepted",
    };
    args(run).insert("sprt", test);
    run.get_document_mut("results").unwrap().remove("pentanomial");
    for task in tasks(run) {
        task.get_document_mut("stats").unwrap().remove("pentanomial");
    }
}

/// Runs in the forms that readers must tolerate (`spec/storage.md` section 3.12).
fn legacy_runs() -> Vec<Document> {
    let mut purged = run(200);
    finish(&mut purged);
    let mut copy = tasks(&mut purged)[0].clone();
    copy.extend(doc! { "task_id": 0, "bad": true, "residual": f64::INFINITY, "residual_color": "red" });
    copy.insert("a field of the copy", 3_i64);
    tasks(&mut purged)[0].extend(doc! { "bad": true, "stats": stats(0, 0, 0, [0; 5]) });
    purged.insert("bad_tasks", vec![copy.clone()]);
    purged.insert("results", stats(11, 21, 32, [1, 12, 15, 4, 0]));

    let mut old_purge = purged.clone();
    old_purge.insert("_id", id(201));
    copy.remove("task_id");
    copy.remove("last_updated");
    copy.extend(doc! { "residual": 0, "residual_color": "#44EB44" });
    let mut lost = copy.clone();
    lost.insert("num_games", 2);
    let mut lost_before = copy.clone();
    lost_before.insert("num_games", 4);
    old_purge.insert("bad_tasks", vec![lost_before, copy, lost]);

    let mut odd = run(202);
    finish(&mut odd);
    for key in ["version", "failures", "bad_tasks", "nps", "approver", "total_games"] {
        odd.remove(key);
    }
    odd.extend(doc! { "start_time": DateTime::from_millis(YEAR_ONE), "last_updated": "Unknown", "results_stale": false });
    odd.insert("results_info", doc! { "style": "#44EB44", "info": ["LLR: 3.01"] });
    args(&mut odd)
        .extend(doc! { "base_net": "nn-0000000000a0.nnue", "regression_test": true, "threads": 1.0 });
    let bare = doc! { "num_games": 1000.0, "pending": false };
    let half = doc! {
        "num_games": 1000_i64, "active": false, "worker_key": "x", "last_updated": "Unknown", "start": 0.0,
        "worker_info": { "rate": { "limit": 60 } }, "stats": { "wins": 1_i64, "losses": 2.0, "draws": 3 },
    };
    let placeholder = doc! {
        "num_games": 2, "active": false, "worker_info": { "unique_key": "xxxxxxxx", "username": "Unknown_worker" },
        "spsa_params": {}, "bad": true,
    };
    odd.insert("tasks", vec![bare, half, placeholder]);
    vec![purged, old_purge, odd]
}

/// All runs that can be taken.
pub fn good_runs() -> Vec<Document> {
    let mut runs = vec![running_sprt(), running_spsa()];
    runs.extend(finished_runs());
    runs.extend(legacy_runs());
    runs
}

/// Lines that can't be taken, with a word of the reason.
pub fn bad_runs() -> Vec<(String, &'static str)> {
    let changed = |number: u32, change: &dyn Fn(&mut Document)| {
        let mut run = run(number);
        change(&mut run);
        canonical(&run)
    };
    vec![
        ("{ \"_id\": ".to_owned(), "not JSON"),
        ("[{}]".to_owned(), "--jsonArray"),
        ("42".to_owned(), "not a document"),
        (changed(300, &|run| _ = run.insert("version", 25)), "newer"),
        (changed(301, &|run| _ = run.insert("tasks", "none")), "`tasks` is a text"),
        (changed(302, &|run| _ = run.remove("_id")), "no `_id`"),
        (changed(303, &|run| _ = run.insert("_id", "6740a2c47f2b1e5d3c9a1f10")), "not an object id"),
        (changed(304, &|run| _ = run.remove("finished")), "no `finished`"),
        (changed(305, &|run| _ = run.remove("args")), "no `args`"),
        (changed(306, &|run| _ = tasks(run)[1].insert("num_games", -2)), "`tasks`[1]: `num_games`"),
        (
            changed(307, &|run| _ = tasks(run)[0].insert("stats", doc! { "pentanomial": [1, 2, 3, 4] })),
            "five",
        ),
        (
            changed(308, &|run| _ = args(run).insert("sprt", doc! { "elo0": "x" })),
            "unfinished, and unreadable record",
        ),
        (changed(309, &|run| _ = args(run).insert("username", 7)), "`username` is the number 7"),
        (changed(310, &|run| _ = run.insert("bad_tasks", vec![3])), "`bad_tasks`[0]"),
        (changed(1, &|run| _ = run.insert("approver", "mallory")), "same identity"),
    ]
}

pub fn canonical(document: &Document) -> String {
    to_extended_json(document)
}

/// The form that `mongoexport` writes unless told otherwise; small 64-bit integers keep their marker.
pub fn relaxed(document: &Document) -> String {
    relaxed_value(&Bson::Document(document.clone())).to_string()
}

fn relaxed_value(value: &Bson) -> Value {
    match value {
        Bson::Document(inner) => {
            inner.iter().map(|(key, value)| (key.clone(), relaxed_value(value))).collect()
        }
        Bson::Array(list) => list.iter().map(relaxed_value).collect(),
        Bson::Int32(number) => json!(number),
        Bson::Int64(number) => json!({ "$numberLong": number.to_string() }),
        Bson::Double(number) if number.is_finite() => json!(number),
        Bson::Double(number) if *number > 0.0 => json!({ "$numberDouble": "Infinity" }),
        Bson::String(text) => json!(text),
        Bson::Boolean(flag) => json!(flag),
        Bson::Null => Value::Null,
        Bson::ObjectId(id) => json!({ "$oid": id.to_hex() }),
        Bson::DateTime(at) if at.timestamp_millis() >= 0 => {
            json!({ "$date": at.try_to_rfc3339_string().unwrap() })
        }
        Bson::DateTime(at) => json!({ "$date": { "$numberLong": at.timestamp_millis().to_string() } }),
        Bson::Binary(binary) => {
            json!({ "$binary": { "base64": STANDARD.encode(&binary.bytes), "subType": "00" } })
        }
        other => panic!("an export without {other:?}"),
    }
}

/// Every other document in the other form.
pub fn lines(documents: &[Document]) -> Vec<String> {
    let form =
        |(n, document): (usize, &Document)| if n % 2 == 0 { canonical(document) } else { relaxed(document) };
    documents.iter().enumerate().map(form).collect()
}

pub fn write(dir: &Path, name: &str, lines: &[String]) {
    std::fs::write(dir.join(name), lines.join("\n") + "\n").unwrap();
}

pub fn write_gzip(dir: &Path, name: &str, lines: &[String]) {
    let file = std::fs::File::create(dir.join(name)).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    gzip.write_all((lines.join("\r\n") + "\r\n\r\n").as_bytes()).unwrap();
    gzip.finish().unwrap();
}

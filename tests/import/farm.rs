//! A generator of farms as fishtest's database holds them: runs of every kind, version and fate, accounts, log, games,
//! and among them documents that are broken. The same seed makes the same farm.

use std::collections::BTreeMap;

use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Document, doc};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore};
use shoal::domain::document::value_to_extended_json;
use shoal::service::import::Collection;
use shoal::sys::random::seeded;

use super::export::{self, NOW, YEAR_ONE};
use super::farm_runs;

/// A document of the farm.
#[derive(Debug, Clone)]
pub struct Entry {
    pub collection: Collection,
    pub document: Document,
    /// A word of the reason why it can't be taken.
    pub refused: Option<&'static str>,
}

/// A farm.
pub struct Farm {
    pub entries: Vec<Entry>,
    /// Collections that nobody imports.
    pub derived: Vec<(&'static str, Document)>,
}

impl Farm {
    /// What can't be taken: collection and `_id`, and a word of the reason.
    pub fn broken(&self) -> BTreeMap<(Collection, String), &'static str> {
        let broken = self.entries.iter().filter_map(|entry| {
            Some(((entry.collection, id_text(entry.document.get("_id")?)), entry.refused?))
        });
        broken.collect()
    }
}

/// An `_id` as the import's report names it.
pub fn id_text(id: &Bson) -> String {
    match id {
        Bson::ObjectId(id) => id.to_hex(),
        other => value_to_extended_json(other),
    }
}

/// What everything is made with.
pub struct Maker {
    pub rng: StdRng,
    ids: u32,
}

impl Maker {
    /// Ids are time-prefixed, as fishtest's are.
    pub fn id(&mut self) -> ObjectId {
        self.ids += 1;
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&(0x5e00_0000 + self.ids * 977).to_be_bytes());
        self.rng.fill_bytes(&mut bytes[4..]);
        ObjectId::from_bytes(bytes)
    }

    pub fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_range(0..n) == 0
    }

    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        choices.choose(&mut self.rng).unwrap()
    }

    pub fn text(&mut self) -> &'static str {
        const TEXTS: [&str; 6] = [
            "Simplify X",
            "line one\r\nline two",
            "",
            "größer 🐟 \u{2028} \u{202e}",
            "\"quoted\" \\ and \u{0} beyond",
            "棋 в шахматы",
        ];
        TEXTS[self.rng.random_range(0..TEXTS.len())]
    }

    /// Any time; rarely before 1970, or never.
    pub fn date(&mut self) -> Bson {
        let millis = match self.rng.random_range(0..20) {
            0 => YEAR_ONE,
            1 => -1,
            2 => -1_000_000_000_123,
            _ => NOW - self.rng.random_range(0..400_000_000_000_i64),
        };
        Bson::DateTime(DateTime::from_millis(millis))
    }

    /// A whole number in one of the forms that readers must accept.
    pub fn number(&mut self, value: i32) -> Bson {
        match self.rng.random_range(0..4) {
            0 => Bson::Double(f64::from(value)),
            1 => Bson::Int64(i64::from(value)),
            _ => Bson::Int32(value),
        }
    }

    /// Fields that no version of anything knows.
    pub fn unknown(&mut self) -> Document {
        let value = match self.rng.random_range(0..6) {
            0 => Bson::Null,
            1 => Bson::Double(f64::NAN),
            2 => Bson::Document(doc! { "deep": { "er": [1_i64, 2.0, "drei", {}, []] } }),
            3 => Bson::Int64(i64::MIN),
            4 => self.date(),
            _ => Bson::from(self.text()),
        };
        let key = *self.pick(&["zz_new", "länge", "results_stale", "a b"]);
        Document::from_iter([(key.to_owned(), value)])
    }
}

/// A farm of so many runs; everything else follows from that number.
pub fn generate(seed: u64, runs: usize) -> Farm {
    let mut maker = Maker { rng: seeded(seed), ids: 0 };
    let mut farm = Farm { entries: Vec::new(), derived: Vec::new() };
    let mut add = |collection, document, refused| {
        farm.entries.push(Entry { collection, document, refused });
    };
    let mut run_ids = Vec::new();
    for number in 0..runs {
        let run = farm_runs::run(&mut maker, number);
        if let (Ok(id), None) = (run.0.get_object_id("_id"), run.1) {
            run_ids.push(id);
        }
        add(Collection::Runs, run.0, run.1);
    }
    for (document, refused) in kvstore(&run_ids) {
        add(Collection::Kvstore, document, refused);
    }
    for number in 0..runs / 2 + 20 {
        let (document, refused) = user(&mut maker, number);
        add(Collection::Users, document, refused);
        if number % 3 == 0 {
            let (document, refused) = contribution(&mut maker, number);
            add(Collection::UserCache, document, refused);
        }
    }
    for number in 0..runs / 5 + 12 {
        let (document, refused) = worker(&mut maker, number);
        add(Collection::Workers, document, refused);
        let (document, refused) = net(&mut maker, number);
        add(Collection::Nns, document, refused);
    }
    for number in 0..runs * 12 {
        let (document, refused) = action(&mut maker, number, &run_ids);
        add(Collection::Actions, document, refused);
    }
    for number in 0..runs {
        let (document, refused) = pgn(&mut maker, number, &run_ids);
        add(Collection::Pgns, document, refused);
    }
    let counted = run_ids[0].to_hex();
    farm.derived.push(("deltas", doc! { "_id": maker.id(), counted: null }));
    farm.derived.push(("top_month", doc! { "_id": maker.id(), "username": "user0", "games": 3 }));
    farm
}

type Made = (Document, Option<&'static str>);

fn kvstore(runs: &[ObjectId]) -> Vec<Made> {
    let run = runs[0].to_hex();
    vec![
        (doc! { "_id": "legacy_usernames", "value": ["Old Näme", "x"] }, None),
        (
            doc! { "_id": "books", "value": { "UHO_Lichess_4852_v1.epd": { "total": 4, "white": 2, "black": 2, "min_depth": null, "sri": "x" } } },
            None,
        ),
        (
            doc! { "_id": "worker_runs", "value": { "bob-8cores-1f3c9a07": { &run: true, "last_run": &run } } },
            None,
        ),
        (doc! { "_id": "official_master_sha", "value": "a".repeat(40) }, None),
        (
            doc! { "_id": "github_api_cache", "value": { "version": 2, "lru_cache": [[["_is_master", "b"], true]] } },
            None,
        ),
        (doc! { "_id": "something_newer", "value": [1, 2.0, { "x": null, "y": f64::NAN }] }, None),
        (doc! { "_id": "no value" }, Some("no `value`")),
        (doc! { "_id": "two values", "value": 1, "value2": 2 }, Some("`value2` beside")),
        (doc! { "_id": ObjectId::from_bytes([9; 12]), "value": 1 }, Some("`_id` is not a text")),
    ]
}

fn user(maker: &mut Maker, number: usize) -> Made {
    let mut user = doc! {
        "_id": maker.id(), "username": format!("user{number}"), "password": format!("CorrectHorse{number}!ü"),
        "registration_time": maker.date(), "pending": number % 11 == 7, "blocked": number % 13 == 5,
        "email": format!("user{number}@example.com"), "groups": Vec::<Bson>::new(), "tests_repo": "", "machine_limit": 16,
    };
    let refused = match number {
        0 => {
            user.insert("groups", vec!["group:approvers", "group:admins"]);
            None
        }
        1 => {
            user.extend(
                doc! { "username": "Old Näme", "registration_time": "Unknown", "machine_limit": 100.0 },
            );
            None
        }
        2 => {
            // From before most of the fields.
            user =
                doc! { "_id": maker.id(), "username": "x", "password": "", "rank": 3_i64, "score": f64::NAN };
            None
        }
        3 => {
            user.remove("password");
            None
        }
        4 => {
            user.insert("username", "user0");
            Some("same identity")
        }
        5 => {
            user.insert("username", 5);
            Some("`username` is the number 5")
        }
        6 => {
            user.insert("username", "not allowed");
            Some("two or more letters")
        }
        7 => {
            user.insert("groups", vec![1]);
            Some("`groups`")
        }
        8 => {
            user.insert("machine_limit", -1);
            Some("`machine_limit` is the number -1")
        }
        9 => {
            user.insert("pending", "no");
            Some("`pending` is a text")
        }
        10 => {
            user.remove("username");
            Some("no `username`")
        }
        _ => {
            if maker.one_in(9) {
                user.extend(maker.unknown());
            }
            None
        }
    };
    (user, refused)
}

fn contribution(maker: &mut Maker, number: usize) -> Made {
    let hours = match maker.rng.random_range(0..3) {
        0 => Bson::Int32(0),
        1 => Bson::Double(15_234.73),
        _ => Bson::Int64(1 << 40),
    };
    let mut entry = doc! {
        "_id": maker.id(), "username": format!("user{number}"), "cpu_hours": hours, "games": 1_789_233,
        "games_per_hour": 1465.2, "tests": 3, "tests_repo": "", "last_updated": maker.date(),
    };
    match number {
        6 => {
            entry.insert("cpu_hours", "many");
            (entry, Some("`cpu_hours`"))
        }
        9 => {
            entry.insert("cpu_hours", f64::NAN);
            (entry, Some("`cpu_hours`"))
        }
        12 => {
            entry.remove("username");
            (entry, Some("no `username`"))
        }
        _ => (entry, None),
    }
}

fn worker(maker: &mut Maker, number: usize) -> Made {
    let mut worker = doc! {
        "_id": maker.id(), "worker_name": format!("user{number}-8cores-1f3c{number:04}"), "blocked": number.is_multiple_of(3),
        "message": maker.text(), "last_updated": maker.date(),
    };
    let refused = match number {
        0 => {
            worker.insert("worker_name", "nobody");
            Some("`worker_name`")
        }
        1 => {
            worker.remove("blocked");
            Some("no `blocked`")
        }
        2 => {
            worker.insert("last_updated", "today");
            Some("`last_updated`")
        }
        3 => {
            worker.remove("message");
            None
        }
        4 => {
            worker.insert("zz_new", 1);
            None
        }
        _ => None,
    };
    (worker, refused)
}

fn net(maker: &mut Maker, number: usize) -> Made {
    let mut net = doc! {
        "_id": maker.id(), "user": format!("user{number}"), "name": format!("nn-{number:012x}.nnue"),
        "downloads": maker.number(1234),
    };
    if maker.one_in(2) {
        let test = doc! { "id": maker.id().to_hex(), "date": maker.date() };
        net.extend(doc! { "first_test": test.clone(), "last_test": test, "is_master": true });
    }
    let refused = match number {
        0 => {
            net.insert("name", "nn-x.nnue");
            Some("`name`")
        }
        1 => {
            net.insert("downloads", -1);
            Some("`downloads` is the number -1")
        }
        2 => {
            let bytes = vec![7; 100_000];
            net.insert("nn", Binary { subtype: BinarySubtype::Generic, bytes });
            net.insert("elo", f64::NAN);
            None
        }
        3 => {
            net.extend(maker.unknown());
            None
        }
        _ => None,
    };
    (net, refused)
}

const ACTIONS: [&str; 17] = [
    "new_run",
    "approve_run",
    "modify_run",
    "stop_run",
    "finished_run",
    "delete_run",
    "purge_run",
    "failed_task",
    "crash_or_time",
    "dead_task",
    "upload_nn",
    "block_user",
    "accept_user",
    "block_worker",
    "log_message",
    "worker_log",
    "system_event",
];

fn action(maker: &mut Maker, number: usize, runs: &[ObjectId]) -> Made {
    let action = ACTIONS[number % ACTIONS.len()];
    let time = 1_500_000_000.0 + maker.rng.random_range(0.0..2e8);
    let run = maker.pick(runs).to_hex();
    let mut entry = doc! {
        "_id": maker.id(), "action": action, "username": format!("user{}", number % 40), "message": maker.text(),
        "time": time, "run_id": run, "run": "my_patch-d6a2f1a", "task_id": 3, "worker": "bob-8cores-1f3c9a07-5a28",
    };
    let refused = match number {
        10 => {
            entry.insert("time", "now");
            Some("`time`")
        }
        20 => {
            entry.remove("time");
            Some("`time`")
        }
        30 => {
            entry.insert("_id", 30);
            Some("`_id` is the number 30")
        }
        40 => {
            entry.insert("time", f64::INFINITY);
            Some("`time`")
        }
        _ => {
            match maker.rng.random_range(0..12) {
                // Old entries lack what later ones have.
                0 => {
                    entry = doc! { "_id": entry.get_object_id("_id").unwrap(), "time": 5, "data": { "x": 1 } }
                }
                1 => _ = entry.insert("time", Bson::Int64(-3)),
                2 => entry.extend(maker.unknown()),
                _ => {}
            }
            None
        }
    };
    (entry, refused)
}

fn pgn(maker: &mut Maker, number: usize, runs: &[ObjectId]) -> Made {
    // Most are small; some have megabytes.
    let size = if number % 97 == 13 { 5 << 20 } else { maker.rng.random_range(20..20_000) };
    let mut bytes = vec![0; size];
    maker.rng.fill_bytes(&mut bytes);
    bytes[..2].copy_from_slice(&[0x1f, 0x8b]);
    let run = maker.pick(runs).to_hex();
    let games = Binary { subtype: BinarySubtype::Generic, bytes };
    let mut pgn = doc! {
        "_id": maker.id(), "run_id": format!("{run}-{}", number % 5), "pgn_zip": games, "size": size as i32,
    };
    let refused = match number {
        1 => {
            pgn.insert("run_id", format!("{run}-03"));
            Some("`run_id`")
        }
        2 => {
            pgn.insert("pgn_zip", "text");
            Some("`pgn_zip` is not binary")
        }
        3 => {
            pgn.insert("pgn_zip", Binary { subtype: BinarySubtype::Generic, bytes: b"[Event]".to_vec() });
            Some("`pgn_zip` is not gzip")
        }
        4 => {
            pgn.insert("size", 7);
            None
        }
        5 => {
            pgn.insert("size", size as f64);
            None
        }
        6 => {
            pgn.insert("zz_new", true);
            None
        }
        _ => None,
    };
    (pgn, refused)
}

/// The worker information of a task.
pub fn info(maker: &mut Maker) -> Document {
    let number = maker.rng.random_range(0..40);
    let address = format!("203.0.113.{number}");
    let mut info = export::info(&format!("user{number}"), 1 << (number % 6), &address);
    info.insert("unique_key", format!("1f3c{number:04}-5a28-4b7d-b27b-d78d97ecf11a"));
    info.insert("nps", maker.number(1_234_567));
    info
}

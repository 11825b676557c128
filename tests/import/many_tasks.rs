//! Promise: a run with 200,000 tasks is imported, listed, purged and exported, in time that grows with the number of
//! tasks and in memory that is that of its line, or of a page.
//!
//! The short form has 2,000 tasks. Every step is a process of its own, so that its peak of memory is known.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use bson::{DateTime, Document, doc};
use serde::Deserialize;
use serde_json::value::RawValue;
use shoal::domain::document::value_from_extended_json;
use shoal::domain::ids::Millis;
use shoal::sys::clock::{stopwatch, wall_now};

use super::export::{self, canonical};
use crate::drills::{command, output};
use crate::durability::mongo_server::{database, url};

/// One of so many tasks is of the worker that loses everything.
const BAD_EVERY: usize = 100;

fn tasks() -> usize {
    if std::env::var_os("SHOAL_LONG").is_some() { 200_000 } else { 2000 }
}

fn task(number: usize) -> Document {
    let bad = number % BAD_EVERY == 7;
    let worker = if bad { 9999 } else { number % 400 };
    let mut info = export::info(&format!("user{worker}"), 8, "203.0.113.7");
    info.insert("unique_key", format!("1f3c{worker:04}-5a28-4b7d-b27b-d78d97ecf11a"));
    let stats = if bad {
        export::stats(0, 100, 0, [50, 0, 0, 0, 0])
    } else {
        export::stats(20, 20, 60, [2, 11, 24, 11, 2])
    };
    export::task((number * 100) as i32, 100, false, info, stats)
}

/// Writes an export of one finished run that is days old, so that it may be purged.
fn write_run(dir: &Path, tasks: usize) -> String {
    let mut run = export::run(1);
    export::finish(&mut run);
    let Millis(now) = wall_now();
    let bad = tasks.div_ceil(BAD_EVERY);
    let good = (tasks - bad) as i32;
    let bad = bad as i32;
    let pairs = [2 * good + 50 * bad, 11 * good, 24 * good, 11 * good, 2 * good];
    run.extend(doc! {
        "start_time": DateTime::from_millis(now - 86_400_000), "last_updated": DateTime::from_millis(now - 3_600_000),
        "results": export::stats(20 * good, 20 * good + 100 * bad, 60 * good, pairs),
        "total_games": tasks as i32 * 100, "committed_games": tasks as i32 * 100,
    });
    run.remove("tasks");
    run.remove("bad_tasks");
    let id = run.get_object_id("_id").unwrap().to_hex();
    let mut file = BufWriter::new(std::fs::File::create(dir.join("runs.json")).unwrap());
    let text = canonical(&run);
    file.write_all(&text.as_bytes()[..text.len() - 1]).unwrap();
    file.write_all(b",\"bad_tasks\":[],\"tasks\":[").unwrap();
    for number in 0..tasks {
        let separator = if number == 0 { "" } else { "," };
        file.write_all(format!("{separator}{}", canonical(&task(number))).as_bytes()).unwrap();
    }
    file.write_all(b"]}\n").unwrap();
    file.flush().unwrap();
    id
}

/// A farm in a directory, on one store or the other.
struct Farm {
    dir: tempfile::TempDir,
    mongodb: Option<(String, String)>,
}

impl Farm {
    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = command(self.dir.path(), args);
        command.env("SHOAL_USER_PASSWORD", "secret").env("SHOAL_LOG", "warn");
        if let Some((url, database)) = &self.mongodb {
            command.env("SHOAL_MONGODB_URL", url).env("SHOAL_MONGODB_DATABASE", database);
            command.env("SHOAL_MONGODB_DEADLINE", "60s");
        }
        command
    }

    /// Runs a command to its end; prints what it took, and returns what it said and its peak of memory in MiB.
    fn step(&self, args: &[&str]) -> (String, u64) {
        let began = stopwatch();
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let said = std::thread::scope(|threads| {
            let reader = threads.spawn(move || {
                let mut said = String::new();
                stdout.read_to_string(&mut said).unwrap();
                said
            });
            let stderr = BufReader::new(child.stderr.take().unwrap());
            let errors = threads.spawn(move || stderr.lines().map_while(Result::ok).collect::<Vec<_>>());
            let peak = peak_until_end(&mut child);
            let errors = errors.join().unwrap();
            assert!(child.wait().unwrap().success(), "{args:?}: {errors:#?}");
            (reader.join().unwrap(), peak)
        });
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{:?} {:>7.1} s {:>6} MiB  shoal {}",
            self.mongodb.is_some(),
            seconds,
            said.1,
            args.join(" ")
        );
        said
    }
}

/// The highest resident memory of a process, in MiB.
fn peak_until_end(child: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) / 1024);
        std::thread::sleep(Duration::from_millis(10));
    }
    peak
}

#[derive(Deserialize)]
struct Lists<'a> {
    #[serde(borrow)]
    tasks: Vec<&'a RawValue>,
    #[serde(borrow)]
    bad_tasks: Vec<&'a RawValue>,
    #[serde(borrow)]
    results: &'a RawValue,
}

fn read(value: &RawValue) -> Document {
    value_from_extended_json(value.get()).unwrap().as_document().unwrap().clone()
}

/// The exported run: every task as it was, or thrown out.
fn check_export(dir: &Path, tasks: usize) {
    let text = std::fs::read_to_string(dir.join("runs.json")).unwrap();
    let lists: Lists<'_> = serde_json::from_str(text.trim_end()).unwrap();
    let bad: Vec<usize> = (0..tasks).filter(|number| number % BAD_EVERY == 7).collect();
    assert_eq!((lists.tasks.len(), lists.bad_tasks.len()), (tasks, bad.len()));
    let looked_at = (tasks / 1000).max(1);
    for number in (0..tasks).step_by(looked_at).chain(bad.iter().copied().take(20)) {
        let mut expected = task(number);
        let found = read(lists.tasks[number]);
        let mut found_without = found.clone();
        for document in [&mut expected, &mut found_without] {
            document.remove("last_updated");
        }
        if number % BAD_EVERY == 7 {
            expected.extend(doc! { "bad": true, "stats": export::stats(0, 0, 0, [0; 5]) });
        }
        assert_eq!(found_without, expected, "task {number}");
    }
    for (copy, number) in lists.bad_tasks.iter().zip(&bad).step_by(looked_at) {
        let copy = read(copy);
        assert_eq!(copy.get_i32("task_id").unwrap(), *number as i32);
        assert_eq!(copy.get_document("stats").unwrap(), &export::stats(0, 100, 0, [50, 0, 0, 0, 0]));
    }
    let good = (tasks - bad.len()) as i32;
    let pairs = [2 * good, 11 * good, 24 * good, 11 * good, 2 * good];
    assert_eq!(read(lists.results), export::stats(20 * good, 20 * good, 60 * good, pairs));
}

fn play(farm: &Farm) {
    let tasks = tasks();
    let long = std::env::var_os("SHOAL_LONG").is_some();
    let input = farm.dir.path().join("in");
    std::fs::create_dir(&input).unwrap();
    let id = write_run(&input, tasks);
    let line = std::fs::metadata(input.join("runs.json")).unwrap().len() >> 20;
    println!("{tasks} tasks, a line of {line} MiB");
    farm.step(&["user", "add", "judge", "--approver"]);
    let (_, import) = farm.step(&["import", "--files", "in"]);
    let (again, _) = farm.step(&["import", "--files", "in", "--json"]);
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(
        (&again["collections"][0]["taken"], &again["collections"][0]["already_there"]),
        (&0.into(), &1.into())
    );
    let (listed, list) = farm.step(&["run", "list", "--finished"]);
    assert!(listed.contains(&id), "{listed}");
    let (shown, _) = farm.step(&["run", "show", &id]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["total_games"], tasks as u64 * 100);
    let (_, purge) = farm.step(&["run", "purge", &id, "--by", "judge"]);
    let (_, export) = farm.step(&["export", "--files", "out"]);
    check_export(&farm.dir.path().join("out"), tasks);
    // What a process of this size takes anyway, and then by the step: the line, some bytes a task, or a page.
    let base = 130;
    let per_task = tasks as u64 / 1000;
    assert!(import < base + 3 * line, "the import took {import} MiB");
    assert!(list < base, "the list took {list} MiB");
    assert!(purge < base + per_task, "the purge took {purge} MiB");
    assert!(export < base + per_task / 4, "the export took {export} MiB");
    if let (Some((url, _)), true) = (&farm.mongodb, true) {
        // In one document it has no room: it is named, and the rest is there.
        let target = format!("{url}{}", database());
        let refused = output_of(farm, &["export", "--to", &target]);
        let large = line > 20;
        assert_eq!(refused.status.code(), Some(if large { 2 } else { 0 }), "{refused:?}");
        let said = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert_eq!(said.contains(&format!("run {id} (")) && said.contains("left out"), large, "{said}");
    }
    if !long {
        // What was exported moves in again.
        let again = Farm { dir: tempfile::tempdir().unwrap(), mongodb: None };
        std::fs::rename(farm.dir.path().join("out"), again.dir.path().join("in")).unwrap();
        again.step(&["import", "--files", "in"]);
        again.step(&["export", "--files", "out"]);
        check_export(&again.dir.path().join("out"), tasks);
    }
}

fn output_of(farm: &Farm, args: &[&str]) -> std::process::Output {
    farm.command(args).output().unwrap()
}

#[test]
fn a_run_of_very_many_tasks_works_in_a_file() {
    play(&Farm { dir: tempfile::tempdir().unwrap(), mongodb: None });
}

#[test]
fn a_run_of_very_many_tasks_works_in_mongodb() {
    let Some(url) = url() else { return };
    play(&Farm { dir: tempfile::tempdir().unwrap(), mongodb: Some((url.to_owned(), database())) });
}

#[test]
fn the_commands_say_what_they_refuse() {
    let Some(url) = url() else { return };
    let dir = tempfile::tempdir().unwrap();
    let refused = |args: &[&str], mongodb: Option<(&str, &str)>, word: &str| {
        let mut command = command(dir.path(), args);
        if let Some((url, database)) = mongodb {
            command.env("SHOAL_MONGODB_URL", url).env("SHOAL_MONGODB_DATABASE", database);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(word), "{args:?}: {said}");
    };
    let name = database();
    let place = format!("{url}{name}");
    refused(&["import"], None, "--files");
    refused(&["import", "--files", ".", "--from", &place], None, "cannot be used with");
    refused(&["export"], None, "--to");
    refused(&["import", "--from", url], None, "names no database");
    refused(&["import", "--from", &place], None, "no collection of fishtest's");
    refused(&["import", "--from", &place], Some((url, &name)), "the farm's own database");
    // A farm in MongoDB.
    let output = command(dir.path(), &["user", "add", "alice"])
        .env("SHOAL_MONGODB_URL", url)
        .env("SHOAL_MONGODB_DATABASE", &name)
        .env("SHOAL_USER_PASSWORD", "secret")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    refused(&["import", "--from", &place], None, "shoal copy");
    refused(&["export", "--to", &place], Some((url, &name)), "Shoal database");
    // Its export is not the farm's to move into, by whatever name the server goes.
    let moved = database();
    let target = format!("{url}{moved}");
    let exported = command(dir.path(), &["export", "--to", &target])
        .env("SHOAL_MONGODB_URL", url)
        .env("SHOAL_MONGODB_DATABASE", &name)
        .output()
        .unwrap();
    assert!(exported.status.success(), "{exported:?}");
    let by_another_name = url.replace("127.0.0.1", "localhost");
    refused(
        &["import", "--from", &target],
        Some((&by_another_name, &moved)),
        if by_another_name == url { "the farm's own database" } else { "is not Shoal's, nor empty" },
    );
    refused(&["export", "--to", &target], Some((url, &name)), "is not empty");
    let home = tempfile::tempdir().unwrap();
    assert!(output_ok(home.path(), &["import", "--from", &target]).contains("users"));
    assert!(output_ok(home.path(), &["user", "list"]).contains("alice"));
}

fn output_ok(dir: &Path, args: &[&str]) -> String {
    let output = output(dir, args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

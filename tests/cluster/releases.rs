//! Two releases side by side, whose scripts differ: upgraded replica by replica, and back, while a fleet is at work.

use std::path::{Path, PathBuf};

use super::drill::{Drill, Engines, long, scale, turn};
use super::redis::{RedisServer, Variant};
use crate::drills::SHOAL;

/// Stands in every script, and nowhere else; a script's name is the digest of its text.
const COMMENT: &[u8] = b"-- KEYS    1 generation";
const OTHER: &[u8] = b"-- Keys    1 generation";

/// Another release, as it were: the same program with another comment in every script.
fn next_release(dir: &Path) -> PathBuf {
    let mut program = std::fs::read(SHOAL).unwrap();
    let mut found = 0;
    let mut at = 0;
    while let Some(next) = program[at..].windows(COMMENT.len()).position(|bytes| bytes == COMMENT) {
        at += next;
        program[at..at + COMMENT.len()].copy_from_slice(OTHER);
        found += 1;
    }
    assert!(found > 0, "the comment isn't in the program");
    let path = dir.join("shoal-next");
    std::fs::write(&path, program).unwrap();
    std::fs::set_permissions(&path, std::fs::metadata(SHOAL).unwrap().permissions()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farm_goes_to_the_next_release_and_back_and_no_worker_notices() {
    let _turn = turn().await;
    let Some(redis) = RedisServer::start(Variant::Standalone) else { return };
    let dir = tempfile::tempdir().unwrap();
    let replicas = scale().replicas;
    let started = Drill::start("releases", &redis.url(), replicas, Engines::AreClose).await;
    let Some(mut drill) = started else { return };
    let scripts = || redis.ask::<String>(&["INFO", "memory"]);
    let known = |info: String| {
        let line =
            info.lines().find_map(|line| line.strip_prefix("number_of_cached_scripts:")).map(str::trim);
        line.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
    };
    let before = known(scripts());
    for program in [next_release(dir.path()), PathBuf::from(SHOAL)] {
        for number in 0..replicas {
            assert!(drill.farm.terminate(number).await, "SIGTERM ends in exit code 0");
            drill.farm.replicas[number].program = program.clone();
            drill.farm.run(number);
            drill.farm.ready(number).await;
            drill.farm.seen_by_balancer().await;
        }
        eprintln!(
            "scripts that Redis knows: {before} before, {} with {}",
            known(scripts()),
            program.display()
        );
    }
    assert!(known(scripts()) >= before * 2, "the releases' scripts are the same");
    let report = drill.finish().await;
    eprintln!("{}", report.summary());
    // On a machine that others take the processor from, deadlines pass that have nothing to do with it.
    assert!(!long() || report.errors.is_empty(), "workers noticed: {:?}", report.errors);
}

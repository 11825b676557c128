//! What `/metrics` answers is what `docs/metrics.md` says, in both directions, while a farm works.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use shoal::telemetry::catalogue::ALL;
use shoal::telemetry::metric::{Kind, Spec};

use super::drill::{Drill, Engines, turn};
use super::process::program;
use super::redis::{RedisServer, Variant};

/// A line of an exposition: name, labels, value.
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
    let Some((name, labels)) = series.split_once('{') else {
        return (series.to_owned(), BTreeMap::new(), value);
    };
    let labels = labels.strip_suffix('}').unwrap();
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    (name.to_owned(), labels.split(',').map(pair).collect(), value)
}

/// The metric that a series belongs to.
fn spec_of(name: &str) -> Option<&'static Spec> {
    ALL.iter().map(|(_, spec)| *spec).find(|spec| {
        let parts: &[&str] =
            if spec.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        parts.iter().any(|part| name.strip_suffix(part) == Some(spec.name))
    })
}

/// Compares, and returns which metrics said more than zero.
fn compare(page: &str) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    let mut told = BTreeSet::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            let spec = ALL.iter().map(|(_, spec)| spec).find(|spec| spec.name == name);
            let spec = spec.unwrap_or_else(|| panic!("{name} is undocumented"));
            assert_eq!(help, spec.help(), "{name}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(spec_of_family(name).kind.word(), kind, "{name}");
        } else {
            let (name, labels, value) = sample(line);
            let spec = spec_of(&name).unwrap_or_else(|| panic!("{name} is undocumented"));
            let names: BTreeSet<&str> =
                labels.keys().map(String::as_str).filter(|name| *name != "le").collect();
            assert_eq!(names, spec.labels.iter().map(|label| label.name).collect(), "{line}");
            for label in spec.labels.iter().filter(|label| !label.values.is_empty()) {
                assert!(label.values.contains(&labels[label.name].as_str()), "{line}");
            }
            seen.insert(spec.name);
            if value > 0.0 {
                told.insert(spec.name);
            }
        }
    }
    let missing: Vec<&str> =
        ALL.iter().map(|(_, spec)| spec.name).filter(|name| !seen.contains(name)).collect();
    assert!(missing.is_empty(), "documented, but not there: {missing:?}");
    told
}

fn spec_of_family(name: &str) -> &'static Spec {
    ALL.iter().map(|(_, spec)| *spec).find(|spec| spec.name == name).unwrap()
}

/// Prometheus' own linter, where it is installed.
fn lint(page: &str) {
    let Some(promtool) = program("promtool") else {
        eprintln!("SKIPPED: `promtool check metrics`: install prometheus");
        return;
    };
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "promtool: {}", String::from_utf8_lossy(&said));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_is_what_the_catalogue_says() {
    let _turn = turn().await;
    let Some(redis) = RedisServer::start(Variant::Standalone) else { return };
    let Some(drill) = Drill::start("scrapes", &redis.url(), 2, Engines::AreClose).await else { return };
    let (leader, _) = drill.farm.leader_other_than(None, Duration::from_secs(30)).await;
    let client = shoal::sys::web::client().timeout(Duration::from_secs(5)).build().unwrap();
    let page = async |number: usize| {
        client.get(drill.farm.address(number, "/metrics")).send().await.unwrap().text().await.unwrap()
    };
    let began = shoal::sys::clock::stopwatch();
    // The farm's gauges come every few seconds, its speed every minute.
    let told = loop {
        let told = compare(&page(leader).await);
        if told.contains("shoal_farm_workers") || began.elapsed() > Duration::from_secs(30) {
            break told;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    for name in [
        "shoal_http_requests_total",
        "shoal_http_request_duration_seconds",
        "shoal_http_connections",
        "shoal_ready",
        "shoal_request_task_answers_total",
        "shoal_semaphore_requests_total",
        "shoal_lease_requests_total",
        "shoal_leader",
        "shoal_leader_token",
        "shoal_generation",
        "shoal_redis_script_calls_total",
        "shoal_redis_script_duration_seconds",
        "shoal_redis_pool_connections",
        "shoal_mongodb_command_duration_seconds",
        "shoal_mongodb_pool_connections",
        "shoal_commit_durable_seconds",
        "shoal_commit_batch_documents",
        "shoal_commit_outcomes_total",
        "shoal_job_duration_seconds",
        "shoal_job_last_success_timestamp_seconds",
        "shoal_farm_workers",
        "shoal_farm_cores",
        "shoal_farm_unfinished_runs",
        "shoal_farm_pending_seconds",
        "shoal_user_cache_lookups_total",
        "shoal_build_info",
        "shoal_event_loop_delay_seconds",
        "shoal_dependency_up",
        "shoal_allocator_allocated_bytes",
        "shoal_allocator_active_bytes",
        "shoal_allocator_resident_bytes",
        "shoal_allocator_mapped_bytes",
        "shoal_allocator_metadata_bytes",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_start_time_seconds",
    ] {
        assert!(told.contains(name), "{name} says nothing while a farm works: {told:?}");
    }
    let others = page(1 - leader).await;
    compare(&others);
    assert!(others.contains("\nshoal_farm_workers 0\n"), "only the leader tells of the farm");
    lint(&others);
    lint(&page(leader).await);
    drill.finish().await;
}

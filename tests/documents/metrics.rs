//! The catalogue of metrics: written down where people read it, and used where things happen.

use std::path::{Path, PathBuf};

use shoal::scheduler::jobs::Job;
use shoal::telemetry::catalogue::ALL;
use shoal::telemetry::{labels, reference};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_page_of_metrics_is_what_the_program_writes() {
    let path = root().join("docs/metrics.md");
    let written = reference::markdown();
    if std::env::var_os("SHOAL_WRITE_REFERENCES").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stands == written, "docs/metrics.md is old: run this test with SHOAL_WRITE_REFERENCES=1");
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_metric_of_the_catalogue_is_told_by_somebody() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    files.retain(|path| !path.ends_with("telemetry/catalogue.rs"));
    let code: String = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for (constant, spec) in ALL {
        let named = code.match_indices(constant).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let after = code[at + constant.len()..].chars().next();
            let ends = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_');
            ends(before) && ends(after)
        });
        assert!(named, "{} ({constant}) is documented, but nobody tells it", spec.name);
    }
    for macros in ["metrics::counter!", "metrics::gauge!", "metrics::histogram!"] {
        assert!(!code.contains(macros), "{macros} goes past the catalogue");
    }
}

#[test]
fn labels_have_the_names_of_what_they_stand_for() {
    let jobs: Vec<&str> = Job::ALL.iter().map(|job| job.name()).collect();
    assert_eq!(labels::JOB.values, jobs);
    let scripts = std::fs::read_dir(root().join("lua")).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        (path.extension()? == "lua").then(|| path.file_stem()?.to_str().map(str::to_owned))?
    });
    let mut scripts: Vec<String> = scripts.collect();
    scripts.sort();
    let mut named: Vec<&str> = labels::SCRIPT.values.to_vec();
    named.sort_unstable();
    assert_eq!(named, scripts);
}

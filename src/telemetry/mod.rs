//! Logs and metrics of this process. Call each function once, at the start.
//!
//! [`catalogue`] is the table of all metrics, from which help texts, first series and `docs/metrics.md` follow.

pub mod allocator;
pub mod catalogue;
pub mod labels;
pub mod metric;
pub mod otlp;
mod process;
pub mod reference;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Level;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::LogFormat;
use crate::domain::ids::Millis;
use crate::sys::clock::wall_now;

/// Why logs or metrics can't be had.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error("log filter: {0}")]
    Filter(#[from] ParseError),
    /// Somebody in this process has set up logs already.
    #[error("logs: {0}")]
    Logs(#[from] TryInitError),
    /// Nothing can be sent to a collector.
    #[error("traces: {0}")]
    Traces(#[from] reqwest::Error),
    /// Somebody in this process has set up metrics already, or a bucket is none.
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
}

/// Writes log lines that pass `filter` to standard error, in this format; and tells a collector's layer of requests, and of
/// what is below them.
///
/// # Errors
/// When the filter can't be parsed, or logs were set up before.
pub fn init_logs(
    filter: &str,
    format: LogFormat,
    collector: Option<otlp::OtlpLayer>,
) -> Result<(), TelemetryError> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Human => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let traced = || {
        Targets::new()
            .with_target("shoal", Level::ERROR)
            .with_target("shoal::http::dispatch", Level::INFO)
            .with_target(otlp::TARGET, Level::TRACE)
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(EnvFilter::try_new(filter)?))
        .with(collector.map(|layer| layer.with_filter(traced())))
        .try_init()?;
    Ok(())
}

/// What this process has counted so far.
#[derive(Clone)]
pub struct Exposition {
    handle: PrometheusHandle,
    allocator: Option<allocator::Probe>,
    began: Millis,
}

impl Exposition {
    /// All of it, in Prometheus' text format.
    pub fn render(&self) -> String {
        allocator::observe(self.allocator);
        let mut text = self.handle.render();
        text.push_str(&process::exposition(self.began));
        text
    }

    /// To be called every few seconds, or samples of histograms that nobody asks for pile up.
    pub fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// Collects this process's metrics from now on, and asks its allocator if there is a way to. Every series that there can be is
/// there from the start.
///
/// # Errors
/// When metrics were set up before.
pub fn install_metrics(allocator: Option<allocator::Probe>) -> Result<Exposition, TelemetryError> {
    let handle = recorder()?.install_recorder()?;
    show_all();
    keep_all();
    Ok(Exposition { handle, allocator, began: wall_now() })
}

fn recorder() -> Result<PrometheusBuilder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for (_, spec) in catalogue::ALL {
        if !spec.buckets.is_empty() {
            builder = builder.set_buckets_for_metric(Matcher::Full(spec.name.to_owned()), spec.buckets)?;
        }
    }
    Ok(builder)
}

/// Those that the process counts itself.
fn counted() -> impl Iterator<Item = &'static metric::Spec> {
    catalogue::ALL.iter().map(|(_, spec)| *spec).filter(|spec| !spec.name.starts_with(process::PREFIX))
}

fn keep_all() {
    counted().for_each(metric::Spec::keep);
}

fn show_all() {
    for spec in counted() {
        spec.describe();
        spec.register();
    }
    catalogue::BUILD_INFO.mark(env!("CARGO_PKG_VERSION").to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(work: impl FnOnce()) -> String {
        let recorder = recorder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, work);
        handle.render()
    }

    #[test]
    fn histograms_have_their_buckets() {
        let page = page(|| {
            catalogue::COMMIT_SECONDS.record([], 0.003);
            catalogue::COMMIT_BATCH.record([], 3.0);
        });
        assert!(page.contains("shoal_commit_duration_seconds_bucket{le=\"0.0025\"} 0"), "{page}");
        assert!(page.contains("shoal_commit_duration_seconds_bucket{le=\"0.005\"} 1"), "{page}");
        assert!(page.contains("shoal_commit_batch_documents_bucket{le=\"5\"} 1"), "{page}");
    }

    #[test]
    fn every_series_is_there_from_the_start() {
        let page = page(show_all);
        for line in [
            "shoal_http_requests_total{endpoint=\"beat\",outcome=\"try_again\"} 0",
            "shoal_invariant_violations_total{id=\"I14\"} 0",
            "shoal_commit_durable_seconds_count 0",
            "shoal_leader 0",
            "# TYPE shoal_rebuilds_total counter",
        ] {
            assert!(page.lines().any(|there| there == line), "{line}:\n{page}");
        }
        for (_, spec) in catalogue::ALL.iter().filter(|(_, spec)| !spec.name.starts_with("process_")) {
            assert!(page.contains(&format!("# HELP {} ", spec.name)), "{}", spec.name);
        }
    }

    #[test]
    fn what_is_kept_is_changed_in_its_place_whoever_records_later() {
        // Nobody else uses it here.
        static KEPT: metric::Counter<2> = metric::Counter(metric::Spec {
            name: "kept_total",
            kind: metric::Kind::Counter,
            unit: "calls",
            labels: &[labels::HTTP_OUTCOME, labels::CLASS],
            buckets: &[],
            help_lines: &[],
            kept: std::sync::OnceLock::new(),
        });
        let recorder = recorder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            KEPT.add(["ok", "worker"], 1000);
            KEPT.0.keep();
        });
        let combinations = KEPT.0.combinations();
        assert_eq!(combinations.len(), 15);
        for (place, values) in combinations.iter().enumerate() {
            KEPT.add([values[0], values[1]], place as u64 + 1);
        }
        let page = recorder.handle().render();
        for (place, values) in combinations.iter().enumerate() {
            let more = place + 1 + if place == 0 { 1000 } else { 0 };
            let line = format!("kept_total{{outcome=\"{}\",class=\"{}\"}} {more}", values[0], values[1]);
            assert!(page.lines().any(|there| there == line), "{line}:\n{page}");
        }
    }

    #[test]
    fn an_allocator_that_tells_is_shown_and_none_is_zeros() {
        let ask = || {
            let figures = allocator::Figures {
                allocated: 1.0,
                active: 2.0,
                resident: 3.0,
                mapped: 4.0,
                retained: 5.0,
                metadata: 6.0,
            };
            Some(figures)
        };
        let asked = page(|| {
            show_all();
            allocator::observe(Some(ask));
        });
        let unasked = page(|| {
            show_all();
            allocator::observe(None);
            allocator::observe(Some(|| None));
        });
        for (name, value) in [
            ("allocated", 1),
            ("active", 2),
            ("resident", 3),
            ("mapped", 4),
            ("retained", 5),
            ("metadata", 6),
        ] {
            assert!(asked.contains(&format!("\nshoal_allocator_{name}_bytes {value}\n")), "{name}: {asked}");
            assert!(unasked.contains(&format!("\nshoal_allocator_{name}_bytes 0\n")), "{name}: {unasked}");
        }
    }

    #[test]
    fn what_is_held_is_given_back() {
        let page = page(|| {
            let _first = catalogue::SAGAS.hold([]);
            drop(catalogue::SAGAS.hold([]));
        });
        // The last one went with its scope.
        assert!(page.contains("shoal_sagas_in_flight 0"), "{page}");
    }

    #[test]
    fn names_keep_the_conventions_and_no_two_are_the_same() {
        let mut names = std::collections::BTreeSet::new();
        for (constant, spec) in catalogue::ALL {
            assert!(names.insert(spec.name), "{constant}: {} is there twice", spec.name);
            assert_eq!(spec.name.ends_with("_total"), spec.kind == metric::Kind::Counter, "{}", spec.name);
            assert_eq!(spec.buckets.is_empty(), spec.kind != metric::Kind::Histogram, "{}", spec.name);
            assert!(spec.help().ends_with('.'), "{}", spec.name);
            for label in spec.labels {
                assert_eq!(label.values.is_empty(), label.meaning.is_some(), "{}: {}", spec.name, label.name);
            }
        }
    }
}

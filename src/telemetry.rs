//! Logs and metrics of this process. Call each function once, at the start.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::LogFormat;

/// Upper bounds, in seconds, of the buckets of every histogram whose name ends in `_seconds`: from a heartbeat's fraction
/// of a millisecond to the 30 s after which a worker gives up.
pub const SECONDS_BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Upper bounds of the buckets of histograms that count documents in a batch.
pub const DOCUMENTS_BUCKETS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

/// Why logs or metrics can't be had.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error("log filter: {0}")]
    Filter(#[from] ParseError),
    /// Somebody in this process has set up logs already.
    #[error("logs: {0}")]
    Logs(#[from] TryInitError),
    /// Somebody in this process has set up metrics already, or a bucket is none.
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
}

/// Writes log lines that pass `filter` to standard error, in this format.
///
/// # Errors
/// When the filter can't be parsed, or logs were set up before.
pub fn init_logs(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let registry = tracing_subscriber::registry().with(EnvFilter::try_new(filter)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Human => registry.with(lines).try_init()?,
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
    }
    Ok(())
}

/// Collects this process's metrics. The handle renders them for Prometheus; its `run_upkeep` must be called every few
/// seconds, or samples of histograms that nobody asks for pile up.
///
/// # Errors
/// When metrics were set up before.
pub fn install_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let handle = recorder()?.install_recorder()?;
    Ok(handle)
}

fn recorder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_documents".to_owned()), &DOCUMENTS_BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_batch_sizes_are_histograms_with_buckets() {
        let recorder = recorder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("shoal_test_seconds").record(0.003);
            metrics::histogram!("shoal_test_documents").record(3.0);
        });
        let page = handle.render();
        assert!(page.contains("shoal_test_seconds_bucket{le=\"0.0025\"} 0"), "{page}");
        assert!(page.contains("shoal_test_seconds_bucket{le=\"0.005\"} 1"), "{page}");
        assert!(page.contains("shoal_test_documents_bucket{le=\"5\"} 1"), "{page}");
    }
}

//! Traces for an OpenTelemetry collector: OTLP over HTTP, with JSON bodies. Off unless an address is set, and then nothing of it
//! exists.
//!
//! Spans that end go into a queue with a bound; one task sends them in batches, over one client that keeps its connection. A
//! full queue, or a collector that doesn't take them, costs spans, which are counted, and never a request.

mod layer;
pub mod parent;
mod sender;
mod wire;

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use self::layer::OtlpLayer;
use self::sender::Sender;
use crate::sys::spawn;

/// Spans of this target are for collectors alone: logs never show them, and where there is no collector they cost nothing.
pub const TARGET: &str = "shoal::trace";

/// How spans are sent.
#[derive(Debug, Clone)]
pub struct OtlpSettings {
    /// The collector's address; spans go to `…/v1/traces`.
    pub endpoint: String,
    /// Who tells: random identity of this process.
    pub instance: String,
    /// Spans that wait at most.
    pub queue: usize,
    /// Spans of a batch at most.
    pub batch: usize,
    /// How long the first span of a batch waits for others.
    pub linger: Duration,
    /// How long the collector may take to answer.
    pub deadline: Duration,
    /// How often a batch is sent that the collector can't take for the moment.
    pub tries: u32,
}

impl OtlpSettings {
    /// The usual ones, for a collector.
    pub fn new(endpoint: String, instance: String) -> Self {
        Self {
            endpoint,
            instance,
            queue: 8192,
            batch: 512,
            linger: Duration::from_secs(1),
            deadline: Duration::from_secs(10),
            tries: 5,
        }
    }
}

/// The sending task.
#[derive(Debug)]
pub struct Traces {
    stop: watch::Sender<bool>,
    sending: JoinHandle<()>,
}

impl Traces {
    /// Sends what waits, for as long as `patience` at most, and ends.
    pub async fn finish(self, patience: Duration) {
        let _ = self.stop.send(true);
        if tokio::time::timeout(patience, self.sending).await.is_err() {
            tracing::warn!("the last spans could not be sent in time");
        }
    }
}

/// Starts sending; the layer tells what to send.
///
/// # Errors
/// No web client can be made.
pub fn start(settings: OtlpSettings) -> reqwest::Result<(OtlpLayer, Traces)> {
    let (spans, queue) = mpsc::channel(settings.queue.max(1));
    let (stop, stopped) = watch::channel(false);
    let sender = Sender::new(settings)?;
    let sending = spawn::task("otlp", sender.run(queue, stopped));
    parent::switch_on();
    Ok((OtlpLayer::new(spans), Traces { stop, sending }))
}

//! Sending batches: one at a time, again where the collector says that it may work later.

use std::time::Duration;

use rand::Rng;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use tokio::sync::{mpsc, watch};

use super::layer::Span;
use super::{OtlpSettings, wire};
use crate::sys::clock::stopwatch;
use crate::sys::{random, web};
use crate::telemetry::catalogue::{OTLP_DROPPED, OTLP_RETRIES, OTLP_SENT};

/// The first pause before a batch is sent again; it doubles.
const PAUSE: Duration = Duration::from_millis(250);

/// No pause is longer, whatever the collector asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a connection is kept that nothing is sent on.
const KEPT: Duration = Duration::from_secs(90);

/// What came of a try.
enum Outcome {
    Taken,
    /// It may work later, at the earliest after this time, if the collector said so.
    Later(Option<Duration>),
    Lost(&'static str, String),
}

pub(super) struct Sender {
    settings: OtlpSettings,
    client: reqwest::Client,
    url: String,
}

impl Sender {
    pub(super) fn new(settings: OtlpSettings) -> reqwest::Result<Self> {
        let client = web::client()
            .timeout(settings.deadline)
            .pool_idle_timeout(KEPT)
            .pool_max_idle_per_host(1)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let url = format!("{}/v1/traces", settings.endpoint.trim_end_matches('/'));
        Ok(Self { settings, client, url })
    }

    /// Until it is told to stop, and nothing waits.
    pub(super) async fn run(self, mut queue: mpsc::Receiver<Span>, mut stopped: watch::Receiver<bool>) {
        let mut in_trouble = false;
        loop {
            let batch = self.collect(&mut queue, &mut stopped).await;
            if batch.is_empty() {
                return;
            }
            match self.send(&batch).await {
                Ok(()) => {
                    OTLP_SENT.add([], batch.len() as u64);
                    in_trouble = false;
                }
                Err((reason, why)) => {
                    OTLP_DROPPED.add([reason], batch.len() as u64);
                    // Once, and not for each batch.
                    if !std::mem::replace(&mut in_trouble, true) {
                        tracing::warn!(
                            why,
                            spans = batch.len(),
                            "the collector did not take spans; they are lost"
                        );
                    }
                }
            }
        }
    }

    /// The next batch; empty at the end.
    async fn collect(
        &self,
        queue: &mut mpsc::Receiver<Span>,
        stopped: &mut watch::Receiver<bool>,
    ) -> Vec<Span> {
        let mut batch = Vec::new();
        let first = tokio::select! {
            biased;
            span = queue.recv() => span,
            _ = stopped.wait_for(|stop| *stop) => None,
        };
        let Some(first) = first else { return batch };
        batch.push(first);
        let began = stopwatch();
        while batch.len() < self.settings.batch {
            let linger = match *stopped.borrow() {
                true => Duration::ZERO,
                false => self.settings.linger.saturating_sub(began.elapsed()),
            };
            tokio::select! {
                biased;
                span = queue.recv() => match span {
                    Some(span) => batch.push(span),
                    None => break,
                },
                () = tokio::time::sleep(linger) => break,
            }
        }
        batch
    }

    async fn send(&self, batch: &[Span]) -> Result<(), (&'static str, String)> {
        let body = wire::body(batch, &self.settings.instance).to_string();
        let mut pause = PAUSE;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_once(body.clone()).await {
                Outcome::Taken => return Ok(()),
                Outcome::Lost(reason, why) => return Err((reason, why)),
                Outcome::Later(_) if tries >= self.settings.tries => {
                    return Err(("exhausted", format!("it was busy {tries} times")));
                }
                Outcome::Later(wanted) => {
                    OTLP_RETRIES.increment([]);
                    // Replicas that were refused together don't come back together.
                    let own = pause.mul_f64(random::rng().random_range(0.5..1.0));
                    tokio::time::sleep(wanted.unwrap_or(own).min(LONGEST_PAUSE)).await;
                    pause *= 2;
                }
            }
        }
    }

    async fn try_once(&self, body: String) -> Outcome {
        let request = self.client.post(&self.url).header(CONTENT_TYPE, "application/json").body(body);
        let answer = match request.send().await {
            Ok(answer) => answer,
            // The address may hold what isn't for logs.
            Err(error) => return Outcome::Lost("unreachable", error.without_url().to_string()),
        };
        let status = answer.status();
        let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        // Read to its end, or the connection can't be used again.
        drop(answer.bytes().await);
        if status.is_success() {
            Outcome::Taken
        } else if status.as_u16() == 429 || status.is_server_error() {
            Outcome::Later(wait.map(Duration::from_secs))
        } else {
            Outcome::Lost("refused", format!("it answered {status}"))
        }
    }
}

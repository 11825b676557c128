//! From spans of the program to spans of a trace.

use std::fmt;
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::sys::clock::{stopwatch, wall_now};
use crate::sys::random;
use crate::telemetry::catalogue::OTLP_DROPPED;
use crate::telemetry::otlp::{TARGET, parent};

/// Attributes of one span that are kept.
const MOST_ATTRIBUTES: usize = 32;

/// What begins a trace, beside requests: jobs of the leader, and batches that many wait for.
const ROOTS: [&str; 2] = ["job", "commit"];

/// Longest text of an attribute, bytes.
const LONGEST_TEXT: usize = 1024;

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Int(i64),
    Float(f64),
    Flag(bool),
}

/// A span that has ended.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) trace: u128,
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    pub(super) name: &'static str,
    /// Nanoseconds since 1970.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) failed: bool,
}

/// One that hasn't.
struct Open {
    span: Span,
    began: Instant,
}

/// Collects spans.
#[derive(Debug)]
pub struct OtlpLayer {
    spans: mpsc::Sender<Span>,
}

impl OtlpLayer {
    pub(super) fn new(spans: mpsc::Sender<Span>) -> Self {
        Self { spans }
    }
}

impl<S> Layer<S> for OtlpLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(here) = context.span(id) else { return };
        let above = here.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions.get::<Open>().map(|open| (open.span.trace, open.span.id))
        });
        let metadata = attributes.metadata();
        if above.is_none() && metadata.target() == TARGET && !ROOTS.contains(&metadata.name()) {
            // A step of something that isn't traced: alone it tells nothing.
            return;
        }
        let caller = if above.is_none() { parent::take() } else { None };
        if caller.is_some_and(|caller| !caller.sampled) {
            // The caller's trace is kept by nobody; a piece of it, steps below included, would be no story.
            return;
        }
        let above = above.or(caller.map(|caller| (caller.trace, caller.span)));
        let mut span = Span {
            trace: above.map_or_else(random::trace_id, |(trace, _)| trace),
            id: random::write_id().0.max(1),
            parent: above.map(|(_, id)| id),
            name: metadata.name(),
            start: u64::try_from(wall_now().0).unwrap_or(0).saturating_mul(1_000_000),
            end: 0,
            attributes: Vec::new(),
            failed: false,
        };
        attributes.record(&mut Visitor(&mut span.attributes));
        here.extensions_mut().insert(Open { span, began: stopwatch() });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(here) = context.span(id) else { return };
        if let Some(open) = here.extensions_mut().get_mut::<Open>() {
            values.record(&mut Visitor(&mut open.span.attributes));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if *event.metadata().level() != Level::ERROR {
            return;
        }
        let Some(here) = context.event_span(event) else { return };
        if let Some(open) = here.extensions_mut().get_mut::<Open>() {
            open.span.failed = true;
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(here) = context.span(&id) else { return };
        let Some(Open { mut span, began }) = here.extensions_mut().remove::<Open>() else { return };
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        span.end = span.start.saturating_add(took);
        if self.spans.try_send(span).is_err() {
            OTLP_DROPPED.increment(["queue_full"]);
        }
    }
}

struct Visitor<'a>(&'a mut Vec<(&'static str, Value)>);

impl Visitor<'_> {
    fn keep(&mut self, field: &Field, value: Value) {
        if self.0.len() < MOST_ATTRIBUTES {
            self.0.push((field.name(), value));
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, Value::Float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, Value::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, Value::Flag(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut end = value.len().min(LONGEST_TEXT);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        self.keep(field, Value::Text(value.get(..end).unwrap_or_default().to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

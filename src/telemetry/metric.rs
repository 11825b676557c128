//! What a metric is: its name, its labels with the values they can have, and the way to change it.
//!
//! Call sites name a constant of the [`catalogue`](super::catalogue) and the values of its labels, in order; the compiler
//! counts them. Values come from closed sets, so that the number of series is known beforehand: once a recorder is there for
//! the process, each of them is at its place in a list, and a change looks nothing up and allocates nothing.

use std::borrow::Cow;
use std::sync::OnceLock;

use metrics::{Key, Label as Pair, Level, Metadata};

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Samples in buckets, with their sum and number.
    Histogram,
}

impl Kind {
    /// The exposition's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A label.
#[derive(Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Every value that it can have; empty for one whose only value is known at run time.
    pub values: &'static [&'static str],
    /// What the values are, where there are too many to list.
    pub meaning: Option<&'static str>,
}

/// A metric, as the reference describes it.
#[derive(Debug)]
pub struct Spec {
    /// Name, by Prometheus' conventions.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What one of it is.
    pub unit: &'static str,
    /// Labels, in the order in which call sites name their values.
    pub labels: &'static [Label],
    /// Upper bounds of a histogram's buckets; empty for the others.
    pub buckets: &'static [f64],
    /// Sentences of its meaning, one line each, as written in the table (each with a leading blank).
    pub help_lines: &'static [&'static str],
    /// Its series in the process's recorder, in the order of [`Spec::combinations`], once there is one.
    pub(super) kept: OnceLock<Vec<Series>>,
}

/// One metric with one combination of its labels' values, in a recorder.
pub(super) enum Series {
    Counter(metrics::Counter),
    Gauge(metrics::Gauge),
    Histogram(metrics::Histogram),
}

impl std::fmt::Debug for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Series")
    }
}

impl Spec {
    /// The meaning in one line.
    pub fn help(&self) -> String {
        self.help_lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// Every combination of its labels' values; one without labels has one, one with an open label none.
    pub fn combinations(&self) -> Vec<Vec<&'static str>> {
        let mut all = vec![Vec::new()];
        for label in self.labels {
            let longer = |start: &Vec<&'static str>| {
                let start = start.clone();
                label.values.iter().map(move |value| [start.as_slice(), &[*value]].concat())
            };
            all = all.iter().flat_map(longer).collect();
        }
        all
    }

    /// The place of a combination among all of them.
    fn place(&self, values: &[&'static str]) -> Option<usize> {
        self.labels.iter().zip(values).try_fold(0, |place, (label, value)| {
            Some(place * label.values.len() + label.values.iter().position(|known| known == value)?)
        })
    }

    fn key(&self, values: &[&'static str]) -> Key {
        if values.is_empty() {
            return Key::from_static_name(self.name);
        }
        let pairs = self.labels.iter().zip(values);
        let pair = |(label, value): (&Label, &&'static str)| {
            debug_assert!(label.values.contains(value), "{}: {} is no {}", self.name, value, label.name);
            Pair::from_static_parts(label.name, value)
        };
        Key::from_parts(self.name, pairs.map(pair).collect::<Vec<_>>())
    }

    /// The same for the one value of an open label.
    fn open_key(&self, value: String) -> Key {
        let pairs: Vec<Pair> =
            self.labels.iter().take(1).map(|label| Pair::new(label.name, Cow::from(value.clone()))).collect();
        Key::from_parts(self.name, pairs)
    }

    /// Shows every series that there can be, with zeros, so that an alert never waits for the first trouble.
    pub(super) fn register(&self) {
        for values in self.combinations() {
            match self.look_up(&self.key(&values)) {
                Series::Counter(counter) => counter.increment(0),
                Series::Gauge(gauge) => gauge.set(0.0),
                Series::Histogram(_) => {}
            }
        }
    }

    /// From now on all changes go to the recorder that is there now.
    pub(super) fn keep(&self) {
        self.kept.get_or_init(|| {
            self.combinations().iter().map(|values| self.look_up(&self.key(values))).collect()
        });
    }

    fn look_up(&self, key: &Key) -> Series {
        metrics::with_recorder(|recorder| match self.kind {
            Kind::Counter => Series::Counter(recorder.register_counter(key, &METADATA)),
            Kind::Gauge => Series::Gauge(recorder.register_gauge(key, &METADATA)),
            Kind::Histogram => Series::Histogram(recorder.register_histogram(key, &METADATA)),
        })
    }

    /// Changes the series with these values.
    fn change(&self, values: &[&'static str], change: impl FnOnce(&Series)) {
        let kept = self.kept.get().and_then(|all| all.get(self.place(values)?));
        match kept {
            Some(series) => change(series),
            None => change(&self.look_up(&self.key(values))),
        }
    }

    pub(super) fn describe(&self) {
        let (name, help) = (self.name.into(), self.help().into());
        metrics::with_recorder(|recorder| match self.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            Kind::Histogram => recorder.describe_histogram(name, None, help),
        });
    }
}

/// A counter with `N` labels.
#[derive(Debug)]
pub struct Counter<const N: usize>(pub(super) Spec);

/// A gauge with `N` labels.
#[derive(Debug)]
pub struct Gauge<const N: usize>(pub(super) Spec);

/// A histogram with `N` labels.
#[derive(Debug)]
pub struct Histogram<const N: usize>(pub(super) Spec);

impl<const N: usize> Counter<N> {
    pub(super) const KIND: Kind = Kind::Counter;

    /// One more.
    pub fn increment(&self, labels: [&'static str; N]) {
        self.add(labels, 1);
    }

    /// So many more.
    pub fn add(&self, labels: [&'static str; N], more: u64) {
        self.0.change(&labels, |series| {
            if let Series::Counter(counter) = series {
                counter.increment(more);
            }
        });
    }
}

impl<const N: usize> Gauge<N> {
    pub(super) const KIND: Kind = Kind::Gauge;

    /// It is so much now.
    pub fn set(&self, labels: [&'static str; N], value: f64) {
        self.0.change(&labels, |series| {
            if let Series::Gauge(gauge) = series {
                gauge.set(value);
            }
        });
    }

    /// So much more, or less, than before.
    pub fn change(&self, labels: [&'static str; N], by: f64) {
        self.0.change(&labels, |series| {
            if let Series::Gauge(gauge) = series {
                gauge.increment(by);
            }
        });
    }

    /// One more for as long as the answer lives.
    pub fn hold(&'static self, labels: [&'static str; N]) -> Held<N> {
        self.change(labels, 1.0);
        Held { gauge: self, labels }
    }
}

impl Gauge<1> {
    /// 1 for a value that is known at run time only, and the same for as long as the process lives.
    pub(super) fn mark(&self, value: String) {
        let key = self.0.open_key(value);
        metrics::with_recorder(|recorder| recorder.register_gauge(&key, &METADATA).set(1.0));
    }
}

impl<const N: usize> Histogram<N> {
    pub(super) const KIND: Kind = Kind::Histogram;

    /// One sample.
    pub fn record(&self, labels: [&'static str; N], value: f64) {
        self.0.change(&labels, |series| {
            if let Series::Histogram(histogram) = series {
                histogram.record(value);
            }
        });
    }
}

/// See [`Gauge::hold`].
#[derive(Debug)]
pub struct Held<const N: usize> {
    gauge: &'static Gauge<N>,
    labels: [&'static str; N],
}

impl<const N: usize> Drop for Held<N> {
    fn drop(&mut self) {
        self.gauge.change(self.labels, -1.0);
    }
}

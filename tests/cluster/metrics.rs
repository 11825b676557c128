//! What a replica's `/metrics` says.

use std::collections::BTreeMap;

/// Values by name and labels, as they stand in the exposition.
#[derive(Debug, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads an exposition; what isn't a number is left out.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(values.collect())
    }

    /// The sum over all labels of a name.
    pub fn sum(&self, name: &str) -> f64 {
        let labelled = format!("{name}{{");
        self.0.iter().filter(|(key, _)| *key == name || key.starts_with(&labelled)).map(|(_, v)| v).sum()
    }

    /// The same of those with one label.
    pub fn sum_with(&self, name: &str, label: &str) -> f64 {
        self.all(&format!("{name}{{"))
            .iter()
            .filter(|(key, _)| key.contains(label))
            .map(|(_, value)| value)
            .sum()
    }

    /// Those of a name, with their labels.
    pub fn all(&self, name: &str) -> Vec<(&str, f64)> {
        self.0.iter().filter(|(key, _)| key.starts_with(name)).map(|(key, v)| (key.as_str(), *v)).collect()
    }
}

#[test]
fn sums_go_over_labels_and_not_over_longer_names() {
    let metrics = Metrics::parse("# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3\na_total 7\nb NaNs\n");
    assert_eq!(metrics.sum("a"), 5.0);
    assert_eq!(metrics.sum("b"), 0.0);
    assert_eq!(metrics.sum_with("a", "x=\"2\""), 3.0);
    assert_eq!(metrics.all("a_").len(), 1);
}

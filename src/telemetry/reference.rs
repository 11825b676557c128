//! The catalogue as a document.

use super::catalogue::ALL;
use super::metric::{Kind, Label, Spec};

/// `docs/metrics.md`, whole.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         What `/metrics` says, for Prometheus. This page is written by the program, and a test compares it with what a server\n\
         answers. Series are there from the start, with zeros: an alert never waits for the first trouble. Counters begin\n\
         anew with the process. Labels have closed sets of values; paths, names and addresses are in none of them.\n\n\
         `shoal_farm_…` are told by the leader alone; the other replicas show 0, also one that has just lost leadership. Ask\n\
         for the greatest over all replicas: `max(shoal_farm_workers)`. Everything else is about the replica that answers;\n\
         counters are summed: `sum(rate(shoal_http_requests_total[5m]))`.\n\n\
         `shoal_allocator_…` are asked of the allocator (jemalloc) at each scrape. What the process holds in RAM beyond\n\
         `shoal_allocator_resident_bytes` is its code, its stacks, and what libraries in C have got from the system's\n\
         allocator (SQLite's cache).\n\n\
         | name | kind | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for (_, spec) in ALL {
        text.push_str(&row(spec));
    }
    text.push_str(
        "\n## Buckets\n\nUpper bounds of the buckets of histograms; one more, `+Inf`, follows.\n\n",
    );
    for (_, spec) in ALL.iter().filter(|(_, spec)| spec.kind == Kind::Histogram) {
        let bounds: Vec<String> = spec.buckets.iter().map(ToString::to_string).collect();
        text.push_str(&format!("- `{}`: {}\n", spec.name, bounds.join(", ")));
    }
    text
}

fn row(spec: &Spec) -> String {
    let labels: Vec<String> = spec.labels.iter().map(label).collect();
    format!(
        "| `{}` | {} | {} | {} | {} |\n",
        spec.name,
        spec.kind.word(),
        spec.unit,
        labels.join("; "),
        spec.help().replace('|', "\\|")
    )
}

fn label(label: &Label) -> String {
    let values: Vec<String> = label.values.iter().map(|value| format!("`{value}`")).collect();
    let values = label.meaning.map_or_else(|| values.join(", "), str::to_owned);
    format!("`{}`: {values}", label.name)
}

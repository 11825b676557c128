//! Do all workers draw from one distribution? (`spec/statistics.md` section 8)

use std::collections::{BTreeSet, HashMap};

use super::counts::Counts;
use super::special::{chi2_upper_tail, norm_upper_quantile};

/// A worker must expect more than this many observations of each kind to be judged.
const MIN_EXPECTED: f64 = 5.0;

/// A task as the homogeneity test sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorkerTask<'a> {
    /// `worker_info.unique_key`; `None` when the task has no worker information.
    pub unique_key: Option<&'a str>,
    /// Its results.
    pub counts: Counts,
    /// Was it thrown out already?
    pub bad: bool,
}

/// Result of the homogeneity test.
#[derive(Debug, Clone, PartialEq)]
pub struct Chi2 {
    /// The test statistic; NaN when there was nothing to compare, like `p` and both limits.
    pub chi2: f64,
    /// Degrees of freedom.
    pub dof: u64,
    /// Probability of a statistic at least as large if all workers are alike.
    pub p: f64,
    /// How far each judged worker is from the others, in standard deviations, ≥ 0; in order of first appearance.
    pub residuals: Vec<(String, f64)>,
    /// What one of the residuals exceeds with probability 5% if all workers are alike.
    pub z_95: f64,
    /// The same for 1%.
    pub z_99: f64,
}

impl Chi2 {
    fn empty() -> Self {
        Self { chi2: f64::NAN, dof: 0, p: f64::NAN, residuals: Vec::new(), z_95: f64::NAN, z_99: f64::NAN }
    }

    /// Tests the tasks that are not bad and whose worker is not in `exclude` (section 8.1).
    pub fn new(tasks: &[WorkerTask<'_>], exclude: &BTreeSet<String>) -> Self {
        let mut rows = observations(tasks, exclude);
        let columns = loop {
            let columns: [f64; 3] = std::array::from_fn(|c| rows.iter().map(|(_, row)| row[c]).sum());
            let total: f64 = columns.iter().sum();
            if rows.len() <= 1 || total == 0.0 {
                return Self::empty();
            }
            let before = rows.len();
            rows.retain(|(_, row)| {
                let row_sum: f64 = row.iter().sum();
                columns.iter().all(|column| row_sum * column / total > MIN_EXPECTED)
            });
            if rows.len() == before {
                break columns;
            }
        };
        let total: f64 = columns.iter().sum();
        let count = rows.len();
        let mut chi2 = 0.0;
        let mut residuals = Vec::with_capacity(count);
        for (key, row) in rows {
            let row_sum: f64 = row.iter().sum();
            let mut distance = 0.0;
            for (observed, column) in row.iter().zip(&columns) {
                let expected = row_sum * column / total;
                distance += (observed - expected).powi(2) / expected;
            }
            chi2 += distance;
            // Against all the others: χ² with two degrees of freedom, whose upper tail is an exponential.
            let against_others = distance / (1.0 - row_sum / total);
            let residual = norm_upper_quantile((-0.5 * against_others).exp()).max(0.0);
            residuals.push((key.to_owned(), residual));
        }
        let half_dof = (count - 1) as u64;
        Self {
            chi2,
            dof: 2 * half_dof,
            p: chi2_upper_tail(chi2, half_dof),
            residuals,
            z_95: norm_upper_quantile(0.05 / count as f64),
            z_99: norm_upper_quantile(0.01 / count as f64),
        }
    }

    /// The residual of a worker, if it was judged.
    pub fn residual(&self, unique_key: &str) -> Option<f64> {
        self.residuals.iter().find(|(key, _)| key == unique_key).map(|(_, residual)| *residual)
    }

    /// Traffic light of a residual (section 8.2).
    pub fn color(&self, residual: f64) -> ResidualColor {
        ResidualColor::of(residual, self.z_95, self.z_99)
    }
}

/// Won, lost and drawn pairs (or games of old runs) per worker.
fn observations<'a>(tasks: &[WorkerTask<'a>], exclude: &BTreeSet<String>) -> Vec<(&'a str, [f64; 3])> {
    let mut rows: Vec<(&str, [f64; 3])> = Vec::new();
    let mut row_of: HashMap<&str, usize> = HashMap::new();
    // The first task decides for all whether pairs are compared.
    let mut by_pairs = None;
    for task in tasks.iter().filter(|task| !task.bad) {
        let Some(key) = task.unique_key.filter(|key| !exclude.contains(*key)) else {
            continue;
        };
        let counts = &task.counts;
        let observed = if *by_pairs.get_or_insert(counts.pentanomial.is_some()) {
            let [p0, p1, p2, p3, p4] = counts.pentanomial.unwrap_or_default();
            [p3 + p4, p0 + p1, p2]
        } else {
            [counts.wins(), counts.losses(), counts.draws()]
        };
        let index = *row_of.entry(key).or_insert(rows.len());
        match rows.get_mut(index) {
            Some((_, row)) => row.iter_mut().zip(observed).for_each(|(sum, x)| *sum += x),
            None => rows.push((key, observed)),
        }
    }
    rows
}

/// Traffic light of a residual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResidualColor {
    /// Nothing unusual.
    Green,
    /// Unusual at the 5% level.
    Yellow,
    /// Unusual at the 1% level, or not judged.
    Red,
}

impl ResidualColor {
    /// By the two limits; `Red` when they are NaN.
    pub fn of(residual: f64, z_95: f64, z_99: f64) -> Self {
        if residual.abs() < z_95 {
            Self::Green
        } else if residual.abs() < z_99 {
            Self::Yellow
        } else {
            Self::Red
        }
    }

    /// The name kept in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
        }
    }
}

/// The colour to paint for a stored colour; old tasks store the painted one.
pub fn display_color(stored: &str) -> &str {
    match stored {
        "green" => "#44EB44",
        "red" => "#FF6A6A",
        other => other,
    }
}

/// What the task table shows for a task.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownResidual {
    /// In standard deviations; +∞ when the worker was not judged.
    pub residual: f64,
    /// As stored: `green`, `yellow`, `red`, or the painted colour of an old task.
    pub color: String,
}

impl ShownResidual {
    /// Residual that stands for crashes and time losses.
    pub const CRASH_OR_TIME: f64 = 10.0;

    /// Chooses between the stored residual of a bad task, the mark of a crashing task and the worker's residual
    /// (section 8.3).
    pub fn new(
        stored: Option<(f64, &str)>,
        unique_key: Option<&str>,
        crash_or_time: bool,
        chi2: &Chi2,
    ) -> Self {
        if let Some((residual, color)) = stored {
            return Self { residual, color: color.to_owned() };
        }
        if crash_or_time {
            return Self { residual: Self::CRASH_OR_TIME, color: ResidualColor::Red.as_str().to_owned() };
        }
        let residual = unique_key.and_then(|key| chi2.residual(key)).unwrap_or(f64::INFINITY);
        Self { residual, color: chi2.color(residual).as_str().to_owned() }
    }

    /// The text of the table cell.
    pub fn text(&self) -> String {
        if self.residual.is_finite() { format!("{:.3}", self.residual) } else { "-".to_owned() }
    }
}

/// When a worker is thrown out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PurgeRule {
    /// With a smaller p-value of the whole test, the worst worker goes.
    pub p: f64,
    /// A worker with a larger residual goes.
    pub res: f64,
    /// At most this many workers.
    pub iters: usize,
}

impl PurgeRule {
    /// At the end of a run with `auto_purge`.
    pub const AUTO: Self = Self { p: 0.001, res: 7.0, iters: 1 };
    /// On request of a user.
    pub const MANUAL: Self = Self { p: 0.01, res: 4.5, iters: 1 };
}

/// Keys of the workers to throw out, worst first (section 8.4). `first` is the test of all tasks.
pub fn bad_workers(tasks: &[WorkerTask<'_>], first: &Chi2, rule: &PurgeRule) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut worst_first = Vec::new();
    let mut later;
    let mut current = first;
    while worst_first.len() < rule.iters {
        let mut worst: Option<&(String, f64)> = None;
        for candidate in &current.residuals {
            let suspicious = current.p < rule.p || candidate.1 > rule.res;
            if suspicious && !found.contains(&candidate.0) && worst.is_none_or(|worst| candidate.1 > worst.1)
            {
                worst = Some(candidate);
            }
        }
        let Some((key, _)) = worst else {
            break;
        };
        found.insert(key.clone());
        worst_first.push(key.clone());
        if worst_first.len() < rule.iters {
            later = Chi2::new(tasks, &found);
            current = &later;
        }
    }
    worst_first
}

//! Texts that tell results (`spec/statistics.md` sections 0.5 and 12).

use super::StatsError;
use super::counts::{Counts, Distribution};
use super::elo::{EloModel, FixedEstimate, NORMALIZED_PER_T};
use super::flags::{TestKind, verdict};
use super::special::Z_975;
use super::sprt::{SprtRecord, SprtState};
use super::sprt_elo::{SprtEstimate, SprtQuestion};

/// A number with `decimals` decimals, correctly rounded; `inf`, `-inf`, `nan` otherwise.
pub fn fixed(x: f64, decimals: usize) -> String {
    if x.is_nan() { "nan".to_owned() } else { format!("{x:.decimals$}") }
}

/// A probability as a percentage with `decimals` decimals.
pub fn percent(x: f64, decimals: usize) -> String {
    format!("{}%", fixed(100.0 * x, decimals))
}

/// `x` rounded to `decimals` decimals, as a number.
pub fn rounded(x: f64, decimals: usize) -> f64 {
    fixed(x, decimals).parse().unwrap_or(x)
}

/// A test as the texts see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Test<'a> {
    /// Sequential.
    Sprt(&'a SprtRecord),
    /// Parameter tuning.
    Spsa {
        /// Iterations done.
        iter: u64,
        /// Iterations planned.
        num_iter: u64,
    },
    /// A number of games set in advance.
    FixedGames,
}

impl Test<'_> {
    /// What verdicts need to know of it.
    pub fn kind(&self) -> TestKind {
        match self {
            Self::Sprt(record) => TestKind::Sprt(record.state),
            Self::Spsa { .. } => TestKind::Spsa,
            Self::FixedGames => TestKind::FixedGames,
        }
    }
}

/// The box that shows the results of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultBox {
    /// Background colour; empty for none.
    pub style: &'static str,
    /// Lines of text, without that of [`Self::nelo`].
    pub info: Vec<String>,
    /// What one more line tells for tests of a fixed length.
    pub nelo: Option<NeloSummary>,
}

impl ResultBox {
    /// The box of a run (section 12.1).
    pub fn new(test: &Test<'_>, counts: &Counts, num_games: u64) -> Self {
        let games = counts.games();
        let (w, l, d) = (counts.wins(), counts.losses(), counts.draws());
        let first = match test {
            Test::Spsa { iter, num_iter } => {
                let info = vec![
                    format!("{iter}/{num_iter} iterations"),
                    format!("{games:.0}/{num_games} games played"),
                ];
                return Self { style: "", info, nelo: None };
            }
            Test::Sprt(record) => sprt_line(record),
            Test::FixedGames => fixed_line(counts),
        };
        let mut info = vec![first, format!("Total: {games:.0} W: {w:.0} L: {l:.0} D: {d:.0}")];
        if let Some(pairs) = &counts.pentanomial {
            info.push(format!("Ptnml(0-2): {}", joined(pairs, ", ")));
        }
        let nelo = match (test, &counts.pentanomial) {
            (Test::FixedGames, Some(pairs)) => NeloSummary::new(pairs).ok(),
            _ => None,
        };
        Self { style: background(test, counts), info, nelo }
    }
}

fn background(test: &Test<'_>, counts: &Counts) -> &'static str {
    match verdict(test.kind(), counts) {
        SprtState::Undecided => "",
        SprtState::Rejected if counts.wins() > counts.losses() => "yellow",
        SprtState::Rejected => "#FF6A6A",
        // Blue: a simplification, which may lose a little.
        SprtState::Accepted => match test {
            Test::Sprt(record) if record.elo0 + record.elo1 < 0.0 => "#66CCFF",
            _ => "#44EB44",
        },
    }
}

fn joined(counts: &[f64], separator: &str) -> String {
    let texts: Vec<String> = counts.iter().map(|count| format!("{count:.0}")).collect();
    texts.join(separator)
}

/// Bounds in the brackets of their model: `<0.00,2.00>` normalized, `{}` logistic, `[]` BayesElo.
pub fn bounds_text(model: EloModel, elo0: f64, elo1: f64) -> String {
    let (open, close) = match model {
        EloModel::Normalized => ('<', '>'),
        EloModel::Logistic => ('{', '}'),
        EloModel::BayesElo => ('[', ']'),
    };
    format!("{open}{},{}{close}", fixed(elo0, 2), fixed(elo1, 2))
}

fn sprt_line(record: &SprtRecord) -> String {
    format!(
        "LLR: {} ({},{}) {}",
        fixed(record.llr, 2),
        fixed(record.lower_bound, 2),
        fixed(record.upper_bound, 2),
        bounds_text(record.elo_model, record.elo0, record.elo1)
    )
}

fn fixed_line(counts: &Counts) -> String {
    let (elo, elo95, los) = match FixedEstimate::new(counts.samples()) {
        Ok(estimate) => (estimate.elo, estimate.elo95, estimate.los),
        Err(_) => (f64::NAN, f64::NAN, f64::NAN),
    };
    format!("Elo: {} ± {} (95%) LOS: {}", fixed(elo, 2), fixed(elo95, 1), percent(los, 1))
}

/// Normalized Elo of pairs, and how often pairs were won rather than lost (section 12.2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NeloSummary {
    /// Normalized Elo.
    pub nelo: f64,
    /// Half the width of its 95% interval.
    pub half_width_95: f64,
    /// Pairs won per pair lost: +∞ without lost pairs, NaN without either.
    pub pairs_ratio: f64,
}

impl NeloSummary {
    /// Summarises pairs.
    ///
    /// # Errors
    /// [`StatsError::OutOfRange`] for senseless counts.
    pub fn new(pentanomial: &[f64; 5]) -> Result<Self, StatsError> {
        let distribution = Distribution::new(pentanomial)?;
        let t = TValue::new(&distribution);
        let scale = NORMALIZED_PER_T / std::f64::consts::SQRT_2;
        let [p0, p1, _, p3, p4] = pentanomial;
        Ok(Self {
            nelo: scale * t.t,
            half_width_95: scale * Z_975 * (t.variance / distribution.n).sqrt(),
            pairs_ratio: (p3 + p4) / (p0 + p1),
        })
    }

    /// The line of the result box; link previews write `+/-` for `±`.
    pub fn line(&self, plus_minus: &str) -> String {
        format!(
            "nElo: {} {plus_minus} {} (95%) PairsRatio: {}",
            fixed(self.nelo, 2),
            fixed(self.half_width_95, 1),
            fixed(self.pairs_ratio, 2)
        )
    }
}

/// t-value of a sample and its variance, times the number of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TValue {
    /// (mean − ½)/σ.
    pub t: f64,
    /// Asymptotic variance of the estimate of `t` from one sample.
    pub variance: f64,
}

impl TValue {
    /// Of an empirical distribution.
    pub fn new(distribution: &Distribution) -> Self {
        let shape = distribution.moments();
        let t = (shape.mean - 0.5) / shape.variance.sqrt();
        let variance = 1.0 - t * shape.skewness + 0.25 * t * t * (shape.excess_kurtosis + 2.0);
        Self { t, variance: variance.max(0.0) }
    }
}

/// The message of the `finished_run` event (section 12.6). An estimate that does not exist shows as `nan`, since a
/// finished run must be announced in any case.
pub fn finished_run_message(test: &Test<'_>, counts: &Counts, is_green: bool) -> String {
    let none = (f64::NAN, [f64::NAN; 2], f64::NAN);
    let (result, (elo, [low, high], los)) = match test {
        Test::Spsa { .. } => return "SPSA tune finished".to_owned(),
        Test::Sprt(record) => {
            let estimate = SprtEstimate::new(&SprtQuestion::from(*record), counts);
            (record.state.as_str(), estimate.map_or(none, |e| (e.elo, e.ci, e.los)))
        }
        Test::FixedGames => {
            let estimate = FixedEstimate::new(counts.samples());
            let result = if is_green { "accepted" } else { "rejected" };
            (result, estimate.map_or(none, |e| (e.elo, e.interval(), e.los)))
        }
    };
    let (games, pairs) = match &counts.pentanomial {
        Some(pairs) => (2.0 * pairs.iter().sum::<f64>(), format!(" Ptnml:[{}]", joined(pairs, ","))),
        None => (counts.games(), String::new()),
    };
    format!(
        "Result:{result} Elo:{}[{},{}] LOS:{} Games:{games:.0}{pairs}",
        fixed(elo, 2),
        fixed(low, 2),
        fixed(high, 2),
        percent(los, 0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_even_on_exact_ties() {
        assert_eq!(fixed(0.125, 2), "0.12");
        assert_eq!(fixed(0.375, 2), "0.38");
        assert_eq!(fixed(2.5, 0), "2");
        assert_eq!(fixed(2.675, 2), "2.67");
        assert_eq!(
            (fixed(f64::INFINITY, 2), fixed(f64::NEG_INFINITY, 1), fixed(f64::NAN, 0)),
            ("inf".to_owned(), "-inf".to_owned(), "nan".to_owned())
        );
        assert_eq!((rounded(2.675, 2), rounded(-1000.0, 2)), (2.67, -1000.0));
    }

    #[test]
    fn a_run_without_an_estimate_is_still_announced() {
        let record = SprtRecord::new(0.05, 0.05, 1.0, 1.0, EloModel::Normalized, 1);
        let message = finished_run_message(&Test::Sprt(&record), &Counts::default(), false);
        assert_eq!(message, "Result: Elo:nan[nan,nan] LOS:nan% Games:0");
    }
}

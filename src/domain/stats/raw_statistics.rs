//! The page of raw statistics: every number behind a test, with its limits (`spec/statistics.md` section 12.5).

use serde::Serialize;

use super::StatsError;
use super::counts::{Counts, Distribution};
use super::elo::{BayesElo, EloModel, FixedEstimate, NORMALIZED_PER_T, drawelo, elo_of_score, score_of_elo};
use super::llr::{
    approximate_llr, llr_bayeselo, llr_jumps, llr_normalized, llr_normalized_closed_form, llr_of_scores,
};
use super::special::Z_975;
use super::sprt::SprtRecord;
use super::sprt_elo::{SprtEstimate, SprtQuestion};
use super::text::{TValue, fixed};

/// Label and printed value.
pub type Row = (String, String);

/// One row of the table of bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoundsRow {
    /// `H0` or `H1`.
    pub label: &'static str,
    /// Logistic Elo.
    pub logistic: String,
    /// Normalized Elo.
    pub normalized: String,
    /// BayesElo; `nan` when the draw ratio excludes it.
    pub bayes: String,
    /// Points per game.
    pub score: String,
}

/// Statistics of the pairs, or of the games.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Section {
    /// Elo, LOS and, for sequential tests, the LLR.
    pub basic_rows: Vec<Row>,
    /// Distribution, moments and limits.
    pub aux_rows: Vec<Row>,
    /// LLRs in several models; sequential tests only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub llr_rows: Vec<Row>,
    /// Pairs compared with games; in the section of the pairs only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub comparison_rows: Vec<Row>,
}

/// The page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RawStatistics {
    /// Is it shown as a sequential test? False also when such a test's numbers cannot be computed.
    pub has_sprt: bool,
    /// How often games are drawn.
    pub draw_rows: Vec<Row>,
    /// Parameters of the sequential test.
    pub sprt_rows: Vec<Row>,
    /// Its bounds on all scales.
    pub sprt_bounds_rows: Vec<BoundsRow>,
    /// `None` for runs from before games were paired.
    pub pentanomial: Option<Section>,
    /// Numbers that take games for independent.
    pub trinomial: Section,
}

impl RawStatistics {
    /// Computes the page of a run with these totals.
    ///
    /// # Errors
    /// [`StatsError::OutOfRange`] for senseless counts.
    pub fn new(sprt: Option<&SprtRecord>, counts: &Counts) -> Result<Self, StatsError> {
        if let Some(record) = sprt
            && let Ok(page) = Self::build(Some(record), counts)
        {
            return Ok(page);
        }
        Self::build(None, counts)
    }

    fn build(sprt: Option<&SprtRecord>, counts: &Counts) -> Result<Self, StatsError> {
        let games = Distribution::new(&counts.trinomial)?;
        let pairs = counts.pentanomial.as_ref().map(|pairs| Distribution::new(pairs)).transpose()?;
        let drawelo = drawelo(&counts.trinomial)?;
        let draw_ratio = games.probabilities[1];
        let mut draw_rows = vec![row("Draw ratio", fixed(draw_ratio, 5))];
        if let Some(pairs) = &pairs {
            draw_rows.push(row("Pentanomial draw ratio", fixed(pairs.probabilities[2], 5)));
        }
        draw_rows.push(row("DrawElo (BayesElo)", fixed(drawelo, 2)));

        let test = sprt.map(|record| SprtBounds::new(record, &games, pairs.as_ref(), drawelo));
        let pentanomial = match (&pairs, &counts.pentanomial) {
            (Some(distribution), Some(raw)) => {
                Some(pair_section(distribution, raw, &games, test.as_ref(), counts)?)
            }
            _ => None,
        };
        Ok(Self {
            has_sprt: test.is_some(),
            draw_rows,
            sprt_rows: sprt.map(parameter_rows).unwrap_or_default(),
            sprt_bounds_rows: test.as_ref().map(SprtBounds::rows).unwrap_or_default(),
            pentanomial,
            trinomial: game_section(&games, test.as_ref(), counts)?,
        })
    }
}

/// The bounds of a sequential test on every scale. Index 0 is H0, 1 is H1.
struct SprtBounds<'a> {
    record: &'a SprtRecord,
    /// Of the pairs, or of the games when there are none.
    main: Scales,
    /// Of the games.
    games: Scales,
    bayes: [f64; 2],
}

/// Bounds as the results of one kind of sample translate them.
struct Scales {
    logistic: [f64; 2],
    normalized: [f64; 2],
    score: [f64; 2],
}

impl Scales {
    /// Translates bounds that are normalized or logistic by the standard deviation per game.
    fn new(normalized: bool, elos: [f64; 2], deviation: f64) -> Self {
        if normalized {
            let score = elos.map(|elo| 0.5 + elo * deviation / NORMALIZED_PER_T);
            return Self { logistic: score.map(elo_of_score), normalized: elos, score };
        }
        let score = elos.map(score_of_elo);
        let normalized = score.map(|score| NORMALIZED_PER_T * (score - 0.5) / deviation);
        Self { logistic: elos, normalized, score }
    }
}

impl<'a> SprtBounds<'a> {
    fn new(record: &'a SprtRecord, games: &Distribution, pairs: Option<&Distribution>, drawelo: f64) -> Self {
        let given = [record.elo0, record.elo1];
        let normalized = record.elo_model == EloModel::Normalized;
        let is_bayes = record.elo_model == EloModel::BayesElo;
        let elos =
            if is_bayes { given.map(|bayeselo| BayesElo { bayeselo, drawelo }.to_logistic()) } else { given };
        let main = Scales::new(normalized, elos, pairs.unwrap_or(games).deviation_per_game());
        let games_scales = Scales::new(normalized, elos, games.deviation_per_game());
        let draw_ratio = games.probabilities[1];
        let bayes = if is_bayes {
            given
        } else {
            games_scales.logistic.map(|elo| BayesElo::of_logistic(elo, draw_ratio).bayeselo)
        };
        Self { record, main, games: games_scales, bayes }
    }

    fn rows(&self) -> Vec<BoundsRow> {
        let row = |label, i: usize| BoundsRow {
            label,
            logistic: fixed(self.main.logistic[i], 3),
            normalized: fixed(self.main.normalized[i], 3),
            bayes: fixed(self.bayes[i], 3),
            score: fixed(self.main.score[i], 5),
        };
        vec![row("H0", 0), row("H1", 1)]
    }

    /// Estimate by the logistic test that corresponds to these bounds.
    fn estimate(&self, samples: Counts) -> Result<SprtEstimate, StatsError> {
        let [elo0, elo1] = self.main.logistic;
        let question = SprtQuestion { elo0, elo1, elo_model: EloModel::Logistic, ..self.record.into() };
        SprtEstimate::new(&question, &samples)
    }
}

fn row(label: &str, value: String) -> Row {
    (label.to_owned(), value)
}

fn parameter_rows(record: &SprtRecord) -> Vec<Row> {
    let model = record.elo_model.as_str();
    vec![
        row("Alpha", format!("{:?}", record.alpha)),
        row("Beta", format!("{:?}", record.beta)),
        row(&format!("Elo0 ({model})"), format!("{:?}", record.elo0)),
        row(&format!("Elo1 ({model})"), format!("{:?}", record.elo1)),
        row("Batch size (games)", record.batch_size.saturating_mul(2).to_string()),
    ]
}

fn with_limits(x: f64, low: f64, high: f64, decimals: usize) -> String {
    format!("{} [{}, {}]", fixed(x, decimals), fixed(low, decimals), fixed(high, decimals))
}

fn list(xs: &[f64], decimals: usize) -> String {
    let texts: Vec<String> = xs.iter().map(|x| fixed(*x, decimals)).collect();
    format!("[{}]", texts.join(", "))
}

fn basic_rows(
    distribution: &Distribution,
    scales: Option<(&SprtBounds<'_>, &Scales)>,
    samples: Counts,
) -> Result<Vec<Row>, StatsError> {
    let Some((test, scales)) = scales else {
        let estimate = FixedEstimate::new(&distribution.regularized)?;
        let [low, high] = estimate.interval();
        return Ok(vec![
            row("Elo", with_limits(estimate.elo, low, high, 4)),
            row("LOS(1-p)", fixed(estimate.los, 5)),
        ]);
    };
    let estimate = test.estimate(samples)?;
    let llr = match test.record.elo_model {
        EloModel::Normalized => {
            llr_normalized(scales.normalized[0], scales.normalized[1], &distribution.regularized)?
        }
        EloModel::Logistic | EloModel::BayesElo => {
            llr_of_scores(scales.score[0], scales.score[1], &distribution.regularized)?
        }
    };
    Ok(vec![
        row("Elo", with_limits(estimate.elo, estimate.ci[0], estimate.ci[1], 4)),
        row("LOS(1-p)", fixed(estimate.los, 5)),
        row("LLR", with_limits(llr, estimate.a, estimate.b, 4)),
    ])
}

fn llr_rows(distribution: &Distribution, scales: &Scales) -> Result<Vec<Row>, StatsError> {
    let counts = &distribution.regularized;
    let ([score0, score1], [nelo0, nelo1]) = (scales.score, scales.normalized);
    let approximate = approximate_llr(score0, score1, counts)?;
    let rows = [
        ("Logistic (exact)", llr_of_scores(score0, score1, counts)?),
        ("Logistic (alt)", distribution.n * approximate.log_ratio),
        ("Logistic (alt2)", distribution.n * approximate.quadratic),
        ("Normalized (exact)", llr_normalized(nelo0, nelo1, counts)?),
        ("Normalized (alt)", llr_normalized_closed_form(nelo0, nelo1, counts)?),
    ];
    Ok(rows.into_iter().map(|(label, llr)| row(label, fixed(llr, 5))).collect())
}

/// Rows from the moments on. Limits of score and normalized Elo belong to tests of fixed length: a sequential test
/// stops where they would be misleading.
fn shape_rows(distribution: &Distribution, is_sprt: bool) -> Vec<Row> {
    let shape = distribution.moments();
    let (n, games_per_sample) = (distribution.n, distribution.games_per_sample());
    let limited = |x: f64, half: f64, decimals: usize| {
        if is_sprt { fixed(x, decimals) } else { with_limits(x, x - half, x + half, decimals) }
    };
    let variance = distribution.variance_per_game();
    let reach = Z_975 * ((shape.excess_kurtosis + 2.0).max(0.0) / n).sqrt();
    let (low, high) = (variance * (1.0 - reach), variance * (1.0 + reach));
    let t = TValue::new(distribution);
    let scale = NORMALIZED_PER_T / games_per_sample.sqrt();
    vec![
        row("Expected value", fixed(shape.mean, 5)),
        row("Variance", fixed(shape.variance, 5)),
        row("Skewness", fixed(shape.skewness, 5)),
        row("Excess kurtosis", fixed(shape.excess_kurtosis, 5)),
        row("Score", limited(shape.mean, Z_975 * (shape.variance / n).sqrt(), 5)),
        row("Variance/game", with_limits(variance, low, high, 5)),
        row("Stdev/game", with_limits(variance.sqrt(), low.max(0.0).sqrt(), high.sqrt(), 5)),
        row("Normalized Elo", limited(scale * t.t, scale * Z_975 * (t.variance / n).sqrt(), 2)),
    ]
}

fn distribution_text(distribution: &Distribution) -> String {
    let classes = distribution.values.iter().zip(&distribution.probabilities);
    let texts: Vec<String> = classes.map(|(a, p)| format!("{}: {}", fixed(*a, 2), fixed(*p, 5))).collect();
    format!("{{{}}}", texts.join(", "))
}

fn pair_section(
    distribution: &Distribution,
    raw: &[f64; 5],
    games: &Distribution,
    test: Option<&SprtBounds<'_>>,
    counts: &Counts,
) -> Result<Section, StatsError> {
    let count = &distribution.regularized;
    let both_drawn = games.probabilities[1] - (count[1] + count[3]) / (2.0 * distribution.n);
    let one_each = count[2] / distribution.n - both_drawn;
    let mut aux_rows = vec![
        row("Games", fixed(2.0 * raw.iter().sum::<f64>(), 0)),
        row("Results [0-2]", list(raw, 0)),
        row("Distribution", distribution_text(distribution)),
        row("(DD,WL) split", format!("({}, {})", fixed(both_drawn, 5), fixed(one_each, 5))),
    ];
    aux_rows.extend(shape_rows(distribution, test.is_some()));
    let mut llrs = Vec::new();
    if let Some(test) = test {
        let [score0, score1] = test.main.score;
        aux_rows.push(row("LLR jumps [0-2]", list(&llr_jumps(score0, score1, count)?, 6)));
        aux_rows.push(row("Expected overshoot [H0,H1]", list(&test.record.expected_overshoot(), 5)));
        llrs = llr_rows(distribution, &test.main)?;
    }
    Ok(Section {
        basic_rows: basic_rows(distribution, test.map(|test| (test, &test.main)), *counts)?,
        aux_rows,
        llr_rows: llrs,
        comparison_rows: comparison_rows(distribution, games),
    })
}

fn comparison_rows(pairs: &Distribution, games: &Distribution) -> Vec<Row> {
    let (v5, v3) = (pairs.variance_per_game(), games.variance_per_game());
    let bias = (v3 - v5).max(0.0).sqrt();
    vec![
        row("Variance ratio (pentanomial/trinomial)", fixed(v5 / v3, 5)),
        row("Variance difference (trinomial-pentanomial)", fixed(v3 - v5, 5)),
        row("RMS bias", fixed(bias, 5)),
        row("RMS bias (Elo)", fixed(elo_of_score(0.5 + bias), 3)),
    ]
}

fn game_section(
    distribution: &Distribution,
    test: Option<&SprtBounds<'_>>,
    counts: &Counts,
) -> Result<Section, StatsError> {
    let mut aux_rows = vec![
        row("Games", fixed(counts.games(), 0)),
        row("Results [losses, draws, wins]", list(&counts.trinomial, 0)),
        row("Distribution {loss ratio, draw ratio, win ratio}", distribution_text(distribution)),
    ];
    aux_rows.extend(shape_rows(distribution, test.is_some()));
    let mut llrs = Vec::new();
    if let Some(test) = test {
        // The same two scores as for the pairs, so that the jumps can be compared.
        let [score0, score1] = test.main.score;
        let jumps = llr_jumps(score0, score1, &distribution.regularized)?;
        aux_rows.push(row("LLR jumps [loss, draw, win]", list(&jumps, 6)));
        llrs = llr_rows(distribution, &test.games)?;
        let bayes = llr_bayeselo(test.bayes[0], test.bayes[1], &counts.trinomial)?;
        llrs.push(row("BayesElo", fixed(bayes, 5)));
    }
    let games_only = Counts { pentanomial: None, ..*counts };
    Ok(Section {
        basic_rows: basic_rows(distribution, test.map(|test| (test, &test.games)), games_only)?,
        aux_rows,
        llr_rows: llrs,
        comparison_rows: Vec::new(),
    })
}

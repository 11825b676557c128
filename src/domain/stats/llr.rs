//! Generalized log-likelihood ratios (`spec/statistics.md` section 3).
//!
//! A hypothesis fixes one functional of the distribution of results: its mean (logistic Elo) or its t-value
//! (normalized Elo). The most likely distribution under it is the empirical one with each probability divided by
//! `1 + x·b_i`; x is the root of the secular equation `Σ p_i b_i / (1 + x b_i) = 0`. The solvers below bracket that
//! root with the bounds that follow from "no probability exceeds 1" and work with the distance from the pole of the
//! equation when the root is close to it, so they do not fail however one-sided or numerous the results are.

use super::StatsError;
use super::counts::{Counts, Distribution, Moments};
use super::elo::{BayesElo, EloModel, NORMALIZED_PER_T, drawelo, score_of_elo};
use super::root::{Cut, newton};

/// Passes of the solver for a prescribed t-value. Realistic results take 3 to 6.
const MAX_PASSES: usize = 120;

/// Relative change of the scale below which the solver for a prescribed t-value is content.
const SCALE_TOLERANCE: f64 = 1e-14;

/// The most likely distribution under a hypothesis, relative to the empirical one.
#[derive(Debug, Clone, PartialEq)]
pub struct Constrained {
    /// ln(p_i / q_i) of each class, p empirical and q constrained.
    cost: Vec<f64>,
}

impl Constrained {
    /// Prescribes the mean score, which must lie strictly between 0 and 1.
    ///
    /// # Errors
    /// [`StatsError::Infeasible`] when it does not.
    pub fn with_mean(empirical: &Distribution, score: f64) -> Result<Self, StatsError> {
        let offsets: Vec<f64> = empirical.values.iter().map(|a| a - score).collect();
        Ok(Self { cost: secular_costs(&empirical.probabilities, &offsets)? })
    }

    /// Prescribes the t-value of a sample, (mean − ½)/σ.
    ///
    /// With u = score − ½ and c = t/√(1+t²), the constraint is E(u) = c·√E(u²). A square root is the lower envelope of
    /// its tangents, so at the solution the constraint may be replaced by the linear one `E(u) = c·(E(u²)/2r + r/2)`
    /// with r = √E(u²). What remains is the root r of one continuous function with a known bracket.
    ///
    /// # Errors
    /// [`StatsError::Infeasible`] when t is not finite, or beyond what double precision can tell from infinity.
    pub fn with_t_value(empirical: &Distribution, t: f64) -> Result<Self, StatsError> {
        let c = t / 1f64.hypot(t);
        if !t.is_finite() || c.abs() == 1.0 {
            return Err(StatsError::Infeasible);
        }
        let u: Vec<f64> = empirical.values.iter().map(|a| a - 0.5).collect();
        if c == 0.0 {
            return Ok(Self { cost: secular_costs(&empirical.probabilities, &u)? });
        }
        // Below `low` not even the class nearest to the middle can balance the linear constraint; scores are at most
        // ½ from the middle.
        let nearest = if empirical.is_pairs() { 0.25 } else { 0.5 };
        let mut low = nearest * c.abs() / (1.0 + (1.0 - c * c).sqrt());
        let mut high = 0.5;
        let root_mean_square = |cost: Option<&[f64]>| -> f64 {
            let shrink = |i: usize| cost.map_or(1.0, |cost| (-cost[i]).exp());
            let square = u.iter().zip(&empirical.probabilities).enumerate();
            square.map(|(i, (u, p))| u * u * p * shrink(i)).sum::<f64>().sqrt()
        };
        let mut r = root_mean_square(None);
        if !(r > low && r < high) {
            r = (low * high).sqrt();
        }
        let mut offsets = vec![0.0; u.len()];
        let mut before: Option<(f64, f64)> = None;
        let mut solution = Err(StatsError::Infeasible);
        for pass in 0..MAX_PASSES {
            for (offset, u) in offsets.iter_mut().zip(&u) {
                *offset = u - c * (u * u / (2.0 * r) + 0.5 * r);
            }
            let Ok(cost) = secular_costs(&empirical.probabilities, &offsets) else {
                // Only rounding at the lower end of the bracket leads here.
                low = r;
                r = (low * high).sqrt();
                continue;
            };
            let image = root_mean_square(Some(&cost));
            let gap = image - r;
            solution = Ok(Self { cost });
            if gap > 0.0 {
                low = r;
            } else {
                high = r;
            }
            if gap.abs() <= SCALE_TOLERANCE * r || high - low <= SCALE_TOLERANCE * high {
                break;
            }
            let secant = before.map(|(r0, gap0)| r - gap * (r - r0) / (gap - gap0));
            before = Some((r, gap));
            let candidates = [secant.unwrap_or(image), image];
            let inside = candidates.into_iter().find(|x| *x > low && *x < high);
            // When fast steps have not settled it, every other pass cuts the bracket, so the end is certain.
            let trusted = pass < MAX_PASSES / 8 || pass % 2 == 0;
            r = match inside {
                Some(x) if trusted => x,
                _ => (low * high).sqrt(),
            };
        }
        solution
    }

    /// The constrained probabilities.
    pub fn probabilities(&self, empirical: &Distribution) -> Vec<f64> {
        empirical.probabilities.iter().zip(&self.cost).map(|(p, cost)| p * (-cost).exp()).collect()
    }
}

/// ln(1 + x·b_i) at the root x of the secular equation.
fn secular_costs(p: &[f64], b: &[f64]) -> Result<Vec<f64>, StatsError> {
    let extreme = |better: fn(f64, f64) -> bool| {
        let first = b.iter().zip(p).map(|(b, p)| (*b, *p));
        first.reduce(|best, next| if better(next.0, best.0) { next } else { best })
    };
    let (Some(lowest), Some(highest)) = (extreme(|a, b| a < b), extreme(|a, b| a > b)) else {
        return Err(StatsError::Infeasible);
    };
    let balanced = lowest.0 < 0.0 && highest.0 > 0.0;
    if !balanced {
        return Err(StatsError::Infeasible);
    }
    let at_zero: f64 = p.iter().zip(b).map(|(p, b)| p * b).sum();
    if at_zero == 0.0 {
        return Ok(vec![0.0; b.len()]);
    }
    // The root has the sign of the value at 0; the pole on that side belongs to the extreme class on the other side.
    let (pole, weight) = if at_zero > 0.0 { lowest } else { highest };
    let sign = at_zero.signum();
    // d = 1 + x·pole is the factor of that class: 1 at x = 0, and at least its weight, since q ≤ 1.
    // Half way there decides which of two well conditioned unknowns to use.
    let factor = |b: f64, d: f64| (pole - b) / pole + d * (b / pole);
    let at = |d: f64| {
        let (mut value, mut slope) = (0.0, 0.0);
        for (p, b) in p.iter().zip(b) {
            let inverse = 1.0 / factor(*b, d);
            value += p * b * inverse;
            slope += p * b * b * inverse * inverse;
        }
        // Increasing in d after the change of sign.
        (sign * value, slope / pole.abs())
    };
    if at(0.5).0 <= 0.0 {
        let u = newton(0.0, 0.5, Cut::Arithmetic, |u| {
            let (mut value, mut slope) = (0.0, 0.0);
            for (p, b) in p.iter().zip(b) {
                let inverse = 1.0 / (1.0 - u * b / pole);
                value += p * b * inverse;
                slope += p * b * b * inverse * inverse;
            }
            (-sign * value, slope / pole.abs())
        });
        return Ok(b.iter().map(|b| (-u * b / pole).ln_1p()).collect());
    }
    // Near the pole the value behaves as A − B/d; times d it is almost linear.
    let d = newton(weight.min(0.5), 0.5, Cut::Geometric, |d| {
        let (value, slope) = at(d);
        (d * value, value + d * slope)
    });
    Ok(b.iter().map(|b| factor(*b, d).ln()).collect())
}

/// What one more sample of each class adds to the LLR of H1 against H0.
fn jumps(h0: &Constrained, h1: &Constrained) -> Vec<f64> {
    h0.cost.iter().zip(&h1.cost).map(|(cost0, cost1)| cost0 - cost1).collect()
}

fn llr_of(empirical: &Distribution, h0: &Constrained, h1: &Constrained) -> Result<f64, StatsError> {
    let jumps = jumps(h0, h1);
    let llr: f64 = empirical.regularized.iter().zip(jumps).map(|(count, jump)| count * jump).sum();
    if llr.is_finite() { Ok(llr) } else { Err(StatsError::Numerical("the log-likelihood ratio")) }
}

/// LLR of the mean score `score1` against `score0`.
///
/// # Errors
/// [`StatsError`] for senseless counts or scores not strictly between 0 and 1.
pub fn llr_of_scores(score0: f64, score1: f64, counts: &[f64]) -> Result<f64, StatsError> {
    let empirical = Distribution::new(counts)?;
    let h0 = Constrained::with_mean(&empirical, score0)?;
    let h1 = Constrained::with_mean(&empirical, score1)?;
    llr_of(&empirical, &h0, &h1)
}

/// LLR of logistic Elo `elo1` against `elo0`.
///
/// # Errors
/// As [`llr_of_scores`].
pub fn llr_logistic(elo0: f64, elo1: f64, counts: &[f64]) -> Result<f64, StatsError> {
    llr_of_scores(score_of_elo(elo0), score_of_elo(elo1), counts)
}

/// LLR of normalized Elo `elo1` against `elo0`.
///
/// # Errors
/// [`StatsError`] for senseless counts or bounds.
pub fn llr_normalized(elo0: f64, elo1: f64, counts: &[f64]) -> Result<f64, StatsError> {
    let empirical = Distribution::new(counts)?;
    let scale = empirical.games_per_sample().sqrt() / NORMALIZED_PER_T;
    let h0 = Constrained::with_t_value(&empirical, elo0 * scale)?;
    let h1 = Constrained::with_t_value(&empirical, elo1 * scale)?;
    llr_of(&empirical, &h0, &h1)
}

/// What one more sample of each class adds to the LLR of the mean score `score1` against `score0`.
///
/// # Errors
/// As [`llr_of_scores`].
pub fn llr_jumps(score0: f64, score1: f64, counts: &[f64]) -> Result<Vec<f64>, StatsError> {
    let empirical = Distribution::new(counts)?;
    let h0 = Constrained::with_mean(&empirical, score0)?;
    let h1 = Constrained::with_mean(&empirical, score1)?;
    Ok(jumps(&h0, &h1))
}

/// The bounds of a test on a scale that has an LLR: BayesElo becomes logistic Elo with the draw Elo of the games.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Are `elo0` and `elo1` normalized Elo? Otherwise they are logistic.
    pub normalized: bool,
    /// Of the null hypothesis.
    pub elo0: f64,
    /// Of the alternative.
    pub elo1: f64,
}

impl Bounds {
    /// Converts the bounds of a test with these results so far (section 2.3).
    ///
    /// # Errors
    /// [`StatsError::OutOfRange`] for senseless counts or bounds.
    pub fn new(model: EloModel, elo0: f64, elo1: f64, counts: &Counts) -> Result<Self, StatsError> {
        if !(elo0.is_finite() && elo1.is_finite()) {
            return Err(StatsError::OutOfRange("an Elo bound"));
        }
        match model {
            EloModel::Normalized => Ok(Self { normalized: true, elo0, elo1 }),
            EloModel::Logistic => Ok(Self { normalized: false, elo0, elo1 }),
            EloModel::BayesElo => {
                let drawelo = drawelo(&counts.trinomial)?;
                let logistic = |bayeselo| BayesElo { bayeselo, drawelo }.to_logistic();
                Ok(Self { normalized: false, elo0: logistic(elo0), elo1: logistic(elo1) })
            }
        }
    }

    /// LLR of these bounds for 3 or 5 counts.
    ///
    /// # Errors
    /// As [`llr_of_scores`].
    pub fn llr(&self, counts: &[f64]) -> Result<f64, StatsError> {
        let llr = if self.normalized { llr_normalized } else { llr_logistic };
        llr(self.elo0, self.elo1, counts)
    }

    /// The mean scores that the bounds stand for, given the standard deviation per game.
    pub fn scores(&self, deviation_per_game: f64) -> [f64; 2] {
        [self.elo0, self.elo1].map(|elo| {
            if self.normalized {
                0.5 + elo / NORMALIZED_PER_T * deviation_per_game
            } else {
                score_of_elo(elo)
            }
        })
    }
}

/// Approximations of the logistic LLR per sample (section 3.5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Approximations {
    /// From the ratio of the second moments about the two scores.
    pub log_ratio: f64,
    /// The linear one: drift at the empirical mean.
    pub quadratic: f64,
}

/// Approximates the LLR of the mean score `score1` against `score0`, per sample.
///
/// # Errors
/// [`StatsError::OutOfRange`] for senseless counts.
pub fn approximate_llr(score0: f64, score1: f64, counts: &[f64]) -> Result<Approximations, StatsError> {
    let empirical = Distribution::new(counts)?;
    let moments = empirical.moments();
    let about = |score: f64| moments.variance + (moments.mean - score).powi(2);
    Ok(Approximations {
        log_ratio: 0.5 * (about(score0) / about(score1)).ln(),
        quadratic: (score1 - score0) * (2.0 * moments.mean - score0 - score1) / (2.0 * moments.variance),
    })
}

/// The LLR as a Brownian motion when the true score is `score`: its drift and variance per sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motion {
    /// Mean of an increment.
    pub drift: f64,
    /// Variance of an increment.
    pub variance: f64,
}

impl Motion {
    /// For a test of `score1` against `score0` with results of the given shape.
    pub fn new(score0: f64, score1: f64, score: f64, shape: &Moments) -> Self {
        Self {
            drift: (score - (score0 + score1) / 2.0) * (score1 - score0) / shape.variance,
            variance: (score1 - score0).powi(2) / shape.variance,
        }
    }
}

/// Approximate closed form of the normalized LLR (section 3.5).
///
/// # Errors
/// [`StatsError::OutOfRange`] for senseless counts.
pub fn llr_normalized_closed_form(elo0: f64, elo1: f64, counts: &[f64]) -> Result<f64, StatsError> {
    let empirical = Distribution::new(counts)?;
    let games = empirical.n * empirical.games_per_sample();
    let t = (empirical.moments().mean - 0.5) / empirical.deviation_per_game();
    let about = |elo: f64| 1.0 + (t - elo / NORMALIZED_PER_T).powi(2);
    Ok(games / 2.0 * (about(elo0) / about(elo1)).ln())
}

/// LLR of BayesElo bounds in the three-outcome model, with the draw Elo of the same games. NaN for NaN bounds.
///
/// # Errors
/// [`StatsError::OutOfRange`] for senseless counts.
pub fn llr_bayeselo(bayeselo0: f64, bayeselo1: f64, trinomial: &[f64; 3]) -> Result<f64, StatsError> {
    let empirical = Distribution::new(trinomial)?;
    let drawelo = drawelo(trinomial)?;
    let outcomes = |bayeselo| BayesElo { bayeselo, drawelo }.outcomes().worst_to_best();
    let pairs = outcomes(bayeselo1).into_iter().zip(outcomes(bayeselo0));
    Ok(empirical.regularized.iter().zip(pairs).map(|(count, (p1, p0))| count * (p1 / p0).ln()).sum())
}

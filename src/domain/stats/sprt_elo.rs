//! Elo of a sequential test, finished or not (`spec/statistics.md` section 6).
//!
//! The LLR is seen as a Brownian motion that is absorbed at the bounds. Outcomes are ordered from an early rejection
//! over the positions of a walk that still runs to an early acceptance; the probability of an outcome no better than
//! the observed one, as a function of Elo, yields the median-unbiased estimate and the confidence limits.

use std::f64::consts::PI;

use serde::Serialize;

use super::StatsError;
use super::counts::{Counts, Distribution, Moments};
use super::elo::{EloModel, score_of_elo};
use super::llr::{Bounds, Motion};
use super::root::brent;
use super::special::norm_cdf;
use super::sprt::{SprtRecord, llr_bounds};

/// Estimates lie in this range of logistic Elo.
const ELO_LIMIT: f64 = 1000.0;

/// Probability outside the interval that is shown.
const SHOWN_ERROR: f64 = 0.05;

/// A probability may leave [0, 1] by this much, since the tail formula is approximate.
const SLACK: f64 = 1e-3;

/// What to estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SprtQuestion {
    /// Probability of a false positive.
    pub alpha: f64,
    /// Probability of a false negative.
    pub beta: f64,
    /// Probability outside the confidence interval: 0.05 for 95%.
    pub p: f64,
    /// Lower bound on the scale of `elo_model`.
    pub elo0: f64,
    /// Upper bound.
    pub elo1: f64,
    /// Scale of the bounds; the answers are always logistic Elo.
    pub elo_model: EloModel,
}

impl From<&SprtRecord> for SprtQuestion {
    fn from(record: &SprtRecord) -> Self {
        Self {
            alpha: record.alpha,
            beta: record.beta,
            p: SHOWN_ERROR,
            elo0: record.elo0,
            elo1: record.elo1,
            elo_model: record.elo_model,
        }
    }
}

/// Estimate of a sequential test. Serialises as the `elo` record of the API.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SprtEstimate {
    /// Lower LLR bound, without overshoot correction.
    pub a: f64,
    /// Upper LLR bound.
    pub b: f64,
    /// Median-unbiased estimate, logistic Elo.
    pub elo: f64,
    /// Its confidence interval.
    pub ci: [f64; 2],
    /// Likelihood of superiority, a probability.
    #[serde(rename = "LOS")]
    pub los: f64,
    /// The exact log-likelihood ratio.
    #[serde(rename = "LLR")]
    pub llr: f64,
}

/// A test in the picture of a Brownian motion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Walk {
    /// Lower LLR bound.
    pub a: f64,
    /// Upper LLR bound.
    pub b: f64,
    /// Mean scores under the two hypotheses.
    pub scores: [f64; 2],
    /// Position of the walk, moved back to the bound that it passed.
    pub position: f64,
    /// Samples until then.
    pub time: f64,
    /// Did the walk end clearly beyond a bound?
    pub clamped: bool,
    shape: Moments,
}

impl Walk {
    /// Where the walk of these results stands (section 6.2).
    ///
    /// # Errors
    /// [`StatsError`] for senseless counts, error probabilities or bounds.
    pub fn new(question: &SprtQuestion, bounds: &Bounds, samples: &[f64]) -> Result<Self, StatsError> {
        let [a, b] = llr_bounds(question.alpha, question.beta);
        let usable = a.is_finite() && b.is_finite() && a < 0.0 && b > 0.0;
        if !usable {
            return Err(StatsError::OutOfRange("an error probability"));
        }
        let empirical = Distribution::new(samples)?;
        let shape = empirical.moments();
        let scores = bounds.scores(empirical.deviation_per_game());
        let [score0, score1] = scores;
        if score0 >= score1 {
            return Err(StatsError::EqualBounds);
        }
        let slope = Motion::new(score0, score1, shape.mean, &shape).drift;
        let mut walk =
            Self { a, b, scores, position: empirical.n * slope, time: empirical.n, clamped: false, shape };
        if !walk.position.is_finite() {
            return Err(StatsError::Numerical("the position of the walk"));
        }
        walk.clamped = walk.position > 1.03 * b || walk.position < 1.03 * a;
        if walk.position < a {
            (walk.time, walk.position) = (a / slope, a);
        } else if walk.position > b {
            (walk.time, walk.position) = (b / slope, b);
        }
        Ok(walk)
    }

    /// Probability of an outcome no better than the observed one if the strength were `elo` (logistic).
    pub fn probability(&self, elo: f64) -> f64 {
        let [score0, score1] = self.scores;
        let motion = Motion::new(score0, score1, score_of_elo(elo), &self.shape);
        outcome_cdf(self.a, self.b, motion.drift, motion.variance.sqrt(), self.time, self.position)
    }

    /// The logistic Elo at which an outcome no better than the observed one has the probability `1 - q`.
    fn lower(&self, q: f64) -> Result<f64, StatsError> {
        let target = 1.0 - q;
        let (low, high) = (self.probability(-ELO_LIMIT), self.probability(ELO_LIMIT));
        if low.is_nan() || high.is_nan() {
            return Err(StatsError::Numerical("the distribution of outcomes"));
        }
        if low > target && high > target {
            return Ok(ELO_LIMIT);
        }
        if low < target && high < target {
            return Ok(-ELO_LIMIT);
        }
        brent(-ELO_LIMIT, ELO_LIMIT, |elo| self.probability(elo) - target)
            .ok_or(StatsError::Numerical("the distribution of outcomes"))
    }
}

impl SprtEstimate {
    /// Estimates the strength behind the results of a sequential test.
    ///
    /// # Errors
    /// [`StatsError`] for senseless counts or bounds, and when elo0 is not smaller than elo1.
    pub fn new(question: &SprtQuestion, counts: &Counts) -> Result<Self, StatsError> {
        let bounds = Bounds::new(question.elo_model, question.elo0, question.elo1, counts)?;
        let walk = Walk::new(question, &bounds, counts.samples())?;
        let los = walk.probability(0.0);
        if !(-SLACK..=1.0 + SLACK).contains(&los) {
            return Err(StatsError::Numerical("the likelihood of superiority"));
        }
        Ok(Self {
            a: walk.a,
            b: walk.b,
            elo: walk.lower(0.5)?,
            ci: [walk.lower(question.p / 2.0)?, walk.lower(1.0 - question.p / 2.0)?],
            los,
            llr: bounds.llr(counts.samples())?,
        })
    }
}

/// F: the probability that a Brownian motion from 0, with drift `mu` and standard deviation `sigma` per unit of time,
/// is absorbed at `a` < 0 before `time` and before it reaches `b` > 0, or is absorbed by neither and then at most `y`
/// (section 6.4). The tail formula and its two branches are part of the definition, so the value may leave [0, 1] a
/// little and jumps slightly where the branch changes. NaN for senseless input.
pub fn outcome_cdf(a: f64, b: f64, mu: f64, sigma: f64, time: f64, y: f64) -> f64 {
    let width = b - a;
    let gamma = mu / (sigma * sigma);
    if sigma * sigma * time / (width * width) < 1e-2 || (gamma * width).abs() > 15.0 {
        tail_formula(a, b, mu, sigma, time, y)
    } else {
        series(a, b, mu, sigma, time, y)
    }
}

fn series(a: f64, b: f64, mu: f64, sigma: f64, time: f64, y: f64) -> f64 {
    let width = b - a;
    let gamma = mu / (sigma * sigma);
    let (start, end) = (-a, y - a);
    let gamma_width = gamma * width;
    let absorbed = if gamma_width.abs() >= 1e-8 {
        (1.0 - (2.0 * gamma * (width - start)).exp()) / (1.0 - (2.0 * gamma_width).exp())
    } else {
        (width - start) / width
    };
    let mut sum = 0.0;
    let mut n = 1.0;
    loop {
        let frequency = n * PI / width;
        let decay = frequency * frequency * sigma * sigma / 2.0 + mu * mu / (2.0 * sigma * sigma);
        let (sin, cos) = (frequency * end).sin_cos();
        let amplitude =
            (2.0 * gamma_width * sin - 2.0 * PI * n * cos) / (gamma_width * gamma_width + PI * PI * n * n);
        let size = (gamma * (end - start) - decay * time).exp() * amplitude;
        sum += size * (frequency * start).sin();
        // The exponent falls with n²; the bound on n only serves NaN.
        if size.abs() <= 1e-9 || size.is_nan() || n >= 1e4 {
            return absorbed + sum;
        }
        n += 1.0;
    }
}

fn tail_formula(a: f64, b: f64, mu: f64, sigma: f64, time: f64, y: f64) -> f64 {
    let gamma = mu / (sigma * sigma);
    let deviation = sigma * time.sqrt();
    let z = (y - mu * time) / deviation;
    let za = (-y + mu * time + 2.0 * a) / deviation;
    let zb = (y - mu * time - 2.0 * b) / deviation;
    norm_cdf(z) + reflected(gamma * a, za) - reflected(gamma * b, zb)
}

/// Weight of the paths reflected at a bound.
fn reflected(g: f64, u: f64) -> f64 {
    if g < 5.0 {
        return (2.0 * g).exp() * norm_cdf(u);
    }
    -(2.0 * g - u * u / 2.0).exp() / (2.0 * PI).sqrt() * (1.0 / u - 1.0 / u.powi(3))
}

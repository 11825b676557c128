//! Elo scales, and the estimate for tests of a fixed length (`spec/statistics.md` sections 2 and 4).

use std::f64::consts::LN_10;

use serde::{Deserialize, Serialize};

use super::StatsError;
use super::counts::Distribution;
use super::special::{Z_975, norm_cdf};

/// Normalized Elo per unit of the t-value of a game: 800/ln 10.
pub const NORMALIZED_PER_T: f64 = 800.0 / LN_10;

/// Scores are clamped to this distance from 0 and 1 before they become Elo.
const SCORE_MARGIN: f64 = 0.001;

/// The scale in which the bounds of a sequential test are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum EloModel {
    /// Score over its standard deviation per game, times 800/ln 10.
    #[serde(rename = "normalized")]
    Normalized,
    /// The usual Elo scale.
    #[serde(rename = "logistic")]
    Logistic,
    /// Bradley-Terry with draws. What a record without `elo_model` means.
    #[default]
    BayesElo,
}

impl EloModel {
    /// The name used on the wire and in documents; case matters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normalized => "normalized",
            Self::Logistic => "logistic",
            Self::BayesElo => "BayesElo",
        }
    }

    /// Reads a name used on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Normalized, Self::Logistic, Self::BayesElo].into_iter().find(|model| model.as_str() == name)
    }
}

/// Expected score of logistic Elo.
pub fn score_of_elo(elo: f64) -> f64 {
    1.0 / (1.0 + 10f64.powf(-elo / 400.0))
}

/// Logistic Elo of a score; a score outside [0.001, 0.999] counts as the nearer end.
pub fn elo_of_score(score: f64) -> f64 {
    #[allow(clippy::manual_clamp, reason = "what is not a number counts as the lower end")]
    let clamped = score.max(SCORE_MARGIN).min(1.0 - SCORE_MARGIN);
    -400.0 * (1.0 / clamped - 1.0).log10()
}

/// Probabilities of the three outcomes of a game.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcomes {
    /// P(loss).
    pub loss: f64,
    /// P(draw).
    pub draw: f64,
    /// P(win).
    pub win: f64,
}

impl Outcomes {
    /// In the order of the counts.
    pub fn worst_to_best(self) -> [f64; 3] {
        [self.loss, self.draw, self.win]
    }
}

/// A point of the BayesElo scale: strength and drawishness.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BayesElo {
    /// Strength of the new engine.
    pub bayeselo: f64,
    /// How often games are drawn.
    pub drawelo: f64,
}

impl BayesElo {
    /// Outcome probabilities (section 2.3).
    pub fn outcomes(self) -> Outcomes {
        let win = 1.0 / (1.0 + 10f64.powf((-self.bayeselo + self.drawelo) / 400.0));
        let loss = 1.0 / (1.0 + 10f64.powf((self.bayeselo + self.drawelo) / 400.0));
        Outcomes { loss, draw: 1.0 - win - loss, win }
    }

    /// Inverse of [`Self::outcomes`]; both numbers are NaN when there is none.
    pub fn of_outcomes(outcomes: Outcomes) -> Self {
        let Outcomes { loss, win, .. } = outcomes;
        let inside = win > 0.0 && win < 1.0 && loss > 0.0 && loss < 1.0;
        if !inside {
            return Self { bayeselo: f64::NAN, drawelo: f64::NAN };
        }
        Self {
            bayeselo: 200.0 * (win / loss * (1.0 - loss) / (1.0 - win)).log10(),
            drawelo: 200.0 * ((1.0 - loss) / loss * (1.0 - win) / win).log10(),
        }
    }

    /// Logistic Elo.
    pub fn to_logistic(self) -> f64 {
        let Outcomes { draw, win, .. } = self.outcomes();
        elo_of_score(win + 0.5 * draw)
    }

    /// From logistic Elo and a draw ratio; both numbers are NaN when they exclude each other.
    pub fn of_logistic(elo: f64, draw_ratio: f64) -> Self {
        let win = score_of_elo(elo) - 0.5 * draw_ratio;
        Self::of_outcomes(Outcomes { loss: 1.0 - draw_ratio - win, draw: draw_ratio, win })
    }
}

/// Draw Elo of games (loss, draw, win); classes without games are regularized.
///
/// # Errors
/// [`StatsError::OutOfRange`] for senseless counts.
pub fn drawelo(trinomial: &[f64; 3]) -> Result<f64, StatsError> {
    let distribution = Distribution::new(trinomial)?;
    let [loss, draw, win] = distribution.probabilities[..] else {
        return Err(StatsError::OutOfRange("the number of classes"));
    };
    Ok(BayesElo::of_outcomes(Outcomes { loss, draw, win }).drawelo)
}

/// Estimate of a test of fixed length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FixedEstimate {
    /// Logistic Elo.
    pub elo: f64,
    /// Half the width of its 95% interval, which is shown as `elo ± elo95`.
    pub elo95: f64,
    /// Likelihood of superiority, a probability.
    pub los: f64,
    /// Games behind it, after regularization.
    pub games: f64,
    /// Points per game.
    pub mean: f64,
    /// Variance per game.
    pub variance_per_game: f64,
}

impl FixedEstimate {
    /// Estimates from 3 or 5 counts (section 4).
    ///
    /// # Errors
    /// [`StatsError::OutOfRange`] for senseless counts.
    pub fn new(counts: &[f64]) -> Result<Self, StatsError> {
        let distribution = Distribution::new(counts)?;
        let points = (counts.len() - 1) as f64 / 2.0;
        let games = distribution.n * points;
        let weighted = |f: &dyn Fn(f64) -> f64| -> f64 {
            let classes = distribution.regularized.iter().enumerate();
            classes.map(|(i, count)| count * f(i as f64 / 2.0)).sum::<f64>() / games
        };
        let mean = weighted(&|x| x);
        let variance = weighted(&|x| (x - mean * points).powi(2));
        let (deviation, root_games) = (variance.sqrt(), games.sqrt());
        let reach = Z_975 * deviation / root_games;
        Ok(Self {
            elo: elo_of_score(mean),
            elo95: (elo_of_score(mean + reach) - elo_of_score(mean - reach)) / 2.0,
            los: norm_cdf((mean - 0.5) * root_games / deviation),
            games,
            mean,
            variance_per_game: variance,
        })
    }

    /// The interval that is shown.
    pub fn interval(&self) -> [f64; 2] {
        [self.elo - self.elo95, self.elo + self.elo95]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn models_have_their_wire_names() {
        for (model, name) in [
            (EloModel::Normalized, "\"normalized\""),
            (EloModel::Logistic, "\"logistic\""),
            (EloModel::BayesElo, "\"BayesElo\""),
        ] {
            assert_eq!(serde_json::to_string(&model).unwrap(), name);
            assert_eq!(EloModel::parse(name.trim_matches('"')), Some(model));
        }
        assert_eq!(EloModel::parse("Normalized"), None);
    }

    proptest! {
        #[test]
        fn logistic_elo_and_score_invert_each_other(elo in -1000.0..1000.0f64) {
            prop_assert!((elo_of_score(score_of_elo(elo)) - elo).abs() < 1e-8);
        }

        #[test]
        fn bayeselo_and_outcomes_invert_each_other(bayeselo in -300.0..300.0f64, drawelo in 1.0..600.0f64) {
            let back = BayesElo::of_outcomes(BayesElo { bayeselo, drawelo }.outcomes());
            prop_assert!((back.bayeselo - bayeselo).abs() < 1e-7 && (back.drawelo - drawelo).abs() < 1e-7);
        }

        #[test]
        fn the_estimate_is_finite_and_rises_with_better_results(
            counts in prop::array::uniform5(0u64..1_000_000_000_000),
            more in 1u64..1_000_000,
        ) {
            let before = counts.map(|c| c as f64);
            let mut after = before;
            after[4] += more as f64;
            let (a, b) = (FixedEstimate::new(&before).unwrap(), FixedEstimate::new(&after).unwrap());
            for estimate in [a, b] {
                prop_assert!(estimate.elo.is_finite() && estimate.elo95.is_finite() && estimate.elo95 >= 0.0);
                prop_assert!((0.0..=1.0).contains(&estimate.los));
            }
            prop_assert!(b.elo >= a.elo - 1e-9);
        }

        #[test]
        fn exchanging_the_sides_changes_the_sign(counts in prop::array::uniform3(0u64..1_000_000)) {
            let forward = counts.map(|c| c as f64);
            let mut backward = forward;
            backward.reverse();
            let (a, b) = (FixedEstimate::new(&forward).unwrap(), FixedEstimate::new(&backward).unwrap());
            prop_assert!((a.elo + b.elo).abs() < 1e-8 && (a.los + b.los - 1.0).abs() < 1e-9);
        }
    }
}

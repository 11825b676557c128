//! Counts of results, and the empirical distribution that they define (`spec/statistics.md` section 1).

use super::StatsError;
use crate::domain::results::Stats;

/// What an empty class counts as, so that every logarithm and every variance exists.
const EMPTY_CLASS: f64 = 0.001;

/// Results of a run or task as the statistics see them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Counts {
    /// Games lost, drawn, won by the new engine.
    pub trinomial: [f64; 3],
    /// Pairs that scored 0, ½, 1, 1½, 2. `None` for runs from before games were paired.
    pub pentanomial: Option<[f64; 5]>,
}

impl From<&Stats> for Counts {
    fn from(stats: &Stats) -> Self {
        Self {
            trinomial: [stats.losses as f64, stats.draws as f64, stats.wins as f64],
            pentanomial: Some(stats.pentanomial.map(|pairs| pairs as f64)),
        }
    }
}

impl Counts {
    /// Counts without pairs, as very old runs have them.
    pub fn from_games_only(stats: &Stats) -> Self {
        Self { pentanomial: None, ..Self::from(stats) }
    }

    /// The counts that decide: pairs when there are any records of them, else games.
    pub fn samples(&self) -> &[f64] {
        match &self.pentanomial {
            Some(pairs) => pairs,
            None => &self.trinomial,
        }
    }

    /// Games lost.
    pub fn losses(&self) -> f64 {
        self.trinomial[0]
    }

    /// Games drawn.
    pub fn draws(&self) -> f64 {
        self.trinomial[1]
    }

    /// Games won.
    pub fn wins(&self) -> f64 {
        self.trinomial[2]
    }

    /// Games played.
    pub fn games(&self) -> f64 {
        self.trinomial.iter().sum()
    }
}

/// An empirical distribution: regularized counts over the scores 0, 1/(k−1), ..., 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Counts in which every class has something.
    pub regularized: Vec<f64>,
    /// Sum of the regularized counts.
    pub n: f64,
    /// Score of each class, in [0, 1].
    pub values: Vec<f64>,
    /// Frequency of each class.
    pub probabilities: Vec<f64>,
}

/// Mean and shape of a distribution of scores (population moments).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Points per game.
    pub mean: f64,
    /// Square of the standard deviation of a sample.
    pub variance: f64,
    /// Third standardized moment.
    pub skewness: f64,
    /// Fourth standardized moment, minus 3.
    pub excess_kurtosis: f64,
}

impl Distribution {
    /// Regularizes 3 or 5 counts, worst outcome first.
    ///
    /// # Errors
    /// [`StatsError::OutOfRange`] for any other number of counts, or a count that is negative or not finite.
    pub fn new(counts: &[f64]) -> Result<Self, StatsError> {
        let sound = matches!(counts.len(), 3 | 5) && counts.iter().all(|c| c.is_finite() && *c >= 0.0);
        if !sound {
            return Err(StatsError::OutOfRange("a count"));
        }
        let regularized: Vec<f64> =
            counts.iter().map(|&count| if count == 0.0 { EMPTY_CLASS } else { count }).collect();
        let n: f64 = regularized.iter().sum();
        if !n.is_finite() {
            return Err(StatsError::OutOfRange("the sum of the counts"));
        }
        let best = (counts.len() - 1) as f64;
        Ok(Self {
            values: (0..counts.len()).map(|i| i as f64 / best).collect(),
            probabilities: regularized.iter().map(|count| count / n).collect(),
            regularized,
            n,
        })
    }

    /// Are the samples pairs of games?
    pub fn is_pairs(&self) -> bool {
        self.values.len() == 5
    }

    /// Games per sample: 2 for pairs.
    pub fn games_per_sample(&self) -> f64 {
        if self.is_pairs() { 2.0 } else { 1.0 }
    }

    /// Mean and shape.
    pub fn moments(&self) -> Moments {
        let mean = self.mean_of(|a| a);
        let variance = self.mean_of(|a| (a - mean).powi(2));
        Moments {
            mean,
            variance,
            skewness: self.mean_of(|a| (a - mean).powi(3)) / variance.powf(1.5),
            excess_kurtosis: self.mean_of(|a| (a - mean).powi(4)) / variance.powi(2) - 3.0,
        }
    }

    /// Variance per game: that of an uncorrelated game with the same information (section 1.3).
    pub fn variance_per_game(&self) -> f64 {
        self.games_per_sample() * self.moments().variance
    }

    /// Square root of [`Self::variance_per_game`].
    pub fn deviation_per_game(&self) -> f64 {
        self.variance_per_game().sqrt()
    }

    fn mean_of(&self, f: impl Fn(f64) -> f64) -> f64 {
        self.values.iter().zip(&self.probabilities).map(|(a, p)| p * f(*a)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_empty_classes_change() {
        let distribution = Distribution::new(&[0.0, 2.0, 0.0, 1.0, 7.0]).unwrap();
        assert_eq!(distribution.regularized, [0.001, 2.0, 0.001, 1.0, 7.0]);
        assert_eq!(Distribution::new(&distribution.regularized).unwrap(), distribution);
    }

    #[test]
    fn senseless_counts_are_refused() {
        for counts in [&[1.0, 2.0][..], &[1.0, -1.0, 0.0], &[f64::NAN, 1.0, 1.0], &[f64::MAX, f64::MAX, 1.0]]
        {
            assert!(matches!(Distribution::new(counts), Err(StatsError::OutOfRange(_))), "{counts:?}");
        }
    }
}

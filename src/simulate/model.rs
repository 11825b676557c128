//! What the simulated engines score: pairs of games drawn from an Elo difference, a draw rate and an opening bias.
//!
//! Both games of a pair start from one opening with the colours exchanged, so the bias of the opening helps the new
//! engine in one game and hurts it in the other. Each game follows the BayesElo model; its two parameters are solved
//! for, so that the *mean* score and draw rate over a pair are exactly the requested ones whatever the bias.

use rand::Rng;

use crate::domain::results::Stats;

/// Why a model can't exist.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// The draw rate leaves too few decisive games for the score that the Elo difference demands.
    #[error(
        "a draw rate of {draw_rate} can't give the score of {elo:+} Elo: at most {possible:.4} is possible"
    )]
    TooManyDraws {
        /// Requested draw rate, 0 to 1.
        draw_rate: f64,
        /// Requested logistic Elo difference.
        elo: f64,
        /// The largest draw rate for that difference.
        possible: f64,
    },
    /// A number is not finite, negative where it must not be, or a rate above 1.
    #[error("{name} is {value}, which is out of range")]
    OutOfRange {
        /// Which number.
        name: &'static str,
        /// Its value.
        value: f64,
    },
}

/// Parameters of the games.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GameParameters {
    /// Logistic Elo difference, new engine minus base engine.
    pub elo: f64,
    /// Share of drawn games, 0 to 1.
    pub draw_rate: f64,
    /// Root mean square of the openings' bias, in Elo.
    pub bias: f64,
    /// Probability that an engine crashes in a game.
    pub crash_rate: f64,
    /// Probability that a game is lost on time.
    pub time_loss_rate: f64,
}

/// The outcomes of a pair as (wins, draws, losses, points in halves); both orders of the two games are one outcome.
const OUTCOMES: [(u64, u64, u64, usize); 6] =
    [(0, 0, 2, 0), (0, 1, 1, 1), (0, 2, 0, 2), (1, 0, 1, 2), (1, 1, 0, 3), (2, 0, 0, 4)];

/// A source of game pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct GameModel {
    /// Probability of each of [`OUTCOMES`].
    outcomes: [f64; 6],
    crash_rate: f64,
    time_loss_rate: f64,
}

/// (win, draw, loss) of one game with a given advantage, BayesElo model.
fn trinomial(advantage: f64, draw_elo: f64) -> (f64, f64, f64) {
    let win = 1.0 / (1.0 + 10f64.powf((draw_elo - advantage) / 400.0));
    let loss = 1.0 / (1.0 + 10f64.powf((draw_elo + advantage) / 400.0));
    (win, (1.0 - win - loss).max(0.0), loss)
}

/// Mean score and draw rate over the two games of a pair.
fn means(advantage: f64, draw_elo: f64, bias: f64) -> (f64, f64) {
    let (w1, d1, _) = trinomial(advantage + bias, draw_elo);
    let (w2, d2, _) = trinomial(advantage - bias, draw_elo);
    ((w1 + w2) / 2.0 + (d1 + d2) / 4.0, (d1 + d2) / 2.0)
}

/// The zero of an increasing function between two bounds, to the last bit or so.
fn bisect(mut low: f64, mut high: f64, below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

impl GameModel {
    /// Solves for the model whose mean score and draw rate are the requested ones.
    pub fn new(parameters: GameParameters) -> Result<Self, ModelError> {
        let GameParameters { elo, draw_rate, bias, crash_rate, time_loss_rate } = parameters;
        let rates =
            [("draw rate", draw_rate), ("crash rate", crash_rate), ("time loss rate", time_loss_rate)];
        for (name, value) in rates {
            if !(0.0..=1.0).contains(&value) {
                return Err(ModelError::OutOfRange { name, value });
            }
        }
        if !elo.is_finite() || elo.abs() > 1000.0 {
            return Err(ModelError::OutOfRange { name: "Elo difference", value: elo });
        }
        if !(0.0..=1000.0).contains(&bias) {
            return Err(ModelError::OutOfRange { name: "bias", value: bias });
        }
        let score = 1.0 / (1.0 + 10f64.powf(-elo / 400.0));
        let possible = 1.0 - (2.0 * score - 1.0).abs();
        if draw_rate > possible || draw_rate > 0.9999 {
            return Err(ModelError::TooManyDraws { draw_rate, elo, possible: possible.min(0.9999) });
        }
        let advantage_for =
            |draw_elo: f64| bisect(-8000.0, 8000.0, |advantage| means(advantage, draw_elo, bias).0 < score);
        let draw_elo =
            bisect(0.0, 8000.0, |draw_elo| means(advantage_for(draw_elo), draw_elo, bias).1 < draw_rate);
        let advantage = advantage_for(draw_elo);
        let (w1, d1, l1) = trinomial(advantage + bias, draw_elo);
        let (w2, d2, l2) = trinomial(advantage - bias, draw_elo);
        let outcomes = [l1 * l2, d1 * l2 + l1 * d2, d1 * d2, w1 * l2 + l1 * w2, w1 * d2 + d1 * w2, w1 * w2];
        Ok(Self { outcomes, crash_rate, time_loss_rate })
    }

    /// Probabilities that a pair scores 0, ½, 1, 1½, 2.
    pub fn pair_probabilities(&self) -> [f64; 5] {
        let [ll, ld, dd, wl, wd, ww] = self.outcomes;
        [ll, ld, dd + wl, wd, ww]
    }

    /// Plays `pairs` pairs of games.
    pub fn play(&self, pairs: u64, rng: &mut impl Rng) -> Stats {
        let mut stats = Stats::default();
        for _ in 0..pairs {
            let (wins, draws, losses, halves) = self.draw_outcome(rng.random::<f64>());
            stats.wins += wins;
            stats.draws += draws;
            stats.losses += losses;
            stats.pentanomial[halves] += 1;
        }
        stats.crashes = count(2 * pairs, self.crash_rate, rng);
        stats.time_losses = count(2 * pairs, self.time_loss_rate, rng);
        stats
    }

    fn draw_outcome(&self, uniform: f64) -> (u64, u64, u64, usize) {
        let mut left = uniform;
        for (outcome, probability) in OUTCOMES.iter().zip(self.outcomes) {
            if left < probability {
                return *outcome;
            }
            left -= probability;
        }
        // Only rounding can bring us here.
        (0, 2, 0, 2)
    }
}

/// How many of `trials` events of probability `rate` happen.
fn count(trials: u64, rate: f64, rng: &mut impl Rng) -> u64 {
    if rate <= 0.0 {
        return 0;
    }
    (0..trials).map(|_| u64::from(rng.random::<f64>() < rate)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::random::seeded;

    fn parameters(elo: f64, draw_rate: f64, bias: f64) -> GameParameters {
        GameParameters { elo, draw_rate, bias, crash_rate: 0.0, time_loss_rate: 0.0 }
    }

    #[test]
    fn mean_score_and_draw_rate_are_the_requested_ones_whatever_the_bias() {
        for (elo, draw_rate, bias) in
            [(0.0, 0.5, 0.0), (3.0, 0.6, 90.0), (-40.0, 0.3, 200.0), (100.0, 0.0, 50.0), (1.5, 0.9, 300.0)]
        {
            let model = GameModel::new(parameters(elo, draw_rate, bias)).unwrap();
            let p = model.pair_probabilities();
            assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{p:?}");
            let score: f64 = p.iter().enumerate().map(|(i, p)| p * i as f64 / 4.0).sum();
            let wanted = 1.0 / (1.0 + 10f64.powf(-elo / 400.0));
            assert!((score - wanted).abs() < 1e-9, "elo {elo}: score {score}, wanted {wanted}");
            let [_, ld, dd, _, wd, _] = model.outcomes;
            let draws = dd + (ld + wd) / 2.0;
            assert!((draws - draw_rate).abs() < 1e-9, "draws {draws}, wanted {draw_rate}");
        }
    }

    #[test]
    fn bias_moves_pairs_towards_the_middle() {
        let fair = GameModel::new(parameters(0.0, 0.4, 0.0)).unwrap().pair_probabilities();
        let biased = GameModel::new(parameters(0.0, 0.4, 250.0)).unwrap().pair_probabilities();
        assert!(biased[2] > fair[2] + 0.05, "fair {fair:?}, biased {biased:?}");
    }

    #[test]
    fn played_games_always_satisfy_the_rules_of_the_wire_and_follow_the_model() {
        let model = GameModel::new(GameParameters {
            crash_rate: 0.01,
            time_loss_rate: 0.02,
            ..parameters(20.0, 0.5, 80.0)
        })
        .unwrap();
        let mut rng = seeded(7);
        let stats = model.play(200_000, &mut rng);
        assert!(stats.is_consistent(), "{stats:?}");
        assert_eq!(stats.games(), 400_000);
        let expected = model.pair_probabilities();
        for (i, probability) in expected.iter().enumerate() {
            let share = stats.pentanomial[i] as f64 / 200_000.0;
            assert!((share - probability).abs() < 0.006, "bin {i}: {share} against {probability}");
        }
        assert!((stats.draws as f64 / 400_000.0 - 0.5).abs() < 0.005);
        assert!((stats.crashes as f64 / 400_000.0 - 0.01).abs() < 0.001);
        assert!((stats.time_losses as f64 / 400_000.0 - 0.02).abs() < 0.0015);
        for pairs in 0..40 {
            assert!(model.play(pairs, &mut rng).is_consistent());
        }
    }

    #[test]
    fn one_seed_plays_the_same_games_again() {
        let model = GameModel::new(parameters(2.0, 0.5, 60.0)).unwrap();
        assert_eq!(model.play(500, &mut seeded(3)), model.play(500, &mut seeded(3)));
        assert_ne!(model.play(500, &mut seeded(3)), model.play(500, &mut seeded(4)));
    }

    #[test]
    fn impossible_wishes_are_refused() {
        assert!(matches!(GameModel::new(parameters(400.0, 0.9, 0.0)), Err(ModelError::TooManyDraws { .. })));
        assert!(matches!(
            GameModel::new(parameters(f64::NAN, 0.5, 0.0)),
            Err(ModelError::OutOfRange { name: "Elo difference", .. })
        ));
        assert!(matches!(
            GameModel::new(parameters(0.0, 1.5, 0.0)),
            Err(ModelError::OutOfRange { name: "draw rate", .. })
        ));
    }
}

//! Tuning runs: the evolving record of an SPSA run and how results move it (`spec/spsa.md`).
//!
//! An update depends only on the record, the entry and the run's number of games, so that whoever folds the same
//! entries in the same order arrives at the same record, bit for bit; powers come from `libm` for that reason.

use serde::{Deserialize, Serialize};

pub mod chart;
pub mod create;
pub mod display;
pub mod flips;
pub mod storage;

/// The only algorithm; a record without a name means it too.
pub const CLASSIC: &str = "classic";

/// A tuned parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpsaParam {
    /// Name of the engine's option.
    pub name: String,
    /// Value at the start.
    #[serde(deserialize_with = "storage::finite")]
    pub start: f64,
    /// Lower bound.
    #[serde(deserialize_with = "storage::finite")]
    pub min: f64,
    /// Upper bound; wins when it is below the lower one.
    #[serde(deserialize_with = "storage::finite")]
    pub max: f64,
    /// Perturbation at the planned end.
    #[serde(deserialize_with = "storage::finite")]
    pub c_end: f64,
    /// Learning rate at the planned end.
    #[serde(deserialize_with = "storage::finite")]
    pub r_end: f64,
    /// Perturbation at iteration 1.
    #[serde(deserialize_with = "storage::finite")]
    pub c: f64,
    /// Step constant at the planned end.
    #[serde(deserialize_with = "storage::finite")]
    pub a_end: f64,
    /// Step constant.
    #[serde(deserialize_with = "storage::finite")]
    pub a: f64,
    /// Current value.
    #[serde(deserialize_with = "storage::finite")]
    pub theta: f64,
}

/// A parameter in a sample of the history.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HistoryPoint {
    /// Value after the update.
    #[serde(deserialize_with = "storage::finite")]
    pub theta: f64,
    /// Learning rate of the update.
    #[serde(rename = "R", deserialize_with = "storage::finite")]
    pub r: f64,
    /// Perturbation of the update.
    #[serde(deserialize_with = "storage::finite")]
    pub c: f64,
}

/// State of a tuning run. Only `iter`, the `theta` of the parameters and the history ever change.
///
/// Floats survive JSON bit for bit; the record never holds a number that is not finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpsaRecord {
    /// Name of the algorithm, absent in old runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Stabilizing constant of the step, in iterations; an integer but in very old runs.
    #[serde(
        rename = "A",
        serialize_with = "storage::integer_if_integral",
        deserialize_with = "storage::finite"
    )]
    pub big_a: f64,
    /// Exponent of the step.
    #[serde(deserialize_with = "storage::finite")]
    pub alpha: f64,
    /// Exponent of the perturbation.
    #[serde(deserialize_with = "storage::finite")]
    pub gamma: f64,
    /// The parameters as they were typed.
    #[serde(default)]
    pub raw_params: String,
    /// Game pairs applied so far.
    #[serde(deserialize_with = "storage::whole_number")]
    pub iter: u64,
    /// Game pairs planned.
    #[serde(deserialize_with = "storage::whole_number")]
    pub num_iter: u64,
    /// The parameters.
    pub params: Vec<SpsaParam>,
    /// Samples of the course, oldest first; absent before the first update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param_history: Option<Vec<Vec<HistoryPoint>>>,
}

/// What a task keeps of the round that its worker is playing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpsaRound {
    /// The record's `iter` when the round was handed out.
    pub iter: u64,
    /// Signs of the perturbation, packed ([`flips`]).
    #[serde(with = "flips::base64_text")]
    pub packed_flips: Vec<u8>,
}

impl SpsaRound {
    /// The entry that a result of this round makes, or `None` when `sig` (0 when missing) belongs to another round.
    pub fn entry(&self, sig: u32, wins: u64, losses: u64, num_games: u64) -> Option<SpsaEntry> {
        (sig == flips::signature(&self.packed_flips)).then(|| SpsaEntry {
            iter: self.iter,
            packed_flips: self.packed_flips.clone(),
            wins,
            losses,
            pairs: num_games / 2,
        })
    }
}

/// An accepted result, ready to be applied to the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpsaEntry {
    /// The record's `iter` when the round was handed out.
    pub iter: u64,
    /// Signs of the perturbation, packed ([`flips`]).
    #[serde(with = "flips::base64_text")]
    pub packed_flips: Vec<u8>,
    /// Games that the "+" side won.
    pub wins: u64,
    /// Games that the "+" side lost.
    pub losses: u64,
    /// Game pairs played.
    pub pairs: u64,
}

/// A parameter as the "+" side of a round gets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WParam {
    /// Name of the engine's option.
    pub name: String,
    /// Value, not rounded.
    pub value: f64,
    /// Perturbation.
    pub c: f64,
    /// Learning rate.
    #[serde(rename = "R")]
    pub r: f64,
    /// Sign, +1 or -1.
    pub flip: i8,
}

/// A parameter as the "-" side of a round gets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BParam {
    /// Name of the engine's option.
    pub name: String,
    /// Value, not rounded.
    pub value: f64,
}

/// What a worker gets for a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerValues {
    /// The "+" side.
    pub w_params: Vec<WParam>,
    /// The "-" side.
    pub b_params: Vec<BParam>,
    /// To be returned with the result.
    pub sig: u32,
}

/// The gains of a parameter at an iteration can't be computed in doubles, or the signs don't fit the parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpsaError {
    /// A gain is not finite.
    #[error("the gains of parameter {name:?} at iteration {k} are not finite")]
    Gains {
        /// The parameter.
        name: String,
        /// The iteration, from 1.
        k: u64,
    },
    /// Too few signs.
    #[error("{have} packed signs are too few for {need} parameters")]
    TooFewFlips {
        /// Signs there are.
        have: usize,
        /// Signs there should be.
        need: usize,
    },
}

/// Perturbation and learning rate of a parameter at an iteration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gains {
    /// Perturbation.
    pub c: f64,
    /// Learning rate.
    pub r: f64,
}

impl SpsaParam {
    /// `min(max(x, min), max)`.
    pub fn clip(&self, value: f64) -> f64 {
        let raised = if self.min > value { self.min } else { value };
        if self.max < raised { self.max } else { raised }
    }
}

impl SpsaRecord {
    /// The gains of a parameter at iteration `k` (from 1), `None` when they or their product aren't finite.
    pub fn gains(&self, param: &SpsaParam, k: u64) -> Option<Gains> {
        let k = k as f64;
        let c = param.c / libm::pow(k, self.gamma);
        let r = param.a / libm::pow(self.big_a + k, self.alpha) / (c * c);
        (c.is_finite() && r.is_finite() && (r * c).is_finite()).then_some(Gains { c, r })
    }

    /// The round to hand out now, with these signs.
    pub fn round(&self, packed_flips: Vec<u8>) -> SpsaRound {
        SpsaRound { iter: self.iter, packed_flips }
    }

    /// What the worker of a round plays with.
    pub fn worker_values(&self, round: &SpsaRound) -> Result<WorkerValues, SpsaError> {
        let steps = self.steps(round.iter, &round.packed_flips)?;
        let mut w_params = Vec::with_capacity(steps.len());
        let mut b_params = Vec::with_capacity(steps.len());
        for (param, (Gains { c, r }, flip)) in self.params.iter().zip(steps) {
            let shift = c * f64::from(flip);
            let name = param.name.clone();
            w_params.push(WParam { name: name.clone(), value: param.clip(param.theta + shift), c, r, flip });
            b_params.push(BParam { name, value: param.clip(param.theta - shift) });
        }
        Ok(WorkerValues { w_params, b_params, sig: flips::signature(&round.packed_flips) })
    }

    /// Gains and sign of every parameter in the round handed out at `iter`.
    fn steps(&self, iter: u64, packed_flips: &[u8]) -> Result<Vec<(Gains, i8)>, SpsaError> {
        let signs = flips::unpack(packed_flips, self.params.len()).ok_or(SpsaError::TooFewFlips {
            have: packed_flips.len().saturating_mul(8),
            need: self.params.len(),
        })?;
        let k = iter.saturating_add(1);
        let gains = |param: &SpsaParam| {
            self.gains(param, k).ok_or_else(|| SpsaError::Gains { name: param.name.clone(), k })
        };
        self.params.iter().zip(signs).map(|(param, flip)| Ok((gains(param)?, flip))).collect()
    }
}

/// Applies an accepted result to the record; `num_games` is the run's limit, which sets how often the course is
/// sampled. On an error nothing is changed.
pub fn apply(record: &mut SpsaRecord, entry: &SpsaEntry, num_games: u64) -> Result<(), SpsaError> {
    let steps = record.steps(entry.iter, &entry.packed_flips)?;
    let result = entry.wins as f64 - entry.losses as f64;
    record.iter = record.iter.saturating_add(entry.pairs);
    for (param, (gains, flip)) in record.params.iter_mut().zip(&steps) {
        param.theta = param.clip(param.theta + gains.r * gains.c * result * f64::from(*flip));
    }

    let period = history_period(num_games as f64 / 2.0, record.params.len());
    if period <= 0.0 {
        return Ok(());
    }
    let history = record.param_history.get_or_insert_default();
    if (history.len() + 1) as f64 <= record.iter as f64 / period {
        let point = |(param, (gains, _)): (&SpsaParam, &(Gains, i8))| HistoryPoint {
            theta: param.theta,
            r: gains.r,
            c: gains.c,
        };
        history.push(record.params.iter().zip(&steps).map(point).collect());
    }
    Ok(())
}

/// Iterations between two samples of the course; 0 when there are none.
pub fn history_period(num_iter: f64, parameters: usize) -> f64 {
    if num_iter <= 0.0 || parameters == 0 {
        return 0.0;
    }
    let samples = match parameters {
        ..100 => 100.0,
        100..1000 => 10_000.0 / parameters as f64,
        _ => 1.0,
    };
    num_iter / samples
}

#[cfg(test)]
mod tests;

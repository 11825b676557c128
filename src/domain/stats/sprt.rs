//! The state of a sequential test, and how results move it (`spec/statistics.md` section 5).

use serde::{Deserialize, Serialize};

use super::StatsError;
use super::counts::Counts;
use super::elo::EloModel;
use super::llr::Bounds;

/// Verdict of a sequential test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum SprtState {
    /// Not decided.
    #[default]
    #[serde(rename = "")]
    Undecided,
    /// H1 was accepted: the patch passed.
    #[serde(rename = "accepted")]
    Accepted,
    /// H0 was accepted: the patch failed.
    #[serde(rename = "rejected")]
    Rejected,
}

impl SprtState {
    /// The name used on the wire and in documents; empty while undecided.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undecided => "",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }
}

/// Records how far the LLR jumps when it reaches a new extreme, batch by batch, which estimates by how much it will
/// overshoot a bound. Index 0 belongs to new minima, index 1 to new maxima.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Overshoot {
    /// Samples at the last update.
    pub last_update: u64,
    /// Samples that were not seen batch by batch.
    pub skipped_updates: u64,
    /// Running minimum of the LLR.
    pub ref0: f64,
    /// Sum of the jumps to new minima, ≤ 0.
    pub m0: f64,
    /// Sum of their squares.
    pub sq0: f64,
    /// Running maximum of the LLR.
    pub ref1: f64,
    /// Sum of the jumps to new maxima, ≥ 0.
    pub m1: f64,
    /// Sum of their squares.
    pub sq1: f64,
}

impl Overshoot {
    /// Moves on to `samples` ≥ `last_update` samples.
    fn advance(&mut self, samples: u64, batch_size: u64, llr: f64) {
        if samples == self.last_update {
            return;
        }
        if samples == self.last_update.saturating_add(batch_size) {
            if llr < self.ref0 {
                let jump = llr - self.ref0;
                self.m0 += jump;
                self.sq0 += jump * jump;
                self.ref0 = llr;
            }
            if llr > self.ref1 {
                let jump = llr - self.ref1;
                self.m1 += jump;
                self.sq1 += jump * jump;
                self.ref1 = llr;
            }
        } else {
            self.ref0 = llr;
            self.ref1 = llr;
            let unseen = samples - self.last_update - 1;
            self.skipped_updates = self.skipped_updates.saturating_add(unseen);
        }
        self.last_update = samples;
    }

    /// Mean overshoot over the lower and the upper bound: E(h²)/2E(h) of the ladder heights h; both ≥ 0.
    pub fn expected(&self) -> [f64; 2] {
        let lower = if self.m0 == 0.0 { 0.0 } else { -self.sq0 / self.m0 / 2.0 };
        let upper = if self.m1 == 0.0 { 0.0 } else { self.sq1 / self.m1 / 2.0 };
        [lower, upper]
    }
}

/// A sequential test: `args.sprt` of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SprtRecord {
    /// Probability of a false positive.
    pub alpha: f64,
    /// Probability of a false negative.
    pub beta: f64,
    /// Elo under the null hypothesis, on the scale of `elo_model`.
    pub elo0: f64,
    /// Elo under the alternative.
    pub elo1: f64,
    /// Scale of the bounds. Records from before there was a choice lack it and mean BayesElo.
    #[serde(default)]
    pub elo_model: EloModel,
    /// Verdict so far.
    #[serde(default)]
    pub state: SprtState,
    /// Log-likelihood ratio at the last update.
    pub llr: f64,
    /// Samples (pairs, or games of old runs) between two looks at the results.
    #[serde(default = "one")]
    pub batch_size: u64,
    /// ln(β/(1−α)): below it, corrected by the expected overshoot, H0 is accepted.
    pub lower_bound: f64,
    /// ln((1−β)/α).
    pub upper_bound: f64,
    /// Overshoot statistics. Removed for good by the first irregularity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overshoot: Option<Overshoot>,
    /// By how many samples the results once shrank. An audit mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_samples: Option<u64>,
    /// Number of samples that was no multiple of the batch size. An audit mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub illegal_update: Option<u64>,
}

fn one() -> u64 {
    1
}

/// The LLR bounds of a test with these error probabilities: ln(β/(1−α)) and ln((1−β)/α).
pub fn llr_bounds(alpha: f64, beta: f64) -> [f64; 2] {
    [(beta / (1.0 - alpha)).ln(), ((1.0 - beta) / alpha).ln()]
}

impl SprtRecord {
    /// Error probabilities of every test that the form creates.
    pub const DEFAULT_ERROR: f64 = 0.05;

    /// A test without results.
    pub fn new(alpha: f64, beta: f64, elo0: f64, elo1: f64, elo_model: EloModel, batch_size: u64) -> Self {
        let [lower_bound, upper_bound] = llr_bounds(alpha, beta);
        Self {
            alpha,
            beta,
            elo0,
            elo1,
            elo_model,
            state: SprtState::Undecided,
            llr: 0.0,
            batch_size,
            lower_bound,
            upper_bound,
            overshoot: Some(Overshoot::default()),
            lost_samples: None,
            illegal_update: None,
        }
    }

    /// Looks at the totals of a run (section 5.3). The same totals may be shown again without effect.
    ///
    /// # Errors
    /// [`StatsError`] when the LLR cannot be computed; the record is then unchanged.
    pub fn update(&mut self, counts: &Counts) -> Result<(), StatsError> {
        if self.batch_size == 0 {
            return Err(StatsError::OutOfRange("the batch size"));
        }
        let mut next = *self;
        let bounds = Bounds::new(self.elo_model, self.elo0, self.elo1, counts)?;
        next.llr = bounds.llr(counts.samples())?;
        // Counts are whole numbers; beyond 2^53 they are as whole as a float can be.
        let samples = counts.samples().iter().sum::<f64>() as u64;
        if !samples.is_multiple_of(self.batch_size) {
            next.illegal_update = Some(samples);
            next.overshoot = None;
        }
        if let Some(overshoot) = &mut next.overshoot {
            if samples < overshoot.last_update {
                next.lost_samples = Some(overshoot.last_update - samples);
                next.overshoot = None;
            } else {
                overshoot.advance(samples, self.batch_size, next.llr);
            }
        }
        let [over0, over1] = next.expected_overshoot();
        next.state = if next.llr < next.lower_bound + over0 {
            SprtState::Rejected
        } else if next.llr > next.upper_bound - over1 {
            SprtState::Accepted
        } else {
            SprtState::Undecided
        };
        *self = next;
        Ok(())
    }

    /// Expected overshoot over the lower and the upper bound; zeros once the statistics were removed.
    pub fn expected_overshoot(&self) -> [f64; 2] {
        self.overshoot.as_ref().map_or([0.0; 2], Overshoot::expected)
    }
}

//! What the live Elo page shows of a sequential test (`spec/statistics.md` section 12.4).

use serde::Serialize;

use super::StatsError;
use super::counts::Counts;
use super::elo::EloModel;
use super::sprt::{SprtRecord, SprtState};
use super::sprt_elo::{SprtEstimate, SprtQuestion};
use super::text::rounded;

/// Numbers of the page: raw ones for the gauges, rounded ones for the table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(non_snake_case, reason = "the names of the page's data")]
#[expect(missing_docs, reason = "each name says which number of the estimate or record it is")]
pub struct LiveElo {
    pub elo_raw: f64,
    pub ci_lower_raw: f64,
    pub ci_upper_raw: f64,
    pub LLR_raw: f64,
    /// A percentage.
    pub LOS_raw: f64,
    pub a_raw: f64,
    pub b_raw: f64,
    pub elo_value: f64,
    pub ci_lower: f64,
    pub ci_upper: f64,
    pub LLR: f64,
    /// A percentage.
    pub LOS: f64,
    pub a: f64,
    pub b: f64,
    pub W: u64,
    pub L: u64,
    pub D: u64,
    pub games: u64,
    /// Percentages of the games.
    pub w_pct: f64,
    pub l_pct: f64,
    pub d_pct: f64,
    /// `None` for runs from before games were paired.
    pub pentanomial: Option<[u64; 5]>,
    pub sprt_state: SprtState,
    pub elo_model: EloModel,
    pub elo0: f64,
    pub elo1: f64,
    pub alpha: f64,
    pub beta: f64,
}

impl LiveElo {
    /// Computes the page of a run with these totals.
    ///
    /// # Errors
    /// As [`SprtEstimate::new`].
    pub fn new(record: &SprtRecord, counts: &Counts) -> Result<Self, StatsError> {
        let estimate = SprtEstimate::new(&SprtQuestion::from(record), counts)?;
        let games = counts.games();
        // The addend only keeps an empty run from dividing by zero.
        let share = |count: f64| rounded(100.0 * count / (games + 0.001), 1);
        let los = 100.0 * estimate.los;
        let [low, high] = estimate.ci;
        Ok(Self {
            elo_raw: estimate.elo,
            ci_lower_raw: low,
            ci_upper_raw: high,
            LLR_raw: estimate.llr,
            LOS_raw: los,
            a_raw: estimate.a,
            b_raw: estimate.b,
            elo_value: rounded(estimate.elo, 2),
            ci_lower: rounded(low, 2),
            ci_upper: rounded(high, 2),
            LLR: rounded(estimate.llr, 2),
            LOS: rounded(los, 1),
            a: rounded(estimate.a, 2),
            b: rounded(estimate.b, 2),
            W: counts.wins() as u64,
            L: counts.losses() as u64,
            D: counts.draws() as u64,
            games: games as u64,
            w_pct: share(counts.wins()),
            l_pct: share(counts.losses()),
            d_pct: share(counts.draws()),
            pentanomial: counts.pentanomial.map(|pairs| pairs.map(|count| count as u64)),
            sprt_state: record.state,
            elo_model: record.elo_model,
            elo0: record.elo0,
            elo1: record.elo1,
            alpha: record.alpha,
            beta: record.beta,
        })
    }
}

/// Word for the status of a run (`spec/ui.md` section 4.1).
pub fn run_status_label(finished: bool, failed: bool, workers: u64, approved: bool) -> &'static str {
    match (finished, failed) {
        (true, true) => "failed",
        (true, false) => "finished",
        _ if workers > 0 => "active",
        _ if approved => "paused",
        _ => "pending",
    }
}

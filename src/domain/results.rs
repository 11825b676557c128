//! Counts of games: of a task, of a run.

use serde::{Deserialize, Serialize};

/// Results of a task or a run, from the new engine's side (`spec/worker-api.md` section 2.4).
///
/// `pentanomial[i]` counts game pairs that scored i/2 points. Consistency of the two views is checked by
/// [`Stats::is_consistent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Games won by the new engine.
    pub wins: u64,
    /// Games lost by the new engine.
    pub losses: u64,
    /// Games drawn.
    pub draws: u64,
    /// Games in which an engine crashed.
    pub crashes: u64,
    /// Games lost on time.
    pub time_losses: u64,
    /// Pairs scoring 0, ½, 1, 1½, 2.
    pub pentanomial: [u64; 5],
}

impl Stats {
    /// Wins + losses + draws.
    pub fn games(&self) -> u64 {
        self.wins.saturating_add(self.losses).saturating_add(self.draws)
    }

    /// Number of game pairs.
    pub fn pairs(&self) -> u64 {
        self.pentanomial.iter().fold(0, |sum, p| sum.saturating_add(*p))
    }

    /// The three rules that tie games to pairs (`spec/worker-api.md` section 2.4). False also when a sum overflows.
    pub fn is_consistent(&self) -> bool {
        let [p0, p1, p2, p3, p4] = self.pentanomial.map(i128::from);
        let (w, l, d) = (i128::from(self.wins), i128::from(self.losses), i128::from(self.draws));
        w + l + d == 2 * (p0 + p1 + p2 + p3 + p4)
            && w - l == 2 * p4 + p3 - p1 - 2 * p0
            && p1 + p3 <= d
            && d <= p1 + 2 * p2 + p3
    }

    /// Whether no count, nor the number of games, is larger than `most`.
    pub fn is_within(&self, most: u64) -> bool {
        let Self { wins, losses, draws, crashes, time_losses, pentanomial } = *self;
        let counts = [wins, losses, draws, crashes, time_losses];
        self.games() <= most && counts.iter().chain(&pentanomial).all(|count| *count <= most)
    }

    /// Component-wise `self + new - old`; `None` when a component would leave the range of a count.
    pub fn replace(&self, old: &Self, new: &Self) -> Option<Self> {
        let step = |total: u64, old: u64, new: u64| total.checked_add(new)?.checked_sub(old);
        let mut pentanomial = [0; 5];
        for (i, slot) in pentanomial.iter_mut().enumerate() {
            *slot = step(self.pentanomial[i], old.pentanomial[i], new.pentanomial[i])?;
        }
        Some(Self {
            wins: step(self.wins, old.wins, new.wins)?,
            losses: step(self.losses, old.losses, new.losses)?,
            draws: step(self.draws, old.draws, new.draws)?,
            crashes: step(self.crashes, old.crashes, new.crashes)?,
            time_losses: step(self.time_losses, old.time_losses, new.time_losses)?,
            pentanomial,
        })
    }

    /// Component-wise sum; `None` on overflow.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        self.replace(&Self::default(), other)
    }
}

//! The calculation behind `GET /api/calc_elo` (`spec/statistics.md` section 7.1).

use serde::Serialize;

use super::StatsError;
use super::counts::Counts;
use super::elo::{EloModel, FixedEstimate};
use super::sprt::SprtRecord;
use super::sprt_elo::{SprtEstimate, SprtQuestion};

/// Most games that are accepted.
const MAX_GAMES: u128 = 1 << 32;

/// Smallest distance of the bounds.
const MIN_WIDTH: f64 = 0.5;

/// Largest absolute value of a bound.
const MAX_ELO: f64 = 10.0;

const PAIR_KEYS: [&str; 5] = ["LL", "LD", "DDWL", "WD", "WW"];
const GAME_KEYS: [&str; 3] = ["L", "D", "W"];

/// Body of the answer, with status 200.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum CalcElo {
    /// Bounds were given.
    Sprt(SprtEstimate),
    /// A test of fixed length.
    Fixed {
        /// Logistic Elo.
        elo: f64,
        /// Its 95% interval.
        ci: [f64; 2],
        /// Likelihood of superiority, a probability.
        #[serde(rename = "LOS")]
        los: f64,
    },
}

/// Why there is no answer: the message that follows `/api/calc_elo: `, with status 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CalcEloError {
    /// Neither set of counts is complete and sound.
    #[error("Invalid or missing parameters. Please provide all values as valid numbers.")]
    BadCounts,
    /// More than 2³² games.
    #[error("Number of games exceeds the limit.")]
    TooManyGames,
    /// Nothing to calculate with.
    #[error("No games to calculate Elo.")]
    NoGames,
    /// Bounds that are no numbers, too close, in the wrong order or too large.
    #[error("Bad elo0, and elo1 values.")]
    BadBounds,
    /// Unknown scale.
    #[error("Valid Elo models are: BayesElo, logistic, and normalized.")]
    BadModel,
    /// The numbers are sound but have no estimate.
    #[error("{0}")]
    Failed(#[from] StatsError),
}

/// Answers decoded query parameters, in the order in which they were given; of a repeated one the last counts.
///
/// # Errors
/// [`CalcEloError`], whose text is the message of the answer.
pub fn calc_elo<K: AsRef<str>, V: AsRef<str>>(query: &[(K, V)]) -> Result<CalcElo, CalcEloError> {
    let parameter = |name: &str| -> Option<&str> {
        let last = query.iter().rev().find(|(key, _)| key.as_ref() == name);
        last.map(|(_, value)| value.as_ref())
    };
    let counts = match read_counts(PAIR_KEYS, parameter)? {
        Some(pairs) => {
            check_games(2 * pairs.iter().sum::<u128>())?;
            Counts { trinomial: [0.0; 3], pentanomial: Some(pairs.map(|x| x as f64)) }
        }
        None => {
            let games = read_counts(GAME_KEYS, parameter)?.ok_or(CalcEloError::BadCounts)?;
            check_games(games.iter().sum())?;
            Counts { trinomial: games.map(|x| x as f64), pentanomial: None }
        }
    };
    let present = |name| parameter(name).filter(|text| !text.is_empty());
    let (Some(elo0), Some(elo1)) = (present("elo0"), present("elo1")) else {
        let estimate = FixedEstimate::new(counts.samples())?;
        return Ok(CalcElo::Fixed { elo: estimate.elo, ci: estimate.interval(), los: estimate.los });
    };
    let bound = |text: &str| -> Result<f64, CalcEloError> {
        let number = looks_numeric(text).then(|| text.parse::<f64>().ok()).flatten();
        number.filter(|elo| elo.abs() <= MAX_ELO).ok_or(CalcEloError::BadBounds)
    };
    let (elo0, elo1) = (bound(elo0)?, bound(elo1)?);
    if elo1 < elo0 + MIN_WIDTH {
        return Err(CalcEloError::BadBounds);
    }
    let elo_model = match parameter("elo_model") {
        None => EloModel::Normalized,
        Some(name) => EloModel::parse(name).ok_or(CalcEloError::BadModel)?,
    };
    let (alpha, beta) = (SprtRecord::DEFAULT_ERROR, SprtRecord::DEFAULT_ERROR);
    let question = SprtQuestion { alpha, beta, p: 0.05, elo0, elo1, elo_model };
    Ok(CalcElo::Sprt(SprtEstimate::new(&question, &counts)?))
}

fn check_games(games: u128) -> Result<(), CalcEloError> {
    if games > MAX_GAMES {
        return Err(CalcEloError::TooManyGames);
    }
    if games == 0 {
        return Err(CalcEloError::NoGames);
    }
    Ok(())
}

/// Digits, with any points and minus signs among them.
fn looks_numeric(text: &str) -> bool {
    let is_mark = |c: char| c == '.' || c == '-';
    text.contains(|c: char| c.is_ascii_digit()) && text.chars().all(|c| is_mark(c) || c.is_ascii_digit())
}

/// One set of counts: `None` when it is incomplete, not numeric or negative, so that the other set is tried.
///
/// # Errors
/// [`CalcEloError::BadCounts`] when a value looks numeric but is no integer.
fn read_counts<'a, const N: usize>(
    keys: [&str; N],
    parameter: impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<[u128; N]>, CalcEloError> {
    let mut counts = [0; N];
    for (count, key) in counts.iter_mut().zip(keys) {
        let Some(text) = parameter(key).filter(|text| looks_numeric(text)) else {
            return Ok(None);
        };
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CalcEloError::BadCounts);
        }
        let significant = digits.trim_start_matches('0');
        if digits.len() < text.len() && !significant.is_empty() {
            return Ok(None);
        }
        // Whatever has more digits than a u64 is beyond the limit anyway.
        *count = match significant {
            "" => 0,
            digits => u128::from(digits.parse::<u64>().unwrap_or(u64::MAX)),
        };
    }
    Ok(Some(counts))
}

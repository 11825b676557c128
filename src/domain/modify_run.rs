//! Changing a run that exists (`spec/run-management.md` section 6.2, `spec/scheduling.md` section 9.4). Pure: from
//! the present values, what is asked for and who asks to the new values, or a refusal.

use super::ids::Millis;
use super::new_run::{MAX_GAMES, parse_integer};

/// Whole days after its start during which a run may be changed.
const MODIFIABLE_DAYS: i64 = 30;

/// Throughput that its owner may set without asking again for approval.
const UNQUESTIONED_THROUGHPUT: i64 = 100;

/// Priority that its owner may set without asking again for approval.
const UNQUESTIONED_PRIORITY: i64 = 0;

/// What ends a run, as far as changing it depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopKind {
    /// A sequential test with its `state`, empty while undecided.
    Sprt {
        /// `accepted`, `rejected` or empty.
        state: String,
    },
    /// A tuning run.
    Spsa,
    /// A fixed number of games.
    Games,
}

/// The values that may be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunValues {
    /// Upper limit of games.
    pub num_games: i64,
    /// Higher goes first.
    pub priority: i64,
    /// Percentage of the usual share of the farm.
    pub throughput: i64,
    /// Whether deviating workers are purged at the end.
    pub auto_purge: bool,
    /// Description.
    pub info: String,
}

/// A run as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentRun {
    /// Submitter.
    pub owner: String,
    /// When it was submitted; unknown in very old documents.
    pub start_time: Option<Millis>,
    /// What ends it.
    pub stop: StopKind,
    /// The values.
    pub values: RunValues,
    /// Games played.
    pub games_played: u64,
    /// Whether it is approved.
    pub approved: bool,
    /// Whether a worker stopped it.
    pub failed: bool,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Whether it is over.
    pub finished: bool,
}

/// What is asked for. What is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModifyRequest {
    /// New limit of games.
    pub num_games: Option<i64>,
    /// New priority.
    pub priority: Option<i64>,
    /// New throughput.
    pub throughput: Option<i64>,
    /// Whether to purge at the end.
    pub auto_purge: Option<bool>,
    /// New description; only the owner's counts, and a blank one is ignored.
    pub info: Option<String>,
}

impl ModifyRequest {
    /// Reads the texts of the form. The number of games is required there; the checkbox is always meant.
    pub fn from_form(
        num_games: Option<&str>,
        priority: Option<&str>,
        throughput: Option<&str>,
        auto_purge: bool,
        info: Option<&str>,
    ) -> Result<Self, ModifyError> {
        let integer = |text: &str| parse_integer(text).ok_or(ModifyError::BadValues);
        let num_games = num_games.ok_or(ModifyError::NoNumberOfGames)?;
        Ok(Self {
            num_games: Some(integer(num_games)?),
            priority: priority.map(integer).transpose()?,
            throughput: throughput.map(integer).transpose()?,
            auto_purge: Some(auto_purge),
            info: info.map(str::to_owned),
        })
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor<'a> {
    /// Username.
    pub username: &'a str,
    /// Whether the user may approve runs.
    pub is_approver: bool,
}

/// Why a change is refused. The text is fit for the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ModifyError {
    /// More than thirty days old.
    #[error("Run too old to be modified")]
    TooOld,
    /// The form lacks the number of games.
    #[error("Unable to modify with no number of games!")]
    NoNumberOfGames,
    /// Not integers.
    #[error("Bad values!")]
    BadValues,
    /// A run of fixed length may only get shorter.
    #[error("Unable to modify number of games in a fixed game test!")]
    FixedGames,
    /// A tuning run's constants depend on its length.
    #[error(
        "Unable to modify number of games for SPSA tests, SPSA hyperparams are based off the initial number of games"
    )]
    SpsaGames,
    /// Negative number of games.
    #[error("Number of games must be >= 0")]
    NegativeGames,
    /// Not in thousands.
    #[error("Number of games must be a multiple of 1000")]
    UnevenGames,
    /// Too many games.
    #[error("Number of games must be <= 3200000")]
    TooManyGames,
    /// Negative throughput.
    #[error("Throughput must be >= 0")]
    NegativeThroughput,
    /// Neither owner nor approver.
    #[error("Unable to modify another user's run!")]
    NotAllowed,
}

/// What becomes of the run itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Undecided: it is unfinished from now on, whatever it was; flags of an end are cleared.
    Activate,
    /// It was going on and needs no more games: finish it.
    Finish,
    /// It is over and stays so.
    StayFinished,
}

/// An accepted change. It is to be saved in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modified {
    /// The new values.
    pub values: RunValues,
    /// Whether approval is withdrawn: `approved` false, `approver` empty, action `approve_run` with `unapproved`
    /// before the other one.
    pub approval_withdrawn: bool,
    /// What becomes of the run.
    pub next: Next,
    /// Message of the `modify_run` action.
    pub message: String,
    /// What the user is told.
    pub notice: Notice,
    /// Addition to the notice when an ended run goes on, so that nobody resumes one unawares.
    pub resumed: Option<&'static str>,
}

/// What the user is told about an accepted change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// It runs.
    Modified,
    /// It lost its approval; shown as a warning.
    ReapprovalNeeded,
    /// It never was approved.
    ApprovalPending,
}

impl Notice {
    /// The text.
    pub fn text(self) -> &'static str {
        match self {
            Self::Modified => "The test was successfully modified!",
            Self::ReapprovalNeeded => {
                "The test was successfully modified but it will have to be reapproved..."
            }
            Self::ApprovalPending => "The test was successfully modified. Please wait for approval.",
        }
    }
}

/// Judges a change and works out its consequences.
pub fn modify_run(
    run: &PresentRun,
    request: &ModifyRequest,
    actor: Actor<'_>,
    now: Millis,
) -> Result<Modified, ModifyError> {
    let old = &run.values;
    let is_owner = actor.username == run.owner;
    let mut values = RunValues {
        num_games: request.num_games.unwrap_or(old.num_games),
        priority: request.priority.unwrap_or(old.priority),
        throughput: request.throughput.unwrap_or(old.throughput),
        auto_purge: request.auto_purge.unwrap_or(old.auto_purge),
        info: old.info.clone(),
    };
    if run.start_time.is_none_or(|start| is_too_old(start, now)) {
        return Err(ModifyError::TooOld);
    }
    check_games(run, values.num_games)?;
    if values.throughput < 0 {
        return Err(ModifyError::NegativeThroughput);
    }
    if !is_owner && !actor.is_approver {
        return Err(ModifyError::NotAllowed);
    }
    if let Some(info) = request.info.as_deref()
        && is_owner
        && !info.trim().is_empty()
    {
        info.trim().clone_into(&mut values.info);
    }

    let asks_for_more = values.throughput > old.throughput.max(UNQUESTIONED_THROUGHPUT)
        || values.priority > old.priority.max(UNQUESTIONED_PRIORITY)
        || run.failed;
    let approval_withdrawn = !actor.is_approver && run.approved && asks_for_more;
    let notice = match (run.approved, approval_withdrawn) {
        (false, _) => Notice::ApprovalPending,
        (true, true) => Notice::ReapprovalNeeded,
        (true, false) => Notice::Modified,
    };
    let next = if is_undecided(run, values.num_games) {
        Next::Activate
    } else if run.finished {
        Next::StayFinished
    } else {
        Next::Finish
    };
    let resumed = (next == Next::Activate).then(|| resumption(run)).flatten();
    let message = change_message(old, &values);
    Ok(Modified { values, approval_withdrawn, next, message, notice, resumed })
}

/// What is undone when the run goes on.
fn resumption(run: &PresentRun) -> Option<&'static str> {
    if run.deleted {
        Some("The test was deleted; it is active again.")
    } else if run.failed {
        Some("The test had been stopped by a worker; it is active again.")
    } else if run.finished {
        Some("The test was finished; it is active again.")
    } else {
        None
    }
}

fn is_too_old(start: Millis, now: Millis) -> bool {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    now.0.saturating_sub(start.0).div_euclid(DAY) > MODIFIABLE_DAYS
}

fn check_games(run: &PresentRun, num_games: i64) -> Result<(), ModifyError> {
    let old = run.values.num_games;
    if run.stop == StopKind::Games && num_games > old {
        return Err(ModifyError::FixedGames);
    }
    if run.stop == StopKind::Spsa && num_games != old {
        return Err(ModifyError::SpsaGames);
    }
    if num_games < 0 {
        return Err(ModifyError::NegativeGames);
    }
    // A run from before this rule may keep what it has.
    if num_games % 1000 != 0 && num_games != old {
        return Err(ModifyError::UnevenGames);
    }
    if num_games > MAX_GAMES && num_games != old {
        return Err(ModifyError::TooManyGames);
    }
    Ok(())
}

fn is_undecided(run: &PresentRun, num_games: i64) -> bool {
    let games_left = u64::try_from(num_games).is_ok_and(|num_games| run.games_played < num_games);
    let decided = matches!(&run.stop, StopKind::Sprt { state } if !state.is_empty());
    games_left && !decided
}

/// `modify: ` and what changed.
fn change_message(old: &RunValues, new: &RunValues) -> String {
    let mut changes = Vec::new();
    let mut note = |key: &str, old: String, new: String| {
        if old != new {
            changes.push(format!("{key} changed from {old} to {new}"));
        }
    };
    note("priority", old.priority.to_string(), new.priority.to_string());
    note("num-games", old.num_games.to_string(), new.num_games.to_string());
    note("throughput", old.throughput.to_string(), new.throughput.to_string());
    note("auto-purge", capitalized(old.auto_purge), capitalized(new.auto_purge));
    format!("modify: {}", changes.join(", "))
}

/// How readers of the event log know truth values.
fn capitalized(flag: bool) -> String {
    if flag { "True".into() } else { "False".into() }
}

#[cfg(test)]
mod tests;

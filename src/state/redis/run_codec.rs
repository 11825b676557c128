//! A run as the scripts keep it: a hash of texts; they answer with its fields in the order of `run_view` in `lua/lib/run_view.lua`.

use std::sync::Arc;

use super::reply::Reply;
use super::task_codec::{read_entry, read_stats, stats_text};
use crate::domain::ids::{Millis, RunId, TaskId, Version, WriteId};
use crate::domain::run::{Counters, Phase, RunKind, RunOperation};
use crate::state::{FoldView, RankingRow, RunLoad, RunView, StateError, StateResult};

fn damaged(what: &str) -> StateError {
    StateError::Bug(format!("a run in the schedule has a damaged {what}"))
}

pub(super) fn kind_text(kind: RunKind) -> String {
    match kind {
        RunKind::Games => "games".to_owned(),
        RunKind::Sprt { batch_size } => format!("sprt:{batch_size}"),
        RunKind::Spsa { params } => format!("spsa:{params}"),
    }
}

fn read_kind(text: &str) -> StateResult<RunKind> {
    let kind = match text.split_once(':') {
        None if text == "games" => Some(RunKind::Games),
        Some(("sprt", size)) => size.parse().ok().map(|batch_size| RunKind::Sprt { batch_size }),
        Some(("spsa", params)) => params.parse().ok().map(|params| RunKind::Spsa { params }),
        _ => None,
    };
    kind.ok_or_else(|| damaged("kind"))
}

pub(super) fn phase_text(phase: Phase) -> &'static str {
    match phase {
        Phase::Running => "running",
        Phase::Finishing => "finishing",
        Phase::Purging => "purging",
        Phase::Finished => "finished",
    }
}

pub(super) fn read_phase(text: &str) -> StateResult<Phase> {
    Ok(match text {
        "running" => Phase::Running,
        "finishing" => Phase::Finishing,
        "purging" => Phase::Purging,
        "finished" => Phase::Finished,
        _ => return Err(damaged("phase")),
    })
}

pub(super) fn operation_text(operation: &RunOperation) -> StateResult<String> {
    serde_json::to_string(operation).map_err(|error| StateError::Bug(error.to_string()))
}

/// Names and values of the fields of a run that is loaded.
pub(super) fn fields(load: &RunLoad) -> StateResult<Vec<(&'static str, String)>> {
    let counters = &load.counters;
    let operation = load.operation.as_ref();
    let version = load.version.0.to_string();
    Ok(vec![
        ("av", load.args.version.to_string()),
        ("ng", load.args.num_games.to_string()),
        ("prio", load.args.priority.to_string()),
        ("kind", kind_text(load.kind)),
        ("ph", phase_text(load.phase).to_owned()),
        ("op", operation.map(operation_text).transpose()?.unwrap_or_default()),
        ("opid", operation.map(|operation| operation.id.to_hex()).unwrap_or_default()),
        ("v", version.clone()),
        ("dv", version),
        ("w", WriteId::default().0.to_string()),
        ("res", stats_text(&counters.results)),
        ("workers", counters.workers.to_string()),
        ("cores", counters.cores.to_string()),
        ("committed", counters.committed_games.to_string()),
        ("total", counters.total_games.to_string()),
        ("st", load.start_time.0.to_string()),
        ("lu", load.last_updated.0.to_string()),
        // Shortest texts that read back as the same number; they never pass through Lua's.
        ("itp", load.itp.to_string()),
        ("nps", load.nps.to_string()),
        ("gpm", load.games_per_minute.to_string()),
        ("nt", load.next_task.to_string()),
        ("ns", load.next_start.to_string()),
        ("rec", load.record.to_string()),
        ("pos", load.position.to_string()),
        ("dpos", load.position.to_string()),
        ("seq", load.sequence.to_string()),
    ])
}

/// Reads what `run_view` answers.
pub(super) fn view(id: RunId, reply: &mut Reply) -> StateResult<RunView> {
    let args_version = reply.number()?;
    let kind = read_kind(&reply.text()?)?;
    let phase = read_phase(&reply.text()?)?;
    let operation = match reply.optional()? {
        Some(text) => Some(serde_json::from_str(&text).map_err(|_| damaged("operation"))?),
        None => None,
    };
    Ok(RunView {
        id,
        args_version,
        kind,
        phase,
        operation,
        version: Version(reply.number()?),
        durable: Version(reply.number()?),
        write_id: WriteId(reply.number()?),
        counters: Counters {
            results: read_stats(&reply.text()?)?,
            workers: reply.number()?,
            cores: reply.number()?,
            committed_games: reply.number()?,
            total_games: reply.number()?,
        },
        num_games: reply.number()?,
        priority: reply.number()?,
        start_time: Millis(reply.number()?),
        last_updated: Millis(reply.number()?),
        itp: reply.number()?,
        nps: reply.number()?,
        games_per_minute: reply.number()?,
        next_task: TaskId(reply.number()?),
        record: Arc::from(reply.text()?),
        position: reply.number()?,
        pending: reply.number()?,
    })
}

/// Reads what `fold_view` answers: the rest of the reply.
pub(super) fn fold(reply: &mut Reply) -> StateResult<FoldView> {
    let kind = read_kind(&reply.text()?)?;
    let phase = read_phase(&reply.text()?)?;
    let record = Arc::from(reply.text()?);
    let position = reply.number()?;
    let num_games = reply.number()?;
    let games = read_stats(&reply.text()?)?.games();
    let mut pending = Vec::new();
    while !reply.is_empty() {
        pending.push(read_entry(&reply.text()?)?);
    }
    Ok(FoldView { kind, phase, record, position, pending, num_games, games })
}

/// Reads a row of the ranking table.
pub(super) fn row(text: &str) -> StateResult<RankingRow> {
    let parsed = || {
        let mut parts = text.split('|');
        Some(RankingRow {
            run: RunId::parse(parts.next()?)?,
            args_version: parts.next()?.parse().ok()?,
            cores: parts.next()?.parse().ok()?,
            committed_games: parts.next()?.parse().ok()?,
            num_games: parts.next()?.parse().ok()?,
            priority: parts.next()?.parse().ok()?,
            itp: parts.next()?.parse().ok()?,
        })
    };
    parsed().ok_or_else(|| damaged("row of the ranking"))
}

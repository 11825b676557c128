//! Whether a run has the form that fishtest prescribes for documents of version 24 (`spec/storage.md` sections 3.1 to
//! 3.7): types, required fields, no others, and the rules that hold between fields of one document.
//!
//! What holds between a run and its tasks (sums, counters) is the schedule's audit. That an unfinished run is undecided is
//! not checked: between the deciding report and the finish saga it is not so.

mod keys;

use std::net::IpAddr;

use bson::Document;

use self::keys::{ARGS, RUN, SPRT, SPSA, WORKER_INFO};
use super::stored::{Checked, Stored, documents};
use super::worker_info::{is_compiler, is_worker_arch};
use crate::domain::names::{is_net_name, is_unique_key};
use crate::domain::number::is_positive_integer;
use crate::domain::time_control;

/// The first version of documents whose fields are all prescribed; older ones are only looked at.
pub const STRICT_VERSION: u64 = 24;

/// Checks a whole run: its own fields, and each of its tasks.
///
/// # Errors
/// Names the first field that breaks a rule, and the rule.
pub fn check_run(run: &Document) -> Result<(), String> {
    check_run_fields(run)?;
    let run = Stored::new(run, "");
    for task in &documents(run.array("tasks")?, "tasks")? {
        task_fields(task)?;
    }
    for task in &documents(run.array("bad_tasks")?, "bad_tasks")? {
        bad_task_fields(task)?;
    }
    Ok(())
}

/// Checks a run's own fields; its lists of tasks have to be there, and are not looked into.
///
/// # Errors
/// As [`check_run`].
pub fn check_run_fields(run: &Document) -> Result<(), String> {
    let run = Stored::new(run, "");
    run.only(&RUN)?;
    run.object_id("_id")?;
    run.count("version")?;
    let args = run.document("args")?;
    check_args(&args)?;
    for key in ["start_time", "last_updated"] {
        run.date(key)?;
    }
    let tc_base = run.amount("tc_base")?;
    let expected = time_control::tc_base(args.text("tc")?).ok();
    run.require(expected == Some(tc_base), "tc_base", "is not the first number of args.tc")?;
    if run.has("rescheduled_from") {
        run.text_if("rescheduled_from", "is no run id", |id| is_hex(id, 24))?;
    }
    let approved = run.flag("approved")?;
    let has_approver = !run.text("approver")?.is_empty();
    run.require(approved == has_approver, "approver", "an approved run has one, another has none")?;
    let finished = run.flag("finished")?;
    let failed = run.flag("failed")?;
    let failures = run.count("failures")?;
    run.require(!failed || failures > 0, "failures", "a failed run has some")?;
    let (green, yellow) = (run.flag("is_green")?, run.flag("is_yellow")?);
    run.require(!(green && yellow), "is_yellow", "a run is not green and yellow")?;
    for (key, set) in
        [("is_green", green), ("is_yellow", yellow), ("failed", failed), ("deleted", run.flag("deleted")?)]
    {
        run.require(finished || !set, key, "an unfinished run is not that")?;
    }
    for key in ["workers", "cores", "committed_games", "total_games"] {
        run.count(key)?;
    }
    for key in ["nps", "games_per_minute"] {
        run.amount(key)?;
    }
    if finished {
        for key in ["workers", "cores", "nps", "games_per_minute"] {
            run.require(run.number(key)? == 0.0, key, "a finished run has none")?;
        }
    }
    check_stats(&run.document("results")?)?;
    run.array("tasks")?;
    run.array("bad_tasks")?;
    Ok(())
}

/// Checks task `number` of a run.
///
/// # Errors
/// As [`check_run`].
pub fn check_task(number: u32, task: &Document) -> Result<(), String> {
    task_fields(&Stored::new(task, format!("tasks[{number}]")))
}

/// Checks element `position` of a run's purged tasks.
///
/// # Errors
/// As [`check_run`].
pub fn check_bad_task(position: u32, task: &Document) -> Result<(), String> {
    bad_task_fields(&Stored::new(task, format!("bad_tasks[{position}]")))
}

fn check_args(args: &Stored<'_>) -> Checked {
    args.only(&ARGS)?;
    for key in ["base_tag", "new_tag", "msg_base", "msg_new", "info", "username"] {
        args.text(key)?;
    }
    for key in ["base_nets", "new_nets"] {
        let nets = args.texts(key)?;
        for (i, net) in nets.iter().enumerate() {
            args.require(is_net_name(net), key, "has a name that is none of a network")?;
            args.require(!nets.iter().take(i).any(|other| other == net), key, "has a name twice")?;
        }
    }
    let games = args.count("num_games")?;
    args.require(games % 2 == 0, "num_games", "is odd")?;
    for key in ["tc", "new_tc"] {
        args.text_if(key, "is no time control", |tc| time_control::check_form(tc).is_ok())?;
    }
    args.text_if("book", "is no .epd or .pgn file", |book| book.ends_with(".epd") || book.ends_with(".pgn"))?;
    for key in ["book_depth", "base_signature", "new_signature"] {
        args.text_if(key, "is no positive number as text", is_positive_integer)?;
    }
    args.positive("threads")?;
    for key in ["resolved_base", "resolved_new"] {
        args.text_if(key, "is no commit of 40 hex digits", |sha| is_hex(sha, 40))?;
    }
    for key in ["base_options", "new_options"] {
        args.text_if(key, "has characters that are not ASCII", str::is_ascii)?;
    }
    args.text_if("tests_repo", "is no repository", is_repository)?;
    if args.has("master_repo") {
        args.text_if("master_repo", "is no repository", is_repository)?;
    }
    for key in ["auto_purge", "adjudication"] {
        args.flag(key)?;
    }
    args.count("throughput")?;
    args.amount("itp")?;
    args.integer("priority")?;
    if args.has("arch_filter") {
        args.text_if("arch_filter", "is empty", |filter| !filter.is_empty())?;
    }
    if args.has("compiler") {
        args.text_if("compiler", "is no known compiler", is_compiler)?;
    }
    args.require(!(args.has("sprt") && args.has("spsa")), "spsa", "stands beside sprt")?;
    if args.has("sprt") {
        check_sprt(&args.document("sprt")?)?;
    }
    if args.has("spsa") {
        check_spsa(&args.document("spsa")?)?;
    }
    Ok(())
}

fn check_sprt(sprt: &Stored<'_>) -> Checked {
    sprt.only(&SPRT)?;
    for key in ["alpha", "beta", "elo0", "elo1", "llr", "lower_bound", "upper_bound"] {
        sprt.number(key)?;
    }
    sprt.text_if("elo_model", "is not normalized", |model| model == "normalized")?;
    sprt.text_if("state", "is no state", |state| matches!(state, "" | "accepted" | "rejected"))?;
    sprt.positive("batch_size")?;
    if sprt.has("lost_samples") {
        sprt.count("lost_samples")?;
    }
    if sprt.has("illegal_update") {
        sprt.count("illegal_update")?;
    }
    let one = sprt.has("overshoot") != sprt.has("lost_samples");
    sprt.require(one, "overshoot", "either it or lost_samples has to be there")?;
    if sprt.has("overshoot") {
        let overshoot = sprt.document("overshoot")?;
        overshoot.only(&["last_update", "skipped_updates", "ref0", "m0", "ref1", "m1", "sq0", "sq1"])?;
        for key in ["last_update", "skipped_updates"] {
            overshoot.count(key)?;
        }
        for key in ["ref0", "m0", "ref1", "m1"] {
            overshoot.number(key)?;
        }
        for key in ["sq0", "sq1"] {
            overshoot.amount(key)?;
        }
    }
    Ok(())
}

fn check_spsa(spsa: &Stored<'_>) -> Checked {
    spsa.only(&SPSA)?;
    if spsa.has("algorithm") {
        spsa.text_if("algorithm", "is not classic", |name| name == "classic")?;
    }
    for key in ["A", "alpha", "gamma"] {
        spsa.amount(key)?;
    }
    spsa.text("raw_params")?;
    for key in ["iter", "num_iter"] {
        spsa.count(key)?;
    }
    let params = spsa.documents("params")?;
    for param in &params {
        param.only(&["name", "start", "min", "max", "c_end", "r_end", "c", "a_end", "a", "theta"])?;
        param.text("name")?;
        for key in ["start", "min", "max", "theta"] {
            param.number(key)?;
        }
        for key in ["c_end", "c"] {
            param.require(param.number(key)? > 0.0, key, "is not above zero")?;
        }
        for key in ["r_end", "a_end", "a"] {
            param.amount(key)?;
        }
    }
    if !spsa.has("param_history") {
        return Ok(());
    }
    for (i, sample) in spsa.array("param_history")?.iter().enumerate() {
        let path = format!("{}[{i}]", spsa.path_of("param_history"));
        let points = sample.as_array().ok_or_else(|| format!("{path}: is no array"))?;
        for point in documents(points, &path)? {
            point.only(&["theta", "R", "c"])?;
            for key in ["theta", "R", "c"] {
                point.number(key)?;
            }
        }
    }
    Ok(())
}

fn task_fields(task: &Stored<'_>) -> Checked {
    task.only(&[
        "num_games",
        "active",
        "worker_info",
        "last_updated",
        "start",
        "stats",
        "bad",
        "spsa_params",
    ])?;
    common_fields(task)?;
    let active = task.flag("active")?;
    let stats = task.document("stats")?;
    if task.has("bad") {
        task.require(task.flag("bad")? && !active, "bad", "is only true, and only in a closed task")?;
        for key in ["wins", "losses", "draws", "crashes", "time_losses"] {
            stats.require(stats.count(key)? == 0, key, "is not zero in a bad task")?;
        }
    }
    if task.has("spsa_params") {
        task.require(active, "spsa_params", "stands in a closed task")?;
        let round = task.document("spsa_params")?;
        round.only(&["iter", "packed_flips"])?;
        round.count("iter")?;
        round.binary("packed_flips")?;
    }
    // A rebuild fills a hole in the numbering with a task that nobody had.
    let is_empty = ["wins", "losses", "draws"].into_iter().all(|key| stats.count(key) == Ok(0));
    let nobody = !active && is_empty && !task.has("worker_info");
    if nobody { Ok(()) } else { check_worker_info(&task.document("worker_info")?) }
}

fn bad_task_fields(task: &Stored<'_>) -> Checked {
    task.only(&[
        "num_games",
        "active",
        "worker_info",
        "last_updated",
        "start",
        "stats",
        "task_id",
        "bad",
        "residual",
        "residual_color",
        "spsa_params",
    ])?;
    common_fields(task)?;
    task.require(task.flag("bad")? && !task.flag("active")?, "bad", "is true, and the task closed")?;
    task.count("task_id")?;
    task.number("residual")?;
    let is_color = |color: &str| matches!(color, "green" | "yellow" | "red" | "#44EB44" | "#FF6A6A");
    task.text_if("residual_color", "is no color of a residual", is_color)?;
    check_worker_info(&task.document("worker_info")?)
}

fn common_fields(task: &Stored<'_>) -> Checked {
    let games = task.count("num_games")?;
    task.require(games % 2 == 0, "num_games", "is odd")?;
    task.flag("active")?;
    task.date("last_updated")?;
    task.count("start")?;
    check_stats(&task.document("stats")?)
}

fn check_worker_info(info: &Stored<'_>) -> Checked {
    info.only(&WORKER_INFO)?;
    for key in ["uname", "username", "ARCH"] {
        info.text(key)?;
    }
    info.require(info.texts("architecture")?.len() == 2, "architecture", "has not two elements")?;
    for key in ["concurrency", "min_threads"] {
        info.positive(key)?;
    }
    for key in ["max_memory", "version"] {
        info.count(key)?;
    }
    for key in ["python_version", "gcc_version"] {
        info.require(info.counts(key)?.len() == 3, key, "has not three elements")?;
    }
    info.text_if("compiler", "is no known compiler", is_compiler)?;
    info.text_if("unique_key", "is no key of a worker", is_unique_key)?;
    for key in ["modified", "near_github_api_limit"] {
        info.flag(key)?;
    }
    info.text_if("worker_arch", "is no known architecture", is_worker_arch)?;
    info.amount("nps")?;
    info.text_if("remote_addr", "is no address", |address| address.parse::<IpAddr>().is_ok())?;
    info.text_if("country_code", "is no country", |code| {
        code == "?" || (code.len() == 2 && code.bytes().all(|letter| letter.is_ascii_uppercase()))
    })
}

/// Counts, and that games and pairs of games tell the same story.
fn check_stats(stats: &Stored<'_>) -> Checked {
    stats.only(&["wins", "losses", "draws", "crashes", "time_losses", "pentanomial"])?;
    for key in ["crashes", "time_losses"] {
        stats.count(key)?;
    }
    let wide = |key: &str| stats.count(key).map(i128::from);
    let (wins, losses, draws) = (wide("wins")?, wide("losses")?, wide("draws")?);
    let pairs: Vec<i128> = stats.counts("pentanomial")?.into_iter().map(i128::from).collect();
    let [p0, p1, p2, p3, p4] = pairs[..] else {
        return Err(stats.wrong("pentanomial", "has not five elements"));
    };
    let agrees = wins + losses + draws == 2 * (p0 + p1 + p2 + p3 + p4)
        && wins - losses == 2 * p4 + p3 - p1 - 2 * p0
        && (p3 + p1..=p3 + 2 * p2 + p1).contains(&draws);
    stats.require(agrees, "pentanomial", "does not agree with wins, losses and draws")
}

/// `https://(www.)?github.com/<owner>/<repository>`, without a trailing slash.
fn is_repository(text: &str) -> bool {
    let path =
        ["https://github.com/", "https://www.github.com/"].iter().find_map(|host| text.strip_prefix(host));
    path.and_then(|path| path.split_once('/'))
        .is_some_and(|(owner, name)| !owner.is_empty() && !name.is_empty() && !name.contains('/'))
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;

//! From a request for a test to the document of a new run (`spec/run-management.md` section 4, `spec/scheduling.md`
//! section 9.5, `spec/storage.md` section 3).
//!
//! Only rules that need nothing but the request are here. Whether branches, networks and books exist, and whether
//! the submitter may create runs, is for the caller.

use bson::oid::ObjectId;
use bson::{Bson, DateTime, Document, doc};

use super::arch::{SUPPORTED_COMPILERS, is_supported_compiler};
use super::arch_filter::ArchFilter;
use super::bson_number::int;
use super::names::is_net_name;
use super::number::{is_digits, is_positive_integer};
use super::spsa::create::{SpsaForm, create};
use super::time_control::{check_form, is_ltc, sprt_batch_size, tc_base, tc_ratio};

pub use form::{RunForm, SprtForm, SpsaFields, StopRule};
pub use summary::{ProgressionReference, run_summary};

mod form;
mod summary;

/// Version of the run documents that are written.
pub const RUN_VERSION: i32 = 24;

/// Most games of a run of fixed length or a tuning run.
pub const MAX_GAMES: i64 = 3_200_000;

/// Most games of a sequential test.
pub const SPRT_GAMES: i64 = 800_000;

/// Probability of each kind of error of a sequential test.
const SPRT_ERROR: f64 = 0.05;

/// Internal throughput of a run until it is first computed.
const INITIAL_ITP: i32 = 100;

/// How the description of a long sequential test begins.
const LTC_PREFIX: &str = "LTC: ";

/// What is wrong with a request for a run. The text is fit for the submitter and names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NewRunError {
    /// A field must be given, and not be empty.
    #[error("Missing required option: {0}")]
    Missing(&'static str),
    /// A field isn't known.
    #[error("Unknown option: {0}")]
    Unknown(String),
    /// A field breaks a rule.
    #[error("{field}: {problem}")]
    Field {
        /// The field.
        field: String,
        /// The rule, in words.
        problem: String,
    },
}

impl NewRunError {
    fn field(field: impl Into<String>, problem: impl ToString) -> Self {
        Self::Field { field: field.into(), problem: problem.to_string() }
    }
}

/// Makes the document of a new run out of a request, with its initial values; `id` and `now` are given by the
/// caller. The lists of tasks are not in it, since tasks are kept by themselves.
pub fn build_run(form: &RunForm, id: ObjectId, now: DateTime) -> Result<Document, NewRunError> {
    let base_options = normalized_options("base_options", &form.base_options)?;
    let new_options = normalized_options("new_options", &form.new_options)?;
    check_repo("tests_repo", &form.tests_repo)?;
    if let Some(repo) = &form.master_repo {
        check_repo("master_repo", repo)?;
    }
    let new_tc = form.new_tc.as_ref().unwrap_or(&form.tc);
    if let Some(pattern) = &form.arch_filter {
        ArchFilter::for_new_run(pattern).map_err(|error| NewRunError::field("arch_filter", error))?;
    }
    check_form(&form.tc).map_err(|error| NewRunError::field("tc", error))?;
    check_form(new_tc).map_err(|error| NewRunError::field("new_tc", error))?;
    if let Some(run) = &form.rescheduled_from {
        require(is_lower_hex(run, 24), "rescheduled_from", "expected a run id of 24 lower-case hex digits")?;
    }
    // Both sides of a tuning run are the same engine.
    let base_signature = match form.stop_rule {
        StopRule::Spsa(_) => &form.new_signature,
        _ => &form.base_signature,
    };
    let required = [
        ("base_tag", &form.base_tag),
        ("new_tag", &form.new_tag),
        ("book", &form.book),
        ("book_depth", &form.book_depth),
        ("base_signature", base_signature),
        ("new_signature", &form.new_signature),
        ("base_options", &base_options),
        ("new_options", &new_options),
        ("username", &form.username),
        ("info", &form.info),
    ];
    for (field, value) in required {
        if value.is_empty() {
            return Err(NewRunError::Missing(field));
        }
    }
    check_values(form, base_signature)?;

    let ratio =
        tc_ratio(&form.tc, Some(f64::from(form.threads))).map_err(|error| NewRunError::field("tc", error))?;
    let (num_games, stop_rule) = stop_rule(&form.stop_rule, ratio)?;
    let mut info = form.info.clone();
    if matches!(form.stop_rule, StopRule::Sprt(_)) && is_ltc(ratio) && !info.starts_with(LTC_PREFIX) {
        info.insert_str(0, LTC_PREFIX);
    }

    let mut args = doc! {
        "base_tag": &form.base_tag,
        "new_tag": &form.new_tag,
        "base_nets": &form.base_nets,
        "new_nets": &form.new_nets,
        "num_games": int(num_games),
        "tc": &form.tc,
        "new_tc": new_tc,
        "book": &form.book,
        "book_depth": &form.book_depth,
        "threads": int(i64::from(form.threads)),
        "resolved_base": &form.resolved_base,
        "resolved_new": &form.resolved_new,
        "msg_base": &form.msg_base,
        "msg_new": &form.msg_new,
        "base_options": base_options,
        "new_options": new_options,
        "info": info,
        "base_signature": base_signature,
        "new_signature": &form.new_signature,
        "username": &form.username,
        "tests_repo": &form.tests_repo,
    };
    insert_some(&mut args, "master_repo", form.master_repo.as_deref());
    args.insert("auto_purge", form.auto_purge);
    args.insert("throughput", int(form.throughput));
    args.insert("itp", INITIAL_ITP);
    args.insert("priority", int(form.priority));
    args.insert("adjudication", form.adjudication);
    insert_some(&mut args, "arch_filter", form.arch_filter.as_deref());
    insert_some(&mut args, "compiler", form.compiler.as_deref());
    if let Some((key, record)) = stop_rule {
        args.insert(key, record);
    }

    let tc_base = tc_base(&form.tc).map_err(|error| NewRunError::field("tc", error))?;
    let mut run = doc! {
        "_id": id,
        "version": RUN_VERSION,
        "args": args,
        "start_time": now,
        "last_updated": now,
        "tc_base": tc_base,
    };
    insert_some(&mut run, "rescheduled_from", form.rescheduled_from.as_deref());
    run.extend(doc! {
        "approved": false,
        "approver": "",
        "results": {
            "wins": 0, "losses": 0, "draws": 0, "crashes": 0, "time_losses": 0,
            "pentanomial": [0, 0, 0, 0, 0],
        },
        "workers": 0,
        "cores": 0,
        "committed_games": 0,
        "total_games": 0,
        "nps": 0.0,
        "games_per_minute": 0.0,
        "finished": false,
        "deleted": false,
        "failed": false,
        "failures": 0,
        "is_green": false,
        "is_yellow": false,
    });
    Ok(run)
}

fn insert_some(document: &mut Document, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        document.insert(key, value);
    }
}

fn require(holds: bool, field: &str, problem: &str) -> Result<(), NewRunError> {
    if holds { Ok(()) } else { Err(NewRunError::field(field, problem)) }
}

/// Rules of single fields.
fn check_values(form: &RunForm, base_signature: &str) -> Result<(), NewRunError> {
    let stem = form.book.strip_suffix(".epd").or_else(|| form.book.strip_suffix(".pgn"));
    let is_book = stem.is_some_and(|stem| {
        !stem.is_empty() && !stem.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'))
    });
    require(is_book, "book", "expected the name of an .epd or .pgn file")?;
    let positive = "expected a positive integer without leading zeros";
    require(is_positive_integer(&form.book_depth), "book_depth", positive)?;
    require(is_positive_integer(base_signature), "base_signature", positive)?;
    require(is_positive_integer(&form.new_signature), "new_signature", positive)?;
    require(form.threads >= 1, "threads", "Threads must be >= 1")?;
    require(form.throughput >= 0, "throughput", "must be >= 0")?;
    for (field, sha) in [("resolved_base", &form.resolved_base), ("resolved_new", &form.resolved_new)] {
        require(is_lower_hex(sha, 40), field, "expected a commit of 40 lower-case hex digits")?;
    }
    for (field, nets) in [("base_nets", &form.base_nets), ("new_nets", &form.new_nets)] {
        for (i, net) in nets.iter().enumerate() {
            require(is_net_name(net), field, "expected names such as nn-0123456789ab.nnue")?;
            let seen = nets.iter().take(i).any(|earlier| earlier == net);
            require(!seen, field, "the names must be distinct")?;
        }
    }
    if let Some(compiler) = &form.compiler {
        let known = is_supported_compiler(compiler);
        require(known, "compiler", &format!("expected one of {}", SUPPORTED_COMPILERS.join(", ")))?;
    }
    Ok(())
}

/// Options with single blanks between them.
fn normalized_options(field: &'static str, options: &str) -> Result<String, NewRunError> {
    require(options.is_ascii(), field, "Options must contain only ASCII characters")?;
    let tokens: Vec<&str> = options.split_ascii_whitespace().collect();
    for token in &tokens {
        let well_formed = token
            .split_once('=')
            .is_some_and(|(key, value)| !key.is_empty() && !value.is_empty() && !value.contains('='))
            && !token.contains(char::is_whitespace);
        let problem = "Each option must be a 'key=value' pair with no extra spaces and exactly one '='";
        require(well_formed, field, problem)?;
    }
    Ok(tokens.join(" "))
}

/// `https://(www.)?github.com/<owner>/<repo>`, without a trailing slash.
fn check_repo(field: &'static str, repo: &str) -> Result<(), NewRunError> {
    if repo.is_empty() {
        return Err(NewRunError::Missing(field));
    }
    let path =
        ["https://github.com/", "https://www.github.com/"].iter().find_map(|host| repo.strip_prefix(host));
    let is_name = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        !name.is_empty() && name.bytes().all(allowed) && !name.bytes().all(|byte| byte == b'.')
    };
    let well_formed = path
        .and_then(|path| path.split_once('/'))
        .is_some_and(|(owner, repository)| is_name(owner) && is_name(repository));
    require(well_formed, field, "expected https://github.com/<owner>/<repository> without a trailing slash")
}

fn is_lower_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Games that a submitter chose for a fixed-length or tuning run.
fn check_num_games(num_games: i64) -> Result<i64, NewRunError> {
    require(num_games >= 1000, "num_games", "Number of games must be >= 1000")?;
    require(num_games % 1000 == 0, "num_games", "Number of games must be a multiple of 1000")?;
    require(num_games <= MAX_GAMES, "num_games", "Number of games must be <= 3200000")?;
    Ok(num_games)
}

/// The limit of games, and the record that the stop rule evolves, with its key in the arguments.
#[allow(clippy::type_complexity)]
fn stop_rule(rule: &StopRule, ratio: f64) -> Result<(i64, Option<(&'static str, Document)>), NewRunError> {
    match rule {
        StopRule::Games(num_games) => Ok((check_num_games(*num_games)?, None)),
        StopRule::Sprt(sprt) => Ok((SPRT_GAMES, Some(("sprt", sprt_record(sprt, ratio)?)))),
        StopRule::Spsa(spsa) => {
            let num_games = check_num_games(spsa.num_games)?;
            let form = SpsaForm {
                algorithm: spsa.algorithm.as_deref(),
                a_ratio: &spsa.a_ratio,
                alpha: &spsa.alpha,
                gamma: &spsa.gamma,
                raw_params: &spsa.raw_params,
            };
            let record = create(&form, num_games.unsigned_abs())
                .and_then(|record| record.require_params().map(|()| record))
                .map_err(|error| NewRunError::field("spsa", error))?;
            Ok((num_games, Some(("spsa", record.to_document()))))
        }
    }
}

fn sprt_record(sprt: &SprtForm, ratio: f64) -> Result<Document, NewRunError> {
    require(sprt.elo_model == "normalized", "sprt.elo_model", "Unknown Elo model")?;
    require(sprt.elo0.is_finite(), "sprt.elo0", "expected a finite number")?;
    require(sprt.elo1.is_finite(), "sprt.elo1", "expected a finite number")?;
    // Everything that the statistics say of a test assumes it.
    require(sprt.elo0 < sprt.elo1, "sprt.elo1", "must be greater than sprt.elo0")?;
    let batch_size = i64::try_from(sprt_batch_size(ratio)).unwrap_or(i64::MAX);
    require(batch_size <= SPRT_GAMES / 2, "tc", "too short for a sequential test")?;
    let bound = libm::log((1.0 - SPRT_ERROR) / SPRT_ERROR);
    let zero = Bson::Int32(0);
    let mut overshoot = Document::new();
    for key in ["last_update", "skipped_updates", "ref0", "m0", "sq0", "ref1", "m1", "sq1"] {
        overshoot.insert(key, zero.clone());
    }
    Ok(doc! {
        "alpha": SPRT_ERROR,
        "beta": SPRT_ERROR,
        "elo0": sprt.elo0,
        "elo1": sprt.elo1,
        "elo_model": &sprt.elo_model,
        "state": "",
        "llr": zero,
        "batch_size": int(batch_size),
        "lower_bound": -bound,
        "upper_bound": bound,
        "overshoot": overshoot,
    })
}

/// An integer from decimal digits with an optional sign; white space around it is ignored.
pub(super) fn parse_integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    is_digits(digits).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;

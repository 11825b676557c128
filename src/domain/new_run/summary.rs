//! A run in one line, for the event log (`spec/scheduling.md` section 9.5).

use bson::{Bson, Document};

use crate::domain::capacity::hash_of_options;
use crate::domain::time_control::is_ltc_by_base;

/// The release that progression tests are played against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressionReference {
    /// Its name.
    pub version: String,
    /// Its commit.
    pub commit: String,
}

/// The message of the `new_run` action, such as
/// `SPRT<0.00,2.00> TC:10+0.1 Book:UHO_Lichess_4852_v1.epd Threads:1 Hash:16/16`. Reads what is there: a missing
/// number counts as 0, a missing text as empty.
pub fn run_summary(run: &Document, progression: Option<&ProgressionReference>) -> String {
    let nothing = Document::new();
    let args = run.get_document("args").unwrap_or(&nothing);
    let text = |key| args.get_str(key).unwrap_or_default();
    let num_games = number(args, "num_games");

    let mut summary = if let Ok(sprt) = args.get_document("sprt") {
        let (open, close) = match sprt.get_str("elo_model") {
            Ok("normalized") => ('<', '>'),
            Ok("logistic") => ('{', '}'),
            _ => ('[', ']'),
        };
        format!("SPRT{open}{:.2},{:.2}{close}", number(sprt, "elo0"), number(sprt, "elo1"))
    } else if args.contains_key("spsa") {
        format!("SPSA[{num_games}]")
    } else {
        let reference = progression.filter(|reference| reference.commit == text("resolved_base"));
        let mark = reference.map(|reference| format!("(PT:{})", reference.version)).unwrap_or_default();
        format!("NumGames[{num_games}]{mark}")
    };

    let tc = text("tc");
    let new_tc = args.get_str("new_tc").unwrap_or(tc);
    summary.push_str(&format!(" TC:{tc}"));
    if new_tc != tc {
        summary.push_str(&format!("[{new_tc}]"));
    }
    if is_ltc_by_base(number(run, "tc_base")) {
        summary.push_str("(LTC)");
    }
    let threads = if args.contains_key("threads") { number(args, "threads") } else { 1.0 };
    let smp = if threads > 1.0 { "(SMP)" } else { "" };
    let hash = |key| hash_of_options(text(key));
    summary.push_str(&format!(
        " Book:{} Threads:{threads}{smp} Hash:{}/{}",
        text("book"),
        hash("base_options"),
        hash("new_options")
    ));
    summary
}

fn number(document: &Document, key: &str) -> f64 {
    match document.get(key) {
        Some(Bson::Int32(number)) => f64::from(*number),
        Some(Bson::Int64(number)) => *number as f64,
        Some(Bson::Double(number)) => *number,
        _ => 0.0,
    }
}

//! The comparison of the server's books with the fleet's, when all has come to rest (I1, I3, I4, I6, I20).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use serde::Serialize;

use super::answer::Trouble;
use super::client::Client;
use super::ledger::{Invariant, Ledger, TaskEntry};
use super::options::AuditDepth;
use super::protocol::TaskView;
use crate::domain::ids::RunId;
use crate::domain::results::Stats;
use crate::sys::clock::stopwatch;

/// Requests in flight during the comparison.
const PARALLEL: usize = 32;

/// Tasks beyond the fleet's last one that are looked for, at most: other clients' or assignments whose answer was lost.
const BEYOND: u32 = 100_000;

/// How the comparison of one run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// All promises are kept.
    Agrees,
    /// Some are not; see the broken invariants.
    Broken,
    /// Somebody kept changing the run, so nothing can be said.
    Unsettled,
    /// The server could not be asked.
    Unreadable,
}

/// The comparison of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunAudit {
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// Tasks of the fleet.
    pub tasks: usize,
    /// Of these, with reports that were sent and not acknowledged.
    pub uncertain_tasks: usize,
    /// Tasks that were looked at one by one.
    pub looked_at: usize,
    /// Purged tasks among these.
    pub purged_tasks: usize,
    /// Games that the fleet holds an acknowledgement for.
    pub acknowledged_games: u64,
    /// The run's results, as the server has them.
    pub results: Stats,
}

type Findings = Vec<(Invariant, String)>;

/// Compares every run of the ledger; what is broken is entered there.
pub async fn audit(
    client: &Client,
    ledger: &Ledger,
    depth: AuditDepth,
    settle_seconds: f64,
) -> Vec<RunAudit> {
    let mut audits = Vec::new();
    if depth == AuditDepth::None {
        return audits;
    }
    for run in ledger.runs() {
        audits.push(audit_run(client, ledger, run, depth, settle_seconds).await);
    }
    audits
}

/// Repeats the comparison until it is clean or the time is up: the server may be a moment behind its own
/// acknowledgements in what it shows, and unanswered reports may still be on their way.
async fn audit_run(
    client: &Client,
    ledger: &Ledger,
    run: RunId,
    depth: AuditDepth,
    settle_seconds: f64,
) -> RunAudit {
    let entries = ledger.tasks(run);
    let mut audit = RunAudit {
        run,
        outcome: AuditOutcome::Unreadable,
        tasks: entries.len(),
        uncertain_tasks: entries.values().filter(|entry| !entry.is_certain()).count(),
        looked_at: 0,
        purged_tasks: 0,
        acknowledged_games: entries.values().map(|entry| entry.acknowledged.games()).sum(),
        results: Stats::default(),
    };
    let started = stopwatch();
    let mut depth = depth;
    loop {
        match compare(client, &entries, depth, &mut audit).await {
            Ok((findings, stable)) => {
                if findings.is_empty() && stable {
                    audit.outcome = AuditOutcome::Agrees;
                    return audit;
                }
                if depth != AuditDepth::All && stable {
                    // A sample can't know about purged tasks; only the whole tells a purge from a loss.
                    depth = AuditDepth::All;
                    continue;
                }
                let late = started.elapsed().as_secs_f64() >= settle_seconds;
                if late && stable {
                    findings.into_iter().for_each(|(invariant, detail)| ledger.breach(invariant, detail));
                    audit.outcome = AuditOutcome::Broken;
                    return audit;
                }
                audit.outcome = AuditOutcome::Unsettled;
            }
            Err(_) => audit.outcome = AuditOutcome::Unreadable,
        }
        if started.elapsed().as_secs_f64() >= settle_seconds {
            return audit;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// One comparison. The flag says whether the run stood still meanwhile.
async fn compare(
    client: &Client,
    entries: &BTreeMap<u32, TaskEntry>,
    depth: AuditDepth,
    audit: &mut RunAudit,
) -> Result<(Findings, bool), Trouble> {
    let run = audit.run;
    let name = run.to_string();
    let before = client.get_run(&name).await?.results;
    let mut views = fetch(client, &name, wanted(entries, depth)).await?;
    let first_beyond = entries.keys().next_back().map_or(0, |last| last.saturating_add(1));
    for number in first_beyond..first_beyond.saturating_add(BEYOND) {
        let Some(view) = client.get_task(&name, number).await? else { break };
        views.insert(number, Some(view));
    }
    let after = client.get_run(&name).await?.results;
    audit.results = after;
    audit.looked_at = views.len();
    audit.purged_tasks = views.values().flatten().filter(|view| view.bad).count();

    let mut findings = Vec::new();
    for (number, view) in &views {
        let problem = match (entries.get(number), view) {
            (Some(entry), Some(view)) => entry.compare(view),
            (Some(entry), None) => {
                Some((Invariant::I6, format!("was acknowledged to {} and is unknown now", entry.unique_key)))
            }
            (None, _) => None,
        };
        findings.extend(problem.map(|(invariant, text)| (invariant, format!("{run}/{number} {text}"))));
    }
    if !after.is_consistent() {
        findings.push((Invariant::I4, format!("results of {run} disagree with themselves: {after:?}")));
    }
    let sum = sum_of_tasks(entries, &views);
    if sum != Some(after) {
        findings.push((Invariant::I4, format!("results of {run} are {after:?}, its tasks sum to {sum:?}")));
    }
    Ok((findings, before == after))
}

/// The numbers to look at: the uncertain, the gaps, and an even sample of the rest.
fn wanted(entries: &BTreeMap<u32, TaskEntry>, depth: AuditDepth) -> BTreeSet<u32> {
    let Some(last) = entries.keys().next_back() else {
        return BTreeSet::new();
    };
    let AuditDepth::Sample(size) = depth else {
        return (0..=*last).collect();
    };
    let certain = |number: &u32| entries.get(number).is_some_and(TaskEntry::is_certain);
    let mut numbers: BTreeSet<u32> = (0..=*last).filter(|number| !certain(number)).collect();
    let rest: Vec<u32> = (0..=*last).filter(certain).collect();
    if size > 0 {
        numbers.extend(rest.iter().step_by(rest.len().div_ceil(size).max(1)));
    }
    numbers
}

async fn fetch(
    client: &Client,
    run: &str,
    numbers: BTreeSet<u32>,
) -> Result<BTreeMap<u32, Option<TaskView>>, Trouble> {
    let mut answers = futures::stream::iter(numbers)
        .map(|number| async move { (number, client.get_task(run, number).await) })
        .buffer_unordered(PARALLEL);
    let mut views = BTreeMap::new();
    while let Some((number, answer)) = answers.next().await {
        views.insert(number, answer?);
    }
    Ok(views)
}

/// The sum that the results must equal: the server's own numbers where we looked, the acknowledged ones elsewhere.
fn sum_of_tasks(
    entries: &BTreeMap<u32, TaskEntry>,
    views: &BTreeMap<u32, Option<TaskView>>,
) -> Option<Stats> {
    let mut sum = Stats::default();
    for view in views.values().flatten().filter(|view| !view.bad) {
        sum = sum.plus(&view.stats.unwrap_or_default())?;
    }
    for (_, entry) in entries.iter().filter(|(number, _)| !views.contains_key(number)) {
        sum = sum.plus(&entry.acknowledged)?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::protocol::AssignedTask;

    #[test]
    fn a_sample_always_holds_the_gaps_and_the_uncertain() {
        let ledger = Ledger::default();
        let run = RunId::parse("6b00ebd451c6c0a12e72bc58").unwrap();
        for number in (0..100).filter(|n| *n != 41) {
            let task = AssignedTask { num_games: 10, start: u64::from(number) * 10, stats: None };
            ledger.assigned(run, number, &task, "key", "user");
        }
        let sent = Stats { draws: 2, pentanomial: [0, 0, 1, 0, 0], ..Stats::default() };
        ledger.sent(run, 77, &sent);
        let entries = ledger.tasks(run);
        let numbers = wanted(&entries, AuditDepth::Sample(10));
        assert!(numbers.contains(&41) && numbers.contains(&77));
        assert!((10..=14).contains(&numbers.len()), "{numbers:?}");
        assert_eq!(wanted(&entries, AuditDepth::Sample(0)), BTreeSet::from([41, 77]));
        assert_eq!(wanted(&entries, AuditDepth::All).len(), 100);
    }
}

//! The thorough way: field by field, with a message that names the first violation
//! (`spec/worker-api.md` sections 2.1 to 2.6).

use super::BadRequest;
use super::fields::{Fields, Node};
use super::request::{SpsaResult, WorkerRequest};
use super::worker_info::{WorkerInfo, is_compiler, is_nps, is_worker_arch};
use crate::domain::ids::RunId;
use crate::domain::names::{LegacyUsernames, is_unique_key};
use crate::domain::results::Stats;

const REQUEST_KEYS: &[&str] =
    &["password", "worker_info", "run_id", "task_id", "pgn", "message", "stats", "spsa"];

const WORKER_INFO_KEYS: &[&str] = &[
    "uname",
    "architecture",
    "concurrency",
    "max_memory",
    "min_threads",
    "username",
    "version",
    "python_version",
    "gcc_version",
    "compiler",
    "unique_key",
    "modified",
    "worker_arch",
    "ARCH",
    "nps",
    "near_github_api_limit",
];

const STATS_KEYS: &[&str] = &["wins", "losses", "draws", "crashes", "time_losses", "pentanomial"];
const SPSA_KEYS: &[&str] = &["wins", "losses", "draws", "num_games", "sig"];

/// The access schema: password and username.
pub(super) fn access(root: &Node<'_>, legacy: &LegacyUsernames) -> Result<(String, String), BadRequest> {
    let top = root.object(&["password", "worker_info"], false)?;
    let password = top.required("password")?.secret().string()?;
    let info = top.required("worker_info")?.object(&["username"], false)?;
    Ok((password, username(&info, legacy)?))
}

/// The full schema.
pub(super) fn request(root: &Node<'_>, legacy: &LegacyUsernames) -> Result<WorkerRequest, BadRequest> {
    let top = root.object(REQUEST_KEYS, true)?;
    let request = WorkerRequest {
        password: top.required("password")?.secret().string()?,
        worker_info: worker_info(&top.required("worker_info")?, legacy)?,
        run_id: top.optional("run_id").map(|node| run_id(&node)).transpose()?,
        task_id: top.optional("task_id").map(|node| node.count()).transpose()?,
        pgn: top.optional("pgn").map(|node| node.string()).transpose()?,
        message: top.optional("message").map(|node| node.string()).transpose()?,
        stats: top.optional("stats").map(|node| stats(&node)).transpose()?,
        spsa: top.optional("spsa").map(|node| spsa(&node)).transpose()?,
    };
    if request.task_id.is_some() {
        top.required("run_id")?;
    }
    Ok(request)
}

fn run_id(node: &Node<'_>) -> Result<RunId, BadRequest> {
    RunId::parse(&node.string()?).ok_or_else(|| node.violation("is not a run id (24 hex digits)"))
}

fn username(info: &Fields<'_>, legacy: &LegacyUsernames) -> Result<String, BadRequest> {
    matching(&info.required("username")?, |name| legacy.allows(name), "is not a valid username")
}

/// A string for which `rule` holds.
fn matching(node: &Node<'_>, rule: impl Fn(&str) -> bool, complaint: &str) -> Result<String, BadRequest> {
    let text = node.string()?;
    if rule(&text) { Ok(text) } else { Err(node.violation(complaint)) }
}

fn worker_info(node: &Node<'_>, legacy: &LegacyUsernames) -> Result<WorkerInfo, BadRequest> {
    let info = node.object(WORKER_INFO_KEYS, true)?;
    let architecture: [Node<'_>; 2] = info.required("architecture")?.array()?;
    let [bits, format] = &architecture;
    Ok(WorkerInfo {
        uname: info.required("uname")?.string()?,
        architecture: [bits.string()?, format.string()?],
        concurrency: info.required("concurrency")?.positive()?,
        max_memory: info.required("max_memory")?.count()?,
        min_threads: info.required("min_threads")?.positive()?,
        username: username(&info, legacy)?,
        version: info.required("version")?.count()?,
        python_version: counts(&info.required("python_version")?)?,
        gcc_version: counts(&info.required("gcc_version")?)?,
        compiler: matching(&info.required("compiler")?, is_compiler, "is neither 'clang++' nor 'g++'")?,
        unique_key: matching(&info.required("unique_key")?, is_unique_key, "is not a valid unique key")?,
        modified: info.required("modified")?.boolean()?,
        worker_arch: matching(
            &info.required("worker_arch")?,
            is_worker_arch,
            "is not a supported architecture",
        )?,
        arch: info.required("ARCH")?.string()?,
        nps: nps(&info.required("nps")?)?,
        near_github_api_limit: info.required("near_github_api_limit")?.boolean()?,
    })
}

fn nps(node: &Node<'_>) -> Result<serde_json::Number, BadRequest> {
    let number = node.number()?;
    if is_nps(&number) {
        return Ok(number);
    }
    let complaint =
        if number.is_u64() { "does not fit 64 bits" } else { "is not greater than or equal to 0" };
    Err(node.violation(complaint))
}

/// Exactly `N` counts.
fn counts<const N: usize>(node: &Node<'_>) -> Result<[u64; N], BadRequest> {
    let nodes: [Node<'_>; N] = node.array()?;
    let mut values = [0; N];
    for (value, node) in values.iter_mut().zip(&nodes) {
        *value = node.count()?;
    }
    Ok(values)
}

fn stats(node: &Node<'_>) -> Result<Stats, BadRequest> {
    let fields = node.object(STATS_KEYS, true)?;
    let stats = Stats {
        wins: fields.required("wins")?.count()?,
        losses: fields.required("losses")?.count()?,
        draws: fields.required("draws")?.count()?,
        crashes: fields.required("crashes")?.count()?,
        time_losses: fields.required("time_losses")?.count()?,
        pentanomial: counts(&fields.required("pentanomial")?)?,
    };
    if stats.is_consistent() {
        return Ok(stats);
    }
    Err(node.violation("has a 'pentanomial' that contradicts 'wins', 'losses' and 'draws'"))
}

fn spsa(node: &Node<'_>) -> Result<SpsaResult, BadRequest> {
    let fields = node.object(SPSA_KEYS, true)?;
    let num_games = fields.required("num_games")?;
    let spsa = SpsaResult {
        wins: fields.required("wins")?.count()?,
        losses: fields.required("losses")?.count()?,
        draws: fields.required("draws")?.count()?,
        num_games: num_games.count()?,
        sig: fields.required("sig")?.count()?,
    };
    if !spsa.num_games.is_multiple_of(2) {
        return Err(num_games.violation("is not even"));
    }
    if !spsa.is_consistent() {
        return Err(node.violation("has a 'num_games' that is not the sum of 'wins', 'losses' and 'draws'"));
    }
    Ok(spsa)
}

//! Scripts tried out with a fault at each of their calls, on the keys that they are about to change, and what came of it.
//!
//! A script sees the server through `redis.call`: a few lines before its text count the calls, write them down, or raise an
//! error in place of one. What it changed in a trial is put back, and only then it is really called.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Value};
use shoal::state::SchedulingState;
use shoal::state::redis::{RedisSettings, RedisState, RedisUrl};

use super::picture::Picture;

/// Scripts that are a row of steps, each of which is whole: they read between two steps. Where one ends early, the tables agree
/// with one another (that is checked by the audits), the caller hears of the error, and the next call goes on.
const STEPS: [(&str, &str); 2] = [
    ("ack_dirty", "each acknowledgement is a step; one is repeated, or comes with a later version"),
    ("close_slice", "each task's closing is a step; the saga repeats its slices until none is left"),
];

/// The same two calls in a row are tried so often, with what there is at the moment.
const TRIES: u32 = 3;

/// Which call is to fail for whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fails {
    First,
    FirstWrite,
}

/// Which of a script's keys, from 1; a field of that hash; what it is to hold.
pub type Change = (usize, &'static str, &'static str);

/// A call of a script: the command, and which table it is about.
type Call = (String, String);

/// What the server says of a command.
#[derive(Debug, Clone)]
struct Command {
    writes: bool,
    /// `hash`, `list` and so on; None if it takes keys of any kind, or none.
    kind: Option<String>,
}

pub struct Trial {
    server: MultiplexedConnection,
    url: String,
    /// By digest: name and text.
    scripts: HashMap<Vec<u8>, (String, String)>,
    commands: HashMap<String, Command>,
    tried: HashMap<(String, Option<Call>, Option<Call>), u32>,
    raise: Option<(String, Fails)>,
    /// A script that is to find something else in a field, for which key of its, and what it was.
    change: Option<(String, Change)>,
    undo: Option<redis::Cmd>,
    /// Whether scripts are tried at all.
    tries: bool,
    auditor: Option<(String, Arc<RedisState>)>,
    findings: Findings,
}

/// What was seen.
#[derive(Debug, Default)]
struct Findings {
    names: BTreeSet<String>,
    /// Errors that were raised in trials.
    faults: u64,
    /// What a script read after it had written.
    late: BTreeMap<String, BTreeSet<String>>,
    /// What must not be.
    wrong: BTreeSet<String>,
    /// Kinds of each table, and the commands that write it.
    kinds: BTreeMap<String, BTreeSet<String>>,
    writers: BTreeMap<String, BTreeSet<String>>,
}

impl Trial {
    pub async fn new(url: &str, tries: bool) -> Self {
        let client = redis::Client::open(url).unwrap();
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(30)));
        Self {
            server: client.get_multiplexed_async_connection_with_config(&config).await.unwrap(),
            url: url.to_owned(),
            scripts: HashMap::new(),
            commands: HashMap::new(),
            tried: HashMap::new(),
            raise: None,
            change: None,
            undo: None,
            tries,
            auditor: None,
            findings: Findings::default(),
        }
    }

    /// The next call of that script fails for whoever asks.
    pub fn raise(&mut self, name: &str, fails: Fails) {
        self.raise = Some((name.to_owned(), fails));
    }

    /// When that script is met next, it alone finds something else.
    pub fn change(&mut self, name: &str, change: Change) {
        self.change = Some((name.to_owned(), change));
    }

    /// Whether nothing is left to be changed.
    pub fn has_changed(&self) -> bool {
        self.change.is_none()
    }

    /// The script has had its answer.
    pub async fn settle(&mut self) {
        if let Some(undo) = self.undo.take() {
            undo.query_async::<()>(&mut self.server).await.unwrap();
        }
    }

    /// Whether nothing is left to be raised.
    pub fn has_raised(&self) -> bool {
        self.raise.is_none()
    }

    pub fn names(&self) -> &BTreeSet<String> {
        &self.findings.names
    }

    /// Looks at a command on its way. What is to be sent in its place, if anything.
    pub async fn meet(&mut self, words: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
        let is = |place: usize, word: &[u8]| words.get(place).is_some_and(|w| w.eq_ignore_ascii_case(word));
        if is(0, b"SCRIPT") && is(1, b"LOAD") {
            let text = String::from_utf8(words[2].clone()).unwrap();
            let digest = redis::Script::new(&text).get_hash().as_bytes().to_vec();
            self.scripts.insert(digest, (name_of(&text), text));
        }
        if !is(0, b"EVALSHA") {
            return None;
        }
        let (name, text) = self.scripts.get(&words[1]).expect("it was loaded on this way").clone();
        if let Some((_, (key, field, value))) = self.change.take_if(|(wanted, _)| *wanted == name) {
            // The keys begin behind their number.
            let key = &words[2 + key][..];
            let was: Vec<u8> = redis::Cmd::hget(key, field).query_async(&mut self.server).await.unwrap();
            redis::Cmd::hset(key, field, value).query_async::<()>(&mut self.server).await.unwrap();
            self.undo = Some(redis::Cmd::hset(key, field, was));
        }
        if !self.tries {
            return None;
        }
        self.findings.names.insert(name.clone());
        let generation = String::from_utf8(words[3].clone()).unwrap();
        let prefix = generation.strip_suffix("generation").expect("the first key").to_owned();
        let rest = &words[2..];
        let calls = self.try_out(&name, &text, rest, &prefix).await;
        let (wanted, fails) = self.raise.take()?;
        if wanted != name {
            self.raise = Some((wanted, fails));
            return None;
        }
        let first_write = calls.iter().position(|(command, _)| self.commands[command].writes);
        let fault = match fails {
            Fails::First => 1,
            Fails::FirstWrite => first_write.unwrap_or_else(|| panic!("{name} writes nothing")) + 1,
        };
        let other = [b"EVAL".to_vec(), failing(&text, fault).into_bytes()];
        Some(other.into_iter().chain(rest.iter().cloned()).collect())
    }

    /// With an error in place of each call in turn. Everything is as it was afterwards.
    async fn try_out(&mut self, name: &str, text: &str, rest: &[Vec<u8>], prefix: &str) -> Vec<Call> {
        let before = Picture::take(&mut self.server, prefix).await;
        let (outcome, calls): (String, Vec<(String, String)>) =
            self.eval(&recording(text), rest).await.expect("what is recorded is answered");
        assert_eq!(outcome, "well", "{name} fails by itself after {calls:?}");
        let calls: Vec<Call> =
            calls.into_iter().map(|(command, key)| (command, table_of(&key, prefix))).collect();
        for (command, table) in &calls {
            self.look_up(command).await;
            self.note(command, table);
        }
        let writes: Vec<bool> = calls.iter().map(|(command, _)| self.commands[command].writes).collect();
        let first_write = writes.iter().position(|writes| *writes).unwrap_or(calls.len());
        if first_write < calls.len() {
            let now = Picture::take(&mut self.server, prefix).await;
            self.put_back(&before, &now, prefix).await;
        }
        for at in (first_write..calls.len()).filter(|at| !writes[*at]) {
            let ((command, table), (first, _)) = (&calls[at], &calls[first_write]);
            let late = format!("{command} {table} after {first}");
            self.findings.late.entry(name.to_owned()).or_default().insert(late);
        }
        if !self.is_news(name, &calls) {
            return calls;
        }
        for (at, call) in calls.iter().enumerate() {
            let fault = self.eval::<Value>(&failing(text, at + 1), rest).await;
            self.findings.faults += 1;
            let told = fault.as_ref().err().map(ToString::to_string).unwrap_or_default();
            if !told.contains("FAULT") {
                let what = format!("{name}: an error at {call:?} is not the script's: {fault:?}");
                self.findings.wrong.insert(what);
            }
            let now = Picture::take(&mut self.server, prefix).await;
            let changed = before.changes(&now);
            if at <= first_write && !changed.is_empty() {
                let what = format!("{name}: an error at {call:?} leaves changes in {changed:?}");
                self.findings.wrong.insert(what);
            }
            let late = at > first_write && !writes[at];
            if late && STEPS.iter().any(|(there, _)| *there == name) {
                self.audit(name, prefix).await;
            }
            if !changed.is_empty() {
                self.put_back(&before, &now, prefix).await;
            }
        }
        calls
    }

    /// Whether two calls in a row are there that weren't tried often enough.
    fn is_news(&mut self, name: &str, calls: &[Call]) -> bool {
        let mut news = false;
        for at in 0..=calls.len() {
            let before = at.checked_sub(1).map(|before| calls[before].clone());
            let pair = (name.to_owned(), before, calls.get(at).cloned());
            let tried = self.tried.entry(pair).or_default();
            news |= *tried < TRIES;
            *tried += 1;
        }
        news
    }

    async fn put_back(&mut self, before: &Picture, now: &Picture, prefix: &str) {
        before.put_back(&mut self.server, now).await;
        let now = Picture::take(&mut self.server, prefix).await;
        assert_eq!(before.changes(&now), [""; 0], "put back");
    }

    async fn eval<T: FromRedisValue>(&mut self, text: &str, rest: &[Vec<u8>]) -> redis::RedisResult<T> {
        let mut command = redis::cmd("EVAL");
        command.arg(text);
        for word in rest {
            command.arg(&word[..]);
        }
        command.query_async(&mut self.server).await
    }

    /// What the server says of a command.
    async fn look_up(&mut self, command: &str) {
        if self.commands.contains_key(command) {
            return;
        }
        let told: Vec<Vec<Value>> =
            redis::cmd("COMMAND").arg("INFO").arg(command).query_async(&mut self.server).await.unwrap();
        let list = |place: usize| Vec::<String>::from_redis_value_ref(&told[0][place]).unwrap();
        let kinds = ["hash", "list", "string", "sortedset", "set"];
        let kind = kinds.into_iter().find(|kind| list(6).contains(&format!("@{kind}")));
        let writes = list(2).iter().any(|flag| flag == "write");
        self.commands.insert(command.to_owned(), Command { writes, kind: kind.map(str::to_owned) });
    }

    fn note(&mut self, command: &str, table: &str) {
        let about = &self.commands[command];
        if let Some(kind) = &about.kind {
            self.findings.kinds.entry(table.to_owned()).or_default().insert(kind.clone());
            if about.writes {
                self.findings.writers.entry(table.to_owned()).or_default().insert(command.to_owned());
            }
        }
    }

    /// Whether the tables of a farm agree with one another.
    async fn audit(&mut self, name: &str, prefix: &str) {
        let farm = prefix.trim_start_matches('{').split('}').next().unwrap().to_owned();
        if self.auditor.as_ref().is_none_or(|(there, _)| *there != farm) {
            let settings = RedisSettings {
                url: RedisUrl::new(&self.url).unwrap(),
                prefix: farm.clone(),
                deadline: Duration::from_secs(30),
                pool: 1,
            };
            self.auditor = Some((farm, RedisState::connect(&settings).await.unwrap()));
        }
        let (_, state) = self.auditor.as_ref().unwrap();
        let mut wrong = state.audit_structures().await.unwrap();
        for run in state.read_runs().await.unwrap() {
            wrong.extend(state.audit(run.id).await.unwrap());
        }
        let told = wrong.into_iter().map(|what| format!("{name}, ended between two steps: {what}"));
        self.findings.wrong.extend(told);
    }

    /// The judgement over all that was tried.
    pub fn judge(&self) {
        let findings = &self.findings;
        let excused = |name: &str| STEPS.iter().any(|(there, _)| *there == name);
        let late: Vec<_> = findings.late.iter().filter(|(name, _)| !excused(name)).collect();
        assert!(late.is_empty(), "what is read after the first write can fail there: {late:#?}");
        assert!(findings.wrong.is_empty(), "{:#?}", findings.wrong);
        for (table, kinds) in &findings.kinds {
            // No write fails for what a key is, if nobody ever makes it anything else.
            assert_eq!(kinds.len(), 1, "{table} is used as {kinds:?}");
            let writers = &findings.writers.get(table).cloned().unwrap_or_default();
            let counts = |command: &str| writers.contains(command);
            // Nor does adding to a number, if nobody writes anything else there.
            if counts("HINCRBY") {
                assert!(!counts("HSET") && !counts("HSETNX"), "{table}: {writers:?}");
            }
            if counts("INCR") {
                // It begins at the server's time, which the same script writes.
                assert_eq!(table, "lease:counter", "{writers:?}");
            }
        }
        assert!(findings.faults > 100, "{findings:?}");
    }

    /// Each exception is one.
    pub fn judge_exceptions(&self) {
        for (name, why) in STEPS.iter() {
            assert!(self.findings.late.contains_key(*name), "{name} keeps the rule by now (was: {why})");
        }
    }
}

/// The names of all scripts.
pub fn all_scripts() -> BTreeSet<String> {
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("lua")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| Some(name.strip_suffix(".lua")?.to_owned())).collect()
}

/// A script's text begins with what stands in its file above the first parts that it asks for.
fn name_of(text: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua");
    let begins = |name: &String| {
        let file = std::fs::read_to_string(folder.join(format!("{name}.lua"))).unwrap();
        text.starts_with(file.split("--@ ").next().unwrap())
    };
    all_scripts().into_iter().find(begins).expect("a file of lua/")
}

/// A key without the farm, the generation and the run.
fn table_of(key: &str, prefix: &str) -> String {
    let Some(name) = key.strip_prefix(prefix) else { return String::new() };
    let mut parts: Vec<&str> = name.split(':').collect();
    if parts[0].parse::<u64>().is_ok() {
        parts.remove(0);
    }
    if matches!(parts[0], "run" | "pending" | "tasks" | "live" | "rate") {
        parts[0].to_owned()
    } else {
        parts.join(":")
    }
}

/// The text with another `redis` before it, which does something first at each call.
fn watched(text: &str, first: &str) -> String {
    format!(
        "local redis = (function(server)
  local calls = 0
  local function counted(how)
    return function(...)
      calls = calls + 1
      {first}
      return server[how](...)
    end
  end
  return {{ call = counted('call'), pcall = counted('pcall') }}
end)(redis)
{text}"
    )
}

/// An error in place of a call.
fn failing(text: &str, call: usize) -> String {
    watched(text, &format!("if calls == {call} then error('FAULT') end"))
}

/// Answers with what was called: commands, and the keys they were about.
fn recording(text: &str) -> String {
    let first =
        "local command, key = ...\n      record[calls] = { string.upper(command), tostring(key or '') }";
    let body = watched(text, first);
    format!(
        "local record = {{}}
local function script()
{body}
end
local well, answer = pcall(script)
if not well then
  answer = type(answer) == 'table' and answer.err or tostring(answer)
end
return {{ well and 'well' or answer, record }}"
    )
}

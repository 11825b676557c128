//! Names that the protocol and the action log derive from other data, and the patterns that names must match
//! (`spec/worker-api.md` sections 2.3, 4 and 5.2; `spec/scheduling.md` section 14).

use std::collections::HashSet;
use std::sync::LazyLock;

use md5::{Digest, Md5};
use regex::Regex;

use crate::domain::ids::{RunId, ShortWorkerName};

/// Account name under which the server itself writes to the action log.
pub const SYSTEM_USER: &str = "fishtest.system";

/// How many characters of `new_tag` a run name keeps.
const RUN_NAME_TAG_CHARS: usize = 23;

/// Column at which the message of a blocked worker is wrapped.
const WRAP_WIDTH: usize = 70;

/// Old account names that do not match today's pattern but stay valid (key `legacy_usernames` of the key-value
/// collection).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegacyUsernames(HashSet<String>);

impl LegacyUsernames {
    /// Whether `name` may be an account name: two or more ASCII letters and digits, or a listed old name.
    pub fn allows(&self, name: &str) -> bool {
        is_username(name) || self.0.contains(name)
    }
}

impl<S: Into<String>> FromIterator<S> for LegacyUsernames {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }
}

/// Full match of `[A-Za-z0-9]{2,}`.
pub fn is_username(name: &str) -> bool {
    name.len() >= 2 && name.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Full match of `[0-9a-zA-Z]{2,8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}`.
pub fn is_unique_key(key: &str) -> bool {
    let mut parts = key.split('-');
    let first_is_good = parts
        .next()
        .is_some_and(|p| (2..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric()));
    let lower_hex = |p: &str, len: usize| {
        p.len() == len && p.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    first_is_good
        && [4, 4, 4, 12].iter().all(|len| parts.next().is_some_and(|p| lower_hex(p, *len)))
        && parts.next().is_none()
}

static SHORT_WORKER: LazyLock<Regex> = LazyLock::new(|| pattern(r"^.*-[0-9]+cores-[a-zA-Z0-9]{2,8}$"));
static LONG_WORKER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^.*-[0-9]+cores-[a-zA-Z0-9]{2,8}-[a-f0-9]{4}\*?$"));
static RUN_NAME: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)^.*-[a-f0-9]{7}$"));
static NET_NAME: LazyLock<Regex> = LazyLock::new(|| pattern(r"^nn-[a-f0-9]{12}\.nnue$"));

/// Compiles one of the constants above.
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern compiles")
}

/// Whether `name` has the form of a stored short worker name.
pub fn is_short_worker_name(name: &str) -> bool {
    SHORT_WORKER.is_match(name)
}

/// Whether `name` has the form of a stored long worker name.
pub fn is_long_worker_name(name: &str) -> bool {
    LONG_WORKER.is_match(name)
}

/// Whether `name` has the form of a run name.
pub fn is_run_name(name: &str) -> bool {
    RUN_NAME.is_match(name)
}

/// Whether `name` is the name of a neural network file.
pub fn is_net_name(name: &str) -> bool {
    NET_NAME.is_match(name)
}

/// `{username}-{concurrency}cores-{first part of the key}`; what follows `cores` is left out for an empty key.
pub fn short_worker_name(username: &str, concurrency: u64, unique_key: &str) -> ShortWorkerName {
    let first = unique_key.split('-').next().unwrap_or_default();
    if first.is_empty() {
        return ShortWorkerName(format!("{username}-{concurrency}cores"));
    }
    ShortWorkerName(format!("{username}-{concurrency}cores-{first}"))
}

/// The short name, the second part of the key, and `*` for a modified worker: what people see.
pub fn long_worker_name(username: &str, concurrency: u64, unique_key: &str, modified: bool) -> String {
    let mut name = short_worker_name(username, concurrency, unique_key).0;
    if let Some(second) = unique_key.split('-').nth(1) {
        name.push('-');
        name.push_str(second);
    }
    if modified {
        name.push('*');
    }
    name
}

/// First 23 characters of `new_tag`, a dash, and the first 7 hex digits of the MD5 of the run id's text.
pub fn run_name(run_id: RunId, new_tag: &str) -> String {
    let digest = Md5::digest(run_id.to_string().as_bytes());
    let hex: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let tag: String = new_tag.chars().take(RUN_NAME_TAG_CHARS).collect();
    format!("{tag}-{}", &hex[..7])
}

/// What a blocked worker is told, as the `error` of `request_task`.
pub fn blocked_worker_text(host_url: &str, worker: &ShortWorkerName, message: &str) -> String {
    let stars = "*".repeat(WRAP_WIDTH);
    let wrapped = wrap(&format!("Message: {message}"), WRAP_WIDTH).join("\n");
    let lines = [
        "",
        "",
        &stars,
        "Request_task: This worker has been blocked!",
        &wrapped,
        "You may possibly find more information at",
        &format!("{host_url}/actions?text=%22{worker}%22."),
        "If you require help, feel free to contact the #fishtest-dev channel on",
        "the Stockfish Discord server: https://discord.com/invite/awnh2qZfTT.",
        "After fixing the issues you can unblock the worker at",
        &format!("{host_url}/workers/{worker}."),
        &stars,
        "",
    ];
    lines.join("\n")
}

/// Fills lines greedily up to `width` characters: breaks at blanks and after hyphens inside words, cuts what is
/// longer than a line, drops blanks at line ends. Every whitespace character counts as a blank.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut pending = chunks(text);
    pending.reverse();
    let mut lines: Vec<String> = Vec::new();
    while !pending.is_empty() {
        if !lines.is_empty() && pending.last().is_some_and(|chunk| is_blank(chunk)) {
            pending.pop();
        }
        let mut line: Vec<Vec<char>> = Vec::new();
        let mut used = 0;
        while let Some(chunk) = pending.pop() {
            if used + chunk.len() <= width {
                used += chunk.len();
                line.push(chunk);
                continue;
            }
            if chunk.len() > width {
                let (head, tail) = cut(&chunk, width - used);
                line.push(head);
                pending.push(tail);
            } else {
                pending.push(chunk);
            }
            break;
        }
        if line.last().is_some_and(|chunk| is_blank(chunk)) {
            line.pop();
        }
        if !line.is_empty() {
            lines.push(line.into_iter().flatten().collect());
        }
    }
    lines
}

/// Splits a word longer than a line, preferably behind its last hyphen that fits.
fn cut(word: &[char], space: usize) -> (Vec<char>, Vec<char>) {
    let hyphen = word.iter().take(space).rposition(|c| *c == '-');
    let end = match hyphen {
        Some(at) if word.iter().take(at).any(|c| *c != '-') => at + 1,
        _ => space,
    };
    let (head, tail) = word.split_at(end.min(word.len()));
    (head.to_vec(), tail.to_vec())
}

/// Runs of blanks, and words broken after inner hyphens.
fn chunks(text: &str) -> Vec<Vec<char>> {
    let chars: Vec<char> = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let mut chunks: Vec<Vec<char>> = Vec::new();
    let mut current: Vec<char> = Vec::new();
    for (i, c) in chars.iter().enumerate() {
        let changes_kind = current.last().is_some_and(|last| (*last == ' ') != (*c == ' '));
        let follows_hyphen = i >= 2
            && chars.get(i - 1) == Some(&'-')
            && chars.get(i - 2).is_some_and(|before| before.is_alphanumeric())
            && c.is_alphabetic();
        if changes_kind || follows_hyphen {
            chunks.push(std::mem::take(&mut current));
        }
        current.push(*c);
    }
    if !current.is_empty() {
        chunks.push(current);
    }
    chunks
}

fn is_blank(chunk: &[char]) -> bool {
    chunk.iter().all(|c| *c == ' ')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn worker_names_match_the_specification_table() {
        let key = "amaya-5a28-4b7d-b27b-d78d97ecf11a";
        assert_eq!(short_worker_name("TestWorkerUser", 7, key).0, "TestWorkerUser-7cores-amaya");
        assert_eq!(long_worker_name("TestWorkerUser", 7, key, true), "TestWorkerUser-7cores-amaya-5a28*");
        assert_eq!(long_worker_name("TestWorkerUser", 7, key, false), "TestWorkerUser-7cores-amaya-5a28");
        let key = "1a2b3c4d-0000-4b7d-b27b-d78d97ecf11a";
        assert_eq!(short_worker_name("ab", 128, key).0, "ab-128cores-1a2b3c4d");
        assert_eq!(long_worker_name("ab", 128, key, false), "ab-128cores-1a2b3c4d-0000");
        assert_eq!(long_worker_name("ab", 1, "", false), "ab-1cores");
        assert_eq!(long_worker_name("ab", 1, "xy", true), "ab-1cores-xy*");
    }

    #[test]
    fn derived_names_match_the_stored_name_patterns() {
        assert!(is_short_worker_name("ab-128cores-1a2b3c4d"));
        assert!(!is_short_worker_name("ab-128cores-1a2b3c4d-0000"));
        assert!(!is_short_worker_name("ab-cores-1a2b3c4d"));
        assert!(!is_short_worker_name("ab-1cores-1a2b3c4d\n"));
        assert!(is_long_worker_name("ab-128cores-1a2b3c4d-0000*"));
        assert!(is_long_worker_name("ab-128cores-1a2b3c4d-0000"));
        assert!(!is_long_worker_name("ab-128cores-1a2b3c4d-000"));
        assert!(!is_long_worker_name("ab-128cores-1a2b3c4d-0000**"));
        assert!(is_net_name("nn-0123456789ab.nnue"));
        assert!(!is_net_name("nn-0123456789ab-nnue"));
        assert!(!is_net_name("nn-0123456789AB.nnue"));
    }

    #[test]
    fn run_names_match_the_specification_examples() {
        let id = RunId::parse("64e74776a170cb1f26fa3930").unwrap();
        assert_eq!(run_name(id, "master"), "master-2a5e880");
        assert_eq!(run_name(id, "a_very_long_branch_name_over_23_chars"), "a_very_long_branch_name-2a5e880");
        let zero = RunId::parse("000000000000000000000000").unwrap();
        assert_eq!(run_name(zero, "x"), "x-660719b");
        assert!(is_run_name("x-660719b"));
        assert!(!is_run_name("x-660719"));
    }

    #[test]
    fn usernames_are_ascii_letters_and_digits_or_listed() {
        let legacy: LegacyUsernames = ["old name!"].into_iter().collect();
        for (name, good) in [
            ("ab", true),
            ("A1", true),
            ("a", false),
            ("", false),
            ("a b", false),
            ("ab\n", false),
            ("äb", false),
        ] {
            assert_eq!(is_username(name), good, "{name:?}");
            assert_eq!(legacy.allows(name), good, "{name:?}");
        }
        assert!(legacy.allows("old name!"));
    }

    #[test]
    fn unique_keys_match_their_pattern_over_the_whole_string() {
        assert!(is_unique_key("amaya-5a28-4b7d-b27b-d78d97ecf11a"));
        assert!(is_unique_key("1A2b3c4d-0000-4b7d-b27b-d78d97ecf11a"));
        for bad in [
            "",
            "a-5a28-4b7d-b27b-d78d97ecf11a",
            "abcdefghi-5a28-4b7d-b27b-d78d97ecf11a",
            "amaya-5A28-4b7d-b27b-d78d97ecf11a",
            "amaya-5a28-4b7d-b27b-d78d97ecf11",
            "amaya-5a28-4b7d-b27b-d78d97ecf11a\n",
            "amaya-5a28-4b7d-b27b-d78d97ecf11a-",
            "amaya-5a28-4b7d-d78d97ecf11a",
        ] {
            assert!(!is_unique_key(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_blocked_worker_reads_where_to_get_help() {
        let worker = ShortWorkerName("ab-1cores-xy".into());
        let text = blocked_worker_text("https://farm.example", &worker, "many\ncrashes");
        let stars = "*".repeat(70);
        let expected = format!(
            "\n\n{stars}\nRequest_task: This worker has been blocked!\nMessage: many crashes\n\
             You may possibly find more information at\n\
             https://farm.example/actions?text=%22ab-1cores-xy%22.\n\
             If you require help, feel free to contact the #fishtest-dev channel on\n\
             the Stockfish Discord server: https://discord.com/invite/awnh2qZfTT.\n\
             After fixing the issues you can unblock the worker at\n\
             https://farm.example/workers/ab-1cores-xy.\n{stars}\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn wrapping_is_greedy_and_breaks_after_hyphens() {
        assert_eq!(wrap("aaa bbb ccc", 7), ["aaa bbb", "ccc"]);
        assert_eq!(wrap("aaa   bbb", 5), ["aaa", "bbb"]);
        assert_eq!(wrap("well-known thing", 7), ["well-", "known", "thing"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("x abcdefgh", 4), ["x ab", "cdef", "gh"]);
        assert_eq!(wrap("--option", 4), ["--op", "tion"]);
        assert_eq!(wrap("   ", 4), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn wrapped_lines_fit_and_lose_nothing_but_blanks(text in "\\PC{0,300}") {
            let lines = wrap(&text, 20);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= 20));
            let squeeze = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(squeeze(&lines.concat()), squeeze(&text));
        }

        #[test]
        fn name_checks_never_panic(text in any::<String>()) {
            let _ = (is_username(&text), is_unique_key(&text), is_short_worker_name(&text));
            let _ = (is_long_worker_name(&text), is_net_name(&text), long_worker_name(&text, 1, &text, true));
        }
    }
}

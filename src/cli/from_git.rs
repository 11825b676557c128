//! What GitHub would tell about two commits, read from a local clone (`spec/run-management.md` sections 4.2 and 5.2).

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::CliError;

/// The last line of a commit message that has a bench tells it.
#[allow(clippy::expect_used, reason = "a constant pattern")]
static BENCH: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^|\s)[Bb]ench[ :]+([1-9][0-9]{5,7})(?:[^0-9]|$)").expect("a valid pattern")
});

#[allow(clippy::expect_used, reason = "a constant pattern")]
static NET: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"nn-[a-f0-9]{12}\.nnue").expect("a valid pattern"));

/// Fills in commits, messages, signatures, nets and description for `new_tag` and `base_tag`; what is there stays.
pub fn fill(clone: &Path, form: &mut Map<String, Value>) -> Result<(), CliError> {
    for side in ["new", "base"] {
        let tag_key = format!("{side}_tag");
        let tag = form.get(&tag_key).and_then(Value::as_str).map(str::to_owned);
        let tag = tag.ok_or_else(|| CliError::failed(format!("{tag_key}: --from-git needs it")))?;
        let commit = git(clone, &["rev-parse", "--verify", "--quiet", &format!("{tag}^{{commit}}")])
            .map_err(|_| CliError::failed(format!("{tag_key}: there is no {tag} in {}", clone.display())))?;
        let commit = commit.trim().to_owned();
        let message = git(clone, &["log", "-1", "--format=%B", &commit])?;
        let mut put = |key: String, value: Value| {
            form.entry(key).or_insert(value);
        };
        put(format!("msg_{side}"), message.lines().next().unwrap_or_default().into());
        if let Some(bench) = bench_of(&message) {
            put(format!("{side}_signature"), bench.into());
        }
        put(format!("{side}_nets"), nets_of(clone, &commit).into());
        if side == "new" {
            put("info".to_owned(), description_of(&message).into());
        }
        put(format!("resolved_{side}"), commit.into());
    }
    if let Ok(origin) = git(clone, &["remote", "get-url", "origin"])
        && let Some(repo) = github_address(origin.trim())
    {
        form.entry("tests_repo").or_insert_with(|| repo.into());
    }
    Ok(())
}

fn git(clone: &Path, args: &[&str]) -> Result<String, CliError> {
    let output = Command::new("git").arg("-C").arg(clone).args(args).output();
    let output = output.map_err(|error| CliError::failed(format!("git does not start: {error}")))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(CliError::failed(format!(
            "git {} in {}: {}",
            args.join(" "),
            clone.display(),
            why.trim()
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn bench_of(message: &str) -> Option<String> {
    message.lines().rev().find_map(|line| BENCH.captures(line)).map(|found| found[1].to_owned())
}

/// The message without its bench, blanks and empty lines folded.
fn description_of(message: &str) -> String {
    let mut lines: Vec<String> = message.trim().lines().map(str::to_owned).collect();
    if let Some(line) = lines.iter_mut().rev().find(|line| BENCH.is_match(line)) {
        *line = BENCH.replace(line, " ").into_owned();
    }
    let folded = lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    folded.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The default nets that the sources of a commit name; none is fine.
fn nets_of(clone: &Path, commit: &str) -> Vec<String> {
    let places = [
        ("src/evaluate.h", ["EvalFileDefaultName", "define"]),
        ("src/ucioption.cpp", ["EvalFile", "Option"]),
    ];
    for (file, words) in places {
        let Ok(source) = git(clone, &["show", &format!("{commit}:{file}")]) else { continue };
        let mut nets: Vec<String> = Vec::new();
        for line in source.lines().filter(|line| words.iter().all(|word| line.contains(word))) {
            if let Some(net) = NET.find(line)
                && !nets.iter().any(|known| known == net.as_str())
            {
                nets.push(net.as_str().to_owned());
            }
        }
        if !nets.is_empty() {
            return nets;
        }
    }
    Vec::new()
}

/// `https://github.com/owner/repo` of a remote's address in either form.
fn github_address(origin: &str) -> Option<String> {
    let path = origin
        .strip_prefix("https://github.com/")
        .or_else(|| origin.strip_prefix("git@github.com:"))
        .or_else(|| origin.strip_prefix("ssh://git@github.com/"))?;
    let path = path.trim_end_matches('/').trim_end_matches(".git");
    Some(format!("https://github.com/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bench_of_the_last_line_that_has_one_counts() {
        assert_eq!(bench_of("Subject\n\nBench: 1234567\nBench: 2050812").as_deref(), Some("2050812"));
        assert_eq!(bench_of("Subject bench 2050811 and more").as_deref(), Some("2050811"));
        assert_eq!(bench_of("Subject\nBench: 123456789"), None);
        assert_eq!(bench_of("workbench: 2050811"), None);
    }

    #[test]
    fn the_description_is_the_message_without_its_bench() {
        assert_eq!(description_of("Subject\n\nbody  text\n\n\nBench: 2050812\n"), "Subject\nbody text");
    }

    #[test]
    fn addresses_of_either_form_name_the_repository() {
        let expected = Some("https://github.com/alice/Stockfish".to_owned());
        assert_eq!(github_address("git@github.com:alice/Stockfish.git"), expected);
        assert_eq!(github_address("https://github.com/alice/Stockfish/"), expected);
        assert_eq!(github_address("/somewhere/else"), None);
    }

    #[test]
    fn a_clone_tells_what_github_would() {
        let dir = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| git(dir.path(), args).unwrap();
        run(&["init", "-q", "-b", "master"]);
        run(&["config", "user.email", "a@example.com"]);
        run(&["config", "user.name", "a"]);
        std::fs::create_dir(dir.path().join("src")).unwrap();
        let header = "#define EvalFileDefaultNameBig \"nn-0000000000a0.nnue\"\n";
        std::fs::write(dir.path().join("src/evaluate.h"), header).unwrap();
        run(&["add", "."]);
        run(&["commit", "-q", "-m", "First\n\nBench: 2050811"]);
        run(&["checkout", "-q", "-b", "patch"]);
        run(&["commit", "-q", "--allow-empty", "-m", "Patch\n\nBench: 2050812"]);
        let mut form = Map::new();
        form.insert("new_tag".into(), "patch".into());
        form.insert("base_tag".into(), "master".into());
        fill(dir.path(), &mut form).unwrap();
        assert_eq!(form["new_signature"], "2050812");
        assert_eq!(form["base_signature"], "2050811");
        assert_eq!(form["msg_new"], "Patch");
        assert_eq!(form["new_nets"], serde_json::json!(["nn-0000000000a0.nnue"]));
        assert_eq!(form["resolved_new"].as_str().unwrap().len(), 40);
        form.insert("new_tag".into(), "nowhere".into());
        assert!(fill(dir.path(), &mut form).unwrap_err().to_string().contains("new_tag"));
    }
}

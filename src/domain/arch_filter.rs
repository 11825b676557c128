//! A run's filter on the architecture of workers: a regular expression, searched for anywhere in the name
//! (`spec/scheduling.md` section 3.4 filter 9, `spec/run-management.md` section 4.2 step 5).
//!
//! The linear-time engine takes every pattern it can compile. What is left, look-around and the like, runs in a
//! backtracking engine whose number of steps is bounded, so that no pattern can hold up a request.

use std::fmt;
use std::sync::OnceLock;

use super::arch::{SUPPORTED_ARCHES, UNKNOWN};

/// Backtracking steps per match, far below the tenth of a second that a match may take.
const BACKTRACK_LIMIT: usize = 200_000;

/// Memory that a compiled pattern may take, in bytes.
const COMPILED_SIZE_LIMIT: usize = 1 << 20;

/// Longest pattern, in bytes: a generous multiple of all architectures' names together.
const PATTERN_LIMIT: usize = 4096;

/// How often the innermost part of a backtracking pattern may be repeated by explicit counts.
const REPETITION_LIMIT: u64 = 10_000;

/// What the log says when a match was given up.
const TIMED_OUT: &str = "regex timed out";

/// Why a new run's filter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchFilterError {
    /// Neither engine compiles it, or it can't be matched within the limits.
    #[error("Invalid arch filter: {0}")]
    Invalid(String),
    /// No supported architecture matches, so that the run would wait forever.
    #[error("filter {0} has no compatible arches")]
    NoCompatibleArch(String),
}

/// Outcome of searching an architecture's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchMatch {
    /// The filter admits the architecture.
    Match,
    /// The filter excludes it.
    NoMatch,
    /// The engine gave up, for this reason; counts as a match, and is to be logged.
    Failed(String),
}

enum Engine {
    Linear(regex::Regex),
    Backtracking(fancy_regex::Regex),
    /// A stored pattern that neither engine compiles: every search fails with this reason.
    Broken(String),
}

/// A filter, compiled once. Outcomes are remembered per architecture, so that judging a run costs a table look-up.
pub struct ArchFilter {
    pattern: String,
    engine: Engine,
    remembered: [OnceLock<ArchMatch>; SUPPORTED_ARCHES.len() + 1],
}

impl ArchFilter {
    /// Compiles the filter of a stored run. A pattern that doesn't compile admits every worker, with a reason to be
    /// logged, as any other failure does.
    pub fn from_stored(pattern: &str) -> Self {
        let engine = compile(pattern).unwrap_or_else(Engine::Broken);
        Self { pattern: pattern.to_owned(), engine, remembered: Default::default() }
    }

    /// Compiles the filter of a new run, which must admit at least one supported architecture.
    pub fn for_new_run(pattern: &str) -> Result<Self, ArchFilterError> {
        let filter = Self::from_stored(pattern);
        let mut failure = None;
        for arch in SUPPORTED_ARCHES {
            match filter.search(arch) {
                ArchMatch::Match => return Ok(filter),
                ArchMatch::NoMatch => {}
                ArchMatch::Failed(reason) => failure = Some(reason),
            }
        }
        Err(match failure {
            Some(reason) => ArchFilterError::Invalid(reason),
            None => ArchFilterError::NoCompatibleArch(pattern.to_owned()),
        })
    }

    /// The pattern as it was typed.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Searches the name of an architecture.
    pub fn search(&self, arch: &str) -> ArchMatch {
        let slot = SUPPORTED_ARCHES.iter().chain([&UNKNOWN]).position(|known| *known == arch);
        match slot.and_then(|slot| self.remembered.get(slot)) {
            Some(remembered) => remembered.get_or_init(|| self.run(arch)).clone(),
            None => self.run(arch),
        }
    }

    fn run(&self, arch: &str) -> ArchMatch {
        let found = match &self.engine {
            Engine::Linear(regex) => Ok(regex.is_match(arch)),
            Engine::Backtracking(regex) => regex.is_match(arch).map_err(reason),
            Engine::Broken(reason) => Err(reason.clone()),
        };
        match found {
            Ok(true) => ArchMatch::Match,
            Ok(false) => ArchMatch::NoMatch,
            Err(reason) => ArchMatch::Failed(reason),
        }
    }

    /// The text to be logged when a search failed.
    pub fn failure_message(&self, arch: &str, reason: &str) -> String {
        format!("Matching {arch} against {} failed: {reason}", self.pattern)
    }
}

impl fmt::Debug for ArchFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ArchFilter").field(&self.pattern).finish()
    }
}

fn compile(pattern: &str) -> Result<Engine, String> {
    if pattern.len() > PATTERN_LIMIT {
        return Err(format!("longer than {PATTERN_LIMIT} bytes"));
    }
    if let Ok(regex) = regex::RegexBuilder::new(pattern).size_limit(COMPILED_SIZE_LIMIT).build() {
        return Ok(Engine::Linear(regex));
    }
    // Only going back counts against the limit of steps, so going forward must be bounded too.
    if repetitions(pattern) > REPETITION_LIMIT {
        return Err("the repetition counts are too large".to_owned());
    }
    fancy_regex::RegexBuilder::new(pattern)
        .backtrack_limit(BACKTRACK_LIMIT)
        .delegate_size_limit(COMPILED_SIZE_LIMIT)
        .build()
        .map(Engine::Backtracking)
        .map_err(|error| error.to_string())
}

/// Product of the largest counts of all `{n,m}`: how often the innermost part of nested repetitions may run.
fn repetitions(pattern: &str) -> u64 {
    let mut product = 1_u64;
    for counts in pattern.split('{').skip(1) {
        let counts = counts.split('}').next().unwrap_or_default();
        let largest = counts.split(',').filter_map(|count| count.trim().parse::<u64>().ok()).max();
        product = product.saturating_mul(largest.unwrap_or(1).max(1));
    }
    product
}

fn reason(error: fancy_regex::Error) -> String {
    match error {
        fancy_regex::Error::RuntimeError(fancy_regex::RuntimeError::BacktrackLimitExceeded) => {
            TIMED_OUT.into()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Fails on every name, after more steps than allowed.
    const CATASTROPHIC: &str = r"^(?:(?!#).|.|.)+(?<=#)$";

    #[test]
    fn search_is_unanchored() {
        let filter = ArchFilter::for_new_run("avx512|armv8$").unwrap();
        assert_eq!(filter.search("x86-64-avx512icl"), ArchMatch::Match);
        assert_eq!(filter.search("armv8"), ArchMatch::Match);
        assert_eq!(filter.search("armv8-dotprod"), ArchMatch::NoMatch);
        assert_eq!(filter.search("unknown"), ArchMatch::NoMatch);
        assert_eq!(filter.search("made-up-avx512"), ArchMatch::Match);
        assert_eq!(filter.pattern(), "avx512|armv8$");
    }

    #[test]
    fn look_around_and_references_are_supported() {
        let filter = ArchFilter::for_new_run(r"^x86-64(?!.*(avx512|vnni))").unwrap();
        assert_eq!(filter.search("x86-64-avx2"), ArchMatch::Match);
        assert_eq!(filter.search("x86-64-vnni512"), ArchMatch::NoMatch);
        let filter = ArchFilter::for_new_run(r"(6).*\1").unwrap();
        assert_eq!(filter.search("x86-64"), ArchMatch::Match);
        assert_eq!(filter.search("x86-32"), ArchMatch::NoMatch);
    }

    #[test]
    fn a_filter_that_admits_nobody_is_refused() {
        let refused = ArchFilter::for_new_run("^unknown$").unwrap_err();
        assert_eq!(refused.to_string(), "filter ^unknown$ has no compatible arches");
    }

    #[test]
    fn a_filter_that_does_not_compile_is_refused_but_admits_everybody_when_stored() {
        let refused = ArchFilter::for_new_run("(x86").unwrap_err();
        assert!(refused.to_string().starts_with("Invalid arch filter: "), "{refused}");
        assert!(matches!(ArchFilter::from_stored("(x86").search("armv8"), ArchMatch::Failed(_)));
        assert!(ArchFilter::for_new_run(&"x".repeat(PATTERN_LIMIT + 1)).is_err());
    }

    #[test]
    fn a_search_that_takes_too_many_steps_is_given_up() {
        let filter = ArchFilter::from_stored(CATASTROPHIC);
        assert!(matches!(filter.engine, Engine::Backtracking(_)));
        let outcome = filter.search("x86-64-sse41-popcnt");
        assert_eq!(outcome, ArchMatch::Failed("regex timed out".into()));
        assert_eq!(
            filter.failure_message("armv8", TIMED_OUT),
            format!("Matching armv8 against {CATASTROPHIC} failed: regex timed out")
        );
        assert_eq!(
            ArchFilter::for_new_run(CATASTROPHIC).unwrap_err(),
            ArchFilterError::Invalid(TIMED_OUT.into())
        );
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        for pattern in
            ["(".repeat(4000), "(?=".repeat(1300), format!("{}a{}", "(?:".repeat(800), ")".repeat(800))]
        {
            let _ = ArchFilter::from_stored(&pattern).search("armv8");
        }
    }

    #[test]
    fn huge_repetition_counts_do_not_hold_anything_up() {
        for pattern in [
            "(?:(?=.)z?){4000000000}",
            "(?:(?:(?:(?=.)z?){1000}){1000}){1000}",
            r"((?:(.)\2?){999}){999}{999}",
        ] {
            assert!(
                matches!(ArchFilter::from_stored(pattern).search("armv8"), ArchMatch::Failed(_)),
                "{pattern}"
            );
        }
        assert_eq!(ArchFilter::from_stored("(?:(?=.)z?){999}").search("armv8"), ArchMatch::Match);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn no_pattern_makes_it_panic(pattern in prop_oneof!["\\PC{0,40}", "[a-z0-9().*+?{}|\\[\\]^$\\\\!=<,]{0,30}"]) {
            let _ = ArchFilter::from_stored(&pattern).search("x86-64-avx2");
        }
    }
}

//! What an error of the server, or of the way there, says about what happened.

use redis::RedisError;

use crate::state::StateError;

/// What came of a command that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing happened; it may work in a moment.
    Retryable,
    /// Nothing happened: this isn't the server that takes writes. The connection is given up, and the primary found anew.
    Elsewhere,
    /// It may have happened.
    Unknown,
    /// The script isn't loaded there; nothing happened.
    NoScript,
    /// Nothing happened, and nothing will before an operator has mended it.
    Operator,
    /// A script contradicts what it finds.
    Bug,
}

impl Class {
    /// For metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Retryable => "retryable",
            Self::Elsewhere => "elsewhere",
            Self::Unknown => "unknown",
            Self::NoScript => "no_script",
            Self::Operator => "operator",
            Self::Bug => "bug",
        }
    }
}

/// Error prefixes of the server, with what they mean for a script that was sent. Scripts check before they write, and the
/// server refuses writes for memory, disk or replicas only at a script's first one: where one of these comes back, nothing
/// was written.
const PREFIXES: [(&str, Class); 22] = [
    ("LOADING", Class::Retryable),
    ("BUSY", Class::Retryable),
    ("TRYAGAIN", Class::Retryable),
    ("EXECABORT", Class::Retryable),
    ("OOM", Class::Retryable),
    ("MISCONF", Class::Retryable),
    ("NOREPLICAS", Class::Retryable),
    ("CLUSTERDOWN", Class::Retryable),
    ("READONLY", Class::Elsewhere),
    ("MASTERDOWN", Class::Elsewhere),
    ("MOVED", Class::Elsewhere),
    ("ASK", Class::Elsewhere),
    ("REDIRECT", Class::Elsewhere),
    ("UNBLOCKED", Class::Unknown),
    ("NOSCRIPT", Class::NoScript),
    ("NOAUTH", Class::Operator),
    ("WRONGPASS", Class::Operator),
    ("NOPERM", Class::Operator),
    ("DENIED", Class::Operator),
    ("CROSSSLOT", Class::Bug),
    ("WRONGTYPE", Class::Bug),
    ("ERR", Class::Bug),
];

/// Classes an error of a command that was sent.
pub(super) fn class(error: &RedisError) -> Class {
    match error.code() {
        Some(code) => {
            PREFIXES.iter().find(|(prefix, _)| *prefix == code).map_or(Class::Unknown, |(_, class)| *class)
        }
        // Not the server's word: the connection broke, the answer wasn't understood, or didn't come in time.
        None if error.is_connection_refusal() => Class::Retryable,
        None => Class::Unknown,
    }
}

/// The error as the schedule's callers know it. Texts of the server hold no secrets, but are cut.
pub(super) fn state_error(error: &RedisError) -> StateError {
    let mut text = error.to_string();
    if let Some((at, _)) = text.char_indices().nth(300) {
        text.truncate(at);
    }
    match class(error) {
        Class::Unknown => StateError::Unknown(text),
        Class::Bug => StateError::Bug(text),
        Class::Retryable | Class::Elsewhere | Class::NoScript | Class::Operator => {
            StateError::Unavailable(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_server(line: &str) -> RedisError {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes())
            .and_then(redis::Value::extract_error)
            .expect_err("an error line")
    }

    #[test]
    fn each_prefix_has_its_class() {
        for (prefix, expected) in PREFIXES {
            // A redirection names a slot and a place.
            let rest = if matches!(prefix, "MOVED" | "ASK") { "1 127.0.0.1:1" } else { "some words" };
            assert_eq!(class(&of_server(&format!("{prefix} {rest}"))), expected, "{prefix}");
        }
        assert_eq!(class(&of_server("NEVERHEARD of")), Class::Unknown, "what isn't known may have happened");
    }

    #[test]
    fn what_the_way_there_says() {
        let broken = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(class(&broken), Class::Unknown);
        let refused = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        assert_eq!(class(&refused), Class::Retryable);
        assert!(matches!(state_error(&broken), StateError::Unknown(_)));
        assert!(matches!(state_error(&of_server("OOM command not allowed")), StateError::Unavailable(_)));
        assert!(matches!(state_error(&of_server("ERR user_script:1")), StateError::Bug(_)));
    }
}

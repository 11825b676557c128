//! Reading an answer as a worker does, and noticing what a worker must never be sent.
//!
//! A worker ignores the status and looks at the body (`spec/worker-api.md` section 7.1). The simulation looks at both,
//! since it also checks invariant I18: JSON of the documented shape, or a plain-text 503.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// Why a call gave no usable answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// No complete answer: refused connection, time-out, connection lost. `kind` is a short word for statistics.
    Network {
        /// Short word: `connect`, `timeout`, `broken`.
        kind: &'static str,
    },
    /// A plain-text 503, or a gateway's own page (502, 503, 504): the worker tries again.
    Unavailable {
        /// HTTP status.
        status: u16,
    },
    /// A JSON object with `error`.
    Refused {
        /// HTTP status.
        status: u16,
        /// The text of `error`.
        error: String,
    },
    /// Anything else; breaks I18 on a worker path.
    Misshapen {
        /// What is wrong with it.
        detail: String,
    },
}

impl Trouble {
    /// A short word for error statistics.
    pub fn kind(&self) -> String {
        match self {
            Self::Network { kind } => (*kind).to_owned(),
            Self::Unavailable { status } => format!("http_{status}"),
            Self::Refused { status, .. } => format!("refused_{status}"),
            Self::Misshapen { .. } => "misshapen".to_owned(),
        }
    }
}

/// An answer whose body has arrived.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`, empty if absent.
    pub content_type: String,
    /// The body.
    pub body: bytes::Bytes,
}

#[derive(Deserialize)]
struct Envelope {
    error: Option<String>,
    duration: Option<f64>,
}

/// The first characters of a body, for messages.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut short: String = text.chars().take(160).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn misshapen<T>(what: &str, raw: &RawAnswer) -> Result<T, Trouble> {
    let detail = format!("{what} (status {}, {}): {}", raw.status, raw.content_type, excerpt(&raw.body));
    Err(Trouble::Misshapen { detail })
}

/// Reads an answer of worker path `path`. `T` is the documented shape of a success.
pub fn read_worker_answer<T: DeserializeOwned>(path: &str, raw: &RawAnswer) -> Result<T, Trouble> {
    let envelope = match serde_json::from_slice::<Envelope>(&raw.body) {
        Ok(envelope) => envelope,
        Err(_) if serde_json::from_slice::<IgnoredAny>(&raw.body).is_ok() => {
            return misshapen("not an object with a numeric duration and a textual error", raw);
        }
        Err(_) => return read_non_json(raw),
    };
    if envelope.duration.is_none() {
        return misshapen("no duration", raw);
    }
    if let Some(error) = envelope.error {
        if raw.status != 200 && !error.starts_with(&format!("{path}: ")) {
            return misshapen("an error that does not begin with its path", raw);
        }
        return Err(Trouble::Refused { status: raw.status, error });
    }
    if raw.status != 200 {
        return misshapen("neither 200 nor an error", raw);
    }
    match serde_json::from_slice(&raw.body) {
        Ok(answer) => Ok(answer),
        Err(reason) => misshapen(&reason.to_string(), raw),
    }
}

fn read_non_json<T>(raw: &RawAnswer) -> Result<T, Trouble> {
    let plain =
        raw.content_type.starts_with("text/plain") || (raw.body.is_empty() && raw.content_type.is_empty());
    // A load balancer whose backends are gone answers with a page of its own; a worker retries that too.
    let gateway = matches!(raw.status, 502..=504) && raw.content_type.starts_with("text/html");
    if (raw.status == 503 && plain) || gateway {
        return Err(Trouble::Unavailable { status: raw.status });
    }
    misshapen("neither JSON nor a plain-text 503", raw)
}

/// Reads an answer of a read endpoint. These have no worker behind them, so a strange one is only unusable.
pub fn read_plain_answer<T: DeserializeOwned>(raw: &RawAnswer) -> Result<T, Trouble> {
    match raw.status {
        200 => match serde_json::from_slice(&raw.body) {
            Ok(answer) => Ok(answer),
            Err(reason) => misshapen(&reason.to_string(), raw),
        },
        429 | 502..=504 => Err(Trouble::Unavailable { status: raw.status }),
        status => Err(Trouble::Refused { status, error: excerpt(&raw.body) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Alive {
        task_alive: bool,
    }

    fn read(status: u16, content_type: &str, body: &'static str) -> Result<Alive, Trouble> {
        let raw = RawAnswer {
            status,
            content_type: content_type.to_owned(),
            body: bytes::Bytes::from_static(body.as_bytes()),
        };
        read_worker_answer("/api/beat", &raw)
    }

    const JSON: &str = "application/json";

    #[test]
    fn documented_answers_are_understood() {
        assert_eq!(read(200, JSON, r#"{"task_alive":true,"duration":0.1}"#), Ok(Alive { task_alive: true }));
        assert_eq!(
            read(400, JSON, r#"{"error":"/api/beat: Missing run_id","duration":0.1}"#),
            Err(Trouble::Refused { status: 400, error: "/api/beat: Missing run_id".to_owned() })
        );
        assert_eq!(read(503, "text/plain; charset=utf-8", ""), Err(Trouble::Unavailable { status: 503 }));
        assert_eq!(read(503, "text/plain", "try again"), Err(Trouble::Unavailable { status: 503 }));
        assert_eq!(read(502, "text/html", "<html>"), Err(Trouble::Unavailable { status: 502 }));
    }

    #[test]
    fn what_a_worker_must_not_be_sent_is_misshapen() {
        for (status, content_type, body) in [
            (200, JSON, r#"{"task_alive":true}"#),
            (200, JSON, r#"{"task_alive":true,"duration":"0.1"}"#),
            (200, JSON, r#"{"task_alive":1,"duration":0.1}"#),
            (200, JSON, r#"{"duration":0.1}"#),
            (200, JSON, r#"[1]"#),
            (200, JSON, r#"{"task_alive":"#),
            (500, "text/plain", "Internal Server Error"),
            (404, JSON, r#"{"detail":"Not Found"}"#),
            (400, JSON, r#"{"error":"Missing run_id","duration":0.1}"#),
            (200, "text/html", "<html>"),
        ] {
            assert!(
                matches!(read(status, content_type, body), Err(Trouble::Misshapen { .. })),
                "{status} {body}"
            );
        }
    }
}

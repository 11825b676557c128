//! One call: its address, its headers, its bounds.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Response, Url};

use super::{GitHubError, GitHubSettings};
use crate::sys::web;

/// Longest chain of redirections, all within one server.
const REDIRECTS: usize = 3;

/// Before a question is asked once more.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is asked, and for what.
#[derive(Debug)]
pub struct Question<'a> {
    host: Host,
    path: &'a str,
    accept: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Api,
    Raw,
}

impl<'a> Question<'a> {
    /// To the API; `path` begins with a slash, `accept` is the form of the answer.
    pub fn api(path: &'a str, accept: &'static str) -> Self {
        Self { host: Host::Api, path, accept }
    }

    /// For a file as it is.
    pub fn raw(path: &'a str) -> Self {
        Self { host: Host::Raw, path, accept: "*/*" }
    }

    /// Whether the answer's headers tell the quota of the API.
    pub fn is_counted(&self) -> bool {
        self.host == Host::Api
    }
}

/// How often a question that has no answer for the moment is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tries {
    /// Once.
    One,
    /// Once more.
    Two,
}

/// Asks.
#[derive(Debug)]
pub struct Client {
    settings: GitHubSettings,
    /// Ready to be sent; marked so that nothing prints it.
    authorization: Option<HeaderValue>,
    http: Result<reqwest::Client, String>,
}

impl Client {
    /// Nothing is asked yet. What is wrong with the client is told by the first question.
    pub fn new(settings: GitHubSettings) -> Self {
        let authorization = settings.token.as_ref().and_then(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let http = if settings.api.is_none() && settings.raw.is_none() {
            Err("there is nobody to ask".to_owned())
        } else {
            web::client()
                .timeout(settings.timeout)
                .redirect(Policy::custom(follow))
                .user_agent(concat!("shoal/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(|error| error.to_string())
        };
        Self { settings, authorization, http }
    }

    /// Whether there is an address for the API.
    pub fn has_api(&self) -> bool {
        self.settings.api.is_some()
    }

    /// Whether there is an address for files.
    pub fn has_raw(&self) -> bool {
        self.settings.raw.is_some()
    }

    /// The body of a good answer of at most `limit` bytes. `see` looks at the headers of every answer, bad ones too.
    pub async fn get(
        &self,
        question: &Question<'_>,
        limit: usize,
        tries: Tries,
        see: impl Fn(&HeaderMap),
    ) -> Result<Vec<u8>, GitHubError> {
        match self.get_once(question, limit, &see).await {
            Err(error) if tries == Tries::Two && error.is_passing() => {
                tracing::debug!(%error, "asking once more");
                tokio::time::sleep(PAUSE).await;
                self.get_once(question, limit, &see).await
            }
            other => other,
        }
    }

    async fn get_once(
        &self,
        question: &Question<'_>,
        limit: usize,
        see: impl Fn(&HeaderMap),
    ) -> Result<Vec<u8>, GitHubError> {
        let base = match question.host {
            Host::Api => &self.settings.api,
            Host::Raw => &self.settings.raw,
        };
        let base = base.as_deref().ok_or(GitHubError::Off)?;
        let http = self.http.as_ref().map_err(|reason| GitHubError::Client(reason.clone()))?;
        let url = format!("{base}{}", question.path);
        let mut request = http.get(&url).header(ACCEPT, question.accept);
        if question.host == Host::Api {
            request = request.header("x-github-api-version", "2022-11-28");
            if let Some(authorization) = &self.authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
        }
        let answer = request.send().await.map_err(|error| self.network(&url, error))?;
        see(answer.headers());
        if !answer.status().is_success() {
            return Err(GitHubError::Status { url, status: answer.status().as_u16() });
        }
        self.read(&url, answer, limit).await
    }

    async fn read(&self, url: &str, mut answer: Response, limit: usize) -> Result<Vec<u8>, GitHubError> {
        let announced = answer.content_length().is_some_and(|length| length > limit as u64);
        if announced {
            return Err(GitHubError::TooLarge { url: url.to_owned(), limit });
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.network(url, error))? {
            if body.len() + chunk.len() > limit {
                return Err(GitHubError::TooLarge { url: url.to_owned(), limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn network(&self, url: &str, error: reqwest::Error) -> GitHubError {
        let url = url.to_owned();
        if error.is_timeout() {
            return GitHubError::Timeout { url, timeout: self.settings.timeout };
        }
        GitHubError::Unreachable { url, reason: innermost(&error.without_url()) }
    }
}

/// Redirections stay on the server that was asked: neither the token nor the farm's trust goes elsewhere. One that leads
/// away is an answer like any other, and a bad one.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let stays = attempt.previous().first().is_some_and(|asked| same_server(asked, attempt.url()));
    if stays && attempt.previous().len() <= REDIRECTS { attempt.follow() } else { attempt.stop() }
}

fn same_server(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// The cause at the end of the chain says what happened ("connection refused").
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

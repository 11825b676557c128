//! How to reach the server.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo};

/// Hosts that one address may name.
const MOST_HOSTS: usize = 64;

/// Where the schedule's server is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// One server.
    Single(Box<ConnectionInfo>),
    /// Whichever server the sentinels call the primary of `service`.
    Sentinel {
        /// The sentinels, without credentials of the servers'.
        sentinels: Vec<ConnectionInfo>,
        /// The name of the group that they watch.
        service: String,
        /// Credentials, database and encryption of the servers: the address in it is a sentinel's and not used.
        node: Box<ConnectionInfo>,
    },
    /// A cluster, found from any of these.
    Cluster(Vec<ConnectionInfo>),
}

/// An address of Redis or Valkey. It may hold a password, so it is printed without what could be one.
///
/// - `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, `rediss://…` with TLS, `redis+unix:///PATH[?db=N&user=U&pass=P]`
/// - `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],…/SERVICE`, `rediss+sentinel://…`: the port is 26379 if none
///   is given; credentials are the servers'; `?sentinel_user=U&sentinel_pass=P` are the sentinels' own
/// - `redis+cluster://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],…`, `rediss+cluster://…`
#[derive(Clone)]
pub struct RedisUrl {
    text: String,
    hosts: String,
    place: Place,
}

/// Why an address is none. It doesn't repeat the address, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

impl RedisUrl {
    /// Takes an address in one of the forms above.
    ///
    /// # Errors
    /// When it has none of these forms.
    pub fn new(text: &str) -> Result<Self, UrlError> {
        let wrong = |why: &str| UrlError(why.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong(FORMS))?;
        let (base, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let default_port = if kind == "sentinel" { 26379 } else { 6379 };
        if kind == "unix" && base == "redis" {
            let path = rest.split('?').next().unwrap_or_default();
            let place = Place::Single(Box::new(info(text)?));
            return Ok(Self { text: text.to_owned(), hosts: path.to_owned(), place });
        }
        if !matches!(base, "redis" | "rediss") || !matches!(kind, "" | "sentinel" | "cluster") {
            return Err(wrong(FORMS));
        }
        let (authority, tail) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        let path = path.trim_matches('/');
        let (credentials, hosts) = authority.rsplit_once('@').map_or(("", authority), |(c, h)| (c, h));
        if hosts.is_empty() || hosts.split(',').any(str::is_empty) {
            return Err(wrong("the address names no host"));
        }
        if hosts.split(',').count() > MOST_HOSTS {
            return Err(wrong("the address names too many hosts"));
        }
        let one = |host: &str, credentials: &str, path: &str| {
            let at = if credentials.is_empty() { "" } else { "@" };
            let port = if has_port(host) { String::new() } else { format!(":{default_port}") };
            info(&format!("{base}://{credentials}{at}{host}{port}{path}"))
        };
        let each = |credentials: &str| {
            hosts.split(',').map(|host| one(host, credentials, "")).collect::<Result<Vec<_>, _>>()
        };
        let place = match kind {
            "sentinel" if path.is_empty() || path.contains('/') => {
                return Err(wrong(
                    "an address of sentinels ends in the name of the group that they watch: …/SERVICE",
                ));
            }
            "sentinel" => Place::Sentinel {
                sentinels: each(&sentinel_credentials(query))?,
                service: path.to_owned(),
                node: Box::new(one(hosts.split(',').next().unwrap_or_default(), credentials, "")?),
            },
            "cluster" if path.is_empty() => Place::Cluster(each(credentials)?),
            "cluster" => return Err(wrong("a cluster has no databases to name")),
            _ if hosts.contains(',') => {
                return Err(wrong(
                    "several hosts are of sentinels (redis+sentinel://) or of a cluster (redis+cluster://)",
                ));
            }
            _ => Place::Single(Box::new(one(hosts, credentials, &format!("/{path}"))?)),
        };
        Ok(Self { text: text.to_owned(), hosts: hosts.to_owned(), place })
    }

    /// The hosts alone: what may be logged.
    pub fn hosts(&self) -> &str {
        &self.hosts
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

const FORMS: &str = "expected redis://HOST, rediss://HOST, redis+sentinel://HOST,HOST/SERVICE, redis+cluster://HOST,HOST or \
                     redis+unix:///PATH";

impl PartialEq for RedisUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for RedisUrl {}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "redis://…{}…", self.hosts)
    }
}

fn info(text: &str) -> Result<ConnectionInfo, UrlError> {
    text.into_connection_info().map_err(|_| UrlError("the address is not understood".to_owned()))
}

/// Whether a host, perhaps an IPv6 address in brackets, is followed by a port.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(before, port)| {
        !port.is_empty()
            && port.bytes().all(|b| b.is_ascii_digit())
            && (!before.contains(':') || before.ends_with(']'))
    })
}

fn sentinel_credentials(query: &str) -> String {
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    match (value("sentinel_user"), value("sentinel_pass")) {
        (None, None) => String::new(),
        (user, pass) => format!("{}:{}", user.unwrap_or_default(), pass.unwrap_or_default()),
    }
}

/// Where the schedule is, and what a process may ask of its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// The server.
    pub url: RedisUrl,
    /// The farm's hash tag: farms with different ones share a server without meeting.
    pub prefix: String,
    /// Longest wait for an answer; afterwards the outcome is unknown.
    pub deadline: Duration,
    /// Connections for what holds one for longer (rebuilds, housekeeping), besides the two that requests share.
    pub pool: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood_in_all_their_forms() {
        for (text, hosts) in [
            ("redis://127.0.0.1", "127.0.0.1"),
            ("redis://:secret@cache:7000/3", "cache:7000"),
            ("rediss://shoal:secret@cache", "cache"),
            ("redis+unix:///run/redis.sock?pass=secret", "/run/redis.sock"),
            ("redis+sentinel://u:secret@a,b:26380,c/farm?sentinel_pass=secret", "a,b:26380,c"),
            ("rediss+cluster://u:secret@a,b", "a,b"),
            ("redis://[::1]", "[::1]"),
            ("redis+cluster://[::1]:7000,[::1]:7001", "[::1]:7000,[::1]:7001"),
        ] {
            let url = RedisUrl::new(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(url.hosts(), hosts);
            assert!(!format!("{url:?}").contains("secret"), "{url:?}");
        }
    }

    #[test]
    fn credentials_go_to_the_servers_and_the_port_is_the_usual_one() {
        let url = RedisUrl::new("redis+sentinel://u:p%40ss@a,b:1/farm").unwrap();
        let Place::Sentinel { sentinels, service, node } = url.place() else { panic!() };
        assert_eq!(service, "farm");
        assert_eq!(sentinels[0].addr().to_string(), "a:26379");
        assert_eq!(sentinels[1].addr().to_string(), "b:1");
        assert_eq!(sentinels[0].redis_settings().password(), None);
        assert_eq!(node.redis_settings().password(), Some("p@ss"));
        let url = RedisUrl::new("redis://h/2").unwrap();
        let Place::Single(server) = url.place() else { panic!() };
        assert_eq!((server.addr().to_string().as_str(), server.redis_settings().db()), ("h:6379", 2));
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for text in [
            "",
            "redis",
            "http://h",
            "redis://",
            "redis://a,b",
            "redis+sentinel://a,b",
            "redis+cluster://a/1",
            "redis+sentinel://a,,b/s",
            "redis://u:hunter2@/x",
            "redis://h:hunter2",
            "redis+other://hunter2",
        ] {
            let error = RedisUrl::new(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }
}

//! From the text of a value to the value. Each error is a sentence that goes on from the setting's name.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::values::{LogFormat, MongoUrl, Network, RedisUrl, Secret, StorePolicy, TrustedProxies};

/// The text of an absent value.
pub const NONE: &str = "none";

/// More threads than this is a slip of the finger.
const MOST_THREADS: usize = 1024;

/// A longer grace than this is a server that does not stop.
const LONGEST_TIME: Duration = Duration::from_secs(24 * 3600);

/// A shorter deadline than this is a slip of the finger.
const SHORTEST_DEADLINE: Duration = Duration::from_millis(100);

type Parsed<T> = Result<T, String>;

pub fn socket_address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| format!("{text:?} is no address with a port, such as 0.0.0.0:8080 or [::]:8080"))
}

pub fn path(text: &str) -> Parsed<PathBuf> {
    if text.is_empty() {
        return Err("the path is empty".to_owned());
    }
    Ok(PathBuf::from(text))
}

pub fn trusted_proxies(text: &str) -> Parsed<TrustedProxies> {
    if text == NONE || text.is_empty() {
        return Ok(TrustedProxies::default());
    }
    text.split(',').map(|part| network(part.trim())).collect::<Parsed<Vec<_>>>().map(TrustedProxies::new)
}

fn network(text: &str) -> Parsed<Network> {
    let problem = || format!("{text:?} is no address or network, such as 10.0.0.7, 10.0.0.0/8 or fd00::/8");
    let Some((address, prefix)) = text.split_once('/') else {
        return text.parse::<IpAddr>().map(Network::single).map_err(|_| problem());
    };
    let address = address.parse::<IpAddr>().map_err(|_| problem())?;
    let prefix = prefix.parse::<u8>().map_err(|_| problem())?;
    Network::new(address, prefix).ok_or_else(problem)
}

pub fn count(text: &str) -> Parsed<u32> {
    text.parse().map_err(|_| format!("{text:?} is no whole number from 0 to {}", u32::MAX))
}

pub fn positive(text: &str) -> Parsed<NonZeroU32> {
    text.parse().map_err(|_| format!("{text:?} is no whole number from 1 to {}", u32::MAX))
}

pub fn threads(text: &str) -> Parsed<usize> {
    if text == "auto" {
        return Ok(std::thread::available_parallelism().map_or(1, usize::from));
    }
    match text.parse::<usize>() {
        Ok(threads) if (1..=MOST_THREADS).contains(&threads) => Ok(threads),
        _ => Err(format!("{text:?} is neither auto nor a whole number from 1 to {MOST_THREADS}")),
    }
}

/// Bytes: a whole number, alone or with a unit.
pub fn bytes(text: &str) -> Parsed<u64> {
    let problem = || {
        format!(
            "{text:?} is no size above zero, such as 1048576, 200MiB or 4GiB (units: B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)"
        )
    };
    let (number, unit) = split_unit(text);
    let number = number.parse::<u64>().map_err(|_| problem())?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(problem()),
    };
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(problem)
}

/// A time: a whole number of seconds, or one with a unit.
pub fn duration(text: &str) -> Parsed<Duration> {
    let problem = || format!("{text:?} is no time up to 24 hours, such as 10, 10s, 500ms or 2m");
    let (number, unit) = split_unit(text);
    let number = number.parse::<u64>().map_err(|_| problem())?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(problem()),
    };
    let time = number.checked_mul(milliseconds).map(Duration::from_millis);
    time.filter(|time| *time <= LONGEST_TIME).ok_or_else(problem)
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// Trailing slashes are dropped, since a path is appended.
pub fn nn_url(text: &str) -> Parsed<Option<String>> {
    if text == NONE {
        return Ok(None);
    }
    let url = text.trim_end_matches('/');
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    let is_plain = url.chars().all(|letter| letter.is_ascii_graphic());
    if !is_plain || !(is_web || url.is_empty()) {
        return Err(
            "expected none, an address that begins with http:// or https://, or the empty text".to_owned()
        );
    }
    Ok(Some(url.to_owned()))
}

/// The address of a server that is asked by its paths, or None. No user may stand in it: addresses are logged.
pub fn mirror_url(text: &str) -> Parsed<Option<String>> {
    if text == NONE || text.is_empty() {
        return Ok(None);
    }
    let problem = || {
        "expected none, or an address that begins with http:// or https:// and has no user, query or fragment"
            .to_owned()
    };
    let url = reqwest::Url::parse(text).map_err(|_| problem())?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    let is_plain = url.username().is_empty() && url.password().is_none();
    if !is_web || !is_plain || url.query().is_some() || url.fragment().is_some() {
        return Err(problem());
    }
    Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
}

/// A token; never repeated in the message.
pub fn token(text: &str) -> Parsed<Option<Secret>> {
    if text == NONE || text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a token has printable ASCII characters only, and no blanks".to_owned());
    }
    Ok(Some(Secret::new(text)))
}

pub fn log_filter(text: &str) -> Parsed<String> {
    if text.is_empty() {
        return Err("the filter is empty; to log nothing, say off".to_owned());
    }
    EnvFilter::try_new(text).map_err(|error| format!("{text:?} is no filter: {error}"))?;
    Ok(text.to_owned())
}

pub fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "human" | "text" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is neither human nor json")),
    }
}

pub fn store_policy(text: &str) -> Parsed<StorePolicy> {
    match text {
        "refuse" => Ok(StorePolicy::Refuse),
        "degrade" => Ok(StorePolicy::Degrade),
        _ => Err(format!("{text:?} is neither refuse nor degrade")),
    }
}

pub fn redis_url(text: &str) -> Parsed<Option<RedisUrl>> {
    if text == NONE || text.is_empty() {
        return Ok(None);
    }
    RedisUrl::new(text).map(Some).map_err(|error| error.to_string())
}

/// What can stand in a key before its hash tag's other parts: no braces, which mean something there.
pub fn redis_prefix(text: &str) -> Parsed<String> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"_-.:".contains(&letter));
    if !fits {
        return Err(format!("{text:?} is no name of up to 64 letters, digits, _, -, . and :"));
    }
    Ok(text.to_owned())
}

pub fn mongodb_url(text: &str) -> Parsed<Option<MongoUrl>> {
    if text == NONE || text.is_empty() {
        return Ok(None);
    }
    MongoUrl::new(text).map(Some)
}

/// What MongoDB allows on every platform.
pub fn database_name(text: &str) -> Parsed<String> {
    let fits = (1..64).contains(&text.len())
        && text.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'_' || letter == b'-');
    if !fits {
        return Err(format!("{text:?} is no name of up to 63 letters, digits, _ and -"));
    }
    Ok(text.to_owned())
}

/// A time that something may take: not none at all.
pub fn deadline(text: &str) -> Parsed<Duration> {
    let time = duration(text)?;
    if time < SHORTEST_DEADLINE {
        return Err(format!("{text:?} is too short: nothing would ever be done in time"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("200MiB"), Ok(200 << 20));
        assert_eq!(bytes("4 GiB"), Ok(4 << 30));
        assert_eq!(bytes("10kB"), Ok(10_000));
        assert_eq!(bytes("512"), Ok(512));
        for wrong in ["", "0", "MiB", "-1", "1.5MiB", "10 parsecs", "99999999999TiB"] {
            assert!(bytes(wrong).is_err(), "{wrong:?} was taken for a size");
        }
    }

    #[test]
    fn times_have_units_and_an_end() {
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in ["", "s", "-1s", "25h", "1d", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong:?} was taken for a time");
        }
    }

    #[test]
    fn a_mirror_is_an_address_without_a_password() {
        assert_eq!(
            mirror_url("https://git.example/api/v3/"),
            Ok(Some("https://git.example/api/v3".to_owned()))
        );
        assert_eq!((mirror_url("none"), mirror_url("")), (Ok(None), Ok(None)));
        for wrong in
            ["git.example", "ftp://git.example", "https://u:hunter2@git.example", "http://a?b", "http://a#b"]
        {
            let told = mirror_url(wrong).expect_err(wrong);
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        assert_eq!(token("none"), Ok(None));
        let secret = token("ghp_canary").unwrap().unwrap();
        assert_eq!(secret.expose(), "ghp_canary");
        assert!(!format!("{secret:?}").contains("canary"));
        assert!(!token("ghp_canary\n").unwrap_err().contains("canary"));
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        let proxies = trusted_proxies("127.0.0.1, 10.0.0.0/8,fd00::/8").unwrap();
        let shown: Vec<String> = proxies.networks().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]);
        assert_eq!(trusted_proxies("none"), Ok(TrustedProxies::default()));
        for wrong in ["localhost", "10.0.0.0/33", "10.0.0.1,", "10.0.0.0/-1", "/8"] {
            assert!(trusted_proxies(wrong).is_err(), "{wrong:?} was taken for proxies");
        }
    }

    #[test]
    fn the_address_of_networks_may_be_empty_or_absent() {
        assert_eq!(nn_url("none"), Ok(None));
        assert_eq!(nn_url(""), Ok(Some(String::new())));
        assert_eq!(nn_url("https://data.example/"), Ok(Some("https://data.example".to_owned())));
        assert!(nn_url("data.example").is_err());
        assert!(nn_url("https://data.example/\r\nSet-Cookie: x").is_err());
    }
}

//! The table of all settings. A new setting is one entry here; everything else follows.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::error::ConfigError;
use super::parse;
use super::sources::Sources;
use super::values::{LogFormat, MongoUrl, RedisUrl, Secret, StorePolicy, TrustedProxies};

/// One setting, as texts: what flags, files and references are made of.
#[derive(Debug)]
pub struct Setting {
    /// Key in the configuration file, and name in messages.
    pub key: &'static str,
    /// Command-line flag.
    pub flag: &'static str,
    /// Environment variable.
    pub env: &'static str,
    /// An older variable that is read when `env` is not set.
    pub older_env: Option<&'static str>,
    /// What a value looks like.
    pub value_name: &'static str,
    /// The default, as one would write it.
    pub default: &'static str,
    /// Sentences of help, one line each, as written in the table (each with a leading blank).
    pub help_lines: &'static [&'static str],
}

impl Setting {
    /// The help text in one line.
    pub fn help(&self) -> String {
        self.help_lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }
}

macro_rules! older_name {
    () => {
        None
    };
    ($name:literal) => {
        Some($name)
    };
}

/// Each entry: help, key and type; default; flag; variable (and an older one); shape of a value; parser.
macro_rules! settings {
    ($(
        $(#[doc = $help:literal])+
        $key:ident: $type:ty = $default:literal, $flag:literal, $env:literal $(or $older:literal)?,
            $value_name:literal, $parse:path;
    )+) => {
        /// All settings, valid.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $( $(#[doc = $help])+ pub $key: $type, )+
        }

        /// All settings, in the order of the reference.
        pub static SETTINGS: &[Setting] = &[ $( Setting {
            key: stringify!($key),
            flag: $flag,
            env: $env,
            older_env: older_name!($($older)?),
            value_name: $value_name,
            default: $default,
            help_lines: &[$($help),+],
        }, )+ ];

        impl Config {
            pub(super) fn from_sources(sources: &Sources<'_>) -> Result<Self, ConfigError> {
                Self { $( $key: sources.value(stringify!($key), $parse)?, )+ }.consistent(sources)
            }
        }
    };
}

settings! {
    /// Address and port to listen on. Port 0 lets the system pick a free port, which is logged.
    listen: SocketAddr = "0.0.0.0:8080", "--listen", "SHOAL_LISTEN", "ADDRESS:PORT", parse::socket_address;

    /// Directory of the durable data; created if absent. One process at a time may use it.
    data_dir: PathBuf = "shoal-data", "--data-dir", "SHOAL_DATA_DIR", "DIRECTORY", parse::path;

    /// Peers whose X-Forwarded-For and X-Forwarded-Proto headers are believed: addresses and networks, separated by
    /// commas; `none` trusts nobody. The address found so is the one that machine limits count.
    trusted_proxies: TrustedProxies = "127.0.0.1", "--trusted-proxies", "SHOAL_TRUSTED_PROXIES", "NETWORKS",
        parse::trusted_proxies;

    /// How many requests for a task are judged at once, by all servers together. One more gets the answer "too busy",
    /// and the worker asks again.
    request_slots: NonZeroU32 = "5", "--request-slots", "SHOAL_REQUEST_SLOTS", "COUNT", parse::positive;

    /// Threads that serve requests; `auto` is one per core.
    http_workers: usize = "auto", "--http-workers", "SHOAL_HTTP_WORKERS", "COUNT|auto", parse::threads;

    /// Requests of workers in progress at once. Some more wait in a short queue; the rest get a 503, which
    /// workers repeat.
    worker_in_flight: NonZeroU32 = "512", "--worker-in-flight", "SHOAL_WORKER_IN_FLIGHT", "COUNT",
        parse::positive;

    /// Requests of readers in progress at once, with a short queue of their own, so that readers can't crowd
    /// workers out.
    read_in_flight: NonZeroU32 = "64", "--read-in-flight", "SHOAL_READ_IN_FLIGHT", "COUNT", parse::positive;

    /// Requests per second that one address may make to pages that need no login; 0 is no limit.
    read_rate_limit: u32 = "20", "--read-rate-limit", "SHOAL_READ_RATE_LIMIT", "COUNT", parse::count;

    /// Requests that one address may save up while it makes none, and then make at once.
    read_rate_burst: NonZeroU32 = "200", "--read-rate-burst", "SHOAL_READ_RATE_BURST", "COUNT", parse::positive;

    /// Largest body of a worker's request, but for uploads of games.
    worker_body_limit: u64 = "4MiB", "--worker-body-limit", "SHOAL_WORKER_BODY_LIMIT", "SIZE", parse::bytes;

    /// Largest body of an upload of games.
    pgn_body_limit: u64 = "200MiB", "--pgn-body-limit", "SHOAL_PGN_BODY_LIMIT", "SIZE", parse::bytes;

    /// Largest size of an upload's games when unpacked; the bound against archives that explode.
    max_unpacked_pgn: u64 = "4GiB", "--max-unpacked-pgn", "SHOAL_MAX_UNPACKED_PGN", "SIZE", parse::bytes;

    /// Where the files of networks lie: workers are sent to `URL/nn/NAME`, such as `https://data.stockfishchess.org`.
    /// `none` makes the address relative: then a proxy before this server has to answer `/nn/`, which it does not by
    /// itself.
    nn_url: Option<String> = "none", "--nn-url", "SHOAL_NN_URL" or "FISHTEST_NN_URL", "URL|none", parse::nn_url;

    /// Where GitHub's API is asked, every 15 minutes, for the table of opening books and the commit of the official
    /// master branch. Another address is a mirror; `none` or the empty text asks nobody, for a farm without internet.
    github_api_url: Option<String> = "https://api.github.com", "--github-api-url", "SHOAL_GITHUB_API_URL", "URL|none",
        parse::mirror_url;

    /// Where the table of opening books is read when the API has few calls left, or is switched off; `none` or the
    /// empty text is nowhere.
    github_raw_url: Option<String> = "https://raw.githubusercontent.com", "--github-raw-url", "SHOAL_GITHUB_RAW_URL",
        "URL|none", parse::mirror_url;

    /// Token for the API, which then grants more calls; sent to that address only, and never logged. Others can see
    /// a flag: better use the variable or the file.
    github_token: Option<Secret> = "none", "--github-token", "SHOAL_GITHUB_TOKEN" or "GH_TOKEN", "TOKEN|none",
        parse::token;

    /// How often the schedule and the store are asked whether they answer (`/readyz`): seconds, or with a unit (ms, s, m).
    readiness_period: Duration = "1s", "--readiness-period", "SHOAL_READINESS_PERIOD", "TIME", parse::deadline;

    /// How long each may take for that. `/readyz` itself waits for nothing: it answers what was found out last.
    readiness_deadline: Duration = "1s", "--readiness-deadline", "SHOAL_READINESS_DEADLINE", "TIME", parse::deadline;

    /// Failures in a row after which `/readyz` says no.
    readiness_failures: NonZeroU32 = "2", "--readiness-failures", "SHOAL_READINESS_FAILURES", "COUNT", parse::positive;

    /// Answers in a row after which it says yes again.
    readiness_successes: NonZeroU32 = "2", "--readiness-successes", "SHOAL_READINESS_SUCCESSES", "COUNT",
        parse::positive;

    /// A thread that serves requests and has not turned for so long is stuck, and `/livez` says so: seconds, or with a
    /// unit (ms, s, m).
    liveness_limit: Duration = "10s", "--liveness-limit", "SHOAL_LIVENESS_LIMIT", "TIME", parse::deadline;

    /// What is logged: a level (error, warn, info, debug, trace) or a filter such as `info,shoal::service=debug`.
    log: String = "info", "--log", "SHOAL_LOG", "FILTER", parse::log_filter;

    /// How log lines look: `human` (or `text`) or `json`.
    log_format: LogFormat = "human", "--log-format", "SHOAL_LOG_FORMAT", "human|json", parse::log_format;

    /// Where a collector of traces takes OTLP over HTTP, as JSON: `http://HOST:4318`; spans go to `/v1/traces` there. `none`
    /// collects nothing, and costs nothing.
    otlp_endpoint: Option<String> = "none", "--otlp-endpoint", "SHOAL_OTLP_ENDPOINT", "URL|none", parse::mirror_url;

    /// How long a server that was told to stop goes on serving, unready, before it refuses requests: so long balancers need
    /// to notice. Seconds, or with a unit (ms, s, m, h).
    drain_period: Duration = "2s", "--drain-period", "SHOAL_DRAIN_PERIOD", "TIME", parse::duration;

    /// How long a server that was told to stop lets requests in progress finish: seconds, or with a unit (ms, s,
    /// m, h).
    shutdown_grace: Duration = "10s", "--shutdown-grace", "SHOAL_SHUTDOWN_GRACE", "TIME", parse::duration;

    /// Redis (6.2 or later) or Valkey for the schedule, so that any number of servers share it:
    /// `redis://USER:PASSWORD@HOST:PORT`, `redis+sentinel://HOST,HOST/SERVICE` or `redis+cluster://HOST,HOST`; `rediss` in
    /// its place means TLS. Durable data is then in MongoDB, which must be set, too. Better in the environment or the
    /// file than in a flag, where others can read the password.
    redis_url: Option<RedisUrl> = "none", "--redis-url", "SHOAL_REDIS_URL", "URL|none", parse::redis_url;

    /// Beginning of every key in Redis: farms that share a Redis need different ones, servers of one farm the same.
    redis_prefix: String = "shoal", "--redis-prefix", "SHOAL_REDIS_PREFIX", "NAME", parse::redis_prefix;

    /// How long a call to Redis may take before its outcome counts as unknown: seconds, or with a unit (ms, s, m).
    redis_deadline: Duration = "2s", "--redis-deadline", "SHOAL_REDIS_DEADLINE", "TIME", parse::deadline;

    /// Connections to Redis that this process opens at most for work that holds one; what is short shares a few more.
    redis_pool: NonZeroU32 = "4", "--redis-pool", "SHOAL_REDIS_POOL", "COUNT", parse::positive;

    /// MongoDB for durable data, instead of the file in the data directory: `mongodb://HOST:PORT,.../?replicaSet=NAME`.
    /// A replica set is expected; one member is enough. Better in the environment or the file than in a flag, where
    /// others can read the password.
    mongodb_url: Option<MongoUrl> = "none", "--mongodb-url", "SHOAL_MONGODB_URL", "URL|none", parse::mongodb_url;

    /// Name of the database in MongoDB.
    mongodb_database: String = "shoal", "--mongodb-database", "SHOAL_MONGODB_DATABASE", "NAME",
        parse::database_name;

    /// Connections to MongoDB that this process opens at most. The server sees as many from each replica: replicas x
    /// pool, and it must allow that many.
    mongodb_pool: NonZeroU32 = "16", "--mongodb-pool", "SHOAL_MONGODB_POOL", "COUNT", parse::positive;

    /// What workers are answered while the store of durable data is away. `refuse`: nothing that isn't durable;
    /// workers repeat for about a minute. `degrade`: results of tasks that the store knows are acknowledged from the
    /// schedule; they survive the loss of the store or of the schedule, not of both. Tasks, tuning rounds, failures
    /// and the ends of runs wait for the store in either case.
    store_policy: StorePolicy = "refuse", "--store-policy", "SHOAL_STORE_POLICY", "refuse|degrade",
        parse::store_policy;

    /// Tasks with results that wait for the store before `degrade` refuses, too.
    degrade_limit: NonZeroU32 = "20000", "--degrade-limit", "SHOAL_DEGRADE_LIMIT", "COUNT", parse::positive;

    /// How long a call to MongoDB may take before its outcome counts as unknown: seconds, or with a unit (ms, s, m).
    mongodb_deadline: Duration = "5s", "--mongodb-deadline", "SHOAL_MONGODB_DEADLINE", "TIME", parse::deadline;
}

impl Config {
    /// What no setting shows by itself.
    fn consistent(self, sources: &Sources<'_>) -> Result<Self, ConfigError> {
        if self.redis_url.is_some() && self.mongodb_url.is_none() {
            let reason = "a schedule that servers share needs durable data that they share: set mongodb_url \
                          (SHOAL_MONGODB_URL), too; for a single server leave Redis away"
                .to_owned();
            return Err(ConfigError::Invalid {
                key: "redis_url",
                origin: sources.origin("redis_url"),
                reason,
            });
        }
        Ok(self)
    }
}

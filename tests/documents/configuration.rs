//! Where a setting's value comes from, and what is said about a wrong one.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use shoal::config::{Config, ConfigError, ConfigFlags, LogFormat, Origin, SETTINGS};

/// Loads from flags, variables and, if there is a text, a `shoal.toml` in a directory of its own.
pub fn load(
    flags: &[(&str, &str)],
    variables: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    if let Some(text) = file {
        std::fs::write(directory.path().join("shoal.toml"), text).unwrap();
    }
    load_in(directory.path(), &ConfigFlags::from_pairs(flags.iter().copied()), variables)
}

fn load_in(directory: &Path, flags: &ConfigFlags, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Config::load_in(flags, env, directory)
}

fn port(config: &Config) -> u16 {
    config.listen.port()
}

#[test]
fn with_nothing_said_the_defaults_hold() {
    let config = load(&[], &[], None).unwrap();
    assert_eq!(config.listen, "0.0.0.0:8080".parse::<SocketAddr>().unwrap());
    assert_eq!(config.data_dir, Path::new("shoal-data"));
    assert!(config.trusted_proxies.contains("127.0.0.1".parse().unwrap()));
    assert!(!config.trusted_proxies.contains("127.0.0.2".parse().unwrap()));
    assert_eq!(config.request_slots.get(), 5);
    assert!(config.http_workers >= 1);
    assert_eq!(config.pgn_body_limit, 200 * 1024 * 1024);
    assert_eq!(config.max_unpacked_pgn, 4 * 1024 * 1024 * 1024);
    assert_eq!(config.nn_url, None);
    assert_eq!(config.github_api_url.as_deref(), Some("https://api.github.com"));
    assert_eq!(config.github_token, None);
    assert_eq!((config.log.as_str(), config.log_format), ("info", LogFormat::Human));
    assert_eq!(config.shutdown_grace, Duration::from_secs(10));
}

#[test]
fn flags_come_before_variables_before_the_file_before_defaults() {
    let flags = [("listen", "127.0.0.1:1")];
    let variables = [("SHOAL_LISTEN", "127.0.0.1:2")];
    let file = Some("listen = '127.0.0.1:3'");
    assert_eq!(port(&load(&flags, &variables, file).unwrap()), 1);
    assert_eq!(port(&load(&[], &variables, file).unwrap()), 2);
    assert_eq!(port(&load(&[], &[], file).unwrap()), 3);
    assert_eq!(port(&load(&[], &[], None).unwrap()), 8080);
}

/// A value of each setting that is valid and not the default.
fn other_value(key: &str) -> Option<&'static str> {
    Some(match key {
        "listen" => "127.0.0.1:9999",
        "data_dir" => "elsewhere",
        "trusted_proxies" => "10.0.0.0/8,192.0.2.1",
        "request_slots" | "worker_in_flight" | "read_in_flight" | "read_rate_limit" | "read_rate_burst" => {
            "777"
        }
        "http_workers" => "1021",
        "worker_body_limit" | "pgn_body_limit" | "max_unpacked_pgn" => "7MiB",
        "otlp_endpoint" | "nn_url" | "github_api_url" | "github_raw_url" => "https://networks.example",
        "github_token" => "ghp_77",
        "drain_period" => "77s",
        "readiness_period" | "readiness_deadline" | "liveness_limit" => "77s",
        "readiness_failures" | "readiness_successes" => "7",
        "log" => "debug",
        "log_format" => "json",
        "shutdown_grace" => "77s",
        "mongodb_url" => "mongodb://u:p@host:1,other:2/?replicaSet=rs0",
        "mongodb_database" => "another-farm",
        "mongodb_pool" => "3",
        "mongodb_deadline" => "900ms",
        "store_policy" => "degrade",
        "degrade_limit" => "7",
        // Not without a database that is shared, too.
        "redis_url" => return None,
        "redis_prefix" => "another-farm",
        "redis_deadline" => "700ms",
        "redis_pool" => "7",
        unknown => panic!("give this test a value of `{unknown}`"),
    })
}

#[test]
fn every_setting_can_be_set_by_flag_variable_and_file_alike() {
    let defaults = load(&[], &[], None).unwrap();
    for setting in SETTINGS {
        let Some(value) = other_value(setting.key) else { continue };
        let by_flag = load(&[(setting.key, value)], &[], None).unwrap();
        let by_variable = load(&[], &[(setting.env, value)], None).unwrap();
        let by_file = load(&[], &[], Some(&format!("{} = \"{value}\"", setting.key))).unwrap();
        assert_ne!(by_flag, defaults, "{} has no effect", setting.key);
        assert_eq!(by_flag, by_variable, "{}", setting.key);
        assert_eq!(by_flag, by_file, "{}", setting.key);
    }
}

#[test]
fn the_file_may_use_numbers_and_lists() {
    let config = load(&[], &[], Some("request_slots = 7\ntrusted_proxies = ['10.0.0.0/8', '::1']")).unwrap();
    assert_eq!(config.request_slots.get(), 7);
    let networks: Vec<String> = config.trusted_proxies.networks().iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1"]);
}

#[test]
fn the_file_is_found_by_flag_before_variable_before_the_working_directory() {
    let directory = tempfile::tempdir().unwrap();
    for (name, number) in [("shoal.toml", 1), ("variable.toml", 2), ("flag.toml", 3)] {
        let text = format!("listen = '127.0.0.1:{number}'");
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let variables = [("SHOAL_CONFIG", "variable.toml")];
    let flag = ConfigFlags::default().with_file("flag.toml");
    let none = ConfigFlags::default();
    assert_eq!(port(&load_in(directory.path(), &flag, &variables).unwrap()), 3);
    assert_eq!(port(&load_in(directory.path(), &none, &variables).unwrap()), 2);
    assert_eq!(port(&load_in(directory.path(), &none, &[]).unwrap()), 1);
    assert_eq!(port(&load_in(directory.path(), &none, &[("SHOAL_CONFIG", "")]).unwrap()), 1);
}

#[test]
fn a_file_that_was_named_must_exist() {
    let directory = tempfile::tempdir().unwrap();
    let flag = ConfigFlags::default().with_file("nowhere.toml");
    let error = load_in(directory.path(), &flag, &[]).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("nowhere.toml"), "{error}");
}

#[test]
fn the_networks_address_is_also_read_from_its_older_variable() {
    let older = ("FISHTEST_NN_URL", "https://old.example");
    let newer = ("SHOAL_NN_URL", "https://new.example");
    assert_eq!(load(&[], &[older], None).unwrap().nn_url.as_deref(), Some("https://old.example"));
    assert_eq!(load(&[], &[older, newer], None).unwrap().nn_url.as_deref(), Some("https://new.example"));
    assert_eq!(load(&[], &[("FISHTEST_NN_URL", "")], None).unwrap().nn_url.as_deref(), Some(""));
}

#[test]
fn the_token_is_in_no_form_of_the_configuration() {
    for variable in ["SHOAL_GITHUB_TOKEN", "GH_TOKEN"] {
        let config = load(&[], &[(variable, "ghp_hunter2")], None).unwrap();
        assert_eq!(config.github_token.as_ref().map(|token| token.expose()), Some("ghp_hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
        let told = load(&[], &[(variable, "ghp hunter2")], None).unwrap_err().to_string();
        assert!(told.contains(variable) && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_file() {
    let error = load(&[], &[], Some("listen = '127.0.0.1:0'\nlissen = 'x'")).unwrap_err().to_string();
    assert!(error.contains("`lissen`") && error.contains("shoal.toml"), "{error}");
    assert!(error.contains("request_slots"), "the settings there are should be listed: {error}");
}

#[test]
fn a_table_is_an_unknown_key_too() {
    let error = load(&[], &[], Some("[server]\nlisten = '127.0.0.1:0'")).unwrap_err().to_string();
    assert!(error.contains("`server`"), "{error}");
}

#[test]
fn a_value_of_the_wrong_kind_is_refused() {
    for text in ["listen = 1.5", "listen = true", "[listen]\nport = 1", "listen = [1]"] {
        let error = load(&[], &[], Some(text)).unwrap_err();
        assert!(matches!(&error, ConfigError::Invalid { key: "listen", .. }), "{text}: {error}");
    }
}

#[test]
fn an_invalid_value_names_its_setting_and_where_it_came_from() {
    let flag = load(&[("listen", "nonsense")], &[], None).unwrap_err();
    assert!(matches!(&flag, ConfigError::Invalid { key: "listen", origin: Origin::Flag("--listen"), .. }));
    let variable = load(&[], &[("SHOAL_REQUEST_SLOTS", "0")], None).unwrap_err();
    let told = variable.to_string();
    assert!(told.contains("`request_slots`") && told.contains("SHOAL_REQUEST_SLOTS"), "{told}");
    let file = load(&[], &[], Some("pgn_body_limit = '200 parsecs'")).unwrap_err().to_string();
    assert!(file.contains("`pgn_body_limit`") && file.contains("shoal.toml"), "{file}");
    let older = load(&[], &[("FISHTEST_NN_URL", "ftp://x")], None).unwrap_err().to_string();
    assert!(older.contains("FISHTEST_NN_URL"), "{older}");
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_the_line_but_not_its_text() {
    let error = load(&[], &[], Some("log = 'info'\nredis_url = redis://:hunter2@host")).unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, ConfigError::NotToml { .. }), "{told}");
    assert!(told.contains("line 2"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn redis_wants_a_shared_database_and_its_password_is_never_shown() {
    let variable = "SHOAL_REDIS_URL";
    for wrong in ["scheme://:hunter2@host", "mongodb://:hunter2@host", "redis://:hunter2@"] {
        let told = load(&[], &[(variable, wrong)], None).unwrap_err().to_string();
        assert!(told.contains(variable) && !told.contains("hunter2"), "{told}");
    }
    let alone = load(&[], &[(variable, "redis://:hunter2@host:1")], None).unwrap_err().to_string();
    assert!(alone.contains(variable) && alone.contains("SHOAL_MONGODB_URL"), "{alone}");
    assert!(!alone.contains("hunter2"), "{alone}");
    let both = [(variable, "redis://:hunter2@host:1"), ("SHOAL_MONGODB_URL", "mongodb://db/")];
    let config = load(&[], &both, None).unwrap();
    let shown = format!("{config:?}");
    assert!(shown.contains("host:1") && !shown.contains("hunter2"), "{shown}");
    assert_eq!(config.redis_prefix, "shoal");
    assert!(load(&[], &[("SHOAL_REDIS_PREFIX", "a{b}")], None).is_err());
    assert!(load(&[], &[(variable, "none")], None).is_ok());
    assert!(load(&[], &[(variable, "")], None).is_ok());
}

#[test]
fn a_password_for_mongodb_is_never_shown() {
    let variable = "SHOAL_MONGODB_URL";
    for wrong in ["redis://u:hunter2@host", "mongodb+srv://u:hunter2@host", "mongodb://u:hunter2@/x"] {
        let told = load(&[], &[(variable, wrong)], None).unwrap_err().to_string();
        assert!(told.contains(variable) && !told.contains("hunter2"), "{told}");
    }
    let config = load(&[], &[(variable, "mongodb://u:hunter2@host:1/?replicaSet=rs0")], None).unwrap();
    let shown = format!("{config:?}");
    assert!(shown.contains("host:1") && !shown.contains("hunter2"), "{shown}");
    assert!(load(&[], &[(variable, "none")], None).unwrap().mongodb_url.is_none());
    assert!(load(&[], &[(variable, "")], None).unwrap().mongodb_url.is_none());
}

#[test]
fn a_deadline_that_nothing_can_keep_is_refused() {
    assert!(load(&[], &[("SHOAL_MONGODB_DEADLINE", "0")], None).is_err());
    assert!(load(&[], &[("SHOAL_MONGODB_DEADLINE", "100ms")], None).is_ok());
}

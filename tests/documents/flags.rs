//! The flags of the settings, as a program that flattens them understands them.

use clap::{CommandFactory, Parser, Subcommand};
use shoal::config::{Config, ConfigFlags, SETTINGS};

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    flags: ConfigFlags,
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    Serve,
}

fn config(line: &[&str]) -> Config {
    let program = Program::try_parse_from(line).unwrap();
    let directory = tempfile::tempdir().unwrap();
    Config::load_in(&program.flags, |_| None, directory.path()).unwrap()
}

#[test]
fn flags_hold_before_and_after_the_subcommand() {
    let expected = config(&["shoal", "--listen", "127.0.0.1:1", "--request-slots=9", "serve"]);
    assert_eq!(expected.listen.port(), 1);
    assert_eq!(expected.request_slots.get(), 9);
    assert_eq!(config(&["shoal", "serve", "--listen", "127.0.0.1:1", "--request-slots=9"]), expected);
}

#[test]
fn the_file_flag_is_read() {
    let program = Program::try_parse_from(["shoal", "serve", "--config", "there.toml"]).unwrap();
    assert_eq!(program.flags, ConfigFlags::default().with_file("there.toml"));
}

#[test]
fn clap_finds_no_fault_and_the_long_help_explains_every_setting() {
    Program::command().debug_assert();
    let long = Program::command().render_long_help().to_string();
    let words = long.split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in SETTINGS {
        assert!(words.contains(setting.flag), "{} is not in the help", setting.flag);
        assert!(words.contains(&setting.help()), "{} is not explained", setting.flag);
        assert!(words.contains(setting.env), "{} is not in the help", setting.env);
    }
    let short = Program::command().render_help().to_string();
    assert!(!short.contains("--request-slots"), "the short help should stay short:\n{short}");
}

#[test]
fn names_follow_from_the_key() {
    for setting in SETTINGS {
        assert_eq!(setting.flag, format!("--{}", setting.key.replace('_', "-")));
        assert_eq!(setting.env, format!("SHOAL_{}", setting.key.to_uppercase()));
    }
}

//! The command-line flags of all settings, made from the table.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::settings::{SETTINGS, Setting};
use super::{DEFAULT_FILE, FILE_VARIABLE};

/// Also the id within clap: no field of a subcommand can be called so.
const FILE_FLAG: &str = "--config";

/// Heading above the flags in the long help.
const HEADING: &str = "Configuration";

/// What was said about settings on the command line. Flatten it into a parser: each setting becomes a global flag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFlags {
    file: Option<PathBuf>,
    values: HashMap<&'static str, String>,
}

impl ConfigFlags {
    /// Flags as if given on a command line: (key of a setting, value). Unknown keys are left out.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut flags = Self::default();
        for (key, value) in pairs {
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) {
                flags.values.insert(setting.key, value.to_owned());
            }
        }
        flags
    }

    /// Names the configuration file.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    pub(super) fn text(&self, setting: &Setting) -> Option<&str> {
        self.values.get(setting.key).map(String::as_str)
    }
}

impl Args for ConfigFlags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE_FLAG)
            .long(long_name(FILE_FLAG))
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .global(true)
            .help_heading(HEADING)
            .help(format!(
                "Configuration file [env: {FILE_VARIABLE}] [default: {DEFAULT_FILE}, if there is one]"
            ));
        let command = command.arg(file);
        SETTINGS.iter().fold(command, |command, setting| command.arg(argument(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The short help stays short: settings appear in `--help` only.
fn argument(setting: &'static Setting) -> Arg {
    let older = setting.older_env.map(|name| format!(" or {name}")).unwrap_or_default();
    Arg::new(setting.flag)
        .long(long_name(setting.flag))
        .value_name(setting.value_name)
        .global(true)
        .allow_hyphen_values(false)
        .hide_short_help(true)
        .help_heading(HEADING)
        .help(format!("{} [env: {}{older}] [default: {}]", setting.help(), setting.env, setting.default))
}

fn long_name(flag: &'static str) -> &'static str {
    flag.trim_start_matches('-')
}

impl FromArgMatches for ConfigFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if let Some(path) = matches.get_one::<PathBuf>(FILE_FLAG) {
            self.file = Some(path.clone());
        }
        for setting in SETTINGS {
            if let Some(value) = matches.get_one::<String>(setting.flag) {
                self.values.insert(setting.key, value.clone());
            }
        }
        Ok(())
    }
}

//! Every setting, once: [`settings`] is the table from which the typed [`Config`], the command-line flags, the default
//! file and the reference in the README follow.
//!
//! A value comes from, in this order: a flag, an environment variable, the configuration file, the default.

mod error;
mod flags;
mod parse;
mod reference;
mod settings;
mod sources;
mod values;

use std::path::Path;

pub use self::error::{ConfigError, Origin};
pub use self::flags::ConfigFlags;
pub use self::settings::{Config, SETTINGS, Setting};
use self::sources::Sources;
pub use self::values::{LogFormat, MongoUrl, Network, RedisUrl, Secret, TrustedProxies};

/// The configuration file that is read, if it exists, when none is named.
pub const DEFAULT_FILE: &str = "shoal.toml";

/// The environment variable that names the configuration file.
pub const FILE_VARIABLE: &str = "SHOAL_CONFIG";

impl Config {
    /// The configuration of this process: flags, then environment, then the file, then defaults. The file is the one
    /// named by `--config` or `SHOAL_CONFIG`, else [`DEFAULT_FILE`] in the working directory, if there is one.
    ///
    /// # Errors
    /// When a file that was named can't be read, when a file is not TOML or has an unknown key, and when a value is
    /// invalid; each names what is wrong and where it stands.
    pub fn load(flags: &ConfigFlags, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Self::load_in(flags, env, Path::new(""))
    }

    /// As [`Config::load`], with relative paths of configuration files seen from `directory`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_in(
        flags: &ConfigFlags,
        env: impl Fn(&str) -> Option<String>,
        directory: &Path,
    ) -> Result<Self, ConfigError> {
        Self::from_sources(&Sources::new(flags, &env, directory)?)
    }

    /// The commented default configuration file: each setting with its meaning, its names and its default.
    pub fn default_file() -> String {
        reference::default_file()
    }

    /// The table of all settings for the README, in Markdown.
    pub fn reference_markdown() -> String {
        reference::markdown()
    }
}

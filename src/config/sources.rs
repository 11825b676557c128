//! Where values are looked for, and in which order.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::error::{ConfigError, Origin};
use super::flags::ConfigFlags;
use super::settings::{SETTINGS, Setting};
use super::{DEFAULT_FILE, FILE_VARIABLE};

type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Flags, environment and file, ready to be asked.
pub(super) struct Sources<'a> {
    flags: &'a ConfigFlags,
    env: &'a Environment<'a>,
    file: Option<File>,
}

/// What the configuration file says, as texts.
struct File {
    path: PathBuf,
    values: HashMap<&'static str, String>,
}

impl<'a> Sources<'a> {
    pub(super) fn new(
        flags: &'a ConfigFlags,
        env: &'a Environment<'a>,
        directory: &Path,
    ) -> Result<Self, ConfigError> {
        let named = flags
            .file()
            .map(Path::to_path_buf)
            .or_else(|| env(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
        let file = match named {
            Some(path) => Some(File::read(directory.join(path))?),
            None => File::read_if_present(directory.join(DEFAULT_FILE))?,
        };
        Ok(Self { flags, env, file })
    }

    /// The value of the setting `key`, from the first source that has one.
    pub(super) fn value<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let (text, origin) = self.text(key);
        parse(&text).map_err(|reason| ConfigError::Invalid { key, origin, reason })
    }

    /// Where the value of the setting `key` came from.
    pub(super) fn origin(&self, key: &'static str) -> Origin {
        self.text(key).1
    }

    fn text(&self, key: &'static str) -> (String, Origin) {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
            // The table makes this call and the list: a key is in both or in neither.
            return (String::new(), Origin::Default);
        };
        if let Some(text) = self.flags.text(setting) {
            return (text.to_owned(), Origin::Flag(setting.flag));
        }
        for name in [Some(setting.env), setting.older_env].into_iter().flatten() {
            if let Some(text) = (self.env)(name) {
                return (text, Origin::Environment(name));
            }
        }
        if let Some(file) = &self.file
            && let Some(text) = file.values.get(key)
        {
            return (text.clone(), Origin::File(file.path.clone()));
        }
        (setting.default.to_owned(), Origin::Default)
    }
}

impl File {
    fn read_if_present(path: PathBuf) -> Result<Option<Self>, ConfigError> {
        match Self::read(path) {
            Err(ConfigError::Unreadable { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(file) => Ok(Some(file)),
        }
    }

    fn read(path: PathBuf) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        };
        let table = match text.parse::<Table>() {
            Ok(table) => table,
            Err(error) => return Err(ConfigError::NotToml { path, reason: describe(&error, &text) }),
        };
        let mut values = HashMap::new();
        for (key, value) in table {
            let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
                return Err(ConfigError::UnknownKey { path, key, known: known_keys() });
            };
            let Some(text) = text_of(&value) else {
                return Err(not_plain(setting, path));
            };
            values.insert(setting.key, text);
        }
        Ok(Self { path, values })
    }
}

/// The line and the complaint; never the line's text, which may hold a password.
fn describe(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    format!("line {line}: {}", error.message())
}

fn known_keys() -> String {
    SETTINGS.iter().map(|setting| setting.key).collect::<Vec<_>>().join(", ")
}

fn not_plain(setting: &Setting, path: PathBuf) -> ConfigError {
    ConfigError::Invalid {
        key: setting.key,
        origin: Origin::File(path),
        reason: "expected a text, a number, or a list of texts".to_owned(),
    }
}

/// A TOML value as one would write it in a variable; a list is joined by commas.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Array(items) => {
            let texts = items.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?;
            Some(texts.join(","))
        }
        Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

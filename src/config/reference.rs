//! The table of settings as documents.

use super::settings::{SETTINGS, Setting};
use super::{DEFAULT_FILE, FILE_VARIABLE};

/// Width of comments in the default file.
const WIDTH: usize = 100;

/// See [`super::Config::default_file`]. Comments begin with `# `; a setting is out of force by a `#` without a blank, so
/// that a later release's better default is not held back by a file that never meant to set it.
pub(super) fn default_file() -> String {
    let mut text = String::new();
    comment(
        &mut text,
        &format!(
            "The configuration of Shoal. Every setting is here with its default, out of force: remove the # to set it. Read \
         from the path in --config or {FILE_VARIABLE}, else from {DEFAULT_FILE} in the working directory. A flag comes \
         before an environment variable, that before this file, and this file before the default."
        ),
    );
    for setting in SETTINGS {
        text.push('\n');
        comment(&mut text, &setting.help());
        comment(
            &mut text,
            &format!("Environment: {}. Flag: {} {}.", variables(setting), setting.flag, setting.value_name),
        );
        text.push_str(&format!("#{} = {}\n", setting.key, toml_value(setting.default)));
    }
    text
}

/// See [`super::Config::reference_markdown`].
pub(super) fn markdown() -> String {
    let mut text = String::from(
        "| key in the file | flag | environment | default | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for setting in SETTINGS {
        let variables: Vec<String> = [Some(setting.env), setting.older_env]
            .into_iter()
            .flatten()
            .map(|name| format!("`{name}`"))
            .collect();
        text.push_str(&format!(
            "| `{}` | `{}` | {} | `{}` | {} |\n",
            setting.key,
            setting.flag,
            variables.join(" or "),
            cell(setting.default),
            cell(&setting.help()),
        ));
    }
    text
}

fn variables(setting: &Setting) -> String {
    match setting.older_env {
        Some(older) => format!("{} or {older}", setting.env),
        None => setting.env.to_owned(),
    }
}

/// Defaults are plain words and numbers; what is not a number is quoted.
fn toml_value(default: &str) -> String {
    match default.parse::<i64>() {
        Ok(number) => number.to_string(),
        Err(_) => toml::Value::String(default.to_owned()).to_string(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Appends comment lines, broken between words.
fn comment(text: &mut String, sentence: &str) {
    let mut line = String::from("#");
    for word in sentence.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

//! The references that are written by the program, and stand in files.

use shoal::config::{Config, SETTINGS};

use super::configuration::load;

const BEGIN: &str = "<!-- config:begin -->\n";
const END: &str = "<!-- config:end -->";

#[test]
fn the_readme_has_the_reference_that_the_program_writes() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let after = readme.split_once(BEGIN).expect("README.md has no line <!-- config:begin -->").1;
    let stands = after.split_once(END).expect("README.md has no line <!-- config:end -->").0;
    let written = Config::reference_markdown();
    if std::env::var_os("SHOAL_WRITE_REFERENCES").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        std::fs::write(path, readme.replacen(stands, &written, 1)).unwrap();
        return;
    }
    assert!(stands == written, "put this between the markers in README.md:\n\n{written}");
}

#[test]
fn the_default_file_changes_nothing() {
    let defaults = load(&[], &[], None).unwrap();
    assert_eq!(load(&[], &[], Some(&Config::default_file())).unwrap(), defaults);
}

#[test]
fn the_default_file_with_all_settings_in_force_parses_back_to_the_defaults() {
    let in_force: String = Config::default_file()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    for setting in SETTINGS {
        let begins = format!("{} = ", setting.key);
        assert!(in_force.lines().any(|line| line.starts_with(&begins)), "{} is missing", setting.key);
    }
    let defaults = load(&[], &[], None).unwrap();
    assert_eq!(load(&[], &[], Some(&in_force)).unwrap(), defaults);
}

#[test]
fn both_references_name_every_way_to_set_a_setting() {
    for document in [Config::default_file(), Config::reference_markdown()] {
        for setting in SETTINGS {
            let names = [Some(setting.key), Some(setting.flag), Some(setting.env), setting.older_env];
            for name in names.into_iter().flatten() {
                assert!(document.contains(name), "{name} is missing in:\n{document}");
            }
        }
    }
}

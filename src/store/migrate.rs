//! The schema's history: ordered, named, checksummed steps, each applied once and written down. What a step does is
//! the store's own business; which steps there are, and in which order, is the same for all.
//!
//! A step only ever adds what the next release needs; what the last one needed is taken away by a later release. So
//! two releases can run side by side while a farm is updated, and the older one can come back. After the first, a step's
//! name says which it is: `0002_expand_…` or `0003_contract_…`.

use sha2::{Digest, Sha256};

use crate::domain::ids::Millis;

/// One step of the schema's history. A released step is never edited.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its name; names sort in the order of application.
    pub name: &'static str,
    /// What it does, in the language of its store.
    pub text: &'static str,
}

impl Migration {
    /// SHA-256 of the step's text, in hex: what tells an edited step from the one that was applied.
    pub fn checksum(&self) -> String {
        Sha256::digest(self.text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A step that was applied, as a store has written it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedStep {
    /// Its name.
    pub name: String,
    /// Checksum of the text that was applied.
    pub checksum: String,
    /// When.
    pub at: Millis,
}

/// What the name of a step that only adds begins with, after its number.
const EXPAND: &str = "expand_";

impl AppliedStep {
    /// Whether a version that doesn't know the step can live with it.
    fn only_adds(&self) -> bool {
        self.name.split_once('_').is_some_and(|(_, what)| what.starts_with(EXPAND))
    }
}

/// Why this version of the program can't work with a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A newer version has changed it, and not only by adding to it.
    #[error("the schema was changed by a newer version of shoal (step {0}); use that version")]
    Newer(String),
    /// A step isn't the one that was applied.
    #[error("step {0} of the schema was applied with another text than this version has")]
    Edited(String),
}

/// A step, and when it was applied if it was.
#[derive(Debug, Clone, Copy)]
pub struct StepState {
    /// The step.
    pub step: &'static Migration,
    /// When it was applied.
    pub applied_at: Option<Millis>,
}

/// The steps that are not applied yet, in order. `applied` is ordered by name. What a newer version has only added disturbs
/// nobody.
///
/// # Errors
/// When a step was applied that is not known here and takes something away, or that was edited since.
pub fn pending<'a>(known: &'a [Migration], applied: &[AppliedStep]) -> Result<&'a [Migration], SchemaError> {
    for (position, there) in applied.iter().enumerate() {
        match known.get(position) {
            Some(step) if step.name == there.name => {
                if step.checksum() != there.checksum {
                    return Err(SchemaError::Edited(there.name.clone()));
                }
            }
            None if there.only_adds() => {}
            _ => return Err(SchemaError::Newer(there.name.clone())),
        }
    }
    Ok(known.get(applied.len()..).unwrap_or_default())
}

/// All steps with their states.
///
/// # Errors
/// As [`pending`].
pub fn states(known: &'static [Migration], applied: &[AppliedStep]) -> Result<Vec<StepState>, SchemaError> {
    pending(known, applied)?;
    let at = |position: usize| applied.get(position).map(|step| step.at);
    Ok(known
        .iter()
        .enumerate()
        .map(|(position, step)| StepState { step, applied_at: at(position) })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Migration] =
        &[Migration { name: "0001_a", text: "one" }, Migration { name: "0002_b", text: "two" }];

    fn applied(step: &Migration) -> AppliedStep {
        AppliedStep { name: step.name.to_owned(), checksum: step.checksum(), at: Millis(7) }
    }

    #[test]
    fn what_is_left_is_the_rest_in_order() {
        assert_eq!(pending(KNOWN, &[]).unwrap().len(), 2);
        let left = pending(KNOWN, &[applied(&KNOWN[0])]).unwrap();
        assert_eq!(left.iter().map(|step| step.name).collect::<Vec<_>>(), ["0002_b"]);
        let states = states(KNOWN, &[applied(&KNOWN[0])]).unwrap();
        let at: Vec<_> = states.iter().map(|state| state.applied_at).collect();
        assert_eq!(at, [Some(Millis(7)), None]);
    }

    #[test]
    fn a_step_of_a_newer_version_and_an_edited_one_are_named() {
        let future = AppliedStep { name: "9999_future".into(), ..applied(&KNOWN[1]) };
        assert_eq!(
            pending(KNOWN, &[applied(&KNOWN[0]), future.clone()]).unwrap_err(),
            SchemaError::Newer("9999_future".into())
        );
        assert_eq!(
            pending(&[], std::slice::from_ref(&future)).unwrap_err(),
            SchemaError::Newer(future.name.clone())
        );
        let added = AppliedStep { name: "0003_expand_index".into(), ..future.clone() };
        let both = [applied(&KNOWN[0]), applied(&KNOWN[1]), added.clone()];
        assert!(
            pending(KNOWN, &both).unwrap().is_empty(),
            "the last release lives with what the next one added"
        );
        // But not in the place of one that isn't applied.
        assert!(pending(KNOWN, &[applied(&KNOWN[0]), added]).is_err());
        let edited = AppliedStep { checksum: "other".into(), ..applied(&KNOWN[0]) };
        assert_eq!(pending(KNOWN, &[edited]).unwrap_err(), SchemaError::Edited("0001_a".into()));
    }

    #[test]
    fn every_step_after_the_first_says_whether_it_only_adds() {
        for known in [crate::store::mongo::MIGRATIONS, crate::store::sqlite::migrate::MIGRATIONS] {
            let names: Vec<_> = known.iter().map(|step| step.name).collect();
            assert!(names.is_sorted() && names[0] == "0001_initial", "{names:?}");
            for name in &names[1..] {
                let (_, what) = name.split_once('_').unwrap();
                assert!(what.starts_with(EXPAND) || what.starts_with("contract_"), "{name}");
            }
        }
    }
}

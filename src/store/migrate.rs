//! The schema's history: ordered, named, checksummed steps, each applied once and written down. What a step does is
//! the store's own business; which steps there are, and in which order, is the same for all.
//!
//! A step only ever adds what the next release needs; what the last one needed is taken away by a later release. So
//! two releases can run side by side while a farm is updated.

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

/// Why this version of the program can't work with a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A newer version has changed it.
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

/// The steps that are not applied yet, in order. `applied` is ordered by name.
///
/// # Errors
/// When a step was applied that is not known here, or was edited since.
pub fn pending<'a>(known: &'a [Migration], applied: &[AppliedStep]) -> Result<&'a [Migration], SchemaError> {
    for (position, there) in applied.iter().enumerate() {
        let Some(step) = known.get(position).filter(|step| step.name == there.name) else {
            return Err(SchemaError::Newer(there.name.clone()));
        };
        if step.checksum() != there.checksum {
            return Err(SchemaError::Edited(there.name.clone()));
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
        assert_eq!(pending(&[], std::slice::from_ref(&future)).unwrap_err(), SchemaError::Newer(future.name));
        let edited = AppliedStep { checksum: "other".into(), ..applied(&KNOWN[0]) };
        assert_eq!(pending(KNOWN, &[edited]).unwrap_err(), SchemaError::Edited("0001_a".into()));
    }
}

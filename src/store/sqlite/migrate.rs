//! The schema's history: ordered, named, checksummed steps, each applied once and written down.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use super::open::OpenError;
use crate::sys::clock::wall_now;

/// One step of the schema's history. A released step is never edited.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its name; names sort in the order of application.
    pub name: &'static str,
    /// What it executes.
    pub sql: &'static str,
}

/// All steps that this version knows, in order.
pub const MIGRATIONS: &[Migration] =
    &[Migration { name: "0001_initial", sql: include_str!("../../../migrations/sqlite/0001_initial.sql") }];

impl Migration {
    /// SHA-256 of the step's text, in hex: what tells an edited step from the one that was applied.
    pub fn checksum(&self) -> String {
        Sha256::digest(self.sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The steps that are not applied yet, in order. Nothing is changed.
///
/// # Errors
/// [`OpenError::NewerSchema`] when the file has a step that this version doesn't know, [`OpenError::EditedSchema`] when
/// an applied step has another text here.
pub fn pending(connection: &Connection) -> Result<&'static [Migration], OpenError> {
    pending_of(connection, MIGRATIONS)
}

/// Applies what is pending, each step in its own transaction; the names of what was applied. Two processes may do this
/// at once: the second finds nothing left to do.
///
/// # Errors
/// Those of [`pending`], and the database's own.
pub fn migrate(connection: &mut Connection) -> Result<Vec<&'static str>, OpenError> {
    migrate_to(connection, MIGRATIONS)
}

fn migrate_to(
    connection: &mut Connection,
    known: &'static [Migration],
) -> Result<Vec<&'static str>, OpenError> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
             name TEXT PRIMARY KEY NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL
         )",
    )?;
    let mut applied = Vec::new();
    loop {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let Some(next) = pending_of(&step, known)?.first() else { return Ok(applied) };
        step.execute_batch(next.sql)?;
        step.execute(
            "INSERT INTO schema_migrations (name, checksum, applied_at) VALUES (?1, ?2, ?3)",
            params![next.name, next.checksum(), wall_now().0],
        )?;
        let count =
            step.query_row("SELECT count(*) FROM schema_migrations", [], |row| row.get::<_, i64>(0))?;
        step.pragma_update(None, "user_version", count)?;
        step.commit()?;
        applied.push(next.name);
    }
}

fn pending_of<'a>(connection: &Connection, known: &'a [Migration]) -> Result<&'a [Migration], OpenError> {
    let applied = applied(connection)?;
    for (position, (name, checksum)) in applied.iter().enumerate() {
        let Some(step) = known.get(position) else { return Err(OpenError::NewerSchema(name.clone())) };
        if step.name != name {
            return Err(OpenError::NewerSchema(name.clone()));
        }
        if step.checksum() != *checksum {
            return Err(OpenError::EditedSchema(name.clone()));
        }
    }
    Ok(known.get(applied.len()..).unwrap_or_default())
}

fn applied(connection: &Connection) -> Result<Vec<(String, String)>, OpenError> {
    let there = connection
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations'",
            [],
            |_| Ok(()),
        )
        .optional()?;
    if there.is_none() {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare("SELECT name, checksum FROM schema_migrations ORDER BY name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrated() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection
    }

    #[test]
    fn every_step_is_applied_once_and_in_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        let names: Vec<_> = MIGRATIONS.iter().map(|step| step.name).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(migrate(&mut connection).unwrap(), names);
        assert!(migrate(&mut connection).unwrap().is_empty());
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, MIGRATIONS.len() as i64);
    }

    #[test]
    fn a_step_of_a_newer_version_is_refused_by_name() {
        let mut connection = migrated();
        connection.execute("INSERT INTO schema_migrations VALUES ('9999_future', 'x', 0)", []).unwrap();
        let error = migrate(&mut connection).unwrap_err();
        assert!(matches!(&error, OpenError::NewerSchema(name) if name == "9999_future"), "{error}");
    }

    #[test]
    fn an_edited_step_is_refused_by_name() {
        let mut connection = migrated();
        connection.execute("UPDATE schema_migrations SET checksum = 'other'", []).unwrap();
        let error = migrate(&mut connection).unwrap_err();
        assert!(matches!(&error, OpenError::EditedSchema(name) if name == MIGRATIONS[0].name), "{error}");
    }

    #[test]
    fn a_failing_step_leaves_nothing_behind_and_earlier_ones_stand() {
        const KNOWN: &[Migration] = &[
            Migration { name: "0001_good", sql: "CREATE TABLE good (a);" },
            Migration { name: "0002_broken", sql: "CREATE TABLE broken (a); SELECT nonsense;" },
        ];
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(migrate_to(&mut connection, KNOWN).is_err());
        let tables: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE name IN ('good', 'broken')")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(tables, ["good"]);
        let left: Vec<_> = pending_of(&connection, KNOWN).unwrap().iter().map(|step| step.name).collect();
        assert_eq!(left, ["0002_broken"]);
    }
}

//! The schema of a file: steps of SQL, each in a transaction of its own.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::open::OpenError;
use crate::domain::ids::Millis;
pub use crate::store::migrate::Migration;
use crate::store::migrate::{AppliedStep, StepState, pending as pending_after, states};
use crate::sys::clock::wall_now;

/// All steps that this version knows, in order.
pub const MIGRATIONS: &[Migration] =
    &[Migration { name: "0001_initial", text: include_str!("../../../migrations/sqlite/0001_initial.sql") }];

/// The steps that are not applied yet, in order. Nothing is changed.
///
/// # Errors
/// [`OpenError::Schema`] when the file has a step that this version doesn't know, or an applied step has another text
/// here.
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
        step.execute_batch(next.text)?;
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
    Ok(pending_after(known, &applied(connection)?)?)
}

/// All steps and their states. Nothing is changed.
///
/// # Errors
/// Those of [`pending`].
pub fn schema(connection: &Connection) -> Result<Vec<StepState>, OpenError> {
    Ok(states(MIGRATIONS, &applied(connection)?)?)
}

fn applied(connection: &Connection) -> Result<Vec<AppliedStep>, OpenError> {
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
    let mut statement =
        connection.prepare("SELECT name, checksum, applied_at FROM schema_migrations ORDER BY name")?;
    let rows = statement.query_map([], |row| {
        Ok(AppliedStep { name: row.get(0)?, checksum: row.get(1)?, at: Millis(row.get(2)?) })
    })?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrate::SchemaError;

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
        assert!(
            matches!(&error, OpenError::Schema(SchemaError::Newer(name)) if name == "9999_future"),
            "{error}"
        );
    }

    #[test]
    fn an_edited_step_is_refused_by_name() {
        let mut connection = migrated();
        connection.execute("UPDATE schema_migrations SET checksum = 'other'", []).unwrap();
        let error = migrate(&mut connection).unwrap_err();
        assert!(
            matches!(&error, OpenError::Schema(SchemaError::Edited(name)) if name == MIGRATIONS[0].name),
            "{error}"
        );
    }

    #[test]
    fn a_failing_step_leaves_nothing_behind_and_earlier_ones_stand() {
        const KNOWN: &[Migration] = &[
            Migration { name: "0001_good", text: "CREATE TABLE good (a);" },
            Migration { name: "0002_broken", text: "CREATE TABLE broken (a); SELECT nonsense;" },
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

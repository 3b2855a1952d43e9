//! Schema: what the database file looks like. Each version has one migration, made in one transaction; a file of a
//! newer version than this program knows is refused, and so is one that is another program's.

use rusqlite::{Connection, TransactionBehavior};

/// Says in the file's header whose it is ("RNGB").
const APPLICATION_ID: i32 = 0x524e_4742;

/// What makes each version out of the one before; the first out of an empty file.
const MIGRATIONS: [&str; 3] = [
    include_str!("schema-1.sql"),
    concat!(
        include_str!("schema-2.sql"),
        include_str!("schema-sessions.sql")
    ),
    include_str!("schema-3.sql"),
];

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SchemaError {
    /// It is something else.
    #[error("a database of another program")]
    Foreign,
    /// A newer program wrote it.
    #[error("schema version {found}; this program knows versions up to {known}")]
    Newer {
        /// Its version.
        found: i64,
        /// The newest that is known.
        known: usize,
    },
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Whether a file is a registry's, or an empty one, of a version that is known. Changes nothing.
pub(super) fn check(connection: &Connection) -> Result<(), SchemaError> {
    version(connection).map(|_| ())
}

/// Brings a file to the newest version, and says from which one; 0 is an empty file.
pub(super) fn migrate(connection: &mut Connection) -> Result<usize, SchemaError> {
    if version(connection)? == MIGRATIONS.len() {
        return Ok(MIGRATIONS.len());
    }
    // Two programs that open one file at once take turns.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from = version(&transaction)?;
    for (number, migration) in (1_i64..).zip(MIGRATIONS).skip(from) {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", number)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()?;
    Ok(from)
}

fn version(connection: &Connection) -> Result<usize, SchemaError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (id, found) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_empty = id == 0 && found == 0 && tables == 0;
    if id != i64::from(APPLICATION_ID) && !is_empty {
        return Err(SchemaError::Foreign);
    }
    let known = MIGRATIONS.len();
    usize::try_from(found)
        .ok()
        .filter(|found| *found <= known)
        .ok_or(SchemaError::Newer { found, known })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::sessions;
    use super::*;
    use crate::radius::{AccountingEvent, Act};

    #[test]
    fn an_empty_file_becomes_the_newest_version_and_stays_so() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(migrate(&mut connection).unwrap(), 0);
        assert_eq!(migrate(&mut connection).unwrap(), MIGRATIONS.len());
    }

    #[test]
    fn another_programs_file_and_a_newer_one_are_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE x (y)").unwrap();
        assert!(matches!(
            migrate(&mut connection),
            Err(SchemaError::Foreign)
        ));

        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let refusal = migrate(&mut connection).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "schema version 99; this program knows versions up to 3"
        );
    }

    #[test]
    fn a_migration_that_fails_leaves_the_file_as_it_was() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .unwrap();
        // In the way of the first migration.
        connection.execute_batch("CREATE TABLE sims (y)").unwrap();
        assert!(matches!(
            migrate(&mut connection),
            Err(SchemaError::Sqlite(_))
        ));
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn sessions_of_before_there_were_clients_are_still_ended() {
        let mut connection = Connection::open_in_memory().unwrap();
        for migration in MIGRATIONS.iter().take(2) {
            connection.execute_batch(migration).unwrap();
        }
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .unwrap();
        connection.pragma_update(None, "user_version", 2).unwrap();
        connection
            .execute_batch(
                "INSERT INTO sessions VALUES ('default', '10.0.0.1', 32, '440100000000001', NULL, 'radius', 'n', 's', '', '', 1, 2); \
                 INSERT INTO accounting VALUES ('n', 's', 2, 0), ('n', '', 1, 0);",
            )
            .unwrap();
        assert_eq!(migrate(&mut connection).unwrap(), 2);
        let transaction = connection.transaction().unwrap();
        let event = AccountingEvent {
            nas: Arc::from("n"),
            client: Arc::from("10.0.0.0/8"),
            networks: Arc::from([Arc::from("default")]),
            request: None,
            time_ms: 3,
            own_ms: None,
            act: Act::Stop {
                session_id: Arc::from("s"),
                imsi: None,
            },
        };
        let applied = sessions::apply(&transaction, &[event.into()], 4).unwrap();
        assert_eq!(applied.changes.len(), 1);
        let over = "SELECT client, is_over FROM accounting WHERE session_id = 's' ORDER BY client";
        let mut select = transaction.prepare(over).unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        let rows: Vec<(String, bool)> = rows.unwrap().map(Result::unwrap).collect();
        assert_eq!(rows[1], ("10.0.0.0/8".to_owned(), true));
    }
}

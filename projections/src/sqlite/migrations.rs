//! The versions of the schema: the files in `migrations/`, embedded, and what applies them in sequence.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

/// One step from a version of the schema to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Migration {
    /// The version it makes.
    pub(super) version: u32,
    /// Its file in `migrations/`.
    pub(super) file: &'static str,
    pub(super) sql: &'static str,
}

macro_rules! migration {
    ($version:literal, $file:literal) => {
        Migration {
            version: $version,
            file: $file,
            sql: include_str!(concat!("../../../migrations/", $file)),
        }
    };
}

/// Every migration, in the order they are applied.
pub(super) const MIGRATIONS: &[Migration] =
    &[migration!(1, "001_initial.sql"), migration!(2, "002_labels_and_checkpoint.sql")];

/// The version of the schema that this program writes.
pub const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

// A version is its place in the table.
const _: () = {
    let mut index = 0;
    while index < MIGRATIONS.len() {
        assert!(MIGRATIONS[index].version as usize == index + 1);
        index += 1;
    }
};

/// A migration that failed. Nothing of it was applied.
#[derive(Debug, thiserror::Error)]
#[error("migration {file} failed: {source}")]
pub(super) struct MigrationError {
    pub(super) file: &'static str,
    pub(super) source: rusqlite::Error,
}

/// Applies those of `migrations` that lie above `version`, each in a transaction of its own together with its row in
/// `schema_version`.
pub(super) fn migrate(
    connection: &Connection,
    migrations: &[Migration],
    version: u32,
) -> Result<(), MigrationError> {
    let due = migrations.iter().filter(|migration| migration.version > version);
    for migration in due {
        apply(connection, migration).map_err(|source| {
            let file = migration.file;
            let path = connection.path().unwrap_or_default();
            tracing::error!(path, migration = file, error = %source, "a migration failed; nothing of it was applied");
            MigrationError { file, source }
        })?;
    }
    Ok(())
}

fn apply(connection: &Connection, migration: &Migration) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.execute_batch(migration.sql)?;
    transaction.execute(
        "INSERT INTO schema_version (version, applied_at)
         VALUES (?1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
        [migration.version],
    )?;
    transaction.commit()
}

/// The versions a database says were applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// There is nothing in the database at all.
    Nothing,
    /// Everything up to this one.
    Through(u32),
    /// There is no table of versions, but others.
    Unknown,
    /// The table of versions has holes or strange numbers.
    Confused,
}

/// Which migrations were applied to a database.
pub(crate) fn applied(connection: &Connection) -> rusqlite::Result<Applied> {
    let tables = "SELECT sum(name = 'schema_version' AND type = 'table') FROM sqlite_schema";
    let has_table: Option<i64> = connection.query_row(tables, [], |row| row.get(0))?;
    match has_table {
        None => return Ok(Applied::Nothing),
        Some(0) => return Ok(Applied::Unknown),
        Some(_) => {}
    }
    let range = "SELECT count(*), max(version) FROM schema_version HAVING min(version) = 1";
    let found: Option<(u32, u32)> =
        connection.query_row(range, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(match found {
        Some((count, newest)) if count == newest => Applied::Through(newest),
        _ => Applied::Confused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(connection: &Connection) -> Vec<String> {
        let mut statement =
            connection.prepare("SELECT name FROM sqlite_schema ORDER BY name").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn the_table_lists_exactly_the_files_of_the_directory() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
        let mut files: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sql"))
            .collect();
        files.sort();
        let listed: Vec<_> = MIGRATIONS.iter().map(|migration| migration.file).collect();
        assert_eq!(files, listed);
        for migration in MIGRATIONS {
            assert!(migration.file.starts_with(&format!("{:03}_", migration.version)));
        }
    }

    #[test]
    fn every_migration_is_applied_once_and_leaves_its_version() {
        let connection = Connection::open_in_memory().unwrap();
        assert_eq!(applied(&connection).unwrap(), Applied::Nothing);
        migrate(&connection, &MIGRATIONS[..1], 0).unwrap();
        assert_eq!(applied(&connection).unwrap(), Applied::Through(1));
        migrate(&connection, MIGRATIONS, 1).unwrap();
        assert_eq!(applied(&connection).unwrap(), Applied::Through(SCHEMA_VERSION));
        migrate(&connection, MIGRATIONS, SCHEMA_VERSION).unwrap();
        let applied_at = "SELECT applied_at FROM schema_version WHERE version = 2
                          AND applied_at GLOB '????-??-??T??:??:??.???Z'";
        assert!(connection.prepare(applied_at).unwrap().exists([]).unwrap());
    }

    #[test]
    fn a_migration_that_fails_halfway_leaves_nothing() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection, MIGRATIONS, 0).unwrap();
        let before = schema(&connection);
        let sql = "CREATE TABLE third (x); INSERT INTO nowhere VALUES (1);";
        let third = Migration { version: 3, file: "003_third.sql", sql };
        let migrations = [MIGRATIONS[0], MIGRATIONS[1], third];
        let error = migrate(&connection, &migrations, SCHEMA_VERSION).unwrap_err();
        assert!(error.to_string().contains("003_third.sql failed: no such table"), "{error}");
        assert_eq!(schema(&connection), before);
        assert_eq!(applied(&connection).unwrap(), Applied::Through(2));
    }

    #[test]
    fn the_second_migration_labels_the_events_that_are_there() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection, &MIGRATIONS[..1], 0).unwrap();
        connection
            .execute_batch(
                r#"INSERT INTO events (event_id, timestamp, camera_id, detected_objects) VALUES
                   ('a', '2026-11-23T10:00:00.000Z', 'camera_1',
                    '[{"label":"person"},{"label":"car"},{"label":"person"}]'),
                   ('b', '2026-11-23T10:00:01.000Z', 'camera_2', NULL),
                   ('c', '2026-11-23T10:00:02.000Z', 'camera_2', '[]')"#,
            )
            .unwrap();
        migrate(&connection, MIGRATIONS, 1).unwrap();
        let labels: String = connection
            .query_row(
                "SELECT group_concat(id || label || camera_id || timestamp, ' ') FROM event_labels",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(
            labels,
            "1carcamera_12026-11-23T10:00:00.000Z 1personcamera_12026-11-23T10:00:00.000Z"
        );
    }

    #[test]
    fn a_table_of_versions_with_holes_is_told_apart() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE other (x)").unwrap();
        assert_eq!(applied(&connection).unwrap(), Applied::Unknown);
        connection.execute_batch(MIGRATIONS[0].sql).unwrap();
        assert_eq!(applied(&connection).unwrap(), Applied::Confused);
        for (versions, expected) in [
            ("(1), (3)", Applied::Confused),
            ("(2), (3)", Applied::Confused),
            ("(-1), (1), (2)", Applied::Confused),
            ("(1), (2), (3)", Applied::Through(3)),
        ] {
            let rows = format!(
                "DELETE FROM schema_version; INSERT INTO schema_version (version) VALUES {versions}"
            );
            connection.execute_batch(&rows).unwrap();
            assert_eq!(applied(&connection).unwrap(), expected, "{versions}");
        }
    }
}

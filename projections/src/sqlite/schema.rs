//! The schema as it must stand in the file: what the migrations make, compared with what is there.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::migrations::{MIGRATIONS, MigrationError, migrate};

/// Tables and indexes by their names, each with its kind and the SQL that makes it.
pub(super) type Objects = BTreeMap<String, Object>;

/// A table, index, view or trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// As SQLite calls it: `table`, `index`, `view`, `trigger`.
    pub(super) kind: String,
    /// What makes it, as it was written.
    pub(super) sql: String,
    /// It holds no pages of its own: a virtual table, a view, a trigger.
    pub(super) is_virtual: bool,
}

/// What the migrations up to `version` make.
pub(super) fn expected(version: u32) -> Result<Objects, MigrationError> {
    let setting_up = |source| MigrationError { file: "(in memory)", source };
    let connection = Connection::open_in_memory().map_err(setting_up)?;
    let count = MIGRATIONS.len().min(version as usize);
    migrate(&connection, &MIGRATIONS[..count], 0)?;
    found(&connection).map_err(setting_up)
}

/// What is there, without what SQLite keeps for itself.
pub(super) fn found(connection: &Connection) -> rusqlite::Result<Objects> {
    let mut statement = connection.prepare(
        "SELECT name, type, sql, coalesce(rootpage, 0) = 0 FROM main.sqlite_schema
         WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )?;
    let rows = statement.query_map([], |row| {
        let object = Object { kind: row.get(1)?, sql: row.get(2)?, is_virtual: row.get(3)? };
        Ok((row.get(0)?, object))
    })?;
    rows.collect()
}

/// What is wrong with our part of the schema, in words for an operator; `None` where nothing is. Objects of other
/// programs are ignored.
pub(super) fn difference(found: &Objects, expected: &Objects) -> Option<String> {
    expected.iter().find_map(|(name, object)| {
        let kind = &object.kind;
        match found.get(name) {
            None => Some(format!("{kind} {name} is missing")),
            Some(other) if other.kind != *kind => {
                Some(format!("{kind} {name} is missing, a {} has its name", other.kind))
            }
            Some(other) if normalised(&other.sql) != normalised(&object.sql) => {
                Some(format!("{kind} {name} was altered"))
            }
            Some(_) => None,
        }
    })
}

/// SQL without what means nothing: the lengths of white space.
fn normalised(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::migrations::SCHEMA_VERSION;

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection, MIGRATIONS, 0).unwrap();
        connection
    }

    fn difference_after(sql: &str) -> Option<String> {
        let connection = database();
        connection.execute_batch(sql).unwrap();
        difference(&found(&connection).unwrap(), &expected(SCHEMA_VERSION).unwrap())
    }

    #[test]
    fn version_1_is_the_schema_that_was_promised() {
        let objects = expected(1).unwrap();
        let names: Vec<_> = objects.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "events",
                "idx_events_camera",
                "idx_events_event_id",
                "idx_events_timestamp",
                "schema_version"
            ]
        );
        assert_eq!(
            normalised(&objects["events"].sql),
            "CREATE TABLE events ( id INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT UNIQUE NOT NULL, \
             timestamp DATETIME NOT NULL, camera_id TEXT NOT NULL, motion_confidence REAL, \
             detected_objects TEXT, llm_description TEXT, image_path TEXT, json_log_path TEXT, \
             created_at DATETIME DEFAULT CURRENT_TIMESTAMP )"
        );
        assert_eq!(
            normalised(&objects["schema_version"].sql),
            "CREATE TABLE schema_version ( version INTEGER PRIMARY KEY, applied_at DATETIME )"
        );
        for (name, column) in
            [("timestamp", "timestamp"), ("camera", "camera_id"), ("event_id", "event_id")]
        {
            let sql = &objects[&format!("idx_events_{name}")].sql;
            assert_eq!(*sql, format!("CREATE INDEX idx_events_{name} ON events({column})"));
        }
    }

    #[test]
    fn later_versions_keep_what_earlier_ones_made() {
        let (first, newest) = (expected(1).unwrap(), expected(SCHEMA_VERSION).unwrap());
        assert_eq!(difference(&newest, &first), None);
    }

    #[test]
    fn what_is_missing_or_altered_is_named() {
        for (sql, expected) in [
            ("DROP TABLE event_labels", "table event_labels is missing"),
            ("DROP INDEX idx_events_timestamp", "index idx_events_timestamp is missing"),
            ("ALTER TABLE events ADD COLUMN mine", "table events was altered"),
            (
                "DROP TABLE events; CREATE VIEW events AS SELECT 1",
                "table events is missing, a view has its name",
            ),
            (
                "DROP INDEX idx_events_camera; CREATE INDEX idx_events_camera ON events(event_id)",
                "index idx_events_camera was altered",
            ),
        ] {
            assert_eq!(difference_after(sql).as_deref(), Some(expected), "{sql}");
        }
    }

    #[test]
    fn what_somebody_added_is_no_difference() {
        for sql in [
            "CREATE TABLE notes (x)",
            "CREATE INDEX mine ON events(llm_description)",
            "CREATE VIEW today AS SELECT * FROM events",
            "ANALYZE",
        ] {
            assert_eq!(difference_after(sql), None, "{sql}");
        }
    }
}

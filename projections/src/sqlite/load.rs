//! [`Loader`]: fills a database that no other process sees yet, as fast as SQLite can. Indexes are made at the end, sixteen rows
//! go in with one statement, everything is one transaction.

use std::sync::Arc;

use lenslog_engine::ProjectionError;
use rusqlite::{Connection, Result, Statement, ToSql};

use super::change::Change;
use super::connect;
use super::counters::SqliteCounters;
use super::fault::Explain;
use super::files::DatabaseFiles;
use super::migrations::{MIGRATIONS, migrate};
use super::row::EventRow;
use super::write::{INSERT_LABEL, Written, insert_sql, write};

/// Rows inserted by one statement: a quarter faster than one by one, more gains nothing.
const ROWS_AT_ONCE: usize = 16;
/// Memory for pages while rows go in: event_ids of other systems come in any order.
const CACHE_KIB_LOADING: i32 = 64 << 10;
/// Memory for pages while indexes are made; small sorts merged are faster than large ones.
const CACHE_KIB_INDEXING: i32 = 8 << 10;
/// Threads that help to sort for an index.
const SORTERS: i32 = 2;
/// Makes finding the rows of old days cheap.
const TIMESTAMP_INDEX: &str = "idx_events_timestamp";

/// A database being filled.
#[derive(Debug)]
pub(super) struct Loader {
    files: DatabaseFiles,
    connection: Connection,
    /// Names and SQL of the indexes that are still to be made.
    indexes: Vec<(String, String)>,
    insert_many: String,
    counters: Arc<SqliteCounters>,
}

impl Loader {
    /// Makes an empty database with the newest schema, without its indexes.
    pub(super) fn create(
        files: DatabaseFiles,
        page_bytes: u32,
        counters: Arc<SqliteCounters>,
    ) -> std::result::Result<Self, ProjectionError> {
        files.remove()?;
        let open = || {
            let connection = connect::loader(&files, page_bytes)?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB_LOADING)?;
            migrate(&connection, MIGRATIONS, 0).map_err(|error| error.source)?;
            let indexes = take_indexes(&connection)?;
            connection.execute_batch("BEGIN")?;
            Ok((connection, indexes))
        };
        let (connection, indexes) = open().explain("cannot make", &files)?;
        Ok(Self { files, connection, indexes, insert_many: insert_sql(ROWS_AT_ONCE), counters })
    }

    /// Writes changes in their order.
    pub(super) fn write(&mut self, changes: &[Change]) -> std::result::Result<(), ProjectionError> {
        self.write_all(changes).explain("cannot write", &self.files)
    }

    fn write_all(&mut self, changes: &[Change]) -> Result<()> {
        let mut rest = changes;
        while let Some(first) = rest.first() {
            let rows = rest.iter().map_while(as_row).take(ROWS_AT_ONCE).collect::<Vec<_>>();
            if rows.len() == ROWS_AT_ONCE {
                self.insert(&rows)?;
                rest = &rest[ROWS_AT_ONCE..];
                continue;
            }
            if matches!(first, Change::Prune(_)) {
                self.make_index(TIMESTAMP_INDEX)?;
            }
            if write(&self.connection, first)? == Written::Duplicate
                && let Some(row) = as_row(first)
            {
                self.counters.count_duplicate(row);
            }
            rest = &rest[1..];
        }
        Ok(())
    }

    fn insert(&mut self, rows: &[&EventRow]) -> Result<()> {
        let mut statement = self.connection.prepare_cached(&self.insert_many)?;
        let mut place = 1;
        for row in rows {
            place = bind(&mut statement, place, row)?;
        }
        let inserted = statement.raw_execute()?;
        let mut labels = self.connection.prepare_cached(INSERT_LABEL)?;
        for row in rows {
            if inserted < rows.len() && !self.is_there(row)? {
                self.counters.count_duplicate(row);
                continue;
            }
            for label in &row.labels {
                labels.execute((row.id, label, &row.camera_id, &row.timestamp))?;
            }
        }
        Ok(())
    }

    fn is_there(&self, row: &EventRow) -> Result<bool> {
        self.connection.prepare_cached("SELECT 1 FROM events WHERE id = ?1")?.exists([row.id])
    }

    /// Makes the indexes that are still missing.
    pub(super) fn make_indexes(&mut self) -> std::result::Result<(), ProjectionError> {
        let mut make = || {
            self.connection.pragma_update(None, "cache_size", -CACHE_KIB_INDEXING)?;
            self.connection.pragma_update_and_check(None, "threads", SORTERS, |_| Ok(()))?;
            self.indexes.drain(..).try_for_each(|(_, sql)| self.connection.execute_batch(&sql))
        };
        make().explain("cannot index", &self.files)
    }

    fn make_index(&mut self, name: &str) -> Result<()> {
        match self.indexes.iter().position(|(other, _)| other == name) {
            Some(place) => self.connection.execute_batch(&self.indexes.remove(place).1),
            None => Ok(()),
        }
    }

    /// The connection, in its transaction.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The database being filled.
    pub(super) fn files(&self) -> &DatabaseFiles {
        &self.files
    }
}

fn as_row(change: &Change) -> Option<&EventRow> {
    match change {
        Change::Insert(row) => Some(row),
        _ => None,
    }
}

/// Drops the indexes of an empty database and returns what makes them.
fn take_indexes(connection: &Connection) -> Result<Vec<(String, String)>> {
    let listed = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
    let mut statement = connection.prepare(listed)?;
    let indexes = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<Vec<(String, String)>>>()?;
    for (name, _) in &indexes {
        connection.execute_batch(&format!("DROP INDEX {name}"))?;
    }
    Ok(indexes)
}

/// Binds a row from `place` on and returns the place behind it.
fn bind(statement: &mut Statement<'_>, place: usize, row: &EventRow) -> Result<usize> {
    let values: [&dyn ToSql; 10] = [
        &row.id,
        &row.event_id,
        &row.timestamp,
        &row.camera_id,
        &row.motion_confidence,
        &row.detected_objects,
        &row.llm_description,
        &row.image_path,
        &row.json_log_path,
        &row.created_at,
    ];
    for (index, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(place + index, value)?;
    }
    Ok(place + values.len())
}

//! The SQL that changes rows: every statement has parameters only, and is compiled once per connection.

use lenslog_journal::{PrunedDays, Timestamp};
use rusqlite::{Connection, Result, ffi, params};

use super::change::{Change, Pruning, RowRef};
use super::row::EventRow;
use super::time_text::time_text;
use crate::data_dir::json_log_path;

const INSERT_INTO: &str = "INSERT INTO events (id, event_id, timestamp, camera_id, motion_confidence, \
     detected_objects, llm_description, image_path, json_log_path, created_at) VALUES ";
const ONE_ROW: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
/// The first event of an event_id stays.
const KEEP_FIRST: &str = " ON CONFLICT (event_id) DO NOTHING";
pub(super) const INSERT_LABEL: &str =
    "INSERT OR REPLACE INTO event_labels (id, label, camera_id, timestamp) VALUES (?, ?, ?, ?)";

const MICROS_PER_DAY: i64 = 86_400_000_000;
const OFFSET_MICROS_MAX: i64 = Timestamp::OFFSET_MINUTES_MAX as i64 * 60_000_000;
/// No time text is greater.
const LATEST: &str = "9999-12-31T23:59:59.999Z";

/// The statement that inserts this many events.
pub(super) fn insert_sql(rows: usize) -> String {
    [INSERT_INTO, &vec![ONE_ROW; rows].join(", "), KEEP_FIRST].concat()
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is in the open transaction.
    Done,
    /// There is an event of the same event_id already; that one stays.
    Duplicate,
}

/// Writes a change within the open transaction. Where it fails, some of it may have been written.
pub(super) fn write(connection: &Connection, change: &Change) -> Result<Written> {
    match change {
        Change::Insert(row) => return insert(connection, row),
        Change::Describe(row, description) => describe(connection, row, description)?,
        Change::PurgeImage(row) => purge_image(connection, row)?,
        Change::Prune(pruning) => prune(connection, *pruning)?,
        Change::Nothing => {}
    }
    Ok(Written::Done)
}

fn insert(connection: &Connection, row: &EventRow) -> Result<Written> {
    let inserted = match insert_row(connection, row) {
        Err(error) if is_id_taken(&error) => {
            // Rows made by hand get the next free id, which is that of the next event.
            let (id, path) = (row.id, connection.path().unwrap_or_default());
            tracing::warn!(
                id,
                path,
                "a row that is not of the journal has the id of an event; it is replaced"
            );
            delete_row(connection, row.id)?;
            insert_row(connection, row)?
        }
        result => result?,
    };
    if !inserted {
        let sql = "SELECT 1 FROM events WHERE event_id = ?1";
        return match connection.prepare_cached(sql)?.exists([&row.event_id])? {
            true => Ok(Written::Duplicate),
            false => Err(ignored("row of the event")),
        };
    }
    let mut statement = connection.prepare_cached(INSERT_LABEL)?;
    for label in &row.labels {
        if statement.execute(params![row.id, label, row.camera_id, row.timestamp])? == 0 {
            return Err(ignored("label of the event"));
        }
    }
    Ok(Written::Done)
}

/// The error of a change that a trigger, which is not ours, silently left out (`RAISE(IGNORE)`).
fn ignored(what: &str) -> rusqlite::Error {
    let text = format!(
        "a trigger in the database ignores the {what}; drop the trigger, then start again or run `replay rebuild`"
    );
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CONSTRAINT_TRIGGER), Some(text))
}

/// Whether a row that an update did not change is there all the same.
fn is_left_out(connection: &Connection, row: &RowRef, updated: usize) -> Result<bool> {
    let sql = "SELECT 1 FROM events WHERE id = ?1 AND event_id = ?2";
    Ok(updated == 0 && connection.prepare_cached(sql)?.exists(params![row.id, row.event_id])?)
}

fn insert_row(connection: &Connection, row: &EventRow) -> Result<bool> {
    let mut statement = connection.prepare_cached(&insert_sql(1))?;
    let inserted = statement.execute(params![
        row.id,
        row.event_id,
        row.timestamp,
        row.camera_id,
        row.motion_confidence,
        row.detected_objects,
        row.llm_description,
        row.image_path,
        row.json_log_path,
        row.created_at,
    ])?;
    Ok(inserted == 1)
}

fn is_id_taken(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID))
}

fn delete_row(connection: &Connection, id: i64) -> Result<()> {
    connection.prepare_cached("DELETE FROM event_labels WHERE id = ?1")?.execute([id])?;
    connection.prepare_cached("DELETE FROM events WHERE id = ?1")?.execute([id])?;
    Ok(())
}

fn describe(connection: &Connection, row: &RowRef, description: &str) -> Result<()> {
    let sql = "UPDATE events SET llm_description = ?3 WHERE id = ?1 AND event_id = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let updated = statement.execute(params![row.id, row.event_id, description])?;
    if is_left_out(connection, row, updated)? { Err(ignored("description")) } else { Ok(()) }
}

fn purge_image(connection: &Connection, row: &RowRef) -> Result<()> {
    let sql = "UPDATE events SET image_path = NULL WHERE id = ?1 AND event_id = ?2";
    let updated = connection.prepare_cached(sql)?.execute(params![row.id, row.event_id])?;
    if is_left_out(connection, row, updated)? { Err(ignored("purged picture")) } else { Ok(()) }
}

/// The rows that a pruning deletes: the index on timestamp narrows them down, the day in the path decides. The sign
/// keeps SQLite from going through all rows by their ids instead.
const THROUGH_DAY: &str = "FROM events WHERE timestamp <= ?1 AND json_log_path <= ?2 AND +id < ?3";
/// Those of days from one on.
const FROM_DAY: &str = "FROM events WHERE timestamp >= ?1 AND json_log_path >= ?2 AND +id < ?3";

/// What follows `DELETE` or `SELECT`, and its values, for each part of a pruning.
pub(super) fn pruned_rows(pruning: Pruning) -> Vec<(&'static str, (String, String, i64))> {
    let PrunedDays { through, wrong_from } = pruning.days;
    // A local day ends that much later in UTC where local time is furthest behind.
    let end = (i64::from(through.0) + 1) * MICROS_PER_DAY + OFFSET_MICROS_MAX;
    let end = time_text(end).unwrap_or_else(|| LATEST.to_owned());
    let mut parts = vec![(THROUGH_DAY, (end, json_log_path(through), pruning.before))];
    if let Some(from) = wrong_from {
        let start = i64::from(from.0) * MICROS_PER_DAY - OFFSET_MICROS_MAX;
        let start = time_text(start).unwrap_or_else(|| LATEST.to_owned());
        parts.push((FROM_DAY, (start, json_log_path(from), pruning.before)));
    }
    parts
}

fn prune(connection: &Connection, pruning: Pruning) -> Result<()> {
    for (part, (time, path, before)) in pruned_rows(pruning) {
        let labels = format!("DELETE FROM event_labels WHERE id IN (SELECT id {part})");
        connection.prepare_cached(&labels)?.execute(params![time, path, before])?;
        let rows = format!("DELETE {part}");
        connection.prepare_cached(&rows)?.execute(params![time, path, before])?;
        let left = format!("SELECT 1 {part}");
        if connection.prepare_cached(&left)?.exists(params![time, path, before])? {
            return Err(ignored("pruning"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::migrations::{MIGRATIONS, migrate};
    use super::*;

    #[test]
    fn a_pruning_looks_at_no_more_rows_than_it_has_to() {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection, MIGRATIONS, 0).unwrap();
        let heads = ["DELETE", "SELECT id, event_id"];
        for (head, part) in heads.iter().flat_map(|head| [(head, THROUGH_DAY), (head, FROM_DAY)]) {
            let sql = format!("EXPLAIN QUERY PLAN {head} {part}");
            let (time, path) = ("2026-11-23", "data/events/2026-11-23/events.json");
            let plan: String = connection
                .query_row(&sql, params![time, path, 1000], |row| row.get("detail"))
                .unwrap();
            assert!(plan.contains("idx_events_timestamp"), "{head}: {plan}");
        }
    }
}

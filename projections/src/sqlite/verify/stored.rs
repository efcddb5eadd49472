//! [`StoredRows`] and [`StoredLabels`]: what the database holds, in the order of the ids, a chunk at a time.

use std::collections::VecDeque;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Result, params};

use crate::sqlite::row::EventRow;

/// Rows read at once. A row with the largest objects and description has 200 KB.
const ROWS_AT_ONCE: i64 = 128;
/// Labels read at once.
const LABELS_AT_ONCE: i64 = 1024;

/// The columns that are compared, in the order of [`cells`].
pub(super) const COLUMNS: [&str; 9] = [
    "event_id",
    "timestamp",
    "camera_id",
    "motion_confidence",
    "detected_objects",
    "llm_description",
    "image_path",
    "json_log_path",
    "created_at",
];
/// Place of `llm_description` in [`COLUMNS`].
pub(super) const DESCRIPTION: usize = 5;
/// Place of `image_path` in [`COLUMNS`].
pub(super) const IMAGE: usize = 6;

/// A row as it is stored, whatever is in it.
#[derive(Debug)]
pub(super) struct StoredRow {
    pub(super) id: i64,
    pub(super) cells: [Value; COLUMNS.len()],
}

impl StoredRow {
    /// The event_id, as far as it is a text.
    pub(super) fn event_id(&self) -> &str {
        match &self.cells[0] {
            Value::Text(text) => text,
            _ => "no event_id",
        }
    }
}

/// A label as it is stored.
#[derive(Debug, PartialEq)]
pub(super) struct StoredLabel {
    pub(super) id: i64,
    pub(super) label: String,
    pub(super) camera_id: Value,
    pub(super) timestamp: Value,
}

/// What the columns of a row should hold.
pub(super) fn cells(row: &EventRow) -> [ValueRef<'_>; COLUMNS.len()] {
    fn text(text: &str) -> ValueRef<'_> {
        ValueRef::Text(text.as_bytes())
    }
    [
        text(&row.event_id),
        text(&row.timestamp),
        text(&row.camera_id),
        row.motion_confidence.map_or(ValueRef::Null, ValueRef::Real),
        text(&row.detected_objects),
        row.llm_description.as_deref().map_or(ValueRef::Null, text),
        row.image_path.as_deref().map_or(ValueRef::Null, text),
        text(&row.json_log_path),
        row.created_at.as_deref().map_or(ValueRef::Null, text),
    ]
}

/// The rows of `events`, by id.
#[derive(Debug, Default)]
pub(super) struct StoredRows {
    chunk: VecDeque<StoredRow>,
    /// Rows up to this id were read.
    read_to: Option<i64>,
}

impl StoredRows {
    /// The next row if its id is at most `id`.
    pub(super) fn next_to(&mut self, id: i64, from: &Connection) -> Result<Option<StoredRow>> {
        if self.chunk.is_empty() {
            self.read(from)?;
        }
        match self.chunk.front() {
            Some(row) if row.id <= id => Ok(self.chunk.pop_front()),
            _ => Ok(None),
        }
    }

    fn read(&mut self, from: &Connection) -> Result<()> {
        let columns = COLUMNS.join(", ");
        let sql = format!("SELECT id, {columns} FROM events WHERE id >= ?1 ORDER BY id LIMIT ?2");
        // There is no larger id than the largest.
        let from_id = self.read_to.map_or(Some(i64::MIN), |last| last.checked_add(1));
        let Some(from_id) = from_id else { return Ok(()) };
        let mut statement = from.prepare_cached(&sql)?;
        let mut rows = statement.query(params![from_id, ROWS_AT_ONCE])?;
        while let Some(row) = rows.next()? {
            let mut cells = [const { Value::Null }; COLUMNS.len()];
            for (index, cell) in cells.iter_mut().enumerate() {
                *cell = value(row.get_ref(index + 1)?);
            }
            let id = row.get(0)?;
            self.chunk.push_back(StoredRow { id, cells });
            self.read_to = Some(id);
        }
        Ok(())
    }
}

/// The rows of `event_labels`, by id and label.
#[derive(Debug, Default)]
pub(super) struct StoredLabels {
    chunk: VecDeque<StoredLabel>,
    read_to: Option<(i64, String)>,
}

impl StoredLabels {
    /// The next label if its id is at most `id`.
    pub(super) fn next_to(&mut self, id: i64, from: &Connection) -> Result<Option<StoredLabel>> {
        if self.chunk.is_empty() {
            self.read(from)?;
        }
        match self.chunk.front() {
            Some(label) if label.id <= id => Ok(self.chunk.pop_front()),
            _ => Ok(None),
        }
    }

    fn read(&mut self, from: &Connection) -> Result<()> {
        let sql = "SELECT id, label, camera_id, timestamp FROM event_labels
                   WHERE (id, label) > (?1, ?2) ORDER BY id, label LIMIT ?3";
        let (id, label) = match &self.read_to {
            Some((id, label)) => (Value::Integer(*id), label.as_str()),
            // Before every number, whatever the table holds.
            None => (Value::Real(f64::NEG_INFINITY), ""),
        };
        let mut statement = from.prepare_cached(sql)?;
        let mut rows = statement.query(params![id, label, LABELS_AT_ONCE])?;
        while let Some(row) = rows.next()? {
            self.chunk.push_back(StoredLabel {
                id: row.get(0)?,
                label: row.get(1)?,
                camera_id: value(row.get_ref(2)?),
                timestamp: value(row.get_ref(3)?),
            });
        }
        // Behind the last one it stays, or all of them would come again.
        if let Some(last) = self.chunk.back() {
            self.read_to = Some((last.id, last.label.clone()));
        }
        Ok(())
    }
}

/// A value; text that is not UTF-8 is none of ours and stays the bytes that it is.
fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Blob(text.to_vec()),
        },
        other => Value::try_from(other).unwrap_or(Value::Null),
    }
}

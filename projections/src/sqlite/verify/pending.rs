//! [`Pending`]: what cannot be judged yet, because a later record may explain it. Held in a temporary database, which
//! SQLite writes to a temporary file where it grows, so that memory stays bounded.

use lenslog_journal::{PrunedDays, Seq};
use rusqlite::{Connection, Result, params};

use crate::sqlite::change::{Pruning, RowRef};
use crate::sqlite::row::EventRow;

/// What waits for the end.
#[derive(Debug)]
pub(super) struct Pending(Connection);

/// What a column should hold since a later record changed it.
#[derive(Debug)]
pub(super) struct Amended {
    pub(super) row: RowRef,
    pub(super) column: &'static str,
    pub(super) value: Option<String>,
}

impl Pending {
    pub(super) fn new() -> Result<Self> {
        let connection = Connection::open("")?;
        connection.execute_batch(
            "PRAGMA journal_mode = OFF;
             PRAGMA synchronous = OFF;
             CREATE TABLE missing (id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, day INTEGER NOT NULL);
             CREATE INDEX missing_event_id ON missing(event_id);
             CREATE TABLE suspect (
                 id INTEGER NOT NULL, name TEXT NOT NULL, event_id TEXT NOT NULL, words TEXT NOT NULL,
                 PRIMARY KEY (id, name)
             ) WITHOUT ROWID;
             CREATE TABLE amended (
                 id INTEGER NOT NULL, event_id TEXT NOT NULL, name TEXT NOT NULL, value TEXT,
                 PRIMARY KEY (id, event_id, name)
             ) WITHOUT ROWID;
             BEGIN;",
        )?;
        Ok(Self(connection))
    }

    /// An event that has no row: a tombstone may explain it.
    pub(super) fn add_missing(&self, row: &EventRow) -> Result<()> {
        self.0
            .prepare_cached("INSERT INTO missing (id, event_id, day) VALUES (?1, ?2, ?3)")?
            .execute(params![row.id, row.event_id, row.day.0])?;
        Ok(())
    }

    /// Whether an event of this event_id that came earlier has no row either.
    pub(super) fn misses(&self, event_id: &str) -> Result<bool> {
        self.0.prepare_cached("SELECT 1 FROM missing WHERE event_id = ?1")?.exists([event_id])
    }

    /// Rows that a tombstone names may be missing.
    pub(super) fn prune(&self, pruning: Pruning) -> Result<()> {
        let PrunedDays { through, wrong_from } = pruning.days;
        let from = wrong_from.map_or(i64::MAX, |from| from.0.into());
        self.0
            .prepare_cached("DELETE FROM missing WHERE (day <= ?1 OR day >= ?2) AND id < ?3")?
            .execute(params![through.0, from, pruning.before])?;
        Ok(())
    }

    /// A column that is not what the event said: an amendment may explain it.
    pub(super) fn add_suspect(
        &self,
        row: &EventRow,
        column: &'static str,
        words: &str,
    ) -> Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO suspect (id, name, event_id, words) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![row.id, column, row.event_id, words])?;
        Ok(())
    }

    /// A later record says what a column holds; the last one counts.
    pub(super) fn amend(
        &self,
        row: &RowRef,
        column: &'static str,
        value: Option<&str>,
    ) -> Result<()> {
        self.0
            .prepare_cached("INSERT OR REPLACE INTO amended (id, event_id, name, value) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![row.id, row.event_id, column, value])?;
        Ok(())
    }

    /// Calls `each` with every event that has no row and should have one: its id and event_id.
    pub(super) fn each_missing(&self, mut each: impl FnMut(i64, &str)) -> Result<()> {
        let mut statement = self.0.prepare("SELECT id, event_id FROM missing ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each(row.get(0)?, row.get_ref(1)?.as_str()?);
        }
        Ok(())
    }

    /// Calls `each` with the words on every column that no later record explains; a row before `lost_end` may have
    /// been changed by a record that is lost.
    pub(super) fn each_suspect(&self, lost_end: Seq, mut each: impl FnMut(&str)) -> Result<()> {
        let mut statement = self.0.prepare(
            "SELECT words FROM suspect
             WHERE id >= ?1 AND NOT EXISTS (
                 SELECT 1 FROM amended WHERE amended.id = suspect.id
                 AND amended.event_id = suspect.event_id AND amended.name = suspect.name)
             ORDER BY id",
        )?;
        let lost_end = i64::try_from(lost_end.0).unwrap_or(i64::MAX);
        let mut rows = statement.query([lost_end])?;
        while let Some(row) = rows.next()? {
            each(row.get_ref(0)?.as_str()?);
        }
        Ok(())
    }

    /// Calls `each` with every amendment.
    pub(super) fn each_amended(
        &self,
        columns: [&'static str; 2],
        mut each: impl FnMut(Amended) -> Result<()>,
    ) -> Result<()> {
        for column in columns {
            let sql = "SELECT id, event_id, value FROM amended WHERE name = ?1 ORDER BY id";
            let mut statement = self.0.prepare_cached(sql)?;
            let mut rows = statement.query([column])?;
            while let Some(row) = rows.next()? {
                let value = row.get(2)?;
                let row = RowRef { id: row.get(0)?, event_id: row.get(1)? };
                each(Amended { row, column, value })?;
            }
        }
        Ok(())
    }
}

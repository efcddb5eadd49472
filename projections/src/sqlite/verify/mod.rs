//! [`SqliteVerifier`]: compares the database with the records it was made from, row by row, label by label, in one
//! read transaction and in bounded memory.
//!
//! Rows come by their ids, records by their seqs, and both are the same order: they are merged. What a later record
//! may still explain waits in [`Pending`].

mod difference;
mod pending;
mod stored;

use std::collections::BTreeSet;

use lenslog_engine::{Checkpoint, ProjectionError, Recorded, Verifier};
use lenslog_events::{Event, RecorderCodec};
use lenslog_journal::{Seq, SeqRange};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Result, params};

use difference::Differences;
use pending::{Amended, Pending};
use stored::{
    COLUMNS, DESCRIPTION, IMAGE, StoredLabel, StoredLabels, StoredRow, StoredRows, cells,
};

use super::change::{Change, Pruning};
use super::connect::{self, READER_TIMEOUT};
use super::examine::{checked_checkpoint, checked_version, one_line};
use super::fault::{Explain, broken};
use super::files::{DatabaseFiles, Place};
use super::migrations::SCHEMA_VERSION;
use super::row::EventRow;
use super::write::pruned_rows;

/// Losses that are remembered; beyond it the newest two are taken for one.
const LOST_MAX: usize = 1000;

/// A verification in progress.
#[derive(Debug)]
pub(super) struct SqliteVerifier {
    files: DatabaseFiles,
    /// In a read transaction: nothing that is written meanwhile is seen.
    connection: Connection,
    checkpoint: Checkpoint,
    /// Events that were set aside: they have no rows.
    parked: BTreeSet<Seq>,
    rows: StoredRows,
    labels: StoredLabels,
    pending: Pending,
    lost: Vec<SeqRange>,
    differences: Differences,
}

impl SqliteVerifier {
    /// Opens the database for comparison; `None` where there is none, or nothing in it.
    pub(super) fn open(
        files: &DatabaseFiles,
    ) -> std::result::Result<Option<Self>, ProjectionError> {
        match files.place()? {
            Place::Empty | Place::File { bytes: 0, .. } => return Ok(None),
            Place::File { .. } => {}
        }
        let connection =
            connect::reader(files.path(), READER_TIMEOUT).explain("cannot open", files)?;
        connection.execute_batch("BEGIN").explain("cannot read", files)?;
        let version = checked_version(&connection, files)?;
        if let Some(version) = version.filter(|version| *version < SCHEMA_VERSION) {
            let cause = format!(
                "its schema is version {version}, not {SCHEMA_VERSION}; the recorder migrates it when it starts"
            );
            return Err(broken(files, cause));
        }
        let Some((checkpoint, _)) = checked_checkpoint(&connection, files, version)? else {
            return Ok(None);
        };
        let pending =
            Pending::new().explain("cannot make a temporary database to verify", files)?;
        Ok(Some(Self {
            files: files.clone(),
            connection,
            parked: checkpoint.parked.iter().map(|parked| parked.seq).collect(),
            checkpoint,
            rows: StoredRows::default(),
            labels: StoredLabels::default(),
            pending,
            lost: Vec::new(),
            differences: Differences::default(),
        }))
    }

    fn expect(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::Insert(row) => self.expect_row(row),
            Change::Describe(row, description) => {
                self.pending.amend(row, COLUMNS[DESCRIPTION], Some(description))
            }
            Change::PurgeImage(row) => self.pending.amend(row, COLUMNS[IMAGE], None),
            Change::Prune(pruning) => self.expect_pruned(*pruning),
            Change::Nothing => Ok(()),
        }
    }

    fn expect_row(&mut self, expected: &EventRow) -> Result<()> {
        self.pass_rows_before(expected.id)?;
        let Some(stored) = self.rows.next_to(expected.id, &self.connection)? else {
            return self.expect_missing(expected);
        };
        for (index, (found, wanted)) in stored.cells.iter().zip(cells(expected)).enumerate() {
            let found = ValueRef::from(found);
            if found == wanted {
                continue;
            }
            let name = COLUMNS[index];
            let words = || difference::column(stored.id, &expected.event_id, name, found, wanted);
            if matches!(index, DESCRIPTION | IMAGE) {
                self.pending.add_suspect(expected, name, &words())?;
            } else {
                self.differences.add(words);
            }
        }
        let labels = self.take_labels(stored.id)?;
        self.compare_labels(expected, &labels);
        Ok(())
    }

    /// There is no row: right for a second event of an event_id and for one that was set aside, else to be explained
    /// by a tombstone.
    fn expect_missing(&mut self, expected: &EventRow) -> Result<()> {
        let seq = Seq(expected.id.unsigned_abs());
        let first: Option<i64> = self
            .connection
            .prepare_cached("SELECT id FROM events WHERE event_id = ?1")?
            .query_row([&expected.event_id], |row| row.get(0))
            .optional()?;
        let is_second = first.is_some_and(|first| first < expected.id)
            || self.pending.misses(&expected.event_id)?;
        if is_second || self.parked.contains(&seq) {
            return Ok(());
        }
        self.pending.add_missing(expected)
    }

    /// Rows that lie before the next event are of no event, or of one that is lost.
    fn pass_rows_before(&mut self, id: i64) -> Result<()> {
        let Some(last) = id.checked_sub(1) else { return Ok(()) };
        while let Some(row) = self.rows.next_to(last, &self.connection)? {
            self.take_labels(row.id)?;
            self.add_extra(&row);
        }
        Ok(())
    }

    fn add_extra(&mut self, row: &StoredRow) {
        if !self.is_lost(row.id) {
            let words = || {
                format!(
                    "{}: it is of no event of the journal",
                    difference::row(row.id, row.event_id())
                )
            };
            self.differences.add(words);
        }
    }

    /// The labels of a row; those that belong to no row before it are reported.
    fn take_labels(&mut self, id: i64) -> Result<Vec<StoredLabel>> {
        let mut labels = Vec::new();
        while let Some(label) = self.labels.next_to(id, &self.connection)? {
            if label.id == id {
                labels.push(label);
            } else {
                self.add_orphan(&label);
            }
        }
        Ok(labels)
    }

    fn add_orphan(&mut self, label: &StoredLabel) {
        if !self.is_lost(label.id) {
            let label = (label.id, difference::quoted(&label.label));
            self.differences
                .add(|| format!("row {} is not there, but has the label {}", label.0, label.1));
        }
    }

    fn compare_labels(&mut self, expected: &EventRow, stored: &[StoredLabel]) {
        let called = || difference::row(expected.id, &expected.event_id);
        for label in &expected.labels {
            if !stored.iter().any(|stored| stored.label == *label) {
                let words =
                    || format!("{}: label {} is missing", called(), difference::quoted(label));
                self.differences.add(words);
            }
        }
        for label in stored {
            if expected.labels.binary_search(&label.label).is_err() {
                let words = || {
                    format!("{}: label {} is too much", called(), difference::quoted(&label.label))
                };
                self.differences.add(words);
                continue;
            }
            for (name, found, wanted) in [
                ("camera_id", &label.camera_id, &expected.camera_id),
                ("timestamp", &label.timestamp, &expected.timestamp),
            ] {
                let (found, wanted) = (ValueRef::from(found), ValueRef::Text(wanted.as_bytes()));
                if found != wanted {
                    let name = format!("{name} of label {}", difference::quoted(&label.label));
                    let words = || {
                        difference::column(expected.id, &expected.event_id, &name, found, wanted)
                    };
                    self.differences.add(words);
                }
            }
        }
    }

    fn expect_pruned(&mut self, pruning: Pruning) -> Result<()> {
        self.pending.prune(pruning)?;
        for (part, (time, path, before)) in pruned_rows(pruning) {
            let sql = format!("SELECT id, event_id {part} ORDER BY id");
            let mut statement = self.connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![time, path, before])?;
            while let Some(row) = rows.next()? {
                let called = difference::row(row.get(0)?, &row.get::<_, String>(1)?);
                let day = pruning.days.through;
                self.differences
                    .add(|| format!("{called}: it was pruned with the days up to {day}"));
            }
        }
        Ok(())
    }

    fn is_lost(&self, id: i64) -> bool {
        let seq = Seq(id.unsigned_abs());
        id > 0 && self.lost.iter().any(|range| range.contains(seq))
    }

    fn add_lost(&mut self, range: SeqRange) {
        let is_full = self.lost.len() >= LOST_MAX;
        match self.lost.last_mut() {
            Some(last) if is_full => last.to = last.to.max(range.to),
            _ => self.lost.push(range),
        }
    }

    fn judge(&mut self) -> Result<()> {
        // There is no larger id.
        self.pass_rows_before(i64::MAX)?;
        while let Some(row) = self.rows.next_to(i64::MAX, &self.connection)? {
            self.add_extra(&row);
        }
        while let Some(label) = self.labels.next_to(i64::MAX, &self.connection)? {
            self.add_orphan(&label);
        }
        let differences = &mut self.differences;
        self.pending.each_missing(|id, event_id| {
            differences.add(|| format!("{}: it is missing", difference::row(id, event_id)));
        })?;
        let lost_end = self.lost.iter().map(|range| range.to).max().unwrap_or_default();
        self.pending.each_suspect(lost_end, |words| differences.add(|| words.to_owned()))?;
        let connection = &self.connection;
        let amended = [COLUMNS[DESCRIPTION], COLUMNS[IMAGE]];
        self.pending
            .each_amended(amended, |amended| compare_amended(connection, &amended, differences))?;
        check_integrity(connection, differences)
    }
}

/// The last word on a column, against what is stored. Missing rows were reported.
fn compare_amended(
    connection: &Connection,
    amended: &Amended,
    differences: &mut Differences,
) -> Result<()> {
    let (row, name) = (&amended.row, amended.column);
    let sql = format!("SELECT {name} FROM events WHERE id = ?1 AND event_id = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![row.id, row.event_id])?;
    if let Some(stored) = rows.next()? {
        let found = stored.get_ref(0)?;
        let wanted = amended.value.as_deref().map_or(ValueRef::Null, |value| value.into());
        if found != wanted {
            differences.add(|| difference::column(row.id, &row.event_id, name, found, wanted));
        }
    }
    Ok(())
}

/// Whether pages and indexes agree with the rows.
fn check_integrity(connection: &Connection, differences: &mut Differences) -> Result<()> {
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    let mut lines = statement.query([])?;
    while let Some(line) = lines.next()? {
        let line = line.get_ref(0)?.as_str()?;
        if line != "ok" {
            differences.add(|| format!("integrity check: {}", one_line(line)));
        }
    }
    Ok(())
}

impl Verifier<RecorderCodec> for SqliteVerifier {
    fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn apply(&mut self, record: &Recorded<Event>) -> std::result::Result<(), ProjectionError> {
        // What cannot be applied has no row.
        let Ok(change) = Change::of(record) else { return Ok(()) };
        self.expect(&change).explain("cannot read", &self.files)
    }

    fn lost(&mut self, range: SeqRange) {
        self.add_lost(range);
    }

    fn finish(mut self: Box<Self>) -> std::result::Result<Vec<String>, ProjectionError> {
        self.judge().explain("cannot read", &self.files)?;
        Ok(self.differences.into_lines())
    }
}

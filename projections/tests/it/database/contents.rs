//! Everything that others can see of a database, as text.

use std::fmt::Write as _;
use std::path::Path;

use lenslog_engine::{Projection, RebuildOptions, rebuild, verify_within};
use lenslog_journal::ReaderOptions;
use lenslog_projections::sqlite::SqliteProjection;
use rusqlite::{Connection, types::ValueRef};

use crate::database::setting::Setting;

/// Every row of the events and their labels, in order, every column.
pub fn contents(path: &Path) -> String {
    table(path, "SELECT * FROM events ORDER BY id")
        + &table(path, "SELECT * FROM event_labels ORDER BY id, label")
}

/// The rows that a query gives, a line each.
pub fn table(path: &Path, sql: &str) -> String {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut text = String::new();
    while let Some(row) = rows.next().unwrap() {
        for column in 0..columns {
            match row.get_ref(column).unwrap() {
                ValueRef::Null => text.push_str("NULL"),
                ValueRef::Integer(number) => write!(text, "{number}").unwrap(),
                ValueRef::Real(number) => write!(text, "{number:?}").unwrap(),
                ValueRef::Text(bytes) => {
                    write!(text, "{:?}", String::from_utf8_lossy(bytes)).unwrap()
                }
                ValueRef::Blob(bytes) => write!(text, "{bytes:?}").unwrap(),
            }
            text.push('|');
        }
        text.push('\n');
    }
    text
}

/// What the journal gives in a directory where nothing was before.
pub fn rebuilt_elsewhere(setting: &Setting) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let mut projection = SqliteProjection::new(&path);
    let view = setting.journal.view();
    rebuild(&mut projection, &view, &RebuildOptions::default(), &mut |_| true).unwrap();
    contents(&path)
}

/// What `replay verify` would say of the database.
pub fn differences(setting: &Setting) -> Vec<String> {
    let projection = SqliteProjection::new(setting.path());
    let view = setting.journal.view();
    let all: [&dyn Projection<_>; 1] = [&projection];
    let report = verify_within(
        &view,
        &all,
        ReaderOptions::default(),
        std::time::Duration::ZERO,
        &mut |_| true,
    )
    .unwrap();
    report.projections.into_iter().flat_map(|report| report.differences).collect()
}

/// Fails unless the database is what the journal makes.
pub fn assert_repaired(setting: &Setting) {
    assert_eq!(contents(&setting.path()), rebuilt_elsewhere(setting));
    assert_eq!(differences(setting), [""; 0]);
}

//! A foreign reader that never ends: the log it holds stays bounded, is reported, and waiting rows follow after it.

use std::fs;

use lenslog_engine::{ProjectionState, Runner};
use lenslog_events::Event;
use lenslog_projections::sqlite::{LOG_BYTES_MAX, held_database_log};
use rusqlite::Connection;

use crate::database::logs;
use crate::database::setting::{Setting, event, wait_until};

/// Bytes of the sentence of one event.
const SENTENCE_BYTES: usize = 60_000;
/// What one transaction may add behind the limit, and a little more.
const TRANSACTION_BYTES: u64 = 4 << 20;

fn append_large(setting: &Setting, number: u64) {
    let mut event = event(number);
    event.llm_description = Some("x".repeat(SENTENCE_BYTES));
    setting.append(&Event::Detected(event));
}

/// A reader whose transaction ends only when it is dropped.
fn reader(setting: &Setting) -> Connection {
    let reader = Connection::open(setting.path()).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let rows: i64 = reader.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    assert!(rows > 0);
    reader
}

/// A database with a log, four events, and a reader that does not end.
fn held() -> (Setting, Runner, Connection) {
    logs::keep();
    let setting = Setting::with_events(3);
    let runner = setting.runner();
    setting.catch_up(&runner);
    append_large(&setting, 3);
    setting.catch_up(&runner);
    let reader = reader(&setting);
    (setting, runner, reader)
}

#[test]
fn a_reader_that_never_ends_cannot_make_the_log_grow_without_end_and_is_warnings() {
    let (setting, runner, reader) = held();
    let log = setting.directory.path().join("events.db-wal");
    let count = 2 * LOG_BYTES_MAX / SENTENCE_BYTES as u64;
    for number in 4..count {
        append_large(&setting, number);
        if number.is_multiple_of(32) {
            setting.journal.sync().unwrap();
            let next = setting.journal.next_seq();
            wait_until(&runner, |status| {
                status.next >= next || status.state == ProjectionState::Waiting
            });
        }
    }
    setting.journal.sync().unwrap();
    wait_until(&runner, |status| status.errors >= 3);
    let bytes = fs::metadata(&log).unwrap().len();
    assert!((LOG_BYTES_MAX..LOG_BYTES_MAX + TRANSACTION_BYTES).contains(&bytes), "{bytes}");
    let status = runner.status().remove(0);
    assert_eq!(status.state, ProjectionState::Waiting);
    let (error, own) = (status.last_error.unwrap(), format!("process {} (", std::process::id()));
    assert!(error.contains("events.db-wal") && error.contains(&own), "{error}");
    assert!(error.contains("reads the database and does not end"), "{error}");
    let held = held_database_log(&setting.path()).unwrap();
    assert_eq!((held.bytes, held.readers), (bytes, vec![std::process::id()]));
    assert_eq!(logs::about(setting.directory.path(), "ERROR").len(), 1, "reported once");

    drop(reader);
    setting.catch_up(&runner);
    let rows = setting.store().count_events(&Default::default()).unwrap();
    assert_eq!(rows, count);
    wait_until(&runner, |_| held_database_log(&setting.path()).is_none());
    runner.stop();
}

#[test]
fn a_log_that_a_reader_holds_is_told_once_long_before_the_limit_and_cut_behind_it() {
    let (setting, runner, reader) = held();
    for number in 4..800 {
        append_large(&setting, number);
    }
    setting.catch_up(&runner);
    let warnings = || logs::about(setting.directory.path(), "WARN");
    wait_until(&runner, |_| !warnings().is_empty());
    assert_eq!(warnings().len(), 1, "{:#?}", warnings());
    assert!(warnings()[0].contains("the database's log grows: process"), "{:#?}", warnings());
    assert_eq!(runner.status()[0].state, ProjectionState::Following);
    drop(reader);
    let log = setting.directory.path().join("events.db-wal");
    wait_until(&runner, |_| fs::metadata(&log).unwrap().len() == 0);
}

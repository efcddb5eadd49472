//! What the store says where it has no answer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use lenslog_projections::sqlite::SCHEMA_VERSION;
use lenslog_projections::{EventQuery, EventStore, StoreError};
use rusqlite::Connection;

use crate::database::setting::Setting;

fn open_error(path: &Path) -> StoreError {
    let error = EventStore::open(path).unwrap_err();
    assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    error
}

fn altered(sql: &str) -> (Setting, StoreError) {
    let setting = Setting::with_events(3);
    setting.catch_up_once();
    Connection::open(setting.path()).unwrap().execute_batch(sql).unwrap();
    let store = EventStore::of(setting.path());
    let error = store.query(&EventQuery::new()).unwrap_err();
    (setting, error)
}

#[test]
fn a_file_that_is_not_there_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let error = open_error(&directory.path().join("events.db"));
    assert!(matches!(error, StoreError::Missing { .. }) && error.may_pass(), "{error:?}");
    assert!(error.to_string().contains("`replay rebuild`"), "{error}");
    let error = open_error(&directory.path().join("nowhere/events.db"));
    assert!(matches!(error, StoreError::Missing { .. }), "{error:?}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn an_empty_file_is_a_database_that_is_being_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    fs::write(&path, "").unwrap();
    assert!(matches!(open_error(&path), StoreError::NotReady { .. }));
}

#[test]
fn a_directory_or_a_text_is_no_database() {
    let directory = tempfile::tempdir().unwrap();
    let error = open_error(directory.path());
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error:?}");
    assert!(error.to_string().contains("no regular file"), "{error}");
    let path = directory.path().join("events.db");
    fs::write(&path, "camera_1 saw a cat\n".repeat(1000)).unwrap();
    let error = open_error(&path);
    assert!(matches!(error, StoreError::Damaged { .. }) && error.may_pass(), "{error:?}");
    assert!(error.to_string().contains("file is not a database"), "{error}");
}

#[test]
fn a_database_of_another_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE songs (title)").unwrap();
    assert!(matches!(open_error(&path), StoreError::Damaged { .. }));
}

#[test]
fn another_version_of_the_schema_is_named() {
    let newer = SCHEMA_VERSION + 1;
    let (_, error) = altered(&format!("INSERT INTO schema_version (version) VALUES ({newer})"));
    let StoreError::NewerSchema { found, known, .. } = error else { panic!("{error:?}") };
    assert_eq!((found, known), (newer, SCHEMA_VERSION));
    let (_, error) = altered("DELETE FROM schema_version WHERE version > 1");
    assert!(matches!(error, StoreError::OlderSchema { found: 1, .. }), "{error:?}");
}

#[test]
fn a_missing_table_or_index_is_damage() {
    for sql in ["DROP TABLE events", "DROP INDEX idx_events_timestamp"] {
        let (_, error) = altered(sql);
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("replay rebuild"), "{error}");
    }
}

#[test]
fn a_row_that_no_event_has_is_named_by_id_and_column() {
    for (sql, column) in [
        ("UPDATE events SET timestamp = 'noon' WHERE id = 2", "timestamp"),
        ("UPDATE events SET detected_objects = '{}' WHERE id = 2", "detected_objects"),
        ("UPDATE events SET motion_confidence = 'much' WHERE id = 2", "motion_confidence"),
        ("UPDATE events SET llm_description = CAST(x'ff' AS TEXT) WHERE id = 2", "llm_description"),
        ("UPDATE events SET created_at = 7 WHERE id = 2", "created_at"),
    ] {
        let (setting, error) = altered(sql);
        let StoreError::BadRow { id, column: found, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*id, *found), (2, column));
        assert!(error.to_string().contains("`replay rebuild` mends them"), "{error}");
        // The others can be had.
        assert!(setting.store().event_by_id("evt_0").unwrap().is_some());
    }
}

#[test]
fn a_database_that_is_locked_is_told_after_the_patience() {
    let setting = Setting::with_events(3);
    setting.catch_up_once();
    let other = Connection::open(setting.path()).unwrap();
    other.execute_batch("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE").unwrap();
    let store = EventStore::of(setting.path()).with_timeout(Duration::from_millis(1));
    let error = store.recent_events(1).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }) && error.may_pass(), "{error:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.recent_events(1).unwrap().len(), 1);
}

#[test]
fn a_writer_locks_no_reader_out() {
    let setting = Setting::with_events(3);
    setting.catch_up_once();
    let writer = Connection::open(setting.path()).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE; DELETE FROM events").unwrap();
    let store = setting.store().with_timeout(Duration::from_millis(1));
    assert_eq!(store.recent_events(10).unwrap().len(), 3);
}

#[test]
fn a_store_writes_nothing() {
    let setting = Setting::with_events(3);
    setting.catch_up_once();
    let before = fs::read(setting.path()).unwrap();
    let store = setting.store();
    store.recent_events(10).unwrap();
    drop(store);
    assert_eq!(fs::read(setting.path()).unwrap(), before);
    assert_eq!(fs::read_dir(setting.directory.path()).unwrap().count(), 1);
}

#[test]
fn a_database_that_may_not_be_read_is_told_with_the_remedy() {
    let setting = Setting::with_events(3);
    setting.catch_up_once();
    fs::set_permissions(setting.path(), fs::Permissions::from_mode(0o000)).unwrap();
    match EventStore::open(setting.path()) {
        // The superuser may read everything.
        Ok(store) => assert_eq!(store.recent_events(10).unwrap().len(), 3),
        Err(error) => assert!(error.to_string().contains("read permission"), "{error}"),
    }
}

//! A copy of the database made by hard links (`cp -al`, rsnapshot) and its original never change each other.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use lenslog_engine::{Projection, RebuildOptions, Runner};
use lenslog_events::{Event, RecorderCodec};
use lenslog_projections::shorten_database_log;
use lenslog_projections::sqlite::SqliteProjection;
use rusqlite::Connection;

use crate::database::contents::{assert_repaired, contents, rebuilt_elsewhere};
use crate::database::setting::{Setting, TIMEOUT, event};

/// The files that hold content. The index of the log holds none, and readers change it too.
const FILES: [&str; 3] = ["events.db", "events.db-wal", "events.db-journal"];

/// A runner that has rows in the log of its database.
fn running(setting: &Setting) -> Runner {
    setting.catch_up_once();
    let runner = setting.runner();
    setting.append(&Event::Detected(event(1000)));
    setting.catch_up(&runner);
    assert!(!bytes(setting.directory.path())["events.db-wal"].is_empty());
    runner
}

/// Does what `cp -al FROM TO` does, for the database.
fn hard_link(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("events.db") {
            fs::hard_link(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

fn bytes(directory: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    FILES.iter().filter_map(|name| Some((*name, fs::read(directory.join(name)).ok()?))).collect()
}

fn follow(setting: &Setting, path: &Path) {
    let projections: Vec<Box<dyn Projection<RecorderCodec>>> =
        vec![Box::new(SqliteProjection::new(path))];
    let runner = Runner::start(&setting.journal.view(), projections, Arc::new(|_| {}));
    let behind = runner.wait_for(setting.journal.next_seq(), TIMEOUT);
    assert!(behind.is_ok(), "{:?}", runner.status());
    let status = runner.stop().remove(0);
    assert_eq!(status.rebuilds, 0, "{status:?}");
}

#[test]
fn hard_linked_copies_of_a_database_in_use_keep_their_bytes() {
    let setting = Setting::with_events(40);
    let env = tempfile::tempdir().unwrap();
    let runner = running(&setting);
    let mut copies = Vec::new();
    for number in 0..6 {
        let copy = env.path().join(number.to_string());
        hard_link(setting.directory.path(), &copy);
        let before = bytes(&copy);
        assert!(before.contains_key("events.db-wal"), "the log is part of the copy");
        copies.push((copy, before));
        setting.append(&Event::Detected(event(40 + number)));
        setting.catch_up(&runner);
    }
    let status = runner.stop().remove(0);
    assert_eq!((status.rebuilds, &status.last_error), (0, &None));
    for (copy, before) in &copies {
        assert!(bytes(copy) == *before, "{}", copy.display());
    }
    assert_repaired(&setting);
    let original = bytes(setting.directory.path());
    for (copy, _) in &copies {
        follow(&setting, &copy.join("events.db"));
        assert_eq!(contents(&copy.join("events.db")), rebuilt_elsewhere(&setting));
    }
    assert!(bytes(setting.directory.path()) == original, "a copy changed the original");
    assert_repaired(&setting);
}

#[test]
fn a_copy_of_a_closed_database_and_its_original_both_go_on() {
    let setting = Setting::with_events(40);
    setting.catch_up_once();
    let env = tempfile::tempdir().unwrap();
    let copy = env.path().join("copy");
    fs::set_permissions(setting.path(), fs::Permissions::from_mode(0o640)).unwrap();
    hard_link(setting.directory.path(), &copy);
    let before = bytes(&copy);
    setting.append(&Event::Detected(event(40)));
    let status = setting.catch_up_once();
    assert_eq!(status.rebuilds, 0, "{status:?}");
    assert!(bytes(&copy) == before);
    let found = fs::metadata(setting.path()).unwrap();
    assert_eq!((found.nlink(), found.permissions().mode() & 0o777), (1, 0o640));
    let original = bytes(setting.directory.path());
    follow(&setting, &copy.join("events.db"));
    assert!(bytes(setting.directory.path()) == original);
    assert_eq!(contents(&copy.join("events.db")), rebuilt_elsewhere(&setting));
    assert_repaired(&setting);
}

/// The log of a killed process is part of both copies.
#[test]
fn a_log_that_a_killed_process_left_is_copied_too() {
    let setting = Setting::with_events(40);
    let runner = running(&setting);
    let env = tempfile::tempdir().unwrap();
    let (killed, copy) = (env.path().join("killed"), env.path().join("copy"));
    fs::create_dir(&killed).unwrap();
    for name in ["events.db", "events.db-wal", "events.db-shm"] {
        fs::copy(setting.directory.path().join(name), killed.join(name)).unwrap();
    }
    drop(runner);
    hard_link(&killed, &copy);
    let before = bytes(&copy);
    assert!(!before["events.db-wal"].is_empty());
    setting.append(&Event::Detected(event(40)));
    setting.journal.sync().unwrap();
    follow(&setting, &killed.join("events.db"));
    assert!(bytes(&copy) == before);
    follow(&setting, &copy.join("events.db"));
    for path in [killed, copy] {
        assert_eq!(contents(&path.join("events.db")), rebuilt_elsewhere(&setting));
    }
}

#[test]
fn a_rebuild_and_a_shortened_log_change_no_copy() {
    let setting = Setting::with_events(40);
    let env = tempfile::tempdir().unwrap();
    let runner = running(&setting);
    let copies = ["shortened", "rebuilt", "stopped"].map(|name| env.path().join(name));
    let mut before = Vec::new();
    for copy in &copies {
        hard_link(setting.directory.path(), copy);
        before.push(bytes(copy));
        match copy.file_name().unwrap().to_str().unwrap() {
            "shortened" => assert!(!shorten_database_log(&setting.path())),
            "rebuilt" => {
                runner.rebuild("sqlite", &RebuildOptions::default()).unwrap().unwrap();
            }
            _ => {}
        }
    }
    runner.stop();
    for (copy, before) in copies.iter().zip(before) {
        assert!(bytes(copy) == before, "{}", copy.display());
    }
    setting.catch_up_once();
    assert_repaired(&setting);
}

/// `cp -l events.db events.db-wal copy/`: the index stays with those who read the old files.
#[test]
fn a_reader_of_the_old_files_keeps_their_index() {
    let setting = Setting::with_events(5);
    let runner = running(&setting);
    let reader = Connection::open(setting.path()).unwrap();
    let count = |reader: &Connection| -> i64 {
        reader.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap()
    };
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(count(&reader), 6);
    let env = tempfile::tempdir().unwrap();
    for name in ["events.db", "events.db-wal"] {
        fs::hard_link(setting.directory.path().join(name), env.path().join(name)).unwrap();
    }
    let index = || fs::metadata(setting.directory.path().join("events.db-shm")).unwrap().ino();
    let before = index();
    for number in 5..300 {
        setting.append(&Event::Detected(event(number)));
    }
    setting.catch_up(&runner);
    assert_ne!(index(), before);
    assert_eq!(count(&reader), 6);
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(count(&reader), 6, "the old files are read on");
    drop(reader);
    runner.stop();
    assert_repaired(&setting);
}

#[test]
fn what_is_no_database_is_not_written_to_in_a_copy() {
    let setting = Setting::with_events(40);
    setting.catch_up_once();
    let env = tempfile::tempdir().unwrap();
    for text in ["", "short", &"camera_1 saw a cat\n".repeat(500)] {
        fs::write(setting.path(), text).unwrap();
        let copy = env.path().join(text.len().to_string());
        hard_link(setting.directory.path(), &copy);
        setting.catch_up_once();
        assert_eq!(fs::read_to_string(copy.join("events.db")).unwrap(), text);
        assert_repaired(&setting);
    }
}

#[test]
fn a_store_that_is_open_follows_to_the_copy() {
    let setting = Setting::with_events(5);
    let runner = running(&setting);
    let store = setting.store();
    assert_eq!(store.recent_events(10).unwrap().len(), 6);
    let env = tempfile::tempdir().unwrap();
    hard_link(setting.directory.path(), env.path());
    setting.append(&Event::Detected(event(5)));
    setting.catch_up(&runner);
    assert_eq!(store.recent_events(10).unwrap().len(), 7);
    let copied = Connection::open(env.path().join("events.db")).unwrap();
    let count: i64 = copied.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 6);
}

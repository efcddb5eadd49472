//! The database is rebuilt from the journal after any damage, and an unusable one is kept.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use lenslog_engine::{RebuildError, RebuildOptions, Runner};
use lenslog_events::Event;
use lenslog_projections::sqlite::{SCHEMA_VERSION, SqliteProjection};
use rusqlite::Connection;

use crate::database::contents::{assert_repaired, contents, differences, rebuilt_elsewhere};
use crate::database::logs;
use crate::database::setting::{Setting, event, names, wait_until};

const EVENTS: u64 = 40;

/// A journal and its database, closed.
fn recorded() -> Setting {
    logs::keep();
    let setting = Setting::with_events(EVENTS);
    setting.catch_up_once();
    setting
}

fn execute(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// Does something to the database between two starts. The next one must log an ERROR, keep the file as `*.old-N`,
/// and mend it; the one after that must find nothing to do.
fn breaks(words: &str, harm: impl FnOnce(&Path)) -> Setting {
    let setting = recorded();
    harm(&setting.path());
    let found = fs::read(setting.path()).unwrap();
    setting.append(&Event::Detected(event(EVENTS)));
    let status = setting.catch_up_once();
    assert_eq!(status.rebuilds, 1, "{words}: {status:?}");
    assert_repaired(&setting);

    let directory = setting.directory.path();
    let errors = logs::about(directory, "ERROR");
    assert_eq!(errors.len(), 1, "{words}: {errors:#?}");
    assert!(errors[0].contains(words), "{words}: {errors:#?}");
    let aside = directory.join("events.db.old-1");
    if fs::read(&aside).unwrap() != found {
        // Copied page by page: what it held is the same.
        assert_eq!(contents_if_any(&aside), contents_of_bytes(&found), "{words}");
    }

    let status = setting.catch_up_once();
    assert_eq!(status.rebuilds, 0, "{words}");
    assert_eq!(names(directory, "events.db"), ["events.db", "events.db.old-1"], "{words}");
    setting
}

fn contents_if_any(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement =
        connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").unwrap();
    let sql = statement.query_map([], |row| row.get(0)).unwrap();
    let mut sql: Vec<String> = sql.map(Result::unwrap).collect();
    sql.sort();
    sql
}

fn contents_of_bytes(bytes: &[u8]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("found.db");
    fs::write(&path, bytes).unwrap();
    contents_if_any(&path)
}

#[test]
fn a_text_in_its_place() {
    breaks("file is not a database", |path| {
        fs::write(path, "camera_1 saw a cat\n".repeat(500)).unwrap();
    });
}

#[test]
fn a_database_cut_short() {
    for bytes in [1, 100, 4096, 5000, 20_000] {
        breaks("events.db", |path| {
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
        });
    }
}

#[test]
fn a_newer_version_of_the_schema() {
    let newer = SCHEMA_VERSION + 1;
    breaks(&format!("its schema is version {newer}"), |path| {
        execute(path, &format!("INSERT INTO schema_version (version) VALUES ({newer})"));
    });
}

#[test]
fn a_missing_table() {
    for table in ["events", "event_labels", "checkpoint", "schema_version"] {
        breaks(&format!("table {table} is missing"), |path| {
            execute(path, &format!("DROP TABLE {table}"));
        });
    }
}

#[test]
fn a_missing_index() {
    for index in [
        "idx_events_timestamp",
        "idx_events_camera",
        "idx_events_event_id",
        "idx_events_camera_timestamp",
        "idx_event_labels_label",
        "idx_event_labels_camera",
    ] {
        breaks(&format!("index {index} is missing"), |path| {
            execute(path, &format!("DROP INDEX {index}"));
        });
    }
}

#[test]
fn an_altered_table() {
    for sql in [
        "ALTER TABLE events ADD COLUMN mine TEXT",
        "ALTER TABLE events DROP COLUMN json_log_path",
        "ALTER TABLE events RENAME COLUMN camera_id TO camera",
    ] {
        breaks("table events was altered", |path| execute(path, sql));
    }
    breaks("table events is missing", |path| {
        execute(path, "ALTER TABLE events RENAME TO occurrences");
    });
}

#[test]
fn a_checkpoint_that_says_nothing() {
    breaks("its checkpoint cannot be read", |path| {
        execute(path, "UPDATE checkpoint SET content = 'next 7'");
    });
    breaks("it has events but no checkpoint", |path| execute(path, "DELETE FROM checkpoint"));
}

#[test]
fn a_database_that_is_gone_or_empty_is_no_error() {
    for harm in
        [(|path| fs::remove_file(path).unwrap()) as fn(&Path), |path| fs::write(path, "").unwrap()]
    {
        let setting = recorded();
        harm(&setting.path());
        setting.append(&Event::Detected(event(EVENTS)));
        assert_eq!(setting.catch_up_once().rebuilds, 1);
        assert_repaired(&setting);
        assert_eq!(logs::about(setting.directory.path(), "ERROR"), [""; 0]);
        assert_eq!(names(setting.directory.path(), "events.db"), ["events.db"]);
    }
}

#[test]
fn what_a_database_that_is_gone_left_beside_it_is_not_taken_for_the_new_ones() {
    let setting = recorded();
    let path = setting.path();
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("DELETE FROM events").unwrap();
    let wal = path.with_extension("db-wal");
    let kept = setting.directory.path().join("kept");
    fs::copy(&wal, &kept).unwrap();
    drop(connection);
    fs::remove_file(&path).unwrap();
    fs::rename(&kept, &wal).unwrap();
    setting.catch_up_once();
    assert_repaired(&setting);
}

#[test]
fn the_database_of_another_journal() {
    let other = Setting::with_other_journal(3);
    other.catch_up_once();
    let setting = recorded();
    fs::copy(other.path(), setting.path()).unwrap();
    assert_eq!(setting.catch_up_once().rebuilds, 1);
    assert_repaired(&setting);
}

#[test]
fn a_copy_or_an_older_backup_goes_on_where_it_stands() {
    let setting = recorded();
    let path = setting.path();
    let backup = setting.directory.path().join("backup");
    fs::copy(&path, &backup).unwrap();
    setting.append(&Event::Detected(event(EVENTS)));
    setting.catch_up_once();
    fs::rename(&backup, &path).unwrap();
    assert_eq!(setting.catch_up_once().rebuilds, 0);
    assert_repaired(&setting);
}

#[test]
fn a_database_ahead_of_its_journal_is_replaced_only_where_loss_is_accepted() {
    let longer = recorded();
    let shorter = Setting::with_events(EVENTS / 2);
    fs::copy(longer.path(), shorter.path()).unwrap();
    let before = fs::read(shorter.path()).unwrap();
    let rebuild = |accept_loss| {
        let mut projection = SqliteProjection::new(shorter.path());
        let options = RebuildOptions { accept_loss, ..RebuildOptions::default() };
        lenslog_engine::rebuild(&mut projection, &shorter.journal.view(), &options, &mut |_| true)
    };
    let refused = rebuild(false).unwrap_err();
    assert!(matches!(refused, RebuildError::Ahead { .. }), "{refused}");
    assert_eq!(fs::read(shorter.path()).unwrap(), before);
    rebuild(true).unwrap();
    assert_repaired(&shorter);
    assert_eq!(names(shorter.directory.path(), "events.db.lost-"), ["events.db.lost-1"]);
}

/// SQLite has no checksums: a flipped bit of a text is still a text. Then a verification must name it.
#[test]
fn a_flipped_byte_anywhere_is_repaired_or_named() {
    let setting = recorded();
    let path = setting.path();
    let (before, expected) = (fs::read(&path).unwrap(), rebuilt_elsewhere(&setting));
    let (mut repaired, mut named) = (0, 0);
    // The whole header, then a walk over all pages.
    for offset in (0..100).chain((100..before.len()).step_by(331)) {
        fs::write(&path, &before).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[before[offset] ^ 0x41], offset as u64).unwrap();
        drop(file);
        let rebuilds = setting.catch_up_once().rebuilds;
        let found = differences(&setting);
        if rebuilds > 0 {
            repaired += 1;
            assert_eq!(found, [""; 0], "offset {offset}");
        }
        if contents(&path) == expected {
            continue;
        }
        named += 1;
        assert!(!found.is_empty(), "offset {offset} changed something and no check reported it");
    }
    assert!(repaired > 10 && named > 10, "{repaired} repaired, {named} named");
    let asides = names(setting.directory.path(), "events.db.old-");
    assert_eq!(asides.iter().filter(|name| !name.ends_with("-wal")).count(), 3, "{asides:?}");
}

/// Harm done while the recorder runs, and events before and after it.
fn mends_while_running(harm: impl FnOnce(&Setting)) -> Setting {
    logs::keep();
    let setting = Setting::with_events(EVENTS);
    let runner = setting.runner();
    setting.catch_up(&runner);
    let before = runner.status()[0].rebuilds;
    harm(&setting);
    wait_until(&runner, |status| status.rebuilds > before);
    goes_on(&setting, &runner);
    setting
}

fn goes_on(setting: &Setting, runner: &Runner) {
    setting.append(&Event::Detected(event(EVENTS + 1)));
    setting.catch_up(runner);
    assert_repaired(setting);
    runner.stop();
    assert_repaired(setting);
}

#[test]
fn a_database_deleted_while_running_comes_back() {
    mends_while_running(|setting| {
        fs::remove_file(setting.path()).unwrap();
        setting.append(&Event::Detected(event(EVENTS)));
        setting.journal.sync().unwrap();
    });
}

#[test]
fn a_log_taken_away_while_running_hides_no_event_from_readers() {
    let setting = Setting::with_events(EVENTS);
    let runner = setting.runner();
    setting.catch_up(&runner);
    wait_until(&runner, |status| status.next == setting.journal.next_seq());
    fs::remove_file(setting.directory.path().join("events.db-wal")).unwrap();
    setting.append(&Event::Detected(event(EVENTS)));
    setting.journal.sync().unwrap();
    let is_seen = || setting.store().event_by_id(&format!("evt_{EVENTS}"));
    wait_until(&runner, |_| is_seen().is_ok_and(|found| found.is_some()));
    goes_on(&setting, &runner);
}

#[test]
fn a_database_replaced_while_running_is_made_again() {
    mends_while_running(|setting| {
        let other = setting.directory.path().join("other");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE songs (title)").unwrap();
        fs::rename(&other, setting.path()).unwrap();
    });
}

#[test]
fn a_database_replaced_by_a_copy_of_itself_while_running_is_made_again() {
    mends_while_running(|setting| {
        execute(&setting.path(), "PRAGMA wal_checkpoint(TRUNCATE)");
        let copy = setting.directory.path().join("copy");
        fs::copy(setting.path(), &copy).unwrap();
        fs::rename(&copy, setting.path()).unwrap();
    });
}

#[test]
fn a_database_cut_while_running_is_made_again() {
    mends_while_running(|setting| {
        // What lies in the log only cannot be cut off in the file.
        execute(&setting.path(), "PRAGMA wal_checkpoint(TRUNCATE)");
        fs::OpenOptions::new().write(true).open(setting.path()).unwrap().set_len(8192).unwrap();
    });
}

#[test]
fn a_table_dropped_while_running_is_made_again_at_the_next_event() {
    let setting = mends_while_running(|setting| {
        execute(&setting.path(), "DROP TABLE event_labels");
        setting.append(&Event::Detected(event(EVENTS)));
        setting.journal.sync().unwrap();
    });
    assert!(setting.directory.path().join("events.db.old-1").exists());
}

#[test]
fn a_database_overwritten_in_place_while_running_is_made_again() {
    mends_while_running(|setting| {
        execute(&setting.path(), "PRAGMA wal_checkpoint(TRUNCATE)");
        let file = fs::OpenOptions::new().write(true).open(setting.path()).unwrap();
        let bytes = file.metadata().unwrap().len() as usize;
        file.write_all_at(&vec![0x55; bytes], 0).unwrap();
        // What it knows of the pages must be read again.
        for number in 0..50 {
            setting.append(&Event::Detected(event(EVENTS + 10 + number)));
        }
        setting.journal.sync().unwrap();
    });
}

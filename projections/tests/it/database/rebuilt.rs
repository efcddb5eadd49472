//! Rebuilds: what they touch, what they keep, what they leave when they fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lenslog_engine::{Projection as _, RebuildError, RebuildOptions, Rebuilt, Scope, rebuild};
use lenslog_events::{Event, EventDetected};
use lenslog_journal::Day;
use lenslog_journal::storage::{Storage, read_file};
use lenslog_projections::sqlite::SqliteProjection;
use rusqlite::Connection;

use crate::database::contents::{assert_repaired, contents, differences, table};
use crate::database::setting::{START, Setting, event, names};

const DAY_MICROS: i64 = 86_400_000_000;

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

/// Four days from 2026-11-23 on, five events each.
fn four_days() -> Setting {
    let setting = Setting::new();
    for number in 0..20 {
        let timestamp = START.plus_micros(number as i64 / 5 * DAY_MICROS + number as i64);
        setting.append(&Event::Detected(EventDetected { timestamp, ..event(number) }));
    }
    setting.catch_up_once();
    setting
}

fn run(setting: &Setting, options: &RebuildOptions) -> Result<Rebuilt, RebuildError> {
    let mut projection = SqliteProjection::new(setting.path());
    rebuild(&mut projection, &setting.journal.view(), options, &mut |_| true)
}

fn execute(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// Flips a byte in the frame of a record of the first segment.
fn damage(setting: &Setting, seq: u64) {
    let mut files = setting.storage.files().into_iter();
    let path = files.find(|path| path.to_string_lossy().ends_with(".seg")).unwrap();
    let bytes = read_file(&setting.storage as &dyn Storage, &path, usize::MAX).unwrap();
    let frame = (8192..bytes.len()).step_by(8).find(|at| {
        bytes[*at..].starts_with(b"LFRM") && bytes[at + 8..at + 16] == seq.to_le_bytes()
    });
    setting.storage.rot(&path, frame.unwrap() as u64 + 60, 1);
}

const SPOIL: &str = "UPDATE events SET llm_description = 'spoiled'; DELETE FROM event_labels;
                     DELETE FROM events WHERE id % 5 = 0;";

/// One day, as a range and as a set.
fn scopes() -> [Scope; 2] {
    let day = day("2026-11-24");
    [Scope::Range(day, day), Scope::Days(BTreeSet::from([day]))]
}

#[test]
fn a_rebuild_of_some_days_rebuilds_the_whole_database() {
    for scope in scopes() {
        let setting = four_days();
        let path = setting.path();
        execute(&path, SPOIL);
        execute(&path, "CREATE TABLE notes (x); INSERT INTO notes VALUES ('mine')");
        run(&setting, &RebuildOptions { scope, ..RebuildOptions::default() }).unwrap();
        assert_repaired(&setting);
        assert_eq!(table(&path, "SELECT * FROM notes"), "\"mine\"|\n");
        assert_eq!(names(setting.directory.path(), ""), ["events.db"]);
        // It follows on from where it stood.
        setting.append(&Event::Detected(event(20)));
        assert_eq!(setting.catch_up_once().rebuilds, 0);
        assert!(setting.store().event_by_id("evt_20").unwrap().is_some());
    }
}

#[test]
fn a_rebuild_of_some_days_makes_a_missing_database() {
    for scope in scopes() {
        let setting = four_days();
        fs::remove_file(setting.path()).unwrap();
        run(&setting, &RebuildOptions { scope, ..RebuildOptions::default() }).unwrap();
        assert_repaired(&setting);
    }
}

#[test]
fn a_rebuild_of_some_days_keeps_the_old_database_on_request() {
    for scope in scopes() {
        let setting = four_days();
        execute(&setting.path(), SPOIL);
        let spoiled = contents(&setting.path());
        let options = RebuildOptions { scope, keep_old: true, ..RebuildOptions::default() };
        run(&setting, &options).unwrap();
        assert_eq!(contents(&setting.directory.path().join("events.db.old-1")), spoiled);
    }
}

#[test]
fn a_damaged_journal_replaces_nothing_unless_loss_is_accepted() {
    let setting = four_days();
    let path = setting.path();
    let (before, bytes) = (contents(&path), fs::read(&path).unwrap());
    damage(&setting, 7);
    for scope in [Scope::All, Scope::Range(day("2026-11-24"), day("2026-11-24"))] {
        let refused = run(&setting, &RebuildOptions { scope, ..RebuildOptions::default() });
        assert!(matches!(refused, Err(RebuildError::Damaged { .. })), "{refused:?}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(names(setting.directory.path(), ""), ["events.db"]);
    }
    // The rows of what the journal lost are no difference: they may be the last copies.
    assert_eq!(differences(&setting), [""; 0]);

    let accepting = RebuildOptions { accept_loss: true, ..RebuildOptions::default() };
    let rebuilt = run(&setting, &accepting).unwrap();
    assert_eq!(rebuilt.lost.len(), 1);
    assert_eq!(setting.store().event_by_id("evt_6").unwrap(), None);
    assert_eq!(setting.store().recent_events(100).unwrap().len(), 19);
    let old = setting.directory.path().join("events.db.lost-1");
    assert_eq!(contents(&old), before);
}

#[test]
fn a_broken_database_beside_a_damaged_journal_is_kept_and_the_rest_is_there() {
    let setting = four_days();
    damage(&setting, 7);
    execute(&setting.path(), "DROP INDEX idx_events_camera");
    assert_eq!(setting.catch_up_once().rebuilds, 1);
    assert_eq!(setting.store().recent_events(100).unwrap().len(), 19);
    let old = setting.directory.path().join("events.db.lost-1");
    assert_eq!(table(&old, "SELECT event_id FROM events WHERE id = 7"), "\"evt_6\"|\n");
}

#[test]
fn lost_copies_are_not_limited_and_go_with_their_days() {
    let setting = four_days();
    damage(&setting, 7);
    let accepting = RebuildOptions { accept_loss: true, ..RebuildOptions::default() };
    for _ in 0..5 {
        run(&setting, &accepting).unwrap();
    }
    let lost = || names(setting.directory.path(), "events.db.lost-");
    assert_eq!(lost().len(), 5);
    // 2026-11-26T09:00:00Z and 10:30: in one time zone that was the 27th already.
    for (number, seconds) in [(1, 1795683600), (2, 1795689000)] {
        let path = setting.directory.path().join(format!("events.db.lost-{number}"));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    for number in 3..=5 {
        let path = setting.directory.path().join(format!("events.db.lost-{number}"));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    setting.journal.prune_through(day("2026-11-26")).unwrap();
    setting.catch_up_once();
    assert_eq!(
        lost(),
        ["events.db.lost-2", "events.db.lost-3", "events.db.lost-4", "events.db.lost-5"]
    );
    let mut projection = SqliteProjection::new(setting.path());
    assert_eq!(projection.remove_lost().unwrap(), 4);
    assert_eq!(lost(), [""; 0]);
}

#[test]
fn the_newest_three_that_were_kept_stay() {
    let setting = four_days();
    let keeping = RebuildOptions { keep_old: true, ..RebuildOptions::default() };
    for _ in 0..5 {
        run(&setting, &keeping).unwrap();
    }
    let kept = names(setting.directory.path(), "events.db.old-");
    assert_eq!(kept, ["events.db.old-3", "events.db.old-4", "events.db.old-5"]);
    assert_repaired(&setting);
}

#[test]
fn what_somebody_added_is_there_after_a_rebuild() {
    let setting = four_days();
    let path = setting.path();
    execute(
        &path,
        r#"CREATE TABLE "my ""notes""" (id INTEGER PRIMARY KEY, event TEXT, twice AS (event || event));
           INSERT INTO "my ""notes""" (event) VALUES ('evt_1'), ('evt_2');
           CREATE INDEX mine ON events(llm_description, camera_id);
           CREATE INDEX noted ON "my ""notes"""(event);
           CREATE VIEW people AS SELECT event_id FROM events
               WHERE id IN (SELECT id FROM event_labels WHERE label = 'person');
           CREATE TABLE heard (event_id TEXT);
           CREATE TRIGGER hear AFTER INSERT ON events
               BEGIN INSERT INTO heard VALUES (new.event_id); END;"#,
    );
    let all = || {
        let schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";
        [schema, r#"SELECT * FROM "my ""notes""""#, "SELECT * FROM people", "SELECT * FROM heard"]
            .map(|sql| table(&path, sql))
    };
    let before = all();
    execute(&path, SPOIL);
    run(&setting, &RebuildOptions::default()).unwrap();
    assert_eq!(all(), before);
    assert_repaired(&setting);
    assert_eq!(names(setting.directory.path(), ""), ["events.db"]);
    setting.append(&Event::Detected(event(20)));
    assert_eq!(setting.catch_up_once().rebuilds, 0);
    assert_eq!(table(&path, "SELECT * FROM heard"), "\"evt_20\"|\n");
}

#[test]
fn what_cannot_be_carried_over_is_kept_in_the_old_database() {
    let setting = four_days();
    execute(
        &setting.path(),
        "CREATE VIRTUAL TABLE words USING fts5(text); INSERT INTO words VALUES ('a cat');
         CREATE TABLE notes (x); INSERT INTO notes VALUES ('mine');",
    );
    run(&setting, &RebuildOptions::default()).unwrap();
    assert_repaired(&setting);
    assert_eq!(table(&setting.path(), "SELECT * FROM notes"), "\"mine\"|\n");
    let old = setting.directory.path().join("events.db.old-1");
    assert_eq!(table(&old, "SELECT * FROM words WHERE words MATCH 'cat'"), "\"a cat\"|\n");
}

#[test]
fn a_reader_sees_the_old_content_or_the_new_and_goes_on() {
    let setting = four_days();
    execute(&setting.path(), SPOIL);
    let reader = Connection::open(setting.path()).unwrap();
    let spoiled = || {
        let sql = "SELECT count(*), sum(llm_description = 'spoiled') FROM events";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        reader.query_row::<(i64, Option<i64>), _, _>(sql, [], row).unwrap()
    };
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(spoiled(), (16, Some(16)));
    let runner = setting.runner();
    setting.catch_up(&runner);
    runner.rebuild("sqlite", &RebuildOptions::default()).unwrap().unwrap();
    assert_eq!(spoiled(), (16, Some(16)), "within its transaction nothing changes");
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(spoiled(), (20, None));
    setting.append(&Event::Detected(event(20)));
    setting.catch_up(&runner);
    assert_eq!(spoiled(), (21, None));
}

#[test]
fn a_rebuild_that_is_interrupted_or_killed_leaves_the_old_database_and_nothing_else() {
    let setting = four_days();
    execute(&setting.path(), SPOIL);
    let before = contents(&setting.path());
    let mut projection = SqliteProjection::new(setting.path());
    let view = setting.journal.view();
    let stopped = rebuild(&mut projection, &view, &RebuildOptions::default(), &mut |_| false);
    assert!(matches!(stopped, Err(RebuildError::Interrupted)));
    assert_eq!(contents(&setting.path()), before);
    assert_eq!(names(setting.directory.path(), ""), ["events.db"]);
    // Killed: what it left is there at the next start.
    for left in ["events.db.rebuild", "events.db.rebuild-journal", "events.db.partial"] {
        fs::write(setting.directory.path().join(left), "half").unwrap();
    }
    assert_eq!(setting.catch_up_once().rebuilds, 0);
    assert_eq!(contents(&setting.path()), before);
    assert_eq!(names(setting.directory.path(), ""), ["events.db"]);
}

#[test]
fn a_database_of_another_page_size_is_rebuilt_in_place() {
    let setting = four_days();
    execute(&setting.path(), "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM");
    let reader = Connection::open(setting.path()).unwrap();
    let count =
        || reader.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0)).unwrap();
    execute(&setting.path(), SPOIL);
    assert_eq!(count(), 16);
    run(&setting, &RebuildOptions::default()).unwrap();
    assert_eq!(count(), 20);
    assert_repaired(&setting);
}

#[test]
fn a_link_to_the_database_stays_a_link() {
    let setting = four_days();
    let (path, real) = (setting.path(), setting.directory.path().join("elsewhere.db"));
    for harm in [
        (|_| {}) as fn(&Path),
        |real| fs::write(real, "no database").unwrap(),
        |real| fs::remove_file(real).unwrap(),
    ] {
        if !path.is_symlink() {
            fs::rename(&path, &real).unwrap();
            std::os::unix::fs::symlink("elsewhere.db", &path).unwrap();
        }
        harm(&real);
        run(&setting, &RebuildOptions::default()).unwrap();
        assert!(path.is_symlink() && real.is_file());
        assert_repaired(&setting);
    }
}

#[test]
fn a_database_of_another_journal_is_kept_aside() {
    let Setting { directory, .. } = {
        let setting = Setting::with_events(5);
        setting.catch_up_once();
        setting
    };
    let before = contents(&directory.path().join("events.db"));
    let setting = Setting { directory, ..Setting::with_other_journal(2) };
    assert_eq!(setting.catch_up_once().rebuilds, 1);
    assert_eq!(setting.store().recent_events(10).unwrap().len(), 2);
    assert_eq!(contents(&setting.directory.path().join("events.db.old-1")), before);
    // It is this journal's now.
    run(&setting, &RebuildOptions::default()).unwrap();
    assert_eq!(names(setting.directory.path(), ""), ["events.db", "events.db.old-1"]);
}

#[test]
fn a_database_outlives_the_journal_that_vanished() {
    let setting = Setting::with_events(5);
    setting.catch_up_once();
    let setting = setting.without_segments();
    assert!(setting.journal.health().is_degraded());
    let seq = setting.append(&Event::Detected(event(5)));
    assert_eq!(setting.catch_up_once().rebuilds, 0);
    let ids: Vec<_> = setting.store().recent_events(10).unwrap().iter().map(|e| e.seq.0).collect();
    assert_eq!(ids, [seq.0, 5, 4, 3, 2, 1]);
    assert_eq!(differences(&setting), [""; 0]);
}

//! Obstacles that pass: a directory in the place of the database, permissions, locks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lenslog_engine::{
    Opened, Projection, ProjectionError, ProjectionState, RebuildError, RebuildOptions,
};
use lenslog_events::{Event, RecorderCodec};
use lenslog_journal::Seq;
use lenslog_projections::sqlite::SqliteProjection;
use rusqlite::Connection;

use crate::database::contents::{assert_repaired, contents};
use crate::database::logs;
use crate::database::setting::{Setting, TIMEOUT, event, names, wait_until};

#[test]
fn a_directory_in_its_place_blocks_it_until_it_is_moved_away_and_the_journal_goes_on() {
    logs::keep();
    let setting = Setting::with_events(10);
    fs::create_dir(setting.path()).unwrap();
    fs::write(setting.path().join("photo.jpg"), "mine").unwrap();
    let runner = setting.runner();
    wait_until(&runner, |status| status.errors >= 3);
    let status = runner.status().remove(0);
    assert_eq!(status.state, ProjectionState::Waiting);
    let error = status.last_error.unwrap();
    assert!(error.contains("events.db is a directory; move it away"), "{error}");
    setting.append(&Event::Detected(event(10)));
    setting.journal.sync().unwrap();
    let errors = logs::about(setting.directory.path(), "ERROR");
    assert_eq!(errors.len(), 1, "a repeated error is logged once: {errors:#?}");

    fs::rename(setting.path(), setting.directory.path().join("mine")).unwrap();
    setting.catch_up(&runner);
    assert_repaired(&setting);
    assert_eq!(fs::read(setting.directory.path().join("mine/photo.jpg")).unwrap(), b"mine");
}

#[test]
fn a_directory_put_in_its_place_while_running_blocks_it_until_it_is_moved_away() {
    let setting = Setting::with_events(10);
    let runner = setting.runner();
    setting.catch_up(&runner);
    fs::remove_file(setting.path()).unwrap();
    fs::create_dir(setting.path()).unwrap();
    wait_until(&runner, |status| status.state == ProjectionState::Waiting);
    fs::remove_dir(setting.path()).unwrap();
    setting.append(&Event::Detected(event(10)));
    // What was open may still take events until the change is seen.
    wait_until(&runner, |status| status.rebuilds >= 2);
    setting.catch_up(&runner);
    assert_repaired(&setting);
}

/// Runs `act` in a thread of a user who owns nothing.
fn as_nobody<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    const OTHER_USER: u32 = 65_534;
    std::thread::scope(|scope| {
        let act = || {
            if rustix::process::getuid().is_root() {
                let uid = rustix::process::Uid::from_raw(OTHER_USER);
                // Of this thread only.
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            }
            act()
        };
        scope.spawn(act).join().unwrap()
    })
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_database_that_may_not_be_written_is_left_alone_and_told_with_the_remedy() {
    let setting = Setting::with_events(10);
    setting.catch_up_once();
    let (directory, path) = (setting.directory.path(), setting.path());
    permit(&path, 0o444);
    permit(directory, 0o555);
    let before = fs::read(&path).unwrap();
    let view = setting.journal.view();
    as_nobody(|| {
        let mut projection = SqliteProjection::new(&path);
        let opened = Projection::<RecorderCodec>::open(&mut projection);
        let Err(error @ ProjectionError::Blocked { .. }) = opened else { panic!("{opened:?}") };
        let text = error.to_string();
        assert!(
            text.contains("events.db cannot be written by this user; give this user"),
            "{text}"
        );
        let options = RebuildOptions::default();
        let rebuilt = lenslog_engine::rebuild(&mut projection, &view, &options, &mut |_| true);
        let Err(RebuildError::Projection(ProjectionError::Blocked { .. })) = rebuilt else {
            panic!("{rebuilt:?}")
        };
    });
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names(directory, ""), ["events.db"]);
    permit(directory, 0o755);
    permit(&path, 0o644);
    let mut projection = SqliteProjection::new(&path);
    let opened = Projection::<RecorderCodec>::open(&mut projection).unwrap();
    assert!(matches!(opened, Opened::At { .. }));
}

#[test]
fn a_directory_that_may_not_be_written_is_told_where_there_is_no_database_yet() {
    let setting = Setting::with_events(3);
    let (directory, path) = (setting.directory.path(), setting.path());
    permit(directory, 0o555);
    let view = setting.journal.view();
    as_nobody(|| {
        let mut projection = SqliteProjection::new(&path);
        let options = RebuildOptions::default();
        let rebuilt = lenslog_engine::rebuild(&mut projection, &view, &options, &mut |_| true);
        let Err(RebuildError::Projection(error)) = rebuilt else { panic!("{rebuilt:?}") };
        assert!(matches!(error, ProjectionError::Blocked { .. }), "{error:?}");
        assert!(error.to_string().contains("give this user read and write permission"), "{error}");
    });
    permit(directory, 0o755);
}

#[test]
fn a_lock_of_somebody_else_is_waited_for_and_the_journal_goes_on() {
    let setting = Setting::with_events(10);
    let projection = SqliteProjection::new(setting.path());
    let counters = projection.counters();
    let runner = setting.runner_of(projection);
    setting.catch_up(&runner);
    let other = Connection::open(setting.path()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for number in 10..20 {
        setting.append(&Event::Detected(event(number)));
    }
    setting.journal.sync().unwrap();
    wait_until(&runner, |status| status.errors >= 2);
    let error = runner.status().remove(0).last_error.unwrap();
    assert!(error.contains("events.db: database is locked"), "{error}");
    assert_eq!(setting.journal.next_seq(), Seq(21));
    assert_eq!(counters.events(), 0, "the first ten were there from a rebuild");
    assert!(counters.write_errors() >= 2);
    other.execute_batch("COMMIT").unwrap();
    setting.catch_up(&runner);
    assert_eq!(counters.events(), 10);
    assert_repaired(&setting);
}

#[test]
fn a_rebuild_that_meets_a_lock_changes_nothing_and_leaves_nothing() {
    let setting = Setting::with_events(10);
    setting.catch_up_once();
    let before = contents(&setting.path());
    let other = Connection::open(setting.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut projection = SqliteProjection::new(setting.path());
    let view = setting.journal.view();
    let options = RebuildOptions::default();
    let rebuilt = lenslog_engine::rebuild(&mut projection, &view, &options, &mut |_| true);
    let Err(RebuildError::Projection(ProjectionError::Retry { source, .. })) = rebuilt else {
        panic!("{rebuilt:?}")
    };
    assert_eq!(source.kind(), std::io::ErrorKind::ResourceBusy);
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    assert_eq!(contents(&setting.path()), before);
    assert_eq!(names(setting.directory.path(), ""), ["events.db"]);
}

#[test]
fn a_reader_that_never_ends_holds_nothing_up() {
    let setting = Setting::with_events(10);
    let runner = setting.runner();
    setting.catch_up(&runner);
    let reader = Connection::open(setting.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    for number in 10..20 {
        setting.append(&Event::Detected(event(number)));
    }
    setting.catch_up(&runner);
    runner.rebuild("sqlite", &RebuildOptions::default()).unwrap().unwrap();
    setting.append(&Event::Detected(event(20)));
    setting.catch_up(&runner);
    let seen = |sql| reader.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(seen("SELECT count(*) FROM events"), 10);
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(seen("SELECT count(*) FROM events"), 21);
    drop(reader);
    assert_repaired(&setting);
}

#[test]
fn a_commit_of_somebody_else_between_two_events_is_no_obstacle() {
    let setting = Setting::with_events(5);
    let runner = setting.runner();
    setting.catch_up(&runner);
    let other = Connection::open(setting.path()).unwrap();
    other.busy_timeout(TIMEOUT).unwrap();
    other.execute_batch("CREATE TABLE notes (x)").unwrap();
    for number in 5..40 {
        setting.append(&Event::Detected(event(number)));
        other.execute("INSERT INTO notes VALUES (1)", []).unwrap();
        setting.catch_up(&runner);
    }
    assert_repaired(&setting);
}

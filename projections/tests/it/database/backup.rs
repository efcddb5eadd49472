//! `migrations/backup.sh`: a dump beside a running projection, and a database made of it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use lenslog_events::Event;

use crate::database::contents::{assert_repaired, contents};
use crate::database::setting::{Setting, event, names};

fn backup(database: &Path, directory: &Path) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/backup.sh");
    Command::new("sh").arg(script).arg(database).arg(directory).output().unwrap()
}

/// Whether sqlite3 is installed; where it is not, says so, and fails where everything has to be tested.
fn has_sqlite3() -> bool {
    let has = Command::new("sqlite3").arg("-version").stdout(Stdio::null()).status().is_ok();
    if !has {
        assert!(std::env::var_os("LENSLOG_TEST_ALL").is_none(), "sqlite3 is missing");
        eprintln!("sqlite3 is missing: only what the script says then is tested");
    }
    has
}

#[test]
fn a_dump_beside_a_running_projection_gives_the_same_rows_and_goes_on_from_there() {
    let setting = Setting::with_events(20);
    let runner = setting.runner();
    setting.catch_up(&runner);
    let target = setting.directory.path().join("backups");
    let output = backup(&setting.path(), &target);
    let errors = String::from_utf8_lossy(&output.stderr);
    if !has_sqlite3() {
        assert!(errors.contains("apt install sqlite3"), "{errors}");
        return;
    }
    assert!(output.status.success(), "{errors}");
    assert!(String::from_utf8_lossy(&output.stdout).ends_with(": 20 events\n"));
    setting.append(&Event::Detected(event(20)));
    setting.catch_up(&runner);
    runner.stop();

    let dumps = names(&target, "");
    let [dump] = &dumps[..] else { panic!("{dumps:?}") };
    assert!(dump.starts_with("events-20") && dump.ends_with("Z.sql"), "{dump}");
    let restored = setting.directory.path().join("restored.db");
    let dump = fs::File::open(target.join(dump)).unwrap();
    let status = Command::new("sqlite3").arg("-bail").arg(&restored).stdin(dump).status().unwrap();
    assert!(status.success());
    assert_eq!(contents(&restored).lines().filter(|line| line.contains("evt_")).count(), 20);
    // Put in its place it is a database like any other: what it lacks follows.
    fs::rename(&restored, setting.path()).unwrap();
    assert_eq!(setting.catch_up_once().rebuilds, 0);
    assert_repaired(&setting);
}

#[test]
fn a_dump_that_is_not_whole_is_refused_and_leaves_nothing() {
    if !has_sqlite3() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (database, target) = (directory.path().join("events.db"), directory.path().join("to"));
    for content in [None, Some(""), Some("no database, but a text that is longer than a header\n")]
    {
        if let Some(content) = content {
            fs::write(&database, content.repeat(100)).unwrap();
        }
        let output = backup(&database, &target);
        assert_eq!(output.status.code(), Some(1), "{content:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("backup.sh: "), "{output:?}");
        assert!(!target.exists() || names(&target, "").is_empty(), "{content:?}");
    }
}

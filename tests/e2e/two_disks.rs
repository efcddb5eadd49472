//! Data, database, journal and logs on file systems of different sizes: each runs full by itself.

use std::fs;
use std::path::Path;

use crate::disk::Disk;
use crate::harness::TestEnv;
use crate::storage::{days, env, lines};

/// A tmpfs of that many bytes.
fn small(bytes: u64) -> Option<Disk> {
    Disk::new("tmpfs", bytes, &[], "")
}

/// A test environment that overwrites, with a limit that is far away.
fn overwriting() -> TestEnv {
    env(4_000_000_000, &[("WHEN_FULL", "overwrite_oldest"), ("STORAGE_CHECK_INTERVAL", "10")])
}

/// One whose database is there. It belongs to the data directory that is configured with it.
fn with_database(database: &Path, check_interval: &str) -> TestEnv {
    let env = overwriting().with("LENSLOG__STORAGE__STORAGE_CHECK_INTERVAL", check_interval);
    let data = env.data.to_str().unwrap().to_owned();
    env.with("LENSLOG__STORAGE__DATA_DIR", &data)
        .with("LENSLOG__STORAGE__DB_PATH", database.to_str().unwrap())
}

fn percentage(env: &TestEnv) -> f64 {
    env.status()["storage"]["percentage_used"].as_f64().unwrap()
}

fn days_in(database: &Path) -> isize {
    let connection = rusqlite::Connection::open(database).unwrap();
    let count = "SELECT count(DISTINCT substr(timestamp, 1, 10)) FROM events";
    connection.query_row(count, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_full_disk_of_logs_costs_no_day() {
    let Some(disk) = small(4 << 20) else { return };
    let env = overwriting().with("LENSLOG__STORAGE__LOG_DIR", disk.point.to_str().unwrap());
    for age in (1..=20).rev() {
        env.ingest(&lines(age, 500)).expect(0);
    }
    assert_eq!(days(&env).len(), 20);
    assert!(percentage(&env) < 5.0, "{}", percentage(&env));
    // Another program fills it.
    fs::write(disk.point.join("syslog"), vec![1; disk.free_bytes() as usize]).unwrap();
    assert!(percentage(&env) < 5.0, "{}", percentage(&env));
    env.record(&["--source", "test:"]).stop().expect(0);
    assert!(days(&env).len() >= 20);
    env.verify();
}

#[test]
fn a_small_database_disk_costs_only_the_days_it_needs() {
    let Some(disk) = small(40 << 20) else { return };
    let database = disk.point.join("events.db");
    let env = with_database(&database, "10");
    // Half as much again as fits.
    for age in (1..=20).rev() {
        for batch in lines(age, 3000).chunks(750) {
            let ran = env.ingest(batch);
            assert_eq!(ran.code, Some(0), "day -{age}: {}", ran.err);
            let used = percentage(&env);
            assert!(used < 91.0, "day -{age}: {used}");
        }
    }
    let left = days(&env);
    assert!((8..=18).contains(&left.len()), "{left:?}");
    assert_eq!(days_in(&database), left.len() as isize);
    env.verify();
}

#[test]
fn a_database_disk_filled_by_others_costs_no_day() {
    let Some(disk) = small(16 << 20) else { return };
    let database = disk.point.join("events.db");
    let env = with_database(&database, "5000");
    for age in (1..=10).rev() {
        env.ingest(&lines(age, 500)).expect(0);
    }
    let theirs = disk.point.join("theirs");
    disk.fill(&theirs);
    // The journal takes them; the database follows when it can.
    env.ingest(&lines(0, 3000)).expect(1).says("not up to date: sqlite");
    let mut recording = env.record(&["--source", "test:"]);
    recording.wait_for("event=\"evt_");
    let ran = recording.stop();
    assert!(ran.err.contains("health: sqlite: WARNING"), "{}", ran.err);
    assert_eq!(days(&env).len(), 11);
    // How far the database came, and so whether a rotation was due, is not known: this one is.
    let ran = env.run(&["rotate", "--force"]).expect(1);
    assert!(ran.err.contains("rotation: the disk of the database is full"), "{}", ran.err);
    assert_eq!(days(&env).len(), 11);
    fs::remove_dir_all(theirs).unwrap();
    env.ingest(&[]).expect(0);
    assert_eq!(days_in(&database), 11);
    env.verify();
}

#[test]
fn a_locked_database_is_not_reported_as_a_full_disk() {
    let Some(disk) = small(16 << 20) else { return };
    let database = disk.point.join("events.db");
    let env = with_database(&database, "5000").with("LENSLOG__STORAGE__MIN_RETENTION_DAYS", "1");
    for age in [2, 1] {
        env.ingest(&lines(age, 100)).expect(0);
    }
    let theirs = rusqlite::Connection::open(&database).unwrap();
    theirs.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ran = env.run(&["rotate", "--force"]).expect(1).says("sqlite will follow later");
    assert!(!ran.err.contains("full") && !ran.err.contains("no room left"), "{}", ran.err);
    assert_eq!((days(&env).len(), days_in(&database)), (1, 2));
    theirs.execute_batch("ROLLBACK").unwrap();
    env.ingest(&[]).expect(0);
    assert_eq!(days_in(&database), 1);
    env.verify();
}

#[test]
fn a_linked_journal_is_counted_and_its_disk_is_a_limit() {
    let Some(disk) = small(64 << 20) else { return };
    let env = overwriting();
    fs::create_dir_all(&env.data).unwrap();
    let journal = disk.point.join("journal");
    fs::create_dir(&journal).unwrap();
    std::os::unix::fs::symlink(&journal, env.data.join("journal")).unwrap();
    env.ingest(&lines(3, 100)).expect(0);
    let storage = env.status()["storage"].clone();
    let at_least = disk.bytes - disk.free_bytes();
    assert!(storage["total_bytes"].as_u64().unwrap() > at_least, "{storage}");
    assert!(storage["limit_bytes"].as_u64().unwrap() < 1_000_000_000, "{storage}");
}

//! What a rotation does besides its tombstone, and what it counts.

use std::collections::BTreeMap;

use super::ballast::Ballast;
use super::clock_trust::ClockTrust;
use super::policy::Mode;
use super::*;

/// The smallest segment that there is.
const SEGMENT_BYTES: u64 = 256 << 10;

fn segmented(days: u32) -> TestEnv {
    let env = TestEnv::with_segments(days, Some(SEGMENT_BYTES));
    assert!(env.journal.view().segments().unwrap().len() > 4);
    env
}

fn planner(env: &TestEnv) -> RetentionPlanner {
    let monitor = Arc::new(StorageMonitor::new(&env.config));
    let clock: Arc<dyn Clock> = Arc::clone(&env.clock) as _;
    RetentionPlanner::new(&env.config, monitor, env.journal.view(), clock, env.opened)
}

#[test]
fn young_pictures_of_journaled_events_go_with_their_day() {
    let mut env = TestEnv::new(2);
    let id = made_just_now();
    env.append_as(2, id.clone());
    let (guard, _runner) = env.watched(1_000_000);
    guard.rotate(true, false).unwrap();
    assert!(!env.is_there(2, &format!("{id}.jpg")));
}

#[test]
fn deleting_rows_leaves_no_long_database_log() {
    let mut env = TestEnv::new(6);
    let log = env.config.storage.data_dir.join("events.db-wal");
    let (guard, _runner) = env.watched(1_000_000);
    let is_cut = || {
        guard.rotate(true, false).unwrap();
        fs::metadata(&log).unwrap().len() == 0
    };
    // Another process may read at just that moment.
    assert!((0..5).any(|_| is_cut()));
}

#[test]
fn a_stuck_projection_gets_the_ballast_and_delays_no_end() {
    let mut env = TestEnv::new(2);
    let (guard, runner) = env.watched(1_000_000);
    let data = &env.config.storage.data_dir;
    let kept = data.join("reserve-kept");
    fs::hard_link(data.join("reserve"), &kept).unwrap();
    let other = rusqlite::Connection::open(&env.config.storage.db_path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    let report = std::thread::scope(|scope| {
        let rotating = scope.spawn(|| guard.rotate(true, false).unwrap());
        wait_until(|| env.journal.view().pruned_through().unwrap().is_some());
        guard.stop();
        rotating.join().unwrap()
    });
    // It would be waited for twice, five seconds each time.
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    let reported = |problem: &String| problem.contains("sqlite will follow later");
    assert!(report.problems.iter().any(reported), "{report:?}");
    assert_eq!(std::os::unix::fs::MetadataExt::nlink(&fs::metadata(&kept).unwrap()), 1);
    runner.wait_for(env.journal.next_seq(), Duration::from_secs(20)).unwrap();
}

#[test]
fn a_segment_that_cannot_be_unlinked_is_reported() {
    let mut env = segmented(2);
    let (guard, _runner) = env.watched(1_000_000);
    let journal = env.config.storage.data_dir.join("journal");
    let base = env.journal.view().segments().unwrap()[0].name;
    // Something is in the place of a file that goes with the segment.
    let keys = journal.join(base.file_name()).with_extension("keys");
    let _ = fs::remove_file(&keys);
    fs::create_dir_all(keys.join("x")).unwrap();
    let report = guard.rotate(true, false).unwrap();
    let reported = format!("{} cannot be removed", keys.display());
    assert!(report.problems.iter().any(|problem| problem.starts_with(&reported)), "{report:?}");
}

#[test]
fn without_ballast_the_spare_segment_is_released_once() {
    let env = TestEnv::new(0);
    let (ballast, data) = (Ballast::of(&env.config.storage), &env.config.storage.data_dir);
    ballast.make();
    let there = || (data.join("reserve").exists(), data.join("journal/spare").exists());
    wait_until(|| there() == (true, true));
    assert!(ballast.release(&env.journal));
    assert_eq!(there(), (false, true));
    assert!(ballast.release(&env.journal));
    assert_eq!(there(), (false, false));
    assert!(!ballast.release(&env.journal));
    assert!(!ballast.release_beside_database(), "the database is on no disk of its own");
}

#[test]
fn a_database_on_its_own_disk_has_ballast_there() {
    use std::os::unix::fs::MetadataExt;
    let mut env = TestEnv::new(0);
    let data = env.config.storage.data_dir.clone();
    let device = |path: &std::path::Path| fs::metadata(path).unwrap().dev();
    let elsewhere = tempfile::tempdir_in("/dev/shm").ok();
    let Some(elsewhere) = elsewhere.filter(|other| device(other.path()) != device(&data)) else {
        assert!(std::env::var_os("LENSLOG_TEST_ALL").is_none(), "there is no second file system");
        return println!("skipped: there is no second file system");
    };
    env.config.storage.db_path = elsewhere.path().join("events.db");
    let ballast = Ballast::of(&env.config.storage);
    ballast.make();
    let beside_database = elsewhere.path().join("events.db.reserve");
    let there = || (data.join("reserve").exists(), beside_database.exists());
    assert_eq!(there(), (true, true));
    assert!(ballast.release_beside_database());
    assert_eq!(there(), (true, false));
    assert!(!ballast.release_beside_database());
    ballast.make();
    assert!(ballast.release(&env.journal));
    assert_eq!(there(), (false, false));
}

#[test]
fn a_day_counts_its_directory_its_rows_and_its_segments() {
    let mut env = segmented(3);
    let (guard, _runner) = env.watched(1_000_000);
    drop(guard);
    let planner = planner(&env);
    let plan = planner.plan(Mode::Check, None, &BTreeMap::new()).unwrap();
    let mut segments: BTreeMap<Day, u64> = BTreeMap::new();
    for (_, day, bytes) in planner.segments().unwrap() {
        *segments.entry(day).or_default() += bytes;
    }
    assert!(segments.len() > 1);
    let directories = planner.monitor().days();
    let mut rows = 0;
    for data in &plan.days {
        let directory = directories.iter().find(|directory| directory.day == data.day);
        let directory = directory.map_or(0, |directory| directory.bytes);
        let files = directory + segments.get(&data.day).copied().unwrap_or(0);
        assert!(data.bytes > files, "{data:?} {files}");
        rows += data.bytes - files;
    }
    let used = planner.monitor().database_used();
    let rounded = plan.days.len() as u64;
    assert!((used - rounded..=used).contains(&rows), "{rows} of {used}");
}

#[test]
fn pictures_in_several_segments_are_found_once() {
    let env = segmented(3);
    let data = &env.config.storage.data_dir;
    let names = |age: u32| -> Vec<String> {
        let pictures = pictures::of_day(&env.journal.view(), data, noon(age).day(), u64::MAX);
        let name = |picture: pictures::Picture| picture.purged.event.event_id;
        pictures.unwrap().into_iter().map(name).collect()
    };
    let all = |age: u32| -> Vec<String> {
        let others = (0..LONG_EVENTS).map(|number| format!("evt_{age}_{number}"));
        std::iter::once(format!("evt_{age}")).chain(others).collect()
    };
    assert_eq!((names(3), names(2), names(1), names(0)), (all(3), all(2), all(1), all(0)));
    // The segments are there still.
    let floor = env.journal.view().floor().unwrap();
    env.journal.prune_through(noon(3).day()).unwrap();
    assert!(env.journal.view().floor().unwrap() > floor);
    assert!(names(3).len() < all(3).len());
    assert_eq!((names(1), names(0)), (all(1), all(0)));
    let trust = ClockTrust::of(&env.journal.view(), env.opened, env.clock.read()).unwrap();
    assert!(trust.is_trusted(env.clock.read()));
    env.journal.prune_through(noon(0).day()).unwrap();
    assert_eq!(names(0), [""; 0]);
    ClockTrust::of(&env.journal.view(), env.opened, env.clock.read()).unwrap();
}

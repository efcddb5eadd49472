//! What a rotation does besides its tombstone, and what it counts.

use std::collections::BTreeMap;

use super::clock_trust::ClockTrust;
use super::policy::Mode;
use super::reserve::Reserve;
use super::*;

/// The smallest segment that there is.
const SEGMENT_BYTES: u64 = 256 << 10;

fn segmented(days: u32) -> Lab {
    let lab = Lab::with_segments(days, Some(SEGMENT_BYTES));
    assert!(lab.journal.view().segments().unwrap().len() > 4);
    lab
}

fn surveyor(lab: &Lab) -> Surveyor {
    let monitor = Arc::new(StorageMonitor::new(&lab.config));
    let clock: Arc<dyn Clock> = Arc::clone(&lab.clock) as _;
    Surveyor::new(&lab.config, monitor, lab.journal.view(), clock, lab.opened)
}

#[test]
fn pictures_made_just_now_of_events_that_are_known_go_with_their_day() {
    let mut lab = Lab::new(2);
    let id = made_just_now();
    lab.append_as(2, id.clone());
    let (guard, _runner) = lab.watched(1_000_000);
    guard.rotate(true, false).unwrap();
    assert!(!lab.is_there(2, &format!("{id}.jpg")));
}

#[test]
fn what_deleting_rows_adds_to_the_log_of_the_database_is_cut_off_again() {
    let mut lab = Lab::new(6);
    let log = lab.config.storage.data_dir.join("events.db-wal");
    let (guard, _runner) = lab.watched(1_000_000);
    let is_cut = || {
        guard.rotate(true, false).unwrap();
        fs::metadata(&log).unwrap().len() == 0
    };
    // Somebody may read at just that moment.
    assert!((0..5).any(|_| is_cut()));
}

#[test]
fn a_projection_that_does_not_get_on_gets_the_reserve_and_nobody_waits_for_it_at_the_end() {
    let mut lab = Lab::new(2);
    let (guard, runner) = lab.watched(1_000_000);
    let data = &lab.config.storage.data_dir;
    let kept = data.join("reserve-kept");
    fs::hard_link(data.join("reserve"), &kept).unwrap();
    let other = rusqlite::Connection::open(&lab.config.storage.db_path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    let report = std::thread::scope(|scope| {
        let rotating = scope.spawn(|| guard.rotate(true, false).unwrap());
        wait_until(|| lab.journal.view().pruned_through().unwrap().is_some());
        guard.stop();
        rotating.join().unwrap()
    });
    // It would be waited for twice, five seconds each time.
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    let told = |problem: &String| problem.contains("sqlite will follow later");
    assert!(report.problems.iter().any(told), "{report:?}");
    assert_eq!(std::os::unix::fs::MetadataExt::nlink(&fs::metadata(&kept).unwrap()), 1);
    assert!(runner.wait_for(lab.journal.next_seq(), Duration::from_secs(20)).is_empty());
}

#[test]
fn what_cannot_be_unlinked_is_told() {
    let mut lab = segmented(2);
    let (guard, _runner) = lab.watched(1_000_000);
    let journal = lab.config.storage.data_dir.join("journal");
    let base = lab.journal.view().segments().unwrap()[0].name;
    // Something is in the place of a file that goes with the segment.
    let keys = journal.join(base.file_name()).with_extension("keys");
    let _ = fs::remove_file(&keys);
    fs::create_dir_all(keys.join("x")).unwrap();
    let report = guard.rotate(true, false).unwrap();
    let told = format!("{} cannot be removed", keys.display());
    assert!(report.problems.iter().any(|problem| problem.starts_with(&told)), "{report:?}");
}

#[test]
fn where_the_reserve_is_gone_the_spare_segment_is_given_up_and_then_nothing() {
    let lab = Lab::new(0);
    let (reserve, data) = (Reserve::of(&lab.config.storage), &lab.config.storage.data_dir);
    reserve.make();
    let there = || (data.join("reserve").exists(), data.join("journal/spare").exists());
    wait_until(|| there() == (true, true));
    assert!(reserve.give_up(&lab.journal));
    assert_eq!(there(), (false, true));
    assert!(reserve.give_up(&lab.journal));
    assert_eq!(there(), (false, false));
    assert!(!reserve.give_up(&lab.journal));
    assert!(!reserve.give_up_beside_database(), "the database is on no disk of its own");
}

#[test]
fn a_database_on_a_disk_of_its_own_has_a_reserve_there() {
    use std::os::unix::fs::MetadataExt;
    let mut lab = Lab::new(0);
    let data = lab.config.storage.data_dir.clone();
    let device = |path: &std::path::Path| fs::metadata(path).unwrap().dev();
    let elsewhere = tempfile::tempdir_in("/dev/shm").ok();
    let Some(elsewhere) = elsewhere.filter(|other| device(other.path()) != device(&data)) else {
        assert!(std::env::var_os("LENSLOG_TEST_ALL").is_none(), "there is no second file system");
        return println!("skipped: there is no second file system");
    };
    lab.config.storage.db_path = elsewhere.path().join("events.db");
    let reserve = Reserve::of(&lab.config.storage);
    reserve.make();
    let beside_database = elsewhere.path().join("events.db.reserve");
    let there = || (data.join("reserve").exists(), beside_database.exists());
    assert_eq!(there(), (true, true));
    assert!(reserve.give_up_beside_database());
    assert_eq!(there(), (true, false));
    assert!(!reserve.give_up_beside_database());
    reserve.make();
    assert!(reserve.give_up(&lab.journal));
    assert_eq!(there(), (false, false));
}

#[test]
fn a_day_counts_its_directory_its_rows_and_its_segments() {
    let mut lab = segmented(3);
    let (guard, _runner) = lab.watched(1_000_000);
    drop(guard);
    let surveyor = surveyor(&lab);
    let survey = surveyor.survey(Mode::Check, None, &BTreeMap::new()).unwrap();
    let mut segments: BTreeMap<Day, u64> = BTreeMap::new();
    for (_, day, bytes) in surveyor.segments().unwrap() {
        *segments.entry(day).or_default() += bytes;
    }
    assert!(segments.len() > 1);
    let directories = surveyor.monitor().days();
    let mut rows = 0;
    for data in &survey.days {
        let directory = directories.iter().find(|directory| directory.day == data.day);
        let directory = directory.map_or(0, |directory| directory.bytes);
        let files = directory + segments.get(&data.day).copied().unwrap_or(0);
        assert!(data.bytes > files, "{data:?} {files}");
        rows += data.bytes - files;
    }
    let used = surveyor.monitor().database_used();
    let rounded = survey.days.len() as u64;
    assert!((used - rounded..=used).contains(&rows), "{rows} of {used}");
}

#[test]
fn pictures_of_a_day_in_several_segments_are_found_once_and_none_behind_the_floor() {
    let lab = segmented(3);
    let data = &lab.config.storage.data_dir;
    let names = |age: u32| -> Vec<String> {
        let pictures = pictures::of_day(&lab.journal.view(), data, noon(age).day(), u64::MAX);
        let name = |picture: pictures::Picture| picture.purged.event.event_id;
        pictures.unwrap().into_iter().map(name).collect()
    };
    let all = |age: u32| -> Vec<String> {
        let others = (0..LONG_EVENTS).map(|number| format!("evt_{age}_{number}"));
        std::iter::once(format!("evt_{age}")).chain(others).collect()
    };
    assert_eq!((names(3), names(2), names(1), names(0)), (all(3), all(2), all(1), all(0)));
    // The segments are there still.
    let floor = lab.journal.view().floor().unwrap();
    lab.journal.prune_through(noon(3).day()).unwrap();
    assert!(lab.journal.view().floor().unwrap() > floor);
    assert!(names(3).len() < all(3).len());
    assert_eq!((names(1), names(0)), (all(1), all(0)));
    let trust = ClockTrust::of(&lab.journal.view(), lab.opened, lab.clock.read()).unwrap();
    assert!(trust.is_trusted(lab.clock.read()));
    lab.journal.prune_through(noon(0).day()).unwrap();
    assert_eq!(names(0), [""; 0]);
    ClockTrust::of(&lab.journal.view(), lab.opened, lab.clock.read()).unwrap();
}

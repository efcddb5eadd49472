//! A data directory of several days, and what checks and rotations make of it.

mod rotations;
mod told;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use lenslog_engine::{Runner, Vocabulary};
use lenslog_events::{Event, EventDetected, Metadata, RecorderVocabulary, StorageLevel};
use lenslog_journal::storage::AnchoredStorage;
use lenslog_journal::{Clock, Day, Journal, Options, Seq, SimulatedClock, Timestamp};

use super::*;
use crate::config::{Config, WhenFull};
use crate::ingest::Admission;
use crate::layout;
use crate::testing::wait_until;

const DAY_MICROS: i64 = 24 * 3_600_000_000;
/// Noon of today.
const TODAY_MICROS: i64 = 1_795_262_400_000_000;
/// Bytes of a picture, and of what strangers leave.
const FILE_BYTES: usize = 300_000;

/// Further events of a day where there are segments to fill.
const LONG_EVENTS: u32 = 4;
/// Bytes of their sentences, of which a few fill a segment.
const SENTENCE_BYTES: usize = 100_000;

struct Lab {
    _directory: tempfile::TempDir,
    config: Config,
    clock: Arc<SimulatedClock>,
    journal: Journal,
    opened: Seq,
    told: Arc<Mutex<Vec<StorageLevel>>>,
    full: Arc<AtomicU32>,
    /// Whoever is told something waits here.
    gate: Arc<Mutex<()>>,
}

fn noon(age: u32) -> Timestamp {
    let utc_micros = TODAY_MICROS - i64::from(age) * DAY_MICROS;
    Timestamp { utc_micros, offset_minutes: 0 }
}

/// The id of an event.
fn made_just_now() -> String {
    let seconds = u64::try_from(noon(0).utc_micros / 1_000_000).unwrap();
    let made = uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0);
    format!("evt_{}", uuid::Uuid::new_v7(made))
}

impl Lab {
    /// With an event and its picture on each of so many days before today, oldest first.
    fn new(days: u32) -> Self {
        Self::with_segments(days, None)
    }

    /// In segments of no more bytes than that, with further events that fill more than one of them each day.
    fn with_segments(days: u32, segment_bytes_max: Option<u64>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        let storage = &mut config.storage;
        storage.data_dir = directory.path().join("data");
        storage.db_path = storage.data_dir.join("events.db");
        storage.log_dir = directory.path().join("logs");
        storage.min_retention_days = 0;
        fs::create_dir(&storage.data_dir).unwrap();
        let clock = Arc::new(SimulatedClock::new(noon(days)));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let storage_of = Arc::new(AnchoredStorage::default());
        let options =
            Options { storage: storage_of, clock: shared, segment_bytes_max, ..Options::default() };
        let journal = Journal::open(&storage.data_dir, &options).unwrap();
        let opened = journal.next_seq();
        let (told, full, gate) = Default::default();
        let lab = Self { _directory: directory, config, clock, journal, opened, told, full, gate };
        for age in (0..=days).rev() {
            lab.clock.step_to(noon(age));
            lab.append(age);
            for number in 0..segment_bytes_max.map_or(0, |_| LONG_EVENTS) {
                let sentence = Some("x".repeat(SENTENCE_BYTES));
                lab.append_described(age, format!("evt_{age}_{number}"), sentence);
            }
        }
        // As if it had been opened now: the newest record vouches for the clock.
        Self { opened: lab.journal.next_seq(), ..lab }
    }

    fn append(&self, age: u32) {
        self.append_as(age, format!("evt_{age}"));
    }

    fn append_as(&self, age: u32, event_id: String) {
        self.append_described(age, event_id, None);
    }

    fn append_described(&self, age: u32, event_id: String, llm_description: Option<String>) {
        let day = noon(age).day();
        self.put(age, &format!("{event_id}.jpg"));
        let record = RecorderVocabulary::encode(&Event::Detected(EventDetected {
            image_path: Some(format!("data/events/{day}/{event_id}.jpg")),
            event_id,
            timestamp: noon(age),
            camera_id: "door".to_owned(),
            camera_name: None,
            motion_confidence: None,
            detected_objects: Vec::new(),
            llm_description,
            description_expected: false,
            metadata: Metadata::new(),
        }));
        self.journal.append(&[record.as_record()]).unwrap();
    }

    fn directory_of(&self, day: Day) -> PathBuf {
        self.config.storage.data_dir.join("events").join(day.to_string())
    }

    fn put(&self, age: u32, name: &str) {
        let directory = self.directory_of(noon(age).day());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), vec![1; FILE_BYTES]).unwrap();
    }

    /// Puts a picture there that no event names. As it was made just now, its event may be on its way, so that it stays when
    /// its day is deleted.
    fn put_strange(&self, age: u32) -> String {
        let name = format!("{}.jpg", made_just_now());
        self.put(age, &name);
        name
    }

    fn is_there(&self, age: u32, name: &str) -> bool {
        self.directory_of(noon(age).day()).join(name).exists()
    }

    /// The ages of the days whose pictures are there.
    fn pictures(&self) -> Vec<u32> {
        (0..20).filter(|age| self.is_there(*age, &format!("evt_{age}.jpg"))).collect()
    }

    fn runner(&self) -> Arc<Runner> {
        let (projections, _) = layout::projections(&self.config, &self.journal);
        let runner = Arc::new(Runner::start(&self.journal.view(), projections, Arc::new(|_| ())));
        let head = self.journal.view().head().unwrap();
        while !runner.wait_for(head, Duration::from_secs(1)).is_empty() {}
        runner
    }

    /// Watches, with the limit at so many per cent of what is used.
    fn watched(&mut self, limit_percent: u64) -> (StorageGuard, Arc<Runner>) {
        let runner = self.runner();
        let used = StorageMonitor::new(&self.config).check_usage().total_bytes;
        self.config.storage.max_storage_gb = (used * limit_percent / 100) as f64 / 1e9;
        let (told, full) = (Arc::clone(&self.told), Arc::clone(&self.full));
        let gate = Arc::clone(&self.gate);
        let tell = move |event: &Event| {
            let Event::StorageWarning(warning) = event else { panic!("{event:?}") };
            told.lock().unwrap().push(warning.level);
            drop(gate.lock().unwrap());
        };
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let when_full = move || {
            full.fetch_add(1, Ordering::SeqCst);
        };
        let from = (&runner, self.opened);
        let guard = StorageGuard::start(
            &self.config,
            &self.journal,
            from,
            &clock,
            Arc::new(tell),
            when_full,
        );
        (guard, runner)
    }

    fn told(&self) -> Vec<StorageLevel> {
        self.told.lock().unwrap().clone()
    }
}

#[test]
fn nothing_is_counted_or_deleted_while_the_mount_is_missing() {
    let mut lab = Lab::new(2);
    lab.config.storage.require_mount = lab.config.storage.data_dir.clone();
    let (guard, _runner) = lab.watched(50);
    guard.make_room();
    assert_eq!((guard.figures().checks, guard.is_full()), (0, false));
    assert_eq!((lab.pictures(), lab.told()), (vec![0, 1, 2], Vec::new()));
}

#[test]
fn nothing_is_counted_deleted_or_made_where_another_directory_is_in_the_place_of_ours() {
    let mut lab = Lab::new(2);
    let (guard, _runner) = lab.watched(1_000_000);
    assert_eq!(guard.figures().checks, 1);
    let data = lab.config.storage.data_dir.clone();
    fs::rename(&data, data.with_extension("away")).unwrap();
    fs::create_dir(&data).unwrap();
    guard.make_room();
    assert_eq!(guard.figures().checks, 1);
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
}

#[test]
fn a_check_keeps_room_back_for_deleting() {
    let mut lab = Lab::new(1);
    let (guard, _runner) = lab.watched(1_000);
    assert!(lab.config.storage.data_dir.join("reserve").exists());
    drop(guard);
}

#[test]
fn more_than_the_limit_with_nothing_to_delete_is_full_and_told_once() {
    let mut lab = Lab::new(2);
    lab.config.storage.min_retention_days = 7;
    let (guard, _runner) = lab.watched(50);
    for _ in 0..3 {
        assert!(guard.is_full() && !guard.admit() && !guard.make_room());
        let levels = [StorageLevel::Approaching, StorageLevel::Rotating, StorageLevel::Exceeded];
        assert_eq!(lab.told(), levels);
        assert_eq!(lab.full.load(Ordering::SeqCst), 1);
    }
    let figures = guard.figures();
    assert_eq!((figures.checks, figures.days_deleted, figures.storage_warnings), (4, 0, 2));
    assert_eq!(lab.pictures(), [0, 1, 2]);
}

#[test]
fn what_is_too_much_only_until_old_days_are_deleted_is_not_full() {
    let mut lab = Lab::new(6);
    let (guard, _runner) = lab.watched(95);
    let figures = guard.figures();
    assert!(!guard.is_full() && figures.stats.is_below_target(), "{figures:?}");
    assert!(!lab.told().contains(&StorageLevel::Exceeded), "{:?}", lab.told());
    assert_eq!(lab.full.load(Ordering::SeqCst), 0);
    let gone = 7 - lab.pictures().len() as u64;
    // Each day, and that the limit was approached.
    assert!(gone > 0 && lab.pictures().contains(&0));
    assert_eq!((figures.days_deleted, figures.storage_warnings), (gone, gone + 1));
}

#[test]
fn so_many_events_bring_a_check_and_only_one() {
    let mut lab = Lab::new(1);
    lab.config.storage.storage_check_interval = 10;
    let (guard, _runner) = lab.watched(1_000_000);
    let head = lab.journal.next_seq();
    guard.note(Seq(head.0 + 1));
    guard.note(Seq(head.0 + 100));
    wait_until(|| guard.figures().checks == 2);
    guard.make_room();
    assert_eq!(guard.figures().checks, 3);
}

#[test]
fn whoever_is_far_ahead_waits_for_the_check_that_is_due_and_what_was_noted_stays() {
    let mut lab = Lab::new(1);
    lab.config.storage.storage_check_interval = 10;
    let (guard, _runner) = lab.watched(130);
    let gate = Arc::clone(&lab.gate);
    let closed = gate.lock().unwrap();
    // What comes to be there makes the next check tell something, and that takes long.
    (0..20).for_each(|number| lab.put(0, &format!("{number}.txt")));
    let told = lab.told().len();
    guard.check_soon();
    wait_until(|| lab.told().len() > told);
    let head = lab.journal.next_seq();
    guard.note(Seq(head.0 + 1_000));
    guard.note(head);
    let (is_open, begins) = (AtomicU32::new(0), Barrier::new(2));
    std::thread::scope(|scope| {
        let admitted = scope.spawn(|| {
            begins.wait();
            guard.admit();
            is_open.load(Ordering::SeqCst)
        });
        begins.wait();
        // Long enough for whoever does not wait; nothing is wrong where it is not.
        (0..10_000).take_while(|_| !admitted.is_finished()).for_each(|_| std::thread::yield_now());
        is_open.store(1, Ordering::SeqCst);
        drop(closed);
        assert_eq!(admitted.join().unwrap(), 1, "it was let in while it was too far ahead");
    });
    wait_until(|| guard.figures().checks == 3);
}

#[test]
fn a_rotation_that_was_asked_for_brings_a_check() {
    let mut lab = Lab::new(1);
    let (guard, _runner) = lab.watched(1_000_000);
    assert_eq!(guard.figures().checks, 1);
    guard.rotate(false, false).unwrap();
    wait_until(|| guard.figures().checks == 2);
}

#[test]
fn what_could_not_be_deleted_is_tried_again_after_a_while_and_not_at_each_check() {
    let mut lab = Lab::new(3);
    for _ in 0..30 {
        lab.put_strange(3);
    }
    // A day that can go only as long as it is not tried: much of it stays.
    lab.config.storage.max_retention_days = 3;
    let (guard, _runner) = lab.watched(1_000_000);
    let appended = || lab.journal.next_seq();
    let first = appended();
    guard.make_room();
    guard.make_room();
    assert_eq!(appended(), first);
    lab.clock.advance(Duration::from_secs(600));
    guard.make_room();
    assert!(appended() > first);
    let second = appended();
    guard.make_room();
    assert_eq!(appended(), second);
}

#[test]
fn no_more_may_be_taken_than_the_file_system_has_whatever_the_configuration_says() {
    let mut lab = Lab::new(0);
    lab.config.storage.max_storage_gb = 1e9;
    let stats = StorageMonitor::new(&lab.config).check_usage();
    assert!(stats.limit_bytes < 1_000_000_000_000_000_000, "{stats:?}");
    lab.config.storage.max_storage_gb = 1e-3;
    assert_eq!(StorageMonitor::new(&lab.config).check_usage().limit_bytes, 1_000_000);
}

#[test]
fn nobody_waits_for_a_guard_that_has_stopped_and_it_deletes_nothing() {
    let mut lab = Lab::new(2);
    let (guard, _runner) = lab.watched(1_000_000);
    guard.stop();
    let start = Instant::now();
    guard.note(Seq(u64::MAX));
    assert!(guard.admit() && guard.make_room());
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
    assert_eq!(guard.rotate(true, false).unwrap().gone, []);
    assert_eq!(lab.pictures(), [0, 1, 2]);
}

#[test]
fn one_day_that_is_asked_for_is_counted_and_no_more_than_one_goes() {
    let mut lab = Lab::new(3);
    let (guard, _runner) = lab.watched(1_000_000);
    let report = guard.rotate(true, false).unwrap();
    assert_eq!(report.gone.len(), 1, "{report:?}");
    assert_eq!(lab.pictures(), [0, 1, 2]);
    let figures = guard.figures();
    assert_eq!((figures.days_deleted, figures.storage_warnings), (1, 1));
}

#[test]
fn todays_pictures_go_last_and_are_no_day() {
    let mut lab = Lab::new(0);
    lab.config.storage.when_full = WhenFull::OverwriteOldest;
    let (guard, _runner) = lab.watched(50);
    assert_eq!(lab.pictures(), [0; 0]);
    let figures = guard.figures();
    assert_eq!(figures.days_deleted, 0);
    assert!(figures.storage_warnings > 0);
}

#[test]
fn pictures_that_nobody_can_purge_are_not_tried_for_ever() {
    let mut lab = Lab::new(3);
    lab.config.storage.images_retention_days = 2;
    let strange = lab.put_strange(3);
    let (guard, _runner) = lab.watched(1_000_000);
    assert_eq!(lab.pictures(), [0, 1]);
    assert!(lab.is_there(3, &strange));
    assert_eq!(guard.rotate(false, false).unwrap().gone, []);
    lab.put_strange(3);
    assert_eq!(guard.rotate(false, true).unwrap().gone.len(), 1, "there is something new");
}

#[test]
fn pictures_are_not_deleted_by_a_clock_that_nothing_vouches_for() {
    let mut lab = Lab::new(3);
    lab.config.storage.images_retention_days = 2;
    lab.config.storage.max_retention_days = 2;
    // No record from before the start is near, if the kernel does not vouch for the clock itself.
    lab.opened = lab.journal.view().floor().unwrap();
    let is_vouched_for = kernel_clock::is_synchronised();
    let (_guard, _runner) = lab.watched(1_000_000);
    assert_eq!(lab.pictures().len() == 4, !is_vouched_for, "{:?}", lab.pictures());
}

#[test]
fn what_stays_of_a_deleted_day_is_told_stops_nothing_and_is_no_deletion() {
    let mut lab = Lab::new(3);
    let strange = lab.put_strange(3);
    let (guard, _runner) = lab.watched(1_000_000);
    let (third, second) = (noon(3).day().to_string(), noon(2).day().to_string());
    let report = guard.rotate(true, false).unwrap();
    assert!(report.gone.iter().any(|gone| gone.day == third), "{report:?}");
    assert!(lab.is_there(3, &strange) && !lab.is_there(3, "evt_3.jpg"));
    let told = |problem: &String| problem.starts_with(&format!("{third} could not be deleted"));
    assert_eq!(report.problems.iter().filter(|problem| told(problem)).count(), 1, "{report:?}");
    // The next one takes the day that can go.
    let report = guard.rotate(true, false).unwrap();
    let gone: Vec<_> = report.gone.iter().map(|gone| gone.day.as_str()).collect();
    assert_eq!(gone, [second.as_str()], "{report:?}");
}

#[test]
fn a_medium_that_gives_nothing_back_ends_a_rotation_and_a_few_such_days_do_not() {
    // Much is left of these days, and of all others nothing.
    for (stay, ends) in [(&[8, 7, 5, 4][..], false), (&[8, 7, 6][..], true)] {
        let mut lab = Lab::new(8);
        for age in stay {
            for _ in 0..3 {
                lab.put_strange(*age);
            }
        }
        lab.config.storage.when_full = WhenFull::OverwriteOldest;
        let (guard, _runner) = lab.watched(1_000_000);
        drop(guard);
        let (guard, _runner) = lab.watched(10);
        let left = lab.pictures();
        assert_eq!(left.contains(&3), ends, "{stay:?}: {left:?} {:?}", guard.figures());
    }
}

#[test]
fn only_pictures_that_an_event_names_are_purged_and_no_more_than_are_wanted() {
    let lab = Lab::new(2);
    lab.put(1, "evt_1_clean.jpg");
    lab.put(1, "evt_2.jpg");
    let data = &lab.config.storage.data_dir;
    let of =
        |age: u32, wanted| pictures::of_day(&lab.journal.view(), data, noon(age).day(), wanted);
    let names = |age: u32, wanted: u64| -> Vec<String> {
        let pictures = of(age, wanted).unwrap().into_iter();
        pictures
            .map(|picture| picture.purged.image_path.rsplit_once('/').unwrap().1.into())
            .collect()
    };
    // The picture of another day's event is not this day's.
    assert_eq!(names(1, u64::MAX), ["evt_1.jpg", "evt_1_clean.jpg"]);
    // Another event of today, behind the one whose picture is enough.
    lab.append_as(0, "evt_later".to_owned());
    assert_eq!((names(0, 1).len(), names(0, u64::MAX).len()), (1, 2));
    // A directory in the place of a picture, and a link in that of a day.
    let day = lab.directory_of(noon(2).day());
    fs::remove_file(day.join("evt_2.jpg")).unwrap();
    fs::create_dir(day.join("evt_2.jpg")).unwrap();
    assert_eq!(names(2, u64::MAX), [""; 0]);
    let day = lab.directory_of(noon(1).day());
    fs::rename(&day, data.join("away")).unwrap();
    std::os::unix::fs::symlink(data.join("away"), &day).unwrap();
    assert_eq!(names(1, u64::MAX), [""; 0]);
}

#[test]
fn how_long_there_is_room_is_told_by_whole_days_with_events() {
    let data = |age: u32, has_events| DayData {
        day: noon(age).day(),
        bytes: 0,
        picture_bytes: 0,
        has_events,
    };
    let days = vec![data(4, false), data(3, true), data(1, true), data(0, true)];
    let stats = StorageStats::new(200, 1_000);
    let survey = Survey { stats, days, today: noon(0).day(), plan: Plan::default() };
    assert_eq!(survey.days_until_full(), Some(8), "100 a day, and 800 are left");
    let survey = Survey { days: vec![data(4, false), data(0, true)], ..survey };
    assert_eq!(survey.days_until_full(), None);
}

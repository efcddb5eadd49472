//! A data directory of several days, and what checks and rotations make of it.

mod reports;
mod rotations;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use lenslog_engine::Runner;
use lenslog_events::{Event, EventDetected, Metadata, RecorderCodec, StorageLevel};
use lenslog_journal::storage::AnchoredStorage;
use lenslog_journal::{Clock, Day, Journal, Options, Seq, SimulatedClock, Timestamp};
use parking_lot::Mutex;

use super::policy::DayData;
use super::retention::RetentionPlan;
use super::*;
use crate::config::{Config, WhenFull};
use crate::storage::Admission;
use crate::store;
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

struct TestEnv {
    _directory: tempfile::TempDir,
    config: Config,
    clock: Arc<SimulatedClock>,
    journal: Journal,
    opened: Seq,
    reported: Arc<Mutex<Vec<StorageLevel>>>,
    full: Arc<AtomicU32>,
    /// The writing of a warning waits here.
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

impl TestEnv {
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
        let (reported, full, gate) = Default::default();
        let env =
            Self { _directory: directory, config, clock, journal, opened, reported, full, gate };
        for age in (0..=days).rev() {
            env.clock.step_to(noon(age));
            env.append(age);
            for number in 0..segment_bytes_max.map_or(0, |_| LONG_EVENTS) {
                let sentence = Some("x".repeat(SENTENCE_BYTES));
                env.append_described(age, format!("evt_{age}_{number}"), sentence);
            }
        }
        // As if it had been opened now: the newest record vouches for the clock.
        Self { opened: env.journal.next_seq(), ..env }
    }

    fn append(&self, age: u32) {
        self.append_as(age, format!("evt_{age}"));
    }

    fn append_as(&self, age: u32, event_id: String) {
        self.append_described(age, event_id, None);
    }

    fn append_described(&self, age: u32, event_id: String, llm_description: Option<String>) {
        self.put(age, &format!("{event_id}.jpg"));
        self.append_at(noon(age), event_id, llm_description);
    }

    fn append_at(&self, timestamp: Timestamp, event_id: String, llm_description: Option<String>) {
        let day = timestamp.day();
        let record = RecorderCodec::encode(&Event::Detected(EventDetected {
            image_path: Some(format!("data/events/{day}/{event_id}.jpg")),
            event_id,
            timestamp,
            camera_id: "door".to_owned(),
            camera_name: None,
            motion_confidence: None,
            detected_objects: Vec::new(),
            llm_description,
            description_expected: false,
            metadata: Metadata::new(),
        }));
        let _ = self.journal.append(&[record.as_record()]).unwrap();
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
        let (projections, _) = store::projections(&self.config, &self.journal);
        let runner = Arc::new(Runner::start(&self.journal.view(), projections, Arc::new(|_| ())));
        let head = self.journal.view().head().unwrap();
        while runner.wait_for(head, Duration::from_secs(1)).is_err() {}
        runner
    }

    /// Watches, with the limit at so many per cent of what is used.
    fn watched(&mut self, limit_percent: u64) -> (StorageGuard, Arc<Runner>) {
        let runner = self.runner();
        let used = StorageMonitor::new(&self.config).check_usage().total_bytes;
        self.config.storage.max_storage_gb = (used * limit_percent / 100) as f64 / 1e9;
        let (reported, full) = (Arc::clone(&self.reported), Arc::clone(&self.full));
        let gate = Arc::clone(&self.gate);
        let write = move |event: &Event| {
            let Event::StorageWarning(warning) = event else { panic!("{event:?}") };
            reported.lock().push(warning.level);
            drop(gate.lock());
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
            Arc::new(write),
            when_full,
        );
        (guard, runner)
    }

    fn reported(&self) -> Vec<StorageLevel> {
        self.reported.lock().clone()
    }
}

#[test]
fn nothing_is_counted_or_deleted_while_the_mount_is_missing() {
    let mut env = TestEnv::new(2);
    env.config.storage.require_mount = env.config.storage.data_dir.clone();
    let (guard, _runner) = env.watched(50);
    guard.make_room();
    assert_eq!((guard.stats(), guard.is_full()), (StorageStats::default(), false));
    assert_eq!((env.pictures(), env.reported()), (vec![0, 1, 2], Vec::new()));
}

#[test]
fn a_foreign_directory_at_our_path_is_left_alone() {
    let mut env = TestEnv::new(2);
    let (guard, _runner) = env.watched(1_000_000);
    let counted = guard.stats();
    let data = env.config.storage.data_dir.clone();
    fs::rename(&data, data.with_extension("away")).unwrap();
    fs::create_dir(&data).unwrap();
    guard.make_room();
    assert_eq!(guard.stats(), counted);
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
}

#[test]
fn a_check_creates_the_ballast_file() {
    let mut env = TestEnv::new(1);
    let (guard, _runner) = env.watched(1_000);
    assert!(env.config.storage.data_dir.join("reserve").exists());
    drop(guard);
}

#[test]
fn full_with_nothing_to_delete_is_reported_once() {
    let mut env = TestEnv::new(2);
    env.config.storage.min_retention_days = 7;
    let (guard, _runner) = env.watched(50);
    for _ in 0..3 {
        assert!(guard.is_full() && !guard.admit() && !guard.make_room());
        let levels = [StorageLevel::Approaching, StorageLevel::Rotating, StorageLevel::Exceeded];
        assert_eq!(env.reported(), levels);
        assert_eq!(env.full.load(Ordering::SeqCst), 1);
    }
    assert_eq!((guard.inner.checks_done(), guard.warnings()), (4, 2));
    assert_eq!(env.pictures(), [0, 1, 2]);
}

#[test]
fn over_the_limit_until_a_rotation_is_not_full() {
    let mut env = TestEnv::new(6);
    let (guard, _runner) = env.watched(95);
    assert!(!guard.is_full() && guard.stats().is_below_target(), "{:?}", guard.stats());
    assert!(!env.reported().contains(&StorageLevel::Exceeded), "{:?}", env.reported());
    assert_eq!(env.full.load(Ordering::SeqCst), 0);
    let gone = 7 - env.pictures().len() as u64;
    // Each day, and that the limit was approached.
    assert!(gone > 0 && env.pictures().contains(&0));
    assert_eq!(guard.warnings(), gone + 1);
}

#[test]
fn enough_events_trigger_one_check() {
    let mut env = TestEnv::new(1);
    env.config.storage.storage_check_interval = 10;
    let (guard, _runner) = env.watched(1_000_000);
    let head = env.journal.next_seq();
    guard.note(Seq(head.0 + 1));
    guard.note(Seq(head.0 + 100));
    wait_until(|| guard.inner.checks_done() == 2);
    guard.make_room();
    assert_eq!(guard.inner.checks_done(), 3);
}

#[test]
fn a_sender_far_ahead_waits_for_the_due_check() {
    let mut env = TestEnv::new(1);
    env.config.storage.storage_check_interval = 10;
    let (guard, _runner) = env.watched(130);
    let gate = Arc::clone(&env.gate);
    let closed = gate.lock();
    // What comes to be there makes the next check write a warning, which takes long.
    (0..20).for_each(|number| env.put(0, &format!("{number}.txt")));
    let reported = env.reported().len();
    guard.check_soon();
    wait_until(|| env.reported().len() > reported);
    let head = env.journal.next_seq();
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
        // Long enough for a thread that does not wait.
        (0..10_000).take_while(|_| !admitted.is_finished()).for_each(|_| std::thread::yield_now());
        is_open.store(1, Ordering::SeqCst);
        drop(closed);
        assert_eq!(admitted.join().unwrap(), 1, "it was let in while it was too far ahead");
    });
    wait_until(|| guard.inner.checks_done() == 3);
}

#[test]
fn a_requested_rotation_triggers_a_check() {
    let mut env = TestEnv::new(1);
    let (guard, _runner) = env.watched(1_000_000);
    assert_eq!(guard.inner.checks_done(), 1);
    guard.rotate(false, false).unwrap();
    wait_until(|| guard.inner.checks_done() == 2);
}

#[test]
fn a_failed_deletion_is_retried_after_ten_minutes() {
    let mut env = TestEnv::new(3);
    for _ in 0..30 {
        env.put_strange(3);
    }
    // A day that can go only as long as it is not tried: much of it stays.
    env.config.storage.max_retention_days = 3;
    let (guard, _runner) = env.watched(1_000_000);
    let appended = || env.journal.next_seq();
    let first = appended();
    guard.make_room();
    guard.make_room();
    assert_eq!(appended(), first);
    env.clock.advance(Duration::from_secs(600));
    guard.make_room();
    assert!(appended() > first);
    let second = appended();
    guard.make_room();
    assert_eq!(appended(), second);
}

#[test]
fn the_file_system_caps_the_configured_limit() {
    let mut env = TestEnv::new(0);
    env.config.storage.max_storage_gb = 1e9;
    let stats = StorageMonitor::new(&env.config).check_usage();
    assert!(stats.limit_bytes < 1_000_000_000_000_000_000, "{stats:?}");
    env.config.storage.max_storage_gb = 1e-3;
    assert_eq!(StorageMonitor::new(&env.config).check_usage().limit_bytes, 1_000_000);
}

#[test]
fn a_stopped_guard_blocks_no_sender_and_deletes_nothing() {
    let mut env = TestEnv::new(2);
    let (guard, _runner) = env.watched(1_000_000);
    guard.stop();
    let start = Instant::now();
    guard.note(Seq(u64::MAX));
    assert!(guard.admit() && guard.make_room());
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
    assert_eq!(guard.rotate(true, false).unwrap().gone, []);
    assert_eq!(env.pictures(), [0, 1, 2]);
}

#[test]
fn a_forced_rotation_deletes_one_day() {
    let mut env = TestEnv::new(3);
    let (guard, _runner) = env.watched(1_000_000);
    let report = guard.rotate(true, false).unwrap();
    assert_eq!(report.gone.len(), 1, "{report:?}");
    assert_eq!(env.pictures(), [0, 1, 2]);
    assert_eq!(guard.warnings(), 1);
}

#[test]
fn events_of_a_wrong_clock_go_with_their_neighbours() {
    let mut env = TestEnv::new(0);
    let wrong = Timestamp { utc_micros: TODAY_MICROS + 4_000 * DAY_MICROS, offset_minutes: 0 };
    env.clock.step_to(noon(3));
    env.append(3);
    let name = "evt_wrong";
    let directory = env.directory_of(wrong.day());
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(format!("{name}.jpg")), vec![1; FILE_BYTES]).unwrap();
    env.append_at(wrong, name.to_owned(), None);
    for age in [2, 1, 0] {
        env.clock.step_to(noon(age));
        env.append(age);
    }
    env.opened = env.journal.next_seq();
    let (guard, runner) = env.watched(1_000_000);
    assert!(directory.join("events.json").exists());
    let report = guard.rotate(true, false).unwrap();
    let gone: Vec<_> = report.gone.iter().map(|gone| gone.day.clone()).collect();
    assert_eq!(gone, [noon(3).day().to_string(), wrong.day().to_string()], "{report:?}");
    assert!(!directory.exists());
    assert_eq!(env.pictures(), [0, 1, 2]);
    drop(runner);
}

#[test]
fn todays_pictures_go_last_and_count_as_no_day() {
    let mut env = TestEnv::new(0);
    env.config.storage.when_full = WhenFull::OverwriteOldest;
    let (guard, _runner) = env.watched(50);
    assert_eq!(env.pictures(), [0; 0]);
    assert!(guard.warnings() > 0);
}

#[test]
fn pictures_without_an_event_are_not_retried_for_ever() {
    let mut env = TestEnv::new(3);
    env.config.storage.images_retention_days = 2;
    let strange = env.put_strange(3);
    let (guard, _runner) = env.watched(1_000_000);
    assert_eq!(env.pictures(), [0, 1]);
    assert!(env.is_there(3, &strange));
    assert_eq!(guard.rotate(false, false).unwrap().gone, []);
    env.put_strange(3);
    assert_eq!(guard.rotate(false, true).unwrap().gone.len(), 1, "there is something new");
}

#[test]
fn an_untrusted_clock_deletes_no_pictures() {
    let mut env = TestEnv::new(3);
    env.config.storage.images_retention_days = 2;
    env.config.storage.max_retention_days = 2;
    // No record from before the start is near, if the kernel does not vouch for the clock itself.
    env.opened = env.journal.view().floor().unwrap();
    let is_vouched_for = kernel_clock::is_synchronised();
    let (_guard, _runner) = env.watched(1_000_000);
    assert_eq!(env.pictures().len() == 4, !is_vouched_for, "{:?}", env.pictures());
}

#[test]
fn leftovers_of_a_day_are_reported_and_stop_nothing() {
    let mut env = TestEnv::new(3);
    let strange = env.put_strange(3);
    let (guard, _runner) = env.watched(1_000_000);
    let (third, second) = (noon(3).day().to_string(), noon(2).day().to_string());
    let report = guard.rotate(true, false).unwrap();
    assert!(report.gone.iter().any(|gone| gone.day == third), "{report:?}");
    assert!(env.is_there(3, &strange) && !env.is_there(3, "evt_3.jpg"));
    let reported = |problem: &String| problem.starts_with(&format!("{third} could not be deleted"));
    assert_eq!(report.problems.iter().filter(|problem| reported(problem)).count(), 1, "{report:?}");
    // The next one takes the day that can go.
    let report = guard.rotate(true, false).unwrap();
    let gone: Vec<_> = report.gone.iter().map(|gone| gone.day.as_str()).collect();
    assert_eq!(gone, [second.as_str()], "{report:?}");
}

#[test]
fn three_days_that_free_nothing_end_a_rotation() {
    // Much is left of these days, and of all others nothing.
    for (stay, ends) in [(&[8, 7, 5, 4][..], false), (&[8, 7, 6][..], true)] {
        let mut env = TestEnv::new(8);
        for age in stay {
            for _ in 0..3 {
                env.put_strange(*age);
            }
        }
        env.config.storage.when_full = WhenFull::OverwriteOldest;
        let (guard, _runner) = env.watched(1_000_000);
        drop(guard);
        let (guard, _runner) = env.watched(10);
        let left = env.pictures();
        assert_eq!(left.contains(&3), ends, "{stay:?}: {left:?} {:?}", guard.stats());
    }
}

#[test]
fn only_as_many_named_pictures_as_needed_are_purged() {
    let env = TestEnv::new(2);
    env.put(1, "evt_1_clean.jpg");
    env.put(1, "evt_2.jpg");
    let data = &env.config.storage.data_dir;
    let of =
        |age: u32, wanted| pictures::of_day(&env.journal.view(), data, noon(age).day(), wanted);
    let names = |age: u32, wanted: u64| -> Vec<String> {
        let pictures = of(age, wanted).unwrap().into_iter();
        pictures
            .map(|picture| picture.purged.image_path.rsplit_once('/').unwrap().1.into())
            .collect()
    };
    // The picture of another day's event is not this day's.
    assert_eq!(names(1, u64::MAX), ["evt_1.jpg", "evt_1_clean.jpg"]);
    // Another event of today, behind the one whose picture is enough.
    env.append_as(0, "evt_later".to_owned());
    assert_eq!((names(0, 1).len(), names(0, u64::MAX).len()), (1, 2));
    // A directory in the place of a picture, and a link in that of a day.
    let day = env.directory_of(noon(2).day());
    fs::remove_file(day.join("evt_2.jpg")).unwrap();
    fs::create_dir(day.join("evt_2.jpg")).unwrap();
    assert_eq!(names(2, u64::MAX), [""; 0]);
    let day = env.directory_of(noon(1).day());
    fs::rename(&day, data.join("away")).unwrap();
    std::os::unix::fs::symlink(data.join("away"), &day).unwrap();
    assert_eq!(names(1, u64::MAX), [""; 0]);
}

#[test]
fn the_forecast_counts_whole_days_with_events() {
    let data = |age: u32, has_events| DayData {
        day: noon(age).day(),
        bytes: 0,
        picture_bytes: 0,
        has_events,
    };
    let days = vec![data(4, false), data(3, true), data(1, true), data(0, true)];
    let stats = StorageStats::new(200, 1_000);
    let today = noon(0).day();
    let plan =
        RetentionPlan { stats, days, today, wrong_from: None, steps: Vec::new(), kept: Vec::new() };
    assert_eq!(plan.days_until_full(), Some(8), "100 a day, and 800 are left");
    let plan = RetentionPlan { days: vec![data(4, false), data(0, true)], ..plan };
    assert_eq!(plan.days_until_full(), None);
}

//! A journal in memory, a database in a directory of its own, and a runner between them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lenslog_engine::{Projection, ProjectionStatus, Runner};
use lenslog_events::{BoundingBox, DetectedObject, Event, EventDetected, Metadata, RecorderCodec};
use lenslog_journal::storage::{FaultyStorage, Storage};
use lenslog_journal::{Clock, Journal, Options, Seq, SimulatedClock, Timestamp};
use lenslog_projections::EventStore;
use lenslog_projections::sqlite::SqliteProjection;
use tempfile::TempDir;

/// 2026-11-23T10:00:00+01:00.
pub const START: Timestamp = Timestamp { utc_micros: 1_795_424_400_000_000, offset_minutes: 60 };
/// How long a projection may stand still before a test fails.
pub const TIMEOUT: Duration = Duration::from_secs(120);

pub struct Setting {
    pub directory: TempDir,
    pub storage: FaultyStorage,
    pub clock: Arc<SimulatedClock>,
    pub journal: Journal,
}

impl Setting {
    pub fn new() -> Self {
        Self::seeded(1)
    }

    /// A journal of another identity, with `count` events.
    pub fn with_other_journal(count: u64) -> Self {
        let setting = Self::seeded(2);
        for number in 0..count {
            setting.append(&Event::Detected(event(number)));
        }
        setting.journal.sync().unwrap();
        setting
    }

    /// The same directory, all of the journal gone but its identity, opened again.
    pub fn without_segments(self) -> Self {
        let Self { directory, journal, storage, .. } = self;
        journal.close().unwrap();
        let storage = storage.snapshot();
        for path in storage.files().iter().filter(|path| path.starts_with("/journal/journal")) {
            storage.remove(path).unwrap();
        }
        Self { directory, ..Self::on(storage, 3) }
    }

    fn seeded(seed: u64) -> Self {
        Self::on(FaultyStorage::new(), seed)
    }

    fn on(storage: FaultyStorage, seed: u64) -> Self {
        let clock = Arc::new(SimulatedClock::new(START));
        let options = Options {
            storage: Arc::new(storage.clone()),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            seed: Some(seed),
            ..Options::default()
        };
        let journal = Journal::open("/journal", &options).unwrap();
        Self { directory: tempfile::tempdir().unwrap(), storage, clock, journal }
    }

    /// With `count` events of [`event`] in it.
    pub fn with_events(count: u64) -> Self {
        let setting = Self::new();
        for number in 0..count {
            setting.append(&Event::Detected(event(number)));
        }
        setting.journal.sync().unwrap();
        setting
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("events.db")
    }

    /// Not synced.
    pub fn append(&self, event: &Event) -> Seq {
        self.clock.advance(Duration::from_millis(1));
        self.journal.append_unsynced(&[RecorderCodec::encode(event).as_record()]).unwrap().seq()
    }

    pub fn runner(&self) -> Runner {
        self.runner_of(SqliteProjection::new(self.path()))
    }

    pub fn runner_of(&self, projection: SqliteProjection) -> Runner {
        let projections: Vec<Box<dyn Projection<RecorderCodec>>> = vec![Box::new(projection)];
        Runner::start(&self.journal.view(), projections, Arc::new(|_| {}))
    }

    /// Waits until everything that was appended is in the database.
    pub fn catch_up(&self, runner: &Runner) {
        self.journal.sync().unwrap();
        let behind = runner.wait_for(self.journal.next_seq(), TIMEOUT);
        assert!(behind.is_ok(), "{:?}", runner.status());
    }

    /// Brings the database up to date and closes it.
    pub fn catch_up_once(&self) -> ProjectionStatus {
        let runner = self.runner();
        self.catch_up(&runner);
        runner.stop().remove(0)
    }

    pub fn store(&self) -> EventStore {
        EventStore::open(self.path()).unwrap()
    }
}

/// An event whose fields follow from its number: a second apart, three cameras, labels of unequal frequency.
pub fn event(number: u64) -> EventDetected {
    let timestamp = START.plus_micros(number as i64 * 1_000_000);
    let labels: &[&str] = match number % 10 {
        0 => &["person", "car"],
        1..4 => &["car"],
        4 => &["person", "person"],
        5 => &[],
        _ => &["cat"],
    };
    EventDetected {
        event_id: format!("evt_{number}"),
        timestamp,
        camera_id: format!("camera_{}", number % 3),
        camera_name: None,
        motion_confidence: Some(0.5),
        detected_objects: labels.iter().map(|label| object(label)).collect(),
        image_path: Some(format!("data/events/{}/evt_{number}.jpg", timestamp.day())),
        llm_description: None,
        description_expected: false,
        metadata: Metadata::new(),
    }
}

pub fn object(label: &str) -> DetectedObject {
    let bbox = BoundingBox { x: 1.0, y: 2.0, width: 30.5, height: 40.0 };
    DetectedObject { label: label.to_owned(), confidence: 0.75, bbox }
}

/// Waits until the status of the projection is as it should be.
pub fn wait_until(runner: &Runner, is_so: impl Fn(&ProjectionStatus) -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so(&runner.status()[0]) {
        assert!(Instant::now() < deadline, "{:?}", runner.status());
        // Comes back as soon as anything moves, and does not spin.
        let _ = runner.wait_for(Seq(u64::MAX), Duration::from_millis(5));
    }
}

/// Names of the files in a directory that begin with `prefix`, sorted.
pub fn names(directory: &Path, prefix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

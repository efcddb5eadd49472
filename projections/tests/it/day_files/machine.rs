//! [`Machine`]: a journal and its projections on one simulated disk, driven by steps drawn from a seed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lenslog_engine::{CommitKind, RebuildOptions, Scope, verify_within};
use lenslog_events::{
    BoundingBox, DescriptionAdded, DescriptionDeferred, DescriptionFailed, DetectedObject, Event,
    EventDetected, EventRef, Metadata, RecorderCodec,
};
use lenslog_journal::storage::{FaultyStorage, Storage, read_file};
use lenslog_journal::{Day, Journal, Options, ReaderOptions, Seq, SimulatedClock, Timestamp};
use lenslog_projections::{jsonl::jsonl, plaintext::plaintext};
use proptest::prelude::*;

use crate::day_files::follower::{Boxed, Follower, Result};

/// 2026-11-23T10:00:00+01:00.
pub const START: Timestamp = Timestamp { utc_micros: 1_795_424_400_000_000, offset_minutes: 60 };
const DAY_MICROS: i64 = 86_400_000_000;
pub const DATA: &str = "/data";

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Step {
    /// Something is seen, this many days after the first one, and waits for a description or not.
    Detect { day: u8, waits: bool },
    /// An earlier event gets its description (0), late (1) or never (2).
    Describe { index: prop::sample::Index, how: u8 },
    /// The projection applies everything.
    Follow,
    /// It commits durably.
    Checkpoint,
    /// The process ends and begins again.
    Restart,
    /// Days up to one are pruned.
    Prune { day: u8 },
    /// All files are rebuilt.
    RebuildAll,
    /// One day is.
    RebuildDay { day: u8 },
    /// The files are copied by hard links.
    HardLink,
}

pub fn steps(max: usize) -> impl Strategy<Value = Vec<Step>> {
    let day = 0..5_u8;
    let step = prop_oneof![
        8 => (day.clone(), prop::bool::weighted(0.3))
            .prop_map(|(day, waits)| Step::Detect { day, waits }),
        4 => (any::<prop::sample::Index>(), 0..3_u8)
            .prop_map(|(index, how)| Step::Describe { index, how }),
        6 => Just(Step::Follow),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Restart),
        1 => day.clone().prop_map(|day| Step::Prune { day }),
        1 => Just(Step::RebuildAll),
        2 => Just(Step::HardLink),
        1 => day.prop_map(|day| Step::RebuildDay { day }),
    ];
    prop::collection::vec(step, 1..max)
}

/// Which projection is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Jsonl,
    Plaintext,
}

impl Kept {
    pub fn projection(self, storage: &Arc<dyn Storage>, data: &Path) -> Boxed {
        match self {
            Self::Jsonl => Box::new(jsonl(Arc::clone(storage), data)),
            Self::Plaintext => Box::new(plaintext(Arc::clone(storage), data, false)),
        }
    }
}

pub struct Machine {
    pub storage: FaultyStorage,
    pub journal: Journal,
    clock: Arc<SimulatedClock>,
    pub events: Vec<EventRef>,
    /// Copies made by hard links, and what was in them.
    copies: BTreeMap<PathBuf, Vec<u8>>,
}

impl Machine {
    /// Starts on a disk, whatever is on it.
    pub fn boot(storage: &FaultyStorage) -> Result<Self> {
        let clock = Arc::new(SimulatedClock::new(START));
        let options = Options {
            storage: Arc::new(storage.clone()),
            clock: Arc::clone(&clock) as _,
            seed: Some(7),
            ..Options::default()
        };
        storage.create_directory(Path::new(DATA))?;
        storage.sync_directory(Path::new("/"))?;
        let journal = Journal::open(DATA, &options)?;
        Ok(Self {
            storage: storage.clone(),
            journal,
            clock,
            events: Vec::new(),
            copies: BTreeMap::new(),
        })
    }

    pub fn follower(&self, kept: Kept) -> Follower {
        let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
        Follower::new(kept.projection(&storage, Path::new(DATA)), &self.journal.view())
    }

    pub fn append(&self, event: &Event) -> Result<Seq> {
        self.clock.advance(Duration::from_millis(1));
        Ok(self.journal.append(&[RecorderCodec::encode(event).as_record()])?.seq())
    }

    pub fn detect(&mut self, day: u8, waits: bool) -> Result<Seq> {
        let number = self.events.len();
        let event = detected(number, day, waits);
        let event_day = event.timestamp.day();
        let event_id = event.event_id.clone();
        if number.is_multiple_of(3) {
            // The picture was stored before, by the recorder, which syncs its directory later.
            let directory = Path::new(DATA).join("events").join(event_day.to_string());
            self.storage.create_directory(&directory)?;
        }
        let event_seq = self.append(&Event::Detected(event))?;
        self.events.push(EventRef { event_seq, event_day, event_id });
        Ok(event_seq)
    }

    pub fn describe(&self, event: EventRef, how: u8) -> Result<Seq> {
        self.append(&match how {
            0 => Event::DescriptionAdded(DescriptionAdded {
                llm_description: format!("A cat\nwith {}", "a long tail ".repeat(how as usize + 9)),
                model: "llava".to_owned(),
                duration_ms: 17,
                event,
            }),
            1 => Event::DescriptionDeferred(DescriptionDeferred { event }),
            _ => Event::DescriptionFailed(DescriptionFailed { event, reason: String::new() }),
        })
    }

    /// The next record goes to a segment of its own.
    pub fn pass_a_day(&self) {
        self.clock.advance(Duration::from_secs(86_400));
    }

    pub fn prune(&self, day: u8) -> Result<()> {
        self.journal.prune_through(self::day(day))?;
        Ok(())
    }

    /// Flips a bit in the payload of a record: the medium has lost it.
    pub fn damage(&self, seq: Seq) {
        for path in self.storage.files() {
            if path.extension().is_none_or(|extension| extension != "seg") {
                continue;
            }
            let bytes = read_file(&self.storage, &path, usize::MAX).unwrap();
            let is_frame = |at: &usize| {
                bytes[*at..].starts_with(b"LFRM") && bytes[at + 8..at + 16] == seq.0.to_le_bytes()
            };
            if let Some(at) = (8192..bytes.len() - 16).step_by(8).find(is_frame) {
                self.storage.rot(&path, at as u64 + 60, 1);
                return;
            }
        }
        panic!("no frame begins with seq {seq}");
    }

    /// Does one step; nothing more happens after an error.
    pub fn take(&mut self, step: &Step, kept: Kept, follower: &mut Follower) -> Result<()> {
        match step {
            Step::Detect { day, waits } => self.detect(*day, *waits).map(|_| ()),
            Step::Describe { .. } if self.events.is_empty() => Ok(()),
            Step::Describe { index, how } => {
                self.describe(index.get(&self.events).clone(), *how).map(|_| ())
            }
            Step::Follow => follower.follow(),
            Step::Checkpoint => {
                follower.follow()?;
                follower.commit(CommitKind::Durable)
            }
            Step::Restart => {
                *follower = self.follower(kept);
                follower.start()
            }
            Step::Prune { day } => {
                self.prune(*day)?;
                follower.follow()?;
                self.journal.unlink_pruned()?;
                Ok(())
            }
            Step::RebuildAll => follower.rebuild_and_start(Scope::All),
            Step::RebuildDay { day } => {
                follower.rebuild_and_start(Scope::Days([self::day(*day)].into()))
            }
            Step::HardLink => self.hard_link(),
        }
    }

    fn hard_link(&mut self) -> Result<()> {
        for path in self.storage.files() {
            if let Ok(name) = path.strip_prefix(DATA)
                && !name.starts_with("journal")
            {
                let copy = Path::new("/copies").join(self.copies.len().to_string());
                let bytes = read_file(&self.storage, &path, usize::MAX)?;
                self.storage.hard_link(&path, &copy);
                self.copies.insert(copy, bytes);
            }
        }
        Ok(())
    }

    /// Fails where a copy made by hard links was changed. One that cannot be read any more is passed over.
    pub fn assert_copies_unchanged(&self) {
        for (path, bytes) in &self.copies {
            if let Ok(found) = read_file(&self.storage, path, usize::MAX) {
                assert!(found == *bytes, "{}", path.display());
            }
        }
    }

    /// Everything below a directory's `events/`.
    pub fn files(&self, data: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        files(&self.storage, data)
    }

    /// Compares the projection with the journal; `Err` with what differs.
    pub fn verify(&self, kept: Kept) -> std::result::Result<(), String> {
        let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
        let projection = kept.projection(&storage, Path::new(DATA));
        let options = ReaderOptions::default();
        let report = verify_within(
            &self.journal.view(),
            &[&*projection],
            options,
            std::time::Duration::ZERO,
            &mut |_| true,
        )
        .map_err(|error| error.to_string())?;
        let differences = report.projections.into_iter().flat_map(|report| report.differences);
        let differences: Vec<_> = differences.collect();
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    }

    /// What a fresh rebuild makes.
    pub fn fresh(&self, kept: Kept) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
        const FRESH: &str = "/fresh";
        self.storage.create_directory(Path::new(FRESH))?;
        let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
        let projection = kept.projection(&storage, Path::new(FRESH));
        let mut follower = Follower::new(projection, &self.journal.view());
        follower.rebuild(&RebuildOptions::default())?;
        Ok(self.files(FRESH))
    }
}

pub fn files(storage: &FaultyStorage, data: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let events = Path::new(data).join("events");
    let content = |path: PathBuf| {
        let name = path.strip_prefix(&events).ok()?.to_owned();
        Some((name, read_file(storage, &path, usize::MAX).unwrap()))
    };
    storage.files().into_iter().filter_map(content).collect()
}

pub fn day(number: u8) -> Day {
    START.plus_micros(i64::from(number) * DAY_MICROS).day()
}

fn detected(number: usize, day: u8, waits: bool) -> EventDetected {
    let after = i64::from(day) * DAY_MICROS + number as i64 * 1_000_000;
    EventDetected {
        event_id: format!("evt_{number}"),
        timestamp: START.plus_micros(after),
        camera_id: "camera_1".to_owned(),
        camera_name: Some("front\ndoor".to_owned()),
        motion_confidence: Some(0.5),
        detected_objects: vec![DetectedObject {
            label: "person".to_owned(),
            confidence: 0.92,
            bbox: BoundingBox::default(),
        }],
        image_path: None,
        // Long enough for entries to lie in several sectors.
        llm_description: (!waits).then(|| "grey ".repeat(number % 120)),
        description_expected: waits,
        metadata: Metadata::new(),
    }
}

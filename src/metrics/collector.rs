//! [`MetricsCollector`]: counters and timings of every part; [`MetricsCollector::collect`] takes a snapshot.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use lenslog_events::EventDetected;
use lenslog_journal::{Clock, Seq};
use parking_lot::Mutex;

use super::camera::{CameraCounts, CameraMetrics, CameraSnapshot};
use super::counter_vec::{CounterVec, LabelCount};
use super::process::Process;
use super::snapshot::{Counted, MetricsSnapshot, ProjectionFigures, StorageMetrics, TimingBuckets};
use super::timing::Timing;

/// Name of the projection that is the database.
const DATABASE: &str = "sqlite";

/// Label of an event in which nothing was recognised.
const NO_LABEL: &str = "none";

/// Most steps in which the database's progress is followed. Beyond that, the newest events count as one step: they
/// count as persisted when the last of them is.
const STEPS_MAX: usize = 1024;

/// Gauges that are read at each snapshot.
pub trait GaugeSource: Send + Sync {
    /// How the projections fare.
    fn projections(&self) -> Vec<ProjectionFigures>;

    /// Events that wait in memory for the journal.
    fn events_waiting(&self) -> u64;
}

/// What the recorder did since it started, and how long that took.
///
/// Every thread reports its own work: a short lock, no I/O, bounded memory.
#[derive(Debug)]
pub struct MetricsCollector {
    clock: Arc<dyn Clock>,
    /// Time since boot.
    started: Duration,
    observed: OnceLock<Weak<dyn GaugeSource>>,
    cameras: Mutex<Cameras>,
    events: Mutex<Events>,
    process: Mutex<Process>,
    storage: Mutex<StorageMetrics>,
    inference: Timing,
    description: Timing,
    frame_latency: Timing,
    journal_sync: Timing,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    events_lost: AtomicU64,
    events_duplicate: AtomicU64,
    journal_errors: AtomicU64,
    image_errors: AtomicU64,
    metrics_file_errors: AtomicU64,
}

#[derive(Debug, Default)]
struct Cameras {
    running: BTreeMap<String, Arc<CameraMetrics>>,
    /// Sums of those that are configured no more.
    gone: CameraCounts,
}

#[derive(Debug, Default)]
struct Events {
    /// By cameras of this recorder, and by others.
    made: u64,
    ingested: u64,
    by_label: CounterVec,
    /// Events that the database may not have yet: the seq of the last, and how many.
    unseen: VecDeque<(Seq, u64)>,
    persisted: u64,
    last: Option<(Seq, EventDetected)>,
}

impl Events {
    fn note(&mut self, camera: &str, label: &str, seq: Seq) {
        self.by_label.add(camera, label);
        let full = self.unseen.len() >= STEPS_MAX;
        match self.unseen.back_mut() {
            Some((last, count)) if full => {
                *last = seq.max(*last);
                *count += 1;
            }
            _ => self.unseen.push_back((seq, 1)),
        }
    }

    /// The database has applied everything before `next`.
    fn persisted_before(&mut self, next: Seq) {
        while let Some((_, count)) = self.unseen.pop_front_if(|(seq, _)| *seq < next) {
            self.persisted += count;
        }
    }
}

impl MetricsCollector {
    /// A collector without values.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let started = clock.read().boot;
        Self {
            clock,
            started,
            observed: OnceLock::new(),
            cameras: Mutex::default(),
            events: Mutex::default(),
            process: Mutex::new(Process::new(started)),
            storage: Mutex::default(),
            inference: Timing::default(),
            description: Timing::default(),
            frame_latency: Timing::default(),
            journal_sync: Timing::default(),
            counters: Counters::default(),
        }
    }

    /// Sets the gauges that are read at each snapshot. Only the first call counts. Weak, so that a reader of
    /// metrics keeps no recorder alive.
    pub fn observe(&self, observed: Weak<dyn GaugeSource>) {
        // A second one would be a recorder within a recorder.
        let _ = self.observed.set(observed);
    }

    /// The metrics of a camera. The same id gets the same ones, until [`Self::keep_cameras`] drops them.
    pub fn camera(&self, id: &str) -> Arc<CameraMetrics> {
        let mut cameras = self.cameras.lock();
        if let Some(camera) = cameras.running.get(id) {
            return Arc::clone(camera);
        }
        let camera = Arc::new(CameraMetrics::new(self.clock.read()));
        cameras.running.insert(id.to_owned(), Arc::clone(&camera));
        camera
    }

    /// Forgets every camera but those; what they did stays in the sums.
    pub fn keep_cameras(&self, is_kept: impl Fn(&str) -> bool) {
        let mut cameras = self.cameras.lock();
        let Cameras { running, gone } = &mut *cameras;
        running.retain(|id, camera| {
            let kept = is_kept(id);
            if !kept {
                gone.add(&camera.counted());
            }
            kept
        });
    }

    /// An event of a camera of this recorder was journaled; `seq` is no less than its own.
    pub fn event(&self, event: &EventDetected, seq: Seq) {
        let mut events = self.events.lock();
        events.made += 1;
        events.note(&event.camera_id, label_of(event), seq);
        events.last = Some((seq, event.clone()));
    }

    /// Counts an ingested event.
    pub fn event_ingested(&self, camera_id: &str, label: &str, seq: Seq) {
        let mut events = self.events.lock();
        events.ingested += 1;
        events.note(camera_id, label, seq);
    }

    /// An event was refused because its id is known.
    pub fn event_duplicate(&self) {
        count(&self.counters.events_duplicate);
    }

    /// An event was given up: the journal could not be written for too long.
    pub fn event_lost(&self) {
        count(&self.counters.events_lost);
    }

    /// An event could not be journaled at once.
    pub fn journal_error(&self) {
        count(&self.counters.journal_errors);
    }

    /// A picture could not be written.
    pub fn image_error(&self) {
        count(&self.counters.image_errors);
    }

    /// The metrics themselves could not be written.
    pub fn metrics_file_error(&self) {
        count(&self.counters.metrics_file_errors);
    }

    /// What is stored, as counted just now.
    pub fn set_storage(&self, figures: StorageMetrics) {
        *self.storage.lock() = figures;
    }

    /// Recognising the objects of a frame took that long.
    pub fn inference(&self, length: Duration) {
        self.inference.record(length);
    }

    /// A sentence about an event took that long.
    pub fn description(&self, length: Duration) {
        self.description.record(length);
    }

    /// From a frame to its event in the journal it took that long.
    pub fn frame_latency(&self, length: Duration) {
        self.frame_latency.record(length);
    }

    /// A sync of the journal took that long.
    pub fn journal_sync(&self, length: Duration) {
        self.journal_sync.record(length);
    }

    /// The newest event of a camera of this recorder.
    #[must_use]
    pub fn last_event(&self) -> Option<(Seq, EventDetected)> {
        self.events.lock().last.clone()
    }

    /// The sums.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let counts = {
            let cameras = self.cameras.lock();
            let mut counts = cameras.gone.clone();
            cameras.running.values().for_each(|camera| counts.add(&camera.counted()));
            counts
        };
        Counted {
            frames: counts.frames,
            frames_dropped: counts.frames_dropped,
            pictures_lost: counts.pictures_lost,
            suppressed: counts.suppressed,
            events: self.events.lock().made,
            journal_errors: get(&self.counters.journal_errors),
            image_errors: get(&self.counters.image_errors),
        }
    }

    /// Every figure, now.
    #[must_use]
    pub fn collect(&self) -> MetricsSnapshot {
        let now = self.clock.read();
        let observed = self.observed.get().and_then(Weak::upgrade);
        // Read before this lock is taken: the recorder's threads report while they hold locks of their own.
        let projections = observed.as_ref().map_or_else(Vec::new, |all| all.projections());
        let events_waiting = observed.map_or(0, |observed| observed.events_waiting());
        let (mut counts, cameras) = self.cameras();
        let cameras: Vec<CameraSnapshot> = cameras
            .into_iter()
            .map(|(id, camera)| {
                let (snapshot, counted) = camera.snapshot(&id, now);
                counts.add(&counted);
                snapshot
            })
            .collect();
        let (events_made, events_ingested, events_persisted, events_by_label) =
            self.events(&projections);
        let errors = |is_database: bool| -> u64 {
            let of = |figures: &&ProjectionFigures| (figures.name == DATABASE) == is_database;
            projections.iter().filter(of).map(|figures| figures.errors).sum()
        };
        let counters = &self.counters;
        let image_errors = get(&counters.image_errors);
        let own_errors = image_errors + get(&counters.metrics_file_errors);
        let suppressed = counts.suppressed.iter();
        // One lock at a time: a guard within the expression below would live as long as that does.
        let process = self.process.lock().sample(now.boot);
        let storage = *self.storage.lock();
        MetricsSnapshot {
            time: now.wall.to_string(),
            uptime_s: now.boot.saturating_sub(self.started).as_secs(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            frames_processed: counts.frames,
            frames_dropped: counts.frames_dropped,
            pictures_lost: counts.pictures_lost,
            motion_detected: counts.motion,
            motion_hit_rate: share(counts.motion, counts.looked_at),
            events_created: events_made + events_ingested,
            events_ingested,
            events_persisted,
            events_waiting,
            events_lost: get(&counters.events_lost),
            events_duplicate: get(&counters.events_duplicate),
            events_suppressed: counts.suppressed.values().sum(),
            events_suppressed_by_reason: suppressed
                .map(|(reason, count)| ((*reason).to_owned(), *count))
                .collect(),
            events_by_label,
            inference_ms: self.inference.summary(),
            description_ms: self.description.summary(),
            frame_processing_latency_ms: self.frame_latency.summary(),
            journal_sync_ms: self.journal_sync.summary(),
            cpu_percent: process.map(|process| process.cpu_percent),
            cpu_percent_average: process.map(|process| process.cpu_percent_average),
            cpu_seconds: process.map(|process| process.cpu_seconds),
            memory_bytes: process.map(|process| process.memory_bytes),
            availability: average(cameras.iter().filter_map(|camera| camera.availability)),
            cameras,
            db_write_errors: errors(true),
            file_write_errors: errors(false) + own_errors,
            journal_write_errors: get(&counters.journal_errors),
            storage_warnings: storage.warnings,
            storage,
            projections,
            image_errors,
            buckets: TimingBuckets {
                inference: self.inference.buckets(),
                description: self.description.buckets(),
                frame_latency: self.frame_latency.buckets(),
                journal_sync: self.journal_sync.buckets(),
            },
        }
    }

    fn cameras(&self) -> (CameraCounts, Vec<(String, Arc<CameraMetrics>)>) {
        let cameras = self.cameras.lock();
        let running = cameras.running.iter();
        let running = running.map(|(id, camera)| (id.clone(), Arc::clone(camera))).collect();
        (cameras.gone.clone(), running)
    }

    /// Events made, events ingested, how many of both the database has, and what was seen in them.
    fn events(&self, projections: &[ProjectionFigures]) -> (u64, u64, u64, Vec<LabelCount>) {
        let mut events = self.events.lock();
        // What a rebuild has read is not in its place yet.
        if let Some(database) =
            projections.iter().find(|figures| figures.name == DATABASE && figures.following)
        {
            events.persisted_before(Seq(database.next));
        }
        (events.made, events.ingested, events.persisted, events.by_label.list())
    }
}

/// What was seen best in an event: the label under which it is counted.
pub(crate) fn label_of(event: &EventDetected) -> &str {
    let objects = event.detected_objects.iter();
    let best =
        objects.reduce(|best, next| if next.confidence > best.confidence { next } else { best });
    best.map_or(NO_LABEL, |object| &object.label)
}

/// Four digits are enough for a share.
pub(super) fn rounded(share: f64) -> f64 {
    (share * 10_000.0).round() / 10_000.0
}

fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| rounded(part as f64 / all as f64))
}

fn average(shares: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut number) = (0.0, 0_u32);
    for share in shares {
        sum += share;
        number += 1;
    }
    (number > 0).then(|| rounded(sum / f64::from(number)))
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

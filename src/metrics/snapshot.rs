//! [`MetricsSnapshot`]: every figure at one moment, as a line of `metrics.json` has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::camera::CameraSnapshot;
use super::counter_vec::LabelCount;
use super::timing::{Buckets, Summary};

/// Every figure at one moment. What is not known, or was never measured, is `null` in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricsSnapshot {
    /// When it was taken, RFC 3339 with the local offset.
    pub time: String,
    /// Seconds since the recorder started, suspend included.
    pub uptime_s: u64,
    /// The recorder's version.
    pub version: String,

    /// Frames looked at.
    pub frames_processed: u64,
    /// Frames dropped because the pipeline was slower than a camera.
    pub frames_dropped: u64,
    /// Pictures that could not be decoded.
    pub pictures_lost: u64,
    /// Frames in which something moved.
    pub motion_detected: u64,
    /// Share of the frames in which motion was looked for that had some, 0 to 1.
    pub motion_hit_rate: Option<f64>,

    /// Events journaled, those ingested through this recorder included.
    pub events_created: u64,
    /// Of those, the ones that others made.
    pub events_ingested: u64,
    /// Of those created, the ones that the database has.
    pub events_persisted: u64,
    /// Events that wait in memory for a journal that cannot be written.
    pub events_waiting: u64,
    /// Events given up because too many waited.
    pub events_lost: u64,
    /// Events that were known already, refused at the door.
    pub events_duplicate: u64,
    /// Sightings that made no event.
    pub events_suppressed: u64,
    /// The same by reason.
    pub events_suppressed_by_reason: BTreeMap<String, u64>,
    /// Events journaled, by camera and by what was seen best.
    pub events_by_label: Vec<LabelCount>,

    /// How long recognising objects takes, in milliseconds.
    pub inference_ms: Option<Summary>,
    /// How long a sentence about an event takes.
    pub description_ms: Option<Summary>,
    /// From a frame to its event in the journal.
    pub frame_processing_latency_ms: Option<Summary>,
    /// How long the journal's syncs take.
    pub journal_sync_ms: Option<Summary>,

    /// Processor time since the figures before, in per cent of one core.
    pub cpu_percent: Option<f64>,
    /// Processor time since the start, in per cent of one core.
    pub cpu_percent_average: Option<f64>,
    /// Processor time since the process began, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory that is resident.
    pub memory_bytes: Option<u64>,
    /// Share of the time in which cameras delivered, on average over all of them, 0 to 1.
    pub availability: Option<f64>,
    /// The cameras.
    pub cameras: Vec<CameraSnapshot>,

    /// Errors of the database's follower; what it missed it catches up with.
    pub db_write_errors: u64,
    /// Errors of writing text files, pictures and this file.
    pub file_write_errors: u64,
    /// Events that the journal could not take at once.
    pub journal_write_errors: u64,
    /// Warnings about storage.
    pub storage_warnings: u64,
    /// The projections.
    pub projections: Vec<ProjectionFigures>,
    /// What is stored.
    pub storage: StorageMetrics,

    /// Pictures that could not be written; a part of `file_write_errors`.
    #[serde(skip)]
    pub image_errors: u64,
    /// All measurements, for those who collect histograms.
    #[serde(skip)]
    pub buckets: TimingBuckets,
}

/// All measurements of each kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimingBuckets {
    /// Recognising objects.
    pub inference: Buckets,
    /// Sentences about events.
    pub description: Buckets,
    /// From a frame to its event in the journal.
    pub frame_latency: Buckets,
    /// Syncs of the journal.
    pub journal_sync: Buckets,
}

/// State of a projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectionFigures {
    /// Its name.
    pub name: String,
    /// Whether it follows the journal, and so shows what it has applied.
    pub following: bool,
    /// Records it has not applied yet.
    pub lag_records: u64,
    /// Events it set aside.
    pub parked: u64,
    /// Errors since the start.
    pub errors: u64,
    /// Seq of the record it applies next.
    #[serde(skip)]
    pub next: u64,
}

/// Used storage, as set by [`MetricsCollector::set_storage`](super::MetricsCollector::set_storage).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StorageMetrics {
    /// Bytes that everything takes; `None` until the first check.
    pub total_bytes: Option<u64>,
    /// Bytes that it may take.
    pub limit_bytes: Option<u64>,
    /// Warnings and errors since the start: thresholds crossed and days deleted.
    #[serde(skip)]
    pub warnings: u64,
}

/// What the recorder did since it started, in sums.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counted {
    /// Frames looked at.
    pub frames: u64,
    /// Frames dropped because the pipeline was slower than the camera.
    pub frames_dropped: u64,
    /// Pictures that could not be decoded.
    pub pictures_lost: u64,
    /// Events of its cameras that were journaled.
    pub events: u64,
    /// Events that could not be journaled at once.
    pub journal_errors: u64,
    /// Pictures that could not be written.
    pub image_errors: u64,
    /// Sightings that made no event, by reason.
    pub suppressed: BTreeMap<&'static str, u64>,
}

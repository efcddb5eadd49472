//! The facts a recorder journals: one struct each, and [`Event`], which is any of them.

use lenslog_journal::{Day, Seq, Timestamp};

use crate::kind::{self, KindInfo};

/// What is known of an event beyond its fixed fields: names and JSON values, in the order of the names.
pub type Metadata = serde_json::Map<String, serde_json::Value>;

/// Any fact that the recorder journals.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Something was seen.
    Detected(EventDetected),
    /// What was seen is gone.
    Ended(EventEnded),
    /// What one camera did in one minute.
    CameraMinute(CameraMinute),
    /// A camera stopped delivering pictures.
    CameraLost(CameraLost),
    /// A camera delivers pictures again.
    CameraFound(CameraFound),
    /// The object detector failed.
    DetectorFailed(DetectorFailed),
    /// A sentence about an earlier event.
    DescriptionAdded(DescriptionAdded),
    /// The sentence about an event is late; file projections stop waiting for it.
    DescriptionDeferred(DescriptionDeferred),
    /// There will be no sentence about an event.
    DescriptionFailed(DescriptionFailed),
    /// The picture of an event was deleted, its record stays.
    ImagePurged(ImagePurged),
    /// The recorder began to run.
    RecorderStarted(RecorderStarted),
    /// The recorder ended in an orderly way.
    RecorderStopped(RecorderStopped),
    /// Storage crossed a threshold.
    StorageWarning(StorageWarning),
    /// A receiver of notifications is down, or takes messages again.
    DeliveryFailed(DeliveryFailed),
}

impl Event {
    /// The row of this event's kind in the [table](kind::TABLE): number, current version, name.
    #[must_use]
    pub fn kind(&self) -> &'static KindInfo {
        let number = match self {
            Self::Detected(_) => kind::EVENT_DETECTED,
            Self::Ended(_) => kind::EVENT_ENDED,
            Self::CameraMinute(_) => kind::CAMERA_MINUTE,
            Self::CameraLost(_) => kind::CAMERA_LOST,
            Self::CameraFound(_) => kind::CAMERA_FOUND,
            Self::DetectorFailed(_) => kind::DETECTOR_FAILED,
            Self::DescriptionAdded(_) => kind::DESCRIPTION_ADDED,
            Self::DescriptionDeferred(_) => kind::DESCRIPTION_DEFERRED,
            Self::DescriptionFailed(_) => kind::DESCRIPTION_FAILED,
            Self::ImagePurged(_) => kind::IMAGE_PURGED,
            Self::RecorderStarted(_) => kind::RECORDER_STARTED,
            Self::RecorderStopped(_) => kind::RECORDER_STOPPED,
            Self::StorageWarning(_) => kind::STORAGE_WARNING,
            Self::DeliveryFailed(_) => kind::DELIVERY_FAILED,
        };
        &kind::TABLE[usize::from(number) - 1]
    }

    /// The local day of the fact: the `day` of its record.
    ///
    /// For what refers to an earlier event it is the day of that one, so that both are pruned together.
    #[must_use]
    pub fn day(&self) -> Day {
        match self {
            Self::Detected(event) => event.timestamp.day(),
            Self::CameraMinute(event) => event.minute.day(),
            Self::CameraLost(event) => event.at.day(),
            Self::CameraFound(event) => event.at.day(),
            Self::DetectorFailed(event) => event.at.day(),
            Self::RecorderStarted(event) => event.at.day(),
            Self::RecorderStopped(event) => event.at.day(),
            Self::StorageWarning(event) => event.at.day(),
            Self::DeliveryFailed(event) => event.at.day(),
            Self::Ended(EventEnded { event, .. })
            | Self::DescriptionAdded(DescriptionAdded { event, .. })
            | Self::DescriptionDeferred(DescriptionDeferred { event })
            | Self::DescriptionFailed(DescriptionFailed { event, .. })
            | Self::ImagePurged(ImagePurged { event, .. }) => event.event_day,
        }
    }

    /// The earlier event that it refers to.
    #[must_use]
    pub const fn event_ref(&self) -> Option<&EventRef> {
        match self {
            Self::Ended(EventEnded { event, .. })
            | Self::DescriptionAdded(DescriptionAdded { event, .. })
            | Self::DescriptionDeferred(DescriptionDeferred { event })
            | Self::DescriptionFailed(DescriptionFailed { event, .. })
            | Self::ImagePurged(ImagePurged { event, .. }) => Some(event),
            _ => None,
        }
    }
}

/// The idempotency key of an event: the first 128 bits of the BLAKE3 of its event_id.
///
/// ```
/// let key = lenslog_events::event_key("evt_1");
/// assert_eq!(key, lenslog_events::event_key("evt_1"));
/// assert_ne!(key, lenslog_events::event_key("evt_2"));
/// ```
#[must_use]
pub fn event_key(event_id: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&blake3::hash(event_id.as_bytes()).as_bytes()[..16]);
    key
}

/// Something was seen. Holds everything that a projection prints.
#[derive(Debug, Clone, PartialEq)]
pub struct EventDetected {
    /// Unique name, `evt_` and a UUIDv7 where the recorder made it.
    pub event_id: String,
    /// When it was seen, with the local offset of that place and time.
    pub timestamp: Timestamp,
    /// Which camera saw it, by its key in the configuration.
    pub camera_id: String,
    /// What people call that camera.
    pub camera_name: Option<String>,
    /// 0 to 1: 0.5 at the motion threshold, 1 at four times it.
    pub motion_confidence: Option<f64>,
    /// What was recognised, in the detector's order.
    pub detected_objects: Vec<DetectedObject>,
    /// `data/events/DAY/FILE`, whatever the data directory is called; see
    /// [`parse_image_path`](crate::parse_image_path).
    pub image_path: Option<String>,
    /// A sentence that was known from the start, as ingested events have.
    pub llm_description: Option<String>,
    /// Whether a `DescriptionAdded`, `DescriptionFailed` or `DescriptionDeferred` will follow.
    pub description_expected: bool,
    /// Frame number, inference time, model, threshold, and what ingest did not know.
    pub metadata: Metadata,
}

/// Names an earlier event from within a later record.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRef {
    /// Seq of its `EventDetected`.
    pub event_seq: Seq,
    /// Its own local day.
    pub event_day: Day,
    /// Its name.
    pub event_id: String,
}

/// What was seen is gone: no sighting for a whole deduplication window, or the maximum length was reached.
#[derive(Debug, Clone, PartialEq)]
pub struct EventEnded {
    /// The event that ended.
    pub event: EventRef,
    /// When it was seen last.
    pub last_seen: Timestamp,
    /// How many frames showed it.
    pub sightings: u64,
}

/// One minute of one camera: why there was no event, and when the camera was blind.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraMinute {
    /// The camera, by its key in the configuration.
    pub camera_id: String,
    /// Where the minute begins.
    pub minute: Timestamp,
    /// Frames looked at.
    pub frames: u64,
    /// Frames dropped because the pipeline was slower than the camera.
    pub dropped: u64,
    /// Largest changed area of a frame, in per cent of the picture.
    pub max_motion: f64,
    /// Label of the best object, counted or not.
    pub best_label: Option<String>,
    /// Its confidence, 0 to 1.
    pub best_confidence: Option<f64>,
    /// What became of frames with motion that made no event, by reason, in the order of the reasons.
    pub suppressed: Vec<Suppressed>,
}

/// How often one reason suppressed a sighting within a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// A stable name, such as `deduplicated` or `learning`.
    pub reason: String,
    /// Number of frames.
    pub count: u64,
}

/// A camera stopped delivering pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraLost {
    /// The camera, by its key in the configuration.
    pub camera_id: String,
    /// When the last picture came, or when the camera was first missed.
    pub at: Timestamp,
    /// What the source said.
    pub reason: String,
}

/// A camera delivers pictures again.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraFound {
    /// The camera, by its key in the configuration.
    pub camera_id: String,
    /// When the first picture came.
    pub at: Timestamp,
}

/// The object detector failed; motion events go on without it.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorFailed {
    /// The camera whose frame it failed on, where it was one.
    pub camera_id: Option<String>,
    /// When.
    pub at: Timestamp,
    /// What the detector said.
    pub reason: String,
}

/// A sentence about an earlier event.
#[derive(Debug, Clone, PartialEq)]
pub struct DescriptionAdded {
    /// The event that it refers to.
    pub event: EventRef,
    /// The sentence.
    pub llm_description: String,
    /// The model that wrote it.
    pub model: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// The sentence about an event is late; file projections write the event without it.
#[derive(Debug, Clone, PartialEq)]
pub struct DescriptionDeferred {
    /// The event that waits.
    pub event: EventRef,
}

/// There will be no sentence about an event.
#[derive(Debug, Clone, PartialEq)]
pub struct DescriptionFailed {
    /// The event that stays without one.
    pub event: EventRef,
    /// Why.
    pub reason: String,
}

/// The picture of an event was deleted, its record stays.
#[derive(Debug, Clone, PartialEq)]
pub struct ImagePurged {
    /// The event whose picture it was.
    pub event: EventRef,
    /// The picture, in the form of [`EventDetected::image_path`].
    pub image_path: String,
}

/// The recorder began to run.
#[derive(Debug, Clone, PartialEq)]
pub struct RecorderStarted {
    /// When.
    pub at: Timestamp,
    /// The program's version.
    pub version: String,
    /// The time zone it runs in, as far as its name is known.
    pub time_zone: String,
    /// The configured cameras, by their keys.
    pub cameras: Vec<String>,
}

/// The recorder ended in an orderly way.
#[derive(Debug, Clone, PartialEq)]
pub struct RecorderStopped {
    /// When.
    pub at: Timestamp,
    /// Why: `signal`, `duration`, `end of sources`, `storage full`.
    pub reason: String,
    /// How long it ran, in seconds.
    pub uptime_s: u64,
    /// How many events it made.
    pub events: u64,
}

/// Which threshold storage crossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageLevel {
    /// It was crossed downwards: all is well again.
    Normal,
    /// Approaching the limit.
    Approaching,
    /// Rotation begins.
    Rotating,
    /// Over the limit.
    Exceeded,
}

/// Storage crossed a threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct StorageWarning {
    /// When.
    pub at: Timestamp,
    /// The threshold.
    pub level: StorageLevel,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes allowed.
    pub limit_bytes: u64,
}

/// A receiver of notifications went down, or takes messages again. One record each, whatever waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFailed {
    /// Its name.
    pub delivery: String,
    /// When.
    pub at: Timestamp,
    /// The receiver's answer; `None`: it works again.
    pub reason: Option<String>,
}

/// A rectangle in the picture, in pixels from the upper left corner unless its producer says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BoundingBox {
    /// Distance of the left edge from the left of the picture.
    pub x: f64,
    /// Distance of the upper edge from the top of the picture.
    pub y: f64,
    /// Horizontal extent.
    pub width: f64,
    /// Vertical extent.
    pub height: f64,
}

/// One object a detector recognised.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectedObject {
    /// What it is, such as `person`; `motion` where no detector ran.
    pub label: String,
    /// How sure the detector is, 0 to 1.
    pub confidence: f64,
    /// Where it is.
    pub bbox: BoundingBox,
}

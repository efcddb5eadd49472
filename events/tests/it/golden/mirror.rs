//! The wire format a second time, for bincode 1 through serde, written from the description and not from the
//! wire structs: owned where they borrow, and vectors where they have sequences.

use lenslog_events::{
    BoundingBox, CameraFound, CameraLost, CameraMinute, DeliveryFailed, DescriptionAdded,
    DescriptionDeferred, DescriptionFailed, DetectedObject, DetectorFailed, Event, EventDetected,
    EventEnded, EventRef, ImagePurged, RecorderStarted, RecorderStopped, StorageLevel,
    StorageWarning, Suppressed, kind,
};
use lenslog_journal::{Day, Seq, Timestamp};
use serde::{Deserialize, Serialize};

/// Any payload, by kind and version. Serialises as its fields alone.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Mirror {
    DetectedV1(DetectedV1),
    DetectedV2(DetectedV2),
    Ended(Ended),
    CameraMinute(Minute),
    CameraLost(Lost),
    CameraFound(Found),
    DetectorFailed(Failed),
    DescriptionAdded(Added),
    DescriptionDeferred(Deferred),
    DescriptionFailed(NotDescribed),
    ImagePurged(Purged),
    RecorderStarted(Started),
    RecorderStopped(Stopped),
    StorageWarning(Warning),
    DeliveryFailed(NotDelivered),
}

impl Mirror {
    /// Reads a payload with bincode, which refuses trailing bytes here as our reader does.
    pub fn read(kind: u16, version: u16, payload: &[u8]) -> bincode::Result<Self> {
        Ok(match (kind, version) {
            (kind::EVENT_DETECTED, 1) => Self::DetectedV1(bincode_read(payload)?),
            (kind::EVENT_DETECTED, 2) => Self::DetectedV2(bincode_read(payload)?),
            (kind::EVENT_ENDED, 1) => Self::Ended(bincode_read(payload)?),
            (kind::CAMERA_MINUTE, 1) => Self::CameraMinute(bincode_read(payload)?),
            (kind::CAMERA_LOST, 1) => Self::CameraLost(bincode_read(payload)?),
            (kind::CAMERA_FOUND, 1) => Self::CameraFound(bincode_read(payload)?),
            (kind::DETECTOR_FAILED, 1) => Self::DetectorFailed(bincode_read(payload)?),
            (kind::DESCRIPTION_ADDED, 1) => Self::DescriptionAdded(bincode_read(payload)?),
            (kind::DESCRIPTION_DEFERRED, 1) => Self::DescriptionDeferred(bincode_read(payload)?),
            (kind::DESCRIPTION_FAILED, 1) => Self::DescriptionFailed(bincode_read(payload)?),
            (kind::IMAGE_PURGED, 1) => Self::ImagePurged(bincode_read(payload)?),
            (kind::RECORDER_STARTED, 1) => Self::RecorderStarted(bincode_read(payload)?),
            (kind::RECORDER_STOPPED, 1) => Self::RecorderStopped(bincode_read(payload)?),
            (kind::STORAGE_WARNING, 1) => Self::StorageWarning(bincode_read(payload)?),
            (kind::DELIVERY_FAILED, 1) => Self::DeliveryFailed(bincode_read(payload)?),
            other => panic!("no mirror of kind and version {other:?}: add one here"),
        })
    }

    /// The bytes that bincode writes for this payload.
    pub fn write(&self) -> Vec<u8> {
        let written = match self {
            Self::DetectedV1(mirror) => bincode::serialize(mirror),
            Self::DetectedV2(mirror) => bincode::serialize(mirror),
            Self::Ended(mirror) => bincode::serialize(mirror),
            Self::CameraMinute(mirror) => bincode::serialize(mirror),
            Self::CameraLost(mirror) => bincode::serialize(mirror),
            Self::CameraFound(mirror) => bincode::serialize(mirror),
            Self::DetectorFailed(mirror) => bincode::serialize(mirror),
            Self::DescriptionAdded(mirror) => bincode::serialize(mirror),
            Self::DescriptionDeferred(mirror) => bincode::serialize(mirror),
            Self::DescriptionFailed(mirror) => bincode::serialize(mirror),
            Self::ImagePurged(mirror) => bincode::serialize(mirror),
            Self::RecorderStarted(mirror) => bincode::serialize(mirror),
            Self::RecorderStopped(mirror) => bincode::serialize(mirror),
            Self::StorageWarning(mirror) => bincode::serialize(mirror),
            Self::DeliveryFailed(mirror) => bincode::serialize(mirror),
        };
        written.unwrap()
    }

    /// The event that a reader of today makes of this payload.
    pub fn into_event(self) -> Event {
        match self {
            Self::DetectedV1(mirror) => Event::Detected(mirror.upcast().into_event()),
            Self::DetectedV2(mirror) => Event::Detected(mirror.into_event()),
            Self::Ended(mirror) => Event::Ended(EventEnded {
                event: mirror.event.into_ref(),
                last_seen: mirror.last_seen.into_timestamp(),
                sightings: mirror.sightings,
            }),
            Self::CameraMinute(mirror) => Event::CameraMinute(mirror.into_event()),
            Self::CameraLost(mirror) => Event::CameraLost(CameraLost {
                camera_id: mirror.camera_id,
                at: mirror.at.into_timestamp(),
                reason: mirror.reason,
            }),
            Self::CameraFound(mirror) => Event::CameraFound(CameraFound {
                camera_id: mirror.camera_id,
                at: mirror.at.into_timestamp(),
            }),
            Self::DeliveryFailed(mirror) => Event::DeliveryFailed(DeliveryFailed {
                delivery: mirror.delivery,
                at: mirror.at.into_timestamp(),
                reason: mirror.reason,
            }),
            Self::DetectorFailed(mirror) => Event::DetectorFailed(DetectorFailed {
                camera_id: mirror.camera_id,
                at: mirror.at.into_timestamp(),
                reason: mirror.reason,
            }),
            Self::DescriptionAdded(mirror) => Event::DescriptionAdded(DescriptionAdded {
                event: mirror.event.into_ref(),
                llm_description: mirror.llm_description,
                model: mirror.model,
                duration_ms: mirror.duration_ms,
            }),
            Self::DescriptionDeferred(mirror) => {
                Event::DescriptionDeferred(DescriptionDeferred { event: mirror.event.into_ref() })
            }
            Self::DescriptionFailed(mirror) => Event::DescriptionFailed(DescriptionFailed {
                event: mirror.event.into_ref(),
                reason: mirror.reason,
            }),
            Self::ImagePurged(mirror) => Event::ImagePurged(ImagePurged {
                event: mirror.event.into_ref(),
                image_path: mirror.image_path,
            }),
            Self::RecorderStarted(mirror) => Event::RecorderStarted(RecorderStarted {
                at: mirror.at.into_timestamp(),
                version: mirror.version,
                time_zone: mirror.time_zone,
                cameras: mirror.cameras,
            }),
            Self::RecorderStopped(mirror) => Event::RecorderStopped(RecorderStopped {
                at: mirror.at.into_timestamp(),
                reason: mirror.reason,
                uptime_s: mirror.uptime_s,
                events: mirror.events,
            }),
            Self::StorageWarning(mirror) => Event::StorageWarning(StorageWarning {
                at: mirror.at.into_timestamp(),
                level: mirror.level.into_level(),
                used_bytes: mirror.used_bytes,
                limit_bytes: mirror.limit_bytes,
            }),
        }
    }
}

/// bincode's own format of version 1: fixed-width integers, little-endian, no trailing bytes.
fn bincode_read<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> bincode::Result<T> {
    use bincode::Options;
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .reject_trailing_bytes()
        .deserialize(payload)
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectedV1 {
    pub event_id: String,
    pub timestamp: Time,
    pub camera_id: String,
    pub motion_confidence: Option<f64>,
    pub detected_objects: Vec<Object>,
    pub image_path: Option<String>,
    pub llm_description: Option<String>,
    pub metadata: Vec<(String, String)>,
}

impl DetectedV1 {
    fn upcast(self) -> DetectedV2 {
        DetectedV2 {
            event_id: self.event_id,
            timestamp: self.timestamp,
            camera_id: self.camera_id,
            camera_name: None,
            motion_confidence: self.motion_confidence,
            detected_objects: self.detected_objects,
            image_path: self.image_path,
            llm_description: self.llm_description,
            description_expected: false,
            metadata: self.metadata,
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectedV2 {
    event_id: String,
    timestamp: Time,
    camera_id: String,
    camera_name: Option<String>,
    motion_confidence: Option<f64>,
    detected_objects: Vec<Object>,
    image_path: Option<String>,
    llm_description: Option<String>,
    description_expected: bool,
    metadata: Vec<(String, String)>,
}

impl DetectedV2 {
    fn into_event(self) -> EventDetected {
        let value = |(name, text): (String, String)| (name, serde_json::from_str(&text).unwrap());
        EventDetected {
            event_id: self.event_id,
            timestamp: self.timestamp.into_timestamp(),
            camera_id: self.camera_id,
            camera_name: self.camera_name,
            motion_confidence: self.motion_confidence,
            detected_objects: self.detected_objects.into_iter().map(Object::into_object).collect(),
            image_path: self.image_path,
            llm_description: self.llm_description,
            description_expected: self.description_expected,
            metadata: self.metadata.into_iter().map(value).collect(),
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    pub label: String,
    pub confidence: f64,
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Object {
    fn into_object(self) -> DetectedObject {
        let bbox = BoundingBox { x: self.x, y: self.y, width: self.width, height: self.height };
        DetectedObject { label: self.label, confidence: self.confidence, bbox }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Time {
    pub utc_micros: i64,
    pub offset_minutes: i16,
}

impl Time {
    fn into_timestamp(self) -> Timestamp {
        Timestamp { utc_micros: self.utc_micros, offset_minutes: self.offset_minutes }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Reference {
    event_seq: u64,
    event_day: i32,
    event_id: String,
}

impl Reference {
    fn into_ref(self) -> EventRef {
        EventRef {
            event_seq: Seq(self.event_seq),
            event_day: Day(self.event_day),
            event_id: self.event_id,
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    event: Reference,
    last_seen: Time,
    sightings: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Minute {
    camera_id: String,
    minute: Time,
    frames: u64,
    dropped: u64,
    max_motion: f64,
    best_label: Option<String>,
    best_confidence: Option<f64>,
    suppressed: Vec<Reason>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Reason {
    reason: String,
    count: u64,
}

impl Minute {
    fn into_event(self) -> CameraMinute {
        let suppressed = |each: Reason| Suppressed { reason: each.reason, count: each.count };
        CameraMinute {
            camera_id: self.camera_id,
            minute: self.minute.into_timestamp(),
            frames: self.frames,
            dropped: self.dropped,
            max_motion: self.max_motion,
            best_label: self.best_label,
            best_confidence: self.best_confidence,
            suppressed: self.suppressed.into_iter().map(suppressed).collect(),
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    camera_id: String,
    at: Time,
    reason: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    camera_id: String,
    at: Time,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    camera_id: Option<String>,
    at: Time,
    reason: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct NotDelivered {
    delivery: String,
    at: Time,
    reason: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Added {
    event: Reference,
    llm_description: String,
    model: String,
    duration_ms: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Deferred {
    event: Reference,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct NotDescribed {
    event: Reference,
    reason: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Purged {
    event: Reference,
    image_path: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    at: Time,
    version: String,
    time_zone: String,
    cameras: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    at: Time,
    reason: String,
    uptime_s: u64,
    events: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    at: Time,
    level: Level,
    used_bytes: u64,
    limit_bytes: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Level {
    Normal,
    Approaching,
    Rotating,
    Exceeded,
}

impl Level {
    fn into_level(self) -> StorageLevel {
        match self {
            Self::Normal => StorageLevel::Normal,
            Self::Approaching => StorageLevel::Approaching,
            Self::Rotating => StorageLevel::Rotating,
            Self::Exceeded => StorageLevel::Exceeded,
        }
    }
}

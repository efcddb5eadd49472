//! The values that the golden files hold. Never changed: what a file holds is settled when it is added.

use lenslog_events::{
    BoundingBox, CameraFound, CameraLost, CameraMinute, DeliveryFailed, DescriptionAdded,
    DescriptionDeferred, DescriptionFailed, DetectedObject, DetectorFailed, Event, EventDetected,
    EventEnded, EventRef, ImagePurged, Metadata, RecorderStarted, RecorderStopped, StorageLevel,
    StorageWarning, Suppressed,
};
use lenslog_journal::{Day, Seq, Timestamp};
use serde_json::json;

use crate::golden::mirror::{DetectedV1, Mirror, Object, Time};

/// 2026-11-23T17:04:05.123456 at +01:00.
const AT: Timestamp = Timestamp { utc_micros: 1_795_449_845_123_456, offset_minutes: 60 };

/// The golden value of every kind in its current version.
pub fn current() -> Vec<Event> {
    let at = AT;
    vec![
        Event::Detected(detected()),
        Event::Ended(EventEnded {
            event: reference(),
            last_seen: at.plus_micros(90_000_000),
            sightings: 451,
        }),
        Event::CameraMinute(camera_minute()),
        Event::CameraLost(CameraLost {
            camera_id: "camera_1".to_owned(),
            at,
            reason: "no picture for 10 s".to_owned(),
        }),
        Event::CameraFound(CameraFound { camera_id: "camera_1".to_owned(), at }),
        Event::DetectorFailed(DetectorFailed {
            camera_id: None,
            at: Timestamp { offset_minutes: -210, ..at },
            reason: "out of memory".to_owned(),
        }),
        Event::DescriptionAdded(DescriptionAdded {
            event: reference(),
            llm_description: "Person in blue shirt carrying brown package".to_owned(),
            model: "llava".to_owned(),
            duration_ms: 4_217,
        }),
        Event::DescriptionDeferred(DescriptionDeferred { event: reference() }),
        Event::DescriptionFailed(DescriptionFailed {
            event: reference(),
            reason: "the server said 503".to_owned(),
        }),
        Event::ImagePurged(ImagePurged {
            event: reference(),
            image_path: "data/events/2026-11-23/evt_1.jpg".to_owned(),
        }),
        Event::RecorderStarted(RecorderStarted {
            at,
            version: "0.1.0".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            cameras: vec!["camera_1".to_owned(), "garden".to_owned()],
        }),
        Event::RecorderStopped(RecorderStopped {
            at,
            reason: "signal".to_owned(),
            uptime_s: 86_400,
            events: 312,
        }),
        Event::StorageWarning(StorageWarning {
            at,
            level: StorageLevel::Rotating,
            used_bytes: 3_600_000_000,
            limit_bytes: 4_000_000_000,
        }),
        Event::DeliveryFailed(DeliveryFailed {
            delivery: "notify-phone".to_owned(),
            at,
            reason: Some("ntfy.sh: it answers 503".to_owned()),
        }),
    ]
}

/// The golden values of versions that no program writes any more, as bincode wrote them.
pub fn past() -> Vec<(u16, u16, Mirror)> {
    let detected_v1 = DetectedV1 {
        event_id: "evt_0192f0c1-2d3e-7abc-8def-0123456789ab".to_owned(),
        timestamp: Time { utc_micros: AT.utc_micros, offset_minutes: AT.offset_minutes },
        camera_id: "camera_1".to_owned(),
        motion_confidence: Some(0.75),
        detected_objects: vec![Object {
            label: "person".to_owned(),
            confidence: 0.92,
            x: 12.0,
            y: 34.5,
            width: 56.0,
            height: 78.25,
        }],
        image_path: Some("data/events/2026-11-23/evt_1.jpg".to_owned()),
        llm_description: None,
        metadata: vec![("frame".to_owned(), "1234".to_owned())],
    };
    vec![(lenslog_events::kind::EVENT_DETECTED, 1, Mirror::DetectedV1(detected_v1))]
}

fn detected() -> EventDetected {
    let metadata: Metadata = [
        ("frame", json!(1234)),
        ("inference_ms", json!(0.1 + 0.2)),
        ("model", json!("yolox_nano")),
        ("nested", json!({"a": [null, true, -1, u64::MAX, "ü\n\u{2028}"], "b": {}})),
        ("threshold", json!(2.0)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    EventDetected {
        event_id: "evt_0192f0c1-2d3e-7abc-8def-0123456789ab".to_owned(),
        timestamp: AT,
        camera_id: "camera_1".to_owned(),
        camera_name: Some("Haustür".to_owned()),
        motion_confidence: Some(0.75),
        detected_objects: vec![
            DetectedObject {
                label: "person".to_owned(),
                confidence: 0.92,
                bbox: BoundingBox { x: 12.0, y: 34.5, width: 56.0, height: 78.25 },
            },
            DetectedObject {
                label: "package".to_owned(),
                confidence: 0.87,
                bbox: BoundingBox { x: -1.0, y: 0.0, width: 1.0 / 3.0, height: 1e-9 },
            },
        ],
        image_path: Some("data/events/2026-11-23/evt_1.jpg".to_owned()),
        llm_description: Some("Person with a \"package\"".to_owned()),
        description_expected: true,
        metadata,
    }
}

fn camera_minute() -> CameraMinute {
    CameraMinute {
        camera_id: "camera_1".to_owned(),
        minute: Timestamp { utc_micros: 1_795_449_840_000_000, offset_minutes: 60 },
        frames: 300,
        dropped: 2,
        max_motion: 7.25,
        best_label: Some("cat".to_owned()),
        best_confidence: Some(0.41),
        suppressed: vec![
            Suppressed { reason: "below_confidence".to_owned(), count: 12 },
            Suppressed { reason: "deduplicated".to_owned(), count: 31 },
        ],
    }
}

fn reference() -> EventRef {
    EventRef {
        event_seq: Seq(42),
        event_day: Day(20_780),
        event_id: "evt_0192f0c1-2d3e-7abc-8def-0123456789ab".to_owned(),
    }
}

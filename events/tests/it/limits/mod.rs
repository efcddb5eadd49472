//! Every limit of the table: what is at it is valid, what is beyond it is refused by the name of its field.

mod other_kinds;

use lenslog_events::limits::{
    CAMERA_ID_BYTES_MAX, CAMERA_NAME_BYTES_MAX, CAMERAS_MAX, COORDINATE_MAX, DESCRIPTION_BYTES_MAX,
    EVENT_ID_BYTES_MAX, IMAGE_FILE_BYTES_MAX, LABEL_BYTES_MAX, METADATA_BYTES_MAX,
    METADATA_DEPTH_MAX, METADATA_FIELDS_MAX, METADATA_NAME_BYTES_MAX, METADATA_VALUES_MAX,
    OBJECTS_MAX, OFFSET_MINUTES_MAX, SUPPRESSED_MAX, TIME_MICROS_MAX, TIME_MICROS_MIN,
};
use lenslog_events::{
    BoundingBox, CameraFound, CameraLost, CameraMinute, DeliveryFailed, DetectedObject,
    DetectorFailed, Event, EventDetected, EventEnded, EventRef, ImagePurged, Metadata,
    RecorderStarted, RecorderStopped, StorageLevel, StorageWarning, Suppressed,
};
use lenslog_journal::{Day, Seq, Timestamp};
use serde_json::{Value, json};

const AT: Timestamp = Timestamp { utc_micros: 1_795_449_845_000_000, offset_minutes: 60 };

fn detected() -> EventDetected {
    EventDetected {
        event_id: "evt_1".to_owned(),
        timestamp: AT,
        camera_id: "camera_1".to_owned(),
        camera_name: None,
        motion_confidence: None,
        detected_objects: vec![object()],
        image_path: None,
        llm_description: None,
        description_expected: false,
        metadata: Metadata::new(),
    }
}

fn object() -> DetectedObject {
    DetectedObject { label: "cat".to_owned(), confidence: 0.5, bbox: BoundingBox::default() }
}

fn reference() -> EventRef {
    EventRef { event_seq: Seq(1), event_day: Day(20_780), event_id: "evt_1".to_owned() }
}

fn minute() -> CameraMinute {
    CameraMinute {
        camera_id: "camera_1".to_owned(),
        minute: AT,
        frames: 0,
        dropped: 0,
        max_motion: 0.0,
        best_label: None,
        best_confidence: None,
        suppressed: Vec::new(),
    }
}

fn started() -> RecorderStarted {
    RecorderStarted {
        at: AT,
        version: String::new(),
        time_zone: String::new(),
        cameras: Vec::new(),
    }
}

fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// The event with this change is valid at `good` and refused by the name of `field` at each of `bad`.
#[track_caller]
fn check<E: Clone, T>(
    field: &str,
    event: &E,
    wrap: fn(E) -> Event,
    change: impl Fn(&mut E, T),
    good: Vec<T>,
    bad: Vec<T>,
) {
    let changed = |value| {
        let mut event = event.clone();
        change(&mut event, value);
        wrap(event)
    };
    for value in good {
        assert_eq!(changed(value).validate(), Ok(()));
    }
    for value in bad {
        let error = changed(value).validate().unwrap_err();
        assert_eq!(error.field, field);
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
        assert!(error.to_string().len() < 400, "{error}");
    }
}

#[track_caller]
fn check_detected<T>(
    field: &str,
    change: impl Fn(&mut EventDetected, T),
    good: Vec<T>,
    bad: Vec<T>,
) {
    check(field, &detected(), Event::Detected, change, good, bad);
}

/// A time in every way it can be wrong.
#[track_caller]
fn check_time<E: Clone>(
    field: &str,
    event: &E,
    wrap: fn(E) -> Event,
    change: impl Fn(&mut E, Timestamp),
) {
    let time = |utc_micros, offset_minutes| Timestamp { utc_micros, offset_minutes };
    let good = vec![
        time(TIME_MICROS_MIN, 0),
        time(TIME_MICROS_MAX, 0),
        time(TIME_MICROS_MIN, OFFSET_MINUTES_MAX),
        time(TIME_MICROS_MAX, -OFFSET_MINUTES_MAX),
    ];
    let bad = vec![
        time(TIME_MICROS_MIN - 1, 0),
        time(TIME_MICROS_MAX + 1, 0),
        time(TIME_MICROS_MIN, -1),
        time(TIME_MICROS_MAX, 1),
        time(AT.utc_micros, OFFSET_MINUTES_MAX + 1),
        time(AT.utc_micros, -OFFSET_MINUTES_MAX - 1),
        time(i64::MIN, i16::MIN),
        time(i64::MAX, i16::MAX),
    ];
    check(field, event, wrap, change, good, bad);
}

#[test]
fn event_id_has_its_alphabet_and_length() {
    let good = vec!["a".to_owned(), "AZaz09._:-".to_owned(), text(EVENT_ID_BYTES_MAX)];
    let bad = ["", "a b", "a/b", "é", "a\n", "\0"].map(str::to_owned).to_vec();
    check_detected("event_id", |event, id| event.event_id = id, good, bad);
    let bad = vec![text(EVENT_ID_BYTES_MAX + 1)];
    check_detected("event_id", |event, id| event.event_id = id, Vec::new(), bad);
}

#[test]
fn every_time_lies_in_the_years_and_offsets() {
    check_time("timestamp", &detected(), Event::Detected, |event, at| event.timestamp = at);
    let ended = EventEnded { event: reference(), last_seen: AT, sightings: 1 };
    check_time("last_seen", &ended, Event::Ended, |event, at| event.last_seen = at);
    check_time("minute", &minute(), Event::CameraMinute, |event, at| event.minute = at);
    let lost = CameraLost { camera_id: text(1), at: AT, reason: text(0) };
    check_time("at", &lost, Event::CameraLost, |event, at| event.at = at);
    let found = CameraFound { camera_id: text(1), at: AT };
    check_time("at", &found, Event::CameraFound, |event, at| event.at = at);
    let failed = DetectorFailed { camera_id: None, at: AT, reason: text(0) };
    check_time("at", &failed, Event::DetectorFailed, |event, at| event.at = at);
    check_time("at", &started(), Event::RecorderStarted, |event, at| event.at = at);
    let stopped = RecorderStopped { at: AT, reason: text(0), uptime_s: 0, events: 0 };
    check_time("at", &stopped, Event::RecorderStopped, |event, at| event.at = at);
    let failed = DeliveryFailed { delivery: text(1), at: AT, reason: None };
    check_time("at", &failed, Event::DeliveryFailed, |event, at| event.at = at);
    let level = StorageLevel::Normal;
    let warning = StorageWarning { at: AT, level, used_bytes: 0, limit_bytes: 0 };
    check_time("at", &warning, Event::StorageWarning, |event, at| event.at = at);
}

#[test]
fn every_camera_id_has_its_length_and_no_control_characters() {
    let good = || vec![text(1), "Tür 1".to_owned(), text(CAMERA_ID_BYTES_MAX)];
    let bad =
        || vec![text(0), text(CAMERA_ID_BYTES_MAX + 1), "a\nb".to_owned(), "\u{85}".to_owned()];
    check_detected("camera_id", |event, id| event.camera_id = id, good(), bad());
    let set = |event: &mut CameraMinute, id| event.camera_id = id;
    check("camera_id", &minute(), Event::CameraMinute, set, good(), bad());
    let lost = CameraLost { camera_id: text(1), at: AT, reason: text(0) };
    let set = |event: &mut CameraLost, id| event.camera_id = id;
    check("camera_id", &lost, Event::CameraLost, set, good(), bad());
    let found = CameraFound { camera_id: text(1), at: AT };
    let set = |event: &mut CameraFound, id| event.camera_id = id;
    check("camera_id", &found, Event::CameraFound, set, good(), bad());
    let failed = DetectorFailed { camera_id: None, at: AT, reason: text(0) };
    let set = |event: &mut DetectorFailed, id| event.camera_id = Some(id);
    check("camera_id", &failed, Event::DetectorFailed, set, good(), bad());
    let set = |event: &mut RecorderStarted, id| event.cameras = vec![text(1), id];
    check("cameras[1]", &started(), Event::RecorderStarted, set, good(), bad());
}

#[test]
fn every_text_of_an_event_has_its_length() {
    let name = |event: &mut EventDetected, bytes| event.camera_name = Some(text(bytes));
    check_detected(
        "camera_name",
        name,
        vec![0, CAMERA_NAME_BYTES_MAX],
        vec![CAMERA_NAME_BYTES_MAX + 1],
    );
    let description = |event: &mut EventDetected, bytes| event.llm_description = Some(text(bytes));
    let (good, bad) = (vec![0, DESCRIPTION_BYTES_MAX], vec![DESCRIPTION_BYTES_MAX + 1]);
    check_detected("llm_description", description, good, bad);
    let label = |event: &mut EventDetected, bytes| event.detected_objects[0].label = text(bytes);
    let (good, bad) = (vec![1, LABEL_BYTES_MAX], vec![0, LABEL_BYTES_MAX + 1]);
    check_detected("detected_objects[0].label", label, good, bad);
}

#[test]
fn every_confidence_lies_between_zero_and_one() {
    let good = || vec![0.0, -0.0, 1.0, 5e-324];
    let bad = || vec![-f64::EPSILON, 1.0 + f64::EPSILON, f64::NAN, f64::INFINITY, -f64::INFINITY];
    let set = |event: &mut EventDetected, value| event.motion_confidence = Some(value);
    check_detected("motion_confidence", set, good(), bad());
    let set = |event: &mut EventDetected, value| event.detected_objects[0].confidence = value;
    check_detected("detected_objects[0].confidence", set, good(), bad());
    let set = |event: &mut CameraMinute, value| event.best_confidence = Some(value);
    check("best_confidence", &minute(), Event::CameraMinute, set, good(), bad());
}

#[test]
fn every_side_of_a_box_is_finite_and_sane() {
    let bad = || vec![f64::NAN, f64::INFINITY, -f64::INFINITY, COORDINATE_MAX + 1.0];
    let places = vec![-COORDINATE_MAX, COORDINATE_MAX];
    let set = |event: &mut EventDetected, value| event.detected_objects[0].bbox.x = value;
    check_detected("detected_objects[0].bbox.x", set, places.clone(), bad());
    let set = |event: &mut EventDetected, value| event.detected_objects[0].bbox.y = value;
    check_detected("detected_objects[0].bbox.y", set, places, bad());
    let bad = || [bad(), vec![-0.1]].concat();
    let set = |event: &mut EventDetected, value| event.detected_objects[0].bbox.width = value;
    check_detected("detected_objects[0].bbox.width", set, vec![0.0, COORDINATE_MAX], bad());
    let set = |event: &mut EventDetected, value| event.detected_objects[0].bbox.height = value;
    check_detected("detected_objects[0].bbox.height", set, vec![0.0, COORDINATE_MAX], bad());
}

#[test]
fn every_list_has_its_length() {
    let set = |event: &mut EventDetected, count| event.detected_objects = vec![object(); count];
    check_detected("detected_objects", set, vec![0, OBJECTS_MAX], vec![OBJECTS_MAX + 1]);
    let set = |event: &mut RecorderStarted, count| event.cameras = vec![text(1); count];
    let (good, bad) = (vec![0, CAMERAS_MAX], vec![CAMERAS_MAX + 1]);
    check("cameras", &started(), Event::RecorderStarted, set, good, bad);
    let reason = Suppressed { reason: text(1), count: 1 };
    let set = |event: &mut CameraMinute, count| event.suppressed = vec![reason.clone(); count];
    let (good, bad) = (vec![0, SUPPRESSED_MAX], vec![SUPPRESSED_MAX + 1]);
    check("suppressed", &minute(), Event::CameraMinute, set, good, bad);
}

#[test]
fn every_image_path_has_its_form() {
    let path = |file: &str| format!("data/events/2026-11-23/{file}");
    let good = || vec![path("a.jpg"), path(&(text(IMAGE_FILE_BYTES_MAX - 4) + ".png"))];
    let bad = || {
        let long = path(&(text(IMAGE_FILE_BYTES_MAX - 3) + ".png"));
        let elsewhere = ["", "a.jpg", "/data/events/2026-11-23/a.jpg", "data/events/../a.jpg"];
        [vec![long, path("../a.jpg"), path("a\n.jpg")], elsewhere.map(str::to_owned).to_vec()]
            .concat()
    };
    check_detected("image_path", |event, path| event.image_path = Some(path), good(), bad());
    let purged = ImagePurged { event: reference(), image_path: path("a.jpg") };
    let set = |event: &mut ImagePurged, path| event.image_path = path;
    check("image_path", &purged, Event::ImagePurged, set, good(), bad());
}

#[test]
fn metadata_has_its_size_depth_and_counts() {
    let nested = |depth: usize| (1..depth).fold(json!(1), |value, _| json!([value]));
    let single = |value: Value| Metadata::from_iter([("a".to_owned(), value)]);
    let set = |event: &mut EventDetected, metadata| event.metadata = metadata;

    let named = |bytes| Metadata::from_iter([(text(bytes), json!(1))]);
    let field = format!("the name \"{}\"… (129 bytes) in metadata", text(60));
    let good = vec![named(0), named(METADATA_NAME_BYTES_MAX)];
    check_detected(&field, set, good, vec![named(METADATA_NAME_BYTES_MAX + 1)]);

    let fields = |count: usize| (0..count).map(|index| (index.to_string(), json!(1))).collect();
    let (good, bad) = (vec![fields(METADATA_FIELDS_MAX)], vec![fields(METADATA_FIELDS_MAX + 1)]);
    check_detected("metadata", set, good, bad);

    let (good, bad) = (nested(METADATA_DEPTH_MAX), nested(METADATA_DEPTH_MAX + 1));
    check_detected("metadata.\"a\"", set, vec![single(good)], vec![single(bad)]);

    let list = |count: usize| single(Value::Array(vec![json!(1); count]));
    let (good, bad) = (vec![list(METADATA_VALUES_MAX - 1)], vec![list(METADATA_VALUES_MAX)]);
    check_detected("metadata", set, good, bad);

    // Its name, and the quotes around it.
    let long = |bytes: usize| single(Value::String(text(bytes - 3)));
    let (good, bad) = (vec![long(METADATA_BYTES_MAX)], vec![long(METADATA_BYTES_MAX + 1)]);
    check_detected("metadata", set, good, bad);
}

#[test]
fn an_error_tells_field_found_and_expected_on_one_line() {
    let mut event = detected();
    event.detected_objects = vec![object(), object()];
    event.detected_objects[1].confidence = 1.5;
    let error = event.validate().unwrap_err();
    let text = "detected_objects[1].confidence is 1.5; expected a number from 0 to 1";
    assert_eq!(error.to_string(), text);
}

//! Events as lines of JSON: what is rendered is one line, the same at every run, and parses into the event again.

use chrono::SecondsFormat;
use lenslog_events::limits::{
    CAMERA_ID_BYTES_MAX, CAMERA_NAME_BYTES_MAX, COORDINATE_MAX, DESCRIPTION_BYTES_MAX,
    EVENT_ID_BYTES_MAX, IMAGE_FILE_BYTES_MAX, LABEL_BYTES_MAX, LINE_BYTES_MAX, METADATA_BYTES_MAX,
    METADATA_FIELDS_MAX, METADATA_NAME_BYTES_MAX, OBJECTS_MAX,
};
use lenslog_events::testing::{config, strategies};
use lenslog_events::{
    BoundingBox, DetectedObject, EventDetected, parse_line, render_event, render_event_in_full,
    render_objects, rounded_confidence,
};
use lenslog_journal::{Seq, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

const LOG: &str = "data/events/2026-11-23/events.json";
/// No timestamp of an event lies ahead of it.
const LATE: Timestamp = Timestamp { utc_micros: i64::MAX, offset_minutes: 0 };

fn rendered(event: &EventDetected) -> String {
    let mut line = Vec::new();
    render_event(&mut line, event, Seq(7), LOG);
    String::from_utf8(line).unwrap()
}

/// What a line holds of an event: time in milliseconds, confidences with four digits.
fn in_line(mut event: EventDetected) -> EventDetected {
    event.timestamp.utc_micros -= event.timestamp.utc_micros.rem_euclid(1_000);
    event.motion_confidence = event.motion_confidence.map(rounded_confidence);
    for object in &mut event.detected_objects {
        object.confidence = rounded_confidence(object.confidence);
    }
    event
}

#[test]
fn confidences_have_at_most_four_digits() {
    let mut event = awkward();
    event.motion_confidence = Some(0.123_456);
    event.detected_objects[0].confidence = 2.0 / 3.0;
    let line = rendered(&event);
    assert!(line.contains(r#""motion_confidence":0.1235,"#), "{line}");
    assert!(line.contains(r#""confidence":0.6667,"#), "{line}");
}

#[test]
fn in_full_nothing_is_rounded() {
    let mut event = awkward();
    event.motion_confidence = Some(0.123_456_78);
    event.detected_objects[0].confidence = 2.0 / 3.0;
    let mut line = Vec::new();
    render_event_in_full(&mut line, &event, Seq(7), LOG);
    let line = String::from_utf8(line).unwrap();
    assert!(line.contains(r#""timestamp":"2026-11-23T12:34:05.123456-03:30","#), "{line}");
    assert!(line.contains(r#""motion_confidence":0.12345678,"#), "{line}");
    assert!(line.contains(r#""confidence":0.6666666666666666,"#), "{line}");
    assert_eq!(parse_line(line.as_bytes(), LATE).unwrap().into_event(String::new), event);
}

fn awkward() -> EventDetected {
    let metadata = json!({
        "frame": 1234,
        "inference_ms": 0.1 + 0.2,
        "nested": {"b": [null, true, -1, u64::MAX], "a": {}},
        "threshold": 2.0,
        "\u{2028}": "\u{85}",
    });
    EventDetected {
        event_id: "evt_1".to_owned(),
        timestamp: Timestamp { utc_micros: 1_795_449_845_123_456, offset_minutes: -210 },
        camera_id: "camera_1".to_owned(),
        camera_name: Some("Haus\ntür \u{1b}[31m".to_owned()),
        motion_confidence: Some(1.0),
        detected_objects: vec![DetectedObject {
            label: "\"cat\"\\\u{7f}".to_owned(),
            confidence: 0.07,
            bbox: BoundingBox { x: -12.0, y: 0.5, width: 1.0 / 3.0, height: COORDINATE_MAX },
        }],
        image_path: Some("data/events/2026-11-23/evt_1.jpg".to_owned()),
        llm_description: Some("a\r\nb\u{2028}c\u{2029}d\0".to_owned()),
        description_expected: false,
        metadata: metadata.as_object().unwrap().clone(),
    }
}

#[test]
fn a_rendered_event_is_byte_for_byte_what_it_was_in_every_release() {
    let expected = concat!(
        r#"{"event_id":"evt_1","timestamp":"2026-11-23T12:34:05.123-03:30","#,
        r#""camera_id":"camera_1","camera_name":"Haus\ntür \u001b[31m","motion_confidence":1.0,"#,
        r#""detected_objects":[{"label":"\"cat\"\\\u007f","confidence":0.07,"bbox":{"x":-12,"#,
        r#""y":0.5,"width":0.3333333333333333,"height":1000000}}],"#,
        r#""llm_description":"a\r\nb\u2028c\u2029d\u0000","#,
        r#""image_path":"data/events/2026-11-23/evt_1.jpg","#,
        r#""json_log_path":"data/events/2026-11-23/events.json","metadata":{"frame":1234,"#,
        r#""inference_ms":0.30000000000000004,"nested":{"a":{},"#,
        r#""b":[null,true,-1,18446744073709551615]},"threshold":2.0,"\u2028":"\u0085"},"seq":7}"#,
    );
    assert_eq!(rendered(&awkward()), expected);
}

#[test]
fn what_an_event_has_not_renders_as_null() {
    let event = EventDetected {
        camera_name: None,
        motion_confidence: None,
        detected_objects: Vec::new(),
        image_path: None,
        llm_description: None,
        metadata: serde_json::Map::new(),
        ..awkward()
    };
    let expected = concat!(
        r#"{"event_id":"evt_1","timestamp":"2026-11-23T12:34:05.123-03:30","#,
        r#""camera_id":"camera_1","camera_name":null,"motion_confidence":null,"#,
        r#""detected_objects":[],"llm_description":null,"image_path":null,"#,
        r#""json_log_path":"data/events/2026-11-23/events.json","metadata":{},"seq":7}"#,
    );
    assert_eq!(rendered(&event), expected);
}

#[test]
fn a_buffer_is_appended_to_and_can_be_used_again() {
    let mut buffer = b"before".to_vec();
    render_event(&mut buffer, &awkward(), Seq(7), LOG);
    assert_eq!(buffer, format!("before{}", rendered(&awkward())).into_bytes());
    buffer.clear();
    render_event(&mut buffer, &awkward(), Seq(7), LOG);
    assert_eq!(buffer, rendered(&awkward()).into_bytes());
}

#[test]
fn the_largest_valid_event_fits_into_a_line() {
    let worst = "\u{1}";
    let object = DetectedObject {
        label: worst.repeat(LABEL_BYTES_MAX),
        confidence: f64::MIN_POSITIVE,
        bbox: BoundingBox {
            x: -1.234_567_890_123_456_7e-300,
            y: -1.234_567_890_123_456_7e-300,
            width: 1.234_567_890_123_456_7e-300,
            height: 1.234_567_890_123_456_7e-300,
        },
    };
    let mut event = EventDetected {
        event_id: "x".repeat(EVENT_ID_BYTES_MAX),
        camera_id: "\"".repeat(CAMERA_ID_BYTES_MAX),
        camera_name: Some(worst.repeat(CAMERA_NAME_BYTES_MAX)),
        motion_confidence: Some(f64::MIN_POSITIVE),
        detected_objects: vec![object; OBJECTS_MAX],
        image_path: Some(format!(
            "data/events/2026-11-23/{}.jpg",
            "\"".repeat(IMAGE_FILE_BYTES_MAX - 4)
        )),
        llm_description: Some(worst.repeat(DESCRIPTION_BYTES_MAX)),
        ..awkward()
    };
    // Names grow most: six bytes for each of theirs. The values have their escapes already.
    event.metadata = (0..METADATA_FIELDS_MAX)
        .map(|index| {
            let name = format!("{index:03}{}", worst.repeat(METADATA_NAME_BYTES_MAX - 3));
            (name, Value::from("v".repeat(METADATA_BYTES_MAX / METADATA_FIELDS_MAX - 130)))
        })
        .collect();
    event.validate().unwrap();
    let line = rendered(&event);
    assert!(line.len() <= LINE_BYTES_MAX, "{} bytes", line.len());
    assert!(line.len() > LINE_BYTES_MAX / 2, "{} bytes", line.len());
    assert_eq!(parse_line(line.as_bytes(), LATE).unwrap().into_event(String::new), in_line(event));
}

proptest! {
    #![proptest_config(config(2_048))]

    #[test]
    fn a_rendered_event_parses_into_the_event_again(event in strategies::detected()) {
        let line = rendered(&event);
        let parsed = parse_line(line.as_bytes(), LATE).unwrap();
        prop_assert_eq!(parsed.event_id(), Some(event.event_id.as_str()));
        prop_assert!(parsed.unknown_fields().is_empty());
        let again = parsed.into_event(|| unreachable!("the line has an event_id"));
        prop_assert_eq!(&again, &EventDetected { description_expected: false, ..in_line(event) });
        prop_assert_eq!(rendered(&again), line);
    }

    #[test]
    fn an_event_in_full_parses_into_the_same_event(event in strategies::detected()) {
        let mut line = Vec::new();
        render_event_in_full(&mut line, &event, Seq(7), LOG);
        let again = parse_line(&line, LATE).unwrap().into_event(String::new);
        prop_assert_eq!(again, EventDetected { description_expected: false, ..event });
    }

    #[test]
    fn a_rendered_event_is_one_line_for_every_reader_of_lines(event in strategies::detected()) {
        let line = rendered(&event);
        let ends_a_line = |letter: char| {
            letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
        };
        prop_assert!(!line.contains(ends_a_line), "{line:?}");
    }

    #[test]
    fn other_parsers_read_the_same_values(event in strategies::detected()) {
        let value: Value = serde_json::from_str(&rendered(&event)).unwrap();
        prop_assert_eq!(&value["event_id"], &json!(event.event_id));
        let time = event.timestamp.to_local().to_rfc3339_opts(SecondsFormat::Millis, false);
        prop_assert_eq!(&value["timestamp"], &json!(time));
        prop_assert_eq!(&value["camera_name"], &json!(event.camera_name));
        prop_assert_eq!(&value["motion_confidence"], &json!(event.motion_confidence.map(rounded_confidence)));
        prop_assert_eq!(&value["llm_description"], &json!(event.llm_description));
        prop_assert_eq!(&value["metadata"], &Value::Object(event.metadata.clone()));
        prop_assert_eq!(value.as_object().unwrap().len(), 11);
        for (index, object) in event.detected_objects.iter().enumerate() {
            let value = &value["detected_objects"][index];
            prop_assert_eq!(&value["label"], &json!(object.label));
            prop_assert_eq!(value["bbox"]["x"].as_f64(), Some(object.bbox.x));
        }
    }

    #[test]
    fn the_list_of_objects_renders_as_it_stands_in_the_line(event in strategies::detected()) {
        let mut list = Vec::new();
        render_objects(&mut list, &event.detected_objects);
        let list = String::from_utf8(list).unwrap();
        let in_line = format!("\"detected_objects\":{list},\"llm_description\":");
        prop_assert!(rendered(&event).contains(&in_line));
    }
}

//! Lines of `lenslog ingest`: what is accepted, its event, and the error of each bad line.

mod refused;

use lenslog_events::testing::{config, strategies};
use lenslog_events::{
    BoundingBox, EventDetected, IngestedLine, LineError, parse_line, render_event,
};
use lenslog_journal::{Seq, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

/// 2026-11-23T17:04:05+01:00.
const NOW: Timestamp = Timestamp { utc_micros: 1_795_449_845_000_000, offset_minutes: 60 };

fn parse(line: &str) -> Result<IngestedLine, LineError> {
    parse_line(line.as_bytes(), NOW)
}

/// A line with the required fields and these.
fn with(fields: &Value) -> String {
    let mut line = json!({"timestamp": "2026-11-23T17:04:05+01:00", "camera_id": "door"});
    for (name, value) in fields.as_object().unwrap() {
        line[name] = value.clone();
    }
    line.to_string()
}

fn event(line: &str) -> EventDetected {
    parse(line).unwrap().into_event(|| "evt_made".to_owned())
}

fn accepted(fields: &Value) -> EventDetected {
    event(&with(fields))
}

/// What the operator reads about a line with the required fields and these.
#[track_caller]
fn refused(fields: &Value, expected: &str) {
    refused_line(&with(fields), expected);
}

#[track_caller]
fn refused_line(line: &str, expected: &str) {
    let error = parse(line).unwrap_err().to_string();
    assert_eq!(error, expected);
    assert!(!error.contains(char::is_control));
}

#[test]
fn the_required_fields_are_enough() {
    let parsed = parse(&with(&json!({}))).unwrap();
    assert_eq!(parsed.event_id(), None);
    assert!(parsed.unknown_fields().is_empty());
    let expected = EventDetected {
        event_id: "evt_made".to_owned(),
        timestamp: NOW,
        camera_id: "door".to_owned(),
        camera_name: None,
        motion_confidence: None,
        detected_objects: Vec::new(),
        image_path: None,
        llm_description: None,
        description_expected: false,
        metadata: serde_json::Map::new(),
    };
    assert_eq!(parsed.into_event(|| "evt_made".to_owned()), expected);
}

#[test]
fn null_is_the_same_as_absent() {
    let nulls = json!({
        "event_id": null, "camera_name": null, "motion_confidence": null,
        "detected_objects": null, "llm_description": null, "image_path": null, "metadata": null,
    });
    assert_eq!(accepted(&nulls), accepted(&json!({})));
}

#[test]
fn every_field_arrives() {
    let line = with(&json!({
        "event_id": "evt-7:a.b_C",
        "camera_name": "front door",
        "motion_confidence": 1,
        "detected_objects": [
            {"label": "person", "confidence": 0.92,
             "bbox": {"x": 1, "y": -2.5, "width": 30, "height": 40}},
            {"label": "cat", "confidence": 0},
        ],
        "llm_description": "A person.\nAnd a cat.",
        "image_path": "data/events/2026-11-23/evt.jpg",
        "metadata": {"frame": 12},
    }));
    let parsed = parse(&line).unwrap();
    assert_eq!(parsed.event_id(), Some("evt-7:a.b_C"));
    let event = parsed.into_event(|| unreachable!("the line has an event_id"));
    assert_eq!(event.camera_name.as_deref(), Some("front door"));
    assert_eq!(event.motion_confidence, Some(1.0));
    let bbox = BoundingBox { x: 1.0, y: -2.5, width: 30.0, height: 40.0 };
    assert_eq!(event.detected_objects[0].bbox, bbox);
    assert_eq!(event.detected_objects[1].bbox, BoundingBox::default());
    assert_eq!(event.llm_description.as_deref(), Some("A person.\nAnd a cat."));
    assert_eq!(event.image_path.as_deref(), Some("data/events/2026-11-23/evt.jpg"));
    assert_eq!(event.metadata["frame"], 12);
    assert!(!event.description_expected);
}

#[test]
fn times_are_read_with_their_offset() {
    let time = |text: &str| accepted(&json!({ "timestamp": text })).timestamp.to_string();
    assert_eq!(time("2026-11-23T17:04:05Z"), "2026-11-23T17:04:05+00:00");
    assert_eq!(time("2026-11-23t17:04:05.25z"), "2026-11-23T17:04:05.250+00:00");
    assert_eq!(time("2026-11-23T01:02:03.1234569-03:30"), "2026-11-23T01:02:03.123456-03:30");
    assert_eq!(time("1970-01-01T18:00:00+18:00"), "1970-01-01T18:00:00+18:00");
}

#[test]
fn a_line_of_our_own_events_json_is_accepted_and_its_seq_and_log_are_ignored() {
    let mut line = Vec::new();
    let event = accepted(&json!({"event_id": "evt_1", "metadata": {"frame": 1}}));
    render_event(&mut line, &event, Seq(99), "elsewhere/events.json");
    let parsed = parse_line(&line, NOW).unwrap();
    assert!(parsed.unknown_fields().is_empty());
    assert_eq!(parsed.into_event(String::new), event);
    assert_eq!(accepted(&json!({"seq": "any", "json_log_path": [1]})).metadata.len(), 0);
}

#[test]
fn unknown_fields_are_kept_in_metadata_and_reported() {
    let parsed = parse(&with(&json!({
        "zone": "porch", "Name\n": {"a": null}, "nothing": null, "metadata": {"frame": 1},
    })))
    .unwrap();
    assert_eq!(parsed.unknown_fields(), ["\"Name\\n\"", "nothing", "zone"]);
    let expected = json!({"zone": "porch", "Name\n": {"a": null}, "nothing": null, "frame": 1});
    assert_eq!(Value::Object(parsed.into_event(String::new).metadata), expected);
}

#[test]
fn unknown_fields_of_objects_are_kept_in_metadata_and_reported() {
    let bbox = json!({"x": 0, "y": 0, "width": 1, "height": 1, "area": 1});
    let parsed = parse(&with(&json!({"detected_objects": [
        {"label": "a", "confidence": 1},
        {"label": "b", "confidence": 1, "track_id": 7},
        {"label": "c", "confidence": 1, "track_id": 8, "bbox": bbox},
    ]})))
    .unwrap();
    assert_eq!(
        parsed.unknown_fields(),
        ["detected_objects[].bbox.area", "detected_objects[].track_id"]
    );
    let expected = json!({"detected_objects":
        [null, {"track_id": 7}, {"bbox": {"area": 1}, "track_id": 8}]});
    assert_eq!(Value::Object(parsed.into_event(String::new).metadata), expected);
}

#[test]
fn an_unknown_field_whose_name_is_taken_in_metadata_is_kept_aside() {
    let parsed = parse(&with(&json!({"zone": "porch", "metadata": {"zone": "porch"}}))).unwrap();
    assert_eq!(parsed.into_event(String::new).metadata.len(), 1);
    let event = accepted(&json!({"zone": "porch", "metadata": {"zone": 1}}));
    assert_eq!(Value::Object(event.metadata), json!({"zone": 1, "line.zone": "porch"}));
    refused(
        &json!({"zone": "porch", "metadata": {"zone": 1, "line.zone": 2}}),
        "metadata.\"zone\" is there, and so is \"line.zone\"; expected one of the two to be free \
         for a field of the line",
    );
}

#[test]
fn an_image_path_of_another_form_is_kept_in_metadata_and_reported() {
    for path in ["/var/lib/motion/1.jpg", "../../etc/passwd", "data/events/2026-11-23/events.json"]
    {
        let parsed = parse(&with(&json!({ "image_path": path }))).unwrap();
        assert_eq!(parsed.unknown_fields(), ["image_path"]);
        let event = parsed.into_event(String::new);
        assert_eq!(event.image_path, None);
        assert_eq!(event.metadata["image_path"], path);
    }
}

#[test]
fn a_byte_order_mark_and_a_carriage_return_do_no_harm() {
    assert_eq!(event(&format!("\u{feff}{}\r", with(&json!({})))), accepted(&json!({})));
}

proptest! {
    #![proptest_config(config(2_048))]

    #[test]
    fn no_line_of_any_bytes_panics(line in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(parse_line(&line, NOW).is_err());
    }

    #[test]
    fn what_is_accepted_of_a_mutilated_line_is_valid(
        event in strategies::detected(),
        at in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 0..4),
        cut in 0..4_usize,
    ) {
        let mut line = Vec::new();
        render_event(&mut line, &event, Seq(1), "");
        let at = at.index(line.len());
        let end = line.len().min(at + cut);
        line.splice(at..end, with);
        match parse_line(&line, NOW) {
            Ok(parsed) => {
                let event = parsed.into_event(|| "evt_made".to_owned());
                prop_assert_eq!(event.validate(), Ok(()));
            }
            Err(error) => prop_assert!(!error.to_string().contains(char::is_control), "{error}"),
        }
    }

    #[test]
    fn any_json_value_is_refused_or_becomes_a_valid_event(value in strategies::json_value()) {
        for line in [
            value.to_string(),
            with(&json!({ "metadata": value })),
            with(&json!({ "detected_objects": value })),
            with(&json!({ "detected_objects": [value] })),
            with(&json!({ "x": value })),
            with(&json!({ "image_path": value })),
            with(&json!({ "camera_name": value })),
        ] {
            if let Ok(parsed) = parse(&line) {
                let event = parsed.into_event(|| "evt_made".to_owned());
                prop_assert_eq!(event.validate(), Ok(()));
            }
        }
    }
}

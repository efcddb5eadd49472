//! Bad lines, each with what the operator reads.

use lenslog_events::limits::{
    LINE_BYTES_MAX, LINE_DEPTH_MAX, LINE_VALUES_MAX, METADATA_DEPTH_MAX, OBJECTS_MAX,
};
use lenslog_events::{LineError, parse_line};
use serde_json::json;

use crate::ingest::{NOW, accepted, parse, refused, refused_line, with};

#[test]
fn a_missing_field_is_named() {
    refused_line(
        r#"{"camera_id":"door"}"#,
        "timestamp is missing; expected RFC 3339 with offset, such as 2026-11-23T17:04:05+01:00",
    );
    refused_line(
        r#"{"timestamp":"2026-11-23T17:04:05Z","camera_id":null}"#,
        "camera_id is missing; expected the key of a camera",
    );
    refused(
        &json!({"detected_objects": [{"confidence": 1}]}),
        "detected_objects[0].label is missing; expected text",
    );
    refused(
        &json!({"detected_objects": [{"label": "a", "confidence": 1}, {"label": "a"}]}),
        "detected_objects[1].confidence is missing; expected a number from 0 to 1",
    );
    refused(
        &json!({"detected_objects": [{"label": "a", "confidence": 1, "bbox": {"x": 1}}]}),
        "detected_objects[0].bbox.y is missing; expected a number",
    );
}

#[test]
fn a_time_without_offset_or_out_of_the_years_is_refused() {
    let form = "RFC 3339 with offset, such as 2026-11-23T17:04:05+01:00";
    for text in ["", "yesterday", "2026-11-23T17:04:05", "2026-11-23", "2026-13-01T00:00:00Z"] {
        refused(&json!({ "timestamp": text }), &format!("timestamp is {text:?}; expected {form}"));
    }
    refused(
        &json!({"timestamp": "1969-12-31T23:59:59Z"}),
        "timestamp is 1969-12-31T23:59:59+00:00; expected a time of the years 1970 to 9999, in UTC \
         and in local time",
    );
    refused(
        &json!({"timestamp": "2026-11-23T17:04:05+18:01"}),
        "timestamp is 1081 minutes from UTC; expected at most 18 hours from UTC",
    );
}

#[test]
fn a_time_more_than_a_day_ahead_is_refused() {
    assert!(parse(&with(&json!({"timestamp": "2026-11-24T17:04:05+01:00"}))).is_ok());
    assert!(parse(&with(&json!({"timestamp": "2026-11-25T02:04:05+10:00"}))).is_ok());
    refused(
        &json!({"timestamp": "2026-11-24T18:04:05+01:00"}),
        "timestamp is 2026-11-24T18:04:05+01:00; expected at most 24 hours ahead of the clock \
         (2026-11-23T17:04:05+01:00)",
    );
    refused(
        &json!({"timestamp": "2026-11-24T17:04:05.000001+01:00"}),
        "timestamp is 2026-11-24T17:04:05.000001+01:00; expected at most 24 hours ahead of the \
         clock (2026-11-23T17:04:05+01:00)",
    );
}

#[test]
fn a_field_of_the_wrong_type_is_refused() {
    refused(&json!({"camera_id": 7}), "camera_id is the number 7; expected text");
    refused(&json!({"camera_name": ["a"]}), "camera_name is a list of 1; expected text");
    refused(&json!({"event_id": {}}), "event_id is an object of 0 fields; expected text");
    refused(&json!({"timestamp": 1795449845}), "timestamp is the number 1795449845; expected text");
    refused(
        &json!({"motion_confidence": "0.5"}),
        "motion_confidence is \"0.5\"; expected a number",
    );
    refused(&json!({"llm_description": true}), "llm_description is true; expected text");
    refused(&json!({"image_path": 1}), "image_path is the number 1; expected text");
    refused(&json!({"metadata": [1]}), "metadata is a list of 1; expected a JSON object");
    refused(
        &json!({"detected_objects": {}}),
        "detected_objects is an object of 0 fields; expected a list of objects",
    );
    refused(
        &json!({"detected_objects": ["person"]}),
        "detected_objects[0] is \"person\"; expected an object with label, confidence and bbox",
    );
    refused(
        &json!({"detected_objects": [{"label": "a", "confidence": 1, "bbox": [1, 2, 3, 4]}]}),
        "detected_objects[0].bbox is a list of 4; expected an object with x, y, width and height",
    );
}

#[test]
fn a_number_out_of_range_is_refused() {
    refused(
        &json!({"motion_confidence": 92}),
        "motion_confidence is 92.0; expected a number from 0 to 1",
    );
    let object = |confidence: f64, width: f64| {
        json!({"detected_objects": [{"label": "a", "confidence": confidence,
            "bbox": {"x": 0, "y": 0, "width": width, "height": 0}}]})
    };
    refused(
        &object(-0.01, 0.0),
        "detected_objects[0].confidence is -0.01; expected a number from 0 to 1",
    );
    refused(
        &object(0.0, -1.0),
        "detected_objects[0].bbox.width is -1.0; expected a number from 0 to 1000000",
    );
    refused(
        &object(0.0, 1e300),
        "detected_objects[0].bbox.width is 1e300; expected a number from 0 to 1000000",
    );
}

#[test]
fn a_number_that_no_float_holds_is_refused() {
    for number in ["1e999", "-1e999"] {
        let line = with(&json!({})).replace("\"door\"", &format!("\"door\",\"x\":{number}"));
        let error = parse(&line).unwrap_err();
        let LineError::NotJson { reason, .. } = &error else { panic!("{error}") };
        assert_eq!(reason, "number out of range");
    }
}

#[test]
fn what_is_not_json_is_refused_with_its_column() {
    refused_line("", "not JSON at column 0: EOF while parsing a value");
    refused_line("camera went off", "not JSON at column 1: expected value");
    refused_line(r#"{"a":1"#, "not JSON at column 6: EOF while parsing an object");
    refused_line(r#"{"a":1} {"a":1}"#, "not JSON at column 9: trailing characters");
    refused_line(r#"{"a":NaN}"#, "not JSON at column 6: expected value");
    refused_line(r#"{"a":Infinity}"#, "not JSON at column 6: expected value");
    refused_line(r#"{"a":.5}"#, "not JSON at column 6: expected value");
    refused_line(r#"{'a':1}"#, "not JSON at column 2: key must be a string");
}

#[test]
fn json_that_is_no_object_is_refused() {
    refused_line("[]", "the line is a list of 0; expected a JSON object");
    refused_line("7", "the line is the number 7; expected a JSON object");
    refused_line("null", "the line is null; expected a JSON object");
}

#[test]
fn a_byte_that_is_not_utf8_is_refused_with_its_column() {
    let error = parse_line(b"{\"camera_id\":\"T\xFCr\"}", NOW).unwrap_err();
    assert_eq!(error, LineError::NotUtf8 { column: 16 });
    assert_eq!(error.to_string(), "not UTF-8 at column 16");
    assert!(matches!(parse(r#"{"camera_id":"\ud800"}"#), Err(LineError::NotJson { .. })));
}

#[test]
fn a_raw_control_character_in_a_text_is_refused() {
    for letter in ["\0", "\n", "\u{1b}", "\t"] {
        let error = parse(&with(&json!({})).replace("door", &format!("do{letter}or"))).unwrap_err();
        let LineError::NotJson { reason, .. } = &error else { panic!("{error}") };
        assert!(reason.starts_with("control character"), "{reason}");
    }
}

#[test]
fn an_escaped_control_character_stays_in_free_text_and_is_refused_in_a_name_of_its_own() {
    let free = accepted(&json!({
        "camera_name": "front\ndoor\0", "llm_description": "\u{1b}[31m",
        "detected_objects": [{"label": "per\u{85}son", "confidence": 1}],
    }));
    assert_eq!(free.camera_name.as_deref(), Some("front\ndoor\0"));
    assert_eq!(free.detected_objects[0].label, "per\u{85}son");
    refused(
        &json!({"camera_id": "do\nor\0"}),
        "camera_id is \"do\\nor\\0\"; expected 1 to 128 bytes without control characters",
    );
    refused(
        &json!({"event_id": "evt\n1"}),
        "event_id is \"evt\\n1\"; expected 1 to 128 of [A-Za-z0-9._:-]",
    );
}

#[test]
fn an_event_id_of_another_alphabet_or_length_is_refused() {
    let form = "expected 1 to 128 of [A-Za-z0-9._:-]";
    for id in ["", "evt 1", "evt/1", "évt"] {
        refused(&json!({ "event_id": id }), &format!("event_id is {id:?}; {form}"));
    }
    let long = "x".repeat(129);
    let shown = format!("event_id is \"{}\"… (129 bytes); {form}", "x".repeat(60));
    refused(&json!({ "event_id": long }), &shown);
    assert_eq!(accepted(&json!({"event_id": "x".repeat(128)})).event_id.len(), 128);
}

#[test]
fn a_key_that_occurs_twice_is_refused_at_any_depth() {
    refused_line(
        r#"{"timestamp":"2026-11-23T17:04:05Z","camera_id":"a","camera_id":"b"}"#,
        "the field \"camera_id\" occurs twice",
    );
    let line =
        with(&json!({})).replace("\"door\"", r#""door","metadata":{"a":[{"b\n":1,"b\n":1}]}"#);
    refused_line(&line, "the field \"b\\n\" occurs twice");
}

#[test]
fn a_nesting_bomb_is_refused() {
    refused_line(&"[".repeat(LINE_BYTES_MAX), "the line is nested more than 34 deep");
    refused_line(&"{\"a\":".repeat(100_000), "the line is nested more than 34 deep");
    let nested = |depth: usize| (1..depth).fold(json!(1), |value, _| json!([value]));
    assert!(parse(&with(&json!({"metadata": {"a": nested(METADATA_DEPTH_MAX)}}))).is_ok());
    assert_eq!(
        parse(&with(&json!({"metadata": {"a": nested(METADATA_DEPTH_MAX + 1)}}))),
        Err(LineError::TooDeep)
    );
    refused(
        &json!({"a": nested(LINE_DEPTH_MAX - 1)}),
        "metadata.\"a\" is nested 33 deep; expected at most 32",
    );
}

#[test]
fn a_huge_line_is_refused() {
    let fields = json!({"llm_description": "x".repeat(LINE_BYTES_MAX)});
    assert_eq!(parse(&with(&fields)), Err(LineError::TooLong));
    let padded = format!("{}{}", with(&json!({})), " ".repeat(LINE_BYTES_MAX));
    assert_eq!(parse(&padded[..LINE_BYTES_MAX]).map(|_| ()), Ok(()));
    assert_eq!(parse(&padded[..=LINE_BYTES_MAX]), Err(LineError::TooLong));
    assert_eq!(LineError::TooLong.to_string(), "the line is longer than 1048576 bytes");
}

#[test]
fn a_line_of_very_many_values_is_refused_before_they_take_memory() {
    let line = with(&json!({}))
        .replace("\"door\"", &format!("\"door\",\"x\":[{}0]", "{},".repeat(300_000)));
    let mut error = None;
    let info = allocation_counter::measure(|| error = parse(&line).err());
    assert_eq!(error, Some(LineError::TooManyValues));
    assert!(info.bytes_max < LINE_VALUES_MAX as u64 * 400, "{} bytes", info.bytes_max);
}

#[test]
fn too_long_texts_and_lists_are_refused() {
    let long = "x".repeat(257);
    let shown = format!("camera_name is \"{}\"… (257 bytes); expected 0 to 256 bytes", &long[..60]);
    refused(&json!({ "camera_name": long }), &shown);
    let object = json!({"label": "a", "confidence": 1});
    refused(
        &json!({"detected_objects": vec![object; OBJECTS_MAX + 1]}),
        "detected_objects is a list of 513; expected at most 512",
    );
    refused(
        &json!({"camera_id": ""}),
        "camera_id is \"\"; expected 1 to 128 bytes without control characters",
    );
}

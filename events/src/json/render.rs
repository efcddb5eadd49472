//! Rendering: an event as one JSON object on one line. A pure function of its arguments, byte for byte.

use lenslog_journal::{Seq, Timestamp};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::one_line::OneLine;
use super::time_text::{Precision, TimeText};
use crate::{DescriptionAdded, DetectedObject, EventDetected, Metadata};

/// Whole numbers up to here are exact in an `f64`, and print as integers.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Appends an event as one JSON object to `out`, without an end of line.
///
/// Every field is always there, in a fixed order, `null` where the event has none. Coordinates that are whole
/// numbers print as integers; times have three digits of a second, confidences at most four digits. Nothing in the event
/// can end the line: control characters and the line and paragraph separators of Unicode are escaped. The same arguments give the same bytes, for ever.
///
/// ```
/// use lenslog_events::{EventDetected, Metadata, render_event};
/// use lenslog_journal::{Seq, Timestamp};
///
/// let event = EventDetected {
///     event_id: "evt_1".to_owned(),
///     timestamp: Timestamp { utc_micros: 1_795_449_845_000_000, offset_minutes: 60 },
///     camera_id: "camera_1".to_owned(),
///     camera_name: Some("front door".to_owned()),
///     motion_confidence: Some(0.92),
///     detected_objects: Vec::new(),
///     image_path: None,
///     llm_description: None,
///     description_expected: false,
///     metadata: Metadata::new(),
/// };
/// let mut line = Vec::new();
/// render_event(&mut line, &event, Seq(7), "data/events/2026-11-23/events.json");
/// assert_eq!(
///     String::from_utf8(line).unwrap(),
///     concat!(
///         r#"{"event_id":"evt_1","timestamp":"2026-11-23T17:04:05.000+01:00","camera_id":"camera_1","#,
///         r#""camera_name":"front door","motion_confidence":0.92,"detected_objects":[],"#,
///         r#""llm_description":null,"image_path":null,"#,
///         r#""json_log_path":"data/events/2026-11-23/events.json","metadata":{},"seq":7}"#,
///     )
/// );
/// ```
pub fn render_event(out: &mut Vec<u8>, event: &EventDetected, seq: Seq, json_log_path: &str) {
    render(out, event, seq, json_log_path, Precision::Rounded);
}

/// As [`render_event`], with all that the journal has: times with six digits of a second, confidences with all digits.
/// [`parse_line`](crate::parse_line) makes the same event of it.
pub fn render_event_in_full(
    out: &mut Vec<u8>,
    event: &EventDetected,
    seq: Seq,
    json_log_path: &str,
) {
    render(out, event, seq, json_log_path, Precision::Full);
}

fn render(
    out: &mut Vec<u8>,
    event: &EventDetected,
    seq: Seq,
    json_log_path: &str,
    precision: Precision,
) {
    let line = Line {
        event_id: &event.event_id,
        timestamp: TimeText(event.timestamp, precision),
        camera_id: &event.camera_id,
        camera_name: event.camera_name.as_deref(),
        motion_confidence: event.motion_confidence.map(|value| precision.confidence(value)),
        detected_objects: Objects(&event.detected_objects, precision),
        llm_description: event.llm_description.as_deref(),
        image_path: event.image_path.as_deref(),
        json_log_path,
        metadata: &event.metadata,
        seq: seq.0,
    };
    append(out, &line);
}

impl Precision {
    fn confidence(self, confidence: f64) -> f64 {
        if self == Self::Full { confidence } else { rounded_confidence(confidence) }
    }
}

/// Appends a description that came after its event was written, as one JSON object to `out`, without an end of line.
///
/// `seq` and `amended_at` are those of its record; `event_seq` is that of the event. Every field is
/// always there, in a fixed order, and nothing in it can end the line, as in [`render_event`].
///
/// ```
/// use lenslog_events::{DescriptionAdded, EventRef, render_amendment};
/// use lenslog_journal::{Seq, Timestamp};
///
/// let amended_at = Timestamp { utc_micros: 1_795_449_845_000_000, offset_minutes: 60 };
/// let event =
///     EventRef { event_seq: Seq(7), event_day: amended_at.day(), event_id: "evt_1".to_owned() };
/// let added = DescriptionAdded {
///     event,
///     llm_description: "A cat".to_owned(),
///     model: "llava".to_owned(),
///     duration_ms: 2500,
/// };
/// let mut line = Vec::new();
/// render_amendment(&mut line, &added, Seq(9), amended_at);
/// assert_eq!(
///     String::from_utf8(line).unwrap(),
///     concat!(
///         r#"{"event_id":"evt_1","event_seq":7,"llm_description":"A cat","model":"llava","#,
///         r#""duration_ms":2500,"amended_at":"2026-11-23T17:04:05.000+01:00","seq":9}"#,
///     )
/// );
/// ```
pub fn render_amendment(
    out: &mut Vec<u8>,
    added: &DescriptionAdded,
    seq: Seq,
    amended_at: Timestamp,
) {
    let line = AmendmentLine {
        event_id: &added.event.event_id,
        event_seq: added.event.event_seq.0,
        llm_description: &added.llm_description,
        model: &added.model,
        duration_ms: added.duration_ms,
        amended_at: TimeText(amended_at, Precision::Rounded),
        seq: seq.0,
    };
    append(out, &line);
}

/// A confidence with at most four digits after the point, as projections print it.
///
/// ```
/// assert_eq!(lenslog_events::rounded_confidence(0.912_345_678), 0.9123);
/// ```
#[must_use]
pub fn rounded_confidence(confidence: f64) -> f64 {
    const DIGITS: f64 = 1e4;
    (confidence * DIGITS).round() / DIGITS
}

/// Appends detected objects to `out` as the JSON list that [`render_event`] prints for them.
pub fn render_objects(out: &mut Vec<u8>, objects: &[DetectedObject]) {
    append(out, &Objects(objects, Precision::Rounded));
}

fn append(out: &mut Vec<u8>, value: &impl Serialize) {
    let mut serializer = serde_json::Serializer::with_formatter(out, OneLine);
    let written = value.serialize(&mut serializer);
    debug_assert!(written.is_ok(), "memory takes any text, and every key is one");
}

#[derive(Serialize)]
struct Line<'a> {
    event_id: &'a str,
    timestamp: TimeText,
    camera_id: &'a str,
    camera_name: Option<&'a str>,
    motion_confidence: Option<f64>,
    detected_objects: Objects<'a>,
    llm_description: Option<&'a str>,
    image_path: Option<&'a str>,
    json_log_path: &'a str,
    metadata: &'a Metadata,
    seq: u64,
}

#[derive(Serialize)]
struct AmendmentLine<'a> {
    event_id: &'a str,
    event_seq: u64,
    llm_description: &'a str,
    model: &'a str,
    duration_ms: u64,
    amended_at: TimeText,
    seq: u64,
}

struct Objects<'a>(&'a [DetectedObject], Precision);

impl Serialize for Objects<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for object in self.0 {
            list.serialize_element(&Object {
                label: &object.label,
                confidence: self.1.confidence(object.confidence),
                bbox: Bbox {
                    x: Coordinate(object.bbox.x),
                    y: Coordinate(object.bbox.y),
                    width: Coordinate(object.bbox.width),
                    height: Coordinate(object.bbox.height),
                },
            })?;
        }
        list.end()
    }
}

#[derive(Serialize)]
struct Object<'a> {
    label: &'a str,
    confidence: f64,
    bbox: Bbox,
}

#[derive(Serialize)]
struct Bbox {
    x: Coordinate,
    y: Coordinate,
    width: Coordinate,
    height: Coordinate,
}

struct Coordinate(f64);

impl Serialize for Coordinate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() <= WHOLE_MAX {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BoundingBox;

    fn objects(bbox: BoundingBox, confidence: f64) -> String {
        let mut out = Vec::new();
        render_objects(&mut out, &[DetectedObject { label: "cat".to_owned(), confidence, bbox }]);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn whole_coordinates_print_as_integers() {
        let bbox = BoundingBox { x: 12.0, y: -3.0, width: 100.5, height: -0.0 };
        assert_eq!(
            objects(bbox, 1.0),
            r#"[{"label":"cat","confidence":1.0,"bbox":{"x":12,"y":-3,"width":100.5,"height":0}}]"#
        );
    }

    #[test]
    fn numbers_that_json_does_not_have_print_as_null() {
        let bbox = BoundingBox { x: f64::NAN, y: f64::INFINITY, width: 1e300, height: 0.0 };
        assert_eq!(
            objects(bbox, f64::NAN),
            r#"[{"label":"cat","confidence":null,"bbox":{"x":null,"y":null,"width":1e+300,"height":0}}]"#
        );
    }

    #[test]
    fn rendering_appends_to_what_is_there() {
        let mut out = b"before".to_vec();
        render_objects(&mut out, &[]);
        assert_eq!(out, b"before[]");
    }
}

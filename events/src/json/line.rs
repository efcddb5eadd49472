//! Parsing: one line of `lenslog ingest`, another detector's or one of our own, into an event.

use chrono::DateTime;
use lenslog_journal::Timestamp;
use serde_json::{Map, Value};

use super::line_error::LineError;
use super::strict::{self, StrictError};
use super::unknown::Unknown;
use crate::invalid::{shown, shown_value};
use crate::limits::{FUTURE_HOURS_MAX, LINE_BYTES_MAX, LINE_DEPTH_MAX, LINE_VALUES_MAX};
use crate::validate::event_id;
use crate::{BoundingBox, DetectedObject, EventDetected, InvalidEvent, Metadata, parse_image_path};

const MICROS_PER_HOUR: i64 = 3_600_000_000;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// An event that came in as a line, valid but perhaps without a name yet.
#[derive(Debug, Clone, PartialEq)]
pub struct IngestedLine {
    event: EventDetected,
    has_event_id: bool,
    unknown_fields: Vec<String>,
}

impl IngestedLine {
    /// The event_id, where the line gave one.
    #[must_use]
    pub fn event_id(&self) -> Option<&str> {
        self.has_event_id.then_some(self.event.event_id.as_str())
    }

    /// The fields that this program has no place for, each once, ready to print. Their values are in the
    /// metadata.
    ///
    /// Names come from the input: who remembers them to warn only once bounds how many.
    #[must_use]
    pub fn unknown_fields(&self) -> &[String] {
        &self.unknown_fields
    }

    /// The event, named by `make_event_id` where the line gave no event_id.
    #[must_use]
    pub fn into_event(self, make_event_id: impl FnOnce() -> String) -> EventDetected {
        let mut event = self.event;
        if !self.has_event_id {
            event.event_id = make_event_id();
        }
        event
    }
}

/// Parses one line of `lenslog ingest`, without its end. `now` is what the clock shows.
///
/// Required are `timestamp` (RFC 3339 with offset; what is finer than a microsecond is cut) and `camera_id`.
/// Optional, and absent where `null`: `event_id`, `camera_name`, `motion_confidence`, `detected_objects` (each
/// with `label` and `confidence`; without `bbox` the box is empty), `llm_description`, `image_path`, `metadata`.
/// `seq` and `json_log_path` are ignored, so a line of our own events.json gives the event again. No
/// description is expected for an ingested event.
///
/// Any other field is kept in the metadata under its name and reported by
/// [`unknown_fields`](IngestedLine::unknown_fields): unknown fields of the objects as the list
/// `detected_objects` there, with `null` for an object that has none. So is an `image_path` that does not have
/// the form of [`parse_image_path`]: the event matters more than where another system keeps its picture, and
/// only paths of our own form are ever opened or deleted. Numbers of the metadata beyond 64-bit integers are
/// kept as the nearest `f64`.
///
/// ```
/// use lenslog_events::parse_line;
/// use lenslog_journal::Timestamp;
///
/// let now = Timestamp { utc_micros: 1_800_000_000_000_000, offset_minutes: 0 };
/// let line = br#"{"timestamp":"2026-11-23T17:04:05+01:00","camera_id":"door","zone":"porch"}"#;
/// let parsed = parse_line(line, now)?;
/// assert_eq!(parsed.event_id(), None);
/// assert_eq!(parsed.unknown_fields(), ["zone"]);
/// let event = parsed.into_event(|| "evt_1".to_owned());
/// assert_eq!(event.metadata["zone"], "porch");
///
/// let error = parse_line(br#"{"timestamp":"yesterday","camera_id":"door"}"#, now).unwrap_err();
/// assert_eq!(
///     format!("line 17: {error}"),
///     "line 17: timestamp is \"yesterday\"; expected RFC 3339 with offset, such as \
///      2026-11-23T17:04:05+01:00"
/// );
/// # Ok::<(), lenslog_events::LineError>(())
/// ```
///
/// # Errors
///
/// [`LineError`]: the line is too long, no JSON object, lacks a field, or holds one that is not what it must
/// be. Duplicate keys are an error at any depth.
pub fn parse_line(line: &[u8], now: Timestamp) -> Result<IngestedLine, LineError> {
    let mut fields = Fields(parse_object(line)?);
    fields.0.remove("seq");
    fields.0.remove("json_log_path");
    let mut unknown = Unknown::default();
    let supplied_id = fields.text("event_id")?;
    let timestamp = timestamp(&mut fields, now)?;
    let camera_id = "the key of a camera";
    let camera_id = fields.text("camera_id")?.ok_or_else(|| missing("camera_id", camera_id))?;
    let event = EventDetected {
        event_id: String::new(),
        timestamp,
        camera_id,
        camera_name: fields.text("camera_name")?,
        motion_confidence: fields.number("motion_confidence")?,
        detected_objects: objects(&mut fields, &mut unknown)?,
        image_path: image_path(&mut fields, &mut unknown)?,
        llm_description: fields.text("llm_description")?,
        description_expected: false,
        metadata: metadata(&mut fields)?,
    };
    for (name, value) in fields.0 {
        unknown.keep(name, value);
    }
    finish(event, supplied_id, unknown)
}

fn finish(
    mut event: EventDetected,
    supplied_id: Option<String>,
    unknown: Unknown,
) -> Result<IngestedLine, LineError> {
    let unknown_fields = unknown.merge_into(&mut event.metadata)?;
    let has_event_id = supplied_id.is_some();
    if let Some(id) = supplied_id {
        event_id(&id)?;
        event.event_id = id;
    }
    event.validate_all_but_id()?;
    Ok(IngestedLine { event, has_event_id, unknown_fields })
}

fn parse_object(line: &[u8]) -> Result<Map<String, Value>, LineError> {
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    if line.len() > LINE_BYTES_MAX {
        return Err(LineError::TooLong);
    }
    let text = std::str::from_utf8(line)
        .map_err(|error| LineError::NotUtf8 { column: error.valid_up_to() + 1 })?;
    let mut budget = strict::Budget { values: LINE_VALUES_MAX, depth: LINE_DEPTH_MAX };
    match strict::parse(text, &mut budget)? {
        Value::Object(fields) => Ok(fields),
        other => Err(LineError::NotAnObject { found: shown_value(&other) }),
    }
}

impl From<StrictError> for LineError {
    fn from(error: StrictError) -> Self {
        match error {
            StrictError::Syntax { column, reason } => Self::NotJson { column, reason },
            StrictError::DuplicateKey { name } => Self::DuplicateField { field: shown(&name) },
            StrictError::TooManyValues => Self::TooManyValues,
            StrictError::TooDeep => Self::TooDeep,
        }
    }
}

fn timestamp(fields: &mut Fields, now: Timestamp) -> Result<Timestamp, LineError> {
    let expected = "RFC 3339 with offset, such as 2026-11-23T17:04:05+01:00";
    let text = fields.text("timestamp")?.ok_or_else(|| missing("timestamp", expected))?;
    let time = DateTime::parse_from_rfc3339(&text)
        .map_err(|_| InvalidEvent::new("timestamp", shown(&text), expected))?;
    let time = Timestamp::from_local(time);
    let latest_micros = now.utc_micros.saturating_add(FUTURE_HOURS_MAX * MICROS_PER_HOUR);
    if time.utc_micros > latest_micros {
        return Err(LineError::InTheFuture { found: time, now });
    }
    Ok(time)
}

fn image_path(fields: &mut Fields, unknown: &mut Unknown) -> Result<Option<String>, LineError> {
    let Some(path) = fields.text("image_path")? else {
        return Ok(None);
    };
    if parse_image_path(&path).is_some() {
        return Ok(Some(path));
    }
    unknown.keep("image_path".to_owned(), Value::String(path));
    Ok(None)
}

fn metadata(fields: &mut Fields) -> Result<Metadata, LineError> {
    match fields.take("metadata") {
        None => Ok(Metadata::new()),
        Some(Value::Object(metadata)) => Ok(metadata),
        Some(other) => Err(wrong_type("metadata", &other, "a JSON object")),
    }
}

fn objects(fields: &mut Fields, unknown: &mut Unknown) -> Result<Vec<DetectedObject>, LineError> {
    const FIELD: &str = "detected_objects";
    let list = match fields.take(FIELD) {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong_type(FIELD, &other, "a list of objects")),
    };
    let mut objects = Vec::with_capacity(list.len());
    let mut rests = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        let path = format!("{FIELD}[{index}]");
        let (object, rest) = object(&path, value)?;
        objects.push(object);
        rests.push(rest);
    }
    if rests.iter().any(|rest| !rest.is_null()) {
        note_rests(&rests, unknown);
        unknown.keep_unnamed(FIELD, Value::Array(rests));
    }
    Ok(objects)
}

/// Notes the names in what is left of the objects, without their indices: one warning a name is meant.
fn note_rests(rests: &[Value], unknown: &mut Unknown) {
    for (name, value) in rests.iter().filter_map(Value::as_object).flatten() {
        match value.as_object() {
            Some(rest_of_box) if name == "bbox" => {
                for name in rest_of_box.keys() {
                    unknown.note(&format!("detected_objects[].bbox.{name}"));
                }
            }
            _ => unknown.note(&format!("detected_objects[].{name}")),
        }
    }
}

/// One object and, as an object or `null`, those of its fields that are unknown.
fn object(path: &str, value: Value) -> Result<(DetectedObject, Value), LineError> {
    let Value::Object(fields) = value else {
        return Err(wrong_type(path, &value, "an object with label, confidence and bbox"));
    };
    let mut fields = Fields(fields);
    let at = |name: &str| format!("{path}.{name}");
    let label = fields.text_at("label", &at)?.ok_or_else(|| missing(&at("label"), "text"))?;
    let confidence = fields
        .number_at("confidence", &at)?
        .ok_or_else(|| missing(&at("confidence"), "a number from 0 to 1"))?;
    let (bbox, rest_of_box) = match fields.take("bbox") {
        None => (BoundingBox::default(), None),
        Some(value) => bounding_box(&at("bbox"), value)?,
    };
    if let Some(rest) = rest_of_box {
        fields.0.insert("bbox".to_owned(), rest);
    }
    let rest = if fields.0.is_empty() { Value::Null } else { Value::Object(fields.0) };
    Ok((DetectedObject { label, confidence, bbox }, rest))
}

fn bounding_box(path: &str, value: Value) -> Result<(BoundingBox, Option<Value>), LineError> {
    let Value::Object(fields) = value else {
        return Err(wrong_type(path, &value, "an object with x, y, width and height"));
    };
    let mut fields = Fields(fields);
    let at = |name: &str| format!("{path}.{name}");
    let mut side =
        |name: &str| fields.number_at(name, &at)?.ok_or_else(|| missing(&at(name), "a number"));
    let bbox = BoundingBox {
        x: side("x")?,
        y: side("y")?,
        width: side("width")?,
        height: side("height")?,
    };
    Ok((bbox, (!fields.0.is_empty()).then_some(Value::Object(fields.0))))
}

/// The fields of a JSON object that have not been taken yet.
struct Fields(Map<String, Value>);

impl Fields {
    /// Takes a field out; `None` where it is absent or `null`.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, LineError> {
        self.text_at(name, &str::to_owned)
    }

    fn text_at(
        &mut self,
        name: &str,
        path: &impl Fn(&str) -> String,
    ) -> Result<Option<String>, LineError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(&path(name), &other, "text")),
        }
    }

    fn number(&mut self, name: &str) -> Result<Option<f64>, LineError> {
        self.number_at(name, &str::to_owned)
    }

    fn number_at(
        &mut self,
        name: &str,
        path: &impl Fn(&str) -> String,
    ) -> Result<Option<f64>, LineError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => Err(wrong_type(&path(name), &value, "a number")),
        }
    }
}

fn missing(field: &str, expected: &str) -> LineError {
    LineError::Missing { field: field.to_owned(), expected: expected.to_owned() }
}

fn wrong_type(field: &str, found: &Value, expected: &str) -> LineError {
    InvalidEvent::new(field, shown_value(found), expected).into()
}

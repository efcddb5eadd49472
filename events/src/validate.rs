//! Whether an event keeps the limits of [`limits`](crate::limits): pure checks, one for each sort of field.
//!
//! Free text (names, labels, descriptions, reasons) may hold any character: code that prints it escapes it.
//! Identifiers may not: event_id has a fixed alphabet, camera_id and image_path have no control characters.

use std::fmt::Arguments;
use std::ops::RangeInclusive;

use chrono::DateTime;
use lenslog_journal::{Seq, Timestamp};

use crate::invalid::{InvalidEvent, shown};
use crate::limits::{
    CAMERA_ID_BYTES_MAX, CAMERA_NAME_BYTES_MAX, CAMERAS_MAX, COORDINATE_MAX, DELIVERY_BYTES_MAX,
    DESCRIPTION_BYTES_MAX, EVENT_ID_BYTES_MAX, LABEL_BYTES_MAX, METADATA_BYTES_MAX,
    METADATA_DEPTH_MAX, METADATA_FIELDS_MAX, METADATA_NAME_BYTES_MAX, METADATA_VALUES_MAX,
    MODEL_BYTES_MAX, MOTION_PERCENT_MAX, OBJECTS_MAX, OFFSET_MINUTES_MAX, REASON_BYTES_MAX,
    SUPPRESSED_MAX, SUPPRESSED_REASON_BYTES_MAX, TIME_MICROS_MAX, TIME_MICROS_MIN,
    TIME_ZONE_BYTES_MAX, VERSION_BYTES_MAX,
};
use crate::{
    CameraMinute, DescriptionAdded, DetectedObject, Event, EventDetected, EventRef, Metadata,
    RecorderStarted, parse_image_path,
};

type Check = Result<(), InvalidEvent>;

impl Event {
    /// Checks every field against its limit.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent`] names the first field that is beyond its limit, what it holds and what it may hold.
    pub fn validate(&self) -> Result<(), InvalidEvent> {
        match self {
            Self::Detected(event) => event.validate(),
            Self::Ended(event) => {
                event_ref(&event.event)?;
                time(format_args!("last_seen"), event.last_seen)
            }
            Self::CameraMinute(event) => camera_minute(event),
            Self::CameraLost(event) => {
                camera_id(format_args!("camera_id"), &event.camera_id)?;
                time(format_args!("at"), event.at)?;
                reason(&event.reason)
            }
            Self::CameraFound(event) => {
                camera_id(format_args!("camera_id"), &event.camera_id)?;
                time(format_args!("at"), event.at)
            }
            Self::DetectorFailed(event) => {
                optional(&event.camera_id, |id| camera_id(format_args!("camera_id"), id))?;
                time(format_args!("at"), event.at)?;
                reason(&event.reason)
            }
            Self::DescriptionAdded(event) => description_added(event),
            Self::DescriptionDeferred(event) => event_ref(&event.event),
            Self::DescriptionFailed(event) => {
                event_ref(&event.event)?;
                reason(&event.reason)
            }
            Self::ImagePurged(event) => {
                event_ref(&event.event)?;
                image_path(&event.image_path)
            }
            Self::RecorderStarted(event) => recorder_started(event),
            Self::RecorderStopped(event) => {
                time(format_args!("at"), event.at)?;
                reason(&event.reason)
            }
            Self::StorageWarning(event) => time(format_args!("at"), event.at),
            Self::DeliveryFailed(event) => {
                text(format_args!("delivery"), &event.delivery, 1..=DELIVERY_BYTES_MAX)?;
                time(format_args!("at"), event.at)?;
                optional(&event.reason, |why| reason(why))
            }
        }
    }
}

impl EventDetected {
    /// Checks every field against its limit.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent`] names the first field that is beyond its limit, what it holds and what it may hold.
    pub fn validate(&self) -> Result<(), InvalidEvent> {
        event_id(&self.event_id)?;
        self.validate_all_but_id()
    }

    /// The checks of [`validate`](Self::validate) for an event that has yet to get its event_id.
    pub(crate) fn validate_all_but_id(&self) -> Check {
        time(format_args!("timestamp"), self.timestamp)?;
        camera_id(format_args!("camera_id"), &self.camera_id)?;
        optional(&self.camera_name, |name| {
            text(format_args!("camera_name"), name, 0..=CAMERA_NAME_BYTES_MAX)
        })?;
        if let Some(confidence) = self.motion_confidence {
            number(format_args!("motion_confidence"), confidence, 0.0..=1.0)?;
        }
        count(format_args!("detected_objects"), self.detected_objects.len(), OBJECTS_MAX)?;
        for (index, each) in self.detected_objects.iter().enumerate() {
            object(index, each)?;
        }
        optional(&self.image_path, |path| image_path(path))?;
        optional(&self.llm_description, |description| {
            text(format_args!("llm_description"), description, 0..=DESCRIPTION_BYTES_MAX)
        })?;
        metadata(&self.metadata)
    }
}

fn camera_minute(event: &CameraMinute) -> Check {
    camera_id(format_args!("camera_id"), &event.camera_id)?;
    time(format_args!("minute"), event.minute)?;
    number(format_args!("max_motion"), event.max_motion, 0.0..=MOTION_PERCENT_MAX)?;
    optional(&event.best_label, |label| {
        text(format_args!("best_label"), label, 1..=LABEL_BYTES_MAX)
    })?;
    if let Some(confidence) = event.best_confidence {
        number(format_args!("best_confidence"), confidence, 0.0..=1.0)?;
    }
    count(format_args!("suppressed"), event.suppressed.len(), SUPPRESSED_MAX)?;
    for (index, each) in event.suppressed.iter().enumerate() {
        let field = format_args!("suppressed[{index}].reason");
        text(field, &each.reason, 1..=SUPPRESSED_REASON_BYTES_MAX)?;
    }
    Ok(())
}

fn description_added(event: &DescriptionAdded) -> Check {
    event_ref(&event.event)?;
    let description = &event.llm_description;
    text(format_args!("llm_description"), description, 0..=DESCRIPTION_BYTES_MAX)?;
    text(format_args!("model"), &event.model, 0..=MODEL_BYTES_MAX)
}

fn recorder_started(event: &RecorderStarted) -> Check {
    time(format_args!("at"), event.at)?;
    text(format_args!("version"), &event.version, 0..=VERSION_BYTES_MAX)?;
    text(format_args!("time_zone"), &event.time_zone, 0..=TIME_ZONE_BYTES_MAX)?;
    count(format_args!("cameras"), event.cameras.len(), CAMERAS_MAX)?;
    for (index, each) in event.cameras.iter().enumerate() {
        camera_id(format_args!("cameras[{index}]"), each)?;
    }
    Ok(())
}

fn object(index: usize, object: &DetectedObject) -> Check {
    let field = format_args!("detected_objects[{index}].label");
    text(field, &object.label, 1..=LABEL_BYTES_MAX)?;
    let field = format_args!("detected_objects[{index}].confidence");
    number(field, object.confidence, 0.0..=1.0)?;
    let bbox = &object.bbox;
    for (name, value, least) in [
        ("x", bbox.x, -COORDINATE_MAX),
        ("y", bbox.y, -COORDINATE_MAX),
        ("width", bbox.width, 0.0),
        ("height", bbox.height, 0.0),
    ] {
        let field = format_args!("detected_objects[{index}].bbox.{name}");
        number(field, value, least..=COORDINATE_MAX)?;
    }
    Ok(())
}

fn metadata(metadata: &Metadata) -> Check {
    count(format_args!("metadata"), metadata.len(), METADATA_FIELDS_MAX)?;
    let mut bytes = 0_usize;
    let mut values = 0_usize;
    for (name, value) in metadata {
        text(
            format_args!("the name {} in metadata", shown(name)),
            name,
            0..=METADATA_NAME_BYTES_MAX,
        )?;
        let size = size_of_value(value);
        if size.depth > METADATA_DEPTH_MAX {
            let found = format!("nested {} deep", size.depth);
            let expected = format!("at most {METADATA_DEPTH_MAX}");
            return Err(InvalidEvent::new(format_args!("metadata.{name:?}"), found, expected));
        }
        values = values.saturating_add(size.values);
        bytes = bytes.saturating_add(name.len()).saturating_add(text_bytes(value));
    }
    if values > METADATA_VALUES_MAX {
        let expected = format!("at most {METADATA_VALUES_MAX}");
        return Err(InvalidEvent::new("metadata", format!("{values} values"), expected));
    }
    if bytes > METADATA_BYTES_MAX {
        let expected = format!("at most {METADATA_BYTES_MAX}");
        return Err(InvalidEvent::new("metadata", format!("{bytes} bytes"), expected));
    }
    Ok(())
}

struct ValueSize {
    depth: usize,
    values: usize,
}

fn size_of_value(value: &serde_json::Value) -> ValueSize {
    let around = |inner: &mut dyn Iterator<Item = &serde_json::Value>| {
        let mut size = ValueSize { depth: 1, values: 1 };
        for each in inner {
            let each = size_of_value(each);
            size.depth = size.depth.max(each.depth + 1);
            size.values += each.values;
        }
        size
    };
    match value {
        serde_json::Value::Array(list) => around(&mut list.iter()),
        serde_json::Value::Object(fields) => around(&mut fields.values()),
        _ => ValueSize { depth: 1, values: 1 },
    }
}

/// Length of the compact JSON text of `value`.
fn text_bytes(value: &serde_json::Value) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    let counted = serde_json::to_writer(&mut counter, value);
    debug_assert!(counted.is_ok(), "a JSON value always has a text");
    counter.0
}

fn event_ref(event: &EventRef) -> Check {
    if event.event_seq < Seq::FIRST {
        return Err(InvalidEvent::new("event_seq", event.event_seq.to_string(), "1 or more"));
    }
    if !event.event_day.is_valid() {
        let found = format!("{} days from 1970-01-01", event.event_day.0);
        return Err(InvalidEvent::new("event_day", found, "a day of the years 0000 to 9999"));
    }
    event_id(&event.event_id)
}

pub(crate) fn event_id(id: &str) -> Check {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if id.is_empty() || id.len() > EVENT_ID_BYTES_MAX || !id.bytes().all(allowed) {
        let expected = format!("1 to {EVENT_ID_BYTES_MAX} of [A-Za-z0-9._:-]");
        return Err(InvalidEvent::new("event_id", shown(id), expected));
    }
    Ok(())
}

fn camera_id(field: Arguments<'_>, id: &str) -> Check {
    if id.is_empty() || id.len() > CAMERA_ID_BYTES_MAX || id.chars().any(char::is_control) {
        let expected = format!("1 to {CAMERA_ID_BYTES_MAX} bytes without control characters");
        return Err(InvalidEvent::new(field, shown(id), expected));
    }
    Ok(())
}

fn image_path(path: &str) -> Check {
    if parse_image_path(path).is_none() {
        let expected = "data/events/YYYY-MM-DD/FILE, where FILE is the name of a picture";
        return Err(InvalidEvent::new("image_path", shown(path), expected));
    }
    Ok(())
}

fn reason(reason: &str) -> Check {
    text(format_args!("reason"), reason, 0..=REASON_BYTES_MAX)
}

fn text(field: Arguments<'_>, text: &str, bytes: RangeInclusive<usize>) -> Check {
    if bytes.contains(&text.len()) {
        return Ok(());
    }
    let expected = format!("{} to {} bytes", bytes.start(), bytes.end());
    Err(InvalidEvent::new(field, shown(text), expected))
}

fn number(field: Arguments<'_>, number: f64, range: RangeInclusive<f64>) -> Check {
    // NaN is in no range.
    if range.contains(&number) {
        return Ok(());
    }
    let expected = format!("a number from {} to {}", range.start(), range.end());
    Err(InvalidEvent::new(field, format!("{number:?}"), expected))
}

fn count(field: Arguments<'_>, found: usize, max: usize) -> Check {
    if found <= max {
        return Ok(());
    }
    Err(InvalidEvent::new(field, format!("a list of {found}"), format!("at most {max}")))
}

fn time(field: Arguments<'_>, time: Timestamp) -> Check {
    let offsets = -OFFSET_MINUTES_MAX..=OFFSET_MINUTES_MAX;
    if !offsets.contains(&time.offset_minutes) {
        let found = format!("{} minutes from UTC", time.offset_minutes);
        let expected = format!("at most {} hours from UTC", OFFSET_MINUTES_MAX / 60);
        return Err(InvalidEvent::new(field, found, expected));
    }
    let local = time.utc_micros.saturating_add(i64::from(time.offset_minutes) * 60_000_000);
    let years = TIME_MICROS_MIN..=TIME_MICROS_MAX;
    if !years.contains(&time.utc_micros) || !years.contains(&local) {
        let printable = DateTime::from_timestamp_micros(time.utc_micros).is_some();
        let micros = || format!("{} µs from 1970-01-01T00:00:00Z", time.utc_micros);
        let found = if printable { time.to_string() } else { micros() };
        let expected = "a time of the years 1970 to 9999, in UTC and in local time";
        return Err(InvalidEvent::new(field, found, expected));
    }
    Ok(())
}

fn optional<T>(value: &Option<T>, check: impl FnOnce(&T) -> Check) -> Check {
    value.as_ref().map_or(Ok(()), check)
}

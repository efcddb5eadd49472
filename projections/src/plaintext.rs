//! [`Plaintext`]: `events.log` in the directory of each local day, for people to read.
//!
//! ```text
//! [2025-11-08 14:32:15] EVENT: Person detected at front door (confidence: 92%)
//!   - Objects: person (92%), package (87%)
//!   - Description: Person in blue shirt carrying brown package approaching front door
//!   - Image: data/events/2025-11-08/evt_12345.jpg
//!
//! [2025-11-08 14:33:02] EVENT: Motion detected at garden
//!
//! [2025-11-08 14:34:40] DESCRIPTION: evt_12345: Person in blue shirt carrying brown package
//! ```
//!
//! Times are local, where and when it was seen. What an event lacks has no line. A description that comes after its
//! event was written is one line that names the event, in the event's day, with the time it came.
//!
//! No text in an event can end a line, hide one or change the direction of it: see `plain_text`.

mod plain_text;

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use chrono::{Datelike, Timelike};
use lenslog_engine::Recorded;
use lenslog_events::{DescriptionAdded, DetectedObject, Event, EventDetected};
use lenslog_journal::storage::Storage;
use lenslog_journal::{Seq, Timestamp};

use crate::day_files::{DayFiles, Format};
use plain_text::{push_capitalised, push_text};

/// How every line of an event after the first begins.
const DETAIL: &[u8] = b"  - ";
const DESCRIPTION: &[u8] = b"  - Description: ";

/// The projection "plaintext" below a data directory, which must exist. Nothing is opened yet. With `metadata` every
/// event has a line with frame number, inference time and whatever else is known of it.
#[must_use]
pub fn plaintext(storage: Arc<dyn Storage>, data: &Path, metadata: bool) -> DayFiles<Plaintext> {
    DayFiles::new(storage, data, Plaintext { metadata })
}

/// An event as `events.log` shows it, without the line of metadata; ends with the end of its last line.
///
/// ```
/// use lenslog_events::{EventDetected, Metadata};
/// use lenslog_journal::Timestamp;
///
/// let event = EventDetected {
///     event_id: "evt_1".to_owned(),
///     timestamp: Timestamp { utc_micros: 1_762_612_335_000_000, offset_minutes: -60 },
///     camera_id: "camera_1".to_owned(),
///     camera_name: Some("front door".to_owned()),
///     motion_confidence: Some(0.5),
///     detected_objects: Vec::new(),
///     image_path: None,
///     llm_description: None,
///     description_expected: false,
///     metadata: Metadata::new(),
/// };
/// assert_eq!(
///     lenslog_projections::plaintext_block(&event),
///     "[2025-11-08 13:32:15] EVENT: Motion detected at front door (confidence: 50%)\n"
/// );
/// ```
#[must_use]
pub fn plaintext_block(event: &EventDetected) -> String {
    let mut out = Vec::new();
    push_event(&mut out, event, false);
    String::from_utf8_lossy(&out).into_owned()
}

/// A few lines an event.
#[derive(Debug, Clone, Default)]
pub struct Plaintext {
    /// Every event has a line with its metadata.
    pub metadata: bool,
}

impl Format for Plaintext {
    const NAME: &'static str = "plaintext";
    const VERSION: u32 = 1;
    const FILES: &'static [&'static str] = &["events.log"];
    const AMENDMENTS: usize = 0;
    const SEPARATOR: &'static [u8] = b"\n";

    fn options(&self) -> String {
        format!("metadata={}", self.metadata)
    }

    fn event(&mut self, out: &mut Vec<u8>, event: &EventDetected, _seq: Seq) {
        push_event(out, event, self.metadata);
    }

    fn amendment(&mut self, out: &mut Vec<u8>, added: &DescriptionAdded, record: &Recorded<Event>) {
        push_time(out, record.time);
        out.extend_from_slice(b" DESCRIPTION: ");
        push_text(out, &added.event.event_id);
        out.extend_from_slice(b": ");
        push_text(out, &added.llm_description);
        out.push(b'\n');
    }

    fn entries(bytes: &[u8]) -> Vec<&[u8]> {
        let mut entries = Vec::new();
        let (mut start, mut end) = (None, 0);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let begin = end;
            end += line.len();
            if start.is_some() && is_detail(line) {
                continue;
            }
            if let Some(start) = start.take() {
                entries.push(&bytes[start..begin]);
            }
            if is_first(line) {
                start = Some(begin);
            }
        }
        entries.extend(start.map(|start| &bytes[start..end]));
        entries
    }

    fn key(entry: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        let lines = entry.split_inclusive(|byte| *byte == b'\n');
        lines.filter(|line| !line.starts_with(DESCRIPTION)).for_each(|line| line.hash(&mut hasher));
        hasher.finish()
    }
}

/// Whether this is the whole first line of an entry.
fn is_first(line: &[u8]) -> bool {
    let behind_time = |text: &str| {
        let (time, rest) = text.strip_prefix('[')?.split_once("] ")?;
        let is_time = time.bytes().all(|byte| byte.is_ascii_digit() || b" :-".contains(&byte));
        (is_time && (rest.starts_with("EVENT: ") || rest.starts_with("DESCRIPTION: ")))
            .then_some(())
    };
    whole_line(line).and_then(behind_time).is_some()
}

fn is_detail(line: &[u8]) -> bool {
    line.starts_with(DETAIL) && whole_line(line).is_some()
}

/// A line as it was written: with its end, without anything that is never written.
fn whole_line(line: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

fn push_event(out: &mut Vec<u8>, event: &EventDetected, with_metadata: bool) {
    let mut objects: Vec<&DetectedObject> = event.detected_objects.iter().collect();
    objects.sort_by(|one, other| by_confidence(other, one));
    push_time(out, event.timestamp);
    out.extend_from_slice(b" EVENT: ");
    let (label, confidence) = match objects.first() {
        Some(best) => (best.label.as_str(), Some(best.confidence)),
        None => ("motion", event.motion_confidence),
    };
    push_capitalised(out, label);
    out.extend_from_slice(b" detected at ");
    push_text(out, place(event));
    if let Some(percent) = confidence.and_then(percent) {
        push(out, format_args!(" (confidence: {percent}%)"));
    }
    out.push(b'\n');
    push_objects(out, &objects);
    if let Some(description) = event.llm_description.as_deref()
        && !description.trim().is_empty()
    {
        out.extend_from_slice(DESCRIPTION);
        push_text(out, description);
        out.push(b'\n');
    }
    if let Some(path) = &event.image_path {
        out.extend_from_slice(b"  - Image: ");
        push_text(out, path);
        out.push(b'\n');
    }
    if with_metadata && !event.metadata.is_empty() {
        push_metadata(out, event);
    }
}

/// The camera's name as it was journaled with the event; its id where it has none.
fn place(event: &EventDetected) -> &str {
    let name = event.camera_name.as_deref().filter(|name| !name.trim().is_empty());
    name.unwrap_or(&event.camera_id)
}

fn push_objects(out: &mut Vec<u8>, objects: &[&DetectedObject]) {
    for (index, object) in objects.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"  - Objects: " } else { b", " });
        push_text(out, &object.label);
        if let Some(percent) = percent(object.confidence) {
            push(out, format_args!(" ({percent}%)"));
        }
    }
    if !objects.is_empty() {
        out.push(b'\n');
    }
}

fn push_metadata(out: &mut Vec<u8>, event: &EventDetected) {
    for (index, (name, value)) in event.metadata.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"  - Metadata: " } else { b", " });
        push_text(out, name);
        out.push(b'=');
        match value {
            serde_json::Value::String(text) => push_text(out, text),
            other => push_text(out, &other.to_string()),
        }
    }
    out.push(b'\n');
}

/// What is no number comes last.
fn by_confidence(one: &DetectedObject, other: &DetectedObject) -> Ordering {
    let number = |object: &DetectedObject| match object.confidence {
        number if number.is_nan() => f64::NEG_INFINITY,
        number => number,
    };
    number(one).total_cmp(&number(other))
}

/// Whole per cent; `None` for what is no number.
fn percent(fraction: f64) -> Option<i64> {
    fraction.is_finite().then(|| (fraction * 100.0).round() as i64)
}

/// `[2025-11-08 14:32:15]`, in the time's own offset.
fn push_time(out: &mut Vec<u8>, time: Timestamp) {
    let local = time.to_local();
    out.push(b'[');
    push_number(out, local.year(), 4);
    for (separator, number) in [
        (b'-', local.month()),
        (b'-', local.day()),
        (b' ', local.hour()),
        (b':', local.minute()),
        (b':', local.second()),
    ] {
        out.push(separator);
        push_number(out, number as i32, 2);
    }
    out.push(b']');
}

/// Digits without the machinery of `format!`, which takes most of the time of a rebuild.
fn push_number(out: &mut Vec<u8>, number: i32, digits: u32) {
    if !(0..10_i32.pow(digits)).contains(&number) {
        push(out, format_args!("{number}"));
        return;
    }
    for place in (0..digits).rev() {
        out.push(b'0' + (number / 10_i32.pow(place) % 10) as u8);
    }
}

fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = std::io::Write::write_fmt(out, text);
}

#[cfg(test)]
mod tests;

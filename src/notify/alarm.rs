//! [`Alarm`]: what is said of an event, as JSON and as text for people.
//!
//! Labels, names and sentences may be any text, since events are ingested too: whatever leaves here for a place that gives
//! characters a meaning goes through [`plain`] first.

use std::fmt::Write;

use lenslog_events::{EventDetected, render_event_in_full};
use lenslog_journal::Seq;

/// Characters of a text for people.
const TEXT_CHARS_MAX: usize = 300;

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// The id of the message: the same for every attempt.
    pub id: String,
    /// The event, as one line of JSON.
    pub event: String,
    /// What it is: `event.detected`, or `event.late` after an outage.
    pub kind: &'static str,
    /// The event's id.
    pub event_id: String,
    /// The camera's id.
    pub camera: String,
    /// What was recognised, or `motion`.
    pub labels: Vec<String>,
    /// When, in local time.
    pub time: String,
    /// A line for people, such as `person at front door`.
    pub title: String,
    /// More about it for people.
    pub text: String,
    /// The picture, relative to the data directory.
    pub image: Option<String>,
}

impl Alarm {
    /// The alarm of an event.
    #[must_use]
    pub fn new(id: String, event: &EventDetected, seq: Seq, is_late: bool) -> Self {
        let mut json = Vec::new();
        let day = event.timestamp.day();
        let log = format!("data/events/{day}/events.json");
        render_event_in_full(&mut json, event, seq, &log);
        let mut labels: Vec<String> = Vec::new();
        for object in &event.detected_objects {
            if !labels.contains(&object.label) {
                labels.push(object.label.clone());
            }
        }
        if labels.is_empty() {
            labels.push("motion".to_owned());
        }
        let time = event.timestamp.to_string();
        let place = event.camera_name.as_deref().unwrap_or(&event.camera_id);
        let title = plain(&format!("{} at {place}", labels.join(", ")));
        let mut text = time.get(11..19).unwrap_or(&time).to_owned();
        if let Some(sentence) = &event.llm_description {
            let _ = write!(text, " {sentence}");
        }
        if is_late {
            let _ = write!(
                text,
                " (sent late: the receiver could not be reached; `lenslog events` lists what else happened)"
            );
        }
        Self {
            id,
            event: String::from_utf8_lossy(&json).trim_end().to_owned(),
            kind: if is_late { "event.late" } else { "event.detected" },
            event_id: event.event_id.clone(),
            camera: event.camera_id.clone(),
            labels,
            time,
            title,
            text: plain(&text),
            image: event.image_path.clone(),
        }
    }

    /// The alarm of `lenslog notify test`.
    #[must_use]
    pub fn test(time: String) -> Self {
        let event = r#"{"event_id":"test","detected_objects":[]}"#.to_owned();
        Self {
            id: format!("test.{time}"),
            event,
            kind: "test",
            event_id: "test".to_owned(),
            camera: "test".to_owned(),
            labels: vec!["test".to_owned()],
            title: "Lenslog test".to_owned(),
            text: format!("{time} this is a test; notifications arrive"),
            time,
            image: None,
        }
    }
}

/// Text without control characters and marks of direction, cut to a length for people.
#[must_use]
pub fn plain(text: &str) -> String {
    let is_hidden = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let shown = text.chars().map(|character| if is_hidden(character) { ' ' } else { character });
    shown.take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_for_people_has_no_character_that_a_terminal_or_a_header_obeys() {
        let hostile = "a\x1b[2J\r\nX-Evil: 1\0\u{202e}b<img>";
        assert_eq!(plain(hostile), "a [2J  X-Evil: 1  b<img>");
        assert_eq!(plain(&"ä".repeat(1000)).chars().count(), TEXT_CHARS_MAX);
    }
}

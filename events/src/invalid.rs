//! [`InvalidEvent`], the error of a field beyond its limits, and how errors show what they found.

use crate::limits::SHOWN_CHARS_MAX;

/// A field of an event is not what it must be.
///
/// Prints as one line without control characters, whatever the event holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}; expected {expected}")]
#[non_exhaustive]
pub struct InvalidEvent {
    /// The field, as a path: `detected_objects[3].confidence`.
    pub field: String,
    /// What it holds, shortened to [`SHOWN_CHARS_MAX`] characters and escaped.
    pub found: String,
    /// What it may hold.
    pub expected: String,
}

impl InvalidEvent {
    pub(crate) fn new(
        field: impl ToString,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self { field: field.to_string(), found: found.into(), expected: expected.into() }
    }
}

/// `text` in quotes, escaped, and cut where it is long.
pub(crate) fn shown(text: &str) -> String {
    let mut cut = text.char_indices().skip(SHOWN_CHARS_MAX);
    match cut.next() {
        Some((end, _)) => format!("{:?}… ({} bytes)", &text[..end], text.len()),
        None => format!("{text:?}"),
    }
}

/// A JSON value as an error shows it: its kind for lists and objects, itself for the rest.
pub(crate) fn shown_value(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "null".to_owned(),
        serde_json::Value::Bool(value) => value.to_string(),
        serde_json::Value::Number(value) => format!("the number {value}"),
        serde_json::Value::String(text) => shown(text),
        serde_json::Value::Array(list) => format!("a list of {}", list.len()),
        serde_json::Value::Object(fields) => format!("an object of {} fields", fields.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_shown_short_and_on_one_line() {
        assert_eq!(shown("front\ndoor\u{2028}"), r#""front\ndoor\u{2028}""#);
        let long = shown(&"ü".repeat(100));
        assert!(long.starts_with("\"üüü") && long.ends_with("\"… (200 bytes)"), "{long}");
        assert!(long.chars().count() < SHOWN_CHARS_MAX + 20);
    }

    #[test]
    fn values_are_shown_by_what_they_are() {
        let shown = |text: &str| shown_value(&serde_json::from_str(text).unwrap());
        assert_eq!(shown("7"), "the number 7");
        assert_eq!(shown(r#""x""#), r#""x""#);
        assert_eq!(shown("[1,2]"), "a list of 2");
        assert_eq!(shown(r#"{"a":1}"#), "an object of 1 fields");
        assert_eq!(shown("null"), "null");
    }
}

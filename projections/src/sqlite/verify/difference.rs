//! [`Differences`]: what a verification found, each in one line for an operator, and never too many of them.

use crate::printable;
use lenslog_engine::DIFFERENCES_MAX;
use rusqlite::types::ValueRef;

/// Characters of a value that are shown.
const SHOWN_CHARS_MAX: usize = 60;
/// Where two texts begin alike for longer than this, the beginning is left out.
const ALIKE_CHARS_MAX: usize = 30;
/// How much of what is alike is shown before the difference.
const CONTEXT_CHARS: usize = 10;

/// The first differences in words, and how many there are.
#[derive(Debug, Default)]
pub(super) struct Differences {
    named: Vec<String>,
    count: u64,
}

impl Differences {
    /// Adds one; its words are made only if they are shown.
    pub(super) fn add(&mut self, words: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < DIFFERENCES_MAX {
            self.named.push(words());
        }
    }

    /// At most [`DIFFERENCES_MAX`] lines; the last one counts what is not named.
    pub(super) fn into_lines(mut self) -> Vec<String> {
        if self.count > DIFFERENCES_MAX as u64 {
            self.named.truncate(DIFFERENCES_MAX - 1);
            let more = self.count - self.named.len() as u64;
            self.named.push(format!("and {more} more differences"));
        }
        self.named
    }
}

/// One column of one row that is not what it should be.
pub(super) fn column(
    id: i64,
    event_id: &str,
    name: &str,
    found: ValueRef<'_>,
    expected: ValueRef<'_>,
) -> String {
    let skipped = match (found, expected) {
        (ValueRef::Text(found), ValueRef::Text(expected)) => alike(found, expected),
        _ => 0,
    };
    let (found, expected) = (shown(found, skipped), shown(expected, skipped));
    format!("{}: {name} is {found}, expected {expected}", row(id, event_id))
}

/// How a row is called.
pub(super) fn row(id: i64, event_id: &str) -> String {
    format!("row {id} ({})", clipped(event_id, 0))
}

/// A text on one line, in quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", clipped(text, 0))
}

/// Characters that both texts begin with and that need not be shown.
fn alike(found: &[u8], expected: &[u8]) -> usize {
    let (found, expected) = (String::from_utf8_lossy(found), String::from_utf8_lossy(expected));
    let same = found.chars().zip(expected.chars()).take_while(|(one, other)| one == other).count();
    if same > ALIKE_CHARS_MAX { same - CONTEXT_CHARS } else { 0 }
}

fn shown(value: ValueRef<'_>, skipped: usize) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => format!("'{}'", clipped(&String::from_utf8_lossy(text), skipped)),
        ValueRef::Blob(bytes) => format!("a blob of {} bytes", bytes.len()),
    }
}

/// Part of a text, on one line whatever is in it.
fn clipped(text: &str, skipped: usize) -> String {
    let rest = text.char_indices().nth(skipped).map_or("", |(start, _)| &text[start..]);
    let begun = if skipped == 0 { "" } else { "…" };
    format!("{begun}{}", printable(rest, SHOWN_CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_texts(found: &str, expected: &str) -> String {
        let (found, expected) = (found.as_bytes(), expected.as_bytes());
        column(17, "evt_1", "camera_id", ValueRef::Text(found), ValueRef::Text(expected))
    }

    #[test]
    fn a_difference_names_row_column_and_both_values() {
        assert_eq!(of_texts("x", "y"), "row 17 (evt_1): camera_id is 'x', expected 'y'");
        assert_eq!(
            column(17, "evt_1", "motion_confidence", ValueRef::Null, ValueRef::Real(0.5)),
            "row 17 (evt_1): motion_confidence is NULL, expected 0.5"
        );
    }

    #[test]
    fn long_texts_are_shown_where_they_differ() {
        let (one, other) = ("a".repeat(100) + "one", "a".repeat(100) + "two");
        assert_eq!(
            of_texts(&one, &other),
            "row 17 (evt_1): camera_id is '…aaaaaaaaaaone', expected '…aaaaaaaaaatwo'"
        );
        assert!(of_texts(&"b".repeat(100), "c").contains(&format!("'{}…'", "b".repeat(60))));
    }

    #[test]
    fn a_value_cannot_forge_a_line() {
        assert!(
            !of_texts("x\nrow 18", "\u{1b}[2J\u{2028}\u{85}").contains(['\n', '\u{1b}', '\u{85}'])
        );
    }

    #[test]
    fn differences_beyond_the_limit_are_counted() {
        for (count, lines, last) in
            [(20, 20, "20".to_owned()), (21, 20, "and 2 more differences".to_owned())]
        {
            let mut differences = Differences::default();
            (1..=count).for_each(|number: u64| differences.add(|| number.to_string()));
            let named = differences.into_lines();
            assert_eq!((named.len(), named.last()), (lines, Some(&last)));
        }
    }
}

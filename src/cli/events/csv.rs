//! Events as CSV (RFC 4180, ends of lines as on Unix): one line an event, whatever is in it, and nothing that a
//! spreadsheet would compute.

use std::borrow::Cow;
use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use lenslog_projections::StoredEvent;

use lenslog_projections::printable;

const HEAD: &str = "seq,event_id,timestamp,camera_id,motion_confidence,labels,detected_objects,\
     llm_description,image_path,json_log_path,created_at";
/// With these a spreadsheet begins to compute, their full-width forms included.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
/// With these a cell is put in quotes; the semicolon separates in some countries.
const QUOTED: [char; 4] = [',', ';', '"', ' '];

/// Prints the names of the columns.
pub(super) fn print_head(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{HEAD}")
}

/// Prints one event as one line.
pub(super) fn print(out: &mut impl Write, event: &StoredEvent) -> io::Result<()> {
    let mut objects = Vec::new();
    lenslog_events::render_objects(&mut objects, &event.detected_objects);
    let confidence = event.motion_confidence.map(|number| number.to_string());
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
    writeln!(
        out,
        "{},{},{},{},{},{},{},{},{},{},{}",
        event.seq,
        cell(&event.event_id),
        time(event.timestamp),
        cell(&event.camera_id),
        confidence.unwrap_or_default(),
        cell(&labels(event)),
        cell(&String::from_utf8_lossy(&objects)),
        cell(event.llm_description.as_deref().unwrap_or_default()),
        cell(event.image_path.as_deref().unwrap_or_default()),
        cell(event.json_log_path.as_deref().unwrap_or_default()),
        event.created_at.map(time).unwrap_or_default(),
    )
}

fn labels(event: &StoredEvent) -> String {
    let mut labels: Vec<&str> = event.detected_objects.iter().map(|o| o.label.as_str()).collect();
    labels.sort_unstable();
    labels.dedup();
    labels.join(", ")
}

/// A text as a cell: control characters escaped, an apostrophe before what would be computed, quotes where needed.
fn cell(text: &str) -> String {
    let mut text = Cow::from(printable(text, usize::MAX / 4));
    if text.trim_start().starts_with(FORMULA) {
        text = format!("'{text}").into();
    }
    if text.contains(QUOTED) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_where_it_must_be() {
        for (text, expected) in [
            ("", ""),
            ("camera_1", "camera_1"),
            ("a,b", r#""a,b""#),
            ("a;b", r#""a;b""#),
            (r#"a "cat""#, r#""a ""cat""""#),
            (" x", r#"" x""#),
            ("Tür", "Tür"),
        ] {
            assert_eq!(cell(text), expected);
        }
    }

    #[test]
    fn nothing_is_computed() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            ("+49", "'+49"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("＝1", "'＝1"),
            (" =1", r#""' =1""#),
            ("=cmd|' /C calc'!A0", r#""'=cmd|' /C calc'!A0""#),
            ("=HYPERLINK(\"http://x\")", r#""'=HYPERLINK(""http://x"")""#),
            ("a=1", "a=1"),
        ] {
            assert_eq!(cell(text), expected);
        }
    }

    #[test]
    fn no_text_ends_a_line() {
        for text in ["a\r\nb", "\t=1", "\r=1", "\u{85}\u{2028}", "\u{1b}[2J"] {
            let cell = cell(text);
            assert!(!cell.contains(|letter: char| letter.is_control() || letter == '\u{2028}'));
            assert!(cell.starts_with(['a', '\\']), "{cell}");
        }
    }
}

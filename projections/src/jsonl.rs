//! [`Jsonl`]: `events.json` and `amendments.json`, one JSON object a line, in the directory of each local day.
//!
//! A line of `events.json` is what [`render_event`] makes of an event; `json_log_path` in it names the file itself. A
//! line of `amendments.json` is what [`render_amendment`] makes of a description that came after its event had been
//! written:
//!
//! ```json
//! {"event_id":"evt_1","event_seq":7,"llm_description":"A cat","model":"llava","duration_ms":2500,"amended_at":"2026-11-23T17:04:05+01:00","seq":9}
//! ```
//!
//! It is in the day of its event. `seq` and `amended_at` are those of its record, so every `seq` is
//! there once in both files together.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use lenslog_engine::Recorded;
use lenslog_events::{DescriptionAdded, Event, EventDetected, render_amendment, render_event};
use lenslog_journal::storage::Storage;
use lenslog_journal::{Day, Seq};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::data_dir::json_log_path;
use crate::day_files::{DayFiles, Format};

/// The projection "jsonl" below a data directory, which must exist. Nothing is opened yet.
///
/// ```
/// use std::sync::Arc;
///
/// use lenslog_engine::{Opened, Projection};
/// use lenslog_journal::storage::RealStorage;
///
/// let directory = tempfile::tempdir()?;
/// let mut projection = lenslog_projections::jsonl::jsonl(Arc::new(RealStorage), directory.path());
/// assert_eq!(projection.open()?, Opened::Absent);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn jsonl(storage: Arc<dyn Storage>, data: &Path) -> DayFiles<Jsonl> {
    DayFiles::new(storage, data, Jsonl::default())
}

/// One JSON object a line.
#[derive(Debug, Clone, Default)]
pub struct Jsonl {
    /// The day whose path was needed last, and the path.
    path: Option<(Day, String)>,
}

/// A field of every line, which no other text has.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only whether they are there matters")]
struct Name<'l> {
    #[serde(borrow)]
    event_id: Cow<'l, str>,
    seq: u64,
}

impl Format for Jsonl {
    const NAME: &'static str = "jsonl";
    const VERSION: u32 = 2;
    const FILES: &'static [&'static str] = &["events.json", "amendments.json"];
    const AMENDMENTS: usize = 1;
    const SEPARATOR: &'static [u8] = b"";

    fn options(&self) -> String {
        String::new()
    }

    fn event(&mut self, out: &mut Vec<u8>, event: &EventDetected, seq: Seq) {
        let day = event.timestamp.day();
        if self.path.as_ref().is_none_or(|(known, _)| *known != day) {
            self.path = Some((day, json_log_path(day)));
        }
        let path = self.path.as_ref().map_or("", |(_, path)| path);
        render_event(out, event, seq, path);
        out.push(b'\n');
    }

    fn amendment(&mut self, out: &mut Vec<u8>, added: &DescriptionAdded, record: &Recorded<Event>) {
        render_amendment(out, added, record.seq, record.time);
        out.push(b'\n');
    }

    fn entries(bytes: &[u8]) -> Vec<&[u8]> {
        let is_one = |line: &[u8]| serde_json::from_slice::<Name<'_>>(line).is_ok();
        let whole = |line: &&[u8]| line.ends_with(b"\n") && is_one(line);
        bytes.split_inclusive(|byte| *byte == b'\n').filter(whole).collect()
    }

    fn key(entry: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        match serde_json::from_slice::<Map<String, Value>>(entry) {
            Ok(mut fields) => {
                fields.remove("llm_description");
                Value::Object(fields).to_string().hash(&mut hasher);
            }
            Err(_) => entry.hash(&mut hasher),
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use lenslog_events::testing::{config, detected};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(config(64))]

        #[test]
        fn an_event_is_one_line_and_is_recognised_with_and_without_its_description(
            mut event in detected(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut line = Vec::new();
            Jsonl::default().event(&mut line, &event, Seq(7));
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            prop_assert_eq!(Jsonl::entries(&line), vec![&line[..]]);
            prop_assert!(Jsonl::entries(&line[..cut.index(line.len())]).is_empty());
            event.llm_description = Some("another one".to_owned());
            let mut described = Vec::new();
            Jsonl::default().event(&mut described, &event, Seq(7));
            prop_assert_eq!(Jsonl::key(&line), Jsonl::key(&described));
            let mut later = Vec::new();
            Jsonl::default().event(&mut later, &event, Seq(8));
            prop_assert_ne!(Jsonl::key(&line), Jsonl::key(&later));
        }
    }

    #[test]
    fn what_is_torn_or_something_else_is_no_entry() {
        let good = b"{\"event_id\":\"a\",\"seq\":1}\n";
        let bytes = [&good[..], b"\0\0\0\n", b"\n{}\n", &good[..], &good[..9]].concat();
        assert_eq!(Jsonl::entries(&bytes), [&good[..], &good[..]]);
    }
}

//! [`Table`]: events in columns, for people.

use std::cmp::Ordering;
use std::io::{self, Write};

use chrono::Local;
use lenslog_projections::StoredEvent;

use crate::cli::times;
use lenslog_projections::printable;

/// Characters of a cell that may be longer.
const CELL_CHARS_MAX: usize = 40;
/// Characters of a description.
const DESCRIPTION_CHARS_MAX: usize = 160;
/// Objects that are named.
const OBJECTS_MAX: usize = 4;

const HEAD: [&str; COLUMNS] = ["SEQ", "TIME", "CAMERA", "EVENT_ID", "OBJECTS", "DESCRIPTION"];
const COLUMNS: usize = 6;

/// Prints events in columns that are as wide as what was printed so far needs.
#[derive(Debug, Default)]
pub(super) struct Table {
    widths: [usize; COLUMNS],
    has_head: bool,
}

impl Table {
    pub(super) fn print(&mut self, out: &mut impl Write, events: &[StoredEvent]) -> io::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = events.iter().map(cells).collect();
        let head = HEAD.map(ToOwned::to_owned);
        for row in rows.iter().chain([&head]) {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if !self.has_head {
            self.line(out, &head)?;
            self.has_head = true;
        }
        rows.iter().try_for_each(|row| self.line(out, row))
    }

    fn line(&self, out: &mut impl Write, cells: &[String; COLUMNS]) -> io::Result<()> {
        let mut line = String::new();
        for (width, cell) in self.widths.iter().zip(cells) {
            let missing = width - cell.chars().count();
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', missing + 2));
        }
        writeln!(out, "{}", line.trim_end())
    }
}

fn cells(event: &StoredEvent) -> [String; COLUMNS] {
    [
        event.seq.to_string(),
        times::shown(
            &Local,
            event.timestamp.with_timezone(&Local).fixed_offset(),
            "%Y-%m-%d %H:%M:%S",
        ),
        printable(&event.camera_id, CELL_CHARS_MAX),
        // Whole, so that it can be given to --id.
        printable(&event.event_id, usize::MAX / 4),
        objects(event),
        printable(event.llm_description.as_deref().unwrap_or_default(), DESCRIPTION_CHARS_MAX),
    ]
}

/// The objects, the surest first.
fn objects(event: &StoredEvent) -> String {
    let mut objects: Vec<_> = event.detected_objects.iter().collect();
    objects.sort_by(|one, other| {
        other.confidence.partial_cmp(&one.confidence).unwrap_or(Ordering::Equal)
    });
    let name = |object: &&lenslog_events::DetectedObject| {
        let label = printable(&object.label, CELL_CHARS_MAX);
        if object.confidence.is_nan() {
            label
        } else {
            format!("{label} {:.0}%", object.confidence * 100.0)
        }
    };
    let mut names: Vec<_> = objects.iter().take(OBJECTS_MAX).map(name).collect();
    if objects.len() > OBJECTS_MAX {
        names.push(format!("+{}", objects.len() - OBJECTS_MAX));
    }
    names.join(", ")
}

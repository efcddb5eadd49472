//! [`StoredEvent`]: a row of `events`, typed.

use chrono::{DateTime, Utc};
use lenslog_events::{BoundingBox, DetectedObject, EventDetected};
use lenslog_journal::{Day, Seq, Timestamp};
use rusqlite::types::FromSql;
use rusqlite::{Result, Row};
use serde::Deserialize;

use super::Cursor;
use crate::sqlite::time_text::parse_time_text;

/// The columns of a row, in the order in which [`StoredEvent::of_row`] reads them.
pub(super) const COLUMNS: &str = "events.id, events.event_id, events.timestamp, events.camera_id, \
     events.motion_confidence, events.detected_objects, events.llm_description, events.image_path, \
     events.json_log_path, events.created_at";

/// An event as the database holds it: with the sentence that came later, without the picture that was purged.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StoredEvent {
    /// Its place in the journal, and the `id` of its row.
    pub seq: Seq,
    /// Its unique name.
    pub event_id: String,
    /// When it was seen, to the millisecond.
    pub timestamp: DateTime<Utc>,
    /// Which camera saw it.
    pub camera_id: String,
    /// 0 to 1: 0.5 at the motion threshold, 1 at four times it.
    pub motion_confidence: Option<f64>,
    /// What was recognised, in the detector's order.
    pub detected_objects: Vec<DetectedObject>,
    /// A sentence about it.
    pub llm_description: Option<String>,
    /// `data/events/DAY/FILE`, to be found below the data directory.
    pub image_path: Option<String>,
    /// The file with its line of JSON, in the same form. Names its local day.
    pub json_log_path: Option<String>,
    /// When it was journaled.
    pub created_at: Option<DateTime<Utc>>,
}

/// What is wrong with a row.
#[derive(Debug)]
pub(super) struct BadCell {
    pub(super) id: i64,
    pub(super) column: &'static str,
    pub(super) problem: String,
}

impl StoredEvent {
    /// The event as its row has it, from its record in the journal.
    #[must_use]
    pub fn from_journal(seq: Seq, appended: Timestamp, event: EventDetected) -> Self {
        let day = event.timestamp.day();
        let utc =
            |time: Timestamp| DateTime::from_timestamp_millis(time.utc_micros.div_euclid(1000));
        Self {
            seq,
            event_id: event.event_id,
            timestamp: utc(event.timestamp).unwrap_or_default(),
            camera_id: event.camera_id,
            motion_confidence: event.motion_confidence,
            detected_objects: event.detected_objects,
            llm_description: event.llm_description,
            image_path: event.image_path,
            json_log_path: Some(format!("data/events/{day}/events.json")),
            created_at: utc(appended),
        }
    }

    /// The local day of the event, where it was seen. Its UTC date may be another one.
    #[must_use]
    pub fn day(&self) -> Option<Day> {
        let (rest, _) = self.json_log_path.as_deref()?.rsplit_once('/')?;
        rest.rsplit('/').next()?.parse().ok()
    }

    /// Its place in the order of events.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { timestamp: self.timestamp, seq: self.seq }
    }

    /// Whether an object of this label was recognised.
    #[must_use]
    pub fn has_label(&self, label: &str) -> bool {
        self.detected_objects.iter().any(|object| object.label == label)
    }

    /// Reads a row of [`COLUMNS`]. The outer error is SQLite's, the inner one says what is wrong with the row.
    pub(super) fn of_row(row: &Row<'_>) -> Result<std::result::Result<Self, BadCell>> {
        let id: i64 = row.get(0)?;
        Ok(Self::of_cells(&Cells { row, id }))
    }

    fn of_cells(cells: &Cells<'_>) -> std::result::Result<Self, BadCell> {
        let bad = |column, problem| BadCell { id: cells.id, column, problem };
        let seq = u64::try_from(cells.id).map_err(|_| bad("id", "it is negative".to_owned()))?;
        let objects: Option<String> = cells.get(5, "detected_objects")?;
        let objects = objects.as_deref().map_or(Ok(Vec::new()), objects_of);
        let created_at: Option<String> = cells.get(9, "created_at")?;
        Ok(Self {
            seq: Seq(seq),
            event_id: cells.get(1, "event_id")?,
            timestamp: cells.time(2, "timestamp")?,
            camera_id: cells.get(3, "camera_id")?,
            motion_confidence: cells.get(4, "motion_confidence")?,
            detected_objects: objects.map_err(|problem| bad("detected_objects", problem))?,
            llm_description: cells.get(6, "llm_description")?,
            image_path: cells.get(7, "image_path")?,
            json_log_path: cells.get(8, "json_log_path")?,
            created_at: created_at.map(|_| cells.time(9, "created_at")).transpose()?,
        })
    }
}

/// The cells of one row.
struct Cells<'a> {
    row: &'a Row<'a>,
    id: i64,
}

impl Cells<'_> {
    fn get<T: FromSql>(
        &self,
        index: usize,
        column: &'static str,
    ) -> std::result::Result<T, BadCell> {
        let bad =
            |error: rusqlite::Error| BadCell { id: self.id, column, problem: error.to_string() };
        self.row.get(index).map_err(bad)
    }

    fn time(
        &self,
        index: usize,
        column: &'static str,
    ) -> std::result::Result<DateTime<Utc>, BadCell> {
        let text: String = self.get(index, column)?;
        parse_time_text(&text).ok_or_else(|| BadCell {
            id: self.id,
            column,
            problem: "it is no time".to_owned(),
        })
    }
}

#[derive(Deserialize)]
struct Object {
    label: String,
    confidence: Option<f64>,
    bbox: Option<Bbox>,
}

#[derive(Deserialize)]
struct Bbox {
    x: Option<f64>,
    y: Option<f64>,
    width: Option<f64>,
    height: Option<f64>,
}

/// What the recorder writes, numbers that JSON does not have as `null` included.
fn objects_of(text: &str) -> std::result::Result<Vec<DetectedObject>, String> {
    let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
    let objects: Vec<Object> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let object = |object: Object| DetectedObject {
        label: object.label,
        confidence: number(object.confidence),
        bbox: object.bbox.map_or_else(BoundingBox::default, |bbox| BoundingBox {
            x: number(bbox.x),
            y: number(bbox.y),
            width: number(bbox.width),
            height: number(bbox.height),
        }),
    };
    Ok(objects.into_iter().map(object).collect())
}

#[cfg(test)]
mod tests {
    use lenslog_events::render_objects;

    use super::*;

    #[test]
    fn objects_come_back_as_they_were_written() {
        let bbox = BoundingBox { x: 12.0, y: -3.5, width: 1e300, height: 0.1 };
        let object = DetectedObject { label: "a \"cat\"\n".to_owned(), confidence: 0.92, bbox };
        let objects = vec![object; 2];
        let mut text = Vec::new();
        render_objects(&mut text, &objects);
        assert_eq!(objects_of(std::str::from_utf8(&text).unwrap()).unwrap(), objects);
        assert_eq!(objects_of("[]").unwrap(), []);
    }

    #[test]
    fn a_number_that_json_does_not_have_comes_back_as_none() {
        let bbox = BoundingBox { x: f64::INFINITY, ..BoundingBox::default() };
        let object = DetectedObject { label: "cat".to_owned(), confidence: f64::NAN, bbox };
        let mut text = Vec::new();
        render_objects(&mut text, &[object]);
        let objects = objects_of(std::str::from_utf8(&text).unwrap()).unwrap();
        assert!(objects[0].confidence.is_nan() && objects[0].bbox.x.is_nan());
    }

    #[test]
    fn what_is_no_list_of_objects_is_refused() {
        for text in ["", "{}", "[1]", r#"[{"confidence":1}]"#, "[] []"] {
            assert!(objects_of(text).is_err(), "{text}");
        }
    }
}

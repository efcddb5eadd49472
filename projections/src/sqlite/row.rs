//! [`EventRow`]: the row of one event and its labels, as a pure function of the record.

use lenslog_events::{EventDetected, render_objects, rounded_confidence};
use lenslog_journal::{Day, Seq, Timestamp};

use super::time_text::time_text;
use crate::data_dir::json_log_path;

/// A row of `events`, and the labels that belong to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EventRow {
    /// The event's own local day.
    pub(super) day: Day,
    pub(super) id: i64,
    pub(super) event_id: String,
    pub(super) timestamp: String,
    pub(super) camera_id: String,
    pub(super) motion_confidence: Option<f64>,
    pub(super) detected_objects: String,
    pub(super) llm_description: Option<String>,
    pub(super) image_path: Option<String>,
    pub(super) json_log_path: String,
    pub(super) created_at: Option<String>,
    /// In the order of their bytes, each once.
    pub(super) labels: Vec<String>,
}

impl EventRow {
    /// The row of an event that was appended at `appended` as `seq`.
    ///
    /// The error says why the database cannot hold it: what was journaled by a future version may lie beyond the
    /// limits that are checked today.
    pub(super) fn of(seq: Seq, appended: Timestamp, event: &EventDetected) -> Result<Self, String> {
        let id = id_of(seq).ok_or_else(|| format!("seq {seq} is no row id"))?;
        let timestamp = time_text(event.timestamp.utc_micros).ok_or_else(|| {
            format!("its time lies outside of the years 0000 to 9999: {:?}", event.timestamp)
        })?;
        let mut objects = Vec::with_capacity(96 * event.detected_objects.len() + 2);
        render_objects(&mut objects, &event.detected_objects);
        let mut labels: Vec<_> =
            event.detected_objects.iter().map(|object| object.label.clone()).collect();
        labels.sort_unstable();
        labels.dedup();
        let day = event.timestamp.day();
        Ok(Self {
            day,
            id,
            event_id: event.event_id.clone(),
            timestamp,
            camera_id: event.camera_id.clone(),
            // SQLite has no NaN: it would store NULL in silence.
            motion_confidence: event
                .motion_confidence
                .filter(|number| !number.is_nan())
                .map(rounded_confidence),
            detected_objects: String::from_utf8_lossy(&objects).into_owned(),
            llm_description: event.llm_description.clone(),
            image_path: event.image_path.clone(),
            json_log_path: json_log_path(day),
            created_at: time_text(appended.utc_micros),
            labels,
        })
    }
}

/// The row id of a seq; `None` where SQLite has no such number.
pub(super) fn id_of(seq: Seq) -> Option<i64> {
    i64::try_from(seq.0).ok()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use lenslog_events::{BoundingBox, DetectedObject, Metadata};

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_local(DateTime::parse_from_rfc3339(text).unwrap())
    }

    fn event(timestamp: Timestamp, labels: &[&str]) -> EventDetected {
        let object = |label: &&str| DetectedObject {
            label: (*label).to_owned(),
            confidence: 0.5,
            bbox: BoundingBox::default(),
        };
        EventDetected {
            event_id: "evt_1".to_owned(),
            timestamp,
            camera_id: "camera_1".to_owned(),
            camera_name: None,
            motion_confidence: Some(f64::NAN),
            detected_objects: labels.iter().map(object).collect(),
            image_path: None,
            llm_description: None,
            description_expected: false,
            metadata: Metadata::new(),
        }
    }

    #[test]
    fn times_are_utc_and_the_day_is_the_events_own() {
        let timestamp = at("2026-11-23T00:30:00.5+02:00");
        let appended = at("2026-11-23T00:30:01+02:00");
        let row = EventRow::of(Seq(7), appended, &event(timestamp, &[])).unwrap();
        assert_eq!(row.id, 7);
        assert_eq!(row.timestamp, "2026-11-22T22:30:00.500Z");
        assert_eq!(row.created_at.as_deref(), Some("2026-11-22T22:30:01.000Z"));
        assert_eq!(row.json_log_path, "data/events/2026-11-23/events.json");
        assert_eq!((row.detected_objects.as_str(), row.motion_confidence), ("[]", None));
    }

    #[test]
    fn each_label_is_there_once_in_a_fixed_order() {
        let event = event(at("2026-11-23T00:30:00Z"), &["person", "car", "person", "bus"]);
        let row = EventRow::of(Seq(7), event.timestamp, &event).unwrap();
        assert_eq!(row.labels, ["bus", "car", "person"]);
    }

    #[test]
    fn what_the_database_cannot_hold_is_refused_with_its_reason() {
        let event = event(Timestamp { utc_micros: i64::MAX, offset_minutes: 0 }, &[]);
        let reason = EventRow::of(Seq(7), event.timestamp, &event).unwrap_err();
        assert!(reason.contains("years 0000 to 9999"), "{reason}");
        let reason = EventRow::of(Seq(u64::MAX), event.timestamp, &event).unwrap_err();
        assert!(reason.contains("18446744073709551615"), "{reason}");
    }
}

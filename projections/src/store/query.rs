//! [`EventQuery`]: which events, and how many; [`Cursor`] and [`Page`]: how a long answer is read in parts.

use std::ops::Deref;

use chrono::{DateTime, TimeZone, Utc};
use lenslog_journal::Seq;

use super::StoredEvent;
use crate::sqlite::time_text::time_text;

/// Events of one answer where the query does not say.
pub const LIMIT_DEFAULT: usize = 100;
/// Most events of one answer: bounds its memory. A larger limit means this one; [`Page::next`] leads to the rest.
pub const LIMIT_MAX: usize = 1000;

/// Sorts before every time text.
const BEFORE_ALL_TIMES: &str = "";
/// Sorts after every text, so that a text that is no time is met and reported.
const AFTER_ALL_TIMES: &str = "\u{10FFFF}";

/// Which events, and how many. Without any condition: the newest [`LIMIT_DEFAULT`].
///
/// Events come newest first: by their timestamp, and among those of one millisecond by their seq, the larger first.
/// The database holds times to the millisecond, cut towards the past; bounds are compared with these, at full
/// precision. Ranges that meet at a bound share no event and miss none.
///
/// ```
/// use chrono::{FixedOffset, TimeZone};
/// use lenslog_projections::store::EventQuery;
///
/// let berlin = FixedOffset::east_opt(3600).unwrap();
/// let query = EventQuery::new()
///     .since(berlin.with_ymd_and_hms(2026, 11, 23, 0, 0, 0).unwrap())
///     .until(berlin.with_ymd_and_hms(2026, 11, 24, 0, 0, 0).unwrap())
///     .camera("camera_1")
///     .label("person")
///     .limit(20);
/// # let _ = query;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventQuery {
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    pub(super) camera: Option<String>,
    pub(super) label: Option<String>,
    limit: Option<usize>,
    pub(super) offset: u64,
    pub(super) before: Option<Before>,
}

/// Where the answer begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Before {
    Seq(Seq),
    Cursor(Cursor),
}

/// A place in the order of events, from which a listing goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Timestamp of the event.
    pub timestamp: DateTime<Utc>,
    /// Its seq.
    pub seq: Seq,
}

/// Some events, newest first, and where the listing goes on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// The events.
    pub events: Vec<StoredEvent>,
    /// Where to go on with [`EventQuery::before`]; `None` where there are no more.
    pub next: Option<Cursor>,
}

impl Deref for Page {
    type Target = [StoredEvent];

    fn deref(&self) -> &[StoredEvent] {
        &self.events
    }
}

impl IntoIterator for Page {
    type Item = StoredEvent;
    type IntoIter = std::vec::IntoIter<StoredEvent>;

    fn into_iter(self) -> Self::IntoIter {
        self.events.into_iter()
    }
}

impl EventQuery {
    /// The newest [`LIMIT_DEFAULT`] events.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only events at or after this time.
    #[must_use]
    pub fn since<Z: TimeZone>(self, time: DateTime<Z>) -> Self {
        Self { since: Some(time.to_utc()), ..self }
    }

    /// Only events before this time.
    #[must_use]
    pub fn until<Z: TimeZone>(self, time: DateTime<Z>) -> Self {
        Self { until: Some(time.to_utc()), ..self }
    }

    /// Only events of this camera, by its id.
    #[must_use]
    pub fn camera(self, camera_id: impl Into<String>) -> Self {
        Self { camera: Some(camera_id.into()), ..self }
    }

    /// Only events with an object of this label.
    #[must_use]
    pub fn label(self, label: impl Into<String>) -> Self {
        Self { label: Some(label.into()), ..self }
    }

    /// At most this many events, and never more than [`LIMIT_MAX`].
    #[must_use]
    pub fn limit(self, events: usize) -> Self {
        Self { limit: Some(events), ..self }
    }

    /// Passes over this many events first. Takes time for each of them, and pages made so move when events come in:
    /// [`EventQuery::before`] does neither.
    #[must_use]
    pub fn offset(self, events: u64) -> Self {
        Self { offset: events, ..self }
    }

    /// Only what is listed behind the event of this seq: events with an older timestamp, and of the same timestamp
    /// those with a smaller seq.
    ///
    /// Not simply smaller seqs: an event that came in late has an old timestamp and a new seq. Going on before the
    /// last seq of each answer passes every event exactly once, whatever comes in meanwhile. The event must be in the
    /// database; a [`Cursor`] also works when it was pruned.
    #[must_use]
    pub fn before_seq(self, seq: Seq) -> Self {
        Self { before: Some(Before::Seq(seq)), ..self }
    }

    /// Only what is listed behind this place, whether or not its event is still there. See [`Page::next`].
    #[must_use]
    pub fn before(self, cursor: Cursor) -> Self {
        Self { before: Some(Before::Cursor(cursor)), ..self }
    }

    /// Whether an event meets the conditions on time, camera and label.
    #[must_use]
    pub fn matches(&self, event: &StoredEvent) -> bool {
        self.since.is_none_or(|since| event.timestamp >= since)
            && self.until.is_none_or(|until| event.timestamp < until)
            && self.camera.as_ref().is_none_or(|camera| event.camera_id == *camera)
            && self.label.as_ref().is_none_or(|label| event.has_label(label))
    }

    /// Most events of one answer.
    #[must_use]
    pub fn limit_events(&self) -> usize {
        self.limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX)
    }

    /// The time texts between which the answer lies: at or after the first, before the second.
    pub(super) fn bounds(&self) -> (String, Edge) {
        let since = self.since.map_or_else(|| BEFORE_ALL_TIMES.to_owned(), bound);
        let until = self.until.map_or_else(|| AFTER_ALL_TIMES.to_owned(), bound);
        (since, Edge { timestamp: until, id: i64::MIN })
    }
}

/// A place in the order (timestamp, id): everything before it is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) timestamp: String,
    pub(super) id: i64,
}

impl Edge {
    pub(super) fn of(cursor: &Cursor) -> Self {
        let id = i64::try_from(cursor.seq.0).unwrap_or(i64::MAX);
        Self { timestamp: bound(cursor.timestamp), id }
    }
}

/// The earliest time text that is not before `time`.
fn bound(time: DateTime<Utc>) -> String {
    let millis = time.timestamp_millis();
    let is_whole = time.timestamp_subsec_nanos().is_multiple_of(1_000_000);
    let millis = if is_whole { millis } else { millis.saturating_add(1) };
    let text = millis.checked_mul(1000).and_then(time_text);
    let outside = if millis < 0 { BEFORE_ALL_TIMES } else { AFTER_ALL_TIMES };
    text.unwrap_or_else(|| outside.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn a_bound_between_milliseconds_is_the_next_one() {
        for (time, expected) in [
            ("2026-11-23T17:04:05+01:00", "2026-11-23T16:04:05.000Z"),
            ("2026-11-23T16:04:05.001Z", "2026-11-23T16:04:05.001Z"),
            ("2026-11-23T16:04:05.000000001Z", "2026-11-23T16:04:05.001Z"),
            ("2026-11-23T16:04:05.9999Z", "2026-11-23T16:04:06.000Z"),
            ("1969-12-31T23:59:59.9995Z", "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(bound(utc(time)), expected, "{time}");
        }
    }

    #[test]
    fn a_bound_outside_of_what_the_database_holds_lies_before_or_behind_everything() {
        assert_eq!(bound(DateTime::<Utc>::MIN_UTC), BEFORE_ALL_TIMES);
        assert_eq!(bound(DateTime::<Utc>::MAX_UTC), AFTER_ALL_TIMES);
        assert_eq!(bound(utc("9999-12-31T23:59:59.9999Z")), AFTER_ALL_TIMES);
        let first = time_text(0).unwrap();
        assert!(*BEFORE_ALL_TIMES < *first && *first < *AFTER_ALL_TIMES);
    }

    #[test]
    fn a_limit_is_never_larger_than_the_largest() {
        assert_eq!(EventQuery::new().limit_events(), LIMIT_DEFAULT);
        assert_eq!(EventQuery::new().limit(7).limit_events(), 7);
        assert_eq!(EventQuery::new().limit(usize::MAX).limit_events(), LIMIT_MAX);
    }
}

//! [`SqliteCounters`]: what the projection has done since it was made, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use lenslog_engine::ProjectionError;

use super::row::EventRow;

/// Counts since the projection was made. Read from any thread.
#[derive(Debug, Default)]
pub struct SqliteCounters {
    events: AtomicU64,
    duplicates: AtomicU64,
    write_errors: AtomicU64,
}

impl SqliteCounters {
    /// Events written as rows while following; rebuilds are not counted.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Events passed over because an earlier one has the same event_id, rebuilds included.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    /// Times that writing to the database failed.
    #[must_use]
    pub fn write_errors(&self) -> u64 {
        self.write_errors.load(Ordering::Relaxed)
    }

    pub(super) fn count_event(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a duplicate and logs it.
    pub(super) fn count_duplicate(&self, row: &EventRow) {
        self.duplicates.fetch_add(1, Ordering::Relaxed);
        let (seq, event_id) = (row.id, row.event_id.as_str());
        tracing::warn!(seq, event_id, "a second event has this event_id; the first one stays");
    }

    /// Counts an error, and passes the result on.
    pub(super) fn count_failure<T>(
        &self,
        result: Result<T, ProjectionError>,
    ) -> Result<T, ProjectionError> {
        if result.is_err() {
            self.write_errors.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

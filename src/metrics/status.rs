//! The figures in one line, for a terminal, the log and the service manager.

use lenslog_control::length;
use std::fmt::Write as _;

use super::snapshot::MetricsSnapshot;
use crate::storage::StorageStats;

/// The most important figures in a line.
#[must_use]
pub fn status(snapshot: &MetricsSnapshot) -> String {
    let up = snapshot.cameras.iter().filter(|camera| camera.up).count();
    let mut text = format!(
        "up {}, {up} of {} cameras, {} frames, {} with motion, {} events, {} suppressed",
        length(snapshot.uptime_s),
        snapshot.cameras.len(),
        snapshot.frames_processed,
        snapshot.motion_detected,
        snapshot.events_created,
        snapshot.events_suppressed,
    );
    // Writing to a string cannot fail.
    if let (Some(total), Some(limit)) = (snapshot.storage.total_bytes, snapshot.storage.limit_bytes)
    {
        let _ = write!(text, ", Storage: {}", StorageStats::new(total, limit));
    }
    let lag = snapshot.projections.iter().map(|figures| figures.lag_records).max();
    if let Some(lag) = lag.filter(|lag| *lag > 0) {
        let _ = write!(text, ", {lag} records behind");
    }
    if snapshot.events_waiting > 0 {
        let _ = write!(text, ", {} EVENTS WAIT FOR THE JOURNAL", snapshot.events_waiting);
    }
    let errors = snapshot.db_write_errors + snapshot.file_write_errors;
    let errors = errors + snapshot.journal_write_errors;
    if errors > 0 {
        let _ = write!(text, ", {errors} write errors");
    }
    if let Some(percent) = snapshot.cpu_percent {
        let _ = write!(text, ", CPU {percent:.1} %");
    }
    if let Some(bytes) = snapshot.memory_bytes {
        let _ = write!(text, ", {:.0} MB", bytes as f64 / 1e6);
    }
    text
}

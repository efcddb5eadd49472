//! [`Tombstone`]: the record that pruned days, as the pictures need it.

use lenslog_journal::{PrunedDays, Timestamp};

/// The record that pruned days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tombstone {
    pub(super) days: PrunedDays,
    /// When it was appended.
    pub(super) at: Timestamp,
}

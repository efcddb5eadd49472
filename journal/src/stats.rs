//! [`JournalStats`]: what the journal did since it was opened.

/// Counters since the journal was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct JournalStats {
    /// Batches appended.
    pub batches: u64,
    /// Records appended, the journal's own included.
    pub records: u64,
    /// Bytes of frames appended, padding not counted.
    pub frame_bytes: u64,
    /// Batches refused because a key was known.
    pub duplicates: u64,
    /// Syncs of a segment that returned.
    pub syncs: u64,
    /// Time spent in them, in microseconds.
    pub sync_micros_total: u64,
    /// The longest of them, in microseconds.
    pub sync_micros_max: u64,
    /// The latest of them, in microseconds.
    pub sync_micros_last: u64,
    /// Segments begun.
    pub segments_begun: u64,
    /// Times that a failed write or sync moved records to a new segment.
    pub relocations: u64,
    /// Writes of the marker that failed.
    pub marker_failures: u64,
}

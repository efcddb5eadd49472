//! Every limit of the journal, in one table: what it bounds and what happens there.

/// Size of a block of the medium, in bytes: headers stand in blocks of their own, syncs pad to it.
pub const BLOCK_BYTES: u64 = 4096;

/// Largest frame (one batch with its headers), in bytes. A larger batch is refused with
/// [`Error::TooLarge`](crate::Error::TooLarge) and nothing is appended.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// Largest payload of one record, in bytes. A larger one is refused with
/// [`Error::TooLarge`](crate::Error::TooLarge).
pub const PAYLOAD_BYTES_MAX: usize = FRAME_BYTES_MAX - 4096;

/// Most records that may wait for a sync. An append that would exceed it syncs first.
///
/// Recovery relies on it: no seq further than this behind the last durable record was ever given out.
pub const UNSYNCED_RECORDS_MAX: u64 = 8192;

/// Most records in one batch. A larger batch is refused with [`Error::TooLarge`](crate::Error::TooLarge).
pub const BATCH_RECORDS_MAX: usize = UNSYNCED_RECORDS_MAX as usize;

/// Largest segment, in bytes; a segment is rolled before a frame that does not fit. Only a single frame larger
/// than the segment size in force makes a larger one.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// Largest offset in a segment that is believed, in bytes: no file of a segment is ever longer. A structure that names
/// a larger one is damaged, whatever its checksum says.
pub const SEGMENT_OFFSET_MAX: u64 = 4 * SEGMENT_BYTES_MAX;

/// Largest seq that is believed: more than a million a second for a hundred thousand years. A structure that names a
/// larger one is damaged, whatever its checksum says.
pub const SEQ_MAX: u64 = 1 << 62;

/// Smallest seq with which a journal goes on of which nothing but its identity is left; no journal comes as far as the
/// microseconds since 1970 by counting, so that those are taken where the clock is right.
pub const SEQ_AFTER_VANISHING_MIN: u64 = 1 << 40;

/// Largest seq with which such a journal goes on, however wrong the clock is: half of those that are believed are left.
pub const SEQ_AFTER_VANISHING_MAX: u64 = SEQ_MAX / 2;

/// Smallest segment size that is ever used, in bytes, however small the file system.
pub const SEGMENT_BYTES_MIN: u64 = 256 << 10;

/// A segment takes at most this fraction of the file system and of the storage limit.
pub const SEGMENT_SHARE: u64 = 32;

/// Bytes of records that may wait for a sync in memory. An `append_unsynced` that would exceed it syncs first.
pub const UNSYNCED_BYTES_MAX: usize = 32 << 20;

/// Space kept back in the preallocated part of the active segment for the journal's own records, in bytes, so
/// that a full disk can still be told about and pruned; an eighth of the segment where that is less.
pub const RESERVE_BYTES: u64 = 64 << 10;

/// Smallest preallocation step, in bytes; a spare segment has this size. Half a segment where that is less.
pub const PREALLOCATE_BYTES_MIN: u64 = 256 << 10;

/// Largest preallocation step, in bytes. Steps grow with the segment from the smallest to this one.
pub const PREALLOCATE_BYTES_MAX: u64 = 4 << 20;

/// Keyed records in one segment; it is rolled before the next one. Bounds the keys held in memory.
pub const SEGMENT_KEYS_MAX: usize = 1 << 18;

/// Separate ranges of pruned seqs that a segment header can name. A pruning that would need more leaves its
/// newest segments for a later one.
pub const PRUNED_RANGES_MAX: usize = 176;

/// Separate ranges of lost seqs that a segment header can name. Beyond it the newest two are joined into one.
pub const GAPS_MAX: usize = 64;

/// Segments one tombstone can name. A pruning of more takes several.
pub const TOMBSTONE_SEGMENTS_MAX: usize = 65_536;

/// Blocks of one segment that may be unreadable (EIO) before the rest of it is taken for lost.
pub const UNREADABLE_BLOCKS_MAX: usize = 256;

/// Wall clock and boot clock may disagree by this much between two samples, in microseconds, before
/// `ClockStepped` is appended.
pub const CLOCK_STEP_MICROS: i64 = 2_000_000;

/// Bytes a reader asks for at once.
pub(crate) const READ_AHEAD_BYTES: usize = 256 << 10;

/// Bytes after which a segment's content digest is chained; see `docs/FORMAT.md`.
pub(crate) const DIGEST_BLOCK_BYTES: u64 = 64 << 10;

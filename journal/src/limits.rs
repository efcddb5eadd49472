//! Every limit of the journal: what it bounds, and what happens when it is reached.

/// Size of a block of the medium, in bytes: headers have their own blocks, syncs pad to it.
pub const BLOCK_BYTES: u64 = 4096;

/// Largest frame (one batch with its headers), in bytes. A larger batch is refused with
/// [`Error::TooLarge`](crate::Error::TooLarge) and nothing is appended.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// Largest payload of one record, in bytes. A larger one is refused with
/// [`Error::TooLarge`](crate::Error::TooLarge).
pub const PAYLOAD_BYTES_MAX: usize = FRAME_BYTES_MAX - 4096;

/// Most records that may wait for a sync. An append that would exceed it syncs first.
///
/// Recovery relies on it: no seq further than this after the last durable record was ever used.
pub const UNSYNCED_RECORDS_MAX: u64 = 8192;

/// Most records in one batch. A larger batch is refused with [`Error::TooLarge`](crate::Error::TooLarge).
pub const BATCH_RECORDS_MAX: usize = UNSYNCED_RECORDS_MAX as usize;

/// Most tags of one record, and of one item of a query.
pub const RECORD_TAGS_MAX: usize = 64;

/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 255;

/// Most items of a query. A larger one is refused with [`Error::TooLarge`](crate::Error::TooLarge).
pub const QUERY_ITEMS_MAX: usize = 128;

/// Most kinds of one item of a query.
pub const QUERY_KINDS_MAX: usize = 64;

/// Most conditions of one append.
pub const CONDITIONS_MAX: usize = 16;

/// Largest segment, in bytes; a frame that does not fit causes a rollover. Only a single frame that is larger than the
/// segment size in force makes a larger segment.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// Largest valid offset in a segment, in bytes: no segment file is ever longer. A structure with a larger one is damaged,
/// even if its checksum is right.
pub const SEGMENT_OFFSET_MAX: u64 = 4 * SEGMENT_BYTES_MAX;

/// Largest valid seq: more than a million a second for a hundred thousand years. A structure with a larger one is damaged,
/// even if its checksum is right.
pub const SEQ_MAX: u64 = 1 << 62;

/// Smallest next seq of a journal of which only `IDENTITY` is left. The next seq is the microseconds since 1970, which no
/// journal reaches by counting.
pub const SEQ_AFTER_VANISHING_MIN: u64 = 1 << 40;

/// Largest next seq of such a journal, however wrong the clock is: half of the valid seqs are left.
pub const SEQ_AFTER_VANISHING_MAX: u64 = SEQ_MAX / 2;

/// Smallest segment size that is ever used, in bytes, however small the file system.
pub const SEGMENT_BYTES_MIN: u64 = 256 << 10;

/// A segment takes at most this fraction of the file system and of the storage limit.
pub const SEGMENT_SHARE: u64 = 32;

/// Bytes of records that may wait for a sync in memory. An `append_unsynced` that would exceed it syncs first.
pub const UNSYNCED_BYTES_MAX: usize = 32 << 20;

/// Space reserved in the active segment for control records, in bytes, so that a full disk can still be recorded and
/// pruned; an eighth of the segment if that is less.
pub const RESERVE_BYTES: u64 = 64 << 10;

/// Smallest preallocation step, in bytes; a spare segment has this size. Half a segment if that is less.
pub const PREALLOCATE_BYTES_MIN: u64 = 256 << 10;

/// Largest preallocation step, in bytes. Steps grow with the segment from the smallest to this one.
pub const PREALLOCATE_BYTES_MAX: u64 = 4 << 20;

/// Keyed records in one segment; the next one causes a rollover. Bounds the keys held in memory.
pub const SEGMENT_KEYS_MAX: usize = 1 << 18;

/// Terms (kinds and tags) in one segment; the next batch causes a rollover. With the next limit, it bounds the memory of the
/// index of the active segment.
pub const SEGMENT_TERMS_MAX: usize = 1 << 18;

/// Places of terms in frames of one segment; the next batch causes a rollover.
pub const SEGMENT_POSTINGS_MAX: usize = 1 << 20;

/// Separate ranges of pruned seqs that a segment header can name. A pruning that would need more leaves its
/// newest segments for a later one.
pub const PRUNED_RANGES_MAX: usize = 176;

/// Separate ranges of lost seqs that a segment header can name. Beyond it the newest two are joined into one.
pub const GAPS_MAX: usize = 64;

/// Segments that one tombstone can name. Pruning more needs several.
pub const TOMBSTONE_SEGMENTS_MAX: usize = 65_536;

/// Unreadable blocks (EIO) of one segment after which the rest of it counts as lost.
pub const UNREADABLE_BLOCKS_MAX: usize = 256;

/// Wall clock and boot clock may disagree by this much between two samples, in microseconds, before
/// `ClockStepped` is appended.
pub const CLOCK_STEP_MICROS: i64 = 2_000_000;

/// Bytes a reader asks for at once.
pub(crate) const READ_AHEAD_BYTES: usize = 256 << 10;

/// Bytes after which a segment's content digest is chained; see `docs/FORMAT.md`.
pub(crate) const DIGEST_BLOCK_BYTES: u64 = 64 << 10;

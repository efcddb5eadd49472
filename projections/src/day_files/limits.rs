//! Every limit of the text files, and what happens there.

/// Events that wait for their description at the same time; one more, and the oldest is written without.
pub const HELD_MAX: usize = 256;

/// Seqs of waiting events in one checkpoint, those among them that the journal may have lost; of the latter, more are
/// left out.
pub(super) const HELD_LISTED_MAX: usize = 2 * HELD_MAX;

/// Largest length that a checkpoint lists, in bytes; one that lists more is none of ours.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 56;

/// Day files open at the same time; one more, and the one used longest ago is closed.
pub(super) const HANDLES_MAX: usize = 24;

/// Bytes rendered and not yet written of one file; at more they are written.
pub(super) const FILE_BUFFER_BYTES_MAX: usize = 256 << 10;

/// Bytes rendered and not yet written, all files together; at more they are written. An event that arrives alone is
/// written at once.
pub(super) const BUFFERED_BYTES_MAX: usize = 4 << 20;

/// Bytes written after the last checkpoint, all files together; at more there is a new one. Bounds what a start
/// after a crash renders again, and the memory that takes.
pub(super) const UNLISTED_BYTES_MAX: u64 = 16 << 20;

/// Bytes behind the listed lengths that an opening reads, all files together; a file with more cannot be ours and is
/// rebuilt.
pub(super) const TAILS_BYTES_MAX: u64 = 64 << 20;

/// Bytes of a file read at once when it is compared.
pub(super) const COMPARED_BYTES: usize = 64 << 10;

/// Characters of a line that a difference shows.
pub(super) const SHOWN_CHARS_MAX: usize = 80;

/// Bytes of a file in which a verification looks for an entry behind those of lost records; what lies further away is
/// reported as missing.
pub(super) const SEARCHED_BYTES_MAX: usize = 4 << 20;

/// Different entries of one file that a verification remembers to have passed over, behind a loss; one more, and it is
/// reported if it should have come later.
pub(super) const PASSED_MAX: usize = 1 << 16;

/// Ranges of lost records that a verification keeps; with more the last ones are merged.
pub(super) const LOST_RANGES_MAX: usize = 10_000;

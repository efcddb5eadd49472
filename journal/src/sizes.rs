//! [`Sizes`]: the sizes in force for one journal, scaled down where its segments are small.

use crate::limits::{
    BLOCK_BYTES, PREALLOCATE_BYTES_MAX, PREALLOCATE_BYTES_MIN, RESERVE_BYTES, SEGMENT_BYTES_MAX,
};

/// How large segments grow, in which steps, and what is kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) segment_max: u64,
    /// Smallest step of preallocation, and the size of a spare.
    pub(crate) step_min: u64,
    pub(crate) step_max: u64,
    /// Kept back for the journal's own records.
    pub(crate) reserve: u64,
    /// Each sync pads to this many bytes; 1 does not pad.
    pub(crate) pad: u64,
}

impl Sizes {
    pub(crate) fn new(segment_max: u64, pad: u64) -> Self {
        let blocks = |bytes: u64| (bytes / BLOCK_BYTES).max(1) * BLOCK_BYTES;
        let segment_max = segment_max.clamp(8 * BLOCK_BYTES, SEGMENT_BYTES_MAX);
        Self {
            segment_max: blocks(segment_max),
            step_min: blocks((segment_max / 2).min(PREALLOCATE_BYTES_MIN)),
            step_max: PREALLOCATE_BYTES_MAX,
            reserve: blocks((segment_max / 8).min(RESERVE_BYTES)),
            pad,
        }
    }

    /// The offset at which a sync that ends at `end` leaves off.
    pub(crate) const fn padded(&self, end: u64) -> u64 {
        end.next_multiple_of(self.pad)
    }
}

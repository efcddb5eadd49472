//! [`Options`], with which a journal is opened, and the sizes that follow from them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::{
    BLOCK_BYTES, PREALLOCATE_BYTES_MAX, PREALLOCATE_BYTES_MIN, RESERVE_BYTES, SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN, SEGMENT_SHARE,
};
use crate::storage::{RealStorage, Storage};
use crate::time::{Clock, SystemClock};

/// Called with the duration of each sync of a segment.
///
/// It runs while the journal is locked: it must return at once, must not call the journal and must not panic, because
/// every caller that appends waits for it.
pub type OnSync = Arc<dyn Fn(Duration) + Send + Sync>;

/// How a journal is opened; the defaults suit a recorder.
#[derive(Clone)]
pub struct Options {
    /// The file system, or a simulated one.
    pub storage: Arc<dyn Storage>,
    /// The only source of time.
    pub clock: Arc<dyn Clock>,
    /// Limit on the bytes of everything in the data directory; it bounds the size of segments.
    pub storage_limit_bytes: Option<u64>,
    /// Largest segment in bytes, instead of the size that follows from the file system and the storage limit.
    pub segment_bytes_max: Option<u64>,
    /// The next segment begins a new incarnation: this journal is a copy from now on.
    pub new_incarnation: bool,
    /// Seed of salts and identities, for simulations and golden files; `None`: the operating system's random bytes.
    pub seed: Option<u64>,
    /// How many bits of the index's hashes are used, for tests of collisions.
    #[cfg(any(test, feature = "simulation"))]
    pub index_hash_bits: u32,
    /// Called after every sync, for callers that measure more than [`JournalStats`](crate::JournalStats) has.
    pub on_sync: Option<OnSync>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            storage: Arc::new(RealStorage),
            clock: Arc::new(SystemClock::default()),
            storage_limit_bytes: None,
            segment_bytes_max: None,
            new_incarnation: false,
            seed: None,
            #[cfg(any(test, feature = "simulation"))]
            index_hash_bits: u64::BITS,
            on_sync: None,
        }
    }
}

impl Options {
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) const fn hash_bits(&self) -> u32 {
        self.index_hash_bits
    }

    #[cfg(not(any(test, feature = "simulation")))]
    #[expect(clippy::unused_self, reason = "tests choose it")]
    pub(crate) const fn hash_bits(&self) -> u32 {
        u64::BITS
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Options")
            .field("storage", &self.storage)
            .field("storage_limit_bytes", &self.storage_limit_bytes)
            .field("segment_bytes_max", &self.segment_bytes_max)
            .finish_non_exhaustive()
    }
}

/// The sizes in force for one journal, scaled down where its segments are small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) segment_max: u64,
    /// Smallest step of preallocation, and the size of a spare.
    pub(crate) step_min: u64,
    pub(crate) step_max: u64,
    /// Kept free for control records.
    pub(crate) reserve: u64,
}

impl Sizes {
    /// The sizes for a journal below `root`.
    pub(crate) fn of(options: &Options, root: &Path) -> Self {
        Self::new(options.segment_bytes_max.unwrap_or_else(|| {
            let space = options.storage.space(root);
            let total = space.map_or(u64::MAX, |space| space.total_bytes);
            let room = total.min(options.storage_limit_bytes.unwrap_or(u64::MAX));
            (room / SEGMENT_SHARE).max(SEGMENT_BYTES_MIN)
        }))
    }

    fn new(segment_max: u64) -> Self {
        let blocks = |bytes: u64| (bytes / BLOCK_BYTES).max(1) * BLOCK_BYTES;
        let segment_max = segment_max.clamp(8 * BLOCK_BYTES, SEGMENT_BYTES_MAX);
        Self {
            segment_max: blocks(segment_max),
            step_min: blocks((segment_max / 2).min(PREALLOCATE_BYTES_MIN)),
            step_max: PREALLOCATE_BYTES_MAX,
            reserve: blocks((segment_max / 8).min(RESERVE_BYTES)),
        }
    }
}

/// The offset at which a sync that ends at `end` stops: no later write touches a block that holds synced frames.
pub(crate) const fn padded(end: u64) -> u64 {
    end.next_multiple_of(BLOCK_BYTES)
}

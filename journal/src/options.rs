//! [`Options`]: how a journal is opened.

use std::sync::Arc;
use std::time::Duration;

use crate::limits::BLOCK_BYTES;
use crate::storage::{RealStorage, Storage};
use crate::time::{Clock, SystemClock};

/// Told how long each sync of a segment took.
///
/// Called while the journal is locked: it must return at once, must not call the journal and must not panic, for all
/// who append wait for it.
pub type OnSync = Arc<dyn Fn(Duration) + Send + Sync>;

/// How a journal is opened; the defaults suit a recorder.
#[derive(Clone)]
pub struct Options {
    /// Where the files are.
    pub storage: Arc<dyn Storage>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Most bytes that everything in the data directory may take: bounds the size of segments.
    pub storage_limit_bytes: Option<u64>,
    /// Largest segment in bytes, instead of the one that follows from the file system and the storage limit.
    pub segment_bytes_max: Option<u64>,
    /// Every sync pads to the block of the medium and never writes it again. Turn it off for media with powersafe
    /// overwrite only: a power cut then cannot damage what a block already holds.
    pub pad_to_block: bool,
    /// The next segment begins a new incarnation of the journal: it is a copy that goes its own way.
    pub new_incarnation: bool,
    /// Salts and identities come from this seed instead of the operating system: simulations, golden files.
    pub seed: Option<u64>,
    /// Hears of every sync that returned, for those who measure more than [`JournalStats`](crate::JournalStats) has.
    pub on_sync: Option<OnSync>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            storage: Arc::new(RealStorage),
            clock: Arc::new(SystemClock::default()),
            storage_limit_bytes: None,
            segment_bytes_max: None,
            pad_to_block: true,
            new_incarnation: false,
            seed: None,
            on_sync: None,
        }
    }
}

impl Options {
    pub(crate) const fn pad_bytes(&self) -> u64 {
        if self.pad_to_block { BLOCK_BYTES } else { 1 }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Options")
            .field("storage", &self.storage)
            .field("storage_limit_bytes", &self.storage_limit_bytes)
            .field("segment_bytes_max", &self.segment_bytes_max)
            .field("pad_to_block", &self.pad_to_block)
            .finish_non_exhaustive()
    }
}

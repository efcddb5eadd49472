//! [`FileId`] and [`DayFile`]: one file of one day, how long it is and what of it is where.

use lenslog_journal::Day;
use serde::{Deserialize, Serialize};

use super::mark::Mark;
use super::tail::Tail;

/// Names one file of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct FileId {
    #[serde(with = "lenslog_engine::sealed::day")]
    pub(super) day: Day,
    /// Index into [`Format::FILES`](super::format::Format::FILES).
    pub(super) index: usize,
}

impl FileId {
    /// A day outside the calendar belongs to the nearest one that has a name.
    pub(super) fn new(day: Day, index: usize) -> Self {
        Self { day: Day(day.0.clamp(Day::MIN.0, Day::MAX.0)), index }
    }
}

/// One file, as far as this process knows it.
#[derive(Debug, Default)]
pub(super) struct DayFile {
    /// The end of what was written, or would have been where the file is faulty.
    pub(super) written: Mark,
    /// Rendered behind that, and not yet written.
    pub(super) buffer: Vec<u8>,
    /// The present length of the file, unless another process changed it; at least the written length.
    pub(super) on_disk: u64,
    /// Device and inode; `None` where a rebuild has not made it yet.
    pub(super) identity: Option<(u64, u64)>,
    /// Written since it was synced last.
    pub(super) dirty: bool,
    /// Why the file cannot be appended to and must be rebuilt.
    pub(super) fault: Option<String>,
    /// What was found behind the listed length.
    pub(super) tail: Option<Tail>,
}

impl DayFile {
    /// Where the next entry goes: the end of what was rendered.
    pub(super) fn end(&self) -> u64 {
        self.written.len + self.buffer.len() as u64
    }

    /// What a checkpoint lists, once everything is written: behind it everything is rendered again after a crash.
    pub(super) fn listing(&self) -> Mark {
        match &self.tail {
            Some(Tail::Kept(kept)) => kept.from,
            _ => self.written,
        }
    }
}

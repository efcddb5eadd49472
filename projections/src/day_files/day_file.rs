//! [`FileId`] and [`DayFile`]: one file of one day, how long it is and what of it is where.

use lenslog_journal::Day;

use super::tail::Tail;

/// Names one file of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileId {
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

/// A length, and the CRC of everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    pub(super) len: u64,
    pub(super) crc: u32,
}

impl Mark {
    /// The mark behind `bytes` that follow.
    pub(super) fn after(self, bytes: &[u8]) -> Self {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.crc);
        hasher.update(bytes);
        Self { len: self.len + bytes.len() as u64, crc: hasher.finalize() }
    }
}

/// One file, as far as this process knows it.
#[derive(Debug, Default)]
pub(super) struct DayFile {
    /// The end of what was written, or would have been where the file was given up.
    pub(super) written: Mark,
    /// Rendered behind that, and not yet written.
    pub(super) buffer: Vec<u8>,
    /// The length that the file has now if nobody else touched it; at least what was written.
    pub(super) on_disk: u64,
    /// Device and inode; `None` where a rebuild has not made it yet.
    pub(super) identity: Option<(u64, u64)>,
    /// Written since it was synced last.
    pub(super) dirty: bool,
    /// Why it cannot be appended to and must be made again.
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

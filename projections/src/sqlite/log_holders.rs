//! [`HeldLog`]: a write-ahead log that grows because a reader of the database does not end.
//!
//! The log restarts only when no process reads it. A reader that is never done, of whatever program, makes it grow with
//! every row, and what it takes counts against the storage limit. The locks on the log's index name the readers.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::files::DatabaseFiles;
use super::locks::{Lock, locks_on};

/// A log of more bytes than this that cannot be cut is reported. Ordinarily it is cut at half of that.
pub(super) const LOG_BYTES_REPORTED: u64 = 32 << 20;
/// Nothing more is written to a log of more bytes than this that cannot be cut: rows wait in the journal until it can.
/// One transaction may lead beyond it.
pub const LOG_BYTES_MAX: u64 = 128 << 20;

/// The bytes of the index that those who read the log lock, one of them each. The byte before them is locked by those
/// who need nothing of the log.
const READER_LOCKS: std::ops::RangeInclusive<u64> = 124..=127;
/// Times the locks are looked at: a long list of them may miss one that is there while others come and go.
const LOOKS_MAX: usize = 5;
/// Readers that are named.
const NAMED_MAX: usize = 5;

/// A log that has grown, and who reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldLog {
    /// The log.
    pub path: PathBuf,
    /// Bytes of it.
    pub bytes: u64,
    /// The processes that read it, each once; none where the system does not name them.
    pub readers: Vec<u32>,
}

/// The database's log, where it is larger than it ever is while all readers come to an end.
#[must_use]
pub fn held_database_log(path: &Path) -> Option<HeldLog> {
    let files = DatabaseFiles::at(path);
    let bytes = log_bytes(&files);
    (bytes > LOG_BYTES_REPORTED)
        .then(|| HeldLog::of(&files, bytes))
        .filter(|log| !log.readers.is_empty())
}

/// Bytes of the log, none where there is none.
pub(super) fn log_bytes(files: &DatabaseFiles) -> u64 {
    fs::metadata(files.wal()).map_or(0, |log| log.len())
}

impl HeldLog {
    pub(super) fn of(files: &DatabaseFiles, bytes: u64) -> Self {
        let look = |_| readers(&locks_on(&files.index()));
        let readers = (0..LOOKS_MAX).map(look).find(|found| !found.is_empty()).unwrap_or_default();
        Self { path: files.wal(), bytes, readers }
    }
}

impl fmt::Display for HeldLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<_> = self.readers.iter().take(NAMED_MAX).map(|pid| called(*pid)).collect();
        let who = if named.is_empty() { "a program".to_owned() } else { named.join(", ") };
        let more = self.readers.len().saturating_sub(NAMED_MAX);
        write!(formatter, "{who} ")?;
        if more > 0 {
            write!(formatter, "and {more} more ")?;
        }
        write!(
            formatter,
            "reads the database and does not end, so that its log cannot be cut; end that query"
        )
    }
}

fn called(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name: String = name.trim().chars().filter(|letter| !letter.is_control()).collect();
    if name.is_empty() { format!("process {pid}") } else { format!("process {pid} ({name})") }
}

/// The processes that hold a reader's lock, each once.
fn readers(locks: &[Lock]) -> Vec<u32> {
    let is_reader = |lock: &&Lock| {
        let (first, last) = lock.bytes;
        lock.is_shared && first <= *READER_LOCKS.end() && last >= *READER_LOCKS.start()
    };
    let mut readers: Vec<u32> =
        locks.iter().filter(is_reader).filter_map(|lock| lock.pid).collect();
    readers.sort_unstable();
    readers.dedup();
    readers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_told_by_the_bytes_that_they_lock() {
        let lock = |pid, is_shared, bytes| Lock { pid: Some(pid), is_shared, bytes };
        let locks = [
            lock(4711, true, (124, 124)),
            lock(4711, true, (126, 126)),
            lock(12, true, (123, 123)),
            lock(13, false, (120, 120)),
            lock(14, true, (128, 128)),
            lock(42, true, (123, 127)),
            Lock { pid: None, ..lock(0, true, (124, 124)) },
        ];
        assert_eq!(readers(&locks), [42, 4711]);
    }
}

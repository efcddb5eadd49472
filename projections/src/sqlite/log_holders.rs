//! [`HeldLog`]: a write-ahead log that grows because somebody reads the database and does not end.
//!
//! The log begins anew only when nobody reads it. A reader that is never done, of whatever program, makes it grow with
//! every row, and what it takes counts against the storage limit. Who reads is told by the locks on the log's index;
//! neither that nor the log itself is opened here.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::files::DatabaseFiles;

/// A log of more bytes than this that cannot be cut is told. Ordinarily it is cut at half of that.
pub(super) const LOG_BYTES_TOLD: u64 = 32 << 20;
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
    /// The processes that read it, each once; none where the system does not tell.
    pub readers: Vec<u32>,
}

/// The database's log, where it is larger than it ever is while all readers come to an end.
#[must_use]
pub fn held_database_log(path: &Path) -> Option<HeldLog> {
    let files = DatabaseFiles::at(path);
    let bytes = log_bytes(&files);
    (bytes > LOG_BYTES_TOLD)
        .then(|| HeldLog::of(&files, bytes))
        .filter(|log| !log.readers.is_empty())
}

/// Bytes of the log, none where there is none.
pub(super) fn log_bytes(files: &DatabaseFiles) -> u64 {
    fs::metadata(files.wal()).map_or(0, |log| log.len())
}

impl HeldLog {
    pub(super) fn of(files: &DatabaseFiles, bytes: u64) -> Self {
        let inode = fs::metadata(files.index()).map(|index| index.ino());
        let look = |_| {
            let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
            inode.as_ref().map_or_else(|_| Vec::new(), |inode| readers(&locks, *inode))
        };
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

/// The processes that hold a reader's lock on the index of this inode, as `/proc/locks` tells.
fn readers(locks: &str, inode: u64) -> Vec<u32> {
    let ending = format!(":{inode}");
    let mut readers: Vec<u32> = locks.lines().filter_map(|line| reader(line, &ending)).collect();
    readers.sort_unstable();
    readers.dedup();
    readers
}

/// `1: POSIX  ADVISORY  READ 4711 08:01:131074 124 124`
fn reader(line: &str, ending: &str) -> Option<u32> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [_, _, _, "READ", pid, file, from, to] = words[..] else { return None };
    let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
    let is_reader =
        file.ends_with(ending) && from <= *READER_LOCKS.end() && to >= *READER_LOCKS.start();
    pid.parse().ok().filter(|pid| is_reader && *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_told_by_their_locks_on_the_index() {
        let locks = "1: POSIX  ADVISORY  READ  4711 08:01:131074 124 124
2: POSIX  ADVISORY  READ  4711 08:01:131074 126 126
3: POSIX  ADVISORY  READ  12 08:01:131074 123 123
4: POSIX  ADVISORY  WRITE 13 08:01:131074 120 120
5: POSIX  ADVISORY  READ  14 08:01:131074 128 128
6: POSIX  ADVISORY  READ  15 08:01:9131074 124 124
7: POSIX  ADVISORY  READ  42 08:01:131074 123 127
8: -> POSIX  ADVISORY  READ  99 08:01:131074 124 124
9: OFDLCK ADVISORY  READ  -1 08:01:131074 124 124
10: FLOCK  ADVISORY  WRITE 7 08:01:131074 0 EOF
nonsense";
        assert_eq!(readers(locks, 131_074), [42, 4711]);
    }
}

//! The free space of the file systems that data is on, and what a quota leaves of it.

use std::io::ErrorKind;
use std::path::Path;

use lenslog_projections::room_refused;
use rustix::fs::{
    FallocateFlags, FsWord, Mode, OFlags, StatVfs, fallocate, open, statfs, statvfs, syncfs,
};
use rustix::io::Errno;

/// A file system counts as full when less than this share of it is free, so that there is room to end in good order…
const KEPT_SHARE: u64 = 100;
/// … but this many bytes at least …
const KEPT_MIN: u64 = 1 << 20;
/// … and no more than this.
const KEPT_MAX: u64 = 64 << 20;
/// A file system has plenty free where it is more than this part of it.
const PLENTY: u64 = 3;
/// The magic number of btrfs.
const BTRFS: FsWord = 0x9123_683E;
/// A file system that says that so much is free is asked to take it: `statvfs` knows of no quota.
const PROBE_BYTES: usize = 1 << 20;
/// What a quota leaves is measured in this part of what is used, up to as much as is used.
const QUOTA_PARTS: u64 = 16;

/// What lies on one file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Volume<'p> {
    /// A directory on it.
    pub(super) path: &'p Path,
    /// Bytes of ours on it; free pages of the database are not among them.
    pub(super) used: u64,
    /// Bytes that the database can take there before its file grows, where nothing but the database is on it. It goes
    /// on without it, and so may take the last byte.
    pub(super) only_database: Option<u64>,
    /// A quota was met there.
    pub(super) has_quota: bool,
}

impl Volume<'_> {
    /// Whether a quota leaves no room where the file system has some.
    pub(super) fn meets_quota(&self) -> bool {
        let has_room = free_bytes(self.path).is_some_and(|free| free > PROBE_BYTES as u64);
        let refused = has_room.then(|| room_refused(self.path, PROBE_BYTES)).flatten();
        refused.is_some_and(|error| error.kind() == ErrorKind::QuotaExceeded)
    }

    /// Bytes that a quota leaves there, in parts of what is used, and at most as much as is used: with more it is far
    /// from full.
    fn left_by_quota(&self) -> u64 {
        let part = (self.used / QUOTA_PARTS).max(PROBE_BYTES as u64);
        let (mut fits, mut refused) = (0, QUOTA_PARTS + 1);
        while fits + 1 < refused {
            let middle = fits.midpoint(refused);
            if is_granted(self.path, part * middle) { fits = middle } else { refused = middle }
        }
        part * fits
    }

    /// Bytes that ours may take there in all; negative where the file system is fuller than it should be. `None`
    /// where it cannot be asked.
    fn capacity(&self) -> Option<i128> {
        if self.only_database.is_some() && self.used == 0 {
            // There is none yet: deleting makes no room for it.
            return None;
        }
        let stat = settled(self.path).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        let (mut all, mut free) = (bytes(stat.f_blocks), bytes(stat.f_bavail));
        if self.has_quota {
            free = free.min(self.left_by_quota());
            all = all.min(self.used.saturating_add(free));
        }
        let room = match self.only_database {
            Some(pages) => i128::from(free) + i128::from(pages),
            None => room_of(all, free),
        };
        Some(i128::from(self.used) + room)
    }
}

/// How far `total` bytes on all of these reach before the first of them is full, each taking the share that it has
/// now. `None` where it is unknown.
pub(super) fn reach(total: u64, volumes: &[Volume<'_>]) -> Option<u64> {
    let reaches = volumes.iter().filter_map(|volume| {
        let capacity = volume.capacity()?;
        Some(reach_of(total, volume.used, capacity))
    });
    reaches.min()
}

fn reach_of(total: u64, used: u64, capacity: i128) -> u64 {
    let others = i128::from(total) - i128::from(used);
    let capacity = capacity.max(0);
    let share = match used {
        0 => capacity + others,
        _ => capacity.saturating_mul(i128::from(total)) / i128::from(used),
    };
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// What a file system says of itself, once it knows: a btrfs counts neither what it has not placed yet nor what it has
/// not given back, until it commits. With plenty free that does not matter.
fn settled(path: &Path) -> rustix::io::Result<StatVfs> {
    let stat = statvfs(path)?;
    let has_plenty = stat.f_bavail > stat.f_blocks / PLENTY;
    if has_plenty || statfs(path)?.f_type != BTRFS {
        return Ok(stat);
    }
    syncfs(open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)?;
    statvfs(path)
}

/// Bytes that are free on the file system of a directory, whatever a quota leaves of them.
pub(super) fn free_bytes(directory: &Path) -> Option<u64> {
    let stat = statvfs(directory).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether so much can be allocated; also where a file system cannot be asked.
fn is_granted(directory: &Path, bytes: u64) -> bool {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let allocated = open(directory, flags, Mode::RUSR | Mode::WUSR)
        .and_then(|file| fallocate(&file, FallocateFlags::KEEP_SIZE, 0, bytes));
    !matches!(allocated, Err(Errno::DQUOT | Errno::NOSPC))
}

fn room_of(total: u64, free: u64) -> i128 {
    let kept = (total / KEPT_SHARE).clamp(KEPT_MIN, KEPT_MAX);
    i128::from(free) - i128::from(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_of_a_file_system_is_kept_free() {
        assert_eq!(room_of(64_000_000, 10_000_000), 10_000_000 - (1 << 20));
        assert_eq!(room_of(1_000_000_000, 10_000_000), 0);
        assert_eq!(room_of(1_000_000_000_000, 0), -(64 << 20));
    }

    #[test]
    fn what_is_not_there_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let volume = |path| Volume { path, used: 1, only_database: None, has_quota: false };
        assert!(reach(1, &[volume(directory.path()), volume(Path::new("/no/such"))]).is_some());
        assert_eq!(reach(1, &[volume(Path::new("/no/such/place"))]), None);
    }

    #[test]
    fn each_takes_its_share_of_what_comes() {
        assert_eq!(reach_of(1_000, 1_000, 1_500), 1_500, "all is on one");
        assert_eq!(reach_of(1_000, 1_000, 900), 900, "fuller than it should be");
        assert_eq!(reach_of(1_000, 1_000, -5), 0);
        assert_eq!(reach_of(1_000, 100, 200), 2_000, "a tenth is on a small one, half full");
        assert_eq!(reach_of(1_000, 0, 200), 1_200, "nothing is on it yet");
        assert_eq!(reach_of(u64::MAX, 1, i128::from(u64::MAX)), u64::MAX);
    }

    #[test]
    fn a_database_disk_counts_with_its_free_pages() {
        let directory = tempfile::tempdir().unwrap();
        let volume = |used, only_database| Volume {
            path: directory.path(),
            used,
            only_database,
            has_quota: false,
        };
        assert_eq!(volume(0, Some(0)).capacity(), None);
        assert!(volume(0, None).capacity().is_some());
        // More than anything that others write meanwhile.
        let pages = 1 << 50;
        let (with, without) = (volume(1, Some(pages)).capacity(), volume(1, Some(0)).capacity());
        assert!(with.unwrap() - without.unwrap() > i128::from(pages / 2));
    }
}

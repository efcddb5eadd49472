//! The free space of the file systems that data is on.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FsWord, Mode, OFlags, StatVfs, open, statfs, statvfs, syncfs};

/// A file system counts as full when less than this share of it is free, so that there is room to end in good order…
const KEPT_SHARE: u64 = 100;
/// … but this many bytes at least …
const KEPT_MIN: u64 = 1 << 20;
/// … and no more than this.
const KEPT_MAX: u64 = 64 << 20;
/// A file system has plenty free where it is more than this part of it.
const PLENTY: u64 = 3;
/// What tells a btrfs.
const BTRFS: FsWord = 0x9123_683E;

/// Bytes that may still be written to the fullest of the file systems that these paths are on; negative where it is
/// fuller than it should be. `None` where none of them can be asked.
pub(super) fn room<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Option<i128> {
    let mut devices = BTreeSet::new();
    paths
        .into_iter()
        .filter(|path| fs::metadata(path).is_ok_and(|found| devices.insert(found.dev())))
        .filter_map(|path| settled(path).ok())
        .map(|stat| {
            let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
            room_of(bytes(stat.f_blocks), bytes(stat.f_bavail))
        })
        .min()
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
        assert!(room([directory.path(), Path::new("/no/such/place")]).is_some());
        assert_eq!(room([Path::new("/no/such/place")]), None);
    }
}

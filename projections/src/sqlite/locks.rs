//! [`Lock`]: a lock on bytes of a file, and its process, read from `/proc/locks`.
//!
//! Asking the file itself would take opening and closing it, which drops the locks that this process holds on it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{major, minor};

/// A lock that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lock {
    /// Who holds it; none where no single process does.
    pub(super) pid: Option<u32>,
    /// Whether others may hold it too.
    pub(super) is_shared: bool,
    /// The first and the last byte.
    pub(super) bytes: (u64, u64),
}

/// The locks held on a file at this moment; none where the file does not exist.
pub(super) fn locks_on(path: &Path) -> Vec<Lock> {
    let Ok(found) = fs::metadata(path) else { return Vec::new() };
    let file = Identity { device: (major(found.dev()), minor(found.dev())), inode: found.ino() };
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    locks.lines().filter_map(|line| lock_on(file, line)).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: (u32, u32),
    inode: u64,
}

impl Identity {
    /// `08:01:131074`: the device in hexadecimal digits, the inode in decimal ones.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mut device = || u32::from_str_radix(parts.next()?, 16).ok();
        let device = (device()?, device()?);
        Some(Self { device, inode: parts.next()?.parse().ok()? })
    }

    /// Whether they may be the same file. A file system without a device of its own, such as btrfs, may go by one
    /// number here and by another one there.
    fn may_be(self, other: Self) -> bool {
        let is_anonymous = self.device.0 == 0 && other.device.0 == 0;
        self.inode == other.inode && (is_anonymous || self.device == other.device)
    }
}

/// `1: POSIX  ADVISORY  READ  4711 08:01:131074 124 124`; one that is waited for has an arrow behind its number.
fn lock_on(file: Identity, line: &str) -> Option<Lock> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [_, _, _, mode, pid, held, from, to] = words[..] else { return None };
    let last = if to == "EOF" { u64::MAX } else { to.parse().ok()? };
    let lock = Lock {
        pid: pid.parse().ok().filter(|pid| *pid > 0),
        is_shared: mode == "READ",
        bytes: (from.parse().ok()?, last),
    };
    Identity::parse(held)?.may_be(file).then_some(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(device: (u32, u32), text: &str) -> Vec<Lock> {
        let file = Identity { device, inode: 131_074 };
        text.lines().filter_map(|line| lock_on(file, line)).collect()
    }

    #[test]
    fn a_lock_on_another_file_of_that_number_is_none_on_this_one() {
        let text = "1: POSIX  ADVISORY  READ  11 08:11:131074 124 124
2: POSIX  ADVISORY  READ  12 08:12:131074 124 124
3: POSIX  ADVISORY  READ  13 08:11:9131074 124 124
4: -> POSIX  ADVISORY  READ  14 08:11:131074 124 124
5: OFDLCK ADVISORY  WRITE -1 08:11:131074 0 EOF
6: POSIX  ADVISORY  READ  15 00:31:131074 124 124
nonsense";
        let expected = [
            Lock { pid: Some(11), is_shared: true, bytes: (124, 124) },
            Lock { pid: None, is_shared: false, bytes: (0, u64::MAX) },
        ];
        assert_eq!(found((8, 0x11), text), expected);
        // btrfs reports one device number for the file and another one for the lock.
        let pids: Vec<_> = found((0, 0x2a), text).iter().map(|lock| lock.pid).collect();
        assert_eq!(pids, [Some(15)]);
    }

    #[test]
    fn a_lock_that_is_held_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = fs::File::create(&path).unwrap();
        assert_eq!(locks_on(&path), []);
        rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let all = Lock { pid: Some(std::process::id()), is_shared: false, bytes: (0, u64::MAX) };
        assert_eq!(locks_on(&path), [all]);
        drop(file);
        assert_eq!(locks_on(&path), []);
    }
}

//! [`room_refused`]: whether a file system takes what is written to it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

/// Bytes of one write.
const BLOCK_BYTES: usize = 64 << 10;

/// Tries to write `bytes` to a file without a name in `directory`, and returns the obstacle: a full disk, a
/// quota, a limit on the size of files.
///
/// `statvfs` knows of no quota: under one, a file system has room and takes nothing. `None` where the bytes fit, and
/// where this file system makes no files without a name. The file is gone before the bytes reach the medium.
#[must_use]
pub fn room_refused(directory: &Path, bytes: usize) -> Option<io::Error> {
    let write = || -> io::Result<()> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let mut file = File::from(open(directory, flags, Mode::RUSR | Mode::WUSR)?);
        let block = [0x5a; BLOCK_BYTES];
        let mut left = bytes;
        while left > 0 {
            let count = left.min(BLOCK_BYTES);
            file.write_all(block.get(..count).unwrap_or_default())?;
            left -= count;
        }
        Ok(())
    };
    write().err().filter(lacks_room)
}

/// Whether an error means that there is no room: a full disk, a quota, a limit on the size of files.
#[must_use]
pub fn lacks_room(error: &io::Error) -> bool {
    [Errno::NOSPC, Errno::DQUOT, Errno::FBIG]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_with_room_refuses_nothing_and_keeps_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert!(room_refused(directory.path(), 100_000).is_none());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(room_refused(&directory.path().join("none"), 1).is_none(), "it is not there");
    }

    #[test]
    fn only_errors_about_room_lack_room() {
        for (errno, lacks) in [
            (Errno::NOSPC, true),
            (Errno::DQUOT, true),
            (Errno::FBIG, true),
            (Errno::IO, false),
            (Errno::ACCESS, false),
        ] {
            assert_eq!(lacks_room(&errno.into()), lacks, "{errno}");
        }
        assert!(!lacks_room(&io::ErrorKind::FileTooLarge.into()), "no word of the system");
    }
}

//! [`RealStorage`]: the operating system's files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::holder::holder_of;
use super::{
    Access, DirectoryEntry, EntryKind, FileStat, LockError, LockGuard, Space, Storage, StorageFile,
};
use crate::mapped::Mapped;

/// A lock is asked for this often, with [`LOCK_PAUSE`] between: readers probe it for an instant.
const LOCK_ATTEMPTS: usize = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The operating system's files, written with `pwrite` and made durable with `fdatasync`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealStorage;

#[derive(Debug)]
struct RealFile(File);

#[derive(Debug)]
struct RealLock(
    #[expect(dead_code, reason = "held for its flock, released when it is closed")] File,
);

impl LockGuard for RealLock {}

impl Storage for RealStorage {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .mode(0o644)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        match access {
            Access::Read => &mut options,
            Access::Write => options.write(true),
            Access::Create => options.write(true).create(true).truncate(false),
            Access::Truncate => options.write(true).create(true).truncate(true),
        };
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<DirectoryEntry>> {
        fs::read_dir(directory)?
            .map(|entry| {
                let entry = entry?;
                Ok(DirectoryEntry { name: entry.file_name(), kind: kind_of(entry.file_type()?) })
            })
            .collect()
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        fs::symlink_metadata(path).map(|metadata| stat_of(&metadata))
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        fs::remove_dir(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(or_current(directory))?.sync_all()
    }

    fn lock(&self, directory: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        let file = File::open(or_current(directory)).map_err(LockError::Io)?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => return Ok(Box::new(RealLock(file))),
                Err(TryLockError::WouldBlock) if attempt < LOCK_ATTEMPTS => {
                    thread::sleep(LOCK_PAUSE)
                }
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
            }
        }
        let inode = file.metadata().map_err(LockError::Io)?.ino();
        Err(LockError::Held { holder: holder_of(directory, inode) })
    }

    fn is_locked(&self, directory: &Path) -> io::Result<bool> {
        match File::open(or_current(directory))?.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(or_current(path))?;
        Ok(Space {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn disable_copy_on_write(&self, directory: &Path) {
        let result = File::open(or_current(directory)).and_then(|file| {
            let flags = rustix::fs::ioctl_getflags(&file)?;
            Ok(rustix::fs::ioctl_setflags(&file, flags | rustix::fs::IFlags::NOCOW)?)
        });
        if let Err(error) = result {
            tracing::debug!(path = %directory.display(), %error, "no in-place overwriting asked for");
        }
    }
}

impl StorageFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn stat(&self) -> io::Result<FileStat> {
        self.0.metadata().map(|metadata| stat_of(&metadata))
    }

    fn map(&self, len: u64) -> io::Result<Option<Mapped>> {
        match usize::try_from(len) {
            Ok(len) if len > 0 => Mapped::new(&self.0, len).map(Some),
            _ => Ok(None),
        }
    }
}

/// `Path::parent` of a bare file name is the empty path, which names the current directory to us only.
fn or_current(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

fn kind_of(kind: fs::FileType) -> EntryKind {
    if kind.is_file() {
        EntryKind::File
    } else if kind.is_dir() {
        EntryKind::Directory
    } else {
        EntryKind::Other
    }
}

fn stat_of(metadata: &fs::Metadata) -> FileStat {
    FileStat {
        kind: kind_of(metadata.file_type()),
        len: metadata.len(),
        identity: (metadata.dev(), metadata.ino()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_names_the_holder_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let guard = RealStorage.lock(directory.path()).unwrap();
        assert!(RealStorage.is_locked(directory.path()).unwrap());
        match RealStorage.lock(directory.path()) {
            Err(LockError::Held { holder: Some(holder) }) => {
                assert!(holder.contains(&std::process::id().to_string()), "{holder}");
            }
            other => panic!("{other:?}"),
        }
        drop(guard);
        assert!(!RealStorage.is_locked(directory.path()).unwrap());
        RealStorage.lock(directory.path()).unwrap();
    }

    #[test]
    fn a_symbolic_link_is_never_opened() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        fs::write(&target, b"precious").unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        RealStorage.open(&link, Access::Truncate).unwrap_err();
        assert_eq!(fs::read(&target).unwrap(), b"precious");
    }
}

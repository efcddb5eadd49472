//! [`RealStorage`]: the operating system's files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{
    Access, DirectoryEntry, EntryKind, FileStat, LockError, LockGuard, Space, Storage, StorageFile,
};
use crate::mapped::Mapped;

/// A lock is asked for this often, with [`LOCK_PAUSE`] between: readers probe it for an instant.
const LOCK_ATTEMPTS: usize = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Magic numbers of file systems that more than one kernel, or more than one mount, may write at once: NFS, SMB (two),
/// CIFS, FUSE, 9P, Ceph, AFS, Coda, OCFS2, GFS2, Lustre, virtiofs (FUSE's own).
const SHARED_FILE_SYSTEMS: [u32; 11] = [
    0x0000_6969,
    0x0000_517b,
    0xfe53_4d42,
    0xff53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x7461_636f,
    0x0116_1970,
    0x0bd0_0bd0,
];

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
        let file = match access {
            Access::Read => existing(path, false)?,
            Access::Write => existing(path, true)?,
            Access::CreateNew => made(path)?,
            Access::Create | Access::Truncate => match existing(path, true) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => made(path)?,
                file => file?,
            },
        };
        if access == Access::Truncate {
            file.set_len(0)?;
        }
        Ok(Arc::new(RealFile(file)))
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
        match fs::create_dir(directory) {
            Ok(()) => {
                give_to_owner_of_parent(directory);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
                self.create_directory(parent.ok_or(error)?)?;
                self.create_directory(directory)
            }
            Err(_) if directory.is_dir() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Some network and FUSE file systems cannot. A second name instead would be another file to their caches.
            Err(Errno::INVAL | Errno::NOSYS) => match fs::symlink_metadata(to) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
                Err(error) => Err(error),
            },
            renamed => Ok(renamed?),
        }
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

    fn lock_is_sound(&self, directory: &Path) -> bool {
        let kind = rustix::fs::statfs(or_current(directory)).map(|stat| stat.f_type);
        kind.is_ok_and(|kind| !SHARED_FILE_SYSTEMS.contains(&(kind as u32)))
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
            tracing::debug!(path = %directory.display(), %error, "copy-on-write: it cannot be disabled; appends are slower");
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

/// Opens a regular file. `NONBLOCK`: the opening of a pipe would wait for its other end.
fn existing(path: &Path, write: bool) -> io::Result<File> {
    use rustix::fs::OFlags;
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).write(write).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        Ok(file)
    } else if kind.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

fn made(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o644).open(path)?;
    give_to_owner_of_parent(path);
    Ok(file)
}

/// Gives a file that root creates to the owner of its directory: that service has to write it later.
///
/// Some file systems have no owners, root may lack the right, and another thread may have removed the file.
fn give_to_owner_of_parent(path: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let given =
        fs::metadata(or_current(path.parent().unwrap_or(Path::new("")))).and_then(|directory| {
            let made = fs::symlink_metadata(path)?;
            if (directory.uid(), directory.gid()) == (made.uid(), made.gid()) {
                return Ok(());
            }
            std::os::unix::fs::lchown(path, Some(directory.uid()), Some(directory.gid()))
        });
    if let Err(error) = given {
        tracing::debug!(path = %path.display(), %error, "file: the owner cannot be set; the service may not be able to write it");
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
        links: metadata.nlink(),
        owner: (metadata.uid(), metadata.gid()),
    }
}

/// Describes the process that holds an flock on `directory`: `process 4711 (lenslog record --data data)`.
///
/// Best effort, from `/proc`: `None` if the holder runs in another container or as another user.
fn holder_of(directory: &Path, inode: u64) -> Option<String> {
    let canonical = directory.canonicalize().ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let holder = locks
        .lines()
        .filter_map(|line| flock_holder(line, inode))
        .find(|process| has_open(*process, &canonical))?;
    Some(describe(holder))
}

/// The process id in a line of `/proc/locks` about an flock on `inode`.
fn flock_holder(line: &str, inode: u64) -> Option<u32> {
    let mut words = line.split_whitespace().skip(1);
    if words.next()? != "FLOCK" {
        return None;
    }
    let process = words.nth(2)?.parse().ok()?;
    let locked: u64 = words.next()?.rsplit(':').next()?.parse().ok()?;
    (locked == inode).then_some(process)
}

fn has_open(process: u32, canonical: &Path) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{process}/fd")) else {
        return false;
    };
    entries.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == canonical))
}

fn describe(process: u32) -> String {
    const COMMAND_CHARS_MAX: usize = 120;
    let command = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let command: String = String::from_utf8_lossy(&command)
        .trim_end_matches('\0')
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(COMMAND_CHARS_MAX)
        .collect();
    if command.is_empty() {
        format!("process {process}")
    } else {
        format!("process {process} ({command})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_locks_names_its_process() {
        let line = "1: FLOCK  ADVISORY  WRITE 4711 fd:00:123456 0 EOF";
        assert_eq!(flock_holder(line, 123_456), Some(4711));
        assert_eq!(flock_holder(line, 99), None);
        assert_eq!(flock_holder("2: POSIX  ADVISORY  READ 1 00:16:123456 0 EOF", 123_456), None);
        assert_eq!(flock_holder("", 1), None);
    }

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

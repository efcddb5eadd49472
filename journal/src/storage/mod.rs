//! The storage traits: [`Storage`] is a tree of files, [`StorageFile`] one of them.
//!
//! [`RealStorage`] is the operating system's. [`AnchoredStorage`] is too, as long as the locked directory stays at its path.
//! `FaultyStorage` (feature `simulation`) is a simulated disk that loses power, tears writes and fails syncs from a seed.
//! The journal, and projections that keep files, do all their I/O through these two traits, so that every crash test runs
//! the production code.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

mod anchored;
#[cfg(any(test, feature = "simulation"))]
mod faulty;
mod real;

pub use anchored::AnchoredStorage;
#[cfg(any(test, feature = "simulation"))]
pub use faulty::{Fault, FaultyStorage};
pub use real::RealStorage;

/// How [`Storage::open`] opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// An existing file or a new empty one, for reading and writing.
    Create,
    /// A new empty file; one of that name is emptied. For reading and writing.
    Truncate,
    /// A new empty file, for reading and writing; `AlreadyExists` where anything has that name.
    CreateNew,
}

/// What a directory entry is. Symbolic links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, a device, a socket.
    Other,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name, without the directory.
    pub name: std::ffi::OsString,
    /// Its type.
    pub kind: EntryKind,
}

/// The result of [`Storage::stat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Its type; symbolic links are not followed.
    pub kind: EntryKind,
    /// Length in bytes.
    pub len: u64,
    /// Device and inode: two paths are the same file exactly if these agree.
    pub identity: (u64, u64),
    /// Number of hard links: above one, a write also changes a copy made by hard links.
    pub links: u64,
    /// User and group that own it.
    pub owner: (u32, u32),
}

/// Size and free space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Size of the file system.
    pub total_bytes: u64,
    /// Bytes available to this process.
    pub free_bytes: u64,
}

/// Held as long as this process is the one that writes; dropping it releases the lock.
pub trait LockGuard: Debug + Send + Sync {}

/// Why a lock was not obtained.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it.
    Held {
        /// Process id and command line of that process, if known.
        holder: Option<String>,
    },
    /// The lock could not be requested.
    Io(io::Error),
}

/// A tree of files.
pub trait Storage: Debug + Send + Sync + 'static {
    /// Opens a regular file. Never follows a symbolic link in the last component, and never waits for a pipe.
    ///
    /// A new file gets the owner and group of its directory, if this process may set them.
    ///
    /// # Errors
    ///
    /// The errors of the operating system; `NotFound` if the file does not exist and `access` does not create it;
    /// `IsADirectory` or `InvalidInput` where the path names anything but a regular file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>>;

    /// The names in a directory, in no particular order.
    ///
    /// # Errors
    ///
    /// The errors of the operating system.
    fn list(&self, directory: &Path) -> io::Result<Vec<DirectoryEntry>>;

    /// What a path is, without following a symbolic link.
    ///
    /// # Errors
    ///
    /// The errors of the operating system; `NotFound` if there is nothing.
    fn stat(&self, path: &Path) -> io::Result<FileStat>;

    /// Creates a directory and its parents; an existing one is no error. Durable after a sync of its parent.
    ///
    /// # Errors
    ///
    /// The errors of the operating system.
    fn create_directory(&self, directory: &Path) -> io::Result<()>;

    /// Gives a file another name in one step, replacing what had it. Not durable before the directory is synced.
    ///
    /// # Errors
    ///
    /// The errors of the operating system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// As [`Storage::rename`], but never replaces a file. Not durable before the directory is synced.
    ///
    /// # Errors
    ///
    /// The errors of the operating system; `AlreadyExists` if `to` exists.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Not durable before the directory is synced.
    ///
    /// # Errors
    ///
    /// The errors of the operating system; `NotFound` if there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory. Not durable before its parent is synced.
    ///
    /// # Errors
    ///
    /// The errors of the operating system; `DirectoryNotEmpty` if it is not empty.
    fn remove_directory(&self, directory: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    ///
    /// The errors of the operating system; what is durable afterwards is then unknown.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of a directory, without waiting longer than a moment.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] if another process (or another guard) holds it.
    fn lock(&self, directory: &Path) -> Result<Box<dyn LockGuard>, LockError>;

    /// Whether anybody holds the lock of a directory now.
    ///
    /// # Errors
    ///
    /// The errors of the operating system.
    fn is_locked(&self, directory: &Path) -> io::Result<bool>;

    /// Whether the lock of a directory excludes every other writer: on network and FUSE file systems, two hosts or two
    /// mounts of one directory may each hold it.
    fn lock_is_sound(&self, _directory: &Path) -> bool {
        true
    }

    /// Size and free space of the file system that holds `path`.
    ///
    /// # Errors
    ///
    /// The errors of the operating system.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Asks a copy-on-write file system to overwrite the files of this directory in place; elsewhere nothing.
    fn disable_copy_on_write(&self, _directory: &Path) {}
}

/// One open file.
pub trait StorageFile: Debug + Send + Sync {
    /// Reads at `offset` into `buffer`; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    ///
    /// The errors of the operating system.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. They survive the end of this process, not a power cut.
    ///
    /// # Errors
    ///
    /// The errors of the operating system; any part of `bytes` may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes everything written so far, and the length, survive a power cut.
    ///
    /// # Errors
    ///
    /// The errors of the operating system. After an error nothing written since the last success may be taken for
    /// durable, whatever is read back and whatever a later call returns.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file or extends it with zeros.
    ///
    /// # Errors
    ///
    /// The errors of the operating system.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// What the open file is now, whatever became of its name.
    ///
    /// # Errors
    ///
    /// The errors of the operating system.
    fn stat(&self) -> io::Result<FileStat>;

    /// Maps the first `len` bytes for reading; `None` if the storage cannot.
    ///
    /// Only for files that no process writes any more: a bad block under a mapping ends the process (SIGBUS).
    ///
    /// # Errors
    ///
    /// The errors of the operating system.
    fn map(&self, _len: u64) -> io::Result<Option<crate::mapped::Mapped>> {
        Ok(None)
    }
}

/// Reads exactly `buffer.len()` bytes at `offset`, or fewer at the end of the file; returns how many.
pub fn read_full(file: &dyn StorageFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads a whole small file; one longer than `bytes_max` is refused as `FileTooLarge`.
///
/// # Errors
///
/// The errors of the operating system.
pub fn read_file(storage: &dyn Storage, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = storage.open(path, Access::Read)?;
    let len = usize::try_from(file.stat()?.len).unwrap_or(usize::MAX);
    if len > bytes_max {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    let mut bytes = vec![0; len];
    let filled = read_full(&*file, &mut bytes, 0)?;
    bytes.truncate(filled);
    Ok(bytes)
}

/// Replaces a small file in one durable step: write `NAME.tmp`, sync, rename, sync the directory.
///
/// # Errors
///
/// The errors of the operating system; the old file is then whole and in place, or the new one is.
pub fn replace_file(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    let file = open_new(storage, temporary)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    storage.rename(temporary, path)?;
    path.parent().map_or(Ok(()), |parent| storage.sync_directory(parent))
}

/// Creates a new empty file in place of one that a crash left under this name.
///
/// Never truncates an existing file: a copy made by hard links may share it.
///
/// # Errors
///
/// The errors of the operating system.
pub(crate) fn open_new(storage: &dyn Storage, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
    match storage.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    storage.open(path, Access::CreateNew)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_the_old_one_or_the_new_one() {
        let path = Path::new("/file");
        let (old, new) = ([1; 5000], [2; 9000]);
        let storage = FaultyStorage::new();
        replace_file(&storage, path, &old).unwrap();
        for seed in 0..50 {
            let content = |after: &FaultyStorage| read_file(after, path, usize::MAX).unwrap();
            assert_eq!(content(&storage.fork().power_cut(seed)), old, "seed {seed}");
            let replaced = storage.fork();
            replace_file(&replaced, path, &new).unwrap();
            assert_eq!(content(&replaced.power_cut(seed)), new, "seed {seed}");
            for operations in 0..6 {
                let cut = storage.fork();
                cut.inject(Fault::PowerCutAfter { operations });
                let _ = replace_file(&cut, path, &new);
                let found = content(&cut.power_cut(seed));
                assert!(found == old || found == new, "seed {seed} operation {operations}");
            }
        }
    }
}

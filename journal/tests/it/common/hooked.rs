//! [`Hooked`]: a storage that counts what is read and lets a test step in before or after an operation.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lenslog_journal::storage::{
    Access, DirectoryEntry, FileStat, LockError, LockGuard, Space, Storage, StorageFile,
};

/// What is about to be done, or was done just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Open(Access),
    Write,
    Sync,
    List,
    /// The lock was probed, with this answer.
    ProbedLock(bool),
}

type Hook = dyn Fn(Step, &Path) -> io::Result<()> + Send + Sync;

/// A storage around another one.
#[derive(Clone)]
pub struct Hooked {
    inner: Arc<dyn Storage>,
    hook: Arc<Hook>,
    bytes_read: Arc<AtomicU64>,
}

struct HookedFile {
    inner: Arc<dyn StorageFile>,
    path: PathBuf,
    storage: Hooked,
}

impl Hooked {
    pub fn new(
        inner: impl Storage,
        hook: impl Fn(Step, &Path) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { inner: Arc::new(inner), hook: Arc::new(hook), bytes_read: Arc::default() }
    }

    pub fn counting(inner: impl Storage) -> Self {
        Self::new(inner, |_, _| Ok(()))
    }

    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(formatter)
    }
}

impl fmt::Debug for HookedFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(formatter)
    }
}

impl Storage for Hooked {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        (self.hook)(Step::Open(access), path)?;
        let inner = self.inner.open(path, access)?;
        Ok(Arc::new(HookedFile { inner, path: path.to_owned(), storage: self.clone() }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<DirectoryEntry>> {
        (self.hook)(Step::List, directory)?;
        self.inner.list(directory)
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        self.inner.stat(path)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.inner.create_directory(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename_new(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        self.inner.remove_directory(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        (self.hook)(Step::Sync, directory)?;
        self.inner.sync_directory(directory)
    }

    fn lock(&self, directory: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        self.inner.lock(directory)
    }

    fn is_locked(&self, directory: &Path) -> io::Result<bool> {
        let locked = self.inner.is_locked(directory)?;
        (self.hook)(Step::ProbedLock(locked), directory)?;
        Ok(locked)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.inner.space(path)
    }
}

impl StorageFile for HookedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.inner.read_at(buffer, offset)?;
        self.storage.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        (self.storage.hook)(Step::Write, &self.path)?;
        self.inner.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        (self.storage.hook)(Step::Sync, &self.path)?;
        self.inner.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn stat(&self) -> io::Result<FileStat> {
        self.inner.stat()
    }
}

//! [`Watched`]: a storage that remembers when something is taken back that others could read already.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lenslog_journal::storage::{
    Access, DirectoryEntry, FaultyStorage, FileStat, LockError, LockGuard, Space, Storage,
    StorageFile,
};

#[derive(Debug, Clone)]
pub struct Watched {
    storage: FaultyStorage,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    taken_back: Vec<String>,
    writes: u64,
    syncs: u64,
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn StorageFile>,
    path: PathBuf,
    seen: Arc<Mutex<Seen>>,
}

impl Watched {
    pub fn new(storage: &FaultyStorage) -> Self {
        Self { storage: storage.clone(), seen: Arc::default() }
    }

    /// What was cut or changed, in the day directories.
    pub fn taken_back(&self) -> Vec<String> {
        self.seen.lock().unwrap().taken_back.clone()
    }

    /// Writes and syncs of files in the day directories.
    pub fn counts(&self) -> (u64, u64) {
        let seen = self.seen.lock().unwrap();
        (seen.writes, seen.syncs)
    }
}

impl WatchedFile {
    fn is_of_a_day(&self) -> bool {
        self.path.to_string_lossy().contains("/events/")
    }
}

impl Storage for Watched {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.storage.open(path, access)?;
        let seen = Arc::clone(&self.seen);
        Ok(Arc::new(WatchedFile { file, path: path.to_owned(), seen }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.storage.list(directory)
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        self.storage.stat(path)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.storage.create_directory(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.storage.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.storage.rename_new(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.storage.remove(path)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        self.storage.remove_directory(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.storage.sync_directory(directory)
    }

    fn lock(&self, directory: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        self.storage.lock(directory)
    }

    fn is_locked(&self, directory: &Path) -> io::Result<bool> {
        self.storage.is_locked(directory)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.storage.space(path)
    }
}

impl StorageFile for WatchedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.is_of_a_day() {
            let mut before = vec![0; bytes.len()];
            let filled = self.file.read_at(&mut before, offset)?;
            let mut seen = self.seen.lock().unwrap();
            seen.writes += 1;
            if before[..filled] != bytes[..filled] {
                seen.taken_back.push(format!("{} is overwritten", self.path.display()));
            }
        }
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        if self.is_of_a_day() {
            self.seen.lock().unwrap().syncs += 1;
        }
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.is_of_a_day() && self.file.stat()?.len > len {
            let cut = format!("{} is cut to {len}", self.path.display());
            self.seen.lock().unwrap().taken_back.push(cut);
        }
        self.file.set_len(len)
    }

    fn stat(&self) -> io::Result<FileStat> {
        self.file.stat()
    }
}

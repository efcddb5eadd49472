//! [`Ballast`]: a file that takes room, deleted when a full disk leaves none for deleting.
//!
//! Deleting needs a little room first: a projection writes its checkpoint before rows are deleted, and SQLite writes
//! to its log. On a file system without a byte left that room is this file, which is deleted then, and created again
//! when there is room. A database on a file system of its own has one there. The journal has its own spare room, in
//! the active segment.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lenslog_journal::{Error, Journal, Random};
use lenslog_projections::room_refused;

use super::volume::free_bytes;
use crate::config::StorageConfig;

/// Name of the file in the data directory. Beside a database that is elsewhere it ends with that.
const NAME: &str = "reserve";
/// Its size, where the limit is not small.
const BYTES_MAX: u64 = 1 << 20;
/// It takes at most this share of the limit.
const SHARE: f64 = 64.0;
/// It is made where so many times its size is free.
const PLENTY: u64 = 2;
/// With less than that the file system counts as full: xfs makes no new file then, though it says that some is free.
const FULL_BYTES: u64 = 512 << 10;
/// Why it is released where the file system reports that it is full …
const FULL: &str = "the file system has no room left";
/// … and where it does not, as under a quota: the cause may be another one.
const STUCK: &str = "writes fail, possibly for lack of space";

/// The ballast files of a data directory.
#[derive(Debug, Clone)]
pub struct Ballast {
    path: PathBuf,
    /// The one beside the database, used where that is on another file system.
    beside_database: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// The ballast of a data directory.
    #[must_use]
    pub fn of(storage: &StorageConfig) -> Self {
        let share = (storage.max_storage_gb * 1e9 / SHARE) as u64;
        let mut beside_database = storage.db_path.clone().into_os_string();
        beside_database.push(format!(".{NAME}"));
        Self {
            path: storage.data_dir.join(NAME),
            beside_database: beside_database.into(),
            bytes: share.min(BYTES_MAX),
        }
    }

    /// One on each file system.
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let is_elsewhere = match (device(&self.path), device(&self.beside_database)) {
            (Some(data), Some(database)) => data != database,
            _ => false,
        };
        let beside_database = is_elsewhere.then_some(self.beside_database.as_path());
        [Some(self.path.as_path()), beside_database].into_iter().flatten()
    }

    /// Opens a journal; where that lacks room, the ballast is released for it. Where little is left afterwards it is
    /// released too, before projections are asked for anything.
    ///
    /// # Errors
    ///
    /// Those of opening the journal.
    pub fn open(&self, open: impl Fn() -> Result<Journal, Error>) -> Result<Journal, Error> {
        let opened = match open() {
            // A quota on a file system that writes elsewhere refuses even what is written over.
            Err(error) if error.is_storage_full() && self.release_files() => open(),
            result => result,
        };
        opened.inspect(|journal| self.release_if_full(journal))
    }

    /// Releases it where the file system has no room left, or the journal's spare segment where it is gone already.
    /// Called before projections are asked for anything.
    pub fn release_if_full(&self, journal: &Journal) {
        for path in self.paths() {
            let is_full = !has_room(path, self.bytes.min(FULL_BYTES));
            if is_full && !released(path, FULL) && path == self.path {
                self.release_spare(journal, FULL);
            }
        }
    }

    /// Releases it whatever the file system reports as free: some report too much. Returns whether there was one.
    pub fn release(&self, journal: &Journal) -> bool {
        self.release_files() || self.release_spare(journal, STUCK)
    }

    fn release_files(&self) -> bool {
        self.paths().filter(|path| released(path, STUCK)).count() > 0
    }

    /// Releases the file beside a database that is on another file system. Returns whether there was one.
    pub fn release_beside_database(&self) -> bool {
        self.paths().filter(|path| *path == self.beside_database).any(|path| released(path, STUCK))
    }

    fn release_spare(&self, journal: &Journal, why: &str) -> bool {
        let is_given = journal.release_spare().unwrap_or(false);
        if is_given {
            report_released(&self.path, "the journal's spare segment", why);
        }
        is_given
    }

    /// Makes it where it is missing and there is plenty of room.
    pub fn make(&self) {
        for path in self.paths() {
            let is_there = path.symlink_metadata().is_ok();
            if is_there || !has_room(path, self.bytes * PLENTY) {
                continue;
            }
            if let Err(error) = self.write(path) {
                let _ = fs::remove_file(path);
                tracing::debug!(%error, "no room can be kept back for deleting");
            }
        }
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        // No two blocks are alike: a file system that compresses or shares them would keep nothing back.
        let mut random = Random::new(self.bytes);
        let mut left = self.bytes;
        while left > 0 {
            let mut block: Vec<u8> = Vec::with_capacity(4096);
            while block.len() < 4096 {
                block.extend(random.below(u64::MAX).to_le_bytes());
            }
            let count = left.min(block.len() as u64);
            file.write_all(block.get(..count as usize).unwrap_or_default())?;
            left -= count;
        }
        file.sync_all()
    }
}

/// Deletes one, and says whether there was one.
fn released(path: &Path, why: &str) -> bool {
    // Anything else that has its name is not ours.
    let is_ours = path.symlink_metadata().is_ok_and(|found| found.is_file());
    let is_given = is_ours && fs::remove_file(path).is_ok();
    if is_given {
        report_released(path, "the reserve", why);
    }
    is_given
}

fn report_released(path: &Path, given: &str, why: &str) {
    // Some file systems give it back with what they write next.
    let _ = File::open(directory(path)).and_then(|directory| directory.sync_all());
    tracing::warn!("{why}: {given} is given up, so that logs can be deleted");
}

fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// The device of the directory of a file.
fn device(path: &Path) -> Option<u64> {
    fs::metadata(directory(path)).ok().map(|found| found.dev())
}

/// Whether the file system of a file's directory has so many bytes, and gives them.
fn has_room(path: &Path, bytes: u64) -> bool {
    let directory = directory(path);
    let is_free = free_bytes(directory).is_some_and(|free| free >= bytes);
    is_free && room_refused(directory, bytes as usize).is_none()
}

#[cfg(test)]
mod tests {
    use lenslog_journal::Options;

    use super::*;

    #[test]
    fn is_created_with_room_and_kept_until_full() {
        let directory = tempfile::tempdir().unwrap();
        let storage =
            StorageConfig { data_dir: directory.path().to_owned(), ..StorageConfig::default() };
        let ballast = Ballast::of(&storage);
        ballast.make();
        assert_eq!(ballast.path.metadata().unwrap().len(), BYTES_MAX);
        let journal = Journal::open(directory.path(), &Options::default()).unwrap();
        ballast.release_if_full(&journal);
        assert!(ballast.path.exists(), "there is room");
        fs::write(&ballast.path, "another's").unwrap();
        ballast.make();
        assert_eq!(fs::read(&ballast.path).unwrap(), b"another's", "what is there stays");
        fs::remove_file(&ballast.path).unwrap();
        let little = StorageConfig { max_storage_gb: 0.001, ..storage };
        assert_eq!(Ballast::of(&little).bytes, 15_625, "a small part of what may be used");
        let greedy = Ballast { bytes: u64::MAX / PLENTY, ..ballast };
        greedy.make();
        assert!(!greedy.path.exists(), "there is too little room for it");
        fs::write(&greedy.path, "small").unwrap();
        greedy.release_if_full(&journal);
        assert!(greedy.path.exists(), "what is free is enough, if not for another one");
    }

    #[test]
    fn a_half_written_ballast_file_is_removed() {
        if !crate::testing::files_are_small(
            "storage::ballast::tests::a_half_written_ballast_file_is_removed",
        ) {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let storage =
            StorageConfig { data_dir: directory.path().to_owned(), ..StorageConfig::default() };
        let ballast = Ballast::of(&storage);
        ballast.write(&ballast.path).unwrap_err();
        assert!(ballast.path.exists(), "it is half written");
        fs::remove_file(&ballast.path).unwrap();
        ballast.make();
        assert!(!ballast.path.exists());
    }
}

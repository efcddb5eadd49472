//! [`Reserve`]: room that is kept back for deleting.
//!
//! Deleting needs a little room first: a projection tells its checkpoint what goes before it goes, and SQLite writes
//! to its log. On a file system without a byte left that room is this file, which is given up then, and made again
//! when there is room. A database on a file system of its own has one there. The journal has a reserve of its own, in
//! the segment that is appended to.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lenslog_journal::{Error, Journal, Random};
use lenslog_projections::room_refused;

use super::volume::free_bytes;
use crate::config::Storage;

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
/// Why it is given up where the file system says that it is full …
const FULL: &str = "the file system has no room left";
/// … and where it does not say so, as under a quota: what stands in the way may be something else.
const STUCK: &str = "writes fail, possibly for lack of space";

/// Files that can be given up.
#[derive(Debug, Clone)]
pub struct Reserve {
    path: PathBuf,
    /// The one beside the database, used where that is on another file system.
    beside_database: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// The reserve of a data directory.
    #[must_use]
    pub fn of(storage: &Storage) -> Self {
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

    /// Opens a journal; where that lacks room, the reserve is given up for it. Where little is left afterwards it is
    /// given up too, before projections are asked for anything.
    ///
    /// # Errors
    ///
    /// Those of opening the journal.
    pub fn open(&self, open: impl Fn() -> Result<Journal, Error>) -> Result<Journal, Error> {
        let opened = match open() {
            // A quota on a file system that writes elsewhere refuses even what is written over.
            Err(error) if error.is_storage_full() && self.give_up_files() => open(),
            result => result,
        };
        opened.inspect(|journal| self.give_up_if_full(journal))
    }

    /// Gives it up where the file system has no room left, or the journal's spare segment where it is gone already.
    /// Called before projections are asked for anything.
    pub fn give_up_if_full(&self, journal: &Journal) {
        for path in self.paths() {
            let is_full = !has_room(path, self.bytes.min(FULL_BYTES));
            if is_full && !given_up(path, FULL) && path == self.path {
                self.give_up_spare(journal, FULL);
            }
        }
    }

    /// Gives it up whatever the file system says is free: not each gives what it says. Returns whether there was one.
    pub fn give_up(&self, journal: &Journal) -> bool {
        self.give_up_files() || self.give_up_spare(journal, STUCK)
    }

    fn give_up_files(&self) -> bool {
        self.paths().filter(|path| given_up(path, STUCK)).count() > 0
    }

    /// Gives up the one beside a database that is on another file system. Returns whether there was one.
    pub fn give_up_beside_database(&self) -> bool {
        self.paths().filter(|path| *path == self.beside_database).any(|path| given_up(path, STUCK))
    }

    fn give_up_spare(&self, journal: &Journal, why: &str) -> bool {
        let is_given = journal.give_up_spare().unwrap_or(false);
        if is_given {
            tell(&self.path, "the journal's spare segment", why);
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
fn given_up(path: &Path, why: &str) -> bool {
    // Anything else that has its name is not ours.
    let is_ours = path.symlink_metadata().is_ok_and(|found| found.is_file());
    let is_given = is_ours && fs::remove_file(path).is_ok();
    if is_given {
        tell(path, "the reserve", why);
    }
    is_given
}

fn tell(path: &Path, given: &str, why: &str) {
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
    fn it_is_made_with_room_and_stays_until_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let storage = Storage { data_dir: directory.path().to_owned(), ..Storage::default() };
        let reserve = Reserve::of(&storage);
        reserve.make();
        assert_eq!(reserve.path.metadata().unwrap().len(), BYTES_MAX);
        let journal = Journal::open(directory.path(), &Options::default()).unwrap();
        reserve.give_up_if_full(&journal);
        assert!(reserve.path.exists(), "there is room");
        fs::write(&reserve.path, "another's").unwrap();
        reserve.make();
        assert_eq!(fs::read(&reserve.path).unwrap(), b"another's", "what is there stays");
        fs::remove_file(&reserve.path).unwrap();
        let little = Storage { max_storage_gb: 0.001, ..storage };
        assert_eq!(Reserve::of(&little).bytes, 15_625, "a small part of what may be used");
        let greedy = Reserve { bytes: u64::MAX / PLENTY, ..reserve };
        greedy.make();
        assert!(!greedy.path.exists(), "there is too little room for it");
        fs::write(&greedy.path, "small").unwrap();
        greedy.give_up_if_full(&journal);
        assert!(greedy.path.exists(), "what is free is enough, if not for another one");
    }

    #[test]
    fn nothing_is_left_of_one_that_could_not_be_written_whole() {
        if !crate::testing::files_are_small(
            "storage::reserve::tests::nothing_is_left_of_one_that_could_not_be_written_whole",
        ) {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let storage = Storage { data_dir: directory.path().to_owned(), ..Storage::default() };
        let reserve = Reserve::of(&storage);
        reserve.write(&reserve.path).unwrap_err();
        assert!(reserve.path.exists(), "it is half written");
        fs::remove_file(&reserve.path).unwrap();
        reserve.make();
        assert!(!reserve.path.exists());
    }
}

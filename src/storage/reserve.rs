//! [`Reserve`]: room that is kept back for deleting.
//!
//! Deleting needs a little room first: a projection tells its checkpoint what goes before it goes, and SQLite writes
//! to its log. On a file system without a byte left that room is this file, which is given up then, and made again
//! when there is room. The journal has a reserve of its own, in the segment that is appended to.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lenslog_journal::{Journal, Random};

use crate::config::Storage;

/// Name of the file in the data directory.
const NAME: &str = "reserve";
/// Its size, where the limit is not small.
const BYTES_MAX: u64 = 1 << 20;
/// It takes at most this share of the limit.
const SHARE: f64 = 64.0;
/// It is made where so many times its size is free.
const PLENTY: u64 = 2;
/// With less than that the file system counts as full: xfs makes no new file then, though it says that some is free.
const FULL_BYTES: u64 = 512 << 10;

/// A file that can be given up.
#[derive(Debug, Clone)]
pub struct Reserve {
    directory: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// The reserve of a data directory.
    #[must_use]
    pub fn of(storage: &Storage) -> Self {
        let share = (storage.max_storage_gb * 1e9 / SHARE) as u64;
        Self { directory: storage.data_dir.clone(), bytes: share.min(BYTES_MAX) }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// Gives it up where the file system has no room left, or the journal's spare segment where it is gone already.
    /// Called before projections are asked for anything.
    pub fn give_up_if_full(&self, journal: &Journal) {
        let is_full = free(&self.directory).is_some_and(|free| free < self.bytes.min(FULL_BYTES));
        if is_full {
            self.give_up(journal);
        }
    }

    /// Gives it up whatever the file system says is free: not each gives what it says. Returns whether there was one.
    pub fn give_up(&self, journal: &Journal) -> bool {
        let given = match fs::remove_file(self.path()) {
            Ok(()) => "the reserve",
            Err(_) if journal.give_up_spare().unwrap_or(false) => "the journal's spare segment",
            Err(_) => return false,
        };
        // Some file systems give it back with what they write next.
        let _ = File::open(&self.directory).and_then(|directory| directory.sync_all());
        tracing::warn!(
            "the file system has no room left: {given} is given up, so that logs can be deleted"
        );
        true
    }

    /// Makes it where it is missing and there is plenty of room.
    pub fn make(&self) {
        let path = self.path();
        if path.symlink_metadata().is_ok()
            || free(&self.directory).is_none_or(|free| free < self.bytes * PLENTY)
        {
            return;
        }
        if let Err(error) = self.write(&path) {
            let _ = fs::remove_file(&path);
            tracing::debug!(%error, "no room can be kept back for deleting");
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

/// Bytes that are free on the file system of a directory.
fn free(directory: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(directory).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
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
        assert_eq!(reserve.path().metadata().unwrap().len(), BYTES_MAX);
        let journal = Journal::open(directory.path(), &Options::default()).unwrap();
        reserve.give_up_if_full(&journal);
        assert!(reserve.path().exists(), "there is room");
        fs::remove_file(reserve.path()).unwrap();
        let greedy = Reserve { bytes: u64::MAX / PLENTY, ..reserve };
        greedy.make();
        assert!(!greedy.path().exists(), "there is too little room for it");
    }
}

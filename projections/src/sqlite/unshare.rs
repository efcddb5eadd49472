//! [`DatabaseFiles::unshare`]: a database with a second name is copied before it is written to.
//!
//! `cp -al` and rsnapshot make copies whose files are those of the original. Each file of the database that has hard
//! links is copied beside and renamed over its name. The content is the same after each step, so a power cut between
//! two renames leaves a usable database. The index of the log holds nothing that lasts: its name is removed.
//!
//! No connection of this process that writes may be open. One that reads keeps the old file, and loses its locks on
//! it: that file is written to no more here. A file that another program changes meanwhile is not copied.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use lenslog_engine::ProjectionError;

use super::files::{DatabaseFiles, remove_file};

impl DatabaseFiles {
    /// Whether the database, its log or the index of the log has hard links.
    pub(super) fn is_shared(&self) -> bool {
        let is_shared = |path: &Path| {
            fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.nlink() > 1)
        };
        is_shared(self.path()) || self.companions().iter().any(|path| is_shared(path))
    }

    /// Gives the names of shared files to copies of them, durably.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Retry`]: the database is as it was.
    pub(super) fn unshare(&self) -> Result<(), ProjectionError> {
        if !self.is_shared() {
            return Ok(());
        }
        let replaced = self.replace_by_copies();
        if replaced.is_err() {
            // The room that they take may be what is missing.
            let _ = self.partial().remove();
        }
        replaced
    }

    fn replace_by_copies(&self) -> Result<(), ProjectionError> {
        let partial = self.partial();
        partial.remove()?;
        // The log is renamed before the database. The index is not copied.
        let [log, index, journal] = self.companions();
        let [log_copy, _, journal_copy] = partial.companions();
        let files = [
            (log, log_copy),
            (journal, journal_copy),
            (self.path().to_owned(), partial.path().to_owned()),
        ];
        let shown = || files.each_ref().map(|(path, _)| state(path));
        let before = shown();
        let mut copied = Vec::new();
        for ((path, copy), state) in files.iter().zip(&before) {
            if state.is_some_and(|state| state.links > 1) {
                copy_file(path, copy).map_err(ProjectionError::retry("cannot copy", path))?;
                copied.push((path, copy));
            }
        }
        if shown() != before {
            let source = io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another program changed the database during the copy; the copy is tried again",
            );
            return Err(ProjectionError::retry("cannot copy", self.path())(source));
        }
        for (path, copy) in copied {
            fs::rename(copy, path).map_err(ProjectionError::retry("cannot rename", copy))?;
        }
        // One that readers of the old files use must not be that of the copies.
        remove_file(&index)?;
        self.sync_directory()?;
        let path = self.path().display();
        tracing::info!(%path, "database has hard links: it was replaced by a copy before a change");
        Ok(())
    }
}

/// What shows that a file was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileState {
    inode: u64,
    links: u64,
    len: u64,
    modified: (i64, i64),
}

fn state(path: &Path) -> Option<FileState> {
    let found = fs::symlink_metadata(path).ok()?;
    Some(FileState {
        inode: found.ino(),
        links: found.nlink(),
        len: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
    })
}

/// Copies content, mode and owner.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    let (found, made) = (fs::metadata(from)?, fs::metadata(to)?);
    let owner = (found.uid(), found.gid());
    if owner != (made.uid(), made.gid()) && chown(to, Some(owner.0), Some(owner.1)).is_err() {
        tracing::debug!(path = %to.display(), "owner of the copy cannot be changed");
    }
    File::open(to)?.sync_all()
}

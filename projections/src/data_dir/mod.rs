//! The data directory as projections that keep files see it: where things are, and what may stand there.
//!
//! ```text
//! data/  checkpoints/NAME   events/2026-11-23/{events.json, amendments.json, events.log, evt_….jpg}
//! ```
//!
//! No symbolic link is ever followed below `events/`: a day directory that is one is refused before anything in it
//! is touched. `events/` itself may be a link, if somebody wants it on another disk.

mod sealed;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lenslog_engine::ProjectionError;
use lenslog_journal::Day;
use lenslog_journal::storage::{
    Access, DirectoryEntry, EntryKind, FileStat, Storage, StorageFile, read_file, replace_file,
};

pub(crate) use sealed::{seal, unseal};

/// Largest checkpoint of a projection, in bytes: a larger file is taken for broken. Room for millions of day files.
const CHECKPOINT_BYTES_MAX: usize = 256 << 20;

/// What to do about something that stands in a projection's place.
const MOVE_AWAY: &str = "move it away: the projection then makes what belongs there by itself";

/// The data directory.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    storage: Arc<dyn Storage>,
    root: PathBuf,
}

/// A checkpoint as it was found.
#[derive(Debug)]
pub(crate) enum Sealed {
    /// There is none.
    Absent,
    /// It is not one, and why.
    Broken(String),
    /// Its text, its seal found intact.
    Intact(String),
}

/// Directories whose names have yet to be made durable.
pub(crate) type Unsynced = BTreeSet<PathBuf>;

impl DataDir {
    pub(crate) fn new(storage: Arc<dyn Storage>, root: PathBuf) -> Self {
        Self { storage, root }
    }

    pub(crate) fn events(&self) -> PathBuf {
        self.root.join("events")
    }

    pub(crate) fn day(&self, day: Day) -> PathBuf {
        self.events().join(day.to_string())
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    pub(crate) fn checkpoint(&self, name: &str) -> PathBuf {
        self.checkpoints().join(name)
    }

    /// A path as an operator reads it: below the data directory.
    pub(crate) fn shown<'p>(&self, path: &'p Path) -> std::path::Display<'p> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }

    /// What is at a path; `None` where there is nothing.
    pub(crate) fn stat(&self, path: &Path) -> Result<Option<FileStat>, ProjectionError> {
        found(self.storage.stat(path)).map_err(ProjectionError::retry("cannot look at", path))
    }

    /// The file at a path; `None` where there is nothing.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Blocked`] where something else stands there.
    pub(crate) fn file(&self, path: &Path) -> Result<Option<FileStat>, ProjectionError> {
        match self.stat(path)? {
            Some(stat) if stat.kind != EntryKind::File => Err(self.blocked(path, stat.kind)),
            stat => Ok(stat),
        }
    }

    /// Whether a day has a directory.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Blocked`] where something else stands there, such as a symbolic link.
    pub(crate) fn has_day(&self, day: Day) -> Result<bool, ProjectionError> {
        let path = self.day(day);
        match self.stat(&path) {
            Ok(Some(stat)) if stat.kind != EntryKind::Directory => {
                Err(self.blocked(&path, stat.kind))
            }
            Ok(stat) => Ok(stat.is_some()),
            // `events` is no directory: that is what is to be told.
            Err(error) => self.has_events().and(Err(error)),
        }
    }

    fn has_events(&self) -> Result<bool, ProjectionError> {
        let events = self.events();
        match self.stat(&events)? {
            None => Ok(false),
            Some(stat) if stat.kind == EntryKind::Directory => Ok(true),
            Some(stat) if stat.kind == EntryKind::Other && self.storage.list(&events).is_ok() => {
                Ok(true)
            }
            Some(stat) => Err(self.blocked(&events, stat.kind)),
        }
    }

    /// Everything in `events/` that is named like a day, in the order of the days.
    pub(crate) fn days(&self) -> Result<Vec<(Day, EntryKind)>, ProjectionError> {
        if !self.has_events()? {
            return Ok(Vec::new());
        }
        let named = |entry: DirectoryEntry| {
            let day = entry.name.to_str()?.parse().ok()?;
            Some((day, entry.kind))
        };
        let mut days: Vec<_> = self.list(&self.events())?.into_iter().filter_map(named).collect();
        days.sort_unstable_by_key(|(day, _)| *day);
        Ok(days)
    }

    pub(crate) fn list(&self, directory: &Path) -> Result<Vec<DirectoryEntry>, ProjectionError> {
        self.storage.list(directory).map_err(ProjectionError::retry("cannot list", directory))
    }

    /// Makes the directory of a day where there is none, and notes whose names have to be synced for it to last.
    pub(crate) fn make_day(
        &self,
        day: Day,
        unsynced: &mut Unsynced,
    ) -> Result<(), ProjectionError> {
        if self.has_day(day)? {
            return Ok(());
        }
        let had_events = self.has_events()?;
        let path = self.day(day);
        self.storage
            .create_directory(&path)
            .map_err(ProjectionError::retry("cannot make", &path))?;
        unsynced.extend([path, self.events()]);
        if !had_events {
            unsynced.insert(self.root.clone());
        }
        Ok(())
    }

    /// Opens a file; `None` where there is none and `access` makes none.
    pub(crate) fn open(
        &self,
        path: &Path,
        access: Access,
    ) -> Result<Option<Arc<dyn StorageFile>>, ProjectionError> {
        found(self.storage.open(path, access)).map_err(ProjectionError::retry("cannot open", path))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), ProjectionError> {
        self.storage.rename(from, to).map_err(ProjectionError::retry("cannot rename", from))
    }

    /// Removes a file or a link; says whether there was one.
    pub(crate) fn remove(&self, path: &Path) -> Result<bool, ProjectionError> {
        let removed = found(self.storage.remove(path));
        Ok(removed.map_err(ProjectionError::retry("cannot remove", path))?.is_some())
    }

    /// Removes a directory, which must be empty.
    pub(crate) fn remove_directory(&self, path: &Path) -> Result<(), ProjectionError> {
        let removed = found(self.storage.remove_directory(path));
        removed.map(drop).map_err(ProjectionError::retry("cannot remove", path))
    }

    /// Notes that the names of a day, and all above it, may not be durable yet.
    pub(crate) fn doubt_day(&self, day: Day, unsynced: &mut Unsynced) {
        unsynced.extend([self.day(day), self.events(), self.root.clone()]);
    }

    /// Removes the directory of a day if nothing is left in it.
    pub(crate) fn remove_day_if_empty(&self, day: Day, unsynced: &mut Unsynced) {
        let path = self.day(day);
        if self.storage.remove_directory(&path).is_ok() {
            unsynced.remove(&path);
            unsynced.insert(self.events());
        }
    }

    /// Makes the names in these directories durable, and forgets them. One that is gone needs nothing more.
    pub(crate) fn sync(&self, unsynced: &mut Unsynced) -> Result<(), ProjectionError> {
        while let Some(directory) = unsynced.first().cloned() {
            found(self.storage.sync_directory(&directory))
                .map_err(ProjectionError::retry("cannot sync", &directory))?;
            unsynced.remove(&directory);
        }
        Ok(())
    }

    /// Reads a sealed text, such as a checkpoint.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Blocked`] where something else than a file stands there; [`ProjectionError::Retry`].
    pub(crate) fn read_sealed(&self, path: &Path) -> Result<Sealed, ProjectionError> {
        if self.file(path)?.is_none() {
            return Ok(Sealed::Absent);
        }
        match read_file(&*self.storage, path, CHECKPOINT_BYTES_MAX) {
            Ok(bytes) => Ok(unseal(bytes).map_or_else(
                || Sealed::Broken(format!("{} is damaged", path.display())),
                Sealed::Intact,
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Sealed::Absent),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                let problem = format!("{} is larger than any checkpoint", path.display());
                Ok(Sealed::Broken(problem))
            }
            Err(error) => Err(ProjectionError::retry("cannot read", path)(error)),
        }
    }

    /// Seals a text and replaces the file with it in one durable step; returns what the file is then.
    pub(crate) fn write_sealed(
        &self,
        path: &Path,
        text: &str,
    ) -> Result<FileStat, ProjectionError> {
        self.make_checkpoints()?;
        replace_file(&*self.storage, path, seal(text).as_bytes())
            .and_then(|()| self.storage.stat(path))
            .map_err(ProjectionError::retry("cannot write", path))
    }

    fn make_checkpoints(&self) -> Result<(), ProjectionError> {
        let path = self.checkpoints();
        match self.stat(&path)? {
            Some(stat) if stat.kind == EntryKind::File => Err(self.blocked(&path, stat.kind)),
            Some(_) => Ok(()),
            None => self
                .storage
                .create_directory(&path)
                .and_then(|()| self.storage.sync_directory(&self.root))
                .map_err(ProjectionError::retry("cannot make", &path)),
        }
    }

    fn blocked(&self, path: &Path, kind: EntryKind) -> ProjectionError {
        let problem = match kind {
            EntryKind::File => "is a file where a directory belongs",
            EntryKind::Directory => "is a directory where a file belongs",
            EntryKind::Other => "is a symbolic link or a device, which is never followed",
        };
        ProjectionError::Blocked {
            path: path.to_owned(),
            problem: problem.to_owned(),
            remedy: MOVE_AWAY,
        }
    }
}

/// Where the line of an event of this day stands, whatever the data directory is called.
pub(crate) fn json_log_path(day: Day) -> String {
    format!("data/events/{day}/events.json")
}

/// What is not there is no error.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads `buffer.len()` bytes at `offset`, or fewer at the end of the file; returns how many.
pub(crate) fn read_at(file: &dyn StorageFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

//! The data directory as projections that keep files see it: where things are, and what may stand there.
//!
//! ```text
//! data/  checkpoints/NAME   events/2026-11-23/{events.json, amendments.json, events.log, evt_….jpg}
//! ```
//!
//! No symbolic link is ever followed below `events/`: a day directory that is one is refused before anything in it
//! is touched. `events/` itself may be a link, to place it on another disk.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lenslog_engine::sealed::{SealError, seal_json, unseal_json};
use lenslog_engine::{Checkpoint, CommitKind, ProjectionError};
use lenslog_journal::Day;
use lenslog_journal::storage::{
    Access, DirectoryEntry, EntryKind, FileStat, Storage, StorageFile, read_file, replace_file,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Largest checkpoint of a projection, in bytes: a larger file is taken for broken. Room for millions of day files.
const CHECKPOINT_BYTES_MAX: usize = 256 << 20;

/// The remedy where another object is in the place of a projection's file.
const MOVE_AWAY: &str = "move it away: the projection then rebuilds its file";

/// The data directory.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    storage: Arc<dyn Storage>,
    root: PathBuf,
}

/// Records passed without any effect before a durable commit writes a checkpoint just for them. After a crash at most
/// these are read again.
const IDLE_RECORDS_MAX: u64 = 10_000;

/// What the checkpoint file of a projection holds: the checkpoint, and the projection's own state at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored<T> {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) state: T,
}

/// A checkpoint file as it was found.
#[derive(Debug)]
pub(crate) enum Found<T> {
    /// There is none, or one of an older version.
    Absent,
    /// It cannot be used, and why.
    Broken(String),
    /// Its content, whole.
    Intact(Stored<T>),
}

/// Whether a checkpoint is to be written, where `saved` is on disk and `is_changed` what it says of the state.
pub(crate) fn is_due(
    kind: CommitKind,
    saved: Option<&Checkpoint>,
    now: &Checkpoint,
    is_changed: bool,
) -> bool {
    let Some(saved) = saved else { return kind != CommitKind::Visible };
    let (before, next) = (saved.position.next.0, now.position.next.0);
    match kind {
        CommitKind::Visible => false,
        CommitKind::Final => is_changed || saved != now,
        CommitKind::Durable => {
            is_changed
                || saved.parked_count != now.parked_count
                || next < before
                || next - before > IDLE_RECORDS_MAX
        }
    }
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
            // `events` is no directory: that is the fault to report.
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

    /// Reads the checkpoint file of a projection.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Blocked`] where its path holds anything but a file; [`ProjectionError::Retry`].
    pub(crate) fn read_checkpoint<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Found<T>, ProjectionError> {
        let path = &self.checkpoint(name);
        if self.file(path)?.is_none() {
            return Ok(Found::Absent);
        }
        match read_file(&*self.storage, path, CHECKPOINT_BYTES_MAX) {
            Ok(bytes) => Ok(match unseal_json(bytes) {
                Ok(stored) => Found::Intact(stored),
                Err(SealError::Old) => Found::Absent,
                Err(SealError::Damaged) => Found::Broken(format!("{} is damaged", path.display())),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Absent),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                let problem = format!("{} is larger than any checkpoint", path.display());
                Ok(Found::Broken(problem))
            }
            Err(error) => Err(ProjectionError::retry("cannot read", path)(error)),
        }
    }

    /// Replaces the checkpoint file of a projection in one durable step; returns what the file is then.
    pub(crate) fn write_checkpoint<T: Serialize>(
        &self,
        name: &str,
        stored: &Stored<T>,
    ) -> Result<FileStat, ProjectionError> {
        self.make_checkpoints()?;
        let path = &self.checkpoint(name);
        seal_json(stored)
            .and_then(|text| replace_file(&*self.storage, path, text.as_bytes()))
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

/// A map in JSON as a list of pairs: JSON has no keys but strings.
pub(crate) mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer, K: Serialize, V: Serialize>(
        map: &BTreeMap<K, V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, D, K, V>(from: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        D: Deserializer<'de>,
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
    {
        Ok(Vec::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use lenslog_engine::Spec;
    use lenslog_journal::{Position, Seq};

    use super::*;

    #[test]
    fn a_checkpoint_is_due_when_it_says_something_new() {
        use CommitKind::{Durable, Final, Visible};
        let spec = Spec::new("x", 1);
        let at = |next| Checkpoint {
            position: Position { next: Seq(next), last: None },
            ..Checkpoint::at_start([7; 16], &spec)
        };
        let parked = Checkpoint { parked_count: 1, ..at(5) };
        let cases = [
            (Visible, None, at(5), true, false),
            (Durable, None, at(5), false, true),
            (Durable, Some(at(5)), at(5 + IDLE_RECORDS_MAX), false, false),
            (Durable, Some(at(5)), at(6 + IDLE_RECORDS_MAX), false, true),
            (Durable, Some(at(5)), at(4), false, true),
            (Durable, Some(at(5)), parked, false, true),
            (Durable, Some(at(5)), at(6), true, true),
            (Final, Some(at(5)), at(5), false, false),
            (Final, Some(at(5)), at(6), false, true),
            (Visible, Some(at(5)), at(6), true, false),
        ];
        for (kind, saved, now, is_changed, expected) in cases {
            let found = is_due(kind, saved.as_ref(), &now, is_changed);
            assert_eq!(found, expected, "{kind:?} {saved:?} {now:?} {is_changed}");
        }
    }
}

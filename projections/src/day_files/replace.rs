//! Old files give way to new ones: what a rebuild made is renamed into place, what is not wanted any more is set aside
//! or removed.
//!
//! The checkpoint decides. It lists the new files by their inodes while they are still called `NAME.rebuild`; from
//! then on every opening completes the renames, until then it removes what was made. Nothing here reads the journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lenslog_engine::{KeepOld, ProjectionError};
use lenslog_journal::Day;
use lenslog_journal::storage::{Access, EntryKind, StorageFile};

use super::day_file::FileId;
use super::file_set::{beside, path_of};
use super::format::Format;
use super::limits::{ASIDE_MAX, COMPARED_BYTES};
use super::listing::Listing;
use super::unshare::copy_of;
use crate::data_dir::{DataDir, Unsynced, read_at};

/// Stands between the name of a file that was set aside and its number.
const ASIDE: &str = ".old-";
/// The same, where the journal lost records that the file may hold.
const LOST: &str = ".lost-";

/// The files of one projection on disk, whatever is known of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'d> {
    data: &'d DataDir,
    names: &'static [&'static str],
}

impl<'d> Place<'d> {
    pub(super) fn of<F: Format>(data: &'d DataDir) -> Self {
        Self { data, names: F::FILES }
    }

    /// Everything that is called like a file of the projection and is not empty.
    pub(super) fn found(self) -> Result<Vec<FileId>, ProjectionError> {
        let mut found = Vec::new();
        for (day, kind) in self.data.days()? {
            for index in 0..self.names.len() {
                let id = FileId::new(day, index);
                if kind == EntryKind::Directory
                    && let Some(stat) = self.data.stat(&path_of(self.data, id, self.names))?
                    && (stat.kind, stat.len > 0) == (EntryKind::File, true)
                {
                    found.push(id);
                }
            }
        }
        Ok(found)
    }

    /// Renames into place what `listing` lists and a rebuild made; removes whatever else rebuilds left, unfinished
    /// copies, and empty files that were made for a checkpoint that never came.
    pub(super) fn complete(
        self,
        listing: Option<&Listing>,
        unsynced: &mut Unsynced,
    ) -> Result<(), ProjectionError> {
        for (day, kind) in self.data.days()? {
            if kind != EntryKind::Directory {
                continue;
            }
            for index in 0..self.names.len() {
                let id = FileId::new(day, index);
                let listed = listing.and_then(|listing| listing.files.get(&id));
                let made = beside(self.data, id, self.names);
                match self.data.stat(&made)?.filter(|stat| stat.kind == EntryKind::File) {
                    Some(stat) if listed.is_some_and(|listed| listed.identity == stat.identity) => {
                        let keep_old = listing.map_or(KeepOld::No, |listing| listing.keep_old);
                        self.put_in_place(id, &made, keep_old, unsynced)?;
                    }
                    Some(_) => self.remove(id, &made, unsynced)?,
                    None => {}
                }
                let path = path_of(self.data, id, self.names);
                for copy in [copy_of(&path), copy_of(&made)] {
                    if self.data.stat(&copy)?.is_some_and(|stat| stat.kind == EntryKind::File) {
                        self.remove(id, &copy, unsynced)?;
                    }
                }
                if listed.is_none()
                    && let Some(stat) = self.data.stat(&path)?
                    && (stat.kind, stat.len) == (EntryKind::File, 0)
                {
                    self.remove(id, &path, unsynced)?;
                }
            }
        }
        Ok(())
    }

    /// Removes a file, and its directory if nothing else is in it.
    fn remove(
        self,
        id: FileId,
        path: &Path,
        unsynced: &mut Unsynced,
    ) -> Result<(), ProjectionError> {
        self.data.remove(path)?;
        unsynced.insert(self.data.day(id.day));
        self.data.remove_day_if_empty(id.day, unsynced);
        Ok(())
    }

    fn put_in_place(
        self,
        id: FileId,
        made: &Path,
        keep_old: KeepOld,
        unsynced: &mut Unsynced,
    ) -> Result<(), ProjectionError> {
        let path = path_of(self.data, id, self.names);
        if self.data.file(&path)?.is_some()
            && keep_old != KeepOld::No
            && !self.begins_with(made, &path)?
        {
            self.set_aside(id, keep_old, unsynced)?;
        }
        self.data.rename(made, &path)?;
        unsynced.insert(self.data.day(id.day));
        Ok(())
    }

    /// Gives a file a name that nobody uses.
    pub(super) fn set_aside(
        self,
        id: FileId,
        keep: KeepOld,
        unsynced: &mut Unsynced,
    ) -> Result<PathBuf, ProjectionError> {
        let path = path_of(self.data, id, self.names);
        let infix = if keep == KeepOld::Lost { LOST } else { ASIDE };
        for number in 1..=ASIDE_MAX {
            let mut aside = path.clone().into_os_string();
            aside.push(format!("{infix}{number}"));
            let aside = PathBuf::from(aside);
            if self.data.stat(&aside)?.is_none() {
                self.data.rename(&path, &aside)?;
                unsynced.insert(self.data.day(id.day));
                tracing::warn!(path = %aside.display(), "an old file is kept under this name");
                return Ok(aside);
            }
        }
        Err(ProjectionError::Blocked {
            path,
            problem: format!("was set aside {ASIDE_MAX} times already"),
            remedy: "remove what is not needed of it: the projection then goes on by itself",
        })
    }

    /// Removes a file that is to go, or sets it aside.
    pub(super) fn dismiss(
        self,
        id: FileId,
        keep: KeepOld,
        unsynced: &mut Unsynced,
    ) -> Result<(), ProjectionError> {
        let path = path_of(self.data, id, self.names);
        if !self.data.has_day(id.day)? {
            return Ok(());
        }
        let Some(stat) = self.data.file(&path)? else {
            // It may have been removed by whoever was cut off before the name was made durable.
            self.data.remove_day_if_empty(id.day, unsynced);
            return Ok(());
        };
        if keep != KeepOld::No && stat.len > 0 {
            return self.set_aside(id, keep, unsynced).map(|_| ());
        }
        self.remove(id, &path, unsynced)
    }

    /// Removes, in the days up to one that was pruned, what was set aside, and what has a name of ours and is not
    /// listed: somebody put it back. Reports what cannot be removed.
    pub(super) fn remove_leftovers(
        self,
        through: Day,
        is_listed: impl Fn(FileId) -> bool,
        unsynced: &mut Unsynced,
    ) {
        let days = self.data.days().unwrap_or_default();
        for (day, _) in days.into_iter().take_while(|(day, _)| *day <= through) {
            let directory = self.data.day(day);
            if !self.data.has_day(day).unwrap_or(false) {
                continue;
            }
            for entry in self.data.list(&directory).unwrap_or_default() {
                let goes = entry.name.to_str().is_some_and(|name| {
                    let known = self.names.iter().position(|known| *known == name);
                    let is_unlisted = |index| !is_listed(FileId::new(day, index));
                    self.is_aside(name) || known.is_some_and(is_unlisted)
                });
                if !goes || entry.kind != EntryKind::File {
                    continue;
                }
                match self.data.remove(&directory.join(&entry.name)) {
                    Ok(_) => {
                        unsynced.insert(directory.clone());
                    }
                    Err(error) => tracing::error!(%error, "a pruned file stays"),
                }
            }
            self.data.remove_day_if_empty(day, unsynced);
        }
    }

    /// Removes, in all days, what was set aside because the journal lost records; returns how many files.
    pub(super) fn remove_lost(self, unsynced: &mut Unsynced) -> Result<u64, ProjectionError> {
        let mut removed = 0;
        for (day, kind) in self.data.days()? {
            if kind != EntryKind::Directory {
                continue;
            }
            let directory = self.data.day(day);
            for entry in self.data.list(&directory)? {
                let is_lost = entry.name.to_str().is_some_and(|name| self.is_called(name, LOST));
                if is_lost && entry.kind == EntryKind::File {
                    removed += u64::from(self.data.remove(&directory.join(&entry.name))?);
                    unsynced.insert(directory.clone());
                }
            }
            self.data.remove_day_if_empty(day, unsynced);
        }
        Ok(removed)
    }

    fn is_aside(self, name: &str) -> bool {
        self.is_called(name, ASIDE) || self.is_called(name, LOST)
    }

    /// Whether a name is one of the projection's, `infix` and a number.
    fn is_called(self, name: &str, infix: &str) -> bool {
        let number = |known: &&str| name.strip_prefix(*known)?.strip_prefix(infix);
        let is_number = |text: &str| {
            !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        self.names.iter().filter_map(number).any(is_number)
    }

    /// Whether one file begins with everything that is in another one.
    fn begins_with(self, whole: &Path, beginning: &Path) -> Result<bool, ProjectionError> {
        let open = |path: &Path| self.data.open(path, Access::Read);
        let (Some(one), Some(other)) = (open(whole)?, open(beginning)?) else { return Ok(false) };
        let mut buffers = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
        let read = |file: &Arc<dyn StorageFile>, path: &Path, buffer: &mut [u8], offset| {
            read_at(&**file, buffer, offset).map_err(ProjectionError::retry("cannot read", path))
        };
        let mut offset = 0;
        loop {
            let expected = read(&other, beginning, &mut buffers.1, offset)?;
            if expected == 0 {
                return Ok(true);
            }
            let found = read(&one, whole, &mut buffers.0[..expected], offset)?;
            if buffers.0[..found] != buffers.1[..expected] {
                return Ok(false);
            }
            offset += expected as u64;
        }
    }
}

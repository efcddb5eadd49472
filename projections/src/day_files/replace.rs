//! Replacement of old files: renames rebuilt files into place, and moves old ones to `*.old-N` or removes them.
//!
//! The checkpoint decides. It lists the new files by their inodes while they are still called `NAME.rebuild`; from
//! then on every opening completes the renames, until then it removes what was made. Nothing here reads the journal.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use lenslog_engine::{Aside, ProjectionError, is_aside, next_number};
use lenslog_journal::PrunedDays;
use lenslog_journal::storage::{Access, EntryKind, StorageFile, read_full};

use super::day_file::FileId;
use super::format::Format;
use super::limits::COMPARED_BYTES;
use super::listing::Listing;
use super::paths::{beside, copy_of, path_of};
use crate::data_dir::{DataDir, Unsynced};

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
                        let keep_old = listing.and_then(|listing| listing.keep_old);
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
        keep_old: Option<Aside>,
        unsynced: &mut Unsynced,
    ) -> Result<(), ProjectionError> {
        let path = path_of(self.data, id, self.names);
        if self.data.file(&path)?.is_some()
            && let Some(aside) = keep_old
            && !self.begins_with(made, &path)?
        {
            self.move_aside(id, aside, unsynced)?;
        }
        self.data.rename(made, &path)?;
        unsynced.insert(self.data.day(id.day));
        Ok(())
    }

    /// Moves a file aside, and removes the oldest of those moved before, where they are too many.
    pub(super) fn move_aside(
        self,
        id: FileId,
        aside: Aside,
        unsynced: &mut Unsynced,
    ) -> Result<(), ProjectionError> {
        let path = path_of(self.data, id, self.names);
        let entries = self.data.list(&self.data.day(id.day))?;
        let name = path.file_name().unwrap_or_default();
        let mut numbers = aside.numbers(name, entries.iter().map(|entry| &*entry.name));
        let number = next_number(&numbers);
        numbers.push(number);
        let target = aside.path(&path, number);
        self.data.rename(&path, &target)?;
        unsynced.insert(self.data.day(id.day));
        tracing::warn!(path = %path.display(), aside = %target.display(), "old day file: moved aside");
        aside
            .surplus(&numbers)
            .iter()
            .try_for_each(|number| self.data.remove(&aside.path(&path, *number)).map(drop))
    }

    /// Removes a listed file, or moves it aside.
    pub(super) fn dismiss(
        self,
        id: FileId,
        keep: Option<Aside>,
        unsynced: &mut Unsynced,
    ) -> Result<(), ProjectionError> {
        let path = path_of(self.data, id, self.names);
        if !self.data.has_day(id.day)? {
            return Ok(());
        }
        let Some(stat) = self.data.file(&path)? else {
            // An interrupted run may have removed it before the name was durable.
            self.data.remove_day_if_empty(id.day, unsynced);
            return Ok(());
        };
        if let Some(aside) = keep.filter(|_| stat.len > 0) {
            return self.move_aside(id, aside, unsynced);
        }
        self.remove(id, &path, unsynced)
    }

    /// Removes, in days that were pruned, what was set aside, and what has a name of ours and is not
    /// listed: it was put back from elsewhere. Reports what cannot be removed.
    pub(super) fn remove_leftovers(
        self,
        pruned: PrunedDays,
        is_listed: impl Fn(FileId) -> bool,
        unsynced: &mut Unsynced,
    ) {
        let days = self.data.days().unwrap_or_default();
        for (day, _) in days.into_iter().filter(|(day, _)| pruned.contains(*day)) {
            let directory = self.data.day(day);
            if !self.data.has_day(day).unwrap_or(false) {
                continue;
            }
            for entry in self.data.list(&directory).unwrap_or_default() {
                let goes = self.names.iter().enumerate().any(|(index, name)| {
                    let is_unlisted = || !is_listed(FileId::new(day, index));
                    entry.name == *name && is_unlisted() || is_aside(OsStr::new(name), &entry.name)
                });
                if !goes || entry.kind != EntryKind::File {
                    continue;
                }
                match self.data.remove(&directory.join(&entry.name)) {
                    Ok(_) => {
                        unsynced.insert(directory.clone());
                    }
                    Err(error) => {
                        tracing::error!(%error, "pruned file cannot be removed; it stays")
                    }
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
                let number = |name: &&str| Aside::Lost.number(OsStr::new(name), &entry.name);
                if self.names.iter().find_map(number).is_some() && entry.kind == EntryKind::File {
                    removed += u64::from(self.data.remove(&directory.join(&entry.name))?);
                    unsynced.insert(directory.clone());
                }
            }
            self.data.remove_day_if_empty(day, unsynced);
        }
        Ok(removed)
    }

    /// Whether one file begins with everything that is in another one.
    fn begins_with(self, whole: &Path, beginning: &Path) -> Result<bool, ProjectionError> {
        let open = |path: &Path| self.data.open(path, Access::Read);
        let (Some(one), Some(other)) = (open(whole)?, open(beginning)?) else { return Ok(false) };
        let mut buffers = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
        let read = |file: &Arc<dyn StorageFile>, path: &Path, buffer: &mut [u8], offset| {
            read_full(&**file, buffer, offset).map_err(ProjectionError::retry("cannot read", path))
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

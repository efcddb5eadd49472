//! [`FileSet`]: the files of all days, appended to through a buffer and a few open handles.
//!
//! It owns where bytes go and what is durable. It knows nothing of events, and of entries only where one begins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lenslog_engine::ProjectionError;
use lenslog_journal::PrunedDays;
use lenslog_journal::storage::{Access, EntryKind, StorageFile};

use super::day_file::{DayFile, FileId};
use super::format::Format;
use super::handles::Handles;
use super::limits::{BUFFERED_BYTES_MAX, FILE_BUFFER_BYTES_MAX};
use super::mark::{Mark, mark_of};
use super::paths::{beside, path_of};
use super::tail::{Compared, Kept, Leftover, Recognised, Tail, common_prefix, join};
use crate::data_dir::{DataDir, Unsynced};

/// Attempts to make a file in a directory that another thread may be removing because it is empty.
const CREATE_ATTEMPTS_MAX: usize = 3;

/// Which of the two copies of the files a set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Side {
    /// The files that others read.
    #[default]
    Live,
    /// Those that a rebuild makes beside them.
    Beside,
}

#[derive(Debug)]
pub(super) struct FileSet {
    pub(super) data: DataDir,
    names: &'static [&'static str],
    side: Side,
    pub(super) files: BTreeMap<FileId, DayFile>,
    pub(super) handles: Handles,
    /// Directories in which names were made or removed.
    pub(super) unsynced: Unsynced,
    buffered_bytes: usize,
    /// A buffer that was written, to be used again.
    spare: Vec<u8>,
    /// Bytes written since the last checkpoint.
    pub(super) unlisted_bytes: u64,
}

fn cut_off(handle: &dyn StorageFile, path: &Path, len: u64) -> Result<(), ProjectionError> {
    tracing::warn!(path = %path.display(), "truncated foreign data in day file");
    handle.set_len(len).map_err(ProjectionError::retry("cannot truncate", path))
}

impl FileSet {
    pub(super) fn new(data: DataDir, names: &'static [&'static str], side: Side) -> Self {
        Self {
            data,
            names,
            side,
            files: BTreeMap::new(),
            handles: Handles::default(),
            unsynced: Unsynced::new(),
            buffered_bytes: 0,
            spare: Vec::new(),
            unlisted_bytes: 0,
        }
    }

    pub(super) fn path(&self, id: FileId) -> PathBuf {
        match self.side {
            Side::Live => path_of(&self.data, id, self.names),
            Side::Beside => beside(&self.data, id, self.names),
        }
    }

    /// Appends the entry that `render` makes, in memory at first; writes it once that is much.
    pub(super) fn append<F: Format>(
        &mut self,
        id: FileId,
        render: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), ProjectionError> {
        let file = self.files.entry(id).or_default();
        if file.buffer.capacity() == 0 {
            file.buffer = std::mem::take(&mut self.spare);
        }
        let (start, begin) = (file.end(), file.buffer.len());
        if start > 0 {
            file.buffer.extend_from_slice(F::SEPARATOR);
        }
        let entry_begin = file.buffer.len();
        render(&mut file.buffer);
        match &mut file.tail {
            Some(Tail::Kept(kept)) => match kept.recognise::<F>(&file.buffer[entry_begin..]) {
                Recognised::Whole => {
                    file.buffer.truncate(begin);
                    return Ok(());
                }
                Recognised::Beginning(len) => drop(file.buffer.drain(begin..entry_begin + len)),
                Recognised::No => {}
            },
            Some(Tail::Cut(leftover)) => leftover.note_written::<F>(&file.buffer[entry_begin..]),
            Some(Tail::Pending(_)) | None => {}
        }
        let rendered = &file.buffer[begin..];
        self.buffered_bytes += rendered.len();
        let compared = match &file.tail {
            Some(Tail::Pending(pending)) => Some(pending.compare(start, rendered)),
            _ => None,
        };
        let is_full = file.buffer.len() >= FILE_BUFFER_BYTES_MAX;
        match compared {
            Some(Compared::Exhausted) => file.tail = None,
            Some(Compared::Differs(at)) => self.cut::<F>(id, start, at)?,
            Some(Compared::Same) | None => {}
        }
        if is_full {
            self.write(id)
        } else if self.buffered_bytes >= BUFFERED_BYTES_MAX {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Cuts a file `at` bytes behind `start`, where the entry just rendered begins. Whole entries from there on are
    /// remembered.
    fn cut<F: Format>(&mut self, id: FileId, start: u64, at: usize) -> Result<(), ProjectionError> {
        let handle = self.writable(id)?;
        let path = self.path(id);
        let Some(file) = self.files.get_mut(&id) else { return Ok(()) };
        let Some(Tail::Pending(pending)) = file.tail.take() else { return Ok(()) };
        if let Some(mut leftover) = Leftover::of::<F>(pending.rest(start)) {
            let entry = &file.buffer[file.buffer.len() - (file.end() - start) as usize..];
            let entry = if start > 0 { &entry[F::SEPARATOR.len()..] } else { entry };
            leftover.note_written::<F>(entry);
            file.tail = Some(Tail::Cut(leftover));
        }
        let Some(handle) = handle else { return Ok(()) };
        file.dirty = true;
        file.on_disk = start + at as u64;
        handle.set_len(file.on_disk).map_err(ProjectionError::retry("cannot truncate", &path))
    }

    /// Writes everything that is buffered, each file at once.
    pub(super) fn flush(&mut self) -> Result<(), ProjectionError> {
        if self.buffered_bytes == 0 {
            return Ok(());
        }
        let full = self.files.iter().filter(|(_, file)| !file.buffer.is_empty());
        let full: Vec<_> = full.map(|(id, _)| *id).collect();
        full.into_iter().try_for_each(|id| self.write(id))
    }

    /// Writes what is buffered for one file. A file that another process changed is marked faulty instead.
    fn write(&mut self, id: FileId) -> Result<(), ProjectionError> {
        let handle = self.writable(id)?;
        let Some(file) = self.files.get_mut(&id) else { return Ok(()) };
        let start = file.written;
        let mut buffer = std::mem::take(&mut file.buffer);
        file.written = file.written.after(&buffer);
        self.buffered_bytes -= buffer.len();
        if let Some(handle) = handle {
            self.write_to(id, &*handle, &buffer, start)?;
        }
        buffer.clear();
        self.spare = buffer;
        Ok(())
    }

    fn write_to(
        &mut self,
        id: FileId,
        handle: &dyn StorageFile,
        bytes: &[u8],
        start: Mark,
    ) -> Result<(), ProjectionError> {
        let path = self.path(id);
        let Some(file) = self.files.get_mut(&id) else { return Ok(()) };
        let expected = file.on_disk;
        let found = handle.stat().map_err(ProjectionError::retry("cannot look at", &path))?.len;
        if found < expected {
            file.fault = Some(format!("is cut from {expected} to {found} bytes"));
            return Ok(());
        }
        if found > expected {
            let mark = mark_of(handle, start.len);
            if mark.map_err(ProjectionError::retry("cannot read", &path))? != start {
                file.fault = Some("was changed in place".to_owned());
                return Ok(());
            }
            cut_off(handle, &path, expected)?;
        }
        file.dirty = true;
        file.on_disk = expected.max(start.len + bytes.len() as u64);
        self.unlisted_bytes += bytes.len() as u64;
        handle.write_at(bytes, start.len).map_err(ProjectionError::retry("cannot write", &path))
    }

    /// Truncates foreign data at the end of a file.
    pub(super) fn cut_appended(&mut self, id: FileId) -> Result<(), ProjectionError> {
        let Some(handle) = self.writable(id)? else { return Ok(()) };
        let path = self.path(id);
        let Some(file) = self.files.get_mut(&id) else { return Ok(()) };
        file.dirty = true;
        cut_off(&*handle, &path, file.on_disk)
    }

    /// The open file; `None` where it is not the one that is expected: it is marked faulty then.
    pub(super) fn handle(
        &mut self,
        id: FileId,
    ) -> Result<Option<Arc<dyn StorageFile>>, ProjectionError> {
        let identity = match self.files.get(&id) {
            Some(file) if file.fault.is_some() => return Ok(None),
            Some(file) => file.identity,
            None => return Ok(None),
        };
        if let Some(handle) = self.handles.get(id) {
            return Ok(Some(handle));
        }
        let path = self.path(id);
        let handle = match identity {
            None => Some(self.create(id)?),
            Some(_) if !self.data.has_day(id.day)? => None,
            Some(_) => {
                self.data.file(&path)?;
                self.data.open(&path, Access::Write)?
            }
        };
        let Some(handle) = handle else {
            self.mark_faulty(id, "is gone");
            return Ok(None);
        };
        let stat = handle.stat().map_err(ProjectionError::retry("cannot look at", &path))?;
        if stat.kind != EntryKind::File || identity.is_some_and(|known| known != stat.identity) {
            self.mark_faulty(id, "was replaced");
            return Ok(None);
        }
        if let Some(file) = self.files.get_mut(&id) {
            file.identity = Some(stat.identity);
        }
        self.handles.insert(id, Arc::clone(&handle));
        Ok(Some(handle))
    }

    /// Makes the file that a rebuild writes.
    fn create(&mut self, id: FileId) -> Result<Arc<dyn StorageFile>, ProjectionError> {
        let path = self.path(id);
        for _ in 0..CREATE_ATTEMPTS_MAX {
            self.data.make_day(id.day, &mut self.unsynced)?;
            self.data.file(&path)?;
            let access = match self.side {
                Side::Live => Access::Create,
                Side::Beside => Access::Truncate,
            };
            if let Some(file) = self.data.open(&path, access)? {
                // Another thread may have created the directory a moment ago.
                self.data.doubt_day(id.day, &mut self.unsynced);
                return Ok(file);
            }
        }
        let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
        Err(ProjectionError::retry("cannot make", &path)(gone))
    }

    /// Makes an empty file, or takes one that is there, so that a checkpoint can list it.
    pub(super) fn make(&mut self, id: FileId) -> Result<(), ProjectionError> {
        self.files.insert(id, DayFile { dirty: true, ..DayFile::default() });
        self.handle(id).map(|_| ())
    }

    pub(super) fn mark_faulty(&mut self, id: FileId, fault: &str) {
        if let Some(file) = self.files.get_mut(&id) {
            file.fault = Some(fault.to_owned());
        }
    }

    /// Makes everything written durable, and the names of the files.
    pub(super) fn sync(&mut self) -> Result<(), ProjectionError> {
        let dirty: Vec<_> =
            self.files.iter().filter(|(_, file)| file.dirty).map(|(id, _)| *id).collect();
        for id in dirty {
            if let Some(handle) = self.handle(id)? {
                let path = self.path(id);
                handle.sync().map_err(ProjectionError::retry("cannot sync", &path))?;
            }
            if let Some(file) = self.files.get_mut(&id) {
                file.dirty = false;
            }
        }
        self.data.sync(&mut self.unsynced)
    }

    /// The files of these days.
    pub(super) fn of(&self, days: PrunedDays) -> Vec<FileId> {
        self.files.keys().copied().filter(|id| days.contains(id.day)).collect()
    }

    /// Takes a file out of the set and removes it from the disk, and the directory of its day where that is empty then.
    pub(super) fn remove(&mut self, id: FileId) -> Result<(), ProjectionError> {
        let path = self.path(id);
        self.forget(id);
        if self.data.has_day(id.day)? {
            if self.data.remove(&path)? {
                self.unsynced.insert(self.data.day(id.day));
            }
            self.data.remove_day_if_empty(id.day, &mut self.unsynced);
        }
        Ok(())
    }

    /// Takes a file out of the set; it stays where it is.
    pub(super) fn forget(&mut self, id: FileId) {
        self.handles.close(id);
        if let Some(file) = self.files.remove(&id) {
            self.buffered_bytes -= file.buffer.len();
        }
    }

    /// The journal has lost records: the whole entries behind the ends of all files become part of them.
    pub(super) fn keep_tails<F: Format>(&mut self) -> Result<(), ProjectionError> {
        self.flush()?;
        let tails = self.files.iter().filter(|(_, file)| file.tail.is_some());
        let tails: Vec<_> = tails.map(|(id, _)| *id).collect();
        for id in tails {
            self.keep_tail::<F>(id)?;
        }
        Ok(())
    }

    pub(super) fn keep_tail<F: Format>(&mut self, id: FileId) -> Result<(), ProjectionError> {
        let Some(handle) = self.writable(id)? else { return Ok(()) };
        let path = self.path(id);
        let Some(file) = self.files.get_mut(&id) else { return Ok(()) };
        let is_first = file.end() == 0;
        let (found, entries) = match file.tail.take() {
            Some(Tail::Pending(pending)) => {
                let found = pending.rest(file.written.len).to_vec();
                let entries = F::entries(&found).into_iter().map(<[u8]>::to_vec).collect();
                (found, entries)
            }
            Some(Tail::Cut(leftover)) => (Vec::new(), leftover.into_missing()),
            other => {
                file.tail = other;
                return Ok(());
            }
        };
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let from = file.written;
        let kept = Kept::new::<F>(from, &entries);
        let joined = join(entries, F::SEPARATOR, is_first);
        let same = common_prefix(&found, &joined);
        let offset = from.len + same as u64;
        if same < found.len() {
            handle.set_len(offset).map_err(ProjectionError::retry("cannot truncate", &path))?;
        }
        handle
            .write_at(&joined[same..], offset)
            .map_err(ProjectionError::retry("cannot write", &path))?;
        file.dirty = true;
        file.written = from.after(&joined);
        file.on_disk = file.written.len;
        file.tail = Some(Tail::Kept(kept));
        Ok(())
    }

    /// Everything there is was applied: what still lies behind the ends of the files goes. Says whether a listed
    /// length changed.
    pub(super) fn resolve_tails(&mut self) -> Result<bool, ProjectionError> {
        let mut changed = false;
        let ids: Vec<_> = self.files.keys().copied().collect();
        for id in ids {
            let tail = self.files.get_mut(&id).and_then(|file| file.tail.take());
            match tail {
                Some(Tail::Pending(_)) => self.truncate(id)?,
                Some(Tail::Kept(_)) => changed = true,
                Some(Tail::Cut(_)) | None => {}
            }
            // It was made for an entry that never came.
            let is_empty = |file: &DayFile| file.end() == 0 && file.fault.is_none();
            if self.files.get(&id).is_some_and(is_empty) {
                self.remove(id)?;
                self.data.remove_day_if_empty(id.day, &mut self.unsynced);
                changed = true;
            }
        }
        Ok(changed)
    }

    fn truncate(&mut self, id: FileId) -> Result<(), ProjectionError> {
        let Some(handle) = self.writable(id)? else { return Ok(()) };
        let path = self.path(id);
        let Some(file) = self.files.get_mut(&id) else { return Ok(()) };
        file.dirty = true;
        file.on_disk = file.written.len;
        handle.set_len(file.on_disk).map_err(ProjectionError::retry("cannot truncate", &path))
    }
}

//! [`Window`]: reads the bytes of a segment in pieces, with unreadable blocks as zeros.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Error;
use crate::error::Context;
use crate::limits::{BLOCK_BYTES, READ_AHEAD_BYTES, UNREADABLE_BLOCKS_MAX};
use crate::mapped::Mapped;
use crate::storage::{StorageFile, read_full};

/// Bytes of one file, read ahead with pread or mapped.
///
/// Bytes below the limit never change, so they may be kept; nothing at or above it is ever read. A block that the
/// medium cannot read shows as zeros: no CRC is right there, and a frame that lay in it is found missing.
#[derive(Debug)]
pub(crate) struct Window {
    path: PathBuf,
    source: Source,
    limit: u64,
    buffer: Vec<u8>,
    buffer_start: u64,
    /// Bytes that are read at once.
    ahead: usize,
    unreadable_blocks: usize,
}

#[derive(Debug)]
enum Source {
    File(Arc<dyn StorageFile>),
    Mapped(Mapped),
}

impl Window {
    pub(crate) const fn new(path: PathBuf, file: Arc<dyn StorageFile>, limit: u64) -> Self {
        Self::over(path, Source::File(file), limit)
    }

    pub(crate) const fn mapped(path: PathBuf, map: Mapped, limit: u64) -> Self {
        Self::over(path, Source::Mapped(map), limit)
    }

    const fn over(path: PathBuf, source: Source, limit: u64) -> Self {
        Self {
            path,
            source,
            limit,
            buffer: Vec::new(),
            buffer_start: 0,
            ahead: READ_AHEAD_BYTES,
            unreadable_blocks: 0,
        }
    }

    /// Reads ahead: the next bytes will be needed.
    pub(crate) const fn read_ahead(&mut self) {
        self.ahead = READ_AHEAD_BYTES;
    }

    /// Reads little at once: the next bytes may not be needed.
    pub(crate) const fn read_little(&mut self) {
        self.ahead = BLOCK_BYTES as usize;
    }

    /// Another window on the same file, which can move while this one stays; `None` if the whole file is mapped.
    pub(crate) fn apart(&self) -> Option<Self> {
        match &self.source {
            Source::File(file) => Some(Self::new(self.path.clone(), Arc::clone(file), self.limit)),
            Source::Mapped(_) => None,
        }
    }

    /// Raises the offset below which bytes are final.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// How many blocks could not be read so far.
    #[cfg(test)]
    pub(crate) const fn unreadable_blocks(&self) -> usize {
        self.unreadable_blocks
    }

    /// The bytes at `offset`: `len` of them, or fewer where the limit or the end of the file comes first.
    pub(crate) fn get(&mut self, offset: u64, len: usize) -> Result<&[u8], Error> {
        let len = len.min(usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX));
        if let Source::Mapped(_) = self.source {
            return Ok(self.mapped_bytes(offset, len));
        }
        if !self.holds(offset, len) {
            self.fill(offset, len)?;
        }
        let start = (offset - self.buffer_start) as usize;
        let end = (start + len).min(self.buffer.len());
        Ok(self.buffer.get(start..end).unwrap_or_default())
    }

    /// The bytes at `offset` that the window holds already; never reads the file.
    pub(crate) fn held(&self, offset: u64, len: usize) -> &[u8] {
        if let Source::Mapped(_) = self.source {
            return self.mapped_bytes(offset, len);
        }
        let start =
            offset.checked_sub(self.buffer_start).map_or(usize::MAX, |start| start as usize);
        self.buffer.get(start..start.saturating_add(len)).unwrap_or_default()
    }

    fn mapped_bytes(&self, offset: u64, len: usize) -> &[u8] {
        let Source::Mapped(map) = &self.source else {
            return &[];
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(map.len());
        &map[start..start.saturating_add(len).min(map.len())]
    }

    fn holds(&self, offset: u64, len: usize) -> bool {
        self.buffer_start <= offset
            && offset.saturating_add(len as u64) <= self.buffer_start + self.buffer.len() as u64
    }

    fn fill(&mut self, offset: u64, len: usize) -> Result<(), Error> {
        let room = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = len.max(self.ahead).min(room);
        if self.buffer.capacity() > 4 * READ_AHEAD_BYTES && wanted <= READ_AHEAD_BYTES {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        self.buffer.resize(wanted, 0);
        self.buffer_start = offset;
        let Source::File(file) = &self.source else {
            return Ok(());
        };
        let filled = match read_full(&**file, &mut self.buffer, offset) {
            Err(error) if is_unreadable(&error) => {
                let file = Arc::clone(file);
                self.fill_by_block(&*file).context("read", &self.path)?
            }
            result => result.context("read", &self.path)?,
        };
        self.buffer.truncate(filled);
        Ok(())
    }

    fn fill_by_block(&mut self, file: &dyn StorageFile) -> io::Result<usize> {
        let mut filled = 0;
        while filled < self.buffer.len() && self.unreadable_blocks < UNREADABLE_BLOCKS_MAX {
            let at = self.buffer_start + filled as u64;
            let to_boundary = (BLOCK_BYTES - at % BLOCK_BYTES) as usize;
            let end = (filled + to_boundary).min(self.buffer.len());
            let Some(block) = self.buffer.get_mut(filled..end) else {
                break;
            };
            match read_full(file, block, at) {
                Ok(count) if count < block.len() => return Ok(filled + count),
                Ok(_) => {}
                Err(error) if is_unreadable(&error) => {
                    block.fill(0);
                    self.unreadable_blocks += 1;
                }
                Err(error) => return Err(error),
            }
            filled = end;
        }
        // After too many unreadable blocks the rest counts as lost and is not read.
        if let Some(rest) = self.buffer.get_mut(filled..) {
            rest.fill(0);
        }
        Ok(self.buffer.len())
    }
}

/// Whether an error comes from the medium, not from the request.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let medium = [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::NODATA];
    error.raw_os_error().is_some_and(|code| medium.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::storage::{Access, Fault, FaultyStorage, Storage};

    #[test]
    fn an_unreadable_block_reads_as_zeros_and_no_other_does() {
        let storage = FaultyStorage::new();
        let path = Path::new("/file");
        let file = storage.open(path, Access::Create).unwrap();
        file.write_at(&[1; 20_000], 0).unwrap();
        storage.inject(Fault::Unreadable { path: path.to_owned(), offset: 5000, len: 1 });
        let mut window = Window::new(path.to_owned(), file, 20_000);
        assert_eq!(window.get(4000, 20_000).unwrap().len(), 16_000);
        assert_eq!(window.get(4090, 6).unwrap(), [1; 6]);
        assert_eq!(window.get(4096, 4096).unwrap(), [0; 4096]);
        assert_eq!(window.get(8192, 1).unwrap(), [1]);
        assert_eq!(window.unreadable_blocks(), 1);
    }

    #[test]
    fn nothing_at_or_above_the_limit_is_read_or_kept() {
        let storage = FaultyStorage::new();
        let path = Path::new("/file");
        let file = storage.open(path, Access::Create).unwrap();
        file.write_at(&[0; 100], 0).unwrap();
        let mut window = Window::new(path.to_owned(), Arc::clone(&file), 10);
        assert_eq!(window.get(5, 50).unwrap(), [0; 5]);
        file.write_at(&[9; 90], 10).unwrap();
        window.set_limit(100);
        assert_eq!(window.get(5, 10).unwrap(), [0, 0, 0, 0, 0, 9, 9, 9, 9, 9]);
    }
}

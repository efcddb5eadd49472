//! [`ActiveSegment`]: the segment that is appended to, from its creation to its footer.
//!
//! A new segment is written into the spare file, which readers ignore. It gets its name when everything in it is
//! durable; until then the previous segment keeps its end.
//!
//! Preallocated space of a segment that was never sealed is released later. Only zeros at the end of the file go, and only
//! from a segment with two successors: an opening never cuts the segment that it has just examined.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Day;
use crate::digest::SegmentDigest;
use crate::directory::{Directory, OpenSegment};
use crate::error::{Error, is_full};
use crate::format::{
    ContentEnd, Counts, FRAMES_OFFSET, Footer, PreviousEnd, Salt, SegmentHeader, SegmentName,
};
use crate::limits::BLOCK_BYTES;
use crate::options::{Sizes, padded};
use crate::storage::{Access, StorageFile, open_new, read_full};

/// Limit on the files of one name that are moved aside.
const FOREIGN_MAX: u32 = 1000;
/// Bytes read and written at once.
const CHUNK_BYTES: usize = 64 << 10;
static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];

/// A write or sync that failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) path: PathBuf,
    pub(crate) source: Arc<io::Error>,
}

impl Failure {
    pub(crate) fn new(path: PathBuf, source: io::Error) -> Self {
        Self { path, source: Arc::new(source) }
    }

    /// The error of a caller whose records were not taken.
    pub(crate) fn refused(&self, journal: &Path) -> Error {
        if is_full(&self.source) {
            return Error::StorageFull { path: journal.to_owned() };
        }
        Error::Suspended { path: self.path.clone(), source: Arc::clone(&self.source) }
    }

    /// The error of a caller whose records may or may not be durable.
    pub(crate) fn unknown_outcome(&self) -> Error {
        Error::Sync { path: self.path.clone(), source: Arc::clone(&self.source) }
    }
}

/// A segment that holds nothing durable, or an earlier attempt at the same segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replaced {
    pub(crate) name: SegmentName,
    pub(crate) salt: Salt,
}

/// Why a segment could not be begun.
#[derive(Debug)]
pub(super) struct BeginError {
    pub(super) failure: Failure,
    /// The segment already has its name, though not durably: nothing may be appended to the previous one.
    pub(super) named: Option<Replaced>,
}

impl BeginError {
    pub(super) fn new(path: &Path, source: io::Error) -> Self {
        Self { failure: Failure::new(path.to_owned(), source), named: None }
    }
}

/// The segment that is appended to.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn StorageFile>,
    /// Device and inode of the file.
    pub(crate) identity: (u64, u64),
    /// No more frames may be written to the file: it is a copy, or a copy shares it.
    pub(crate) ends_here: bool,
    pub(crate) header: SegmentHeader,
    /// Preallocated length: bytes before it can be overwritten without new space.
    pub(crate) allocated: u64,
    /// How far it is durable.
    pub(crate) synced: ContentEnd,
    /// Digest of the content up to `synced`.
    pub(crate) digest: SegmentDigest,
    /// Counts before `synced`.
    pub(crate) counts: Counts,
    /// It holds tombstones or gaps.
    pub(crate) has_control: bool,
    /// The day on which its first record was appended; another day causes a rollover. `None` without records.
    pub(crate) day: Option<Day>,
}

impl ActiveSegment {
    /// Writes a segment with this header and these frames, makes it durable and gives it its name.
    pub(super) fn begin(
        directory: &Directory,
        header: SegmentHeader,
        frames: &[u8],
        sizes: &Sizes,
        spare_is_blank: bool,
        may_be_named: impl Fn() -> io::Result<()>,
    ) -> Result<Self, BeginError> {
        let (spare, file) =
            take_spare(directory).map_err(|source| BeginError::new(&directory.spare(), source))?;
        let failed = |source| BeginError::new(&spare, source);
        let end = padded(FRAMES_OFFSET + frames.len() as u64);
        let stat = file.stat().map_err(failed)?;
        if !(spare_is_blank && stat.len > 0) {
            blank(&*file).map_err(failed)?;
        }
        let allocated = allocate_least(&*file, end, sizes).map_err(failed)?;
        file.write_at(frames, FRAMES_OFFSET).map_err(failed)?;
        file.write_at(&header.encode(), 0).map_err(failed)?;
        file.sync().map_err(failed)?;
        let path = directory.segment(header.name);
        rename_into_place(directory, &spare, header.name, header.replaces, &may_be_named)
            .map_err(failed)?;
        directory.storage.sync_directory(&directory.journal).map_err(|source| BeginError {
            failure: Failure::new(path.clone(), source),
            named: Some(Replaced { name: header.name, salt: header.salt }),
        })?;
        let mut digest = SegmentDigest::new();
        digest.absorb(FRAMES_OFFSET, frames);
        digest.absorb(end, &[]);
        Ok(Self {
            path,
            file,
            identity: stat.identity,
            ends_here: false,
            allocated,
            synced: ContentEnd { offset: end, seq: header.initial_end.seq },
            digest,
            counts: Counts::default(),
            has_control: false,
            day: (!frames.is_empty()).then(|| header.created.day()),
            header,
        })
    }

    /// Preallocates up to `end`; `Ok(false)` if no space is left.
    pub(crate) fn make_room(&mut self, end: u64, sizes: &Sizes) -> io::Result<bool> {
        if end <= self.allocated {
            return Ok(true);
        }
        let step = self.allocated.clamp(sizes.step_min, sizes.step_max);
        let wanted = end.max(self.allocated + step).next_multiple_of(BLOCK_BYTES);
        for target in [wanted, end.next_multiple_of(BLOCK_BYTES)] {
            match write_zeros(&*self.file, self.allocated, target) {
                Ok(()) => {
                    self.allocated = target;
                    return Ok(true);
                }
                Err(error) if is_full(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Writes the footer after the end and releases preallocated space.
    ///
    /// The footer can be derived: a failure is only logged. A file that a copy shares is not changed.
    pub(crate) fn seal(&self) {
        if self.file.stat().is_ok_and(|stat| stat.links > 1) {
            return;
        }
        let footer = Footer {
            salt: self.header.salt,
            name: self.header.name,
            end_offset: self.synced.offset,
            end_seq: self.synced.seq,
            counts: self.counts,
            digest: self.digest.finish(self.synced.offset),
        };
        let offset = Footer::offset_for(self.synced.offset);
        let result = self
            .file
            .write_at(&footer.encode(), offset)
            .and_then(|()| self.file.set_len(offset + BLOCK_BYTES))
            .and_then(|()| self.file.sync());
        if let Err(error) = result {
            tracing::warn!(path = %self.path.display(), %error, "footer: a write failed; it is derived from the segment");
        }
    }
}

/// Opens the spare file, or creates another one if it cannot be used.
///
/// It may belong to another user, be shared with a copy, or be no regular file.
fn take_spare(directory: &Directory) -> io::Result<(PathBuf, Arc<dyn StorageFile>)> {
    let (storage, spare) = (&*directory.storage, directory.spare());
    match storage.open(&spare, Access::Write) {
        Ok(file) if file.stat()?.links == 1 => return Ok((spare, file)),
        _ => {}
    }
    match open_new(storage, &spare) {
        Err(error) if !is_full(&error) => {
            let other = spare.with_extension("new");
            open_new(storage, &other).map(|file| (other, file))
        }
        made => made.map(|file| (spare, file)),
    }
}

/// Gives a segment its name. `may_be_named` is called before each step.
///
/// Only the segment with the salt `replaces`, which holds nothing durable, is replaced. Any other file with that name does
/// not belong to the journal and is renamed to `NAME.foreign-N`.
pub(super) fn rename_into_place(
    directory: &Directory,
    from: &Path,
    name: SegmentName,
    replaces: Salt,
    may_be_named: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    may_be_named()?;
    let (storage, path) = (&*directory.storage, directory.segment(name));
    match storage.rename_new(from, &path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        renamed => return renamed,
    }
    // Another writer may have just begun this segment.
    may_be_named()?;
    let own = directory.open_segment(name, Access::Read).ok().flatten();
    let is_replaced = own.is_some_and(|own| {
        replaces.0 != 0 && own.header.is_ok_and(|read| read.header.salt == replaces)
    });
    if is_replaced {
        return storage.rename(from, &path);
    }
    move_aside(directory, &path)?;
    storage.rename_new(from, &path)
}

/// Renames a file that does not belong to the journal to the first free name `NAME.foreign-N`.
pub(crate) fn move_aside(directory: &Directory, path: &Path) -> io::Result<PathBuf> {
    for number in 1..=FOREIGN_MAX {
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".foreign-{number}"));
        let aside = PathBuf::from(aside);
        match directory.storage.rename_new(path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            renamed => {
                renamed?;
                tracing::warn!(
                    path = %path.display(), to = %aside.display(),
                    "journal: a file that does not belong to it has the name of a new segment; the file is renamed"
                );
                return Ok(aside);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Preallocates the next segment, so that it can be begun on a full disk; `false` if that fails.
pub(crate) fn prepare_spare(directory: &Directory, sizes: &Sizes) -> bool {
    let path = directory.spare();
    let result = open_new(&*directory.storage, &path).and_then(|file| {
        write_zeros(&*file, 0, sizes.step_min)?;
        file.sync()
    });
    if let Err(error) = &result {
        tracing::debug!(path = %path.display(), %error, "spare: preallocation failed; the next rollover needs free space");
    }
    result.is_ok()
}

/// Extends the file to `end` and the reserve, or without the reserve if space is short.
fn allocate_least(file: &dyn StorageFile, end: u64, sizes: &Sizes) -> io::Result<u64> {
    let len = file.stat()?.len / BLOCK_BYTES * BLOCK_BYTES;
    let with_reserve = (end + sizes.reserve).next_multiple_of(BLOCK_BYTES);
    for target in [with_reserve.max(sizes.step_min), with_reserve] {
        match write_zeros(file, len, target) {
            Ok(()) => return Ok(target.max(len)),
            Err(error) if is_full(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let least = end.next_multiple_of(BLOCK_BYTES);
    write_zeros(file, len, least)?;
    Ok(least.max(len))
}

fn write_zeros(file: &dyn StorageFile, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let count = (to - at).min(ZEROS.len() as u64);
        file.write_at(&ZEROS[..count as usize], at)?;
        at += count;
    }
    Ok(())
}

/// Zeroes the file in place, which needs no space.
fn blank(file: &dyn StorageFile) -> io::Result<()> {
    let len = file.stat()?.len;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while at < len {
        let read = read_full(file, &mut buffer, at);
        let count = read.as_ref().map_or(buffer.len(), |count| (*count).max(1));
        let end = (at + count as u64).min(len);
        // A block that cannot be read is written too: a medium remaps a bad sector when it is written.
        if read.is_err() || buffer.iter().take(count).any(|byte| *byte != 0) {
            write_zeros(file, at, end)?;
        }
        at = end;
    }
    Ok(())
}

/// Trims the segment before the one that `previous` names.
pub(super) fn trim_before(directory: &Directory, previous: &PreviousEnd) {
    let Ok(Some(segment)) = directory.open_segment(previous.name, Access::Read) else { return };
    let Some(end) = segment.header.ok().and_then(|read| read.header.previous) else { return };
    if let Err(error) = trim(directory, &end) {
        let segment = end.name.file_name();
        tracing::debug!(segment, %error, "preallocation: space is not released; it is used until the segment is pruned");
    }
}

fn trim(directory: &Directory, end: &PreviousEnd) -> io::Result<()> {
    let segment = directory.open_segment(end.name, Access::Write).map_err(io::Error::other)?;
    // Another file may have its name, and a file that a copy shares is not changed.
    let is_own = |segment: &OpenSegment| {
        let is_of = segment.header.as_ref().is_ok_and(|read| read.header.salt == end.salt);
        is_of && segment.links == 1
    };
    let Some(OpenSegment { file, len, .. }) = segment.filter(is_own) else { return Ok(()) };
    // Sealed segments end with their footer.
    let least = if end.unreadable { len } else { Footer::offset_for(end.offset) };
    if len <= least {
        return Ok(());
    }
    let written_to = written_to(&*file, least, len)?;
    let wanted = written_to.next_multiple_of(BLOCK_BYTES).max(least);
    if wanted < len {
        file.set_len(wanted)?;
        // The segment is never trimmed again: a trim that a power cut takes back would stay undone.
        file.sync()?;
    }
    Ok(())
}

/// The first offset from `from` on after which everything up to `to` is zero.
fn written_to(file: &dyn StorageFile, from: u64, to: u64) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut end = to;
    while end > from {
        let start = end.saturating_sub(CHUNK_BYTES as u64).max(from);
        let Some(chunk) = buffer.get_mut(..(end - start) as usize) else { break };
        let count = read_full(file, chunk, start)?;
        let written = chunk.iter().take(count).rposition(|byte| *byte != 0);
        if let Some(last) = written {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(from)
}

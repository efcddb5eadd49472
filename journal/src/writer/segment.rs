//! [`ActiveSegment`]: the segment that is appended to, and how a new one comes to be.
//!
//! A new segment is written into the spare file, which readers ignore, and gets its name only when everything in
//! it is durable. Until then the one before it ends where it did.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::carried::Counts;
use crate::digest::SegmentDigest;
use crate::directory::Directory;
use crate::error::is_full;
use crate::format::{FRAMES_OFFSET, Footer, Salt, SegmentHeader, SegmentName};
use crate::limits::BLOCK_BYTES;
use crate::sizes::Sizes;
use crate::storage::{Access, StorageFile, open_new, read_full};
use crate::{Day, Seq};

/// Files of one name that may be moved aside.
const FOREIGN_MAX: u32 = 1000;

/// How far a segment is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) offset: u64,
    pub(crate) seq: Seq,
}

#[derive(Debug)]
pub(crate) struct ActiveSegment {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn StorageFile>,
    /// Device and inode of the file.
    pub(crate) identity: (u64, u64),
    /// No frame may be written to the file any more: it is a copy, or a copy shares it.
    pub(crate) ends_here: bool,
    pub(crate) header: SegmentHeader,
    /// Bytes of the file that are there to be overwritten.
    pub(crate) allocated: u64,
    pub(crate) synced: Synced,
    /// Digest of the content up to `synced`.
    pub(crate) digest: SegmentDigest,
    /// What stands before `synced`.
    pub(crate) counts: Counts,
    /// It holds tombstones or gaps.
    pub(crate) notable: bool,
    /// The day of its first record's append; another one rolls it. `None` while it has no record.
    pub(crate) day: Option<Day>,
}

/// Why a new segment could not be begun.
#[derive(Debug)]
pub(crate) struct BeginError {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
    /// The segment got its name, but the directory could not be synced: nothing may be appended to the old one.
    pub(crate) named: bool,
}

impl ActiveSegment {
    /// Writes a segment with this header and these frames, makes it durable and gives it its name.
    pub(crate) fn begin(
        directory: &Directory,
        header: SegmentHeader,
        frames: &[u8],
        sizes: &Sizes,
        spare_is_blank: bool,
        may_be_named: impl Fn() -> io::Result<()>,
    ) -> Result<Self, BeginError> {
        let (spare, file) = take_spare(directory).map_err(|source| BeginError {
            path: directory.spare(),
            source,
            named: false,
        })?;
        let failed = |source| BeginError { path: spare.clone(), source, named: false };
        let end = sizes.padded(FRAMES_OFFSET + frames.len() as u64);
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
            path: path.clone(),
            source,
            named: true,
        })?;
        let mut digest = SegmentDigest::new();
        digest.absorb(FRAMES_OFFSET, frames);
        digest.absorb(end, &[]);
        let synced = Synced { offset: end, seq: header.born_seq };
        let (counts, notable) = (Counts::default(), false);
        let day = (!frames.is_empty()).then(|| header.created.day());
        let (identity, ends_here) = (stat.identity, false);
        Ok(Self {
            path,
            file,
            identity,
            ends_here,
            header,
            allocated,
            synced,
            digest,
            counts,
            notable,
            day,
        })
    }

    /// Makes room for bytes up to `end`. `Ok(false)`: there is none left on the medium.
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

    /// Writes the footer behind the end and gives preallocated space back. All of it can be derived: a failure is
    /// only told. A file that a copy shares is left as it is.
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
            tracing::warn!(path = %self.path.display(), %error, "the segment's footer cannot be written");
        }
    }
}

/// Opens the spare file, or makes another one where it cannot be used: it may belong to another user, be shared with a
/// copy, or be no file at all.
fn take_spare(directory: &Directory) -> io::Result<(PathBuf, Arc<dyn StorageFile>)> {
    let (storage, spare) = (&*directory.storage, directory.spare());
    match storage.open(&spare, Access::Write) {
        Ok(file) if file.stat()?.links == 1 => return Ok((spare, file)),
        _ => {}
    }
    match open_new(storage, &spare) {
        Err(error) if !is_full(&error) => {
            let beside = spare.with_extension("new");
            open_new(storage, &beside).map(|file| (beside, file))
        }
        made => made.map(|file| (spare, file)),
    }
}

/// Gives a whole segment its name. Only the segment with the salt `replaces`, which holds nothing that counts, is
/// replaced; any other file of that name is no part of the journal and gives way to `NAME.foreign-N`. `may_be_named` is asked
/// before each step.
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
    // It may be the segment that another writer has just begun.
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

/// Moves a file that is no part of the journal to the first free name `NAME.foreign-N`.
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
                    "a file that is no part of this journal has the name of a new segment; it is renamed"
                );
                return Ok(aside);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Preallocates the next segment, so that it can be begun on a full disk. `false`: there is no room, or worse.
pub(crate) fn prepare_spare(directory: &Directory, sizes: &Sizes) -> bool {
    let path = directory.spare();
    let result = open_new(&*directory.storage, &path).and_then(|file| {
        write_zeros(&*file, 0, sizes.step_min)?;
        file.sync()
    });
    if let Err(error) = &result {
        tracing::debug!(path = %path.display(), %error, "no spare segment");
    }
    result.is_ok()
}

/// Makes the file at least `end` and the reserve long; without the reserve where there is no room for it.
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
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = from;
    while at < to {
        let count = (to - at).min(ZEROS.len() as u64);
        file.write_at(&ZEROS[..count as usize], at)?;
        at += count;
    }
    Ok(())
}

/// Zeroes whatever an earlier use left in the file, in place: that needs no space.
fn blank(file: &dyn StorageFile) -> io::Result<()> {
    let len = file.stat()?.len;
    let mut buffer = vec![0; 64 << 10];
    let mut at = 0;
    while at < len {
        let read = read_full(file, &mut buffer, at);
        let count = read.as_ref().map_or(buffer.len(), |count| (*count).max(1));
        let end = (at + count as u64).min(len);
        // What cannot be read is written all the same: that is how a medium mends a sector.
        if read.is_err() || buffer.iter().take(count).any(|byte| *byte != 0) {
            write_zeros(file, at, end)?;
        }
        at = end;
    }
    Ok(())
}

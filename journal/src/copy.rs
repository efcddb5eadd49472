//! Copies a journal while another process may write it, to an empty directory or into an unfinished copy.
//!
//! A copy holds everything that can be read: an unreadable block becomes zeros, is counted and reported, and copying
//! continues. A file `COPYING` marks an unfinished copy. A continued copy keeps the sealed segments with the right digest and
//! copies the others again. No copy continues a segment of the original: it has neither the original's durability marker
//! nor its `IDENTITY`, so opening it begins a segment with a new salt.

use std::io;
use std::path::Path;

use crate::digest::SegmentDigest;
use crate::directory::{Directory, OpenSegment};
use crate::error::Context;
use crate::format::SegmentName;
use crate::limits::BLOCK_BYTES;
use crate::open::make_directories;
use crate::source::Head;
use crate::storage::{
    Access, EntryKind, LockError, Storage, StorageFile, read_file, read_full, replace_file,
};
use crate::view::JournalView;
use crate::walk::FrameWalk;
use crate::window::is_unreadable;
use crate::{Error, Journal, Options, Seq};

/// Bytes copied at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Attempts of a copy while segments are pruned.
const ATTEMPTS_MAX: usize = 3;
/// The file that marks an unfinished copy. Its first line names the journal.
const MARKER: &str = "COPYING";
const MARKER_BYTES_MAX: usize = 4096;

/// The result of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Number of segments, including those of an earlier attempt.
    pub segments: u64,
    /// Number of segments that an earlier, interrupted copy had copied whole.
    pub kept: u64,
    /// Bytes of the segments.
    pub bytes: u64,
    /// The seq after the last record copied.
    pub end: Seq,
    /// The parts of the original that could not be read, by segment.
    pub unreadable: Vec<Unreadable>,
}

/// A segment that could not be read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreadable {
    /// The segment.
    pub segment: SegmentName,
    /// Bytes that are zeros in the copy; `None`: the copy has nothing of the segment.
    pub bytes: Option<u64>,
    /// The error of the operating system.
    pub reason: String,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, reason) = (self.segment.file_name(), &self.reason);
        match self.bytes {
            Some(bytes) => write!(
                formatter,
                "{name}: {bytes} bytes cannot be read ({reason}); the copy has zeros in their place"
            ),
            None => write!(formatter, "{name}: cannot be read ({reason}); the copy lacks it"),
        }
    }
}

/// How much of one file was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileCopied {
    /// Length of the copy.
    pub bytes: u64,
    /// Bytes of it that are zeros because they cannot be read.
    pub unreadable_bytes: u64,
    /// The error of the operating system for the first of them.
    pub reason: Option<String>,
}

impl JournalView {
    /// Copies everything that is durable now into the data directory `target`, and closes the copy cleanly. The target
    /// is empty, does not exist, or holds an unfinished copy of the same journal, which is then continued.
    ///
    /// The copy is a new incarnation of the same journal: its next record goes to a segment of its own. `progress` gets
    /// the number of bytes copied. Nothing of the original is locked or changed.
    ///
    /// # Errors
    ///
    /// [`Error::Unexpected`] if something else is at `target`; [`Error::Locked`] if another process copies to
    /// it; [`Error::Io`] if the target cannot be written. What cannot be read is in [`Copied::unreadable`].
    pub fn copy_to(&self, target: &Path, progress: &mut dyn FnMut(u64)) -> Result<Copied, Error> {
        let copied = self.begin_copy(target, progress)?;
        finish_copy(&**self.storage(), target)?;
        Ok(copied)
    }

    /// As [`JournalView::copy_to`], but leaves the mark of an unfinished copy.
    ///
    /// For a caller that adds more files and calls [`finish_copy`] at the end.
    ///
    /// # Errors
    ///
    /// The errors of [`JournalView::copy_to`].
    pub fn begin_copy(
        &self,
        target: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Copied, Error> {
        let copy = Directory::new(self.storage().clone(), target);
        self.check_target(&copy)?;
        make_directories(&copy)?;
        let storage = &*copy.storage;
        // The lock of the directory itself is for the writer, which this process is at the end.
        let lock = storage.lock(&copy.journal).map_err(|error| match error {
            LockError::Held { holder } => Error::Locked { path: copy.journal.clone(), holder },
            LockError::Io(source) => {
                Error::Io { operation: "lock", path: copy.journal.clone(), source: source.into() }
            }
        })?;
        self.mark(&copy)?;
        let mut attempt = 1;
        let copied = loop {
            match self.copy_segments(&copy, attempt < ATTEMPTS_MAX, progress) {
                Err(Error::Pruned { .. }) if attempt < ATTEMPTS_MAX => attempt += 1,
                result => break result?,
            }
        };
        let options = Options {
            storage: self.storage().clone(),
            new_incarnation: true,
            ..Options::default()
        };
        Journal::open(target, &options)?.close()?;
        drop(lock);
        Ok(copied)
    }

    /// Refuses a target that holds anything but an unfinished copy of this journal.
    fn check_target(&self, copy: &Directory) -> Result<(), Error> {
        let storage = &*copy.storage;
        let found = match storage.stat(&copy.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).context("use", &copy.root),
            Ok(stat) if stat.kind == EntryKind::File => "a file".to_owned(),
            Ok(_) => match storage.list(&copy.root).context("list", &copy.root)? {
                entries if entries.iter().all(|entry| is_first(copy, &entry.name)) => return Ok(()),
                entries => format!("a directory with {} entries", entries.len()),
            },
        };
        let marker = copy.root.join(MARKER);
        let marked = match storage.stat(&marker) {
            Ok(stat) if stat.kind == EntryKind::File => {
                Some(read_file(storage, &marker, MARKER_BYTES_MAX).context("read", &marker)?)
            }
            _ => None,
        };
        match marked {
            Some(text) if text.starts_with(self.marker_line().as_bytes()) => Ok(()),
            Some(_) => Err(Error::Unexpected {
                path: copy.root.clone(),
                found: "an unfinished copy of another journal".to_owned(),
                expected: "a directory that is empty, does not exist yet, or holds an unfinished copy of this journal",
            }),
            None => Err(Error::Unexpected {
                path: copy.root.clone(),
                found,
                expected: "a directory that is empty or does not exist yet",
            }),
        }
    }

    fn marker_line(&self) -> String {
        format!("journal = {:032x}\n", u128::from_be_bytes(self.journal_id()))
    }

    /// Writes the mark of an unfinished copy, durably, and removes the copy's marker and `IDENTITY`.
    ///
    /// With them, an opening could continue a segment of the original or of an earlier attempt.
    fn mark(&self, copy: &Directory) -> Result<(), Error> {
        let (storage, marker) = (&*copy.storage, copy.root.join(MARKER));
        let text = self.marker_line()
            + "\nThis copy is not finished: repeat the command that created it, or remove the directory.\n";
        replace_file(storage, &marker, text.as_bytes()).context("write", &marker)?;
        for path in [copy.root.join("IDENTITY"), copy.marker()] {
            remove(storage, &path)?;
        }
        storage.sync_directory(&copy.journal).context("sync", &copy.journal)?;
        storage.sync_directory(&copy.root).context("sync", &copy.root)
    }

    fn copy_segments(
        &self,
        copy: &Directory,
        is_patient: bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Copied, Error> {
        // First the end: everything before it is in segments that exist now, except those pruned in this moment.
        let Head { durable: head, active_missing } = self.source().readable_end()?;
        let names: Vec<_> = self.source().links()?.iter().map(|link| link.name).collect();
        if let Some((active, _)) = head.segment
            && is_patient
            && !names.contains(&active)
        {
            return Err(Error::Pruned { floor: self.floor()? });
        }
        let storage = &*copy.storage;
        for old in copy.segments()?.into_iter().filter(|old| !names.contains(old)) {
            remove(storage, &copy.segment(old))?;
        }
        let mut copied =
            Copied { segments: 0, kept: 0, bytes: 0, end: head.seq, unreadable: Vec::new() };
        for &name in &names {
            let limit = match head.segment {
                Some((active, _)) if name == active => Some(head.offset),
                Some((active, _)) if name > active => break,
                _ => None,
            };
            self.take_segment(copy, name, limit, &mut copied, progress)?;
        }
        if active_missing {
            // Only the marker proves it; it names a missing segment and no clean shutdown.
            let (from, to) = (self.source().directory().marker(), copy.marker());
            if let Err(error) = copy_file(storage, &from, &to, None, &mut |_| {})
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error).context("copy", &from);
            }
        }
        storage.sync_directory(&copy.journal).context("sync", &copy.journal)?;
        Ok(copied)
    }

    /// Keeps one segment of an earlier attempt, copies it, or records why it cannot be read.
    fn take_segment(
        &self,
        copy: &Directory,
        name: SegmentName,
        limit: Option<u64>,
        copied: &mut Copied,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        let (from, to) = (self.source().directory().segment(name), copy.segment(name));
        let storage = &*copy.storage;
        if let Some(bytes) = self.kept_bytes(copy, name) {
            (copied.segments, copied.kept) = (copied.segments + 1, copied.kept + 1);
            copied.bytes += bytes;
            progress(bytes);
            return Ok(());
        }
        match storage.stat(&from) {
            // Opening a FIFO would block.
            Ok(stat) if stat.kind != EntryKind::File => {
                let reason = "it is not a regular file".to_owned();
                copied.unreadable.push(Unreadable { segment: name, bytes: None, reason });
                return remove(storage, &to);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Pruned { floor: self.floor()? });
            }
            _ => {}
        }
        let source = match storage.open(&from, Access::Read) {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Pruned { floor: self.floor()? });
            }
            Err(error) => {
                let reason = error.to_string();
                copied.unreadable.push(Unreadable { segment: name, bytes: None, reason });
                return remove(storage, &to);
            }
        };
        let target = storage.open(&to, Access::Truncate).context("create", &to)?;
        let file = copy_bytes(&*source, &*target, limit, progress).context("copy", &from)?;
        if let Some(reason) = file.reason {
            let bytes = Some(file.unreadable_bytes);
            copied.unreadable.push(Unreadable { segment: name, bytes, reason });
        }
        copied.segments += 1;
        copied.bytes += file.bytes;
        Ok(())
    }

    /// The length of a sealed segment that an earlier attempt copied whole: same segment, right digest.
    fn kept_bytes(&self, copy: &Directory, name: SegmentName) -> Option<u64> {
        let is_file =
            |path: &Path| copy.storage.stat(path).is_ok_and(|stat| stat.kind == EntryKind::File);
        if !is_file(&copy.segment(name)) || !is_file(&self.source().directory().segment(name)) {
            return None;
        }
        let there = copy.open_segment(name, Access::Read).ok()??;
        let original = self.source().directory().open_segment(name, Access::Read).ok()??;
        let same = there.len == original.len
            && there.header.as_ref().ok()?.header.salt
                == original.header.as_ref().ok()?.header.salt;
        (same && is_whole(&there)?).then_some(there.len)
    }
}

/// Whether a copy creates this directory entry before its mark.
fn is_first(copy: &Directory, name: &std::ffi::OsStr) -> bool {
    name == "COPYING.tmp"
        || (name == "journal"
            && copy.storage.list(&copy.journal).is_ok_and(|entries| entries.is_empty()))
}

/// Removes the mark of an unfinished copy: the copy is complete.
///
/// # Errors
///
/// [`Error::Io`].
pub fn finish_copy(storage: &dyn Storage, target: &Path) -> Result<(), Error> {
    remove(storage, &target.join(MARKER))?;
    storage.sync_directory(target).context("sync", target)
}

/// Copies one file, durably except for its name. Unreadable blocks become zeros and are counted.
///
/// The copy has at most `limit` bytes.
///
/// # Errors
///
/// The errors of the operating system, except for unreadable blocks.
pub fn copy_file(
    storage: &dyn Storage,
    from: &Path,
    to: &Path,
    limit: Option<u64>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<FileCopied> {
    let source = storage.open(from, Access::Read)?;
    let target = storage.open(to, Access::Truncate)?;
    copy_bytes(&*source, &*target, limit, progress)
}

pub(crate) fn copy_bytes(
    source: &dyn StorageFile,
    target: &dyn StorageFile,
    limit: Option<u64>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<FileCopied> {
    let len = limit.unwrap_or(u64::MAX).min(source.stat()?.len);
    let mut copied = FileCopied { bytes: 0, unreadable_bytes: 0, reason: None };
    let mut buffer = vec![0; CHUNK_BYTES];
    while copied.bytes < len {
        let wanted = (len - copied.bytes).min(CHUNK_BYTES as u64) as usize;
        let Some(chunk) = buffer.get_mut(..wanted) else { break };
        let count = match read_full(source, chunk, copied.bytes) {
            Err(error) if is_unreadable(&error) => read_blocks(source, chunk, &mut copied)?,
            result => result?,
        };
        let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else { break };
        target.write_at(chunk, copied.bytes)?;
        copied.bytes += count as u64;
        progress(count as u64);
    }
    target.sync()?;
    Ok(copied)
}

/// Reads the next chunk block by block; unreadable blocks become zeros.
fn read_blocks(
    source: &dyn StorageFile,
    chunk: &mut [u8],
    copied: &mut FileCopied,
) -> io::Result<usize> {
    let mut filled = 0;
    for block in chunk.chunks_mut(BLOCK_BYTES as usize) {
        match read_full(source, block, copied.bytes + filled as u64) {
            Ok(count) if count < block.len() => return Ok(filled + count),
            Ok(_) => {}
            Err(error) if is_unreadable(&error) => {
                block.fill(0);
                copied.unreadable_bytes += block.len() as u64;
                copied.reason.get_or_insert_with(|| error.to_string());
            }
            Err(error) => return Err(error),
        }
        filled += block.len();
    }
    Ok(filled)
}

/// Whether a sealed segment has the digest of its footer; `None` if it is not sealed or cannot be read.
fn is_whole(segment: &OpenSegment) -> Option<bool> {
    let header = &segment.header.as_ref().ok()?.header;
    let footer = segment.footer(header.salt).ok()??;
    let mut window = segment.window(footer.end_offset);
    let mut walk = FrameWalk::of(header);
    let mut digest = SegmentDigest::new();
    while let Some(found) = walk.next(&mut window).ok()? {
        digest.absorb(found.offset, found.bytes(&window));
    }
    let is_sound = segment.header.as_ref().ok()?.damaged_copies.is_empty();
    Some(
        is_sound
            && walk.expected() == footer.end_seq
            && digest.finish(footer.end_offset) == footer.digest,
    )
}

fn remove(storage: &dyn Storage, path: &Path) -> Result<(), Error> {
    match storage.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("remove", path),
        _ => Ok(()),
    }
}
